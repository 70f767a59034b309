//! A node that does what it is told on its standard input.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_cluster::Owner;
use crane_cluster::gateway::envelope::{Reply, Request};
use crane_cluster::gateway::tls::Tls;
use crane_cluster::gateway::{Dispatch, Gateway, Options, Peers, Wanted};
use crane_cluster::secret::Secrets;
use crane_core::{Epoch, Generation, NodeName};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// Name, boot id, secret, and the directory of the certificates if there are any.
pub(crate) const CHILD: &str = "CRANE_GATEWAY_CHILD";
const KINDS: [&str; 5] = ["echo", "not-owner", "hang", "panic", "large"];

/// Requests that will never be answered.
static HANGING: AtomicUsize = AtomicUsize::new(0);

struct Answers;

impl Dispatch for Answers {
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply> {
        async move {
            match KINDS[usize::from(request.kind)] {
                "echo" => Reply::Done(request.body),
                "not-owner" => Reply::NotOwner {
                    owner: Some(Owner {
                        node: NodeName::new("c"),
                        generation: Generation(9),
                    }),
                    epoch: Epoch(4),
                },
                "panic" => panic!("as it was asked to"),
                "large" => {
                    let size = String::from_utf8_lossy(&request.body);
                    Reply::Done(vec![7; size.parse().expect("a number")])
                }
                _ => {
                    HANGING.fetch_add(1, Ordering::SeqCst);
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }
}

fn say(id: &str, text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {id} {text}").expect("the parent reads");
}

#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(live(&told));
}

async fn live(told: &str) {
    let fields: Vec<&str> = told.split('|').collect();
    let tls = (!fields[3].is_empty()).then(|| {
        let directory = PathBuf::from(fields[3]);
        let file = |name: &str| directory.join(name);
        Tls::read(
            &file("node.pem"),
            &file("node.key"),
            &file("ca.pem"),
            "crane",
        )
        .expect("the certificates are good")
    });
    let options = Options {
        cluster: "test".into(),
        node: NodeName::new(fields[0]),
        boot: fields[1].into(),
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: Secrets::new(fields[2].split(';').map(str::to_owned).collect())
            .expect("they are long enough"),
        peers: Peers::default(),
        tls,
    };
    let (sender, mut gone) = mpsc::channel(16);
    let started = Gateway::start(options.clone(), Arc::new(Answers), sender.clone()).await;
    let (mut gateway, driver) = started.expect("a port is free");
    let mut driving = tokio::spawn(driver);
    let refused = Arc::new(Mutex::new(String::new()));
    let seen = refused.clone();
    tokio::spawn(async move {
        while let Some(refused) = gone.recv().await {
            *seen.lock().expect("no panic") = refused.node.to_string();
        }
    });
    say("0", &gateway.address().to_string());
    let (lines, mut commands) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    while let Some(line) = commands.recv().await {
        if let Some((id, "restart")) = line.split_once(' ') {
            driving.abort();
            let _ = driving.await;
            let options = Options {
                listen: gateway.address(),
                ..options.clone()
            };
            let started = Gateway::start(options, Arc::new(Answers), sender.clone()).await;
            let (another, driver) = started.expect("the port is free again");
            driving = tokio::spawn(driver);
            gateway = another;
            say(id, "ok");
        }
        let gateway = gateway.clone();
        let refused = refused.lock().expect("no panic").clone();
        tokio::spawn(async move { obey(&gateway, &line, refused).await });
    }
}

async fn obey(gateway: &Gateway, line: &str, refused: String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[1] {
        "want" => {
            gateway.want(words[2..].iter().map(|word| wanted(word)).collect());
            say(words[0], "ok");
        }
        "connected" => {
            let connected = gateway.peers().connected();
            let names: Vec<String> = connected.iter().map(ToString::to_string).collect();
            say(words[0], &names.join(","));
        }
        "refused" => say(words[0], &refused),
        "hanging" => say(words[0], &HANGING.load(Ordering::SeqCst).to_string()),
        "restart" => {}
        "remotable" => {
            let pids = ractor::registry::get_all_pids().into_iter();
            let own = pids.filter(|actor| actor.supports_remoting() && actor.get_id().is_local());
            say(words[0], &own.count().to_string());
        }
        _ => say(words[0], &call(gateway, &words[2..]).await),
    }
}

fn wanted(word: &str) -> Wanted {
    let fields: Vec<&str> = word.split('|').collect();
    Wanted {
        node: NodeName::new(fields[0]),
        boot: fields[1].into(),
        address: fields[2].into(),
        down: fields[3] == "down",
    }
}

async fn call(gateway: &Gateway, words: &[&str]) -> String {
    let size: usize = words[2].parse().expect("a number");
    let millis: u64 = words[3].parse().expect("a number");
    let kind = KINDS
        .iter()
        .position(|kind| *kind == words[1])
        .expect("a kind");
    let body = match words[1] {
        "large" => size.to_string().into_bytes(),
        _ => vec![7; size],
    };
    let request = Request {
        kind: u16::try_from(kind).expect("there are few"),
        run: None,
        epoch: Epoch(3),
        trace: None,
        deadline: Duration::from_millis(millis),
        hops: 0,
        body,
    };
    match gateway
        .peers()
        .call(&NodeName::new(words[0]), &request)
        .await
    {
        Ok(Reply::Done(body)) => format!("done {}", body.len()),
        Ok(Reply::NotOwner { owner, epoch }) => {
            format!("not-owner {} {epoch}", owner.expect("there is one"))
        }
        Ok(Reply::Expired) => "expired".into(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}
