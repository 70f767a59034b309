//! What SQL can read, merged rows, and text that a database does not take as it is.

use std::sync::Arc;
use std::time::Duration;

use crane_core::event::FailureReason;
use crane_core::tool::{ErrorKind, ToolError};
use crane_core::{Attempt, Event, Json, RunStatus, StepIndex};

use super::kit::{
    self, Database, TestClock, Told, all_shards, expect, outcome, submit, tell, until,
};
use crate::postgres::verify;
use crate::{Filter, Page, RunStore, ToolWrite, Write, commit};

#[tokio::test]
async fn an_ended_run_can_be_read_by_sql() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    told.step(r#"{"sum":1.5,"odd":"a\u0000b","bad":"\ud800"}"#);
    let error = ToolError::new(ErrorKind::Permanent, "it\0broke");
    told.add(Event::StepFailed {
        step: StepIndex(1),
        attempt: Attempt(3),
        error,
        duration_us: 2_000_000,
    });
    told.status = RunStatus::Failed;
    told.add(Event::RunFailed {
        reason: FailureReason::Step,
        error: "b: it broke".into(),
    });
    tell(&store, &mut told).await;
    let mut fine = Told::new(2, &fences);
    tell(&store, fine.step(r#""x""#).end()).await;
    store.checkpoint().await.unwrap();

    let runs = database.sql(
        "SELECT status, plan, reason, error, result, started_at IS NOT NULL \
         FROM crane_runs ORDER BY created_at, run_id",
    );
    assert_eq!(
        runs,
        "failed|two|step_failed|b: it broke||t\ncompleted|two|||42|t"
    );
    let steps = database.sql(&format!(
        "SELECT position, step, tool, status, attempts, duration_ms::int, error_kind, error, \
                output, output_bytes \
         FROM crane_steps WHERE run_id = '{}' ORDER BY position",
        told.run
    ));
    // JSON that the database cannot take is left out; its size stays.
    assert_eq!(
        steps,
        "1|a|echo|completed|1|2||||43\n2|b|http|failed|3|2000|permanent|it\u{fffd}broke||"
    );
    let output = database.sql(&format!(
        "SELECT output FROM crane_steps WHERE run_id = '{}'",
        fine.run
    ));
    assert_eq!(output, "\"x\"");
}

#[tokio::test]
async fn a_run_that_nobody_has_described_is_when_its_shard_is_acquired() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    for number in 0..150 {
        tell(&store, Told::new(number, &fences).step("1").end()).await;
    }
    store.close().await.unwrap();
    let undescribed = "SELECT count(*) FROM runs WHERE history IS NULL";
    assert_eq!(database.sql(undescribed), "0");
    database.sql("UPDATE runs SET history = NULL");
    let store = database.open("a").await;
    store.acquire(all_shards()).await.unwrap();
    until("all are described", async || {
        database.sql(undescribed) == "0"
    })
    .await;
}

#[tokio::test]
async fn the_rows_of_a_long_run_are_merged_and_nothing_is_lost() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    let other = |number: usize| Event::StepStarted {
        step: StepIndex(0),
        attempt: Attempt(u32::try_from(number).unwrap()),
        input: Json::from_trusted(number.to_string()),
    };
    for number in 0..700 {
        tell(&store, told.add(other(number))).await;
    }
    store.checkpoint().await.unwrap();
    let rows: usize = database
        .sql("SELECT count(*) FROM journal")
        .parse()
        .unwrap();
    assert!(rows < 300, "{rows} rows");
    expect(&store, &told).await;
    // Old batches are still known, were they merged or not.
    for (from, upto) in [(0, 2), (100, 140), (250, 260), (698, 702)] {
        outcome(submit(&store, told.part(from, upto)))
            .await
            .unwrap();
    }
    // A statement that was sent twice may leave a row behind, which counts for nothing.
    let (id, epoch) = (told.run, told.epoch.0);
    database.sql(&format!(
        "INSERT INTO journal SELECT '{id}', 3, 4, {epoch}, incarnation, events FROM journal \
         WHERE after = 0"
    ));
    expect(&store, &told).await;
    tell(&store, told.step("1").end()).await;
    store.checkpoint().await.unwrap();
    expect(&store, &told).await;
    let report = verify(database.options("check")).await.unwrap();
    assert_eq!((report.events, report.findings), (705, Vec::new()));
}

#[tokio::test]
async fn text_with_zero_characters_is_kept_and_found() {
    let Some(database) = Database::shared() else {
        return;
    };
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    let mut append = told.batch();
    let label = ("te\0am".to_owned(), "\0\u{1}".to_owned());
    append.labels = Some(Arc::new([label.clone()].into()));
    outcome(submit(&store, append)).await.unwrap();
    let page = Page {
        offset: 0,
        limit: 10,
    };
    let find = async |labels| {
        let filter = Filter {
            statuses: Vec::new(),
            labels,
        };
        store.list(filter, page).await.unwrap().total
    };
    assert_eq!(find(vec![label]).await, 1);
    assert_eq!(
        find(vec![("te\0am".to_owned(), "\u{1}0".to_owned())]).await,
        0
    );

    let row = ("a\0b".to_owned(), Some(Json::from_trusted("\"x\"")));
    let write = ToolWrite {
        tool: "t\0".into(),
        run: None,
        key: "\0".into(),
        rows: [row.clone()].into(),
        result: Json::from_trusted("1"),
    };
    commit(&store, Write::Tool(write)).await.unwrap();
    let rows = store.tool_rows("t\0").await.unwrap();
    assert_eq!(rows, [(row.0, row.1.unwrap())]);
    assert!(store.tool_result("t\0", "\0").await.unwrap().is_some());
}

#[tokio::test]
async fn two_nodes_write_to_one_tool_and_each_key_counts_once() {
    let Some(database) = Database::shared() else {
        return;
    };
    let (a, b) = (database.open("a").await, database.open("b").await);
    let write = |key: usize| ToolWrite {
        tool: "counter".into(),
        run: None,
        key: key.to_string(),
        rows: [(
            format!("{}", key % 10),
            Some(Json::from_trusted(key.to_string())),
        )]
        .into(),
        result: Json::from_trusted("null"),
    };
    let writes =
        (0..200).flat_map(|key| [&a, &b].map(|store| commit(store, Write::Tool(write(key)))));
    for result in futures_util::future::join_all(writes).await {
        result.unwrap();
    }
    let counted = database.sql("SELECT rows, loose, bytes FROM tools");
    let real = database.sql(
        "SELECT (SELECT count(*) FROM tool_rows), (SELECT count(*) FROM tool_results), \
                (SELECT sum(octet_length(name) + octet_length(value)) FROM tool_rows)",
    );
    assert_eq!(counted, real);
    assert!(counted.starts_with("10|200|"), "{counted}");
}

#[tokio::test]
async fn two_nodes_may_remove_old_runs_at_once() {
    let Some(database) = Database::shared() else {
        return;
    };
    let clock = TestClock::default();
    let open = |node: &str| {
        let mut options = database.options(node);
        options.now = clock.as_clock();
        kit::open(options)
    };
    let (a, b) = (open("a").await.unwrap(), open("b").await.unwrap());
    let fences = a.acquire(all_shards()).await.unwrap();
    for number in 0..300 {
        tell(&a, Told::new(number, &fences).end()).await;
    }
    let mut live = Told::new(1_000, &fences);
    tell(&a, &mut live).await;
    clock.advance(Duration::from_secs(30 * 24 * 3600));
    let (one, two) = tokio::join!(a.checkpoint(), b.checkpoint());
    one.unwrap();
    two.unwrap();
    until("old runs are gone", async || {
        database.sql("SELECT count(*) FROM runs") == "1"
    })
    .await;
    assert_eq!(
        database.sql("SELECT count(DISTINCT run_id) FROM journal"),
        "1"
    );
    expect(&a, &live).await;
}
