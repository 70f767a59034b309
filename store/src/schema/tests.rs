//! Golden bytes: what was written once must decode for ever, and is still what is written.
//!
//! `tests/golden/v1.txt` has a line `name hex` for each sample. When a sample is added, the test
//! prints the line that is missing; a line that is there never changes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use crane_core::event::{Accepted, FailureReason, Labels};
use crane_core::tool::{ErrorKind, ToolError};
use crane_core::{
    Attempt, Event, Json, Record, Round, RunId, RunStatus, Seq, StepIndex, Timestamp,
};

use crate::tool_data::ToolData;
use crate::{Summary, ToolWrite, codec};

const GOLDEN: &str = include_str!("../../tests/golden/v1.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Checks one sample against its line, both ways.
#[track_caller]
fn check<T: PartialEq + Debug>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> T,
) {
    let line = GOLDEN
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(line, _)| *line == name);
    let Some((_, golden)) = line else {
        panic!(
            "tests/golden/v1.txt has no line for\n{name} {}",
            hex(&encode(value))
        );
    };
    assert_eq!(&decode(&unhex(golden)), value, "{name} decodes otherwise");
    assert_eq!(hex(&encode(value)), golden, "{name} is encoded otherwise");
}

fn json(text: &str) -> Json {
    Json::from_trusted(text)
}

fn labels() -> Labels {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [pair("env", "prod"), pair("team", "größe")].into()
}

fn error(kind: ErrorKind, retry_after: Option<Duration>) -> ToolError {
    ToolError {
        kind,
        message: "no answer".into(),
        retry_after,
    }
}

/// Every event, and every variant of what is in it.
#[allow(clippy::too_many_lines, reason = "one plain sample for each event")]
fn events() -> Vec<(String, Event)> {
    let step = StepIndex(300);
    let attempt = Attempt(2);
    let mut events = vec![
        Event::RunAccepted(Box::new(Accepted {
            prompt: Some("add 1 and 2".into()),
            plan: Some(json("{\"steps\":[]}")),
            input: json("{\"n\":1}"),
            labels: labels(),
            request_hash: Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        })),
        Event::RunPlanned {
            plan: json("{\"steps\":[1]}"),
        },
        Event::RunStarted,
        Event::StepStarted {
            step,
            attempt,
            input: json("{\"a\":\"b\"}"),
        },
        Event::StepAttemptFailed {
            step,
            attempt,
            error: error(ErrorKind::Transient, Some(Duration::new(3, 500_000_000))),
            retry_at: Timestamp(1_700_000_000_000_001),
            duration_us: 70_000,
        },
        Event::StepAttemptLost { step, attempt },
        Event::StepCompleted {
            step,
            attempt,
            output: json("30.0"),
            duration_us: 12,
        },
        Event::StepFailed {
            step,
            attempt,
            error: error(ErrorKind::InvalidInput, None),
            duration_us: u64::MAX,
        },
        Event::StepSkipped { step },
        Event::StepCancelled {
            step,
            attempt,
            late: Some(json("1")),
        },
        Event::RunCancelRequested,
        Event::RunReopened { round: Round(2) },
        Event::RunCompleted {
            result: json("30.0"),
        },
        Event::RunFailed {
            reason: FailureReason::Step,
            error: "step_1: no answer".into(),
        },
        Event::RunCancelled,
    ];
    let names: BTreeSet<&str> = events.iter().map(Event::name).collect();
    assert_eq!(names.len(), 15, "one sample for each event");
    let mut named: Vec<_> = events.drain(..).map(|e| (e.name().to_owned(), e)).collect();
    named.push((
        "run_accepted_bare".into(),
        Event::RunAccepted(Box::new(Accepted {
            prompt: None,
            plan: None,
            input: json("{}"),
            labels: Labels::new(),
            request_hash: None,
            trace_id: None,
        })),
    ));
    named.push((
        "step_cancelled_bare".into(),
        Event::StepCancelled {
            step: StepIndex(0),
            attempt: Attempt(1),
            late: None,
        },
    ));
    use ErrorKind as K;
    for kind in [
        K::InvalidInput,
        K::Transient,
        K::Permanent,
        K::Timeout,
        K::Unavailable,
        K::Panic,
        K::OutcomeUnknown,
        K::Expression,
        K::Limit,
        K::Interrupted,
    ] {
        let event = Event::StepFailed {
            step: StepIndex(0),
            attempt: Attempt(0),
            error: error(kind, None),
            duration_us: 0,
        };
        named.push((format!("step_failed_{}", kind.as_str()), event));
    }
    use FailureReason as F;
    for reason in [F::Step, F::Planning, F::Poisoned, F::Limit, F::Output] {
        let event = Event::RunFailed {
            reason,
            error: "why".into(),
        };
        named.push((format!("run_failed_{}", reason.as_str()), event));
    }
    named
}

fn summary(status: RunStatus) -> Summary {
    Summary {
        seq: Seq(70_000),
        status,
        round: Round(3),
        created_at: Timestamp(1_700_000_000_000_000),
        completed_at: status
            .is_ended()
            .then_some(Timestamp(1_700_000_000_500_000)),
        wake_at: (status == RunStatus::Waiting).then_some(Timestamp(-1)),
    }
}

fn tool_write(run: Option<RunId>) -> ToolWrite {
    ToolWrite {
        tool: "todo_store".into(),
        run,
        key: "0199/step_1/1".into(),
        rows: [
            ("a".to_owned(), Some(json("{\"text\":\"x\"}"))),
            ("b".to_owned(), None),
        ]
        .into(),
        result: json("{\"deleted\":true}"),
    }
}

#[test]
fn every_event_has_the_bytes_it_always_had() {
    for (name, event) in events() {
        let record = Record {
            seq: Seq(258),
            at: Timestamp(1_700_000_000_000_000),
            event,
        };
        check(
            &name,
            &record,
            |record| codec::encode(std::slice::from_ref(record)).bytes,
            |bytes| {
                let mut records = codec::records(bytes);
                let record = records.next().unwrap().unwrap();
                assert!(records.next().is_none());
                record
            },
        );
    }
}

#[test]
fn summaries_labels_and_tool_writes_have_the_bytes_they_always_had() {
    for status in RunStatus::ALL {
        check(
            &format!("summary_{}", status.as_str()),
            &summary(status),
            |summary| appended(|out| codec::encode_summary(summary, out)),
            |bytes| codec::decode_summary(bytes).unwrap(),
        );
    }
    for (name, labels) in [("labels", labels()), ("labels_none", Labels::new())] {
        check(
            name,
            &labels,
            |labels| appended(|out| codec::encode_labels(labels, out)),
            |bytes| codec::decode_labels(bytes).unwrap(),
        );
    }
    let run = RunId::from_bytes(*b"0123456789abcdef");
    for (name, run) in [("tool_write", Some(run)), ("tool_write_loose", None)] {
        check(
            name,
            &tool_write(run),
            |write| appended(|out| codec::encode_tool_write(write, out)),
            |bytes| codec::decode_tool_write(bytes).unwrap(),
        );
    }
}

#[test]
fn the_head_of_a_finished_run_has_the_bytes_it_always_had() {
    let head = (
        RunId::from_bytes(*b"0123456789abcdef"),
        summary(RunStatus::Failed),
        labels(),
        77,
    );
    check(
        "finished_head",
        &head,
        |(run, summary, labels, count)| {
            appended(|out| codec::encode_finished(*run, summary, labels, *count, out))
        },
        |bytes| {
            let head = codec::decode_finished(bytes).unwrap();
            (head.run, head.summary, head.labels, head.count)
        },
    );
}

#[test]
fn stored_data_of_tools_have_the_bytes_they_always_had() {
    let mut data = ToolData::default();
    data.apply(&tool_write(Some(RunId::from_bytes(*b"0123456789abcdef"))));
    let stored = all_dirty(&mut data);
    assert_eq!(stored.len(), 2);
    for (name, index) in [("tool_result", 0), ("tool_row", 1)] {
        let (key, value) = &stored[index];
        let both = |text: &[u8]| {
            let at = usize::from(text[0]);
            (text[1..=at].to_vec(), text[at + 1..].to_vec())
        };
        check(
            name,
            &(key.clone(), value.clone()),
            |(key, value)| [&[u8::try_from(key.len()).unwrap()], &key[..], value].concat(),
            both,
        );
    }
    let mut loaded = ToolData::default();
    for (key, value) in &stored {
        loaded.load(key, value).unwrap();
    }
    loaded.mark_dirty(stored.iter().map(|(key, _)| &key[..]));
    assert_eq!(all_dirty(&mut loaded), stored);
}

/// What would be written, by key; removed rows are left out.
fn all_dirty(data: &mut ToolData) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dirty = data.take_dirty().into_iter();
    let mut stored: Vec<_> = dirty
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    stored.sort_unstable();
    stored
}

fn appended(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    bytes
}
