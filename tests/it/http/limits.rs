//! Limits: what just fits is taken, and one more is refused by name (those of a prompt and of a
//! plan's steps are in [`super::submits`]).

use super::*;

/// The limit of a request.
const REQUEST: usize = 4 << 20;

/// A run message of just so many bytes.
fn message_of(bytes: usize) -> Vec<u8> {
    let frame = r#"{"prompt":"calculate 1"}"#.len();
    let mut text = r#"{"prompt":"calculate 1""#.to_owned();
    text.push_str(&" ".repeat(bytes - frame));
    text.push('}');
    text.into_bytes()
}

fn post(serving: &Serving, body: &[u8]) -> Answer {
    let headers = "content-type: application/json\r\n";
    serving.ask("POST", &format!("{BASE}/runs"), headers, body)
}

#[test]
fn a_request_of_four_mebibytes_fits_and_one_byte_more_does_not() {
    let home = Home::new();
    let serving = Serving::start(&home);
    assert_eq!(post(&serving, &message_of(REQUEST)).status, 201);
    let refused = post(&serving, &message_of(REQUEST + 1));
    assert_eq!(
        refused.refused(413, "payload_too_large"),
        json!({ "limit": REQUEST })
    );
    // Nor does one that does not say how long it is.
    let mut connection = serving.connect();
    connection.send(
        format!(
            "POST {BASE}/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n"
        )
        .as_bytes(),
    );
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..6 {
        connection.send(&chunk);
    }
    connection
        .answer()
        .unwrap()
        .refused(413, "payload_too_large");
}

#[test]
fn the_input_of_a_step_and_of_a_run_is_a_mebibyte_at_most() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let fits = json!({ "t": "x".repeat((1 << 20) - 8) });
    let large = json!({ "t": "x".repeat((1 << 20) - 7) });
    let run = serving.post("/runs?wait=30s", &one("echo", &fits)).json();
    assert_eq!(run["status"], "completed", "{}", run["error"]);
    let details = serving
        .post("/runs", &one("echo", &large))
        .refused(422, "validation_error");
    assert_eq!(details["errors"][0]["path"], "plan.steps[0].input");
    let with_input = |input: &Value| json!({ "prompt": "calculate 1", "input": input });
    assert_eq!(serving.post("/runs", &with_input(&fits)).status, 201);
    let details = serving
        .post("/runs", &with_input(&large))
        .refused(422, "validation_error");
    assert_eq!(details["errors"][0]["path"], "input");
}

#[test]
fn labels_are_64_of_256_bytes_at_most() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let labels = |count: usize, bytes: usize| {
        let labels = (0..count).map(|n| (format!("{n:0bytes$}"), json!("v".repeat(bytes))));
        json!({ "prompt": "calculate 1", "labels": Value::Object(labels.collect()) })
    };
    assert_eq!(serving.post("/runs", &labels(64, 256)).status, 201);
    for wrong in [labels(65, 10), labels(1, 257)] {
        serving
            .post("/runs", &wrong)
            .refused(422, "validation_error");
    }
}

#[test]
fn a_key_has_255_visible_characters_at_most() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let with_key = |key: &str| {
        let header = format!("idempotency-key: {key}\r\n");
        serving.post_with("/runs", &header, &json!({ "prompt": "calculate 1" }))
    };
    assert_eq!(with_key(&"k".repeat(255)).status, 201);
    assert_eq!(with_key(&"k".repeat(255)).status, 200);
    for wrong in ["", "a b", "\u{fc}", "a\tb", &"k".repeat(256)] {
        let details = with_key(wrong).refused(400, "bad_request");
        assert_eq!(details, json!({ "header": "Idempotency-Key" }), "{wrong}");
    }
    let twice = "idempotency-key: a\r\nIdempotency-Key: a\r\n";
    let twice = serving.post_with("/runs", twice, &json!({ "prompt": "calculate 1" }));
    twice.refused(400, "bad_request");
}

#[test]
fn a_wait_is_from_a_millisecond_to_a_minute() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let wait = |wait: &str| serving.post(&format!("/runs?wait={wait}"), &one("echo", &json!({})));
    for good in ["1ms", "60s", "1m", "1.5s"] {
        assert_eq!(wait(good).status, 201, "{good}");
    }
    for wrong in [
        "0ms",
        "0.9ms",
        "60001ms",
        "61s",
        "1h",
        "10",
        "s",
        "",
        "-1s",
        "1s&wait=2s",
    ] {
        assert_eq!(
            wait(wrong).refused(400, "bad_request"),
            json!({ "parameter": "wait" }),
            "{wrong}"
        );
    }
}

#[test]
fn the_settable_limits_are_those_that_were_set() {
    let home = Home::new();
    let settings = [
        ("CRANE__LIMITS__STEPS", "3"),
        ("CRANE__LIMITS__REQUEST_BYTES", "2KiB"),
        ("CRANE__LIMITS__PAYLOAD_BYTES", "1KiB"),
    ];
    let serving = Serving::with(&home, &settings);
    assert_eq!(serving.post("/runs", &chain(3)).status, 201);
    serving
        .post("/runs", &chain(4))
        .refused(422, "validation_error");
    let large = one("echo", &json!({ "t": "x".repeat(1_100) }));
    serving
        .post("/runs", &large)
        .refused(422, "validation_error");
    assert_eq!(post(&serving, &message_of(2_048)).status, 201);
    post(&serving, &message_of(2_049)).refused(413, "payload_too_large");
    let schema = serving.get("/schemas/plan").json();
    assert_eq!(schema["properties"]["steps"]["maxItems"], 3);
}

#[test]
fn a_connection_goes_on_after_a_refusal() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let mut connection = serving.connect();
    let headers = "content-type: application/json\r\n";
    for _ in 0..3 {
        for (body, status) in [
            ("{", 400),
            ("{}", 422),
            (r#"{"prompt":"calculate 1"}"#, 201),
        ] {
            connection.send(&request(
                "POST",
                &format!("{BASE}/runs"),
                headers,
                body.as_bytes(),
            ));
            assert_eq!(connection.answer().unwrap().status, status);
        }
    }
    // Several at once are answered in order.
    let mut all = request("GET", &format!("{BASE}/runs/x"), "", b"");
    all.extend(request("GET", &format!("{BASE}/health/live"), "", b""));
    connection.send(&all);
    assert_eq!(connection.answer().unwrap().status, 404);
    assert_eq!(connection.answer().unwrap().status, 200);
}
