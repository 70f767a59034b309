//! Submitting: what is taken, what is refused and how, keys and waits.

use super::*;

#[tokio::test]
async fn a_prompt_is_accepted_planned_and_carried_out() {
    let bench = Bench::new().await;
    let answer = bench
        .post(
            "/runs",
            &json!({ "prompt": "calculate (10 + 5) * 2", "labels": { "a": "b" } }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let run = answer.json();
    let id = run["run_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/runs/{id}"));
    assert_eq!(run["labels"], json!({ "a": "b" }));
    assert_eq!(run["plan"]["steps"][0]["tool_name"], "calculator");
    let run = bench
        .ended(&json!({ "prompt": "calculate (10 + 5) * 2" }))
        .await;
    assert_eq!(
        (&run["status"], &run["result"]),
        (&json!("completed"), &json!(30.0))
    );
    assert_eq!(run["node"], "north");
}

#[tokio::test]
async fn a_prompt_that_nobody_understands_is_accepted_and_fails() {
    let bench = Bench::new().await;
    let run = bench.ended(&json!({ "prompt": "sing me a song" })).await;
    assert_eq!(run["status"], "failed");
    let error = run["error"].as_str().unwrap();
    assert!(error.starts_with("Could not parse prompt: "), "{error}");
}

#[tokio::test]
async fn the_input_of_a_request_overrides_the_plan_s() {
    let bench = Bench::new().await;
    let run = bench
        .ended(&json!({
            "plan": {
                "input": { "a": 1, "b": 2 },
                "steps": [{ "id": "s", "tool": "echo", "input": { "sum": "${input.a + input.b}" } }],
            },
            "input": { "a": 10 },
        }))
        .await;
    assert_eq!(run["result"], json!({ "sum": 12 }));
}

#[tokio::test]
async fn a_plan_may_be_the_body_itself_in_yaml() {
    let bench = Bench::new().await;
    let yaml = "# a plan\nsteps:\n  - {id: a, tool: echo, input: {n: 1}}\n";
    for content_type in ["application/yaml", "Application/YAML; charset=\"UTF-8\""] {
        let request = Request::post(format!("{BASE}/runs?wait=30s"))
            .header("content-type", content_type)
            .body(Body::from(yaml))
            .unwrap();
        let answer = bench.call(request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.json()["result"], json!({ "n": 1 }));
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let bench = Bench::new().await;
    let wrong = json!({
        "prompt": 7,
        "labels": { "a": 1, "": "x" },
        "input": [],
        "extra": true,
    });
    let mut paths = bench.post("/runs", &wrong).await.invalid();
    paths.sort();
    assert_eq!(paths, ["extra", "input", "labels.", "labels.a", "prompt"]);
    let plan = json!({ "plan": { "name": 1, "steps": [
        { "id": "a", "tool": "nope", "input": {} },
        { "id": "a", "tool": "echo", "timeout": "soon" },
    ] } });
    let paths = bench.post("/runs", &plan).await.invalid();
    for path in [
        "plan.name",
        "plan.steps[0].tool",
        "plan.steps[1].id",
        "plan.steps[1].timeout",
    ] {
        assert!(paths.iter().any(|found| found == path), "{path}: {paths:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_valid_json_and_no_request_is_a_validation_error() {
    let bench = Bench::new().await;
    let long = "a".repeat(2_001);
    for (body, path) in [
        (json!([]), ""),
        (json!(null), ""),
        (json!("calculate 1"), ""),
        (json!({}), "prompt"),
        (json!({ "prompt": null }), "prompt"),
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "prompt": " \t\n\u{2003}" }), "prompt"),
        (json!({ "prompt": long }), "prompt"),
        (json!({ "prompt": ["x"] }), "prompt"),
        (json!({ "prompt": "x", "plan": { "steps": [] } }), "prompt"),
        (json!({ "plan": [] }), "plan"),
        (json!({ "plan": {} }), "plan.steps"),
        (json!({ "plan": { "steps": [] } }), "plan.steps"),
        (json!({ "prompt": "x", "input": 1 }), "input"),
        (json!({ "prompt": "x", "labels": [] }), "labels"),
        (json!({ "prompt": "x", "wait": "1s" }), "wait"),
    ] {
        let paths = bench.post("/runs", &body).await.invalid();
        assert!(paths.iter().any(|found| found == path), "{body}: {paths:?}");
    }
    let limit = json!({ "prompt": "é".repeat(2_000) });
    assert_eq!(
        bench.post("/runs", &limit).await.status,
        StatusCode::CREATED
    );
}

fn with_key(key: &str, body: &Value) -> Request<Body> {
    let mut request = post("/runs", body);
    let headers = request.headers_mut();
    headers.insert("idempotency-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn the_same_key_gives_the_same_run_and_another_body_a_conflict() {
    let bench = Bench::new().await;
    let body = json!({ "prompt": "calculate 1 + 1", "labels": { "a": "1", "b": "2" } });
    let first = bench.call(with_key("k", &body)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let id = first.json()["run_id"].clone();
    // Order and blanks are no part of what a request says, nor is the wait.
    let same = r#" { "labels":{"b":"2","a":"1"}, "prompt" : "calculate 1 + 1" }"#;
    let again = Request::post(format!("{BASE}/runs?wait=10s"))
        .header("content-type", "application/json")
        .header("Idempotency-Key", "k")
        .body(Body::from(same))
        .unwrap();
    let again = bench.call(again).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.json()["run_id"], id);
    assert_eq!(again.json()["status"], "completed");
    assert_eq!(again.header("location"), first.header("location"));
    let other = bench
        .call(with_key("k", &json!({ "prompt": "calculate 2" })))
        .await;
    assert_eq!(other.refused(409, "conflict")["run_id"], id);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() {
    let bench = Bench::new().await;
    let refused = bench.call(with_key("k", &json!({ "prompt": "" }))).await;
    refused.refused(422, "validation_error");
    let good = bench
        .call(with_key("k", &json!({ "prompt": "calculate 1" })))
        .await;
    assert_eq!(good.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_key_is_up_to_255_visible_characters_and_given_once() {
    let bench = Bench::new().await;
    let body = json!({ "prompt": "calculate 1" });
    let longest = "~".repeat(255);
    assert_eq!(
        bench.call(with_key(&longest, &body)).await.status,
        StatusCode::CREATED
    );
    let long = "k".repeat(256);
    for key in ["", "a b", "ü", "\t", &long] {
        let mut request = post("/runs", &body);
        let key = axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        request.headers_mut().insert("idempotency-key", key);
        let details = bench.call(request).await.refused(400, "bad_request");
        assert_eq!(details["header"], "Idempotency-Key");
    }
    let mut twice = with_key("k", &body);
    twice
        .headers_mut()
        .append("idempotency-key", "k".parse().unwrap());
    bench.call(twice).await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_wait_that_is_over_gives_the_run_as_it_is() {
    let bench = Bench::new().await;
    let answer = bench.post("/runs?wait=1ms", &sleeper()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["status"], "running");
    let before = tokio::time::Instant::now();
    let run = bench
        .ended(&one("sleep", &json!({ "milliseconds": 50 })))
        .await;
    assert_eq!(run["status"], "completed");
    assert!(before.elapsed() < std::time::Duration::from_secs(20));
}

#[tokio::test]
async fn a_wait_out_of_bounds_is_refused_by_name() {
    let bench = Bench::new().await;
    for wait in [
        "",
        "0s",
        "0.5ms",
        "61s",
        "1h",
        "30",
        "-1s",
        "abc",
        "1s&wait=1s",
    ] {
        let path = format!("/runs?wait={wait}");
        let details = bench.post(&path, &json!({ "prompt": "calculate 1" })).await;
        assert_eq!(
            details.refused(400, "bad_request")["parameter"],
            "wait",
            "{wait}"
        );
    }
    let unknown = bench
        .post("/runs?waiting=1s", &json!({ "prompt": "x" }))
        .await;
    assert_eq!(unknown.refused(400, "bad_request")["parameter"], "waiting");
}

#[tokio::test]
async fn a_trace_id_goes_into_the_run_and_a_malformed_one_is_ignored() {
    let bench = Bench::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let good = format!("00-{trace}-b7ad6b7169203331-01");
    for (header, expected) in [(good.as_str(), json!(trace)), ("00-zz", Value::Null)] {
        let mut request = post("/runs", &json!({ "prompt": "calculate 1" }));
        request
            .headers_mut()
            .insert("traceparent", header.parse().unwrap());
        let id = bench.call(request).await.json()["run_id"].clone();
        let path = format!("/runs/{}/events", id.as_str().unwrap());
        let list = get(&path).header("accept", "application/json");
        let events = bench.call(list.body(Body::empty()).unwrap()).await.json();
        assert_eq!(events[0]["data"]["trace_id"], expected);
    }
}

#[tokio::test]
async fn as_many_runs_as_may_wait_are_taken_and_no_more() {
    let mut config = Config::default();
    config.limits.active_runs = 1;
    config.limits.pending_runs = 1;
    let bench = Bench::with(config).await;
    bench.submit(&sleeper()).await;
    let second = bench.post("/runs", &sleeper()).await;
    assert_eq!(second.json()["status"], "pending");
    let third = bench.post("/runs", &sleeper()).await;
    third.refused(429, "too_many_requests");
    assert_eq!(third.header("retry-after"), "1");
}

#[tokio::test]
async fn a_body_of_another_type_or_size_is_refused() {
    let mut config = Config::default();
    config.limits.request_bytes = 100;
    let bench = Bench::with(config).await;
    let send = async |content_type: Option<&str>, encoding: Option<&str>, body: String| {
        let mut request = Request::post(format!("{BASE}/runs"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        bench.call(request.body(Body::from(body)).unwrap()).await
    };
    let good = json!({ "prompt": "calculate 1" }).to_string();
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/jsonp"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=latin1"),
        Some("application/yml"),
    ] {
        let answer = send(content_type, None, good.clone()).await;
        answer.refused(415, "unsupported_media_type");
    }
    let zipped = send(Some("application/json"), Some("gzip"), good.clone()).await;
    zipped.refused(415, "unsupported_media_type");
    let plain = send(
        Some("application/json;charset=utf-8"),
        Some("identity"),
        good,
    )
    .await;
    assert_eq!(plain.status, StatusCode::CREATED);
    let large = json!({ "prompt": "x".repeat(90) }).to_string();
    let large = send(Some("application/json"), None, large).await;
    assert_eq!(large.refused(413, "payload_too_large")["limit"], 100);
}

#[tokio::test]
async fn a_body_whose_length_nobody_said_is_bounded_too() {
    let mut config = Config::default();
    config.limits.request_bytes = 100;
    let bench = Bench::with(config).await;
    let parts = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("          "));
    let request = Request::post(format!("{BASE}/runs"))
        .header("content-type", "application/json")
        .body(Body::from_stream(parts))
        .unwrap();
    bench.call(request).await.refused(413, "payload_too_large");
    let pieces = [r#"{"prompt":"#, r#""calc"#, r#"ulate 1"}"#].map(Ok::<_, std::io::Error>);
    let request = Request::post(format!("{BASE}/runs"))
        .header("content-type", "application/json")
        .body(Body::from_stream(futures_util::stream::iter(pieces)))
        .unwrap();
    assert_eq!(bench.call(request).await.status, StatusCode::CREATED);
    let broken = futures_util::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
    let request = Request::post(format!("{BASE}/runs"))
        .header("content-type", "application/json")
        .body(Body::from_stream(broken))
        .unwrap();
    bench.call(request).await.refused(400, "bad_request");
}

#[tokio::test]
async fn what_is_not_one_strict_document_is_a_bad_request() {
    let bench = Bench::new().await;
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let json: [&[u8]; 14] = [
        b"",
        b" \n",
        b"{",
        b"{\"prompt\":\"x\"",
        b"{\"prompt\":\"x\"}}",
        b"{\"prompt\":\"x\",}",
        b"{'prompt':'x'}",
        b"{\"prompt\":\"x\",\"prompt\":\"y\"}",
        b"{\"prompt\":\"\xff\"}",
        b"{\"prompt\":\"\\ud800\"}",
        b"{\"prompt\":\"a\nb\"}",
        b"{\"input\":{\"n\":1e999},\"prompt\":\"x\"}",
        b"{\"prompt\":NaN}",
        deep.as_bytes(),
    ];
    let yaml: [&[u8]; 6] = [
        b"",
        b"# nothing\n",
        b"a: [",
        b"a: 1\na: 2\n",
        b"a: 1\n---\nb: 2\n",
        b"1: x\n",
    ];
    let json = json.iter().map(|body| ("application/json", body));
    for (content_type, body) in json.chain(yaml.iter().map(|body| ("application/yaml", body))) {
        let request = Request::post(format!("{BASE}/runs"))
            .header("content-type", content_type)
            .body(Body::from(body.to_vec()))
            .unwrap();
        let answer = bench.call(request).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{}",
            String::from_utf8_lossy(body)
        );
        answer.refused(400, "bad_request");
    }
}
