//! What a service manager hears.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use super::{PATIENCE, Serving};
use crate::program::{Home, Server};
use serde_json::json;

/// Reads messages until one of them contains `text`; gives those before it.
#[track_caller]
fn hear(socket: &UnixDatagram, text: &str) -> Vec<String> {
    let mut before = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if message.contains(text) {
            return before;
        }
        before.push(message);
    }
}

#[test]
fn a_service_manager_hears_ready_signs_of_life_and_stopping_in_that_order() {
    let (home, server) = (Home::new(), Server::start());
    let path = home.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = home.command(["serve", "--listen", "127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let mut node = Serving::spawn(&home, command);
    assert!(hear(&socket, "READY=1").is_empty());
    for _ in 0..3 {
        hear(&socket, "WATCHDOG=1");
    }
    let body = json!({"plan": {"steps": [
        {"id": "ask", "tool": "http", "input": {"method": "GET", "url": server.url}}]}});
    node.post("/api/v1/runs", &body.to_string());
    let request = server.request();
    node.signal(Signal::TERM);
    hear(&socket, "STOPPING=1");
    request.answer_json(&json!({}));
    assert_eq!(node.end(), Some(0));
}

#[test]
fn nothing_is_ready_before_the_data_is_open() {
    let home = Home::new();
    let path = home.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let first = Serving::start(&home, "");
    let mut command = home.command(["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    // The directory is in use: it does not get that far.
    let ended = crate::program::end(assert_cmd::Command::from_std(command));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 100]).is_err(), "it said something");
    drop(first);
}
