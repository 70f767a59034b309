//! Nodes with a store each: a run has a home, and a key has one run.

use std::time::Duration;

use crane_actors::submit::Request;
use crane_core::{NodeName, RunId, RunStatus, placement};
use crane_store::{Filter, Page};

use super::Home;
use crate::api::{ApiError, ErrorType};
use crate::route::far::Far;
use crate::route::tests::world::{Fault, World, name};
use crate::route::words::{Answer, Ask, Told};

fn request(key: Option<&str>) -> Request {
    Request {
        prompt: Some("x".to_owned()),
        key: key.map(str::to_owned),
        ..Request::default()
    }
}

fn world() -> (World, [Far; 3]) {
    let world = World::new(false);
    let nodes = ["a", "b", "c"].map(|node| world.home(node, None));
    (world, nodes)
}

async fn submit(far: &Far, key: Option<&str>) -> Result<(RunId, Told), ApiError> {
    let (run, answer) = far.submit(request(key), Duration::ZERO).await?;
    match answer {
        Answer::Run(told) => Ok((run, told)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> ApiError {
    let error = answer.unwrap_err();
    assert_eq!(error.error_type, ErrorType::Unavailable, "{error:?}");
    error
}

fn home(far: &Far) -> &Home {
    match far {
        Far::Home(home) => home,
        Far::Shared(_) => panic!("they have a store each"),
    }
}

/// A key whose run would be created at `node`, of these nodes.
fn key_of(node: &str, nodes: &[&str]) -> String {
    let mut keys = (0..).map(|number: u32| number.to_string());
    let key = keys.find(|key| {
        let run = RunId::from_key("", key);
        placement::homes(run, nodes.iter().map(|node| name(node)))[0] == name(node)
    });
    key.expect("there is one")
}

#[tokio::test(start_paused = true)]
async fn new_runs_spread_and_can_be_read_and_changed_anywhere() {
    let (world, nodes) = world();
    for number in 0..30 {
        let (run, told) = submit(&nodes[number % 3], None).await.unwrap();
        assert!(told.created);
        for node in &nodes {
            let answer = node.ask(run, &Ask::Load).await.unwrap();
            assert!(
                matches!(&answer, Answer::Run(same) if same.text == told.text),
                "{answer:?}"
            );
        }
        let cancelled = nodes[(number + 1) % 3].ask(run, &Ask::Cancel).await;
        assert!(matches!(cancelled, Ok(Answer::Run(told)) if told.status.is_ended()));
    }
    for node in ["a", "b", "c"] {
        let here = world.created();
        let here = here.iter().filter(|(home, _)| home.as_str() == node);
        assert!(here.count() > 3, "{node} has too few");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_or_is_down_gets_no_new_run() {
    let (world, nodes) = world();
    world.drains("b");
    world.down("c");
    for _ in 0..10 {
        submit(&nodes[0], None).await.unwrap();
        submit(&nodes[1], None).await.unwrap();
    }
    assert!(world.created().iter().all(|(home, _)| home.as_str() == "a"));
}

#[tokio::test(start_paused = true)]
async fn a_new_run_whose_answer_is_lost_makes_no_twin() {
    let (world, nodes) = world();
    for _ in 0..10 {
        for node in ["b", "c"] {
            world.fault(node, Fault::ReplyLost);
        }
        let before = world.created().len();
        let (run, told) = submit(&nodes[0], None).await.unwrap();
        assert!(told.created);
        assert_eq!(world.created().len(), before + 1);
        assert_eq!(world.created()[before].1, run);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_one_run_wherever_it_arrives_at_once() {
    for number in 0..20 {
        let (world, nodes) = world();
        world.delays(number);
        let key = number.to_string();
        let all = nodes.iter().map(|node| submit(node, Some(&key)));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(world.created().len(), 1);
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert!(all.iter().all(|(run, _)| *run == all[0].0));
        let created = all.iter().filter(|(_, told)| told.created);
        assert_eq!(created.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_refused_while_a_member_that_may_hold_it_is_away() {
    let (world, nodes) = world();
    submit(&nodes[0], Some("first")).await.unwrap();
    world.down("c");
    let error = unavailable(submit(&nodes[0], Some("new")).await);
    assert_eq!(error.details["unreachable"], serde_json::json!(["c"]));
    assert!(error.detail.contains("crane node remove"), "{error:?}");
    // One that is known to be here is no question.
    let held = key_of("a", &["a", "b", "c"]);
    world.up("c");
    assert!(submit(&nodes[1], Some(&held)).await.unwrap().1.created);
    world.down("c");
    assert!(!submit(&nodes[0], Some(&held)).await.unwrap().1.created);
    assert!(!submit(&nodes[1], Some(&held)).await.unwrap().1.created);
    // Nor is it one without the member.
    home(&nodes[0]).remove_everywhere(name("c")).await.unwrap();
    assert!(submit(&nodes[1], Some("new")).await.unwrap().1.created);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_alive_is_not_removed() {
    let (_, nodes) = world();
    for node in ["a", "b"] {
        let error = home(&nodes[0]).remove_everywhere(name(node)).await;
        assert_eq!(error.unwrap_err().error_type, ErrorType::Conflict);
    }
    let unknown = home(&nodes[0]).remove_everywhere(name("x")).await;
    assert_eq!(unknown, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn members_that_were_seen_before_a_restart_are_asked_after_it() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(false);
    let a = world.home("a", Some(data.path()));
    world.home("b", None);
    submit(&a, Some("first")).await.unwrap();
    world.down("b");
    let a = world.home("a", Some(data.path()));
    let error = unavailable(submit(&a, Some("second")).await);
    assert_eq!(error.details["unreachable"], serde_json::json!(["b"]));
}

/// Lets a node keep its roster for a while.
async fn keeps_its_roster(node: &Far) {
    let kept = home(node).keep_roster();
    let over = tokio::time::timeout(Duration::from_secs(30), kept).await;
    assert!(over.is_err(), "it goes on");
}

#[tokio::test(start_paused = true)]
async fn members_are_remembered_when_they_come_up_and_with_whom_they_remember() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(false);
    let (a, b) = (world.home("a", Some(data.path())), world.home("b", None));
    world.home("c", None);
    assert!(home(&a).members().len() == 1);
    keeps_its_roster(&a).await;
    keeps_its_roster(&b).await;
    for node in ["b", "c"] {
        world.down(node);
    }
    // Nobody had asked for anything.
    let a = world.home("a", Some(data.path()));
    let nowhere = RunId::from_key("", "nowhere");
    let error = unavailable(a.ask(nowhere, &Ask::Load).await);
    assert_eq!(error.details["unreachable"], serde_json::json!(["b", "c"]));
    // One that comes when another is gone hears of it.
    world.up("b");
    let d = world.home("d", None);
    keeps_its_roster(&d).await;
    let error = unavailable(d.ask(nowhere, &Ask::Load).await);
    assert_eq!(error.details["unreachable"], serde_json::json!(["c"]));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_sent_only_to_a_member_that_was_written_down() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(false);
    let a = world.home("a", Some(data.path()));
    world.home("b", None);
    submit(&a, None).await.unwrap();
    assert_eq!(home(&a).members(), ["a", "b"].map(name));
    let unwritable = world.home("c", Some(&data.path().join("missing")));
    for _ in 0..10 {
        submit(&unwritable, None).await.unwrap();
    }
    let created = world.created();
    assert!(created[1..].iter().all(|(home, _)| *home == name("c")));
}

/// Submits one key at `a` and `b` at once, while one of them hears of a new member; gives how many runs
/// were created.
async fn key_while_a_member_is_new(seed: u64) -> usize {
    let world = World::new(false);
    let (a, b) = (world.home("a", None), world.home("b", None));
    submit(&a, Some("first")).await.unwrap();
    world.home("c", None);
    world.hides("a", "c");
    world.hides("b", "c");
    world.delays(seed);
    let key = seed.to_string();
    let later = async {
        tokio::time::sleep(Duration::from_millis(seed % 90)).await;
        world.reveals("c");
        submit(&b, Some(&key)).await
    };
    let (from_a, from_b) = tokio::join!(submit(&a, Some(&key)), later);
    let (from_a, from_b) = (from_a.unwrap(), from_b.unwrap());
    assert_eq!(from_a.0, from_b.0);
    world.created().len() - 1
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_run_also_while_members_are_new() {
    for seed in 0..300 {
        assert_eq!(key_while_a_member_is_new(seed).await, 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_met_nobody_yet_creates_no_twin() {
    let world = World::new(false);
    let a = world.home("a", None);
    // While there is nobody to be met, nobody is waited for.
    let (run, told) = submit(&a, Some("k")).await.unwrap();
    assert!(told.created);
    let b = world.home("b", None);
    world.hides("a", "b");
    world.hides("b", "a");
    let begun = tokio::time::Instant::now();
    let error = unavailable(submit(&b, Some("k")).await);
    assert!(error.detail.contains("cluster.seeds"), "{}", error.detail);
    let error = unavailable(b.ask(run, &Ask::Load).await);
    assert!(error.detail.contains("cluster.seeds"), "{}", error.detail);
    // It is said at once: another node may know more.
    assert_eq!(begun.elapsed(), Duration::ZERO);
    world.reveals("a");
    let (same, told) = submit(&b, Some("k")).await.unwrap();
    assert_eq!((same, told.created), (run, false));
    // Whoever has met others knows whom to ask, also when they are gone for good.
    world.down("a");
    assert!(home(&b).remove_everywhere(name("a")).await.unwrap());
    assert!(submit(&b, Some("other")).await.unwrap().1.created);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_may_be_at_a_member_that_is_away_is_not_told_to_be_nowhere() {
    let (world, nodes) = world();
    let nowhere = RunId::from_key("", "nowhere");
    let answer = nodes[0].ask(nowhere, &Ask::Load).await;
    assert_eq!(answer, Ok(Answer::NotFound));
    let key = key_of("c", &["a", "b", "c"]);
    let (run, _) = submit(&nodes[0], Some(&key)).await.unwrap();
    world.down("c");
    // This one remembers where it is, that one must ask around.
    for node in &nodes[..2] {
        let error = unavailable(node.ask(run, &Ask::Load).await);
        assert_eq!(error.details["unreachable"], serde_json::json!(["c"]));
    }
    world.up("c");
    assert!(matches!(
        nodes[1].ask(run, &Ask::Load).await,
        Ok(Answer::Run(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn lists_are_merged_and_say_whose_runs_are_missing() {
    let (world, nodes) = world();
    let mut runs = Vec::new();
    for number in 0..20 {
        runs.push(submit(&nodes[number % 3], None).await.unwrap().0);
    }
    runs.sort_unstable_by(|a, b| b.cmp(a));
    let ids =
        |merged: &super::Merged| -> Vec<RunId> { merged.runs.iter().map(|item| item.id).collect() };
    let page = |offset, limit| Page { offset, limit };
    for node in &nodes {
        let all = home(node)
            .list(Filter::default(), page(0, 100))
            .await
            .unwrap();
        assert_eq!((all.total, ids(&all)), (20, runs.clone()));
        assert!(all.missing.is_empty());
        let some = home(node)
            .list(Filter::default(), page(7, 5))
            .await
            .unwrap();
        assert_eq!(ids(&some), runs[7..12]);
    }
    world.down("b");
    let some = home(&nodes[0]).list(Filter::default(), page(0, 100)).await;
    let some = some.unwrap();
    assert_eq!(some.missing, [NodeName::new("b")]);
    assert!(some.total < 20 && some.total == some.runs.len());
    let far = home(&nodes[0])
        .list(Filter::default(), page(1_000_000, 1))
        .await;
    let far = far.unwrap();
    assert_eq!((far.total, far.runs.len()), (some.total, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_run_whose_home_is_away_goes_on_when_it_is_back() {
    let (world, nodes) = world();
    let key = key_of("c", &["a", "b", "c"]);
    let (run, _) = submit(&nodes[0], Some(&key)).await.unwrap();
    let happens = async {
        world.down("c");
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.up("c");
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.happens(run, 1, RunStatus::Completed);
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    let (told, ()) = tokio::join!(crate::route::ended_far(&nodes[0], run, until), happens);
    assert_eq!(told.unwrap().status, RunStatus::Completed);
}
