//! Requests that no honest client sends: each gets the right refusal in the one form, and the node
//! lives on with bounded memory.

use super::assert_error;
use crate::operate::node::Node;
use crate::program::Home;

/// Memory that no amount of refused requests may make the node take, in KiB.
const MEMORY_KIB: u64 = 300 << 10;

/// A request and how it must be answered.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// The codes that are right.
    codes: &'static [u16],
}

/// Refusals of the HTTP parser, which may have no body.
const BY_PARSER: &[u16] = &[400, 414, 431];

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, codes: &'static [u16]) -> Case {
    Case {
        name: name.into(),
        bytes: bytes.into(),
        codes,
    }
}

fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    request(
        "POST /api/v1/runs HTTP/1.1\r\ncontent-type: application/json",
        body.as_ref(),
    )
}

fn yaml(body: impl AsRef<[u8]>) -> Vec<u8> {
    request(
        "POST /api/v1/runs HTTP/1.1\r\ncontent-type: application/yaml",
        body.as_ref(),
    )
}

fn get(path: &str) -> Vec<u8> {
    request(&format!("GET {path} HTTP/1.1"), b"")
}

/// Bodies that are no JSON, or not what a run message is made of.
fn bodies() -> Vec<Case> {
    let nested = |open: &str, close: &str| {
        format!(
            "{{\"prompt\":\"p\",\"input\":{{\"x\":{}{}}}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        )
    };
    let malformed: &[(&str, &[u8])] = &[
        ("an empty body", b""),
        ("blanks", b"   \n"),
        ("a truncated object", b"{\"prompt\": \"calc"),
        ("no quotes", b"{prompt: 1}"),
        ("a comma too much", b"{\"prompt\": \"calculate 1\",}"),
        ("two documents", b"{\"prompt\":\"calculate 1\"}{}"),
        ("something behind", b"{\"prompt\":\"calculate 1\"} x"),
        ("invalid UTF-8", b"{\"prompt\": \"\xff\xfe\"}"),
        ("overlong UTF-8", b"{\"prompt\": \"\xc0\xaf\"}"),
        ("a lone surrogate", b"{\"prompt\": \"\\ud800\"}"),
        ("a raw NUL", b"{\"prompt\": \"\x00\"}"),
        ("a raw line end in a text", b"{\"prompt\": \"a\nb\"}"),
        ("a bad escape", b"{\"prompt\": \"\\x41\"}"),
        ("NaN", b"{\"prompt\":\"p\",\"input\":{\"x\":NaN}}"),
        ("Infinity", b"{\"prompt\":\"p\",\"input\":{\"x\":Infinity}}"),
        (
            "a number too large",
            b"{\"prompt\":\"p\",\"input\":{\"x\":1e999}}",
        ),
        ("a leading zero", b"{\"prompt\":\"p\",\"input\":{\"x\":01}}"),
        (
            "a duplicate key",
            b"{\"prompt\":\"calculate 1\",\"prompt\":\"calculate 2\"}",
        ),
        (
            "a duplicate key inside",
            b"{\"prompt\":\"p\",\"input\":{\"a\":1,\"a\":2}}",
        ),
        ("a byte order mark of UTF-16", b"\xff\xfe{\x00}\x00"),
        ("XML", b"<run/>"),
        ("binary", &[0, 1, 2, 3, 254, 255]),
    ];
    let invalid: &[(&str, &str)] = &[
        ("null", "null"),
        ("true", "true"),
        ("a number", "7"),
        ("a text", "\"calculate 1\""),
        ("an array", "[]"),
        ("an empty object", "{}"),
        ("a prompt that is null", "{\"prompt\":null}"),
        ("a prompt that is a number", "{\"prompt\":1}"),
        (
            "a prompt that is an array",
            "{\"prompt\":[\"calculate 1\"]}",
        ),
        ("an empty prompt", "{\"prompt\":\"\"}"),
        ("a blank prompt", "{\"prompt\":\" \\t\\n\"}"),
        (
            "an unknown field",
            "{\"prompt\":\"calculate 1\",\"prio\":1}",
        ),
        (
            "a field that pollutes",
            "{\"prompt\":\"calculate 1\",\"__proto__\":{}}",
        ),
        ("another case", "{\"Prompt\":\"calculate 1\"}"),
        (
            "both prompt and plan",
            "{\"prompt\":\"calculate 1\",\"plan\":{\"steps\":[]}}",
        ),
        ("a plan that is a text", "{\"plan\":\"x\"}"),
        ("a plan that is an array", "{\"plan\":[]}"),
        ("a plan without steps", "{\"plan\":{}}"),
        ("no steps", "{\"plan\":{\"steps\":[]}}"),
        ("steps that are an object", "{\"plan\":{\"steps\":{}}}"),
        ("a step that is null", "{\"plan\":{\"steps\":[null]}}"),
        (
            "a step without a tool",
            "{\"plan\":{\"steps\":[{\"id\":\"a\"}]}}",
        ),
        (
            "a step with a path for an id",
            "{\"plan\":{\"steps\":[{\"id\":\"../a\",\"tool\":\"echo\",\"input\":{}}]}}",
        ),
        (
            "a negative timeout",
            "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"input\":{},\"timeout\":\"-1s\"}]}}",
        ),
        (
            "a cycle",
            "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"input\":{},\"depends_on\":[\"b\"]},{\"id\":\"b\",\"tool\":\"echo\",\"input\":{},\"depends_on\":[\"a\"]}]}}",
        ),
        (
            "a step that waits for itself",
            "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"input\":{},\"depends_on\":[\"a\"]}]}}",
        ),
        (
            "an expression that imports",
            "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"input\":{\"x\":\"${__import__('os')}\"}}]}}",
        ),
        (
            "an expression that never ends",
            "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"input\":{\"x\":\"${((((((\"}}]}}",
        ),
        (
            "labels that are an array",
            "{\"prompt\":\"calculate 1\",\"labels\":[]}",
        ),
        (
            "a label that is a number",
            "{\"prompt\":\"calculate 1\",\"labels\":{\"a\":1}}",
        ),
        (
            "a label without a name",
            "{\"prompt\":\"calculate 1\",\"labels\":{\"\":\"x\"}}",
        ),
        (
            "an input that is an array",
            "{\"prompt\":\"calculate 1\",\"input\":[]}",
        ),
        (
            "an input that is a text",
            "{\"prompt\":\"calculate 1\",\"input\":\"x\"}",
        ),
    ];
    let mut all: Vec<Case> = Vec::new();
    for (name, body) in malformed {
        all.push(case(*name, post(body), &[400]));
    }
    for (name, body) in invalid {
        all.push(case(*name, post(body), &[422]));
    }
    all.push(case(
        "10,000 arrays deep",
        post(nested("[", "]")),
        &[400, 422],
    ));
    all.push(case(
        "10,000 objects deep",
        post(nested("{\"a\":", "}").replace("}}}", "1}}}")),
        &[400, 422],
    ));
    all.push(case("an expression too long", post(format!("{{\"plan\":{{\"steps\":[{{\"id\":\"a\",\"tool\":\"echo\",\"input\":{{\"x\":\"${{{}1}}\"}}}}]}}}}", "1+".repeat(400))), &[422]));
    all.push(case(
        "a body past the limit",
        post(vec![b' '; (4 << 20) + 1]),
        &[413],
    ));
    all
}

/// YAML that is worse than it looks.
fn documents() -> Vec<Case> {
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nsteps: *g\n";
    vec![
        case("a billion laughs", yaml(laughs), &[400, 422]),
        case(
            "two YAML documents",
            yaml("steps: []\n---\nsteps: []\n"),
            &[400, 422],
        ),
        case(
            "a YAML tag that makes objects",
            yaml("!!python/object/apply:os.system ['true']"),
            &[400, 422],
        ),
        case("a YAML key twice", yaml("steps: []\nsteps: []\n"), &[400]),
        case(
            "a YAML key that is a list",
            yaml("? [a]\n: 1\n"),
            &[400, 422],
        ),
        case("YAML with tabs", yaml("steps:\n\t- id: a\n"), &[400]),
        case("empty YAML", yaml("# nothing\n"), &[400, 422]),
        case("YAML that is no UTF-8", yaml(b"steps: \xff"), &[400]),
        case("YAML nested deep", yaml("[".repeat(10_000)), &[400]),
    ]
}

/// Heads: types, encodings, keys.
fn heads() -> Vec<Case> {
    let body = b"{\"prompt\":\"calculate 1\"}";
    let with = |headers: &str| request(&format!("POST /api/v1/runs HTTP/1.1\r\n{headers}"), body);
    let typed = |headers: &str| with(&format!("content-type: application/json\r\n{headers}"));
    vec![
        case(
            "no content type",
            request("POST /api/v1/runs HTTP/1.1", body),
            &[415],
        ),
        case(
            "a form",
            with("content-type: application/x-www-form-urlencoded"),
            &[415],
        ),
        case("plain text", with("content-type: text/plain"), &[415]),
        case(
            "a content type that is none",
            with("content-type: ;;"),
            &[415],
        ),
        case(
            "JSON in another charset",
            with("content-type: application/json; charset=utf-16"),
            &[415],
        ),
        case("a compressed body", typed("content-encoding: gzip"), &[415]),
        case("an empty key", typed("idempotency-key:"), &[400]),
        case(
            "a key twice",
            typed("idempotency-key: a\r\nidempotency-key: b"),
            &[400],
        ),
        case("a key with a blank", typed("idempotency-key: a b"), &[400]),
        case(
            "a key that is too long",
            typed(&format!("idempotency-key: {}", "k".repeat(256))),
            &[400],
        ),
        case(
            "a wait that is none",
            request(
                "POST /api/v1/runs?wait=forever HTTP/1.1\r\ncontent-type: application/json",
                body,
            ),
            &[400],
        ),
        case(
            "a wait twice",
            request(
                "POST /api/v1/runs?wait=1s&wait=2s HTTP/1.1\r\ncontent-type: application/json",
                body,
            ),
            &[400],
        ),
        case(
            "an unknown parameter",
            request(
                "POST /api/v1/runs?debug=1 HTTP/1.1\r\ncontent-type: application/json",
                body,
            ),
            &[400],
        ),
    ]
}

/// Paths that try to be others.
fn paths() -> Vec<Case> {
    let missing: &[&str] = &[
        "/api/v1/runs/..%2f..%2fetc%2fpasswd",
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "//api/v1/runs",
        "/api//v1/runs",
        "/api/v1/runs/",
        "/API/V1/RUNS",
        "/api/v1/runs/%00",
        "/api/v1/runs/%ff",
        "/api/v1/runs/abc%20def",
        "/api/v1/runs/;drop%20table",
        "/api/v1/runs/0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3/",
        "/api/v1/runs/0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3/events/1",
        "/api/v1/runs/0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3/secrets",
        "/api/v1/tools/..%2fcalculator",
        "/api/v2/runs",
        "/.git/config",
        "/docs/../api",
    ];
    let mut all: Vec<Case> = missing
        .iter()
        .map(|path| case(*path, get(path), &[400, 404]))
        .collect();
    let id = "9".repeat(5_000);
    all.push(case(
        "an id of 5,000 digits",
        get(&format!("/api/v1/runs/{id}")),
        &[404, 414],
    ));
    all.push(case(
        "a query of 5,000 digits",
        get(&format!("/api/v1/runs?limit={id}")),
        &[400, 414],
    ));
    all
}

/// What is no HTTP, or hardly.
fn wires() -> Vec<Case> {
    let bomb: String = (0..500).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let long = "v".repeat(200_000);
    vec![
        case("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", BY_PARSER),
        case("no version", b"GET /api/v1/runs\r\n\r\n", BY_PARSER),
        case("a version to come", b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", BY_PARSER),
        case("a method with a blank", b"GE T / HTTP/1.1\r\nhost: x\r\n\r\n", BY_PARSER),
        case("500 headers", format!("GET /api/v1/health HTTP/1.1\r\nhost: x\r\n{bomb}\r\n"), BY_PARSER),
        case("a header of 200,000 bytes", format!("GET /api/v1/health HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), BY_PARSER),
        case("a path of 200,000 bytes", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), BY_PARSER),
        case("a header without a name", b"GET / HTTP/1.1\r\nhost: x\r\n: y\r\n\r\n", BY_PARSER),
        case("a header with a NUL", b"GET / HTTP/1.1\r\nhost: x\r\na: \x00\r\n\r\n", BY_PARSER),
        case("two lengths", b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", BY_PARSER),
        case("a length that is none", b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n{}", BY_PARSER),
        case("a chunk that is none", b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n", BY_PARSER),
        case("a body cut short", b"POST /api/v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"prompt\"", BY_PARSER),
    ]
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn hostile_requests_are_refused_in_the_one_form_and_the_node_lives() {
    let home = Home::new();
    let node = Node::start(&home);
    let mut cases = bodies();
    cases.extend(documents());
    cases.extend(heads());
    cases.extend(paths());
    let of_parser = wires();
    assert!(cases.len() + of_parser.len() >= 80);
    for Case { name, bytes, codes } in &cases {
        let answer = node
            .raw(bytes)
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(codes.contains(&answer.code), "{name}: {answer:?}");
        let error_type = answer.json()["error_type"].as_str().unwrap().to_owned();
        assert_error(&answer, answer.code, &error_type);
        assert!(!answer.body.contains("panicked"), "{name}: {answer:?}");
    }
    for Case { name, bytes, codes } in &of_parser {
        // What cannot be told from noise may be answered by closing.
        if let Some(answer) = node.raw(bytes) {
            assert!(codes.contains(&answer.code), "{name}: {answer:?}");
        }
        assert_eq!(node.get("/api/v1/health/live").code, 200, "after {name}");
    }
    assert_eq!(node.get("/api/v1/runs").header("x-total-count"), Some("0"));
    assert_eq!(node.get("/api/v1/health/ready").code, 200);
    #[cfg(target_os = "linux")]
    assert!(
        memory_kib(node.pid()) < MEMORY_KIB,
        "{} KiB",
        memory_kib(node.pid())
    );
    assert!(!node.log().contains("panic"), "{}", node.log());
}
