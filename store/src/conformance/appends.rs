//! Properties of single appends: order, conflicts, repeats, fences.

use std::sync::{Arc, Mutex, PoisonError};

use crane_core::{RunId, RunStatus, Seq};
use futures_util::future::join_all;

use super::story::Story;
use super::{Open, Session, assert_conflict};
use crate::{Encoded, Error, Write, commit};

/// What was appended is what is loaded; a run that was never written does not exist.
pub async fn a_run_is_loaded_as_it_was_appended(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    assert_eq!(session.load(story.run).await, None);
    session.tell(&mut story).await;
    session.expect(&story).await;
    session.tell(story.start().step("2.0")).await;
    session.expect(&story).await;
    let missing = RunId::from_time(1, [9; 10]);
    assert_eq!(session.load(missing).await, None);
    let summary = session.store.summary(missing).await;
    assert_eq!(summary.expect("the summary is read"), None);
}

/// The same with a payload of a megabyte, which no buffer of a usual size holds.
pub async fn a_large_event_is_loaded_as_it_was_appended(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    let output = format!("\"{}\"", "0123456789abcdef".repeat(65_536));
    session.tell(story.start().step(&output)).await;
    session.tell(story.step(&output)).await;
    session.expect(&story).await;
    session.tell(story.end(RunStatus::Completed)).await;
    session.expect(&story).await;
}

/// Batches that are submitted without waiting become durable in order, and so do their acks come.
pub async fn appends_of_a_run_keep_their_order(open: &Open) {
    const BATCHES: usize = 200;
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut done = Vec::new();
    for number in 0..BATCHES {
        story.step(&number.to_string());
        let append = story.next_batch(session.epoch(story.run));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let order = Arc::clone(&order);
        session.store.submit(
            Write::Append(append),
            Box::new(move |result| {
                order
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(number);
                sender.send(result).expect("the suite waits for each ack");
            }),
        );
        done.push(receiver);
    }
    for result in join_all(done).await {
        result.expect("every ack is called").expect("it is durable");
    }
    let order = order.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(order, (0..BATCHES).collect::<Vec<_>>());
    session.expect(&story).await;
}

/// A batch that does not follow the last stored event is refused and changes nothing.
pub async fn an_unexpected_seq_is_a_conflict(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    story.start().step("1").step("2");
    let epoch = session.epoch(story.run);
    let result = session.write(story.batch(2, 4, epoch)).await;
    assert_conflict(&result, Seq(0), "the run does not exist");
    assert_eq!(session.load(story.run).await, None);

    let mut told = story.clone();
    session.tell(&mut told).await;
    let mut longer = told.clone();
    longer.step("3").step("4");
    let result = session.write(longer.batch(7, 9, epoch)).await;
    assert_conflict(&result, Seq(6), "a gap");
    let result = session.write(longer.batch(4, 8, epoch)).await;
    assert_conflict(&result, Seq(6), "half of it is stored");
    session.expect(&told).await;
}

/// A batch without events says nothing and is refused.
pub async fn an_empty_batch_is_refused(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    let mut empty = story.batch(0, 1, session.epoch(story.run));
    empty.events = Encoded::default();
    empty.summary.seq = Seq(0);
    let result = session.write(empty).await;
    assert_conflict(&result, Seq(0), "of a new run");
    assert_eq!(session.load(story.run).await, None);
    session.tell(&mut story).await;
    let mut empty = story.batch(1, 1, session.epoch(story.run));
    empty.events = Encoded::default();
    let result = session.write(empty).await;
    assert_conflict(&result, Seq(1), "of an existing run");
    session.expect(&story).await;
}

/// A batch whose ack was lost may be written again, also when others have followed it, when its
/// run has ended, and after a restart.
pub async fn a_repeat_with_the_same_bytes_succeeds(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(story.start().step("1").step("2")).await;
    let repeat = |session: &Session| story.batch(0, 4, session.epoch(story.run));
    session.write(repeat(&session)).await.expect("at once");
    session.expect(&story).await;

    let mut ended = story.clone();
    session.tell(ended.end(RunStatus::Completed)).await;
    session.write(repeat(&session)).await.expect("once ended");
    session.expect(&ended).await;
    let session = session.restart(open).await;
    session.write(repeat(&session)).await.expect("later");
    let middle = ended.batch(2, 5, session.epoch(ended.run));
    session.write(middle).await.expect("from the middle");
    session.expect(&ended).await;
}

/// Another batch in the place of a stored one is refused, were it of the same length.
pub async fn a_repeat_with_other_bytes_is_a_conflict(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(&mut story).await;
    let mut other = story.clone();
    session.tell(story.start().step("1")).await;
    other.start().step("2");
    let append = other.next_batch(session.epoch(other.run));
    let stored = story.batch(1, 4, append.fence.epoch).events;
    assert_eq!(append.events.bytes.len(), stored.bytes.len());
    let result = session.write(append.clone()).await;
    assert_conflict(&result, Seq(4), "live");
    session.expect(&story).await;
    session.tell(story.end(RunStatus::Failed)).await;
    let result = session.write(append.clone()).await;
    assert_conflict(&result, Seq(5), "ended");
    let session = session.restart(open).await;
    let mut append = append;
    append.fence.epoch = session.epoch(story.run);
    let result = session.write(append).await;
    assert_conflict(&result, Seq(5), "after a restart");
    session.expect(&story).await;
}

/// Whoever owned the shards before the last restart cannot write any more.
pub async fn an_older_epoch_is_refused(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(&mut story).await;
    let old = session.epoch(story.run);
    let session = session.restart(open).await;
    let new = session.epoch(story.run);
    assert!(new > old, "acquired {old}, then {new}");

    let next = story.clone().start().next_batch(old);
    let result = session.write(next).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    // Also a run that does not exist yet.
    let absent = (2..)
        .map(Story::plain)
        .find(|other| other.run.shard() == story.run.shard())
        .expect("there are runs on every shard");
    let result = session.write(absent.batch(0, 1, old)).await;
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
    assert_eq!(session.load(absent.run).await, None);
    session.expect(&story).await;
    session.tell(story.start()).await;
    session.expect(&story).await;
}

/// Thousands of writers at once: each run is stored as its own writer wrote it.
pub async fn concurrent_writers_keep_the_order_of_each_run(open: &Open) {
    const RUNS: u64 = 2_000;
    let session = Session::start(open).await;
    let tasks = (0..RUNS).map(|number| {
        let store = Arc::clone(&session.store);
        let mut story = Story::plain(number);
        let epoch = session.epoch(story.run);
        async move {
            for turn in 0..4 {
                story.step(&format!("[{number},{turn}]"));
                let write = Write::Append(story.next_batch(epoch));
                commit(&*store, write).await.expect("it is durable");
            }
            story
        }
    });
    for story in join_all(tasks).await {
        session.expect(&story).await;
    }
    let counts = session.store.counts().await.expect("runs are counted");
    assert_eq!(counts.values().sum::<usize>(), 2_000);
}
