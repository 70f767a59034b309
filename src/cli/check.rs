//! `crane check`: reads everything that is stored, changes nothing, says what is wrong.
//!
//! ```text
//!   --data    ──> the files of a store that nobody has open
//!   --store   ──> the tables of the database that nodes share      ──> Report ──> text or JSON
//!   --server  ──> what users are told, through the API of a node
//! ```

mod server;

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use crane_actors::clock::Clock;
use crane_store::embedded::{self, Finding, Report};
use crane_store::postgres;
use serde_json::{Value, json};

use super::failure::{FAILED, Failure};
use super::remote::{Found, Place, attend};
use super::{Shape, session};
use crate::config::PostgresConfig;
use crate::output::{self, counted};

/// Verify everything that is stored
///
/// Event sequences without gaps, epochs that never fall, one terminal event a round, keys that are
/// unique; in a data directory the checksums of journal, snapshots and history; in a database that
/// one node at a time wrote to a shard. Nothing is changed. A data directory must not be in use; a
/// database is read as of one instant, and a server run by run, while nodes work.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  crane check --data /var/lib/crane/crane-data\n  \
    crane check --store postgres://crane@db.example/crane\n  \
    crane check --config /etc/crane/crane.toml\n  \
    crane check --server http://127.0.0.1:8080 -o json\n\n\
    A configuration that names a database means the database.\n\
    The exit code is 1 when something is wrong, or could not be read."
)]
pub(super) struct Arguments {
    /// Database that nodes share, such as postgres://crane:password@db.example/crane
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["server", "token_file", "ca_cert", "directory"]
    )]
    store: Option<String>,

    /// How to print what was found
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    place: Place,
}

/// What was verified.
struct Checked {
    /// Where it is.
    place: String,
    report: Report,
    medium: Medium,
}

/// What runs are kept in, as far as was seen.
enum Medium {
    Files,
    Tables,
    Api,
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let checked = match arguments.store {
        Some(url) => attend(tables(&arguments.place.database(url)?)).await?,
        None => match arguments.place.find()? {
            Found::Server(remote) => attend(api(&remote.client)).await?,
            Found::Data(data) => {
                let config = data.find()?;
                match &config.store.postgres {
                    Some(database) => attend(tables(database)).await?,
                    None => files(&config.node.data)?,
                }
            }
        },
    };
    match arguments.output {
        Shape::Json => output::print_json(&checked.view())?,
        Shape::Text => {
            for finding in &checked.report.findings {
                output::print(&line(finding))?;
            }
            output::print(&checked.summary())?;
        }
    }
    Ok(match checked.report.findings.is_empty() {
        true => 0,
        false => FAILED,
    })
}

fn files(path: &Path) -> Result<Checked, Failure> {
    session::require(path)?;
    Ok(Checked {
        place: path.display().to_string(),
        report: embedded::verify(path)?,
        medium: Medium::Files,
    })
}

async fn tables(database: &PostgresConfig) -> Result<Checked, Failure> {
    let url = database.url.reveal();
    let place = postgres::place(url).map_err(|error| Failure::usage(error.to_string()))?;
    let clock = Clock::system();
    let mut options = postgres::Options::new(url, "check", Arc::new(move || clock.now()));
    options.schema.clone_from(&database.schema);
    options.ca.clone_from(&database.ca);
    // Only to read, which is safe on any server.
    options.allow_unsafe = true;
    Ok(Checked {
        place,
        report: postgres::verify(options).await?,
        medium: Medium::Tables,
    })
}

async fn api(client: &crate::client::Client) -> Result<Checked, Failure> {
    Ok(Checked {
        place: client.target().to_string(),
        report: server::verify(client).await?,
        medium: Medium::Api,
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

impl Checked {
    fn summary(&self) -> String {
        let Report {
            frames,
            records,
            runs,
            events,
            findings,
        } = &self.report;
        let more = match self.medium {
            // An event counts in each of the places that have it.
            Medium::Files => format!(" read, {records} journal records in {frames} frames"),
            Medium::Tables => format!(" in {frames} rows"),
            Medium::Api => String::new(),
        };
        let wrong = match findings.len() {
            0 => "nothing is wrong".to_owned(),
            count => counted(count, "finding"),
        };
        let (place, runs) = (&self.place, counted(*runs, "run"));
        let events = counted(*events, "event");
        format!("{place}: {runs}, {events}{more}; {wrong}")
    }

    fn view(&self) -> Value {
        let report = &self.report;
        let findings = report.findings.iter().map(|finding| {
            json!({
                "file": finding.file,
                "offset": finding.offset,
                "run_id": finding.run,
                "detail": finding.detail,
            })
        });
        let mut view = json!({
            "sound": report.findings.is_empty(),
            "runs": report.runs,
            "events": report.events,
            "findings": findings.collect::<Vec<_>>(),
        });
        if !matches!(self.medium, Medium::Api) {
            view["frames"] = report.frames.into();
            view["records"] = report.records.into();
        }
        view
    }
}
