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
const HISTORY_OLDEST: &str = "crane_history_oldest_timestamp_seconds";

/// What went wrong, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The journal waits for space on the disk.
    JournalSpace,
    /// Checkpoints wait for space on the disk.
    CheckpointSpace,
    /// The snapshots did not open and were rebuilt.
    SnapshotsRebuilt,
    /// Something damaged was passed over, as an operator asked.
    CorruptionAccepted,
    /// The database did not take an append (yet).
    Append,
    /// The database did not take a write of a tool (yet).
    ToolWrite,
    /// The database did not renew the lease (yet).
    Renew,
    /// The database did not answer a question, or did not change an owner.
    Read,
    /// Making history for SQL, merging or retention failed (for now).
    History,
    /// The store has stopped.
    Fatal,
}

impl Trouble {
    const ALL: [Self; 10] = [
        Self::JournalSpace,
        Self::CheckpointSpace,
        Self::SnapshotsRebuilt,
        Self::CorruptionAccepted,
        Self::Append,
        Self::ToolWrite,
        Self::Renew,
        Self::Read,
        Self::History,
        Self::Fatal,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::JournalSpace => "journal_space",
            Self::CheckpointSpace => "checkpoint_space",
            Self::SnapshotsRebuilt => "snapshots_rebuilt",
            Self::CorruptionAccepted => "corruption_accepted",
            Self::Append => "append",
            Self::ToolWrite => "tool_write",
            Self::Renew => "renew",
            Self::Read => "read",
            Self::History => "history",
            Self::Fatal => "fatal",
        }
    }
}

/// Tells the recorder what the metrics mean. Called by whoever installs a recorder.
pub fn describe() {
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from taking a batch to its acknowledgement, fdatasync included"
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
    describe_gauge!(
        HISTORY_OLDEST,
        Unit::Seconds,
        "When the run that ended first, of those still kept, ended; 0 when none is kept"
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
    pub(crate) history_oldest: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        for trouble in Trouble::ALL {
            counter!(ERRORS, "op" => trouble.as_str()).increment(0);
        }
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
            history_oldest: gauge!(HISTORY_OLDEST),
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counts an error.
pub(crate) fn error(op: Trouble) {
    counter!(ERRORS, "op" => op.as_str()).increment(1);
}
