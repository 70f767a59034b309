//! Every queue has its number in `core/src/limits.rs`, read from the text of the product's source.

use std::fs;
use std::path::Path;

/// Where the product's source is, from the root of the workspace.
const SOURCES: [&str; 6] = [
    "src",
    "core/src",
    "store/src",
    "actors/src",
    "tools/src",
    "cluster/src",
];

/// What makes a queue, or lets so many in at a time. Its argument is the bound.
const MAKERS: [&str; 2] = ["channel", "Semaphore::new"];

/// Channels that hold one value, whatever is sent: they need no number.
const OF_ONE: [&str; 2] = ["oneshot::", "watch::"];

/// Files with a queue that its callers bound: of a run, one batch at a time is on its way.
const BOUND_BY_CALLERS: [&str; 1] = ["store/src/memory.rs"];

/// The text without comments, and without the tests behind the code.
fn product(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let bare = lines.filter(|line| !line.trim_start().starts_with("//"));
    bare.flat_map(|line| [line, "\n"]).collect()
}

/// Whether `letter` may be part of a name.
fn in_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What stands between a parenthesis that was just opened and its other half.
fn argument(rest: &str) -> &str {
    let mut depth = 1;
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest[..at].trim();
        }
    }
    rest
}

/// The arguments of all calls of `maker` in `code`, those of [`OF_ONE`] left out.
fn bounds<'c>(code: &'c str, maker: &str) -> Vec<&'c str> {
    let mut bounds = Vec::new();
    for (at, _) in code.match_indices(maker) {
        let (before, rest) = (&code[..at], &code[at + maker.len()..]);
        // `channel::<T>(bound)`
        let typed = rest
            .strip_prefix("::<")
            .and_then(|rest| rest.split_once(">("));
        let rest = typed.map(|(_, rest)| rest).or(rest.strip_prefix('('));
        // `unbounded_channel` and `sync_channel` are channels, too; `fn channel()` makes none.
        let of_one = OF_ONE.iter().any(|kind| before.ends_with(kind));
        let declared = before.trim_end_matches(in_name).ends_with("fn ");
        if let (Some(rest), false) = (rest, of_one || declared) {
            bounds.push(argument(rest));
        }
    }
    bounds
}

/// Whether a bound is missing, a literal number of more than one slot, or a constant from elsewhere
/// than `limits`. What is computed or handed in is taken as it is.
fn is_wrong(bound: &str) -> bool {
    let is_number = |path: &str| path.starts_with(|letter: char| letter.is_ascii_digit());
    let is_foreign = |path: &str| {
        let (place, name) = path.rsplit_once("::").unwrap_or(("", path));
        let is_constant = !name.contains(|letter: char| letter.is_lowercase());
        is_constant && !is_number(name) && !place.ends_with("limits")
    };
    let mut paths = bound
        .split(|letter: char| !in_name(letter) && letter != ':')
        .filter(|path| !path.is_empty());
    let is_one_slot = bound == "1";
    !is_one_slot && (paths.clone().all(is_number) || paths.any(is_foreign))
}

/// Every wrong bound of a file, as a sentence.
fn findings(file: &str, text: &str) -> Vec<String> {
    let code = product(text);
    let wrong = MAKERS.iter().flat_map(|maker| {
        let bounds = bounds(&code, maker).into_iter();
        let wrong = bounds.filter(|bound| is_wrong(bound));
        wrong.map(move |bound| format!("{file}: {maker}({bound})"))
    });
    wrong.collect()
}

/// All files of the product below `folder`, with their text.
fn files(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is listed").path();
        let name = path.file_name().and_then(|name| name.to_str());
        if matches!(name, Some("tests" | "tests.rs")) {
            continue;
        }
        if path.is_dir() {
            files(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("it is text");
            let path = path.strip_prefix(root).expect("it is below the root");
            found.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn every_queue_has_its_number_in_limits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for source in SOURCES {
        files(root, &root.join(source), &mut found);
    }
    let makes = |(_, text): &&(String, String)| {
        let code = product(text);
        MAKERS.iter().any(|maker| !bounds(&code, maker).is_empty())
    };
    assert!(
        found.iter().filter(makes).count() > 8,
        "it reads the source"
    );
    let wrong: Vec<String> = found
        .iter()
        .filter(|(file, _)| !BOUND_BY_CALLERS.contains(&file.as_str()))
        .flat_map(|(file, text)| findings(file, text))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_check_of_the_numbers_can_fail() {
    let wrong = |code: &str| findings("a.rs", code).len();
    for code in [
        "let (a, b) = mpsc::channel(64);",
        "let (a, b) = mpsc::channel::<Vec<u8>>(64);",
        "let (a, b) = broadcast::channel(4 * 16);",
        "let (a, b) = mpsc::unbounded_channel();",
        "let (a, b) = channel();",
        "Semaphore::new(EVENTS)",
        "Semaphore::new(super::EVENTS.max(size))",
        "Arc::new(tokio::sync::Semaphore::new(2 * EVENTS))",
    ] {
        assert_eq!(wrong(code), 1, "{code}");
    }
    for code in [
        "let (a, b) = mpsc::channel(limits::EVENTS);",
        "let (a, b) = mpsc::channel(2 * crane_core::limits::EVENTS);",
        "let (a, b) = mpsc::sync_channel(1);",
        "let (a, b) = oneshot::channel();",
        "let (a, b) = watch::channel(None);",
        "Semaphore::new(options.limits.active_runs)",
        "Semaphore::new(size.max(1))",
        "fn channel() -> Channel {}",
        "// channel(64)",
        "#[cfg(test)]\nmod tests {\n    channel(64);\n}",
    ] {
        assert_eq!(wrong(code), 0, "{code}");
    }
}
