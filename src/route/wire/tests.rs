//! What is sent is what is read, and what was sent by an earlier version stays readable.

use std::time::Duration;

use bytes::Bytes;
use crane_actors::submit::Request;
use crane_core::{NodeName, RunId, RunStatus, Seq, Timestamp};
use crane_store::Filter;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::{ApiError, ErrorType};
use crate::route::words::{
    After, Answer, Ask, Events, FindAsk, Form, Found, ListAsk, Listed, Outline,
};
use crate::route::words::{NewRun, Told};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn run() -> RunId {
    RunId::from_bytes([7; 16])
}

fn sent(ask: &Ask) -> Ask {
    let request = encode(run(), ask);
    match decode(&request) {
        Ok(Asked::Run(about, ask)) if about == run() => ask,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_submission_arrives_as_it_was_sent() {
    let request = Request {
        prompt: Some("a\u{0}\"ü".to_owned()),
        plan: Some(json!({ "steps": [{ "x": 0.1 }, 1e300, u64::MAX, i64::MIN] })),
        input: Some(json!({ "a": null })),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        key: Some("key".to_owned()),
        tenant: "t".to_owned(),
        trace_id: Some(TRACE.to_owned()),
        id: Some(run()),
    };
    let wait = Duration::from_millis(1_500);
    let new = NewRun {
        request: request.clone(),
        wait,
    };
    let Ask::Submit(got) = sent(&Ask::Submit(Box::new(new))) else {
        panic!("it became another question");
    };
    assert_eq!(got.wait, wait);
    assert_eq!(format!("{:?}", got.request), format!("{request:?}"));
}

#[test]
fn questions_arrive_as_they_were_sent() {
    let wait = Duration::from_millis(250);
    for ask in [
        Ask::Load,
        Ask::Cancel,
        Ask::Retry,
        Ask::End { wait },
        Ask::Events(After {
            seq: Seq(u64::MAX),
            wait,
            form: Form::Frames,
        }),
        Ask::Events(After {
            seq: Seq(0),
            wait: Duration::ZERO,
            form: Form::Elements,
        }),
    ] {
        assert_eq!(format!("{:?}", sent(&ask)), format!("{ask:?}"));
    }
    let list = ListAsk {
        filter: Filter {
            statuses: RunStatus::ALL.to_vec(),
            labels: vec![("a".to_owned(), "=b".to_owned())],
        },
        limit: 17,
    };
    let got = decode(&encode_list(&list)).unwrap();
    assert!(matches!(got, Asked::List(got) if got == list));
    let find = FindAsk {
        by: NodeName::new("a"),
        home: NodeName::new("b"),
    };
    let got = decode(&encode_find(run(), &find)).unwrap();
    assert!(matches!(got, Asked::Find(about, got) if about == run() && got == find));
    let got = decode(&encode_forget(&NodeName::new("c"))).unwrap();
    assert!(matches!(got, Asked::Forget(node) if node.as_str() == "c"));
}

#[test]
fn only_what_may_be_held_back_counts_as_such() {
    let waits = |ask: &Ask| encode(run(), ask).kind >> 15 == 1;
    let events = |wait| {
        Ask::Events(After {
            seq: Seq(0),
            wait,
            form: Form::Frames,
        })
    };
    assert!(waits(&events(Duration::from_millis(1))));
    assert!(!waits(&events(Duration::ZERO)));
    assert!(waits(&Ask::End {
        wait: Duration::ZERO
    }));
    assert!(!waits(&Ask::Cancel));
}

#[test]
fn the_bytes_of_this_version_never_change() {
    let ask = Ask::Events(After {
        seq: Seq(7),
        wait: Duration::from_millis(10),
        form: Form::Elements,
    });
    let request = encode(run(), &ask);
    assert_eq!(request.kind, 0x8014);
    let body = b"\x01{\"after\":7,\"wait_ms\":10,\"elements\":true}";
    assert_eq!(request.body, body);
    let told = Answer::Run(Told {
        text: Bytes::from_static(b"{}"),
        status: RunStatus::Completed,
        created: true,
    });
    assert_eq!(encode_answer(&told), [1, 0, 3, 1, b'{', b'}']);
    let events = Answer::Events(Events {
        seen: Seq(258),
        ended: true,
        more: false,
        bytes: Bytes::from_static(b"x"),
    });
    let bytes = [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2, b'x'];
    assert_eq!(encode_answer(&events), bytes);
    assert_eq!(encode_answer(&Answer::NotFound), [1, 2]);
}

#[test]
fn a_refusal_arrives_word_for_word() {
    let mut refusal = ApiError::new(ErrorType::TooManyRequests, "too many")
        .with(json!({ "limit": 3 }))
        .because("of the others");
    refusal.retry_after = Some(9);
    let answer = Answer::Refused(refusal);
    assert_eq!(decode_answer(encode_answer(&answer)), Ok(answer));
}

#[test]
fn a_refusal_of_a_newer_kind_is_a_failure() {
    let mut bytes = vec![1, 3];
    let body = json!({
        "error_type": "tired", "detail": "d", "details": {}, "retry_after": null, "cause": null
    });
    bytes.extend(body.to_string().bytes());
    let Ok(Answer::Refused(error)) = decode_answer(bytes) else {
        panic!("it is a refusal");
    };
    assert_eq!(error.error_type, ErrorType::Internal);
}

#[test]
fn what_is_not_understood_says_why() {
    let mut request = encode(run(), &Ask::Load);
    request.body = vec![2];
    let error = decode(&request).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    request.kind = 999;
    let error = decode(&request).unwrap_err().to_string();
    assert_eq!(error, "unknown request: kind 999");
    request = encode(run(), &Ask::Load);
    request.run = None;
    assert!(decode(&request).is_err());
    assert!(decode_answer(vec![]).is_err());
    assert!(decode_answer(vec![1, 99]).is_err());
    assert!(decode_answer(vec![1, 0, 99, 1]).is_err());
}

proptest! {
    #[test]
    fn answers_arrive_as_they_were_sent(
        text in any::<Vec<u8>>(),
        status in 0..RunStatus::ALL.len(),
        (created, ended, more) in any::<(bool, bool, bool)>(),
        seen in any::<u64>(),
        runs in any::<Vec<([u8; 16], i64, Option<i64>)>>(),
    ) {
        let text = Bytes::from(text);
        let told = Answer::Run(Told {
            text: text.clone(),
            status: RunStatus::ALL[status],
            created,
        });
        prop_assert_eq!(decode_answer(encode_answer(&told)), Ok(told));
        let events = Answer::Events(Events { seen: Seq(seen), ended, more, bytes: text });
        prop_assert_eq!(decode_answer(encode_answer(&events)), Ok(events));
        let runs = runs.into_iter();
        let listed = Listed {
            total: 3,
            runs: runs
                .map(|(run, at, ended)| {
                    let outline = Outline {
                        status: RunStatus::ALL[status],
                        seq: Seq(seen),
                        created_at: Timestamp(at),
                        completed_at: ended.map(Timestamp),
                    };
                    (RunId::from_bytes(run), outline)
                })
                .collect(),
        };
        prop_assert_eq!(decode_listed(&encode_listed(&listed)), Ok(listed));
        let members = vec![NodeName::new("a"), NodeName::new("b")];
        for found in [Found::Here, Found::Promised(members.clone()), Found::Taken(members)] {
            prop_assert_eq!(decode_found(&encode_found(&found)), Ok(found));
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in any::<Vec<u8>>(), kind in 16..32_u16) {
        let mut request = encode(run(), &Ask::Load);
        request.body.clone_from(&bytes);
        for kind in [kind, kind | 1 << 15] {
            request.kind = kind;
            let _ = decode(&request);
        }
        let _ = decode_listed(&bytes);
        let _ = decode_found(&bytes);
        let _ = decode_answer(bytes);
    }
}
