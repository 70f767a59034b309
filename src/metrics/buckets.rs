//! The bounds of histograms, by what they measure. A metric without bounds would be exported as a
//! summary, which cannot be added up over nodes.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Requests, attempts, checkpoints: 100 us to a minute.
const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
/// Whole runs and their waits: a millisecond to a day.
const LONG: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
];
/// One write and fdatasync: from a fast device to a broken one.
const SYNC: &[f64] = &[
    0.000_05, 0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 5.0,
];
/// One message of an actor: a microsecond to a second.
const MESSAGE: &[f64] = &[
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.0001, 0.0002, 0.0005, 0.001,
    0.005, 0.02, 0.1, 1.0,
];
/// Records that share a sync.
const RECORDS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0,
];
/// Sizes: 256 bytes to 16 MiB.
const BYTES: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Sets them; a full name goes before a suffix.
pub(super) fn set(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?
        .set_buckets_for_metric(full("crane_run_duration_seconds"), LONG)?
        .set_buckets_for_metric(full("crane_run_queue_wait_seconds"), LONG)?
        .set_buckets_for_metric(full("crane_journal_append_seconds"), SYNC)?
        .set_buckets_for_metric(full("crane_message_handle_seconds"), MESSAGE)?
        .set_buckets_for_metric(full("crane_journal_batch_records"), RECORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_histogram_is_one_and_no_summary() {
        let recorder = set(PrometheusBuilder::new()).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("crane_journal_append_seconds").record(0.0003);
            metrics::histogram!("crane_step_duration_seconds").record(0.0003);
            metrics::histogram!("crane_journal_batch_records").record(3.0);
        });
        let text = recorder.handle().render();
        assert!(!text.contains("summary"), "{text}");
        for line in [
            "crane_journal_append_seconds_bucket{le=\"0.0002\"} 0",
            "crane_journal_append_seconds_bucket{le=\"0.0004\"} 1",
            "crane_step_duration_seconds_bucket{le=\"0.0005\"} 1",
            "crane_journal_batch_records_bucket{le=\"4\"} 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn bounds_rise() {
        for bounds in [SECONDS, LONG, SYNC, MESSAGE, RECORDS, BYTES] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
