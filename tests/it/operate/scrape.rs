//! Reading what a scrape gives, and holding its labels against small fixed sets.

use std::collections::BTreeMap;

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// All lines with a value.
pub(super) fn samples(text: &str) -> Vec<Sample> {
    let lines = text.lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}")))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    // No value here has a comma or an escape; one that had would be found as a stranger.
    let labels = labels
        .split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        });
    Some(Sample {
        name: name.to_owned(),
        labels: labels.collect::<Option<_>>()?,
        value: value.parse().ok()?,
    })
}

/// The value of the one series with this name and these labels; 0 where there is none.
pub(super) fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut found = samples(text).into_iter().filter(|sample| {
        let has = |(name, value): &(&str, &str)| {
            sample.labels.get(*name).is_some_and(|found| found == value)
        };
        sample.name == name && labels.iter().all(has)
    });
    let value = found.next().map_or(0.0, |sample| sample.value);
    assert_eq!(found.next(), None, "{name}{labels:?} is not one series");
    value
}

/// Labels whose values are no member of a small fixed set.
pub(super) fn strangers(text: &str) -> Vec<String> {
    let mut strangers = Vec::new();
    for sample in samples(text) {
        for (label, value) in &sample.labels {
            if !is_known(label, value) {
                strangers.push(format!("{}{{{label}={value:?}}}", sample.name));
            }
        }
    }
    strangers
}

/// Why actors are restarted, runs refused, attempts repeated, calls refused.
const REASONS: &[&str] = &[
    // restarts
    "failed",
    "store",
    // rejections of runs
    "invalid",
    "key_reused",
    "too_many_runs",
    "draining",
    "disk_reserve",
    "lost",
    "unplaced",
    // retries
    "transient",
    "timeout",
    "tool_unavailable",
    "panic",
    "interrupted",
    "other",
    // rejections of calls
    "invalid_input",
    "breaker_open",
    "queue_full",
];

fn is_known(label: &str, value: &str) -> bool {
    let among = |known: &[&str]| known.contains(&value);
    match label {
        "kind" => among(&[
            "node",
            "journal",
            "tool_supervisor",
            "tool",
            "shard",
            "run",
            "step",
        ]),
        "tool" => among(&[
            "calculator",
            "echo",
            "fail",
            "http",
            "sleep",
            "todo_store",
            "unknown",
        ]),
        "outcome" => among(&[
            "completed",
            "failed",
            "skipped",
            "cancelled",
            "success",
            "failure",
        ]),
        "state" => among(&["pending", "running", "waiting"]),
        "to" => among(&["closed", "half_open", "open"]),
        "class" => among(&["journal", "snapshots", "export", "history"]),
        "op" => among(&[
            "journal_space",
            "checkpoint_space",
            "snapshots_rebuilt",
            "corruption_accepted",
            "append",
            "tool_write",
            "renew",
            "read",
            "history",
            "fatal",
        ]),
        "reason" => among(REASONS),
        "code" => among(&[
            "200", "201", "202", "204", "400", "401", "404", "405", "409", "413", "415", "422",
            "429", "500", "503",
        ]),
        "route" => value == "other" || value.starts_with('/') && value.split('/').all(is_pattern),
        "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
        "version" => value == env!("CARGO_PKG_VERSION"),
        "commit" => value == "unknown" || value.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => false,
    }
}

/// Whether a part of a route is a word or a parameter, and nothing that somebody made up.
fn is_pattern(part: &str) -> bool {
    let word = part
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let word = word.unwrap_or(part);
    let letters = |c: char| c.is_ascii_lowercase() || "-._".contains(c);
    word == "v1" || (word.len() < 24 && word.chars().all(letters))
}
