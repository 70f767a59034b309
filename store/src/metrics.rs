//! The metrics of the store, each named once. Handles are looked up once and kept.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

const APPEND_SECONDS: &str = "crane_journal_append_seconds";
const BATCH_RECORDS: &str = "crane_journal_batch_records";
const JOURNAL_BYTES: &str = "crane_journal_bytes_total";
const CHECKPOINT_SECONDS: &str = "crane_checkpoint_seconds";
const SNAPSHOT_BYTES: &str = "crane_snapshot_bytes_total";
const RECOVERY_SECONDS: &str = "crane_recovery_seconds";
const RECOVERED_RUNS: &str = "crane_recovered_runs_total";
const ERRORS: &str = "crane_store_errors_total";
const STORAGE_BYTES: &str = "crane_storage_bytes";
const FENCED_WRITES: &str = "crane_fenced_writes_total";

/// Tells the recorder what the metrics mean. Called by whoever installs a recorder.
pub fn describe() {
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from taking a batch to its durability"
    );
    describe_histogram!(
        BATCH_RECORDS,
        Unit::Count,
        "Records that shared one fdatasync or one commit"
    );
    describe_counter!(JOURNAL_BYTES, Unit::Bytes, "Bytes written to the journal");
    describe_histogram!(
        CHECKPOINT_SECONDS,
        Unit::Seconds,
        "Time of moving runs out of the journal"
    );
    describe_counter!(
        SNAPSHOT_BYTES,
        Unit::Bytes,
        "Bytes of snapshots written to sled"
    );
    describe_histogram!(RECOVERY_SECONDS, Unit::Seconds, "Time of opening the store");
    describe_counter!(
        RECOVERED_RUNS,
        Unit::Count,
        "Unfinished runs found when opening the store"
    );
    describe_counter!(ERRORS, Unit::Count, "Errors of the store by operation");
    describe_counter!(
        FENCED_WRITES,
        Unit::Count,
        "Writes refused because their shard has another owner"
    );
    describe_gauge!(
        STORAGE_BYTES,
        Unit::Bytes,
        "Bytes on disk by class: journal, snapshots, export, history"
    );
}

/// Handles of one store.
pub(crate) struct Metrics {
    pub(crate) append_seconds: Histogram,
    pub(crate) batch_records: Histogram,
    pub(crate) journal_bytes: Counter,
    pub(crate) checkpoint_seconds: Histogram,
    pub(crate) snapshot_bytes: Counter,
    pub(crate) recovery_seconds: Histogram,
    pub(crate) recovered_runs: Counter,
    pub(crate) fenced_writes: Counter,
    pub(crate) storage_journal: Gauge,
    pub(crate) storage_snapshots: Gauge,
    pub(crate) storage_export: Gauge,
    pub(crate) storage_history: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let storage = |class: &'static str| gauge!(STORAGE_BYTES, "class" => class);
        Self {
            append_seconds: histogram!(APPEND_SECONDS),
            batch_records: histogram!(BATCH_RECORDS),
            journal_bytes: counter!(JOURNAL_BYTES),
            checkpoint_seconds: histogram!(CHECKPOINT_SECONDS),
            snapshot_bytes: counter!(SNAPSHOT_BYTES),
            recovery_seconds: histogram!(RECOVERY_SECONDS),
            recovered_runs: counter!(RECOVERED_RUNS),
            fenced_writes: counter!(FENCED_WRITES),
            storage_journal: storage("journal"),
            storage_snapshots: storage("snapshots"),
            storage_export: storage("export"),
            storage_history: storage("history"),
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counts an error; `op` comes from a small fixed set of operations.
pub(crate) fn error(op: &'static str) {
    counter!(ERRORS, "op" => op).increment(1);
}
