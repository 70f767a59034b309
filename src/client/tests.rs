//! The client against a server of the test that does on purpose what servers and networks do at
//! their worst.

mod calls;
mod server;
mod streams;
mod tls;

use std::sync::{Mutex, PoisonError};

use super::{Client, Options};
use server::Server;

/// What clients of tests said, all of them; each test looks for what names its own server.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn say(line: &str) {
    SAID.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.to_owned());
}

/// The lines said about a server.
fn said_about(server: &Server) -> Vec<String> {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let about = |line: &&String| line.contains(&server.address);
    said.iter().filter(about).cloned().collect()
}

fn client(server: &Server) -> Client {
    client_of(&server.address)
}

fn client_of(address: &str) -> Client {
    Client::new(Options {
        target: address.parse().unwrap(),
        token: None,
        ca_cert: None,
        say,
    })
    .unwrap()
}
