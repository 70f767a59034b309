//! A thousand who listen to a hundred runs: in time, late, and slowly.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::history::{History, check_history};
use super::node::Node;
use super::wire::{self, Frame};
use super::{PATIENCE, PAUSE};
use crate::program::Home;

const RUNS: usize = 100;
const SUBSCRIBERS: usize = 1_000;

/// How somebody listens.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// When it comes.
    after: Duration,
    /// How much it takes at once, and how long it thinks in between.
    bytes: usize,
    thinks: Duration,
}

impl Manner {
    fn of(number: usize) -> Self {
        let round = number / RUNS;
        let prompt = Self {
            after: Duration::ZERO,
            bytes: 16 << 10,
            thinks: Duration::ZERO,
        };
        match round {
            0..6 => prompt,
            // Some of them in the midst of the run, some after its end.
            6..8 => Self {
                after: Duration::from_millis(50 * number as u64 % 6_000),
                ..prompt
            },
            _ => Self {
                bytes: 512,
                thinks: Duration::from_millis(20),
                ..prompt
            },
        }
    }
}

/// A run that says a lot, and takes its time.
fn message() -> Value {
    let text = "x".repeat(1_000);
    let mut steps =
        vec![json!({ "id": "s0", "tool": "sleep", "input": { "milliseconds": 1_500 } })];
    for n in 1..10 {
        steps.push(
            json!({ "id": format!("s{n}"), "tool": "sleep", "input": { "milliseconds": 100 },
                           "depends_on": [format!("s{}", n - 1)] }),
        );
        steps.push(
            json!({ "id": format!("e{n}"), "tool": "echo", "input": { "value": text },
                           "depends_on": [format!("s{n}")] }),
        );
    }
    json!({ "plan": { "steps": steps } })
}

/// Reads the events of a run to the end, with as many requests as that takes.
async fn listen(address: SocketAddr, id: &str, manner: Manner) -> History {
    let mut history = History::new();
    tokio::time::sleep(manner.after).await;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match listen_once(address, id, manner, &mut history).await {
            Ok(204) => break,
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    history
}

async fn listen_once(
    address: SocketAddr,
    id: &str,
    manner: Manner,
    history: &mut History,
) -> io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    if !manner.thinks.is_zero() {
        // Otherwise the system would listen in its place.
        socket.set_recv_buffer_size(4 << 10)?;
    }
    let mut stream = socket.connect(address).await?;
    let path = format!("/api/v1/runs/{id}/events");
    let text = wire::request("GET", &path, &wire::resume(history), "");
    stream.write_all(text.as_bytes()).await?;
    let mut status = None;
    let mut in_head = true;
    let mut frame = Frame::default();
    let mut pending = Vec::new();
    let mut buffer = vec![0; manner.bytes];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        pending.extend_from_slice(&buffer[..read]);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let line = line.trim_end();
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
            } else if in_head {
                in_head = !line.is_empty();
            } else if let Some((Some(id), event)) = frame.line(line) {
                history.push((id, event));
            }
        }
        if !manner.thinks.is_zero() {
            tokio::time::sleep(manner.thinks).await;
        }
    }
}

/// Memory in MB, now and at most, and processor time in seconds of a process.
fn cost(pid: u32) -> (f64, f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1_000.0
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold blanks; fields 14 and 15 of proc(5), in 1/100 s.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|field| field.parse::<f64>().unwrap()).sum();
    (memory("VmRSS:"), memory("VmHWM:"), ticks / 100.0)
}

#[test]
fn a_thousand_listeners_to_a_hundred_runs_get_everything_once() {
    // A socket each, here and in the node.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let home = Home::new();
    let node = Node::start(&home);
    node.wait_until_ready();
    let address = node.address;
    let (idle, ..) = cost(node.pid());
    let message = message().to_string();
    let ids: Vec<String> = (0..RUNS)
        .map(|_| {
            let answer = wire::ask(address, "POST", "/api/v1/runs", &[], &message).unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
            answer.json()["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listeners = (0..SUBSCRIBERS).map(|n| listen(address, &ids[n % RUNS], Manner::of(n)));
    let histories = runtime.block_on(join_all(listeners));
    let (now, most, seconds) = cost(node.pid());
    let last: Vec<Option<u64>> = ids
        .iter()
        .map(|id| {
            let path = format!("/api/v1/runs/{id}");
            let answer = wire::ask(address, "GET", &path, &[], "").unwrap();
            answer.json()["seq"].as_u64()
        })
        .collect();
    for (n, history) in histories.iter().enumerate() {
        let sound = check_history(history, last[n % RUNS]);
        assert_eq!(sound, Ok(()), "listener {n}, {:?}", Manner::of(n));
    }
    let events: usize = histories.iter().map(Vec::len).sum();
    println!(
        "{SUBSCRIBERS} listeners, {RUNS} runs, {events} events: {idle:.0} MB before, {now:.0} MB \
         after, {most:.0} MB at most, {seconds:.1} s of processor time"
    );
}
