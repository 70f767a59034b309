//! Files that are documents, files that are not, and where things stand in them.

use std::io::Write;

use serde_json::json;

use super::*;

const LIMIT: usize = 1 << 20;

fn read_bytes(name: &str, bytes: &[u8]) -> Result<Document, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    File::create(&path).unwrap().write_all(bytes).unwrap();
    read(&path, LIMIT)
}

#[track_caller]
fn refused(name: &str, text: &str, expected: &str) {
    let message = read_bytes(name, text.as_bytes()).unwrap_err().to_string();
    let directory_end = message.find(name).unwrap_or_default();
    assert!(
        message[directory_end..].contains(expected),
        "{message:?} does not contain {expected:?}"
    );
    assert!(!message.contains('\n'), "{message:?} is more than one line");
}

#[test]
fn yaml_and_json_give_the_same_value() {
    let yaml = "steps:\n  - {id: a, when: no, n: 1.5}\n  - null\n";
    let expected = json!({"steps": [{"id": "a", "when": "no", "n": 1.5}, null]});
    assert_eq!(
        read_bytes("p.yaml", yaml.as_bytes()).unwrap().value,
        expected
    );
    let json = expected.to_string();
    assert_eq!(
        read_bytes("p.json", json.as_bytes()).unwrap().value,
        expected
    );
    assert_eq!(
        read_bytes("p.yaml", json.as_bytes()).unwrap().value,
        expected
    );
    let tabs = "{\n\t\"a\": [1]\n}";
    assert_eq!(
        read_bytes("p", tabs.as_bytes()).unwrap().value,
        json!({"a": [1]})
    );
    let flow = "{a: [b, 'c']}";
    assert_eq!(
        read_bytes("p", flow.as_bytes()).unwrap().value,
        json!({"a": ["b", "c"]})
    );
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    let value = read_bytes("p.json", b"\xef\xbb\xbf{\"a\":1}")
        .unwrap()
        .value;
    assert_eq!(value, json!({"a": 1}));
}

#[test]
fn an_anchor_may_be_used_again_within_reason() {
    let text = "base: &base {x: 1}\nuse: [*base, *base]\n";
    let value = read_bytes("p.yaml", text.as_bytes()).unwrap().value;
    assert_eq!(value["use"], json!([{"x": 1}, {"x": 1}]));
}

#[test]
fn what_is_no_document_is_refused_with_its_place() {
    refused(
        "p.yaml",
        "a: 1\nb: 2\na: 3\n",
        "p.yaml:3:1: the key \"a\" occurs twice",
    );
    refused("p.json", "{\"a\": 1,\n \"a\": 2}", "key \"a\" occurs twice");
    refused(
        "p.yaml",
        "steps:\n  1: x\n",
        "p.yaml:2:3: the key 1 is not text",
    );
    refused("p.yaml", "true: x\n", "the key true is not text");
    refused("p.yaml", "~: x\n", "the key null is not text");
    refused("p.yaml", "1.5: x\n", "the key 1.5 is not text");
    refused("p.yaml", "? [a, b]\n: x\n", "is not text");
    refused("p.yaml", "? {a: b}\n: x\n", "is not text");
    refused("p.yaml", "a: 1\n---\nb: 2\n", "several documents");
    refused("p.yaml", "a: [1, 2\nb: 3\n", "p.yaml:");
    refused("p.yaml", "a: *nothing\n", "p.yaml:1:4: the alias");
    refused("p.yaml", "a: .nan\n", "p.yaml:1:");
    refused("p.yaml", "a: 1e999\n", "p.yaml:1:");
    refused("p.json", "{\"a\": }", "p.json:1:7: ");
    refused("p.json", "{\"a\": 1} trailing", "p.json:1:10: ");
    refused("p.json", "nul", "p.json:1:");
    refused("p.yaml", "", "is empty");
    refused("p.yaml", " \n\t\n", "is empty");
    refused("p.yaml", "# a comment\n", "is empty");
    refused("p.yaml", "a\0b", "binary file");
}

#[test]
fn text_in_another_encoding_is_named_with_its_line() {
    let error = read_bytes("p.yaml", b"a: 1\nname: caf\xe9\n").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(":2: is not UTF-8 text; save it as UTF-8")
    );
}

#[test]
fn missing_files_and_directories_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = read(&directory.path().join("none.yaml"), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let error = read(directory.path(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
}

#[test]
fn a_file_past_the_limit_is_not_read_to_its_end() {
    let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 1000, .. }),
        "{error}"
    );
    let error = read_bytes("p.yaml", &vec![b'a'; LIMIT + 1]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert!(read_bytes("p.yaml", &vec![b'a'; LIMIT]).is_ok());
}

#[test]
fn aliases_cannot_blow_a_small_file_up() {
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"]
        .iter()
        .zip("abcdefg".chars())
    {
        let list = vec![format!("*{of}"); 10].join(", ");
        laughs.push_str(&format!("{name}: &{name} [{list}]\n"));
    }
    refused("p.yaml", &laughs, "aliases (*name) expand");
    let long = "x".repeat(100_000);
    let uses = vec!["*a"; 90].join(", ");
    refused(
        "p.yaml",
        &format!("a: &a {long}\nb: [{uses}]\n"),
        "aliases (*name) expand",
    );
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let expected = "nested deeper than 64 levels";
    refused("p.yaml", &"[".repeat(100_000), expected);
    refused("p.json", &"[".repeat(100_000), expected);
    let blocks: String = (0..5000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    refused("p.yaml", &blocks[..LIMIT - 1], expected);
}

#[test]
fn findings_are_located_at_the_deepest_part_that_exists() {
    let text =
        "name: x\nsteps:\n  - id: a\n    input:\n      url: 5\n      a.b: 1\n  -\n    id: b\n";
    let document = read_bytes("p.yaml", text.as_bytes()).unwrap();
    let line = |path: &str| {
        let finding = Finding {
            path: path.to_owned(),
            message: "m".to_owned(),
        };
        document.locate(&[finding])[0].line
    };
    assert_eq!(line("name"), Some(1));
    assert_eq!(line("steps[0].input.url"), Some(5));
    assert_eq!(line("steps[0].input.a.b"), Some(6));
    assert_eq!(line("steps[0].input.method"), Some(4));
    assert_eq!(line("steps[1].id"), Some(8));
    assert_eq!(line("steps[1].tool"), Some(8));
    assert_eq!(line("steps[7].tool"), Some(2));
    assert_eq!(line("output"), None);
    assert_eq!(line(""), None);
}

#[test]
fn a_located_finding_reads_like_a_compilers() {
    let located = Located {
        path: "steps[0].tool".to_owned(),
        message: "unknown tool".to_owned(),
        line: Some(3),
        column: Some(5),
    };
    assert_eq!(
        located.line_of("p.yaml"),
        "p.yaml:3:5: steps[0].tool: unknown tool"
    );
}
