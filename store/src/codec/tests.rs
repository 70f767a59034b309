//! Reading and skipping, and what damaged bytes come to.

#![allow(clippy::unwrap_used)]

use crane_core::{Attempt, Event, Json, StepIndex, Timestamp};
use proptest::prelude::*;

use super::*;

fn completed(seq: u64, output: &str) -> Record {
    Record {
        seq: Seq(seq),
        at: Timestamp(1_700_000_000_000_000),
        event: Event::StepCompleted {
            step: StepIndex(1),
            attempt: Attempt(1),
            output: Json::from_trusted(output),
            duration_us: 5,
        },
    }
}

fn sequence(count: u64) -> Vec<Record> {
    (1..=count)
        .map(|seq| completed(seq, &seq.to_string()))
        .collect()
}

#[test]
fn batches_may_be_concatenated() {
    let all = sequence(10);
    let mut joined = encode(&all[..3]);
    let rest = encode(&all[3..]);
    joined.count += rest.count;
    joined.bytes.extend_from_slice(&rest.bytes);
    assert_eq!(joined, encode(&all));
    assert_eq!(decode(&joined).unwrap(), all);
    assert_eq!(decode(&Encoded::default()).unwrap(), []);
}

#[test]
fn reading_from_the_middle_gives_what_follows_and_decodes_nothing_before_it() {
    let all = sequence(10);
    let mut bytes = encode(&all).bytes;
    for after in 0..=10 {
        let rest: Vec<_> = decode_from(&bytes, Seq(after as u64))
            .map(Result::unwrap)
            .collect();
        assert_eq!(rest, all[after..]);
    }
    // Damage the first body behind its number: skipping it does not notice, reading does.
    bytes[PREFIX + 10] = 0xff;
    assert_eq!(decode_from(&bytes, Seq(1)).count(), 9);
    assert!(records(&bytes).next().unwrap().is_err());
}

#[test]
fn a_slice_holds_exactly_the_events_asked_for() {
    let all = sequence(6);
    let bytes = encode(&all).bytes;
    for after in 0..=6_u64 {
        for count in 0..=7_u32 {
            let upto = after + u64::from(count);
            let found = slice(&bytes, Seq(after), count).unwrap();
            let from = usize::try_from(after).unwrap();
            let wanted = all.get(from..usize::try_from(upto).unwrap());
            let wanted = wanted.map(|records| encode(records).bytes);
            assert_eq!(found.map(<[u8]>::to_vec), wanted, "{count} after {after}");
        }
    }
    let later = encode(&all[3..]).bytes;
    assert_eq!(slice(&later, Seq(1), 2).unwrap(), None);
    assert_eq!(slice(&later, Seq(u64::MAX), 1).unwrap(), None);
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let mut bytes = encode(&sequence(1)).bytes;
    bytes[4] = 9;
    let error = records(&bytes).next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Schema { version: 9, .. }));
    assert!(error.to_string().contains("version 9"), "{error}");
    let mut summary = vec![9, 0];
    summary.extend_from_slice(&[0; 20]);
    assert!(matches!(
        decode_summary(&summary),
        Err(Error::Schema { version: 9, .. })
    ));
}

#[test]
fn a_wrong_count_and_bytes_behind_the_end_are_refused() {
    let mut encoded = encode(&sequence(2));
    encoded.count = 3;
    assert!(matches!(decode(&encoded), Err(Error::Corrupt { .. })));
    encoded.count = 1;
    assert!(matches!(decode(&encoded), Err(Error::Corrupt { .. })));

    let mut labels = Vec::new();
    encode_labels(&Labels::new(), &mut labels);
    labels.push(0);
    assert!(matches!(decode_labels(&labels), Err(Error::Corrupt { .. })));
}

#[test]
fn cut_bytes_are_refused_at_every_length_and_reading_stops_there() {
    let bytes = encode(&sequence(3)).bytes;
    let record = bytes.len() / 3;
    for length in 0..bytes.len() {
        let results: Vec<_> = records(&bytes[..length]).collect();
        let whole = length / record;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), whole);
        assert_eq!(results.len(), whole + usize::from(length % record != 0));
    }
}

#[test]
fn a_record_too_large_to_be_read_again_is_not_written() {
    let fits = "x".repeat(VALUE_BYTES - 64);
    let encoded = encode(&[completed(1, &fits)]);
    assert_eq!(decode(&encoded).unwrap(), [completed(1, &fits)]);
    let large = "x".repeat(VALUE_BYTES + 1);
    let encoded = encode(&[completed(1, "1"), completed(2, &large)]);
    assert_eq!(encoded, Encoded::default());
}

#[test]
fn a_damaged_length_neither_panics_nor_allocates() {
    // A string of 2^63 bytes, as a bincode without a limit would try to allocate it.
    let mut bytes = vec![1, 0, 0, 0xfd];
    bytes.extend_from_slice(&(1_u64 << 63).to_le_bytes());
    assert!(decode_tool_write(&bytes).is_err());
    let mut bytes = vec![1, 0, 0xfd];
    bytes.extend_from_slice(&(1_u64 << 63).to_le_bytes());
    assert!(decode_labels(&bytes).is_err());
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..8)) {
        let mut encoded = encode(&sequence(8));
        for (at, value) in flips {
            let at = at % encoded.bytes.len();
            encoded.bytes[at] ^= value;
        }
        // Either answer will do.
        let _ = decode(&encoded);
        let _ = decode_from(&encoded.bytes, Seq(4)).count();
        let _ = slice(&encoded.bytes, Seq(2), 3);
        let _ = decode_summary(&encoded.bytes);
        let _ = decode_tool_write(&encoded.bytes);
    }

    #[test]
    fn what_is_encoded_decodes(texts in prop::collection::vec(".{0,40}", 0..20)) {
        let all: Vec<_> = (1..).zip(&texts).map(|(seq, text)| completed(seq, text)).collect();
        prop_assert_eq!(decode(&encode(&all)).unwrap(), all);
    }
}
