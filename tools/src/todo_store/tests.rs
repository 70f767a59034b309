//! The todo store against a store in memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crane_actors::tool::Origin;
use crane_core::{Attempt, Round, RunId, StepId, Timestamp};
use futures_util::future::join_all;

use super::*;
use crate::tests::Double;

const NOW: i64 = 1_700_000_000_000_000;

/// A tool, its store, and a count of the steps that called it.
struct Bench {
    tool: TodoStore,
    store: Arc<Double>,
}

impl Bench {
    fn new() -> Self {
        Self {
            tool: TodoStore::default(),
            store: Arc::default(),
        }
    }

    fn context(&self, step: Option<&str>, now: i64) -> CallContext {
        CallContext {
            origin: step.map(|step| Origin {
                run: RunId::from_bytes([1; 16]),
                step: StepId::new(step),
                round: Round(1),
                attempt: Attempt(1),
            }),
            store: self.store.clone(),
            now: Timestamp(now),
            trace_id: None,
        }
    }

    /// A dry run, at `NOW`.
    async fn call(&self, input: Value) -> Result<Value, ToolError> {
        self.tool.call(input, self.context(None, NOW)).await
    }

    async fn step(&self, step: &str, input: Value) -> Result<Value, ToolError> {
        self.tool.call(input, self.context(Some(step), NOW)).await
    }

    async fn add(&self, text: &str) -> String {
        let output = self
            .call(json!({"action": "add", "text": text}))
            .await
            .unwrap();
        output["todo"]["id"].as_str().unwrap().to_owned()
    }

    async fn texts(&self) -> Vec<String> {
        let list = self.call(json!({"action": "list"})).await.unwrap();
        let todos = list["todos"].as_array().unwrap();
        let text = |todo: &Value| todo["text"].as_str().unwrap().to_owned();
        todos.iter().map(text).collect()
    }
}

#[tokio::test]
async fn a_todo_lives_from_add_to_delete() {
    let bench = Bench::new();
    let added = bench
        .call(json!({"action": "add", "text": "buy milk"}))
        .await
        .unwrap();
    let id = added["todo"]["id"].as_str().unwrap().to_owned();
    assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    let mut todo = json!({
        "id": id,
        "text": "buy milk",
        "completed": false,
        "created_at": "2023-11-14T22:13:20.000000Z",
        "completed_at": null
    });
    assert_eq!(added, json!({"todo": todo}));
    let got = bench
        .call(json!({"action": "get", "todo_id": id}))
        .await
        .unwrap();
    assert_eq!(got, json!({"todo": todo}));

    let complete = json!({"action": "complete", "todo_id": id});
    let later = bench.context(None, NOW + 1_000_000);
    let completed = bench.tool.call(complete.clone(), later).await.unwrap();
    todo["completed"] = json!(true);
    todo["completed_at"] = json!("2023-11-14T22:13:21.000000Z");
    assert_eq!(completed, json!({"todo": todo}));
    let again = bench
        .tool
        .call(complete, bench.context(None, NOW + 9_000_000))
        .await;
    assert_eq!(
        again.unwrap(),
        completed,
        "the time of the first completion stays"
    );

    let list = bench.call(json!({"action": "list"})).await.unwrap();
    assert_eq!(
        list,
        json!({"todos": [todo], "total_count": 1, "completed_count": 1, "pending_count": 0})
    );

    let update = json!({"action": "update", "todo_id": id, "text": "x", "completed": false});
    let updated = bench.call(update).await.unwrap();
    todo["text"] = json!("x");
    todo["completed"] = json!(false);
    todo["completed_at"] = json!(null);
    assert_eq!(updated, json!({"todo": todo}));

    let deleted = bench
        .call(json!({"action": "delete", "todo_id": id}))
        .await
        .unwrap();
    assert_eq!(deleted, json!({"deleted": true, "todo_id": id}));
    let gone = bench
        .call(json!({"action": "get", "todo_id": id}))
        .await
        .unwrap_err();
    assert_eq!(
        gone,
        ToolError::invalid_input(format!("todo not found: {id}"))
    );
    assert_eq!(bench.texts().await, [""; 0]);
}

#[tokio::test]
async fn mistakes_of_the_caller_are_refused() {
    let bench = Bench::new();
    let id = bench.add("x").await;
    for input in [
        json!({}),
        json!({"action": "burn"}),
        json!({"action": "add"}),
        json!({"action": "add", "text": ""}),
        json!({"action": "add", "text": " \t\n"}),
        json!({"action": "add", "text": "x".repeat(TODO_TEXT_CHARS + 1)}),
        json!({"action": "add", "text": "x", "color": "red"}),
        json!({"action": "get"}),
        json!({"action": "get", "todo_id": "nobody"}),
        json!({"action": "complete", "todo_id": "nobody"}),
        json!({"action": "update", "todo_id": "nobody", "text": "y"}),
        json!({"action": "update", "todo_id": id}),
        json!({"action": "update", "todo_id": id, "text": " "}),
        json!({"action": "delete", "todo_id": "nobody"}),
    ] {
        let error = bench.call(input.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{input}: {error}");
    }
    assert_eq!(bench.texts().await, ["x"]);
}

#[tokio::test]
async fn the_longest_text_fits_into_a_row() {
    let bench = Bench::new();
    // The character that is longest in JSON.
    bench
        .add(&format!("x{}", "\u{1}".repeat(TODO_TEXT_CHARS - 1)))
        .await;
    let row = &bench.store.tool_rows(NAME).await.unwrap()[0].1;
    assert!(
        row.size() < crane_core::limits::TOOL_ROW_BYTES,
        "{}",
        row.size()
    );
}

#[tokio::test]
async fn a_repeat_of_a_step_returns_what_it_returned_and_changes_nothing() {
    let bench = Bench::new();
    let add = json!({"action": "add", "text": "once"});
    let first = bench.step("a", add.clone()).await.unwrap();
    let id = first["todo"]["id"].as_str().unwrap().to_owned();
    assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 5);
    let complete = json!({"action": "complete", "todo_id": id});
    let completed = bench.step("b", complete.clone()).await.unwrap();
    let delete = json!({"action": "delete", "todo_id": id});
    let deleted = bench.step("c", delete.clone()).await.unwrap();

    // Another process with the same store: nothing is remembered in the tool.
    let bench = Bench {
        tool: TodoStore::default(),
        ..bench
    };
    assert_eq!(bench.step("a", add.clone()).await.unwrap(), first);
    assert_eq!(bench.step("b", complete).await.unwrap(), completed);
    assert_eq!(bench.step("c", delete).await.unwrap(), deleted);
    assert_eq!(bench.texts().await, [""; 0]);
    let other = bench.step("d", add).await.unwrap();
    assert_ne!(other["todo"]["id"], first["todo"]["id"]);
}

#[tokio::test]
async fn a_step_whose_answer_was_lost_never_adds_twice() {
    let bench = Bench::new();
    let add = json!({"action": "add", "text": "once"});
    bench.store.lose_next_answer();
    let error = bench.step("a", add.clone()).await.unwrap_err();
    assert!(error.kind.is_retryable());
    bench.step("a", add).await.unwrap();
    assert_eq!(bench.texts().await, ["once"]);
}

#[tokio::test]
async fn concurrent_repeats_of_a_step_add_once() {
    let bench = Bench::new();
    let add = json!({"action": "add", "text": "once"});
    let outputs = join_all((0..50).map(|_| bench.step("a", add.clone()))).await;
    let first = outputs[0].clone().unwrap();
    assert!(outputs.into_iter().all(|output| output.unwrap() == first));
    assert_eq!(bench.texts().await, ["once"]);
}

#[tokio::test]
async fn concurrent_changes_of_one_todo_are_all_kept() {
    let bench = Bench::new();
    let id = bench.add("x").await;
    let (text, done) = tokio::join!(
        bench.call(json!({"action": "update", "todo_id": id, "text": "y"})),
        bench.call(json!({"action": "complete", "todo_id": id})),
    );
    text.unwrap();
    done.unwrap();
    let todo = bench
        .call(json!({"action": "get", "todo_id": id}))
        .await
        .unwrap();
    assert_eq!(todo["todo"]["text"], "y");
    assert_eq!(todo["todo"]["completed"], true);
}

#[tokio::test]
async fn a_call_that_is_dropped_keeps_its_lock_until_its_write_is_done() {
    let bench = Bench::new();
    let id = bench.add("x").await;
    bench.store.hold();
    let context = || bench.context(None, NOW);
    let update = json!({"action": "update", "todo_id": id, "text": "y"});
    let mut dropped = bench.tool.call(update, context());
    assert!(dropped.as_mut().now_or_never().is_none());
    assert_eq!(bench.store.held(), 1);
    drop(dropped);

    let complete = json!({"action": "complete", "todo_id": id});
    let mut waits = bench.tool.call(complete, context());
    assert!(waits.as_mut().now_or_never().is_none());
    assert_eq!(
        bench.store.held(),
        1,
        "the second write waits for the first"
    );
    bench.store.let_go();
    let todo = waits.await.unwrap();
    assert_eq!(todo["todo"]["text"], "y");
    assert_eq!(todo["todo"]["completed"], true);
}

#[tokio::test]
async fn todos_are_listed_in_order_of_creation_whatever_the_clock_does() {
    let bench = Bench::new();
    // All in one microsecond.
    for text in ["a", "b", "c", "d", "e"] {
        bench.add(text).await;
    }
    assert_eq!(bench.texts().await, ["a", "b", "c", "d", "e"]);
    // Another process, after the clock was set back by an hour.
    let bench = Bench {
        tool: TodoStore::default(),
        ..bench
    };
    let hour = 3_600_000_000;
    let early = bench.context(None, NOW - hour);
    let output = bench
        .tool
        .call(json!({"action": "add", "text": "f"}), early)
        .await
        .unwrap();
    assert_eq!(output["todo"]["created_at"], "2023-11-14T21:13:20.000000Z");
    bench.add("g").await;
    assert_eq!(bench.texts().await, ["a", "b", "c", "d", "e", "f", "g"]);
}

#[tokio::test]
async fn times_of_creation_follow_the_order() {
    let bench = Bench::new();
    join_all((0..100).map(|n| {
        let context = bench.context(None, NOW + (n * 37) % 100);
        bench
            .tool
            .call(json!({"action": "add", "text": "x"}), context)
    }))
    .await;
    let list = bench.call(json!({"action": "list"})).await.unwrap();
    let todos = list["todos"].as_array().unwrap();
    let times: Vec<_> = todos
        .iter()
        .map(|t| t["created_at"].as_str().unwrap())
        .collect();
    assert_eq!(times.len(), 100);
    assert!(times.is_sorted());
    let ids: BTreeSet<_> = todos.iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn a_row_of_an_unknown_version_is_an_error_and_no_panic() {
    let bench = Bench::new();
    for row in [
        "{}",
        "[]",
        "{\"v\":2,\"text\":\"x\",\"order\":1,\"created_us\":1}",
    ] {
        let write = ToolWrite {
            tool: NAME.to_owned(),
            run: None,
            key: row.to_owned(),
            rows: BTreeMap::from([("bad".to_owned(), Some(Json::from_trusted(row)))]),
            result: Json::null(),
        };
        crane_store::commit(&*bench.store, Write::Tool(write))
            .await
            .unwrap();
        let error = bench
            .call(json!({"action": "get", "todo_id": "bad"}))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{row}");
        assert!(error.message.contains("bad"), "{error}");
    }
}
