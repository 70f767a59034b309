//! The event stream: whole, resumed, ended, lagging, closed.

use super::*;

/// The ids of the frames in a text.
fn ids(text: &str) -> Vec<u64> {
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().unwrap()).collect()
}

async fn follow(bench: &Bench, id: &str, last: Option<&str>) -> Answer {
    let mut request = get(&format!("/runs/{id}/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    bench.call(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_stream_has_every_event_once_and_ends_with_the_run() {
    let bench = Bench::new().await;
    let id = bench
        .submit(&one("sleep", &json!({ "milliseconds": 30 })))
        .await;
    let live = follow(&bench, &id, None).await;
    assert_eq!(live.status, StatusCode::OK);
    assert_eq!(live.header("content-type"), "text/event-stream");
    assert_eq!(live.header("cache-control"), "no-store");
    assert_eq!(live.header("x-accel-buffering"), "no");
    assert_eq!(ids(&live.text), [1, 2, 3, 4, 5]);
    let frames: Vec<&str> = live.text.split_terminator("\n\n").collect();
    assert_eq!(frames.len(), 5);
    let lines: Vec<&str> = frames[4].lines().collect();
    assert_eq!(lines[..2], ["id: 5", "event: run_completed"]);
    let event: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        (&event["seq"], &event["type"]),
        (&json!(5), &json!("run_completed"))
    );
    assert_eq!(event["run_id"], json!(id));
    // Late, it is the very same.
    assert_eq!(follow(&bench, &id, None).await.text, live.text);
}

#[tokio::test]
async fn a_reader_goes_on_behind_the_last_event_that_it_has() {
    let bench = Bench::new().await;
    let run = bench.ended(&json!({ "prompt": "calculate 1 + 1" })).await;
    let (id, last) = (
        run["run_id"].as_str().unwrap(),
        run["seq"].as_u64().unwrap(),
    );
    for seen in 0..last {
        let answer = follow(&bench, id, Some(&seen.to_string())).await;
        assert_eq!(ids(&answer.text), (seen + 1..=last).collect::<Vec<_>>());
    }
    for over in [last, last + 1, 1_000_000] {
        let answer = follow(&bench, id, Some(&over.to_string())).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (StatusCode::NO_CONTENT, "")
        );
    }
    for wrong in ["", "x", "-1", "+1", "1.5", "1 2", "99999999999999999999"] {
        let details = follow(&bench, id, Some(wrong))
            .await
            .refused(400, "bad_request");
        assert_eq!(details["header"], "Last-Event-ID", "{wrong}");
    }
    let unknown = "01a21420-0761-7fa5-84cf-1dbd7af0eb9f";
    follow(&bench, unknown, None)
        .await
        .refused(404, "run_not_found");
}

#[tokio::test]
async fn a_place_that_a_live_run_has_not_reached_is_refused() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let details = follow(&bench, &id, Some("99"))
        .await
        .refused(400, "bad_request");
    assert_eq!(details["header"], "Last-Event-ID");
}

#[tokio::test]
async fn a_stream_goes_on_over_the_end_of_a_round_that_was_opened_again() {
    let bench = Bench::new().await;
    let plan = json!({ "plan": { "steps": [
        { "id": "f", "tool": "fail", "input": { "times": 1, "key": "round" },
          "retry": { "max_attempts": 1 } },
    ] } });
    let run = bench.ended(&plan).await;
    let (id, end) = (
        run["run_id"].as_str().unwrap(),
        run["seq"].as_u64().unwrap(),
    );
    bench.post(&format!("/runs/{id}/retry"), &json!({})).await;
    let all = follow(&bench, id, None).await;
    assert!(all.text.contains("event: run_failed"));
    assert!(all.text.contains("event: run_reopened"));
    assert!(all.text.contains("event: run_completed"));
    let ids = ids(&all.text);
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    let later = follow(&bench, id, Some(&end.to_string())).await;
    assert!(
        later
            .text
            .starts_with(&format!("id: {}\nevent: run_reopened\n", end + 1))
    );
    assert!(later.text.contains("\"round\":2"));
}

#[tokio::test]
async fn a_list_holds_what_there_is_so_far() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let list = async |last: Option<&str>| {
        let mut request = get(&format!("/runs/{id}/events")).header("accept", "application/json");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        bench.call(request.body(Body::empty()).unwrap()).await
    };
    let all = list(None).await;
    assert_eq!(all.header("content-type"), "application/json");
    let events = all.json();
    let events = events.as_array().unwrap();
    assert_eq!(events[0]["type"], "run_accepted");
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], json!(place + 1));
    }
    let rest = list(Some("1")).await.json();
    assert_eq!(rest.as_array().unwrap().len(), events.len() - 1);
    assert_eq!(list(Some("1000")).await.json(), json!([]));
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_and_the_rest_is_there_for_the_next_request() {
    let bench = Bench::new().await;
    let steps: Vec<Value> = (0..400)
        .map(|n| match n {
            0 => json!({ "id": "s0", "tool": "echo" }),
            n => json!({ "id": format!("s{n}"), "tool": "echo", "depends_on": [format!("s{}", n - 1)] }),
        })
        .collect();
    let id = bench.submit(&json!({ "plan": { "steps": steps } })).await;
    // Nobody takes anything of the body before the run has ended.
    let slow = bench
        .send(
            get(&format!("/runs/{id}/events"))
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    let run = bench
        .api
        .node
        .runtime()
        .ended(id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let bytes = slow.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.into()).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: lagged\ndata: "), "{last}");
    let mut seen = ids(&text);
    let rest = follow(&bench, &id, Some(&seen.last().unwrap_or(&0).to_string())).await;
    assert!(!rest.text.contains("lagged"));
    seen.extend(ids(&rest.text));
    assert_eq!(seen, (1..=run.seq.0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_quiet_stream_says_every_fifteen_seconds_that_it_is_there() {
    let bench = Bench::new().await;
    let id = bench.submit(&sleeper()).await;
    let stream = bench.stream(&id).await;
    // Not before: the store answers from a thread of its own, which a paused clock does not await.
    tokio::time::pause();
    let mut body = stream.into_body();
    let mut comments = Vec::new();
    let start = tokio::time::Instant::now();
    while comments.len() < 3 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        if frame.starts_with(b":") {
            assert!(frame.ends_with(b"\n\n"));
            comments.push(start.elapsed().as_secs_f64().round());
        }
    }
    assert_eq!(comments, [15.0, 30.0, 45.0]);
}
