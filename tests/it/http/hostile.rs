//! What nobody should send: each request is refused as it should be, in the one form, by a process
//! that lives on in bounded memory.

mod bodies;
mod heads;

use super::*;

/// A request and how it has to be refused.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// Whether the client says after it that nothing more comes.
    cut: bool,
    refusal: Refusal,
}

/// How a request has to be refused.
#[derive(Clone, Copy)]
enum Refusal {
    /// By the API, in the one form of error.
    Api(u16, &'static str),
    /// By the HTTP parser with one of 400, 414, 431, which may have no body.
    Parser,
}

const BAD: Refusal = Refusal::Api(400, "bad_request");
const INVALID: Refusal = Refusal::Api(422, "validation_error");
const LARGE: Refusal = Refusal::Api(413, "payload_too_large");
const TYPE: Refusal = Refusal::Api(415, "unsupported_media_type");
const NO_ROUTE: Refusal = Refusal::Api(404, "not_found");
const NO_RUN: Refusal = Refusal::Api(404, "run_not_found");
const NO_TOOL: Refusal = Refusal::Api(404, "tool_not_found");
const NO_METHOD: Refusal = Refusal::Api(405, "method_not_allowed");

impl Case {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, refusal: Refusal) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
            cut: false,
            refusal,
        }
    }

    /// Followed by the end of what the client has to say.
    fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Sends it on a connection of its own and looks at the answer.
    fn check(&self, serving: &Serving) {
        let name = &self.name;
        let mut connection = serving.connect();
        connection.send(&self.bytes);
        if self.cut {
            connection.finish();
        }
        let answer = connection.answer();
        let answer = answer.unwrap_or_else(|| panic!("{name}: there was no answer"));
        let text = answer.text();
        match self.refusal {
            Refusal::Api(status, kind) => {
                assert_eq!(answer.status, status, "{name}: {text}");
                assert_eq!(answer.error().0, kind, "{name}: {text}");
            }
            Refusal::Parser => {
                assert!(
                    [400, 414, 431].contains(&answer.status),
                    "{name}: {answer:?}"
                );
            }
        }
        for secret in ["panicked", "src/", ".rs:", "RUST_BACKTRACE", "journal"] {
            assert!(!text.contains(secret), "{name}: {text}");
        }
        assert!(
            answer.body.len() < 200_000,
            "{name}: {} bytes",
            answer.body.len()
        );
    }
}

/// Everything.
fn all() -> Vec<Case> {
    let mut all = bodies::cases();
    all.extend(heads::cases());
    all
}

#[test]
fn each_hostile_request_is_refused_in_the_one_form_and_the_process_lives() {
    let home = Home::new();
    let mut serving = Serving::start(&home);
    let cases = all();
    assert!(cases.len() >= 80, "only {} requests", cases.len());
    for case in &cases {
        case.check(&serving);
    }
    assert!(serving.is_running());
    let good = serving.post("/runs?wait=20s", &json!({ "prompt": "calculate 1 + 1" }));
    assert_eq!((good.status, &good.json()["result"]), (201, &json!(2.0)));
    assert_eq!(
        serving.get("/runs").header("x-total-count"),
        "1",
        "something was accepted"
    );
    let said = serving.said();
    assert!(!said.contains("panic"), "{said}");
}

#[test]
fn hostile_requests_again_and_again_take_no_memory() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let cases = all();
    // What the first round leaves behind are caches and the allocator's own.
    for case in &cases {
        case.check(&serving);
    }
    let before = serving.memory();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for share in cases.chunks(cases.len().div_ceil(8)) {
                scope.spawn(|| share.iter().for_each(|case| case.check(&serving)));
            }
        });
    }
    let grown = serving.memory().saturating_sub(before);
    assert!(grown < 100 << 20, "grown by {} MiB", grown >> 20);
}
