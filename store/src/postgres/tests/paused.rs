//! A process that is stopped for longer than its lease, and goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::kit::{
    self, Database, TestClock, Told, all_shards, expect, outcome, submit, tell, until,
};
use crate::leases::Leases;
use crate::postgres::{Options, verify};
use crate::{Error, RunStore};

const URL: &str = "CRANE_TEST_PAUSED_URL";
const TTL: Duration = Duration::from_secs(1);

/// What the process that is stopped does; run by the test below.
#[tokio::test]
#[ignore = "a process of another test"]
#[allow(clippy::disallowed_methods, reason = "how the test tells it")]
async fn the_process_that_is_paused() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut options = Options::new(url, "a", TestClock::default().as_clock());
    options.ttl = TTL;
    let store = kit::open(options).await.unwrap();
    let fences = store.acquire(all_shards()).await.unwrap();
    let mut told = Told::new(1, &fences);
    tell(&store, &mut told).await;
    say("ready");
    loop {
        let left = store.lease_left().unwrap();
        let result = outcome(submit(&store, told.step("1").batch())).await;
        match result {
            Ok(()) if !left.is_zero() => {}
            Ok(()) => {
                say("wrote without a lease");
                return;
            }
            Err(Error::Fenced { .. }) => {
                say("fenced");
                let lost = store.renew().await;
                say(&format!(
                    "renewal {}",
                    matches!(lost, Err(Error::LeaseLost { .. }))
                ));
                return;
            }
            Err(error) => {
                say(&format!("met {error}"));
                return;
            }
        }
    }
}

#[allow(clippy::print_stdout, reason = "how it talks to the test")]
fn say(word: &str) {
    // Past the harness, which would keep it.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "PAUSED {word}");
}

struct Process(Child);

impl Process {
    fn start(url: &str) -> (Self, impl Iterator<Item = String> + use<>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("postgres::tests::paused::the_process_that_is_paused")
            .env(URL, url)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let words = lines.filter_map(|line| Some(line.ok()?.strip_prefix("PAUSED ")?.to_owned()));
        (Self(child), words)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_process_that_was_paused_longer_than_its_lease_writes_nothing_more() {
    let Some(database) = Database::shared() else {
        return;
    };
    // A member for a while already: it may take over what has run out.
    let heir = database.open_for("b", TTL).await;
    heir.join().await.unwrap();
    let (process, mut words) = Process::start(&database.url);
    assert_eq!(words.next().as_deref(), Some("ready"));
    process.signal(Signal::STOP);
    let run = Told::new(1, &[]).run;
    let taken = std::sync::Mutex::new(Vec::new());
    until("the shard is taken over", async || {
        let fences = heir.acquire(vec![run.shard()]).await.unwrap();
        taken.lock().unwrap().extend(fences);
        !taken.lock().unwrap().is_empty()
    })
    .await;
    let fences = taken.into_inner().unwrap();
    let image = heir.load(run).await.unwrap().unwrap();
    let mut told = Told::new(1, &fences);
    while (told.records.len() as u64) < image.summary.seq.0 {
        told.step("1");
    }
    told.told = told.records.len();
    expect(&heir, &told).await;
    tell(&heir, told.step("2")).await;

    process.signal(Signal::CONT);
    let heard: Vec<String> = tokio::task::spawn_blocking(move || words.collect())
        .await
        .unwrap();
    assert_eq!(heard, ["fenced", "renewal true"]);
    expect(&heir, &told).await;
    let report = verify(database.options("check")).await.unwrap();
    assert_eq!(report.findings, []);
}
