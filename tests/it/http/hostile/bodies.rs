//! Bodies that are none, or say what nobody can mean.

use super::*;

const JSON: &str = "content-type: application/json\r\n";
const YAML: &str = "content-type: application/yaml\r\n";

fn post(name: &str, headers: &str, body: &[u8], refusal: Refusal) -> Case {
    let name = format!("POST /runs: {name}");
    Case::new(
        name,
        request("POST", &format!("{BASE}/runs"), headers, body),
        refusal,
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = syntax();
    all.extend(yaml());
    all.extend(types());
    all.extend(plans());
    all.extend(media());
    all.extend(sizes());
    all.extend(other_routes());
    all
}

/// No JSON, or not what strict readers take for it.
fn syntax() -> Vec<Case> {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        format!("{{\"prompt\":\"x\",\"input\":{{\"a\":{open}1{close}}}}}")
    };
    let (arrays, objects) = (deep("[", "]"), deep("{\"a\":", "}"));
    let open_only = format!("{{\"input\":{}", "[".repeat(10_000));
    let bodies: [(&str, &[u8]); 25] = [
        ("nothing", b""),
        ("blanks", b" \r\n\t "),
        ("a word", b"hello"),
        ("half an object", b"{"),
        ("half a text", b"{\"prompt\":\"calc"),
        ("two documents", b"{\"prompt\":\"x\"}{\"prompt\":\"y\"}"),
        ("something behind", b"{\"prompt\":\"x\"} x"),
        ("a comma too many", b"{\"prompt\":\"x\",}"),
        ("no colon", b"{\"prompt\" \"x\"}"),
        ("single quotes", b"{'prompt':'x'}"),
        ("a comment", b"{\"prompt\":\"x\" /* y */}"),
        ("the same key twice", b"{\"prompt\":\"x\",\"prompt\":\"x\"}"),
        (
            "the same key twice, escaped",
            b"{\"prompt\":\"x\",\"pr\\u006fmpt\":\"x\"}",
        ),
        (
            "the same key twice, deep inside",
            b"{\"prompt\":\"x\",\"input\":{\"a\":{\"b\":1,\"b\":1}}}",
        ),
        ("invalid UTF-8", b"{\"prompt\":\"\xff\xfe\"}"),
        ("an overlong encoding", b"{\"prompt\":\"\xc0\xaf\"}"),
        ("a surrogate in UTF-8", b"{\"prompt\":\"\xed\xa0\x80\"}"),
        ("a lone surrogate", b"{\"prompt\":\"\\ud800\"}"),
        ("a control character", b"{\"prompt\":\"a\x01b\"}"),
        ("a NUL", b"{\"prompt\":\"x\"}\0"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        (
            "a number that is none",
            b"{\"prompt\":\"x\",\"input\":{\"n\":NaN}}",
        ),
        (
            "a number beyond all",
            b"{\"prompt\":\"x\",\"input\":{\"n\":1e99999}}",
        ),
        (
            "a leading zero",
            b"{\"prompt\":\"x\",\"input\":{\"n\":007}}",
        ),
        ("a form", b"prompt=x&plan=y"),
    ];
    let deep: [(&str, &[u8]); 3] = [
        ("10,000 arrays in each other", arrays.as_bytes()),
        ("10,000 objects in each other", objects.as_bytes()),
        ("10,000 arrays that never end", open_only.as_bytes()),
    ];
    let all = bodies.into_iter().chain(deep);
    all.map(|(name, body)| post(name, JSON, body, BAD))
        .collect()
}

fn yaml() -> Vec<Case> {
    let laughs: String = (1..=9)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 10].join(",")
            )
        })
        .collect();
    let laughs = format!("a0: &a0 [lol]\n{laughs}");
    let deep = format!("steps: {}", "[".repeat(10_000));
    let bodies: [(&str, &[u8]); 13] = [
        ("nothing", b""),
        ("a comment alone", b"# nothing\n"),
        ("a bracket that stays open", b"steps: [\n"),
        ("a tab for indentation", b"steps:\n\t- id: a\n"),
        ("the same key twice", b"steps: []\nsteps: []\n"),
        ("two documents", b"steps: []\n---\nsteps: []\n"),
        ("an alias of nothing", b"steps: *nowhere\n"),
        ("a key that is a number", b"1: x\n"),
        ("a key that is a list", b"? [a]\n: 1\n"),
        ("a text that is no UTF-8", b"steps: \xff"),
        ("a NUL", b"steps: \0"),
        ("a billion laughs", laughs.as_bytes()),
        ("10,000 lists in each other", deep.as_bytes()),
    ];
    let name = |name: &str| format!("YAML: {name}");
    bodies
        .into_iter()
        .map(|(n, body)| post(&name(n), YAML, body, BAD))
        .collect()
}

/// JSON that is no run message.
fn types() -> Vec<Case> {
    let long = format!("{{\"prompt\":\"{}\"}}", "calculate 1 ".repeat(1_000));
    let many_labels: Vec<String> = (0..65).map(|n| format!("\"k{n}\":\"v\"")).collect();
    let many_labels = format!(
        "{{\"prompt\":\"x\",\"labels\":{{{}}}}}",
        many_labels.join(",")
    );
    let many_fields: Vec<String> = (0..20_000).map(|n| format!("\"f{n}\":{n}")).collect();
    let many_fields = format!("{{{}}}", many_fields.join(","));
    let bodies: [(&str, &str); 25] = [
        ("null", "null"),
        ("true", "true"),
        ("a number", "1e3"),
        ("a text", "\"calculate 1\""),
        ("an array", "[{\"prompt\":\"x\"}]"),
        ("an object with nothing", "{}"),
        ("an empty prompt", "{\"prompt\":\"\"}"),
        ("a blank prompt", "{\"prompt\":\" \\n\\t\\u3000\"}"),
        ("a long prompt", &long),
        ("a prompt that is a number", "{\"prompt\":1}"),
        ("a prompt that is an object", "{\"prompt\":{\"$ne\":null}}"),
        ("a prompt in a list", "{\"prompt\":[\"calculate 1\"]}"),
        ("a prompt that is null", "{\"prompt\":null,\"plan\":null}"),
        (
            "prompt and plan",
            "{\"prompt\":\"x\",\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\"}]}}",
        ),
        ("an unknown field", "{\"prompt\":\"x\",\"priority\":1}"),
        ("a field in capitals", "{\"Prompt\":\"x\"}"),
        (
            "a prototype",
            "{\"prompt\":\"x\",\"__proto__\":{\"admin\":true}}",
        ),
        ("the wait in the body", "{\"prompt\":\"x\",\"wait\":\"1s\"}"),
        ("an input that is a list", "{\"prompt\":\"x\",\"input\":[]}"),
        (
            "labels that are a list",
            "{\"prompt\":\"x\",\"labels\":[\"a=b\"]}",
        ),
        (
            "a label that is a number",
            "{\"prompt\":\"x\",\"labels\":{\"a\":1}}",
        ),
        (
            "a label without a name",
            "{\"prompt\":\"x\",\"labels\":{\"\":\"a\"}}",
        ),
        (
            "a label with = in its name",
            "{\"prompt\":\"x\",\"labels\":{\"a=b\":\"c\"}}",
        ),
        ("65 labels", &many_labels),
        ("20,000 unknown fields", &many_fields),
    ];
    bodies
        .into_iter()
        .map(|(name, body)| post(name, JSON, body.as_bytes(), INVALID))
        .collect()
}

/// Plans that cannot be carried out.
fn plans() -> Vec<Case> {
    let plan =
        |name: &str, body: &str| post(&format!("a plan: {name}"), JSON, body.as_bytes(), INVALID);
    let mut all = vec![
        plan("no object", r#"{"plan":"steps"}"#),
        plan("no steps", r#"{"plan":{}}"#),
        plan("steps that are an object", r#"{"plan":{"steps":{"a":1}}}"#),
    ];
    for (name, step) in STEPS {
        all.push(plan(name, &format!(r#"{{"plan":{{"steps":[{step}]}}}}"#)));
    }
    let echo = |expression: &str| {
        format!(
            r#"{{"plan":{{"steps":[{{"id":"a","tool":"echo","input":{{"x":"${{{expression}}}"}}}}]}}}}"#
        )
    };
    let nested = format!("{}1{}", "(".repeat(240), ")".repeat(240));
    all.push(plan("an expression full of parentheses", &echo(&nested)));
    all.push(plan(
        "an expression of 600 bytes",
        &echo(&format!("{}1", "1 + ".repeat(150))),
    ));
    all.push(plan(
        "a call of what is no function",
        &echo("__import__('os')"),
    ));
    let times = |step: &str, count: usize| {
        format!(
            r#"{{"plan":{{"steps":[{}]}}}}"#,
            vec![step; count].join(",")
        )
    };
    let wrong = times(r#"{"id":"a","tool":"nope","x":1}"#, 5_000);
    all.push(plan("5,000 steps that are all wrong", &wrong));
    let many = times(r#"{"id":"a","tool":"echo"}"#, 20_000);
    all.push(plan("20,000 steps", &many));
    let yaml = b"steps:\n  - {id: a, tool: echo, when: \"${'x' * 100000000}\", input: [1]}\n";
    all.push(post("a plan in YAML that is wrong", YAML, yaml, INVALID));
    all
}

/// Steps that are none.
const STEPS: [(&str, &str); 16] = [
    ("a step that is null", "null"),
    ("a step without a tool", r#"{"id":"a"}"#),
    ("an unknown tool", r#"{"id":"a","tool":"rm"}"#),
    ("an id that is a path", r#"{"id":"../a","tool":"echo"}"#),
    (
        "an id of 65 characters",
        r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","tool":"echo"}"#,
    ),
    (
        "the same id twice",
        r#"{"id":"a","tool":"echo"},{"id":"a","tool":"echo"}"#,
    ),
    ("a cycle", r#"{"id":"a","tool":"echo","depends_on":["a"]}"#),
    (
        "a reference to nothing",
        r#"{"id":"a","tool":"echo","input":{"x":"${steps.b.output}"}}"#,
    ),
    (
        "an unknown field",
        r#"{"id":"a","tool":"echo","shell":"id"}"#,
    ),
    (
        "a negative timeout",
        r#"{"id":"a","tool":"echo","timeout":"-1s"}"#,
    ),
    (
        "an endless timeout",
        r#"{"id":"a","tool":"echo","timeout":"1000000d"}"#,
    ),
    (
        "a billion attempts",
        r#"{"id":"a","tool":"echo","retry":{"max_attempts":1000000000}}"#,
    ),
    (
        "an expression that stays open",
        r#"{"id":"a","tool":"echo","input":{"x":"${steps"}}"#,
    ),
    (
        "a calculator without expression",
        r#"{"id":"a","tool":"calculator","input":{}}"#,
    ),
    (
        "a condition that is a list",
        r#"{"id":"a","tool":"echo","when":[]}"#,
    ),
    (
        "an input that is a text",
        r#"{"id":"a","tool":"echo","input":"x"}"#,
    ),
];

/// Bodies of other types.
fn media() -> Vec<Case> {
    let good = b"{\"prompt\":\"calculate 1\"}";
    let headers = [
        ("no type", ""),
        ("an empty type", "content-type: \r\n"),
        ("plain text", "content-type: text/plain\r\n"),
        (
            "a form",
            "content-type: application/x-www-form-urlencoded\r\n",
        ),
        ("parts", "content-type: multipart/form-data; boundary=x\r\n"),
        ("XML", "content-type: application/xml\r\n"),
        (
            "a type that begins like JSON",
            "content-type: application/jsonp\r\n",
        ),
        (
            "JSON in another charset",
            "content-type: application/json; charset=utf-16\r\n",
        ),
        (
            "two types",
            "content-type: application/json\r\ncontent-type: application/yaml\r\n",
        ),
        (
            "a zipped body",
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        ),
        ("a type that is no text", "content-type: \u{e4}\r\n"),
    ];
    headers
        .into_iter()
        .map(|(name, headers)| post(name, headers, good, TYPE))
        .collect()
}

/// Bodies that are too large, too short, or never end.
fn sizes() -> Vec<Case> {
    let head = |headers: &str| {
        let path = format!("{BASE}/runs");
        format!("POST {path} HTTP/1.1\r\nhost: x\r\n{JSON}{headers}\r\n").into_bytes()
    };
    let large = vec![b' '; (4 << 20) + 1];
    let mut chunked = head("transfer-encoding: chunked\r\n");
    for _ in 0..5 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend_from_slice(&large[..1 << 20]);
        chunked.extend_from_slice(b"\r\n");
    }
    let announced = head("content-length: 1000000000000\r\n");
    let all = head("content-length: 18446744073709551615\r\n");
    let short = [
        head("content-length: 100\r\n"),
        b"{\"prompt\":\"x\"}".to_vec(),
    ]
    .concat();
    let bad_chunk = [
        head("transfer-encoding: chunked\r\n"),
        b"zz\r\n{}\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    let open_chunk = [
        head("transfer-encoding: chunked\r\n"),
        b"5\r\n{\"a\"".to_vec(),
    ]
    .concat();
    vec![
        post("more than four mebibytes", JSON, &large, LARGE),
        Case::new("more than four mebibytes in chunks", chunked, LARGE),
        Case::new("a length of a terabyte", announced, LARGE),
        Case::new("a length of all there is", all, Refusal::Parser),
        Case::new("a body that ends early", short, BAD).cut(),
        Case::new("a chunk without a length", bad_chunk, BAD),
        Case::new("a chunk that ends early", open_chunk, BAD).cut(),
    ]
}

fn other_routes() -> Vec<Case> {
    let at = |path: &str, body: &str, refusal| {
        let bytes = request("POST", &format!("{BASE}{path}"), JSON, body.as_bytes());
        Case::new(format!("POST {path} {body}"), bytes, refusal)
    };
    vec![
        at("/tools/echo/test", "{\"a\":1", BAD),
        at("/tools/nope/test", "{}", NO_TOOL),
        at("/tools/echo/breaker", "", BAD),
        at("/tools/echo/breaker", "{}", INVALID),
        at("/tools/echo/breaker", "[\"open\"]", INVALID),
        at("/tools/echo/breaker", "{\"state\":\"ajar\"}", INVALID),
        at(
            "/tools/echo/breaker",
            "{\"state\":\"open\",\"for\":\"ever\"}",
            INVALID,
        ),
        at("/tools/nope/breaker", "{\"state\":\"open\"}", NO_TOOL),
    ]
}
