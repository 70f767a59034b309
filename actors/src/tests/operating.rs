//! What operators see: probes, the supervision tree, figures.

use std::time::Duration;

use crane_core::RunStatus;
use crane_store::RunStore as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Node, chain, one, request};
use crate::metrics::ActorKind;
use crate::probe::{DEADLINE, FRESH, Probed};
use crate::shard::ShardMsg;
use crate::submit::Request;
use crate::supervision::{KindView, Tree};

fn kind(tree: &Tree, kind: ActorKind) -> &KindView {
    tree.kinds.iter().find(|view| view.kind == kind).unwrap()
}

/// Looks at the tree until it is as wanted.
async fn tree(node: &Node, wanted: impl Fn(&Tree) -> bool) -> Tree {
    let looking = async {
        loop {
            let tree = node.runtime.supervision();
            if wanted(&tree) {
                return tree;
            }
            tokio::task::yield_now().await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(30), looking).await;
    looked.unwrap_or_else(|_| panic!("{:#?}", node.runtime.supervision()))
}

#[tokio::test]
async fn a_node_in_good_health_says_so() {
    let node = Node::start().await;
    let probed = node.runtime.probe().await;
    assert!(probed.shards.is_fine(), "{probed:?}");
    assert!(probed.journal.is_fine(), "{probed:?}");
}

/// Asks until the answer is as wanted.
async fn probed(node: &Node, wanted: impl Fn(&Probed) -> bool) -> Probed {
    let asking = async {
        loop {
            let probed = node.runtime.probe().await;
            if wanted(&probed) {
                return probed;
            }
            tokio::time::sleep(FRESH / 10).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
    asked.expect("it is as wanted within half a minute")
}

#[tokio::test]
async fn a_shard_that_is_stuck_is_noticed_and_so_is_its_recovery() {
    let node = Node::start().await;
    let id = node.submit(chain(1)).await;
    node.ended(id).await;
    let (release, stuck) = oneshot::channel();
    node.runtime.send(id, ShardMsg::Stick(stuck));
    let begun = tokio::time::Instant::now();
    let found = node.runtime.probe().await;
    assert!(begun.elapsed() >= DEADLINE);
    let trouble = found.shards.trouble.clone().unwrap();
    assert!(trouble.contains("did not answer within 1s"), "{trouble}");
    assert!(found.journal.is_fine(), "{found:?}");
    // Everybody who asks now gets the same answer, at once.
    assert_eq!(node.runtime.probe().await, found);
    // However often it is asked, one question is in the mailbox of the shard.
    probed(&node, |again| again.shards.took != found.shards.took).await;
    let shards = node.runtime.supervision().shards;
    let waiting: Vec<_> = shards.iter().map(|shard| shard.mailbox_depth).collect();
    // The message that sticks, and the question behind it.
    assert_eq!(waiting.iter().sum::<u64>(), 2, "{waiting:?}");
    drop(release);
    probed(&node, |probed| probed.shards.is_fine()).await;
}

#[tokio::test]
async fn a_journal_that_is_stuck_is_noticed_and_so_is_its_recovery() {
    let node = Node::start().await;
    let hold = node.store.hold_writes();
    let found = node.runtime.probe().await;
    assert!(found.shards.is_fine(), "{found:?}");
    let trouble = found.journal.trouble.unwrap();
    assert!(trouble.contains("did not answer within 1s"), "{trouble}");
    drop(hold);
    probed(&node, |probed| probed.journal.is_fine()).await;
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_question() {
    let node = Node::start().await;
    let before = kind(&node.runtime.supervision(), ActorKind::Shard).mailbox_depth;
    let asked = (0..100).map(|_| node.runtime.probe());
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(before, 0);
}

#[tokio::test]
async fn a_store_that_has_failed_is_no_healthy_journal() {
    let node = Node::start().await;
    node.store.fail_next_write("disk on fire");
    let refused = node.runtime.submit(request(chain(1)), false).await;
    refused.unwrap_err();
    let trouble = node.runtime.probe().await.journal.trouble.unwrap();
    assert!(trouble.contains("does not take writes"), "{trouble}");
    let tree = tree(&node, |tree| kind(tree, ActorKind::Journal).failures == 1).await;
    let journal = kind(&tree, ActorKind::Journal);
    assert_eq!(journal.alive, 0);
    let failure = journal.last_failure.as_ref().unwrap();
    assert!(failure.reason.contains("has stopped"), "{failure:?}");
}

#[tokio::test]
async fn a_quiet_tree_counts_one_of_each_and_two_shards() {
    let node = Node::start().await;
    let id = node.submit(chain(3)).await;
    node.ended(id).await;
    let tree = tree(&node, |tree| {
        kind(tree, ActorKind::Run).alive == 0 && kind(tree, ActorKind::Step).alive == 0
    })
    .await;
    let alive: Vec<_> = tree.kinds.iter().map(|view| view.alive).collect();
    assert_eq!(alive, [1, 1, 1, 4, 2, 0, 0]);
    assert_eq!(kind(&tree, ActorKind::Step).spawned, 3);
    assert!(tree.kinds.iter().all(|view| view.failures == 0));
    assert!(tree.kinds.iter().all(|view| view.mailbox_depth == 0));
    assert_eq!(tree.shards.len(), 2);
    assert!(tree.shards.iter().all(|shard| shard.alive));
}

#[tokio::test]
async fn a_panicking_run_shows_in_the_tree_with_its_id() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.send(id, ShardMsg::Panic(Some(id)));
    node.world.wait_begun().await;
    let tree = tree(&node, |tree| kind(tree, ActorKind::Run).alive == 1).await;
    let runs = kind(&tree, ActorKind::Run);
    assert_eq!((runs.failures, runs.restarts_failed), (1, 1));
    assert_eq!((runs.restarts_store, runs.given_up), (0, 0));
    let failure = runs.last_failure.as_ref().unwrap();
    assert_eq!(failure.run, Some(id));
    assert!(failure.reason.contains("asked to panic"), "{failure:?}");
    assert_eq!(tree.shards.iter().map(|shard| shard.runs).sum::<usize>(), 1);
    node.world.open.add_permits(1);
    node.ended(id).await;
}

#[tokio::test]
async fn a_run_whose_events_the_store_refuses_is_restarted_for_that_reason() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    // Somebody else owns the shard from here on.
    node.store.acquire(vec![id.shard()]).await.unwrap();
    node.world.open.add_permits(1);
    let tree = tree(&node, |tree| kind(tree, ActorKind::Run).restarts_store > 0).await;
    let runs = kind(&tree, ActorKind::Run);
    assert_eq!(runs.restarts_failed, 0);
    let failure = runs.last_failure.as_ref().unwrap();
    assert!(failure.reason.contains("another epoch"), "{failure:?}");
}

#[tokio::test]
async fn a_panicking_shard_takes_its_actors_out_of_the_count_and_is_named() {
    let node = Node::start().await;
    let id = node.submit(one("block")).await;
    node.world.wait_begun().await;
    node.runtime.send(id, ShardMsg::Panic(None));
    node.world.wait_begun().await;
    let tree = tree(&node, |tree| {
        kind(tree, ActorKind::Run).alive == 1 && kind(tree, ActorKind::Step).alive == 1
    })
    .await;
    let shards = kind(&tree, ActorKind::Shard);
    assert_eq!((shards.alive, shards.restarts_failed), (2, 1));
    let restarted: Vec<_> = tree
        .shards
        .iter()
        .filter(|shard| shard.restarts > 0)
        .collect();
    assert_eq!(restarted.len(), 1);
    let failure = restarted[0].last_failure.as_ref().unwrap();
    assert_eq!(failure.actor, format!("shard {}", restarted[0].shard));
    node.world.open.add_permits(1);
    node.ended(id).await;
}

#[tokio::test]
async fn a_panicking_tool_shows_as_a_failed_step_and_a_failed_call() {
    let node = Node::start().await;
    let plan = json!({ "steps": [{
        "id": "bad", "tool": "panic", "input": {}, "retry": { "max_attempts": 1 }
    }] });
    let id = node.submit(plan).await;
    assert_eq!(node.ended(id).await.status(), RunStatus::Failed);
    let tree = node.runtime.supervision();
    let steps = kind(&tree, ActorKind::Step);
    assert_eq!(steps.failures, 1);
    let failure = steps.last_failure.as_ref().unwrap();
    assert_eq!(failure.actor, "step bad");
    assert_eq!(failure.run, Some(id));
    assert_eq!(node.runtime.figures().tool_calls["panic"], 1);
}

#[tokio::test]
async fn figures_count_steps_calls_and_prompts() {
    let node = Node::start().await;
    let id = node.submit(chain(3)).await;
    node.ended(id).await;
    for prompt in ["hello", "gibberish"] {
        let request = Request {
            prompt: Some(prompt.to_owned()),
            ..Request::default()
        };
        let run = node.runtime.submit(request, false).await.unwrap().run;
        node.ended(run.id).await;
    }
    // A dry run is a call and no step.
    node.runtime.try_tool("echo", json!({})).await.unwrap();
    let figures = node.runtime.figures();
    assert_eq!(figures.steps_executed, 4);
    assert_eq!(figures.tool_calls["echo"], 5);
    assert_eq!(figures.tool_calls["panic"], 0);
    assert_eq!(figures.planner, "none");
    assert_eq!(
        (figures.prompts_planned, figures.prompts_not_understood),
        (1, 1)
    );
    assert_eq!(figures.plans_refused, 0);
}

#[tokio::test]
async fn a_node_that_is_shut_down_in_order_has_not_failed() {
    let node = Node::start().await;
    let failed = node.runtime.failed();
    node.runtime.shutdown(Duration::from_secs(1)).await.unwrap();
    tree(&node, |tree| kind(tree, ActorKind::Node).alive == 0).await;
    let told = tokio::time::timeout(Duration::from_millis(50), failed).await;
    assert!(told.is_err(), "{told:?}");
}
