//! `crane bench`: how fast this machine carries out durable runs.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use crane_core::plan::parse_duration;

use super::failure::{FAILED, Failure};
use super::remote::{ServerOptions, attend};
use super::{ConfigFile, Data, block_on, block_on_one_thread, session};
use crate::bench::{self, Amount, Measured, Shape, Source, probe};
use crate::node::Node;
use crate::output::{self, Table};

/// Longest time to measure.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Measure throughput and latency, in process or of a server
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  crane bench --shape chain:10 --concurrency 1      the latency of a single chain\n  \
    crane bench --shape chain:10,diamond --runs 20000\n  \
    crane bench --server http://127.0.0.1:8080 --shape diamond --duration 30s -o json\n\n\
    Each of so many workers submits a run, waits for its end and submits the next. Every step calls\n\
    `echo`; every run is durable. Exit code 1 when there were errors."
)]
pub(super) struct Arguments {
    /// What the plans look like: chain:N, diamond, fanout:N, mixed (several: separated by commas)
    #[arg(
        long,
        value_name = "SHAPE",
        value_delimiter = ',',
        default_value = "chain:10"
    )]
    shape: Vec<Shape>,

    /// Runs that are open at a time, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,

    /// Runs to count, of each shape [default: as many as have 200,000 steps]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// Time to measure each shape for, such as 30s, in place of a number of runs
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "runs")]
    duration: Option<Duration>,

    #[command(flatten)]
    server: ServerOptions,

    /// Directory to keep the runs in; it is on its disk that they are durable [default: a
    /// temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Directory on whose disk an fdatasync is timed, such as that of a server on this machine
    /// [default: the one that keeps the runs]
    #[arg(long, value_name = "DIR")]
    probe: Option<PathBuf>,

    /// How to print the figures; `json` is an object, or an array of them for several shapes
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: super::Shape,

    #[command(flatten)]
    config: ConfigFile,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if (Duration::from_millis(1)..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err("it must be from 1ms to 24h".to_owned())
    }
}

/// See the module.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let typed = arguments.data.is_some() || arguments.config.is_typed();
    let server = arguments.server.clone().find(typed)?;
    match server {
        // A load that is one thread leaves the other cores to what it measures.
        Some(remote) => block_on_one_thread(async {
            let at = format!(" at {}", remote.client.target());
            let source = Source::Server(remote.client);
            let measured = attend(shapes(&source, &at, None, arguments)).await?;
            report(arguments.output, &measured)
        }),
        None => block_on(async { report(arguments.output, &in_process(arguments).await?) }),
    }
}

fn report(shape: super::Shape, measured: &[Measured]) -> Result<u8, Failure> {
    match (shape, measured) {
        (super::Shape::Text, several) => print_table(several)?,
        (super::Shape::Json, [one]) => output::print_json(one)?,
        (super::Shape::Json, several) => output::print_json(several)?,
    }
    for (shape, error) in measured
        .iter()
        .filter_map(|m| Some((&m.shape, m.first_error.as_ref()?)))
    {
        output::note(&format!("error: {shape}: {error}"));
    }
    let errors: usize = measured.iter().map(|measured| measured.errors).sum();
    Ok(if errors == 0 { 0 } else { FAILED })
}

async fn in_process(arguments: &Arguments) -> Result<Vec<Measured>, Failure> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("no temporary directory: {error}"));
    let temporary = match arguments.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(failed)?),
    };
    let path = match (&arguments.data, &temporary) {
        (Some(path), _) => path.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::failed("no directory to keep the runs in")),
    };
    let data = Data::at(path.clone(), arguments.config.clone());
    session::with_node(&data, async |node: &Node| {
        let source = Source::Node(node.runtime().clone());
        shapes(&source, "", Some(&path), arguments).await
    })
    .await
}

/// Measures each shape, and the disk in between; `directory` is where the runs are, if that is
/// known.
async fn shapes(
    source: &Source,
    at: &str,
    directory: Option<&Path>,
    arguments: &Arguments,
) -> Result<Vec<Measured>, Failure> {
    let concurrency = arguments.concurrency as usize;
    let runs = arguments.runs.map(|runs| Amount::Runs(runs as usize));
    let amount = runs.or(arguments.duration.map(Amount::Time));
    let mut all = Vec::new();
    for shape in &arguments.shape {
        if std::io::stderr().is_terminal() {
            output::note(&format!("measuring {shape}, {concurrency} at a time{at}"));
        }
        let measured = bench::measure(source, shape, concurrency, amount).await;
        let mut measured = measured.map_err(|error| match error {
            bench::Error::Server(error) => error.into(),
            other => Failure::failed(other.to_string()),
        })?;
        if let Some(directory) = arguments.probe.as_deref().or(directory) {
            measured.fdatasync_us = Some(fdatasync(directory).await?);
        }
        all.push(measured);
    }
    Ok(all)
}

/// The median time of an fdatasync there, in microseconds.
async fn fdatasync(directory: &Path) -> Result<f64, Failure> {
    let path = directory.to_owned();
    let probed = tokio::task::spawn_blocking(move || probe::fdatasync(&path)).await;
    let probed = probed.map_err(std::io::Error::other).flatten();
    let median = probed.map_err(|error| {
        Failure::failed(format!("no fdatasync in {}: {error}", directory.display()))
    })?;
    Ok(median.as_secs_f64() * 1e6)
}

fn print_table(measured: &[Measured]) -> Result<(), Failure> {
    let mut table = Table::new([
        "SHAPE", "OPEN", "RUNS", "ERRORS", "SECONDS", "RUNS/S", "STEPS/S", "P50 MS", "P99 MS",
        "P99.9 MS",
    ]);
    for one in measured {
        table.row([
            one.shape.clone(),
            one.concurrency.to_string(),
            one.runs.to_string(),
            one.errors.to_string(),
            format!("{:.2}", one.seconds),
            format!("{:.0}", one.runs_per_second),
            format!("{:.0}", one.steps_per_second),
            format!("{:.2}", one.p50_ms),
            format!("{:.2}", one.p99_ms),
            format!("{:.2}", one.p999_ms),
        ]);
    }
    output::print(&table.render())?;
    for one in measured {
        let mut said = Vec::new();
        if let Some(median) = one.fdatasync_us {
            said.push(format!("median fdatasync of 4 KiB: {median:.0} us"));
        }
        if let Some(bytes) = one.rss_bytes {
            said.push(format!("memory of the node: {} MiB", bytes >> 20));
        }
        if !said.is_empty() {
            output::print(&format!("{}: {}", one.shape, said.join(", ")))?;
        }
    }
    Ok(())
}
