//! Cancelling and retrying.

use super::*;

fn delete(id: &str) -> Request<Body> {
    Request::delete(format!("{BASE}/runs/{id}"))
        .body(Body::empty())
        .unwrap()
}

async fn until_ended(bench: &Bench, id: &str) -> Value {
    let id = id.parse().unwrap();
    let run = bench.api.node.runtime().ended(id).await.unwrap().unwrap();
    bench.get(&format!("/runs/{}", run.id)).await.json()
}

#[tokio::test]
async fn a_run_is_cancelled_as_often_as_one_likes_until_it_has_ended() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let first = bench.call(delete(&id)).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    assert_eq!(first.json()["run_id"], json!(id));
    let run = until_ended(&bench, &id).await;
    assert_eq!(run["status"], "cancelled");
    let details = bench.call(delete(&id)).await.refused(409, "conflict");
    assert_eq!(details, json!({ "run_id": id }));
}

#[tokio::test]
async fn a_failed_or_cancelled_run_goes_on_and_any_other_is_a_conflict() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let retry = format!("/runs/{id}/retry");
    let details = bench
        .post(&retry, &json!({}))
        .await
        .refused(409, "conflict");
    assert_eq!(details, json!({ "run_id": id }));
    bench.call(delete(&id)).await;
    until_ended(&bench, &id).await;
    let again = bench.post(&retry, &json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{again:?}");
    assert_eq!(again.json()["status"], "running");
    assert_eq!(bench.call(delete(&id)).await.status, StatusCode::ACCEPTED);

    let failing = json!({ "plan": { "steps": [
        { "id": "done", "tool": "echo", "input": { "n": 1 } },
        { "id": "f", "tool": "fail", "input": { "times": 1, "key": "retry" },
          "depends_on": ["done"], "retry": { "max_attempts": 1 } },
    ] } });
    let run = bench.ended(&failing).await;
    assert_eq!(run["status"], "failed", "{run}");
    let id = run["run_id"].as_str().unwrap();
    let again = bench.post(&format!("/runs/{id}/retry"), &json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let run = until_ended(&bench, id).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["execution_log"][0]["attempts"], 1);
    bench
        .post(&format!("/runs/{id}/retry"), &json!({}))
        .await
        .refused(409, "conflict");
}
