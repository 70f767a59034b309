//! The documents tell the truth: every answer fits the shape that the OpenAPI document gives it.

use jsonschema::Validator;

use super::*;

async fn document(bench: &Bench) -> Value {
    let answer = bench.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

/// The validator of a shape of the document.
fn shape(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// Holds an answer against what the document says of it.
#[track_caller]
fn fits(document: &Value, method: &str, path: &str, answer: &Answer) {
    let operation = &document["paths"][format!("{BASE}{path}")][method];
    let mut response = &operation["responses"][answer.status.as_str()];
    assert!(
        response.is_object(),
        "{method} {path}: {answer:?} is not documented"
    );
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(&reference[1..]).unwrap();
    }
    let schema = &response["content"]["application/json"]["schema"];
    let body = answer.json();
    let errors: Vec<String> = shape(document, schema)
        .iter_errors(&body)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?} in {body}");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_every_reference_leads_somewhere() {
    let bench = Bench::new().await;
    let document = document(&bench).await;
    assert_eq!(document["openapi"], "3.1.0");
    for path in [
        "/runs",
        "/runs/{id}",
        "/runs/{id}/events",
        "/runs/{id}/retry",
        "/tools",
        "/tools/{name}",
        "/tools/{name}/test",
        "/tools/{name}/breaker",
        "/health/live",
        "/openapi.json",
        "/docs",
        "/schemas/plan",
    ] {
        assert!(
            document["paths"][format!("{BASE}{path}")].is_object(),
            "{path}"
        );
    }
    let mut stack = vec![&document];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
                }
                stack.extend(members.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
}

#[tokio::test]
async fn answers_have_the_shapes_of_the_document() {
    let bench = Bench::new().await;
    let document = document(&bench).await;
    let check = |method: &str, path: &str, answer: &Answer| fits(&document, method, path, answer);
    let kinds = [
        json!({ "prompt": "calculate 1 + 1 and add a todo to rest" }),
        json!({ "prompt": "sing" }),
        json!({ "plan": { "final_goal": "all kinds of steps", "steps": [
            { "id": "f", "tool": "fail", "on_error": "continue", "retry": { "max_attempts": 2, "initial": "1ms" } },
            { "id": "s", "tool": "echo", "when": false, "depends_on": ["f"] },
            { "id": "e", "tool": "echo", "input": { "x": [1, null, "y"] } },
        ] }, "labels": { "a": "b" } }),
    ];
    for body in &kinds {
        let ended = bench.post("/runs?wait=30s", body).await;
        assert_eq!(ended.status, StatusCode::CREATED, "{ended:?}");
        check("post", "/runs", &ended);
        let id = ended.json()["run_id"].as_str().unwrap().to_owned();
        check(
            "get",
            "/runs/{id}",
            &bench.get(&format!("/runs/{id}")).await,
        );
        let list = get(&format!("/runs/{id}/events")).header("accept", "application/json");
        let list = bench.call(list.body(Body::empty()).unwrap()).await;
        check("get", "/runs/{id}/events", &list);
        check(
            "post",
            "/runs/{id}/retry",
            &bench.post(&format!("/runs/{id}/retry"), &json!({})).await,
        );
    }
    check("post", "/runs", &bench.post("/runs", &sleeper()).await);
    check("get", "/runs", &bench.get("/runs").await);
    check(
        "post",
        "/runs",
        &bench.post("/runs", &json!({ "x": 1 })).await,
    );
    check("get", "/runs", &bench.get("/runs?limit=0").await);
    check("get", "/runs/{id}", &bench.get("/runs/x").await);
    check("get", "/tools", &bench.get("/tools").await);
    check("get", "/tools/{name}", &bench.get("/tools/http").await);
    let order = json!({ "state": "open" });
    check(
        "post",
        "/tools/{name}/breaker",
        &bench.post("/tools/http/breaker", &order).await,
    );
    for tool in ["echo", "fail"] {
        let trial = bench.post(&format!("/tools/{tool}/test"), &json!({})).await;
        check("post", "/tools/{name}/test", &trial);
    }
    for path in [
        "/schemas/plan",
        "/cluster",
        "/supervision",
        "/health",
        "/metrics",
    ] {
        check("get", path, &bench.get(path).await);
    }
}

#[tokio::test]
async fn a_shape_that_is_wrong_is_found() {
    let bench = Bench::new().await;
    let document = document(&bench).await;
    let run = shape(&document, &json!({ "$ref": "#/components/schemas/Run" }));
    let mut good = bench.ended(&json!({ "prompt": "calculate 1" })).await;
    assert!(run.is_valid(&good));
    good["status"] = json!("done");
    assert!(!run.is_valid(&good));
    good.as_object_mut().unwrap().remove("status");
    assert!(!run.is_valid(&good));
}

#[tokio::test]
async fn what_may_be_sent_fits_the_document_and_what_may_not_does_not() {
    let bench = Bench::new().await;
    let document = document(&bench).await;
    let message = shape(&document, &json!({ "$ref": "#/components/schemas/NewRun" }));
    let plan = json!({ "steps": [{ "id": "a", "tool": "echo", "retry": { "initial": "1s" } }] });
    for good in [
        json!({ "prompt": "calculate 1" }),
        json!({ "prompt": "x", "plan": null, "input": null, "labels": null }),
        json!({ "plan": plan, "input": { "a": 1 }, "labels": { "a": "b" } }),
    ] {
        assert!(message.is_valid(&good), "{good}");
        assert_eq!(bench.post("/runs", &good).await.status, StatusCode::CREATED);
    }
    for bad in [
        json!({}),
        json!({ "prompt": "" }),
        json!({ "prompt": " " }),
        json!({ "prompt": "x", "plan": plan }),
        json!({ "prompt": "x", "wait": "1s" }),
        json!({ "plan": { "steps": [] } }),
        json!({ "plan": { "steps": [{ "id": "a b", "tool": "echo" }] } }),
        json!({ "prompt": "x", "labels": { "a=b": "c" } }),
        json!({ "prompt": "x", "labels": { "a": 1 } }),
        json!({ "prompt": "x", "input": [] }),
    ] {
        assert!(!message.is_valid(&bad), "{bad}");
        bench.post("/runs", &bad).await.invalid();
    }
}

#[tokio::test]
async fn the_schema_of_a_plan_admits_the_examples_and_knows_the_limits() {
    let mut config = Config::default();
    config.limits.steps = 77;
    let bench = Bench::with(config).await;
    let schema = bench.get("/schemas/plan").await.json();
    assert_eq!(schema["properties"]["steps"]["maxItems"], 77);
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let plan = crate::plan_file::read(&path, 1 << 20).unwrap().value;
            assert!(schema.is_valid(&plan), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[tokio::test]
async fn the_page_needs_nothing_but_the_node() {
    let bench = Bench::new().await;
    let page = bench.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for elsewhere in ["http://", "https://", "src=", "@import", " url("] {
        assert!(!page.text.contains(elsewhere), "{elsewhere}");
    }
    let root = bench
        .call(Request::get("/docs").body(Body::empty()).unwrap())
        .await;
    assert_eq!(root.text, page.text);
}
