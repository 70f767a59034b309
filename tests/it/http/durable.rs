//! What was acknowledged is there after `kill -9`.

use super::*;

#[test]
fn a_run_its_key_and_its_events_survive_the_death_of_the_node() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let body = one("sleep", &json!({ "milliseconds": 1_500 }));
    let key = "idempotency-key: order-7\r\n";
    let first = serving.post_with("/runs", key, &body);
    assert_eq!(first.status, 201);
    let id = first.json()["run_id"].as_str().unwrap().to_owned();
    let list = "accept: application/json\r\n";
    let events = |serving: &Serving| serving.follow(&id, list).answer().unwrap().json();
    // Its first step is under way, and that is durable.
    while events(&serving).as_array().unwrap().len() < 3 {
        std::thread::yield_now();
    }
    let before = events(&serving);
    serving.kill();

    let serving = Serving::start(&home);
    let again = serving.post_with("/runs?wait=30s", key, &body);
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(again.json()["run_id"], json!(id));
    assert_eq!(again.json()["status"], "completed");
    let other = serving.post_with("/runs", key, &sleeper());
    assert_eq!(other.refused(409, "conflict"), json!({ "run_id": id }));
    assert_eq!(serving.get("/runs").header("x-total-count"), "1");
    let after = events(&serving);
    let before = before.as_array().unwrap();
    assert_eq!(after.as_array().unwrap()[..before.len()], before[..]);
    let last = before.len();
    let mut stream = serving.follow(&id, &format!("last-event-id: {last}\r\n"));
    let rest = ids(&frames(&mut stream));
    let end = after.as_array().unwrap().len() as u64;
    assert_eq!(rest, (last as u64 + 1..=end).collect::<Vec<_>>());
}

#[test]
fn who_goes_away_while_waiting_cancels_nothing() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let body = one("sleep", &json!({ "milliseconds": 300 }));
    let headers = "content-type: application/json\r\nidempotency-key: gone\r\n";
    let mut waiting = serving.connect();
    let path = format!("{BASE}/runs?wait=30s");
    waiting.send(&request(
        "POST",
        &path,
        headers,
        body.to_string().as_bytes(),
    ));
    while serving.get("/runs").json() == json!([]) {
        std::thread::yield_now();
    }
    drop(waiting);
    let again = serving.post_with("/runs?wait=30s", "idempotency-key: gone\r\n", &body);
    assert_eq!(
        (again.status, &again.json()["status"]),
        (200, &json!("completed"))
    );
}
