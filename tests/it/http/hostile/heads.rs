//! Request lines, paths, queries and headers that lead nowhere.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut all = paths();
    all.extend(queries());
    all.extend(methods());
    all.extend(headers());
    all.extend(parser());
    all
}

fn get(path: &str, headers: &str, refusal: Refusal) -> Case {
    let shown: String = path.chars().take(60).collect();
    Case::new(
        format!("GET {shown} {headers:.40}"),
        request("GET", path, headers, b""),
        refusal,
    )
}

/// What names no run.
const NO_IDS: [&str; 15] = [
    "abc",
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%00",
    "01a21420-0761-7fa5-84cf-1dbd7af0eb9f%00",
    "%ff%fe",
    "%c0%ae%c0%ae",
    "%F0%9F%98%80",
    "01a21420-0761-7fa5-84cf-1dbd7af0eb9f",
    "{01a21420-0761-7fa5-84cf-1dbd7af0eb9f}",
    "01a2142007617fa584cf1dbd7af0eb9f",
    "'%20OR%201=1%20--",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "-1",
];

fn paths() -> Vec<Case> {
    let long = "a".repeat(10_000);
    let none = [
        "/",
        "//",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/runs",
        "/API/V1/RUNS",
        "/api/v1/runs/",
        "/api/v1//runs",
        "//api/v1/runs",
        "/api/v1/%72uns/%2e%2e/x",
        "/api/v1/runs/../../../etc/passwd",
        "/api/v1/./runs",
        "/api/v1/runs%2f",
        "/api/v1/runs;v=1",
        "/..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "/index.php",
        "/.git/config",
        "/docs/../api/v1/runs",
        "/metrics/",
    ];
    let mut all: Vec<Case> = none
        .into_iter()
        .map(|path| get(path, "", NO_ROUTE))
        .collect();
    for id in NO_IDS.into_iter().chain([long.as_str()]) {
        let path = format!("{BASE}/runs/{id}");
        all.push(get(&path, "", NO_RUN));
    }
    // An authority in place of a path is a path that is empty.
    let bytes = &b"GET runs HTTP/1.1\r\nhost: x\r\n\r\n"[..];
    all.push(Case::new("a path without a slash", bytes, NO_ROUTE));
    for id in ["abc", "%00", "%ff"] {
        all.push(get(&format!("{BASE}/runs/{id}/events"), "", NO_RUN));
        let path = format!("{BASE}/runs/{id}");
        all.push(Case::new(
            format!("DELETE {path}"),
            request("DELETE", &path, "", b""),
            NO_RUN,
        ));
        let path = format!("{BASE}/runs/{id}/retry");
        all.push(Case::new(
            format!("POST {path}"),
            request("POST", &path, "", b""),
            NO_RUN,
        ));
        all.push(get(&format!("{BASE}/tools/{id}"), "", NO_TOOL));
    }
    all
}

fn queries() -> Vec<Case> {
    let many: String = (0..2_000).map(|n| format!("a{n}&")).collect();
    let labels = "label=a=b&".repeat(100);
    let queries = [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1.5",
        "limit=1e1",
        "limit=0x10",
        "limit=%31%30%30%30",
        "limit=+5",
        "limit=",
        "limit",
        "limit=5&limit=5",
        "limit=99999999999999999999999",
        "offset=-1",
        "offset=x",
        "offset=9223372036854775808",
        "status=done",
        "status=RUNNING",
        "status=running%00",
        "status[]=running",
        "label=x",
        "label==x",
        "label=%ff=x",
        "label=%",
        "label=%4",
        "label=%zz",
        "%ff=1",
        "page=1",
        "Limit=1",
        "limit=1&;drop",
        &many,
        &labels,
    ];
    let mut all: Vec<Case> = queries
        .iter()
        .map(|query| get(&format!("{BASE}/runs?{query}"), "", BAD))
        .collect();
    for wait in [
        "",
        "0s",
        "61s",
        "1d",
        "x",
        "-1s",
        "1s&wait=1s",
        "%31",
        "9".repeat(5_000).as_str(),
    ] {
        let path = format!("{BASE}/runs?wait={wait}");
        let headers = "content-type: application/json\r\n";
        let body = b"{\"prompt\":\"calculate 1\"}";
        all.push(Case::new(
            format!("POST wait={wait:.20}"),
            request("POST", &path, headers, body),
            BAD,
        ));
    }
    for path in [
        "/tools?x=1",
        "/health?verbose=1",
        "/metrics?format=xml",
        "/openapi.json?v=2",
    ] {
        all.push(get(&format!("{BASE}{path}"), "", BAD));
    }
    all
}

fn methods() -> Vec<Case> {
    let ask = |method: &str, path: &str| {
        Case::new(
            format!("{method} {path}"),
            request(method, path, "", b""),
            NO_METHOD,
        )
    };
    let runs = format!("{BASE}/runs");
    let mut all: Vec<Case> = ["PUT", "PATCH", "DELETE", "TRACE", "BREW", "get", "PROPFIND"]
        .into_iter()
        .map(|method| ask(method, &runs))
        .collect();
    all.push(ask("GET", &format!("{BASE}/runs/x/retry")));
    all.push(ask("POST", &format!("{BASE}/runs/x/events")));
    all.push(ask("GET", &format!("{BASE}/tools/echo/test")));
    all.push(ask("POST", &format!("{BASE}/openapi.json")));
    all
}

fn headers() -> Vec<Case> {
    let run = format!("{BASE}/runs");
    let post = |name: &str, headers: &str| {
        let headers = format!("content-type: application/json\r\n{headers}");
        let body = b"{\"prompt\":\"calculate 1\"}";
        Case::new(
            format!("a header: {name}"),
            request("POST", &run, &headers, body),
            BAD,
        )
    };
    let long = format!("idempotency-key: {}\r\n", "k".repeat(256));
    vec![
        post("an empty key", "idempotency-key: \r\n"),
        post("a key with a blank", "idempotency-key: a b\r\n"),
        post("a key that is no ASCII", "idempotency-key: \u{fc}\r\n"),
        post("a long key", &long),
        post("two keys", "idempotency-key: a\r\nidempotency-key: b\r\n"),
    ]
}

/// What is no HTTP, or more of it than is taken.
fn parser() -> Vec<Case> {
    let raw = |name: &str, text: &str| Case::new(name, text.as_bytes(), Refusal::Parser).cut();
    let path = format!("{BASE}/runs");
    let bomb: String = (0..5_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let huge = format!("x-huge: {}\r\n", "x".repeat(1 << 20));
    let uri = format!("{path}?label=a={}", "x".repeat(1 << 17));
    let posted = |headers: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let get = |headers: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    vec![
        raw("noise", "\u{1}\u{2}\u{3}\r\n\r\n"),
        raw("a line that is no request", "hello\r\n\r\n"),
        raw("a method alone", "GET\r\n\r\n"),
        raw(
            "a path with a blank",
            "GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        ),
        raw(
            "a path with a NUL",
            "GET /\u{0} HTTP/1.1\r\nhost: x\r\n\r\n",
        ),
        raw(
            "another version",
            &format!("GET {path} HTTP/9.9\r\nhost: x\r\n\r\n"),
        ),
        raw("a header without a colon", &get("nonsense\r\n")),
        raw("a header without a name", &get(": x\r\n")),
        raw("a blank in a header's name", &get("a b: x\r\n")),
        raw(
            "the hello of TLS",
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n",
        ),
        raw("a NUL in a header", &get("a: \u{0}\r\n")),
        raw("5,000 headers", &get(&bomb)),
        raw("a header of a mebibyte", &get(&huge)),
        raw(
            "a query of 128 KiB",
            &format!("GET {uri} HTTP/1.1\r\nhost: x\r\n\r\n"),
        ),
        raw(
            "a length that is no number",
            &posted("content-length: many\r\n", "{}"),
        ),
        raw("a negative length", &posted("content-length: -1\r\n", "{}")),
        raw(
            "two lengths",
            &posted("content-length: 2\r\ncontent-length: 3\r\n", "{} "),
        ),
        raw(
            "an unknown encoding",
            &posted("transfer-encoding: magic\r\n", "{}"),
        ),
    ]
}
