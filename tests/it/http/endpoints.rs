//! Every endpoint does its work, and none is forgotten.

use std::collections::BTreeSet;

use super::*;

/// Every operation of the document, with a request of it and the status it answers, alone on one node.
/// `ID` stands for a run that ended as failed, `LIVE` for one that runs.
const ALL: &[(&str, &str, &str, &str, u16)] = &[
    ("GET", "/runs", "/runs?limit=1", "", 200),
    (
        "POST",
        "/runs",
        "/runs?wait=10s",
        r#"{"prompt":"calculate 1"}"#,
        201,
    ),
    ("GET", "/runs/{id}", "/runs/ID", "", 200),
    ("GET", "/runs/{id}/events", "/runs/ID/events", "", 200),
    ("POST", "/runs/{id}/retry", "/runs/ID/retry", "", 202),
    ("DELETE", "/runs/{id}", "/runs/LIVE", "", 202),
    ("GET", "/tools", "/tools", "", 200),
    ("GET", "/tools/{name}", "/tools/echo", "", 200),
    (
        "POST",
        "/tools/{name}/test",
        "/tools/echo/test",
        r#"{"a":1}"#,
        200,
    ),
    (
        "POST",
        "/tools/{name}/breaker",
        "/tools/echo/breaker",
        r#"{"state":"auto"}"#,
        200,
    ),
    ("GET", "/health", "/health", "", 200),
    ("GET", "/health/live", "/health/live", "", 200),
    ("GET", "/health/ready", "/health/ready", "", 200),
    ("GET", "/metrics", "/metrics", "", 200),
    ("GET", "/supervision", "/supervision", "", 200),
    ("GET", "/cluster", "/cluster", "", 200),
    (
        "DELETE",
        "/cluster/members/{name}",
        "/cluster/members/x",
        "",
        409,
    ),
    ("GET", "/openapi.json", "/openapi.json", "", 200),
    ("GET", "/schemas/plan", "/schemas/plan", "", 200),
    ("GET", "/docs", "/docs", "", 200),
    (
        "PUT",
        "/admin/log-level",
        "/admin/log-level",
        r#"{"filter":"warn"}"#,
        200,
    ),
    ("POST", "/admin/drain", "/admin/drain", "", 202),
];

#[test]
fn every_operation_of_the_document_answers_as_it_should() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let live = serving.submit(&sleeper());
    let failed = serving
        .post("/runs?wait=10s", &json!({ "prompt": "sing" }))
        .json();
    assert_eq!(failed["status"], "failed");
    let failed = failed["run_id"].as_str().unwrap();
    for (method, _, path, body, status) in ALL {
        let path = path.replace("ID", failed).replace("LIVE", &live);
        let headers = match body.is_empty() {
            true => "",
            false => "content-type: application/json\r\n",
        };
        let answer = serving.ask(method, &format!("{BASE}{path}"), headers, body.as_bytes());
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text());
        assert!(!answer.header("x-request-id").is_empty(), "{method} {path}");
    }
}

#[test]
fn no_operation_of_the_document_is_left_out_here() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let document = serving.get("/openapi.json").json();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix(BASE) else {
            // At the root: the page and the metrics.
            assert!(["/docs", "/metrics"].contains(&path.as_str()), "{path}");
            assert_eq!(serving.ask("GET", path, "", b"").status, 200);
            continue;
        };
        for method in item.as_object().unwrap().keys() {
            documented.insert((method.to_uppercase(), path.to_owned()));
        }
    }
    let listed: BTreeSet<(String, String)> = ALL
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, listed);
}

#[test]
fn an_answer_to_head_has_the_head_alone_and_one_to_options_says_what_may_be_asked() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let mut connection = serving.connect();
    connection.send(&request("HEAD", &format!("{BASE}/tools"), "", b""));
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    assert_ne!(head.header("content-length"), "0");
    // Nothing of a body stands between it and the next answer.
    connection.send(&request("OPTIONS", &format!("{BASE}/runs"), "", b""));
    let options = connection.answer().unwrap();
    assert_eq!((options.status, options.body.len()), (204, 0));
    assert!(options.header("allow").contains("POST"), "{options:?}");
}

#[test]
fn a_plan_in_yaml_is_carried_out() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let yaml = "name: sum\ninput: {a: 20}\nsteps:\n  - id: s\n    tool: calculator\n    \
                input: {expression: \"${input.a} + 1.5\"}\n";
    let path = format!("{BASE}/runs?wait=20s");
    let answer = serving.ask(
        "POST",
        &path,
        "content-type: application/yaml\r\n",
        yaml.as_bytes(),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["result"], 21.5);
    // A number that is a float stays one on the wire.
    let whole = serving.post(
        "/runs?wait=20s",
        &json!({ "prompt": "calculate (10 + 5) * 2" }),
    );
    assert!(whole.text().contains("\"result\":30.0"), "{}", whole.text());
}

#[test]
fn the_trace_of_a_request_goes_on_to_the_tools_that_its_run_calls() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let elsewhere = Server::start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = one("http", &json!({ "method": "GET", "url": elsewhere.url }));
    let header = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    assert_eq!(serving.post_with("/runs", &header, &body).status, 201);
    let call = elsewhere.request();
    let parent = call.header("traceparent").unwrap().to_owned();
    call.answer_json(&json!({}));
    assert_eq!(parent.get(..36), Some(format!("00-{trace}-").as_str()));
    assert_ne!(parent.get(36..52), Some("b7ad6b7169203331"));
}
