//! Properties of a run's life across passivation, its end, retries, restarts and retention.

use crane_core::{RunStatus, Timestamp};
use futures_util::StreamExt;

use super::story::Story;
use super::{Open, Retire, Session};
use crate::{Error, Fence, Filter, Page, Unfinished, Write, commit};

/// A run whose actor has stopped is read and goes on as before.
pub async fn a_passivated_run_is_loaded_and_continued(open: &Open) {
    let session = Session::start(open).await;
    let mut stories: Vec<Story> = (0..20).map(Story::plain).collect();
    for story in &mut stories {
        session.tell(story.start().step("1").wait()).await;
        session.store.passivate(story.run);
    }
    let done = session.store.checkpoint().await;
    done.expect("the checkpoint succeeds");
    for story in &mut stories {
        session.expect(story).await;
        session.tell(story.step("2")).await;
        session.expect(story).await;
        session.store.passivate(story.run);
    }
    let session = session.restart(open).await;
    for story in &mut stories {
        session.expect(story).await;
        session.tell(story.end(RunStatus::Completed)).await;
        session.store.passivate(story.run);
        session.expect(story).await;
    }
}

/// An ended run is read at once, after a checkpoint, and after a restart.
pub async fn an_ended_run_is_loaded(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(&mut story).await;
    session
        .tell(story.start().step("1").end(RunStatus::Cancelled))
        .await;
    session.expect(&story).await;
    let done = session.store.checkpoint().await;
    done.expect("the checkpoint succeeds");
    session.expect(&story).await;
    let session = session.restart(open).await;
    session.expect(&story).await;
    assert_eq!(unfinished(&session, session.fences()).await, []);
}

/// A retried run is live again with all its events, and is one run all the time.
pub async fn an_ended_run_can_be_reopened_and_ends_again(open: &Open) {
    let mut session = Session::start(open).await;
    let mut story = Story::plain(1);
    for round in 0..3 {
        session.tell(story.step("1").end(RunStatus::Failed)).await;
        if round > 0 {
            let done = session.store.checkpoint().await;
            done.expect("the checkpoint succeeds");
        }
        if round == 1 {
            session = session.restart(open).await;
        }
        session.expect(&story).await;
        assert_eq!(unfinished(&session, session.fences()).await, []);
        session.tell(story.reopen()).await;
        session.expect(&story).await;
        if round == 2 {
            session = session.restart(open).await;
        }
        let live = Unfinished {
            run: story.run,
            summary: story.summary(),
        };
        assert_eq!(unfinished(&session, session.fences()).await, [live]);
        assert_one_run(&session, &story).await;
    }
    session.tell(story.end(RunStatus::Completed)).await;
    let session = session.restart(open).await;
    session.expect(&story).await;
    assert_one_run(&session, &story).await;
}

/// A closed store takes no writes and says so.
pub async fn writes_after_close_are_refused(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(&mut story).await;
    let closed = session.store.close().await;
    closed.expect("the store closes");
    let next = story.clone().start().next_batch(session.epoch(story.run));
    let result = session.write(next).await;
    assert!(matches!(result, Err(Error::Fatal(_))), "{result:?}");
    let write = super::tools::write("todo_store", "late", &[("a", Some("1"))]);
    let result = commit(&*session.store, Write::Tool(write)).await;
    assert!(matches!(result, Err(Error::Fatal(_))), "{result:?}");
    drop(session);
    let session = Session::start(open).await;
    session.expect(&story).await;
}

/// A probe is answered when a write would be, changes nothing that can be read, and fails once the
/// store does not write any more.
pub async fn a_probe_goes_the_way_of_a_write_and_leaves_no_trace(open: &Open) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.store.probe().await.expect("an empty store writes");
    session.tell(&mut story).await;
    let probes = [session.store.probe(), session.store.probe()];
    session.tell(story.start().step("1")).await;
    for probe in probes {
        probe.await.expect("the store writes");
    }
    session.expect(&story).await;
    let session = session.restart(open).await;
    session.expect(&story).await;
    let counts = session.store.counts().await.expect("runs are counted");
    assert_eq!(counts.values().sum::<usize>(), 1);
    session.store.close().await.expect("the store closes");
    let late = session.store.probe().await;
    assert!(matches!(late, Err(Error::Fatal(_))), "{late:?}");
}

/// Restore gives exactly the unfinished runs of the shards asked for, oldest first.
pub async fn restore_gives_the_unfinished_runs_oldest_first(open: &Open) {
    let session = Session::start(open).await;
    let mut live = Vec::new();
    for number in 0..200_i64 {
        // Created in another order than written, some at the same time.
        let created_at = Timestamp(1_700_000_000_000_000 + number * 7 % 50);
        let mut story = Story::new(number.unsigned_abs(), created_at, [].into());
        session.tell(&mut story).await;
        match number % 4 {
            0 => session.tell(story.start().end(RunStatus::Completed)).await,
            1 => session.tell(story.start().wait()).await,
            2 => session.tell(story.start()).await,
            _ => {}
        }
        if number % 4 != 0 {
            live.push(Unfinished {
                run: story.run,
                summary: story.summary(),
            });
        }
    }
    live.sort_by_key(|run| (run.summary.created_at, run.run));
    assert_eq!(unfinished(&session, session.fences()).await, live);
    let session = session.restart(open).await;
    assert_eq!(unfinished(&session, session.fences()).await, live);
    let half: Vec<Fence> = session.fences().into_iter().step_by(2).collect();
    live.retain(|run| half.iter().any(|fence| fence.shard == run.run.shard()));
    assert_eq!(unfinished(&session, half).await, live);
    assert!(!live.is_empty());
}

/// Runs in every state, before and behind a checkpoint, are the same after restarts.
pub async fn everything_survives_a_reopen(open: &Open) {
    let mut session = Session::start(open).await;
    let mut stories = Vec::new();
    for round in 0..3_u64 {
        for number in 0..40 {
            let mut story = Story::plain(round * 100 + number);
            session.tell(&mut story).await;
            stories.push(story);
        }
        for (number, story) in stories.iter_mut().enumerate() {
            match (number + round as usize) % 5 {
                0 if !story.status().is_ended() => session.tell(story.start().step("1")).await,
                1 if !story.status().is_ended() => {
                    session.tell(story.end(RunStatus::Failed)).await;
                }
                2 if !story.status().is_ended() => {
                    session.tell(story.wait()).await;
                    session.store.passivate(story.run);
                }
                3 if story.status() == RunStatus::Failed => session.tell(story.reopen()).await,
                _ => {}
            }
            if number == 30 {
                let done = session.store.checkpoint().await;
                done.expect("the checkpoint succeeds");
            }
        }
        session = session.restart(open).await;
        for story in &stories {
            session.expect(story).await;
        }
    }
}

/// What retention has removed is neither loaded nor listed, now and after a restart; unfinished
/// runs stay.
pub async fn a_retired_run_is_gone(open: &Open, retire: &Retire) {
    let session = Session::start(open).await;
    let mut ended = Story::plain(1);
    let mut live = Story::plain(2);
    session.tell(ended.start().end(RunStatus::Completed)).await;
    session.tell(live.start()).await;
    retire(session.store.clone()).await;
    assert_eq!(session.load(ended.run).await, None);
    session.expect(&live).await;
    assert_one_run(&session, &live).await;
    let session = session.restart(open).await;
    assert_eq!(session.load(ended.run).await, None);
    session.expect(&live).await;
    assert_one_run(&session, &live).await;
    // The id is free again, as the idempotency key is that it may stand for.
    let mut again = Story::plain(1);
    session.tell(&mut again).await;
    session.expect(&again).await;
}

/// Retention must not take the events of a run that was retried since it ended.
pub async fn a_reopened_run_outlives_its_record_in_history(open: &Open, retire: &Retire) {
    let session = Session::start(open).await;
    let mut story = Story::plain(1);
    session.tell(story.step("1").end(RunStatus::Failed)).await;
    let done = session.store.checkpoint().await;
    done.expect("the checkpoint succeeds");
    session.tell(story.reopen()).await;
    retire(session.store.clone()).await;
    session.expect(&story).await;
    let session = session.restart(open).await;
    session.expect(&story).await;
    session.tell(story.step("2")).await;
    session.expect(&story).await;
    assert_one_run(&session, &story).await;
}

async fn assert_one_run(session: &Session, story: &Story) {
    let page = Page {
        offset: 0,
        limit: 10,
    };
    let listing = session.store.list(Filter::default(), page).await;
    let listing = listing.expect("runs are listed");
    assert_eq!(listing.runs, [(story.run, story.summary())]);
    assert_eq!(listing.total, 1);
}

async fn unfinished(session: &Session, fences: Vec<Fence>) -> Vec<Unfinished> {
    let runs = session.store.restore(fences);
    runs.map(|run| run.expect("the run is restored"))
        .collect()
        .await
}
