//! A disk that fills up: a small file system made for the test.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crane_actors::Runtime;
use crane_actors::submit::{Request, SubmitError};
use crane_core::{RunId, RunStatus};
use crane_store::Error;
use crane_store::embedded::EmbeddedStore;
use serde_json::{Value, json};

use super::{Notes, child, is_root, system};

/// A file system of a few MiB in memory.
struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    fn new(notes: &Notes, mib: u32) -> Self {
        let mount = notes.path("small");
        std::fs::create_dir_all(&mount).expect("a mount point");
        let size = format!("size={mib}m");
        let path = mount.to_str().expect("a path in UTF-8");
        system("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", path]);
        Self { mount }
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Takes all space but `leave` bytes, as some other program might.
    fn fill(&self, leave: u64) {
        use std::io::Write as _;
        let mut file = File::create(self.ballast()).expect("a ballast file");
        let chunk = vec![1; 64 << 10];
        while file.write_all(&chunk).is_ok() {}
        let size = file.metadata().expect("its size").len();
        file.set_len(size.saturating_sub(leave))
            .expect("it shrinks");
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        system("umount", &[self.mount.to_str().expect("a path in UTF-8")]);
    }
}

/// Two steps with a payload, so that a run takes some space.
fn plan() -> Value {
    json!({ "steps": [
        { "id": "a", "tool": "echo", "input": { "text": "x".repeat(8_000) } },
        { "id": "b", "tool": "echo", "input": { "text": "${steps.a.output.text}" } },
    ] })
}

fn slow_plan() -> Value {
    json!({ "steps": [
        { "id": "slow", "tool": "sleep", "input": { "milliseconds": 1_500 } },
        { "id": "then", "tool": "echo", "input": {}, "depends_on": ["slow"] },
    ] })
}

async fn submit(runtime: &Runtime, plan: Value) -> Result<RunId, SubmitError> {
    let request = Request {
        plan: Some(plan),
        ..Request::default()
    };
    runtime
        .submit(request, false)
        .await
        .map(|submitted| submitted.run.id)
}

/// Submits until new runs are refused for want of space.
async fn until_refused(runtime: &Runtime, accepted: &mut Vec<RunId>) {
    for _ in 0..20_000 {
        match submit(runtime, plan()).await {
            Ok(id) => accepted.push(id),
            Err(SubmitError::Store(Error::DiskReserve { .. })) => return,
            Err(error) => panic!("refused with the wrong error: {error}"),
        }
    }
    panic!("the disk never filled");
}

/// Submits until a run is accepted again.
async fn until_accepted(runtime: &Runtime) -> RunId {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match submit(runtime, plan()).await {
            Ok(id) => return id,
            Err(error) => assert!(
                tokio::time::Instant::now() < patience,
                "space has returned and runs are still refused: {error}"
            ),
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_full_disk_refuses_new_runs_loses_nothing_and_goes_on_when_space_returns() {
    if !is_root("filling a disk") {
        return;
    }
    let notes = Notes::new();
    let disk = SmallDisk::new(&notes, 24);
    let data = disk.mount.join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut accepted = Vec::new();
    runtime.block_on(async {
        let store = EmbeddedStore::open(child::store_options(&data)).expect("the store opens");
        let node = child::start(Arc::new(store), &notes.path(""), 0).await;
        for _ in 0..50 {
            accepted.push(submit(&node, plan()).await.expect("there is space"));
        }
        let slow = submit(&node, slow_plan()).await.expect("there is space");
        // Less than the reserve is left: new runs are refused, the slow one finishes.
        disk.fill(1 << 20);
        until_refused(&node, &mut accepted).await;
        let run = node.ended(slow).await.expect("readable").expect("there");
        assert_eq!(run.status(), RunStatus::Completed);
        accepted.push(slow);
        disk.free();
        accepted.push(until_accepted(&node).await);
        for id in &accepted {
            let run = node.ended(*id).await.expect("readable").expect("there");
            assert_eq!(run.status(), RunStatus::Completed);
        }
        node.shutdown(Duration::from_secs(10))
            .await
            .expect("the store closes");
    });
    let again = EmbeddedStore::open(child::store_options(&data)).expect("the store opens again");
    runtime.block_on(async {
        let node = child::start(Arc::new(again), &notes.path(""), 1).await;
        for id in &accepted {
            let run = node
                .load(*id)
                .await
                .expect("readable")
                .expect("still there");
            assert_eq!(run.status(), RunStatus::Completed);
        }
        node.shutdown(Duration::from_secs(10))
            .await
            .expect("the store closes");
    });
}
