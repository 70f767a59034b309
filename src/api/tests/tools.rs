//! Tools, dry runs, breakers.

use super::*;

#[tokio::test]
async fn tools_are_listed_and_shown() {
    let bench = Bench::new().await;
    let list = bench.get("/tools").await.json();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted());
    for name in ["calculator", "echo", "fail", "http", "sleep", "todo_store"] {
        assert!(names.contains(&name), "{names:?}");
        let tool = bench.get(&format!("/tools/{name}")).await.json();
        assert!(tool["input_schema"].is_object());
        assert!(!tool["description"].as_str().unwrap().is_empty());
        assert_eq!(tool["breaker"]["state"], "closed");
    }
}

#[tokio::test]
async fn a_dry_run_tells_how_the_call_ended() {
    let bench = Bench::new().await;
    let try_it = async |tool: &str, input: Value| {
        let answer = bench.post(&format!("/tools/{tool}/test"), &input).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    };
    let good = try_it("calculator", json!({ "expression": "(10 + 5) * 2" })).await;
    assert_eq!(
        (&good["success"], &good["output"]),
        (&json!(true), &json!(30.0))
    );
    assert!(good["error"].is_null() && good["duration_ms"].is_number());
    assert_eq!(good.as_object().unwrap().len(), 4);
    for input in [
        json!({ "expression": "1 / 0" }),
        json!({}),
        json!([]),
        json!(null),
    ] {
        let bad = try_it("calculator", input).await;
        assert_eq!(
            (&bad["success"], &bad["output"]),
            (&json!(false), &Value::Null)
        );
        assert!(!bad["error"].as_str().unwrap().is_empty());
    }
    let panicking = try_it("fail", json!({ "panic": true })).await;
    assert_eq!(panicking["success"], false);
    let broken = Request::post(format!("{BASE}/tools/echo/test"))
        .header("content-type", "application/json")
        .body(Body::from("{"))
        .unwrap();
    bench.call(broken).await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_breaker_is_forced_and_given_back() {
    let bench = Bench::new().await;
    let order = async |state: &str| {
        bench
            .post("/tools/echo/breaker", &json!({ "state": state }))
            .await
            .json()
    };
    let open = order("open").await;
    assert_eq!(
        (&open["state"], &open["mode"]),
        (&json!("open"), &json!("forced_open"))
    );
    let call = bench
        .post("/tools/echo/test", &json!({ "a": 1 }))
        .await
        .json();
    assert_eq!(call["success"], false);
    assert_eq!(order("closed").await["mode"], "forced_closed");
    let auto = order("auto").await;
    assert_eq!(
        (&auto["state"], &auto["mode"]),
        (&json!("closed"), &json!("auto"))
    );
    assert_eq!(bench.get("/tools/echo").await.json()["breaker"], auto);
    let call = bench
        .post("/tools/echo/test", &json!({ "a": 1 }))
        .await
        .json();
    assert_eq!(call["output"], json!({ "a": 1 }));
}

#[tokio::test]
async fn an_order_that_is_none_is_refused() {
    let bench = Bench::new().await;
    for (order, path) in [
        (json!({}), "state"),
        (json!({ "state": "half_open" }), "state"),
        (json!({ "state": true }), "state"),
        (json!({ "state": "open", "for": "1m" }), "for"),
        (json!("open"), ""),
    ] {
        let paths = bench.post("/tools/echo/breaker", &order).await.invalid();
        assert_eq!(paths, [path], "{order}");
    }
    assert_eq!(
        bench.get("/tools/echo").await.json()["breaker"]["mode"],
        "auto"
    );
}

#[tokio::test]
async fn what_is_no_tool_is_not_found() {
    let bench = Bench::new().await;
    for name in ["nope", "Echo", "%00", "%ff", "..%2f"] {
        bench
            .get(&format!("/tools/{name}"))
            .await
            .refused(404, "tool_not_found");
        bench
            .post(&format!("/tools/{name}/test"), &json!({}))
            .await
            .refused(404, "tool_not_found");
        let order = json!({ "state": "open" });
        bench
            .post(&format!("/tools/{name}/breaker"), &order)
            .await
            .refused(404, "tool_not_found");
    }
}
