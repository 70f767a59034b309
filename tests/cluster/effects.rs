//! What steps do to the world: a web server that notes each request with its Idempotency-Key, and who
//! sent it when.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A request that was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    /// `RUN/STEP/ROUND`
    pub(crate) key: String,
    /// The node that sent it.
    pub(crate) node: Ipv4Addr,
    pub(crate) at: Instant,
}

/// See the module.
pub(crate) struct Effects {
    pub(crate) address: SocketAddr,
    made: Arc<Mutex<Vec<Effect>>>,
    stop: Arc<AtomicBool>,
}

impl Effects {
    /// A server at this address, which ends when it is dropped.
    pub(crate) fn start(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let effects = Self {
            address: listener.local_addr().unwrap(),
            made: Arc::default(),
            stop: Arc::default(),
        };
        let (made, stop) = (effects.made.clone(), effects.stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    let made = made.clone();
                    thread::spawn(move || serve(stream, &made));
                }
            }
        });
        effects
    }

    /// Where a step does something that takes so long.
    pub(crate) fn url(&self, milliseconds: u64) -> String {
        format!("http://{}/{milliseconds}", self.address)
    }

    /// Everything that was done so far; the number of an effect is its place here.
    pub(crate) fn made(&self) -> Vec<Effect> {
        self.made.lock().unwrap().clone()
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// Serves one connection for as long as requests come; the answer has the number of the effect.
fn serve(stream: TcpStream, made: &Mutex<Vec<Effect>>) -> Option<()> {
    let IpAddr::V4(node) = stream.peer_addr().ok()?.ip() else {
        return None;
    };
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (mut first, mut key, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            match &*name.to_lowercase() {
                "idempotency-key" => value.trim().clone_into(&mut key),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        let at = Instant::now();
        let number = {
            let mut made = made.lock().unwrap();
            made.push(Effect { key, node, at });
            made.len() - 1
        };
        let takes = first.split(' ').nth(1)?.trim_start_matches('/').parse();
        // Not a wait for anything: the work that the effect is.
        thread::sleep(Duration::from_millis(takes.ok()?));
        let body = format!("{{\"effect\":{number}}}");
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
        let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        writer.write_all(answer.as_bytes()).ok()?;
    }
}
