//! A node at an address that stays, killed and started again at will.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::time::Instant;

use super::{PATIENCE, PAUSE, wire};
use crate::program::Home;

/// A node; it is killed when the test is done with it.
pub(super) struct Node<'a> {
    home: &'a Home,
    child: Child,
    pub(super) address: SocketAddr,
}

impl<'a> Node<'a> {
    /// Starts a node, and does not wait until it serves.
    pub(super) fn start(home: &'a Home) -> Self {
        // A port that was free a moment ago: it must be known before the node is there.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = spawn(home, address);
        Self {
            home,
            child,
            address,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, wherever it is, and the same node again.
    pub(super) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.home, self.address);
    }

    /// Waits until it serves.
    #[track_caller]
    pub(super) fn wait_until_ready(&self) {
        let begun = Instant::now();
        let is_ready = || {
            let answer = wire::ask(self.address, "GET", "/api/v1/health/ready", &[], "");
            answer.is_ok_and(|answer| answer.status == 200)
        };
        while !is_ready() {
            let log = || std::fs::read_to_string(self.home.path("log")).unwrap();
            assert!(begun.elapsed() < PATIENCE, "it is not ready: {}", log());
            std::thread::sleep(PAUSE);
        }
    }
}

fn spawn(home: &Home, address: SocketAddr) -> Child {
    let line = format!("serve --data d --listen {address}");
    home.command(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(File::create(home.path("log")).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
