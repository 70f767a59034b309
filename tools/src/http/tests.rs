//! The http tool against servers of this process, on loopback addresses that are allowed for it.
#![allow(clippy::unwrap_used)]

mod redirects;

use std::time::Duration;

use crane_core::RunId;
use wiremock::matchers::{any, body_string, header, method, path};
use wiremock::{Mock, MockServer, Request as Received, ResponseTemplate};

use super::*;
use crate::tests::{attempt, dry_run};

fn tool(allow: &[&str]) -> HttpTool {
    HttpTool::new(HttpConfig {
        allow: allow.iter().map(|entry| entry.parse().unwrap()).collect(),
        ..HttpConfig::default()
    })
}

/// A call by a tool that may reach loopback addresses.
async fn call(input: Value) -> Result<Value, ToolError> {
    tool(&["127.0.0.1"]).call(input, dry_run()).await
}

/// A server that answers everything with this.
async fn always(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(response)
        .mount(&server)
        .await;
    server
}

async fn received(server: &MockServer) -> Vec<Received> {
    server.received_requests().await.unwrap()
}

/// The same server under its name instead of its address.
fn by_name(server: &MockServer) -> String {
    server.uri().replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn a_text_comes_back_as_body_with_status_and_headers() {
    let response = ResponseTemplate::new(201)
        .append_header("X-Two", "a")
        .append_header("X-Two", "b")
        .set_body_string("hello");
    let server = always(response).await;
    let output = call(json!({"url": server.uri()})).await.unwrap();
    assert_eq!(output["status"], 201);
    assert_eq!(output["body"], "hello");
    assert_eq!(output["headers"]["x-two"], "a, b");
    assert_eq!(output["headers"]["content-type"], "text/plain");
    assert_eq!(output.get("json"), None);
}

#[tokio::test]
async fn json_comes_back_as_json_if_it_is_json() {
    for (kind, body, wanted) in [
        ("application/json", "{\"a\":[1]}", json!({"a": [1]})),
        ("application/json; charset=utf-8", "null", json!(null)),
        ("application/problem+JSON", "1.5", json!(1.5)),
    ] {
        let server = always(ResponseTemplate::new(200).set_body_raw(body, kind)).await;
        let output = call(json!({"url": server.uri()})).await.unwrap();
        assert_eq!(output.get("json"), Some(&wanted), "{kind}");
        assert_eq!(output.get("body"), None, "{kind}");
    }
    for (kind, body) in [("application/json", "{oops"), ("text/plain", "{}")] {
        let server = always(ResponseTemplate::new(200).set_body_raw(body, kind)).await;
        let output = call(json!({"url": server.uri()})).await.unwrap();
        assert_eq!(output.get("json"), None, "{kind}");
        assert_eq!(output["body"], body, "{kind}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_fail_the_call() {
    let server = always(ResponseTemplate::new(200).set_body_bytes([b'a', 0xff])).await;
    let output = call(json!({"url": server.uri()})).await.unwrap();
    assert_eq!(output["body"], "a\u{fffd}");
}

#[tokio::test]
async fn the_request_is_sent_as_asked() {
    let server = always(ResponseTemplate::new(200)).await;
    let url = format!("{}/path?q=0#part", server.uri());
    call(json!({
        "method": "PUT",
        "url": url,
        "headers": {"X-Text": "x", "X-Number": 7},
        "query": {"a": "1 & 2", "b": [1, true], "c": null},
        "json": {"n": 1}
    }))
    .await
    .unwrap();
    call(json!({"url": url, "method": "POST", "body": "plain"}))
        .await
        .unwrap();
    let headers = json!({"content-type": "text/csv"});
    call(json!({"url": url, "method": "PATCH", "body": "a,b", "headers": headers}))
        .await
        .unwrap();
    let requests = received(&server).await;
    let of = |index: usize, name: &str| requests[index].headers[name].to_str().unwrap();
    assert_eq!(requests[0].method.as_str(), "PUT");
    assert_eq!(requests[0].url.path(), "/path");
    assert_eq!(requests[0].url.query(), Some("q=0&a=1+%26+2&b=1&b=true"));
    assert_eq!(of(0, "x-text"), "x");
    assert_eq!(of(0, "x-number"), "7");
    assert_eq!(of(0, "content-type"), "application/json");
    assert!(of(0, "user-agent").starts_with("crane/"));
    assert_eq!(requests[0].body, b"{\"n\":1}");
    assert_eq!(requests[1].body, b"plain");
    assert_eq!(of(1, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(of(2, "content-type"), "text/csv");
}

#[tokio::test]
async fn the_idempotency_key_and_the_trace_are_sent_unless_given() {
    let server = always(ResponseTemplate::new(200)).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let context = CallContext {
        trace_id: Some(trace.into()),
        ..attempt(2)
    };
    let given = json!({"Idempotency-Key": "mine", "traceparent": "my-own"});
    let tool = tool(&["127.0.0.0/8"]);
    for (input, context) in [
        (json!({"url": server.uri()}), context.clone()),
        (json!({"url": server.uri(), "headers": given}), context),
        (json!({"url": server.uri()}), attempt(1)),
        (json!({"url": server.uri()}), dry_run()),
    ] {
        tool.call(input, context).await.unwrap();
    }
    let requests = received(&server).await;
    let of = |index: usize, name: &str| {
        let value = requests[index].headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let key = format!("{}/step/1", RunId::from_bytes([7; 16]));
    assert_eq!(of(0, "idempotency-key"), Some(key.clone()));
    let parent = of(0, "traceparent").unwrap();
    let parts: Vec<_> = parent.split('-').collect();
    assert_eq!(
        (parts[0], parts[1], parts[2].len(), parts[3]),
        ("00", trace, 16, "01")
    );
    assert_eq!(of(1, "idempotency-key").as_deref(), Some("mine"));
    assert_eq!(of(1, "traceparent").as_deref(), Some("my-own"));
    assert_eq!(of(2, "idempotency-key"), Some(key));
    assert_eq!(of(2, "traceparent"), None);
    assert_eq!(of(3, "idempotency-key"), None);
}

#[tokio::test]
async fn loopback_is_refused_by_default_by_address_and_by_name() {
    let server = always(ResponseTemplate::new(200)).await;
    for url in [
        server.uri(),
        by_name(&server),
        by_name(&server).to_uppercase(),
    ] {
        let error = tool(&[])
            .call(json!({"url": url}), dry_run())
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{url}: {error}");
        assert!(error.message.contains("special address"), "{url}: {error}");
    }
    assert!(received(&server).await.is_empty());
    // The same calls arrive where they are allowed.
    for (url, allow) in [(server.uri(), "127.0.0.1"), (by_name(&server), "localhost")] {
        let output = tool(&[allow]).call(json!({"url": url}), dry_run()).await;
        assert_eq!(output.unwrap()["status"], 200);
    }
}

#[tokio::test]
async fn unexpected_statuses_fail_and_say_whether_to_retry() {
    for (status, kind) in [
        (400, ErrorKind::Permanent),
        (404, ErrorKind::Permanent),
        (304, ErrorKind::Permanent),
        (408, ErrorKind::Permanent),
        (429, ErrorKind::Transient),
        (500, ErrorKind::Transient),
        (503, ErrorKind::Transient),
    ] {
        let response = ResponseTemplate::new(status).set_body_string("no\n  luck");
        let server = always(response).await;
        let url = format!("{}/x?token=secret", server.uri());
        let error = call(json!({"url": url})).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
        assert_eq!(error.retry_after, None);
        assert!(error.message.contains(&status.to_string()), "{error}");
        assert!(!error.message.contains("secret"), "{error}");
        assert_eq!(error.message.contains("no luck"), status != 304, "{error}");
    }
}

#[tokio::test]
async fn expect_status_decides_what_a_success_is() {
    let server = always(ResponseTemplate::new(404)).await;
    let url = server.uri();
    for expected in [json!(404), json!([200, 404])] {
        let output = call(json!({"url": url, "expect_status": expected}))
            .await
            .unwrap();
        assert_eq!(output["status"], 404);
    }
    let server = always(ResponseTemplate::new(200)).await;
    let input = json!({"url": server.uri(), "expect_status": [201, 204]});
    assert_eq!(call(input).await.unwrap_err().kind, ErrorKind::Permanent);
    let server = always(ResponseTemplate::new(503)).await;
    let input = json!({"url": server.uri(), "expect_status": 503});
    assert_eq!(call(input).await.unwrap()["status"], 503);
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    for (given, date, wanted) in [
        ("7", None, 7),
        (
            "Sun, 06 Nov 1994 08:50:37 GMT",
            Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            60,
        ),
        // 2023-11-14T22:13:20 is the time of the call.
        ("Tue, 14 Nov 2023 22:13:50 GMT", Some("unreadable"), 30),
    ] {
        let mut response = ResponseTemplate::new(503).insert_header("retry-after", given);
        if let Some(date) = date {
            response = response.insert_header("date", date);
        }
        let server = always(response).await;
        let error = call(json!({"url": server.uri()})).await.unwrap_err();
        assert_eq!(
            error.retry_after,
            Some(Duration::from_secs(wanted)),
            "{given}"
        );
        assert!(error.kind.is_retryable());
    }
    let response = ResponseTemplate::new(404).insert_header("retry-after", "7");
    let server = always(response).await;
    assert_eq!(
        call(json!({"url": server.uri()}))
            .await
            .unwrap_err()
            .retry_after,
        None
    );
}

#[tokio::test]
async fn a_body_over_the_limit_fails_and_one_at_the_limit_does_not() {
    let tool = HttpTool::new(HttpConfig {
        allow_private: true,
        response_bytes: 1_000,
        ..HttpConfig::default()
    });
    for (bytes, fits) in [(1_000, true), (1_001, false), (5_000_000, false)] {
        let server = always(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; bytes])).await;
        let result = tool.call(json!({"url": server.uri()}), dry_run()).await;
        match result {
            Ok(output) => assert!(fits && output["body"].as_str().unwrap().len() == bytes),
            Err(error) => assert!(!fits && error.kind == ErrorKind::Limit, "{error}"),
        }
    }
    let large = ResponseTemplate::new(500).set_body_bytes(vec![b'x'; 5_000_000]);
    let server = always(large).await;
    let error = tool
        .call(json!({"url": server.uri()}), dry_run())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.message.len() < 400, "{error}");
}

#[tokio::test]
async fn where_nobody_listens_the_failure_may_pass() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [
        format!("http://{address}/?token=secret"),
        "http://nobody.invalid/".to_owned(),
    ] {
        let error = call(json!({"url": url})).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{error}");
        assert!(!error.message.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_may_pass() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_024]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (result, ()) = tokio::join!(call(json!({"url": url})), server);
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{answer}: {error}");
    }
}

/// The handshake of TLS is a part of the connection, and this listener never answers it.
#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_too_long_is_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let start = tokio::time::Instant::now();
    let error = call(json!({"url": url})).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert_eq!(start.elapsed().as_secs(), HTTP_CONNECT_TIMEOUT.as_secs());
}

#[tokio::test]
async fn mistakes_of_the_caller_are_refused_before_anything_is_sent() {
    let server = always(ResponseTemplate::new(200)).await;
    let url = server.uri();
    for input in [
        json!({}),
        json!({"url": ""}),
        json!({"url": "example.com/x"}),
        json!({"url": "//example.com"}),
        json!({"url": "ftp://example.com"}),
        json!({"url": "file:///etc/passwd"}),
        json!({"url": "http://"}),
        json!({"url": url.replace("http://", "http://me:pw@")}),
        json!({"url": url, "method": "TRACE"}),
        json!({"url": url, "method": "CONNECT"}),
        json!({"url": url, "json": 1, "body": "x"}),
        json!({"url": url, "headers": {"a b": "x"}}),
        json!({"url": url, "headers": {"x": "a\r\nb: c"}}),
        json!({"url": url, "headers": {"x": [1]}}),
        json!({"url": url, "headers": {"Host": "other"}}),
        json!({"url": url, "headers": {"Content-Length": "0"}}),
        json!({"url": url, "headers": {"transfer-encoding": "chunked"}}),
        json!({"url": url, "query": {"x": {"y": 1}}}),
        json!({"url": url, "query": {"x": [[1]]}}),
        json!({"url": url, "expect_status": "200"}),
        json!({"url": url, "follow": true}),
    ] {
        let error = call(input.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{input}: {error}");
        assert!(!error.message.contains("pw"), "{input}: {error}");
    }
    let many: Value = (0..=HTTP_HEADERS)
        .map(|n| (format!("x-{n}"), json!("x")))
        .collect();
    let error = call(json!({"url": url, "headers": many}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(received(&server).await.is_empty());
}

#[tokio::test]
async fn every_method_of_the_contract_arrives() {
    let server = MockServer::start().await;
    for name in request::METHODS {
        Mock::given(method(name))
            .and(header("x-method", name))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        let input = json!({"url": server.uri(), "method": name, "headers": {"x-method": name}});
        assert_eq!(call(input).await.unwrap()["status"], 200, "{name}");
    }
}

#[tokio::test]
async fn null_as_json_means_no_body() {
    let server = MockServer::start().await;
    Mock::given(body_string(""))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    call(json!({"url": server.uri(), "method": "POST", "json": null}))
        .await
        .unwrap();
}
