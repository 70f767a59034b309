//! A node on its way down, as its clients see it.

use super::*;

#[tokio::test]
async fn a_draining_node_admits_nothing_and_says_when_to_come_back() {
    let bench = Bench::new().await;
    let run = bench.ended(&json!({ "prompt": "sing" })).await;
    let id = run["run_id"].as_str().unwrap();
    bench.api.life.advance(Phase::Draining);
    for (path, body) in [
        ("/runs".to_owned(), json!({ "prompt": "calculate 1" })),
        (format!("/runs/{id}/retry"), json!({})),
        ("/tools/echo/test".to_owned(), json!({})),
    ] {
        let answer = bench.post(&path, &body).await;
        answer.refused(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(bench.get(&format!("/runs/{id}")).await.json(), run);
}

#[tokio::test]
async fn who_waits_for_a_run_is_answered_at_once_when_the_node_drains() {
    let bench = Bench::new().await;
    let message = sleeper();
    let wait = bench.post("/runs?wait=60s", &message);
    let drain = async {
        // The run is there before the node drains.
        while bench.get("/runs").await.json() == json!([]) {
            tokio::task::yield_now().await;
        }
        bench.api.life.advance(Phase::Draining);
    };
    let (answer, ()) = tokio::join!(wait, drain);
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["status"], "running");
}

#[tokio::test]
async fn a_stream_outlives_draining_and_ends_with_the_node() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let stream = bench.stream(&id).await;
    let mut body = stream.into_body();
    bench.api.life.advance(Phase::Draining);
    assert!(body.frame().await.is_some());
    bench.api.life.advance(Phase::Closing);
    while body.frame().await.is_some() {}
}
