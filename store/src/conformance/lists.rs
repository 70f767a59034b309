//! Properties of lists and counts, against a model that sorts and filters everything each time.

use crane_core::event::Labels;
use crane_core::{RunStatus, Timestamp};

use super::story::{Random, Story};
use super::{Open, Session};
use crate::{Filter, Listing, Page};

/// Random runs in random states, listed by random filters and pages.
pub async fn lists_agree_with_a_naive_model(open: &Open) {
    let session = Session::start(open).await;
    let mut random = Random(0x5eed_0001);
    let mut stories = Vec::new();
    for round in 0..4 {
        grow(&session, &mut random, &mut stories, round).await;
        compare(&session, &mut random, &stories).await;
    }
}

/// The same when the store was opened again in between.
pub async fn lists_agree_with_a_naive_model_after_a_reopen(open: &Open) {
    let mut session = Session::start(open).await;
    let mut random = Random(0x5eed_0002);
    let mut stories = Vec::new();
    for round in 0..3 {
        grow(&session, &mut random, &mut stories, round).await;
        if round == 1 {
            let done = session.store.checkpoint().await;
            done.expect("the checkpoint succeeds");
        }
        session = session.restart(open).await;
        compare(&session, &mut random, &stories).await;
    }
}

/// A run must carry all the labels that are asked for, with these values.
pub async fn several_labels_must_all_match(open: &Open) {
    let session = Session::start(open).await;
    let labels = |pairs: &[(&str, &str)]| {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect::<Labels>()
    };
    let mut both = Story::new(1, Timestamp(3), labels(&[("env", "prod"), ("team", "a")]));
    let mut one = Story::new(2, Timestamp(2), labels(&[("env", "prod"), ("team", "b")]));
    let mut none = Story::new(3, Timestamp(1), labels(&[]));
    for story in [&mut both, &mut one, &mut none] {
        session.tell(story).await;
    }
    let find = async |pairs: &[(&str, &str)]| {
        let filter = Filter {
            statuses: Vec::new(),
            labels: labels(pairs).into_iter().collect(),
        };
        let page = Page {
            offset: 0,
            limit: 10,
        };
        let listing = session.store.list(filter, page).await;
        let listing = listing.expect("runs are listed");
        assert_eq!(listing.total, listing.runs.len());
        let runs = listing.runs.into_iter().map(|(run, _)| run);
        runs.collect::<Vec<_>>()
    };
    assert_eq!(find(&[]).await, [both.run, one.run, none.run]);
    assert_eq!(find(&[("env", "prod")]).await, [both.run, one.run]);
    assert_eq!(find(&[("env", "prod"), ("team", "a")]).await, [both.run]);
    assert_eq!(find(&[("team", "b")]).await, [one.run]);
    assert_eq!(find(&[("env", "prod"), ("team", "c")]).await, []);
    assert_eq!(find(&[("prod", "env")]).await, []);
}

/// New runs, and changes to runs there are.
async fn grow(session: &Session, random: &mut Random, stories: &mut Vec<Story>, round: u64) {
    for number in 0..120 {
        // Few instants, so that many runs are created at the same one, and not in order.
        let created_at = Timestamp(1_700_000_000_000_000 + random.below(40) as i64);
        let mut labels = Labels::new();
        for (key, values) in [("env", 2), ("team", 5), ("ticket", 200)] {
            if random.below(3) > 0 {
                labels.insert(key.to_owned(), random.below(values).to_string());
            }
        }
        let mut story = Story::new(round * 1_000 + number, created_at, labels);
        session.tell(&mut story).await;
        stories.push(story);
    }
    for _ in 0..300 {
        let index = random.below(stories.len());
        let story = &mut stories[index];
        match (story.status(), random.below(3)) {
            (RunStatus::Pending, _) => story.start(),
            (RunStatus::Running, 0) => story.wait(),
            (RunStatus::Running, 1) => story.end(RunStatus::Completed),
            (RunStatus::Running | RunStatus::Waiting, _) => story.end(RunStatus::Failed),
            (RunStatus::Failed | RunStatus::Cancelled, 0) => story.reopen(),
            (RunStatus::Failed | RunStatus::Cancelled | RunStatus::Completed, _) => continue,
        };
        session.tell(story).await;
    }
}

async fn compare(session: &Session, random: &mut Random, stories: &[Story]) {
    for _ in 0..150 {
        let mut filter = Filter::default();
        if random.below(2) == 0 {
            let statuses = (0..1 + random.below(3)).map(|_| RunStatus::ALL[random.below(6)]);
            filter.statuses = statuses.collect();
        }
        for (key, values) in [("env", 2), ("team", 5), ("ticket", 200)] {
            if random.below(3) == 0 {
                let value = random.below(values + 1).to_string();
                filter.labels.push((key.to_owned(), value));
            }
        }
        let page = Page {
            offset: random.below(stories.len() + 10),
            limit: 1 + random.below(100),
        };
        let listing = session.store.list(filter.clone(), page).await;
        let listing = listing.expect("runs are listed");
        assert_eq!(
            listing,
            naive(stories, &filter, page),
            "{filter:?} {page:?}"
        );
    }
    let counts = session.store.counts().await.expect("runs are counted");
    for status in RunStatus::ALL {
        let wanted = stories.iter().filter(|s| s.status() == status).count();
        let counted = counts.get(&status).copied().unwrap_or(0);
        assert_eq!(counted, wanted, "{}", status.as_str());
    }
}

fn naive(stories: &[Story], filter: &Filter, page: Page) -> Listing {
    let has = |story: &Story, (key, value): &(String, String)| story.labels.get(key) == Some(value);
    let mut hits: Vec<&Story> = stories
        .iter()
        .filter(|story| filter.statuses.is_empty() || filter.statuses.contains(&story.status()))
        .filter(|story| filter.labels.iter().all(|label| has(story, label)))
        .collect();
    hits.sort_by_key(|story| std::cmp::Reverse((story.summary().created_at, story.run)));
    Listing {
        total: hits.len(),
        runs: hits
            .into_iter()
            .skip(page.offset)
            .take(page.limit)
            .map(|story| (story.run, story.summary()))
            .collect(),
    }
}
