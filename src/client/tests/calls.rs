//! Calls: what is repeated, what is not, and what is said about it.

use axum::http::StatusCode;
use crane_core::{RunId, RunStatus, Seq};
use serde_json::json;
use tokio::time::Instant;

use super::server::{Act, Server, answer};
use super::{client, client_of, said_about};
use crate::client::{Client, Error, Message, Options, Token};

const ID: &str = "0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3";

fn id() -> RunId {
    ID.parse().unwrap()
}

fn run(status: &str, seq: u64) -> String {
    json!({"run_id": ID, "status": status, "seq": seq, "node": "n1", "result": 30.0}).to_string()
}

fn message() -> Message {
    Message {
        prompt: Some("calculate 1 + 1".to_owned()),
        ..Message::default()
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let line = request.lines().find_map(|line| line.strip_prefix(name));
    line.map(|rest| rest.trim_start_matches(':').trim())
}

#[tokio::test]
async fn calls_share_a_connection_and_carry_the_token() {
    let ok = Act::Say(answer(200, "[]"));
    let server = Server::start([ok.clone(), ok]).await;
    let client = Client::new(Options {
        target: format!("{}/proxy/", server.address).parse().unwrap(),
        token: Some(Token::new("s3cret").unwrap()),
        ca_cert: None,
        say: |_| (),
    })
    .unwrap();
    assert!(client.tools().await.unwrap().is_empty());
    let labels = [("team".to_owned(), "a b".to_owned())];
    let statuses = [RunStatus::Failed, RunStatus::Cancelled];
    let listing = client.list(&statuses, &labels, 7, 14).await.unwrap();
    assert_eq!((listing.total, listing.runs.len()), (14, 0));
    assert_eq!(server.connections(), 1);
    let requests = server.requests();
    assert!(requests[0].starts_with("get /proxy/api/v1/tools http/1.1\r\n"));
    let list =
        "get /proxy/api/v1/runs?limit=7&offset=14&status=failed,cancelled&label=team%3da%20b ";
    assert!(requests[1].starts_with(list), "{}", requests[1]);
    assert_eq!(header(&requests[1], "authorization"), Some("bearer s3cret"));
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_meanwhile_is_replaced_for_any_call() {
    let server = Server::start([
        Act::SayAndClose(answer(200, "[]")),
        Act::Say(answer(200, "{}")),
    ])
    .await;
    let client = client(&server);
    client.tools().await.unwrap();
    let tried = client.try_tool("../echo", &json!({})).await.unwrap();
    assert_eq!(tried.get(), "{}");
    assert!(server.requests()[1].starts_with("post /api/v1/tools/..%2fecho/test "));
    assert_eq!(said_about(&server), [""; 0]);
}

#[tokio::test]
async fn a_submit_whose_answer_was_lost_is_repeated_with_the_same_key() {
    let server = Server::start([
        Act::SayAndClose(String::new()),
        Act::SayAndClose("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned()),
        Act::Say(answer(200, &run("running", 3))),
    ])
    .await;
    let submitted = client(&server).submit(&message(), "key-1").await.unwrap();
    assert_eq!(submitted.head.run_id, id());
    assert_eq!(submitted.head.status, RunStatus::Running);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(header(request, "idempotency-key"), Some("key-1"));
        assert!(request.ends_with("\r\n\r\n{\"prompt\":\"calculate 1 + 1\"}"));
    }
    let said = said_about(&server);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("was lost") && said[0].contains("trying again"));
}

/// A refusal of a key by a node that cannot ask `c`.
fn refusal_of_a_key() -> Act {
    let body = json!({"error_type": "unavailable", "detail": "c cannot be reached",
        "details": {"unreachable": ["c"]}});
    Act::Say(answer(503, &body.to_string()))
}

#[tokio::test]
async fn a_submit_whose_key_cannot_be_asked_for_goes_without_it_and_only_once() {
    let server = Server::start([
        refusal_of_a_key(),
        Act::Say(answer(201, &run("running", 3))),
        refusal_of_a_key(),
        Act::SayAndClose(String::new()),
    ])
    .await;
    let client = client(&server);
    client.submit(&message(), "key-1").await.unwrap();
    let lost = client.submit(&message(), "key-2").await.unwrap_err();
    assert!(matches!(lost, Error::Broken { .. }), "{lost}");
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| header(request, "idempotency-key"))
        .collect();
    assert_eq!(keys, [Some("key-1"), None, Some("key-2"), None]);
}

#[tokio::test]
async fn a_submit_that_may_have_been_accepted_keeps_its_key() {
    let server = Server::start([
        Act::SayAndClose(String::new()),
        refusal_of_a_key(),
        Act::Say(answer(200, &run("running", 3))),
    ])
    .await;
    client(&server).submit(&message(), "key-1").await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let kept = |request: &String| header(request, "idempotency-key") == Some("key-1");
    assert!(requests.iter().all(kept));
}

#[tokio::test]
async fn what_has_an_effect_each_time_is_not_repeated() {
    let server = Server::start([Act::SayAndClose(String::new())]).await;
    let error = client(&server)
        .try_tool("echo", &json!({}))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_at_once() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let start = Instant::now();
    let error = client_of(&address).submit(&message(), "k").await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("cannot reach {address}: connection refused; is `crane serve` running there?")
    );
    assert!(start.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn a_refusal_is_read_and_not_repeated() {
    let body = json!({"error_type": "validation_error", "detail": "not valid",
        "details": {"errors": [{"path": "prompt", "message": "is empty"}]}});
    let server = Server::start([
        Act::Say(answer(422, &body.to_string())),
        Act::Say(answer(500, "")),
    ])
    .await;
    let client = client(&server);
    let error = client.submit(&message(), "k").await.unwrap_err();
    let refusal = error.refused(StatusCode::UNPROCESSABLE_ENTITY).unwrap();
    assert_eq!(refusal.findings[0].path, "prompt");
    let error = client.run(id()).await.unwrap_err();
    assert!(error.refused(StatusCode::INTERNAL_SERVER_ERROR).is_some());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_now_is_asked_again() {
    let later = "HTTP/1.1 503 X\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start([
        Act::Say(later.to_owned()),
        Act::Say(later.to_owned()),
        Act::Say(answer(200, &run("pending", 1))),
    ])
    .await;
    let run = client(&server).run(id()).await.unwrap();
    assert_eq!(run.head.seq, Seq(1));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_that_no_node_gives_is_said_to_be_one() {
    let server = Server::start([
        Act::Say(answer(200, "<html>hello</html>")),
        Act::Say(answer(200, "{\"run_id\":7}")),
        Act::Say(answer(200, &run("dancing", 1))),
        Act::SayAndClose("SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
    ])
    .await;
    let client = client(&server);
    for expected in ["expected value", "no run", "dancing", "perhaps https"] {
        let error = client.run(id()).await.unwrap_err();
        assert!(matches!(error, Error::Strange { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_retry_whose_answer_was_lost_has_happened_if_the_run_has_moved_on() {
    for (seq, happened) in [(8, true), (5, false)] {
        let server = Server::start([
            Act::SayAndClose(String::new()),
            Act::Say(answer(200, &run("running", seq))),
        ])
        .await;
        let retried = client(&server).retry(id(), Seq(5)).await;
        assert_eq!(retried.is_ok(), happened);
        assert!(server.requests()[0].starts_with(&format!("post /api/v1/runs/{ID}/retry ")));
    }
}
