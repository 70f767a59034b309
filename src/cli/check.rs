//! `crane check`: reads everything that is stored, changes nothing, says what is wrong.

use clap::Args;
use crane_store::embedded::{self, Finding, Report};
use serde_json::{Value, json};

use super::failure::{FAILED, Failure};
use super::{Data, Shape, session};
use crate::output;

/// Verify everything that is stored
///
/// Checksums of journal, snapshots and history, event sequences without gaps, epochs that never
/// fall, one terminal event a round. Nothing is changed. The directory must not be in use.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How to print what was found
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    data: Data,
}

/// See the module.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let path = &arguments.data.find()?.node.data;
    session::require(path)?;
    let report = embedded::verify(path)?;
    match arguments.output {
        Shape::Json => output::print_json(&view(&report))?,
        Shape::Text => {
            for finding in &report.findings {
                output::print(&line(finding))?;
            }
            let wrong = match report.findings.len() {
                0 => "nothing is wrong".to_owned(),
                1 => "1 finding".to_owned(),
                count => format!("{count} findings"),
            };
            output::print(&format!(
                "{}: {} runs, {} events, {} journal records in {} frames; {wrong}",
                path.display(),
                report.runs,
                report.events,
                report.records,
                report.frames
            ))?;
        }
    }
    Ok(if report.findings.is_empty() {
        0
    } else {
        FAILED
    })
}

fn line(finding: &Finding) -> String {
    let mut place = finding.file.clone();
    if let Some(offset) = finding.offset {
        place.push_str(&format!(" at offset {offset}"));
    }
    if let Some(run) = finding.run {
        place.push_str(&format!(", run {run}"));
    }
    format!("{place}: {}", finding.detail)
}

fn view(report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "file": finding.file,
            "offset": finding.offset,
            "run_id": finding.run,
            "detail": finding.detail,
        })
    });
    json!({
        "sound": report.findings.is_empty(),
        "runs": report.runs,
        "events": report.events,
        "frames": report.frames,
        "records": report.records,
        "findings": findings.collect::<Vec<_>>(),
    })
}
