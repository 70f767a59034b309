//! The bytes of version 1 of everything this store writes itself. What is inside a record (events,
//! summaries, labels, tool writes) has golden bytes of its own, in the codec.
//!
//! When one of these fails, stored data of the released version would not be read any more: add a
//! new version beside the old one instead of changing the bytes here.

use crane_core::{Epoch, RunId};

use super::kit::{ModelRun, tool_write};
use crate::embedded::frame::{self, Builder, Fields};
use crate::embedded::record::{self, Record};
use crate::embedded::snapshots::Cursor;

const BOOT: &str = "c1fe01010d000000edefd85208070605040302010d0c0b0a010001080000000700000000000000";
const APPEND: &str = "c1fe0101790000000b42abfc08070605040302010d0c0b0a01000274000000018bcfe56803770787\
    07070707070707000000000000000002000000190000000100020301fd06803c3048140c0001fd06\
    803c3048140c00000b000000010001047465616d02743112000000010001fd06803c3048140c0001\
    042278782212000000010002fd06803c3048140c000c046e756c6c";
const TOOL_HEAD: &str = "03270000000100";
const RETIRED: &str = "c1fe010125000000fe07ab2808070605040302010d0c0b0a01000420000000000000000001770787\
    0707070707070700000000000277078707070707070707";
const CURSOR: &str = "01000000020000000000000003000000000000000400000000000000";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = Builder::default();
    builder.record(write);
    builder.finish(0x0102_0304_0506_0708, 0x0A0B_0C0D).to_vec()
}

/// The one record of a golden frame.
fn read<T>(golden: &str, take: impl FnOnce(Record<'_>) -> Option<T>) -> T {
    let bytes = unhex(golden);
    let frame = frame::parse(&bytes, 0x0A0B_0C0D).unwrap();
    assert_eq!((frame.lsn, frame.count), (0x0102_0304_0506_0708, 1));
    let mut records = record::records(frame.records);
    take(records.next().unwrap().unwrap()).expect("another kind of record")
}

#[test]
fn the_record_of_an_epoch_keeps_its_bytes() {
    assert_eq!(hex(&framed(|out| record::put_boot(out, Epoch(7)))), BOOT);
    let epoch = read(BOOT, |record| match record {
        Record::Boot(epoch) => Some(epoch),
        _ => None,
    });
    assert_eq!(epoch, Epoch(7));
}

#[test]
fn the_record_of_an_append_keeps_its_bytes() {
    let mut run = ModelRun::new(3);
    let append = run.next(Epoch(7), 2, true);
    assert_eq!(hex(&framed(|out| record::put_append(out, &append))), APPEND);
    read(APPEND, |record| match record {
        Record::Append(id, image) => {
            assert_eq!((id, image.expected), (append.run, append.expected));
            assert_eq!((image.count, image.events), (2, &append.events.bytes[..]));
            assert_eq!(image.summary().unwrap(), append.summary);
            assert_eq!(image.labels().unwrap(), Some(run.labels.clone()));
            Some(())
        }
        _ => None,
    });
}

#[test]
fn the_record_of_a_tool_write_keeps_its_frame() {
    let bytes = framed(|out| record::put_tool(out, &tool_write(1, None)));
    assert_eq!(hex(&bytes[frame::HEADER..frame::HEADER + 7]), TOOL_HEAD);
}

#[test]
fn the_record_of_retired_runs_keeps_its_bytes() {
    let runs = [1, 2].map(|number| RunId::from_time(number, [7; 10]));
    assert_eq!(hex(&framed(|out| record::put_retired(out, &runs))), RETIRED);
    let read: Vec<RunId> = read(RETIRED, |record| match record {
        Record::Retired(retired) => Some(retired.runs().collect()),
        _ => None,
    });
    assert_eq!(read, runs);
}

#[test]
fn the_cursor_keeps_its_bytes() {
    let cursor = Cursor {
        segment: 1,
        lsn: 2,
        reaches: 3,
        epoch: Epoch(4),
    };
    let mut bytes = Vec::new();
    cursor.put(&mut bytes);
    assert_eq!(hex(&bytes), CURSOR);
    assert_eq!(Cursor::take(&mut Fields(&unhex(CURSOR))), Some(cursor));
}
