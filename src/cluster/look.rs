//! Looking around before a node joins, where no database knows who is there: a name belongs to the
//! node that has it, and whoever comes later under the same one must not take its place.
//!
//! Until it is done the node is no member in the eyes of others (`Told::looks`), so that one which
//! finds its name taken ends without having moved anything.

use std::time::Duration;

use crane_cluster::gossip::Members;
use crane_cluster::gossip::namesake::{Life, Namesake};
use crane_cluster::ownership::words::Sight;
use crane_core::Generation;
use tokio::time::Instant;

use super::Cluster;

/// How long others are listened for when somebody is expected and nobody is heard.
const ALONE: Duration = Duration::from_secs(2);
/// How long after the first word of others: the rest of what they know comes with it.
const HEARD: Duration = Duration::from_millis(500);
/// How often it is looked at when nothing changes.
const AGAIN: Duration = Duration::from_millis(100);

/// What to make of what was heard so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict<'a> {
    /// Nobody else has the name.
    Free,
    /// That is not known yet.
    Unclear,
    /// A living process has it.
    Taken(&'a Namesake),
}

/// This process, as it compares with a namesake.
#[derive(Clone, Copy, Debug)]
struct Me<'a> {
    generation: Generation,
    boot: &'a str,
    expects_others: bool,
}

impl Cluster {
    /// Listens until it is clear whether another living process has this node's name; gives the one
    /// that does.
    pub async fn namesake(&self) -> Option<Namesake> {
        let mut members = self.members();
        let begun = Instant::now();
        let mut heard = None;
        loop {
            let known = members.borrow_and_update().clone();
            let now = Instant::now();
            if known.heard {
                heard.get_or_insert(now);
            }
            let me = Me {
                generation: self.0.options.generation,
                boot: &self.0.gateway.boot,
                expects_others: self.0.gossip.expects_others(),
            };
            let listened = (begun.elapsed(), heard.map(|heard| now - heard));
            match verdict(&known, me, listened) {
                Verdict::Free => return None,
                Verdict::Taken(namesake) => return Some(namesake.clone()),
                Verdict::Unclear => {}
            }
            // Time counts as well as what changes.
            let _ = tokio::time::timeout(AGAIN, members.changed()).await;
        }
    }
}

/// `listened`: since the start, and since the first word of others.
fn verdict<'a>(
    known: &'a Members,
    me: Me<'_>,
    listened: (Duration, Option<Duration>),
) -> Verdict<'a> {
    // Of two that look around at the same time, the later one goes.
    let goes_first = |one: &&Namesake| {
        one.looks && (one.generation, one.boot.as_str()) > (me.generation, me.boot)
    };
    let rivals = || known.namesakes.iter().filter(|one| !goes_first(one));
    if let Some(living) = rivals().find(|one| one.life == Life::Alive) {
        return Verdict::Taken(living);
    }
    if rivals().any(|one| one.life == Life::Unclear) {
        return Verdict::Unclear;
    }
    let enough = match listened {
        (_, Some(heard)) if has_met(known) => heard >= HEARD,
        (_, Some(heard)) => heard >= ALONE,
        (all, None) => !me.expects_others || all >= ALONE,
    };
    match enough {
        true => Verdict::Free,
        false => Verdict::Unclear,
    }
}

/// Whether another node is seen alive: whoever joins then knows whom to ask.
fn has_met(known: &Members) -> bool {
    let mut members = known.members.iter();
    members.any(|member| member.sight != Sight::Down)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me<'_> = Me {
        generation: Generation(5),
        boot: "me",
        expects_others: true,
    };
    const LONG: (Duration, Option<Duration>) = (ALONE, Some(ALONE));

    fn known(generation: u64, looks: bool, life: Life) -> Members {
        let namesake = Namesake {
            generation: Generation(generation),
            boot: "other".to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
            looks,
            life,
        };
        Members {
            namesakes: vec![namesake],
            heard: true,
            ..Members::default()
        }
    }

    #[test]
    fn a_name_belongs_to_the_node_that_has_it() {
        for generation in [1, 9] {
            let living = known(generation, false, Life::Alive);
            assert!(matches!(verdict(&living, ME, LONG), Verdict::Taken(_)));
            let unclear = known(generation, false, Life::Unclear);
            assert_eq!(verdict(&unclear, ME, LONG), Verdict::Unclear);
            let gone = known(generation, false, Life::Gone);
            assert_eq!(verdict(&gone, ME, LONG), Verdict::Free);
        }
    }

    #[test]
    fn of_two_that_look_around_the_later_one_goes() {
        let earlier = known(1, true, Life::Alive);
        assert!(matches!(verdict(&earlier, ME, LONG), Verdict::Taken(_)));
        let later = known(9, true, Life::Alive);
        assert_eq!(verdict(&later, ME, LONG), Verdict::Free);
    }

    #[test]
    fn others_are_listened_for_only_where_some_are_expected() {
        let nobody = Members::default();
        let short = (Duration::ZERO, None);
        assert_eq!(verdict(&nobody, ME, short), Verdict::Unclear);
        assert_eq!(verdict(&nobody, ME, (ALONE, None)), Verdict::Free);
        let first = Me {
            expects_others: false,
            ..ME
        };
        assert_eq!(verdict(&nobody, first, short), Verdict::Free);
        let heard = (Duration::ZERO, Some(Duration::ZERO));
        assert_eq!(verdict(&nobody, first, heard), Verdict::Unclear);
    }
}
