//! The checker finds what was planted, each kind of it, and nothing else.

use super::kit::{Database, Told, all_shards, run_id, tell};
use crate::RunStore;
use crate::postgres::{Finding, verify};

/// What the checker says of a database with `runs` ended runs of five rows each, in which `damage`
/// was done; `{n}` in it stands for the id of run n.
async fn found(database: &Database<'_>, runs: u64, damage: &str) -> Vec<Finding> {
    let store = database.open("a").await;
    let fences = store.acquire(all_shards()).await.unwrap();
    for number in 1..=runs {
        let mut told = Told::new(number, &fences);
        for step in 0..3 {
            tell(&store, told.step(&step.to_string())).await;
        }
        tell(&store, told.end()).await;
    }
    store.close().await.unwrap();
    let sound = verify(database.options("check")).await.unwrap();
    assert_eq!(sound.findings, []);
    let mut sql = damage.to_owned();
    for number in 1..=runs {
        sql = sql.replace(&format!("{{{number}}}"), &run_id(number).to_string());
    }
    database.sql(&sql);
    verify(database.options("check")).await.unwrap().findings
}

#[tokio::test]
async fn what_is_wrong_with_one_run_is_found_there() {
    let Some(database) = Database::shared() else {
        return;
    };
    let damages = [
        (
            "DELETE FROM journal WHERE run_id = '{1}' AND after = 4",
            "events 5 to 6 are missing",
        ),
        (
            "UPDATE journal SET events = events || '\\x00' WHERE run_id = '{2}' AND after = 0",
            "cut short",
        ),
        (
            "UPDATE journal SET epoch = epoch + 1 WHERE run_id = '{3}' AND after = 4",
            "e1 follows e2",
        ),
        ("DELETE FROM runs WHERE run_id = '{4}'", "no such run"),
        ("DELETE FROM journal WHERE run_id = '{5}'", "it has none"),
        (
            "UPDATE runs SET status = 11 WHERE run_id = '{6}'",
            "status failed is not that",
        ),
        (
            "UPDATE runs SET status = 1 WHERE run_id = '{7}'",
            "status running is not that",
        ),
        (
            "UPDATE runs SET status = 9 WHERE run_id = '{8}'",
            "9 is no status",
        ),
        (
            "UPDATE runs SET round = 2 WHERE run_id = '{9}'",
            "it is in round 2",
        ),
        (
            "UPDATE runs SET seq = 8 WHERE run_id = '{10}'",
            "it ended at 8",
        ),
        (
            "UPDATE runs SET shard = (shard + 1) % 512 WHERE run_id = '{11}'",
            "it is on shard",
        ),
        (
            "UPDATE journal SET epoch = 7 WHERE run_id = '{12}' AND after = 8",
            "e7 is newer than its shard's e2",
        ),
        (
            "INSERT INTO journal SELECT run_id, 9, 10, epoch, incarnation, events FROM journal \
             WHERE run_id = '{13}' AND after = 8",
            "round 1 ends twice",
        ),
        (
            "UPDATE journal SET after = 5 WHERE run_id = '{14}' AND after = 6",
            "events 6 to 6 are there twice",
        ),
    ];
    let damage: Vec<&str> = damages.iter().map(|(sql, _)| *sql).collect();
    let found = found(&database, 14, &damage.join(";\n")).await;
    for (number, (_, part)) in (1..).zip(damages) {
        let about = |finding: &&Finding| finding.run == Some(run_id(number));
        let found: Vec<_> = found.iter().filter(about).collect();
        let says = found.iter().any(|finding| finding.detail.contains(part));
        assert!(says, "run {number}, {part}: {found:?}");
    }
    let image = database.open("a").await.load(run_id(1)).await;
    assert!(
        matches!(image, Err(crate::Error::Corrupt { .. })),
        "{image:?}"
    );
}

#[tokio::test]
async fn two_nodes_in_one_epoch_of_a_shard_are_found() {
    let Some(database) = Database::shared() else {
        return;
    };
    let damage = "UPDATE journal SET incarnation = incarnation + 1 \
         WHERE run_id = '{1}' AND after = 4";
    let found = found(&database, 2, damage).await;
    let [finding] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(finding.run, Some(run_id(1)));
    assert!(finding.detail.contains("which is that of"), "{finding:?}");
}

#[tokio::test]
async fn whoever_writes_in_an_epoch_that_nobody_owns_is_found() {
    let Some(database) = Database::shared() else {
        return;
    };
    let damage = "UPDATE journal SET epoch = epoch + 1 WHERE run_id = '{1}'";
    let found = found(&database, 1, damage).await;
    assert!(!found.is_empty());
    for finding in found {
        assert!(finding.detail.contains("nobody owns"), "{finding:?}");
    }
}

#[tokio::test]
async fn what_is_there_twice_is_found_although_an_index_denies_it() {
    let Some(database) = Database::shared() else {
        return;
    };
    let damage = "ALTER TABLE runs DROP CONSTRAINT runs_pkey; \
         ALTER TABLE tool_results DROP CONSTRAINT tool_results_pkey; \
         INSERT INTO runs SELECT * FROM runs; \
         INSERT INTO tool_results (tool, key, value) SELECT 't', 'k', '1' FROM generate_series(1, 2); \
         DELETE FROM shards WHERE shard = (SELECT (min(shard) + 1) % 512 FROM runs)";
    let found = found(&database, 1, damage).await;
    let has = |place: &str, part: &str| {
        let mut found = found.iter();
        found.any(|finding| finding.file == place && finding.detail.contains(part))
    };
    assert!(has("runs", "more than once"), "{found:?}");
    assert!(has("tool results", "\"k\" of t"), "{found:?}");
    assert!(has("shards", "511 of 512"), "{found:?}");
}
