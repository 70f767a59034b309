//! Reading runs: one, a page of them, and what a path or query must not say.

use super::*;

#[tokio::test]
async fn a_run_is_read_back_as_it_was_answered() {
    let bench = Bench::new().await;
    let run = bench.ended(&json!({ "prompt": "calculate 2 + 3" })).await;
    let id = run["run_id"].as_str().unwrap();
    assert_eq!(bench.get(&format!("/runs/{id}")).await.json(), run);
    let upper = format!("/runs/{}", id.to_uppercase());
    assert_eq!(bench.get(&upper).await.json(), run);
}

#[tokio::test]
async fn what_is_no_id_names_no_run() {
    let bench = Bench::new().await;
    let long = "a".repeat(5_000);
    for id in [
        "abc",
        "01a21420-0761-7fa5-84cf-1dbd7af0eb9f",
        "01a2142007617fa584cf1dbd7af0eb9f",
        "%7B01a21420-0761-7fa5-84cf-1dbd7af0eb9f%7D",
        "%00",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%ff%fe",
        "%E2%98%83",
        &long,
    ] {
        let details = bench
            .get(&format!("/runs/{id}"))
            .await
            .refused(404, "run_not_found");
        assert!(details["run_id"].as_str().unwrap().len() < 300);
        bench
            .get(&format!("/runs/{id}/events"))
            .await
            .refused(404, "run_not_found");
        bench
            .post(&format!("/runs/{id}/retry"), &json!({}))
            .await
            .refused(404, "run_not_found");
    }
    let unknown = bench.get("/runs/abc").await.json();
    assert_eq!(
        unknown,
        json!({ "error_type": "run_not_found", "detail": "Run not found: abc", "details": { "run_id": "abc" } })
    );
}

#[tokio::test]
async fn a_list_is_newest_first_in_pages_with_the_number_of_all() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(bench.submit(&one("echo", &json!({}))).await);
    }
    let page = async |query: &str| {
        let answer = bench.get(&format!("/runs{query}")).await;
        assert_eq!(answer.header("x-total-count"), "12", "{answer:?}");
        let runs = answer.json();
        let runs = runs.as_array().unwrap().iter();
        runs.map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut all = page("?limit=100").await;
    assert_eq!(all.len(), 12);
    assert_eq!(page("").await, all[..10]);
    assert_eq!(page("?limit=5&offset=4").await, all[4..9]);
    assert_eq!(page("?offset=12").await, Vec::<String>::new());
    assert_eq!(
        page("?offset=9223372036854775807").await,
        Vec::<String>::new()
    );
    all.reverse();
    let mut times = Vec::new();
    for id in &all {
        times.push(bench.get(&format!("/runs/{id}")).await.json()["created_at"].to_string());
    }
    assert!(times.is_sorted(), "{times:?}");
    ids.sort();
    all.sort();
    assert_eq!(all, ids);
}

#[tokio::test]
async fn a_list_is_filtered_by_statuses_and_labels() {
    let bench = Bench::new().await;
    let labelled = async |prompt: &str, labels: Value| {
        let run = bench
            .ended(&json!({ "prompt": prompt, "labels": labels }))
            .await;
        run["run_id"].as_str().unwrap().to_owned()
    };
    let good = labelled("calculate 1", json!({ "team": "red", "x": "a=b&c" })).await;
    let bad = labelled("sing", json!({ "team": "red" })).await;
    let other = labelled("calculate 1", json!({ "team": "blue" })).await;
    for (query, expected) in [
        ("status=completed", vec![&other, &good]),
        ("status=failed", vec![&bad]),
        ("status=failed&status=completed", vec![&other, &bad, &good]),
        ("status=failed,completed", vec![&other, &bad, &good]),
        ("status=&label=team=red", vec![&bad, &good]),
        ("label=team=red&label=x=a%3Db%26c", vec![&good]),
        ("label=team=red&label=team=blue", vec![]),
        ("status=pending", vec![]),
    ] {
        let answer = bench.get(&format!("/runs?{query}")).await;
        let runs = answer.json();
        let runs: Vec<&str> = runs
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["run_id"].as_str().unwrap())
            .collect();
        assert_eq!(runs, expected, "{query}");
        assert_eq!(answer.header("x-total-count"), expected.len().to_string());
    }
}

#[tokio::test]
async fn a_long_list_comes_in_parts_that_make_one_array() {
    let bench = Bench::new().await;
    let text = "x".repeat(30_000);
    for _ in 0..5 {
        bench.ended(&one("echo", &json!({ "text": text }))).await;
    }
    let response = bench.send(get("/runs").body(Body::empty()).unwrap()).await;
    assert!(!response.headers().contains_key("content-length"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let runs: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 5);
    let short = bench
        .send(get("/runs?limit=1").body(Body::empty()).unwrap())
        .await;
    assert_eq!(short.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_know_is_refused_by_name() {
    let bench = Bench::new().await;
    let id = bench.submit(&one("echo", &json!({}))).await;
    for path in [
        "/runs?LIMIT=1",
        "/runs?limit=1&page=2",
        &format!("/runs/{id}?verbose"),
        &format!("/runs/{id}/events?after=1"),
        "/tools?x=1",
        "/tools/echo?x",
        "/health/live?x=1",
        "/openapi.json?x=1",
        "/docs?x=1",
        "/schemas/plan?x=1",
    ] {
        let details = bench.get(path).await.refused(400, "bad_request");
        let name = details["parameter"].as_str().unwrap();
        assert!(path.contains(name), "{path}: {name}");
    }
    bench.get("/runs?%ff=1").await.refused(400, "bad_request");
    bench
        .get("/runs?label=%ff")
        .await
        .refused(400, "bad_request");
    assert_eq!(bench.get("/runs?").await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_route_and_no_method_are_told_in_the_one_form() {
    let bench = Bench::new().await;
    for path in [
        "",
        "/",
        "/run",
        "/runs/",
        "//runs",
        "/runs//",
        "/runs/a/b/c",
        "/../etc",
    ] {
        bench.get(path).await.refused(404, "not_found");
    }
    for (method, path, allowed) in [
        ("PUT", "/runs", "POST,GET,HEAD"),
        ("PATCH", "/runs/x", "DELETE,GET,HEAD"),
        ("GET", "/runs/x/retry", "POST"),
        ("POST", "/runs/x/events", "GET,HEAD"),
        ("DELETE", "/tools", "GET,HEAD"),
        ("GET", "/tools/echo/test", "POST"),
        ("BREW", "/tools/echo/breaker", "POST"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("{BASE}{path}"));
        let answer = bench.call(request.body(Body::empty()).unwrap()).await;
        answer.refused(405, "method_not_allowed");
        let sorted = |list: &str| {
            let mut list: Vec<String> = list.split(',').map(|m| m.trim().to_owned()).collect();
            list.sort();
            list
        };
        assert_eq!(
            sorted(answer.header("allow")),
            sorted(allowed),
            "{method} {path}"
        );
    }
    let options = Request::options(format!("{BASE}/runs"))
        .body(Body::empty())
        .unwrap();
    let options = bench.call(options).await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert!(options.header("allow").contains("POST"));
    let head = Request::head(format!("{BASE}/runs"))
        .body(Body::empty())
        .unwrap();
    let head = bench.call(head).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), "2");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let bench = Bench::new().await;
    let ask = async |id: Option<&str>| {
        let mut request = get("/nothing");
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let answer = bench.call(request.body(Body::empty()).unwrap()).await;
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(ask(Some("mine-7")).await, "mine-7");
    let made = ask(None).await;
    assert!(made.len() > 10);
    assert_ne!(made, ask(None).await);
    let long = "x".repeat(129);
    for id in ["", "a b", &long] {
        assert_ne!(ask(Some(id)).await, id);
    }
}
