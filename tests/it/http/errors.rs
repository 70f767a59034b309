//! Every type of error but `internal` (a handler that panics is tested next to the guard).

use super::*;

#[test]
fn each_kind_of_refusal_has_its_status_its_type_and_its_details() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let id = serving.submit(&sleeper());
    let details = serving.get("/runs?limit=1000").refused(400, "bad_request");
    assert_eq!(details, json!({ "parameter": "limit" }));
    let details = serving.get("/nowhere").refused(404, "not_found");
    assert_eq!(details, json!({ "path": "/api/v1/nowhere" }));
    let details = serving.get("/runs/abc").refused(404, "run_not_found");
    assert_eq!(details, json!({ "run_id": "abc" }));
    let unknown = "01a21420-0761-7fa5-84cf-1dbd7af0eb9f";
    serving
        .delete(&format!("/runs/{unknown}"))
        .refused(404, "run_not_found");
    let details = serving.get("/tools/hammer").refused(404, "tool_not_found");
    assert_eq!(details, json!({ "tool": "hammer" }));
    let put = serving.ask("PUT", &format!("{BASE}/runs"), "", b"");
    put.refused(405, "method_not_allowed");
    assert!(put.header("allow").contains("GET") && put.header("allow").contains("POST"));
    serving
        .post(&format!("/runs/{id}/retry"), &json!({}))
        .refused(409, "conflict");
    let plain = serving.ask(
        "POST",
        &format!("{BASE}/runs"),
        "content-type: text/plain\r\n",
        b"x",
    );
    plain.refused(415, "unsupported_media_type");
    let details = serving
        .post("/runs", &json!({}))
        .refused(422, "validation_error");
    assert_eq!(details["errors"][0]["path"], "prompt");
    assert!(details["errors"][0]["message"].is_string());
}

#[test]
fn a_token_is_asked_for_where_there_are_some() {
    let home = Home::new();
    let made = home.json("config token -o json");
    let (token, hash) = (
        made["token"].as_str().unwrap(),
        made["hash"].as_str().unwrap(),
    );
    let serving = Serving::with(&home, &[("CRANE__API__TOKENS", hash)]);
    for path in [
        "/runs",
        "/tools",
        "/metrics",
        "/nowhere",
        "/openapi.json",
        "/docs",
    ] {
        let answer = serving.get(path);
        answer.refused(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    assert_eq!(serving.get("/health/live").status, 200);
    let admitted = format!("authorization: Bearer {token}\r\n");
    let path = format!("{BASE}/openapi.json");
    let document = serving.ask("GET", &path, &admitted, b"").json();
    let operation = &document["paths"][format!("{BASE}/runs")]["post"];
    assert!(operation["security"].is_array() && operation["responses"]["401"].is_object());
    assert!(!serving.said().contains(token));
}

#[test]
fn a_node_that_takes_no_more_says_so_and_when_to_come_back() {
    let home = Home::new();
    let settings = [
        ("CRANE__LIMITS__ACTIVE_RUNS", "1"),
        ("CRANE__LIMITS__PENDING_RUNS", "1"),
    ];
    let serving = Serving::with(&home, &settings);
    let id = serving.submit(&sleeper());
    let waiting = serving.post("/runs", &sleeper());
    assert_eq!(
        (waiting.status, &waiting.json()["status"]),
        (201, &json!("pending"))
    );
    let refused = serving.post_with("/runs", "idempotency-key: k\r\n", &sleeper());
    refused.refused(429, "too_many_requests");
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 0)
    );
    // When one has ended, the next one starts: there is room, and the key was not used up.
    assert_eq!(serving.delete(&format!("/runs/{id}")).status, 202);
    let mut tried = 0;
    while serving
        .post_with("/runs", "idempotency-key: k\r\n", &sleeper())
        .status
        == 429
    {
        tried += 1;
        assert!(tried < 1_000, "there is no room");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_node_on_its_way_down_admits_nothing_and_answers_who_waits() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let mut waiting = serving.connect();
    let body = one("sleep", &json!({ "milliseconds": 3_000 }));
    let headers = "content-type: application/json\r\n";
    let path = format!("{BASE}/runs?wait=60s");
    waiting.send(&request(
        "POST",
        &path,
        headers,
        body.to_string().as_bytes(),
    ));
    while serving.get("/runs").json() == json!([]) {
        std::thread::yield_now();
    }
    assert_eq!(serving.post("/admin/drain", &json!({})).status, 202);
    let refused = serving.post("/runs", &json!({ "prompt": "calculate 1" }));
    refused.refused(503, "unavailable");
    assert!(!refused.header("retry-after").is_empty());
    let answer = waiting.answer().unwrap();
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (201, &json!("running"))
    );
}
