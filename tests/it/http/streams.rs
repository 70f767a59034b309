//! Event streams over sockets: live, resumed, many at once, and readers that are slow or go away.

use super::*;

#[test]
fn a_run_is_followed_live_to_its_end_and_resumed_anywhere() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let id = serving.submit(&one("sleep", &json!({ "milliseconds": 300 })));
    let mut live = serving.follow(&id, "");
    let all = frames(&mut live);
    assert_eq!(ids(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap().1, "run_completed");
    for seen in 0..all.len() {
        let mut stream = serving.follow(&id, &format!("last-event-id: {seen}\r\n"));
        assert_eq!(frames(&mut stream), all[seen..]);
    }
    let over = format!("last-event-id: {}\r\n", all.len());
    let over = serving.follow(&id, &over).answer().unwrap();
    assert_eq!((over.status, over.body.len()), (204, 0));
    for wrong in ["x", "-1", "1.0", "1, 2"] {
        let answer = serving
            .follow(&id, &format!("last-event-id: {wrong}\r\n"))
            .answer()
            .unwrap();
        answer.refused(400, "bad_request");
    }
}

#[test]
fn an_event_is_there_as_soon_as_it_is_durable() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let id = serving.submit(&sleeper());
    let mut live = serving.follow(&id, "");
    assert_eq!(
        live.head().unwrap().header("content-type"),
        "text/event-stream"
    );
    let mut text = String::new();
    while !text.contains("event: step_started") {
        text.push_str(&String::from_utf8(live.chunk().unwrap()).unwrap());
    }
    assert_eq!(serving.delete(&format!("/runs/{id}")).status, 202);
    while !text.contains("event: run_cancelled") {
        text.push_str(&String::from_utf8(live.chunk().unwrap()).unwrap());
    }
    assert!(live.chunk().is_none(), "the stream goes on");
}

#[test]
fn many_who_follow_the_same_runs_all_get_everything() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let plan = json!({ "plan": { "steps": [
        { "id": "s", "tool": "sleep", "input": { "milliseconds": 500 } },
        { "id": "e", "tool": "echo", "input": { "t": "x".repeat(1_000) }, "depends_on": ["s"] },
    ] } });
    let runs: Vec<String> = (0..5).map(|_| serving.submit(&plan)).collect();
    let mut streams: Vec<Connection> = (0..100)
        .map(|n| serving.follow(&runs[n % runs.len()], ""))
        .collect();
    for stream in &mut streams {
        let all = frames(stream);
        assert_eq!(ids(&all), (1..=7).collect::<Vec<_>>());
    }
}

#[test]
fn readers_that_take_nothing_hold_up_neither_the_run_nor_each_other() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let text = "x".repeat(8_000);
    let steps: Vec<Value> = (0..150)
        .map(|n| {
            let after = if n == 0 { vec![] } else { vec![format!("s{}", n - 1)] };
            json!({ "id": format!("s{n}"), "tool": "echo", "input": { "t": text }, "depends_on": after })
        })
        .collect();
    let id = serving.submit(&json!({ "plan": { "steps": steps } }));
    let idle: Vec<Connection> = (0..10).map(|_| serving.follow(&id, "")).collect();
    let all = follow_to_the_end(&serving, &id);
    drop(idle);
    assert_eq!(
        serving.get(&format!("/runs/{id}")).json()["status"],
        "completed"
    );
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
}

/// Follows a run as a client does: from its last id again, whenever the stream ends early.
fn follow_to_the_end(serving: &Serving, id: &str) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let last = seen.last().copied().unwrap_or(0);
        let mut stream = serving.follow(id, &format!("last-event-id: {last}\r\n"));
        for (id, event) in frames(&mut stream) {
            match id {
                Some(id) => seen.push(id),
                None => assert_eq!(event, "lagged"),
            }
            if event == "run_completed" {
                return seen;
            }
        }
    }
}

#[test]
fn who_stops_reading_is_counted_out() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let id = serving.submit(&sleeper());
    let readers = || {
        let metrics = serving.ask("GET", "/metrics", "", b"").text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("crane_event_stream_subscribers "));
        line.map_or(0.0, |count| count.parse::<f64>().unwrap())
    };
    let wait_for = |count: f64| {
        for _ in 0..2_000 {
            if (readers() - count).abs() < 0.5 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{} readers, not {count}", readers());
    };
    let mut streams: Vec<Connection> = (0..5).map(|_| serving.follow(&id, "")).collect();
    for stream in &mut streams {
        assert_eq!(stream.head().unwrap().status, 200);
    }
    wait_for(5.0);
    drop(streams);
    wait_for(0.0);
}
