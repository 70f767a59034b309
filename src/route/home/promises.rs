//! What a node has told others about keys that it does not hold.
//!
//! A key may create its run at one home alone. Two nodes that are asked for the same new key at once
//! might think of two homes, when one of them has not heard of a new member yet. So each node remembers
//! for a while for which home it has said "the key is not here", and says it for no other one. Any two
//! nodes that know each other ask each other, and one of the two hears of the other's home.
//!
//! A promise may be replaced by the only node that asked for it, whose earlier plan has come to nothing.
//! Once it was given to two, or the run is being created on the strength of it, it stays until it is
//! over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crane_core::{NodeName, RunId, limits};
use tokio::time::Instant;

use crate::route::words::FindAsk;

/// How long a promise is kept: longer than any request goes on after it.
const KEPT: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Promise {
    until: Instant,
    home: NodeName,
    /// Who may still change its mind.
    by: Option<NodeName>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<HashMap<RunId, Promise>>);

impl Promises {
    /// Promises that the run may be created at `ask.home`; `false` when something else was promised, or
    /// too much.
    pub(super) fn give(&self, run: RunId, ask: &FindAsk) -> bool {
        self.keep(run, &ask.home, Some(&ask.by))
    }

    /// Holds on to the promise that the run is created at `home`, which is this node; `false` when
    /// something else was promised, or too much.
    pub(super) fn fix(&self, run: RunId, home: &NodeName) -> bool {
        self.keep(run, home, None)
    }

    fn keep(&self, run: RunId, home: &NodeName, by: Option<&NodeName>) -> bool {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = all.get(&run).filter(|given| given.until > now);
        let by = match given {
            None => by,
            Some(given) if given.by.as_ref() == by => by,
            Some(given) if given.home == *home => None,
            Some(_) => return false,
        };
        if given.is_some_and(|given| given.home != *home && given.by.is_none()) {
            return false;
        }
        if all.len() >= limits::PROMISES {
            all.retain(|_, given| given.until > now);
        }
        if all.len() >= limits::PROMISES && !all.contains_key(&run) {
            return false;
        }
        let promise = Promise {
            until: now + KEPT,
            home: home.clone(),
            by: by.cloned(),
        };
        all.insert(run, promise);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(by: &str, home: &str) -> FindAsk {
        FindAsk {
            by: NodeName::new(by),
            home: NodeName::new(home),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_one_home_at_a_time() {
        let promises = Promises::default();
        let run = RunId::from_key("", "k");
        assert!(promises.give(run, &ask("a", "c")));
        assert!(!promises.give(run, &ask("b", "b")));
        // Nobody else relies on it.
        assert!(promises.give(run, &ask("a", "d")));
        assert!(promises.give(run, &ask("b", "d")));
        // Now somebody does.
        assert!(!promises.give(run, &ask("a", "c")));
        assert!(!promises.give(run, &ask("b", "b")));
        tokio::time::advance(KEPT).await;
        assert!(promises.give(run, &ask("b", "b")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_created_here_is_promised_to_no_other_home() {
        let promises = Promises::default();
        let (run, me) = (RunId::from_key("", "k"), NodeName::new("c"));
        assert!(promises.give(run, &ask("a", "c")));
        assert!(promises.fix(run, &me));
        assert!(!promises.give(run, &ask("a", "d")));
        assert!(promises.give(run, &ask("a", "c")));
        assert!(promises.fix(run, &me));
        let other = RunId::from_key("", "l");
        assert!(promises.give(other, &ask("a", "d")));
        assert!(!promises.fix(other, &me));
    }

    #[tokio::test(start_paused = true)]
    async fn past_the_bound_nothing_is_promised_until_promises_are_over() {
        let promises = Promises::default();
        for number in 0..limits::PROMISES {
            let run = RunId::from_key("", &number.to_string());
            assert!(promises.give(run, &ask("a", "a")));
        }
        let one_more = RunId::from_key("", "k");
        assert!(!promises.give(one_more, &ask("a", "a")));
        tokio::time::advance(KEPT).await;
        assert!(promises.give(one_more, &ask("a", "a")));
    }
}
