//! Repeats, limits, forgetting, and the way through stored rows and back.

#![allow(clippy::unwrap_used)]

use super::*;

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn write(run: Option<RunId>, key: &str, rows: &[(&str, Option<&str>)]) -> ToolWrite {
    let rows = rows
        .iter()
        .map(|(row, value)| ((*row).to_owned(), value.map(Json::from_trusted)));
    ToolWrite {
        tool: "todo".into(),
        run,
        key: key.into(),
        rows: rows.collect(),
        result: Json::from_trusted(format!("\"{key}\"")),
    }
}

/// Writes what is dirty into `stored`, as a checkpoint does.
fn store(data: &mut ToolData, stored: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in data.take_dirty() {
        match value {
            Some(value) => stored.insert(key, value),
            None => stored.remove(&key),
        };
    }
    assert!(data.dirty.is_empty());
}

/// Everything there is, as it would be stored.
fn dump(data: &mut ToolData) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeSet::new();
    for (tool, found) in &data.tools {
        let rows = found.rows.keys().map(|row| (tool.clone(), row.clone()));
        all.extend(rows.map(|(tool, row)| Item::Row { tool, row }));
        let results = found.results.keys().map(|key| (tool.clone(), key.clone()));
        all.extend(results.map(|(tool, key)| Item::Result { tool, key }));
    }
    let dirty = std::mem::replace(&mut data.dirty, all);
    let stored = data.take_dirty().into_iter();
    let stored = stored.map(|(key, value)| (key, value.unwrap())).collect();
    data.dirty = dirty;
    stored
}

fn reload(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> ToolData {
    let mut data = ToolData::default();
    for (key, value) in stored {
        data.load(key, value).unwrap();
    }
    data
}

#[test]
fn a_repeat_is_told_apart_and_changes_nothing() {
    let mut data = ToolData::default();
    assert!(data.apply(&write(None, "k", &[("a", Some("1"))])));
    data.take_dirty();
    assert!(!data.apply(&write(None, "k", &[("a", Some("2"))])));
    assert!(data.dirty.is_empty());
    assert_eq!(data.row("todo", "a"), Some(Json::from_trusted("1")));
    assert_eq!(data.result("todo", "k"), Some(Json::from_trusted("\"k\"")));
    assert_eq!(data.result("other", "k"), None);
}

#[test]
fn dirty_items_rebuild_the_same_data_after_any_number_of_checkpoints() {
    let mut data = ToolData::default();
    let mut stored = BTreeMap::new();
    for number in 0..60_u8 {
        let row = (number % 7).to_string();
        let value = (number % 5 != 0).then(|| number.to_string());
        let by = (number % 3 != 0).then(|| run(number % 4));
        data.apply(&write(by, &number.to_string(), &[(&row, value.as_deref())]));
        if number % 11 == 0 {
            data.forget_run(run(1));
        }
        if number % 4 == 0 {
            store(&mut data, &mut stored);
            assert_eq!(stored, dump(&mut data));
            let mut loaded = reload(&stored);
            assert!(loaded.dirty.is_empty());
            assert_eq!(dump(&mut loaded), stored);
            assert_eq!(loaded.rows("todo"), data.rows("todo"));
            assert_eq!(loaded.tools["todo"].bytes, data.tools["todo"].bytes);
            data = loaded;
        }
    }
}

#[test]
fn what_could_not_be_written_can_be_given_back() {
    let mut data = ToolData::default();
    data.apply(&write(None, "k", &[("a", Some("1"))]));
    let lost = data.take_dirty();
    data.apply(&write(None, "l", &[("a", Some("2"))]));
    data.mark_dirty(lost.iter().map(|(key, _)| &key[..]));
    let mut stored = BTreeMap::new();
    store(&mut data, &mut stored);
    assert_eq!(dump(&mut reload(&stored)), dump(&mut data));
    assert_eq!(stored.len(), 3);
}

#[test]
fn results_are_forgotten_with_their_run_and_only_they() {
    let mut data = ToolData::default();
    data.apply(&write(Some(run(1)), "one", &[("a", Some("1"))]));
    data.apply(&write(Some(run(2)), "two", &[]));
    data.apply(&write(None, "loose", &[]));
    data.forget_run(run(1));
    data.forget_run(run(9));
    assert_eq!(data.result("todo", "one"), None);
    assert!(data.result("todo", "two").is_some());
    assert!(data.result("todo", "loose").is_some());
    assert!(data.row("todo", "a").is_some());
    assert!(data.apply(&write(Some(run(3)), "one", &[("a", Some("2"))])));
}

#[test]
fn loose_results_are_bounded_and_the_oldest_go_first_also_after_loading() {
    let mut data = ToolData::default();
    for number in 0..=limits::TOOL_LOOSE_RESULTS {
        data.apply(&write(None, &number.to_string(), &[]));
    }
    assert_eq!(data.result("todo", "0"), None);
    assert!(data.result("todo", "1").is_some());
    let mut stored = BTreeMap::new();
    store(&mut data, &mut stored);
    assert_eq!(stored.len(), limits::TOOL_LOOSE_RESULTS);
    let mut data = reload(&stored);
    data.apply(&write(None, "next", &[]));
    assert_eq!(data.result("todo", "1"), None);
    assert!(data.result("todo", "2").is_some());
    assert!(data.result("todo", "next").is_some());
}

#[test]
fn every_limit_is_checked_and_named() {
    let mut data = ToolData::default();
    let refused = |data: &ToolData, write: &ToolWrite, what: &str| {
        let error = data.check(write).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.to_string().contains("tool"), "{error}");
    };
    let long = "x".repeat(limits::TOOL_KEY_BYTES + 1);
    refused(&data, &write(None, &long, &[]), "idempotency key");
    refused(&data, &write(None, "k", &[(&long, None)]), "row's key");
    let large = "x".repeat(limits::TOOL_ROW_BYTES + 1);
    refused(&data, &write(None, "k", &[("a", Some(&large))]), "a row of");
    let names: Vec<String> = (0..=limits::TOOL_WRITE_ROWS)
        .map(|n| n.to_string())
        .collect();
    let rows: Vec<_> = names.iter().map(|name| (&**name, Some("1"))).collect();
    refused(&data, &write(None, "k", &rows), "number of rows of a write");
    let fits = "x".repeat(limits::TOOL_ROW_BYTES);
    let rows: Vec<_> = names[..40].iter().map(|n| (&**n, Some(&*fits))).collect();
    refused(&data, &write(None, "k", &rows), "a write of");

    for chunk in 0..limits::TOOL_ROWS / limits::TOOL_WRITE_ROWS {
        let names: Vec<String> = (0..limits::TOOL_WRITE_ROWS)
            .map(|n| format!("{chunk}/{n}"))
            .collect();
        let rows: Vec<_> = names.iter().map(|name| (&**name, Some("1"))).collect();
        let write = write(None, &chunk.to_string(), &rows);
        data.check(&write).unwrap();
        data.apply(&write);
    }
    refused(
        &data,
        &write(None, "k", &[("new", Some("1"))]),
        "number of rows",
    );
    data.check(&write(None, "k", &[("0/0", Some("2"))]))
        .unwrap();
    data.check(&write(None, "k", &[("0/0", None)])).unwrap();
    data.check(&write(None, "k", &[("0/0", None), ("new", Some("1"))]))
        .unwrap();
    // A repeat changes nothing, so it may not fail.
    data.check(&write(None, "0", &[("new", Some(&large))]))
        .unwrap();
}

#[test]
fn the_bytes_of_a_tool_are_bounded() {
    let mut data = ToolData::default();
    let value = "x".repeat(limits::TOOL_ROW_BYTES);
    let mut number = 0;
    let error = loop {
        let write = write(
            None,
            &number.to_string(),
            &[(&number.to_string(), Some(&value))],
        );
        if let Err(error) = data.check(&write) {
            break error;
        }
        // The value is shared, so that the test does not take what the limit allows.
        let mut write = write;
        write.rows.clear();
        data.apply(&write);
        data.tools.get_mut("todo").unwrap().bytes += value.len();
        number += 1;
    };
    assert!(error.to_string().contains("all rows"), "{error}");
    assert!(number > 1_000);
}

#[test]
fn malformed_keys_and_values_are_refused() {
    let mut data = ToolData::default();
    for key in [&b""[..], b"r", b"x\0\x01ta", b"r\0\x09ta", b"r\0\x01\xff"] {
        assert!(
            matches!(data.load(key, &[1, 0, 0]), Err(Error::Corrupt { .. })),
            "{key:?}"
        );
    }
    assert!(data.load(b"r\0\x01ta", &[1, 0, 9]).is_err());
    assert!(matches!(
        data.load(b"r\0\x01ta", &[7, 0, 0]),
        Err(Error::Schema { version: 7, .. })
    ));
    assert!(data.tools.is_empty());
}
