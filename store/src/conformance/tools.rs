//! Properties of the data of stateful tools.

use crane_core::{Json, RunId, RunStatus, limits};

use super::story::Story;
use super::{Open, Retire, Session};
use crate::{Error, ToolWrite, Write, commit};

const TOOL: &str = "todo_store";

/// A write that no run makes.
pub(super) fn write(tool: &str, key: &str, rows: &[(&str, Option<&str>)]) -> ToolWrite {
    let rows = rows
        .iter()
        .map(|(row, value)| ((*row).to_owned(), value.map(Json::from_trusted)));
    ToolWrite {
        tool: tool.to_owned(),
        run: None,
        key: key.to_owned(),
        rows: rows.collect(),
        result: Json::from_trusted(format!("\"{key}\"")),
    }
}

impl Session {
    async fn put(&self, write: ToolWrite) -> Result<(), Error> {
        commit(&*self.store, Write::Tool(write)).await
    }

    async fn rows(&self, tool: &str) -> Vec<(String, String)> {
        let rows = self.store.tool_rows(tool).await.expect("rows are read");
        rows.into_iter()
            .map(|(row, value)| (row, value.to_string()))
            .collect()
    }

    async fn row(&self, tool: &str, row: &str) -> Option<String> {
        let row = self.store.tool_row(tool, row).await;
        row.expect("a row is read").map(|row| row.to_string())
    }

    async fn result(&self, tool: &str, key: &str) -> Option<String> {
        let result = self.store.tool_result(tool, key).await;
        result
            .expect("a result is read")
            .map(|json| json.to_string())
    }
}

/// A second write with the same key changes nothing, and the first one's result stays.
pub async fn a_write_of_a_tool_counts_once(open: &Open) {
    let session = Session::start(open).await;
    assert_eq!(session.result(TOOL, "k").await, None);
    let first = write(TOOL, "k", &[("a", Some("1"))]);
    session.put(first.clone()).await.expect("it is durable");
    session.put(first).await.expect("a repeat is no error");
    let mut other = write(TOOL, "k", &[("a", Some("2")), ("b", Some("3"))]);
    other.result = Json::from_trusted("\"other\"");
    session.put(other).await.expect("a repeat is no error");
    assert_eq!(session.rows(TOOL).await, [("a".into(), "1".into())]);
    assert_eq!(session.result(TOOL, "k").await.as_deref(), Some("\"k\""));
    // The key counts for this tool alone.
    let elsewhere = write("other_tool", "k", &[("a", Some("9"))]);
    session.put(elsewhere).await.expect("it is durable");
    assert_eq!(session.row("other_tool", "a").await.as_deref(), Some("9"));
    assert_eq!(session.row(TOOL, "a").await.as_deref(), Some("1"));
}

/// Rows ascend by key; a later write replaces or deletes them.
pub async fn rows_of_a_tool_come_by_key_and_can_be_deleted(open: &Open) {
    let session = Session::start(open).await;
    assert_eq!(session.rows(TOOL).await, []);
    for (key, row) in ["c", "a", "b", "aa"].into_iter().enumerate() {
        let put = write(TOOL, &key.to_string(), &[(row, Some("1"))]);
        session.put(put).await.expect("it is durable");
    }
    let change = write(TOOL, "x", &[("a", None), ("b", Some("2")), ("zz", None)]);
    session.put(change).await.expect("it is durable");
    let rows = [("aa", "1"), ("b", "2"), ("c", "1")];
    let rows = rows.map(|(row, value)| (row.to_owned(), value.to_owned()));
    assert_eq!(session.rows(TOOL).await, rows);
    assert_eq!(session.row(TOOL, "a").await, None);
    assert_eq!(session.row(TOOL, "b").await.as_deref(), Some("2"));
}

/// Rows and results are there after restarts, with a checkpoint in between or not.
pub async fn data_of_tools_survive_a_reopen(open: &Open) {
    let mut session = Session::start(open).await;
    for round in 0..3 {
        for number in 0..50 {
            let row = number.to_string();
            let key = format!("{round}/{number}");
            let delete = number % 7 == round;
            let value = (!delete)
                .then_some(key.as_str())
                .map(|key| format!("\"{key}\""));
            let put = write(TOOL, &key, &[(&row, value.as_deref())]);
            session.put(put).await.expect("it is durable");
        }
        if round == 1 {
            let done = session.store.checkpoint().await;
            done.expect("the checkpoint succeeds");
        }
        let before = session.rows(TOOL).await;
        assert_eq!(
            before.len(),
            50 - (0..50).filter(|n| n % 7 == round).count()
        );
        session = session.restart(open).await;
        assert_eq!(session.rows(TOOL).await, before);
        let again = write(TOOL, &format!("{round}/3"), &[("3", Some("\"again\""))]);
        session.put(again).await.expect("a repeat is no error");
        assert_eq!(session.rows(TOOL).await, before);
    }
}

/// What is too large is refused by name and changes nothing; the store goes on.
pub async fn a_write_of_a_tool_past_a_limit_is_refused(open: &Open) {
    let session = Session::start(open).await;
    let large = format!("\"{}\"", "x".repeat(limits::TOOL_ROW_BYTES));
    let result = session.put(write(TOOL, "k", &[("a", Some(&large))])).await;
    assert!(matches!(result, Err(Error::Limit { .. })), "{result:?}");
    assert_eq!(session.rows(TOOL).await, []);
    assert_eq!(session.result(TOOL, "k").await, None);
    let small = write(TOOL, "k", &[("a", Some("1"))]);
    session.put(small).await.expect("it is durable");
    assert_eq!(session.row(TOOL, "a").await.as_deref(), Some("1"));
}

/// Results live as long as the run that made the write; rows stay.
pub async fn results_of_tools_are_forgotten_with_their_run(open: &Open, retire: &Retire) {
    let session = Session::start(open).await;
    let mut ended = Story::plain(1);
    let mut live = Story::plain(2);
    session.tell(&mut ended).await;
    session.tell(&mut live).await;
    let by = |run: RunId, key: &str| ToolWrite {
        run: Some(run),
        ..write(TOOL, key, &[(key, Some("1"))])
    };
    session.put(by(ended.run, "ended")).await.expect("durable");
    session.put(by(live.run, "live")).await.expect("durable");
    session
        .put(write(TOOL, "loose", &[]))
        .await
        .expect("durable");
    session.tell(ended.end(RunStatus::Completed)).await;
    let done = session.store.checkpoint().await;
    done.expect("the checkpoint succeeds");
    retire(session.store.clone()).await;
    let check = async |session: &Session| {
        assert_eq!(session.result(TOOL, "ended").await, None);
        assert!(session.result(TOOL, "live").await.is_some());
        assert!(session.result(TOOL, "loose").await.is_some());
        assert_eq!(session.rows(TOOL).await.len(), 2);
    };
    check(&session).await;
    let session = session.restart(open).await;
    check(&session).await;
}
