//! `crane bench`: how fast this machine carries out durable runs.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::failure::{FAILED, Failure};
use super::{ConfigFile, Data, session};
use crate::bench::{self, Measured, Shape, probe};
use crate::node::Node;
use crate::output::{self, Table};

/// Measure throughput and latency on this machine
#[derive(Debug, Args)]
#[command(
    after_help = "The latency of a single chain: crane bench --shape chain:10 --concurrency 1"
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

    /// Runs that are open at a time
    #[arg(long, value_name = "N", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,

    /// Runs to count, of each shape [default: as many as have 200,000 steps]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// Directory to keep the runs in; it is on its disk that they are durable [default: a
    /// temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// How to print the figures; `json` is an object, or an array of them for several shapes
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: super::Shape,

    #[command(flatten)]
    config: ConfigFile,
}

/// See the module.
pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
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
    let measured = session::with_node(&data, async |node: &Node| {
        let measured = shapes(node, &arguments).await?;
        let probed = tokio::task::spawn_blocking(move || probe::fdatasync(&path)).await;
        let fdatasync = probed.map_err(std::io::Error::other).flatten();
        if arguments.output == super::Shape::Text {
            print_table(&measured)?;
            print_machine(fdatasync)?;
        }
        Ok(measured)
    })
    .await?;
    if arguments.output == super::Shape::Json {
        match measured.as_slice() {
            [one] => output::print_json(one)?,
            several => output::print_json(several)?,
        }
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

async fn shapes(node: &Node, arguments: &Arguments) -> Result<Vec<Measured>, Failure> {
    let concurrency = arguments.concurrency as usize;
    let runs = arguments.runs.map(|runs| runs as usize);
    let mut all = Vec::new();
    for shape in &arguments.shape {
        if std::io::stderr().is_terminal() {
            output::note(&format!("measuring {shape}, {concurrency} at a time"));
        }
        let measured = bench::measure(node.runtime(), shape, concurrency, runs).await;
        all.push(measured.map_err(|error| Failure::failed(error.to_string()))?);
    }
    Ok(all)
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
    Ok(())
}

fn print_machine(fdatasync: std::io::Result<std::time::Duration>) -> Result<(), Failure> {
    let median = match fdatasync {
        Ok(median) => format!("{} us", median.as_micros()),
        Err(error) => format!("not measured ({error})"),
    };
    let memory = match probe::resident_bytes() {
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "not known".to_owned(),
    };
    output::print(&format!(
        "median fdatasync of 4 KiB here: {median}; memory in use: {memory}"
    ))?;
    Ok(())
}
