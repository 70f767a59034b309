//! Measures whole nodes: the figures of docs/performance.md.
//!
//! ```text
//!   scale [FIGURE ...]
//!     │ for each group of tasks: a fresh directory
//!     │   for each task: this program again ──> one JSON line per value, passed on as it comes
//!     `─> at the end one table of all values
//! ```
//!
//! Each task runs in a process of its own, one at a time, so that its memory and its processor time
//! are its own. A task that finds something wrong ends with an error, and so does this program; a
//! missed target is only said in the table, since it may be the machine's fault. How much of the
//! machine others used is measured with each task, and a verdict says when that was too much.
//!
//! What never lives here: the tests of what is measured; measuring of single functions (that is
//! `benches/micro.rs`).

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod idle;
mod large;
mod latency;
mod load;
mod machine;
mod memory;
mod node;
mod plans;
mod recorder;
mod restore;
mod rows;
#[path = "../common/runs.rs"]
mod runs;
mod store;
mod syncs;
mod throughput;
mod unfinished;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use clap::Parser;

use machine::Stretch;
use rows::{OTHERS, Row, Value};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something to measure.
struct Figure {
    /// How it is asked for.
    name: &'static str,
    /// What it is, for people.
    about: &'static str,
    /// Its tasks. Those of a group share a directory and run in order.
    groups: &'static [&'static [&'static str]],
    /// Carries out one task in a directory.
    run: fn(&str, &Path) -> anyhow::Result<Vec<Value>>,
    /// What follows from the values of all tasks together.
    derive: fn(&[Row]) -> Vec<Row>,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "throughput",
        about: "steps a second of 10-step chains, as many at a time as the task says",
        groups: &[&["256"], &["1024"]],
        run: throughput::run,
        derive: nothing,
    },
    Figure {
        name: "latency",
        about: "one 10-step chain at a time, against the time of an fdatasync",
        groups: &[&["alone"]],
        run: latency::run,
        derive: nothing,
    },
    Figure {
        name: "syncs",
        about: "what the journal does for a step, by the number of chains at a time",
        groups: &[&["1"], &["64"], &["256"], &["1024"]],
        run: syncs::run,
        derive: nothing,
    },
    Figure {
        name: "store",
        about: "appends a second of the store alone, by the number of runs at a time",
        groups: &[&["1"], &["16"], &["256"], &["1000"]],
        run: store::run,
        derive: nothing,
    },
    Figure {
        name: "restore",
        about: "a start with 100,000 unfinished runs",
        groups: &[
            &["prepare waiting", "waiting"],
            &["prepare mixed", "mixed"],
            &["prepare running", "running"],
        ],
        run: restore::run,
        derive: nothing,
    },
    Figure {
        name: "memory",
        about: "resident memory after so many finished 10-step chains",
        groups: &[&["30000"], &["300000"]],
        run: memory::run,
        derive: nothing,
    },
    Figure {
        name: "large",
        about: "runs of 1,000 and of 10,000 steps, as chains and as fans with a join",
        groups: &[
            &["chain 1000"],
            &["chain 10000"],
            &["fan 1000"],
            &["fan 10000"],
        ],
        run: large::run,
        derive: large::ratios,
    },
    Figure {
        name: "idle",
        about: "what a node costs that has nothing to do",
        groups: &[&["after work"], &["prepare 10000 waiting", "10000 waiting"]],
        run: idle::run,
        derive: nothing,
    },
];

fn nothing(_: &[Row]) -> Vec<Row> {
    Vec::new()
}

/// Measures whole nodes; each value is printed as a JSON line, and all of them as a table.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Args {
    /// What to measure; everything if nothing is named.
    figures: Vec<String>,
    /// Where the data directories are made; a disk, not memory.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Carry out this task of the one figure, in `--dir`.
    #[arg(long, hide = true)]
    task: Option<String>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let wanted = args
        .figures
        .iter()
        .map(|name| figure(name))
        .collect::<Result<Vec<_>, _>>()?;
    if let (Some(task), [figure]) = (&args.task, wanted.as_slice()) {
        let stretch = Stretch::begin()?;
        let mut values = (figure.run)(task, &args.dir)?;
        if !values.is_empty() {
            values.push(Value::new(OTHERS, stretch.end()?.other_cores, ""));
        }
        for value in values {
            println!("{}", value.of(figure.name, task).to_line());
        }
        return Ok(());
    }
    let mut all = Vec::new();
    for figure in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted.name == figure.name) {
            eprintln!("{}: {}", figure.name, figure.about);
            all.extend(measure(figure, &args.dir)?);
        }
    }
    println!("{}", rows::table(&all));
    Ok(())
}

fn figure(name: &str) -> anyhow::Result<&'static Figure> {
    let found = FIGURES.iter().find(|figure| figure.name == name);
    found.with_context(|| {
        let names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        format!("there is no figure {name:?}; use {}", names.join(", "))
    })
}

/// All values of a figure.
fn measure(figure: &Figure, parent: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for group in figure.groups {
        let dir = tempfile::Builder::new()
            .prefix("scale-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        for task in *group {
            rows.extend(child(figure.name, task, dir.path())?);
        }
    }
    for row in (figure.derive)(&rows) {
        println!("{}", row.to_line());
        rows.push(row);
    }
    Ok(rows)
}

/// Carries out a task in a process of its own.
fn child(figure: &str, task: &str, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([figure, "--task", task, "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut rows = Vec::new();
    if let Some(lines) = child.stdout.take() {
        for line in BufReader::new(lines).lines() {
            let line = line?;
            println!("{line}");
            let row = Row::from_line(&line);
            rows.push(row.with_context(|| format!("{figure} {task} has printed {line:?}"))?);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{figure} {task} has ended with {status}");
    }
    Ok(rows)
}
