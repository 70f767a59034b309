//! From a document to a run message: which fields there are and of what type. Everything else about
//! it is checked by the runtime, and all that is wrong is said at once.

use crane_actors::Runtime;
use crane_actors::submit::Request;
use crane_core::event::Labels;
use crane_core::json::kind;
use crane_core::plan::Finding;
use serde_json::{Map, Value};

use crate::api::ApiError;
use crate::api::error::shorten;

/// The fields of a run message.
const FIELDS: [&str; 4] = ["prompt", "plan", "input", "labels"];

/// What a document in JSON asks for.
pub(super) async fn read(document: Value, runtime: &Runtime) -> Result<Request, ApiError> {
    let Value::Object(mut fields) = document else {
        let kind = kind(&document);
        let message = format!("must be an object with \"prompt\" or \"plan\", and is {kind}");
        return Err(ApiError::invalid(&[finding("", message)]));
    };
    let mut findings = Vec::new();
    let request = Request {
        prompt: take_prompt(&mut fields, &mut findings),
        plan: take(&mut fields, "plan"),
        input: take(&mut fields, "input"),
        labels: take_labels(&mut fields, &mut findings),
        ..Request::default()
    };
    for name in fields.keys() {
        let (shown, known) = (shorten(name), FIELDS.join(", "));
        let message = format!("unknown field \"{shown}\" (known are {known})");
        findings.push(finding(&shown, message));
    }
    if findings.is_empty() {
        return Ok(request);
    }
    findings.extend(runtime.findings(request).await);
    Err(ApiError::invalid(&findings))
}

/// A field that is there; `null` counts as absent.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

fn take_prompt(fields: &mut Map<String, Value>, findings: &mut Vec<Finding>) -> Option<String> {
    match take(fields, "prompt")? {
        Value::String(prompt) => Some(prompt),
        other => {
            findings.push(must_be("prompt", "a text", &other));
            // Stands in for what is wrong already, so that it does not count as missing too.
            Some("?".to_owned())
        }
    }
}

fn take_labels(fields: &mut Map<String, Value>, findings: &mut Vec<Finding>) -> Labels {
    let members = match take(fields, "labels") {
        None => return Labels::new(),
        Some(Value::Object(members)) => members,
        Some(other) => {
            findings.push(must_be("labels", "an object of texts", &other));
            return Labels::new();
        }
    };
    let mut labels = Labels::new();
    for (name, value) in members {
        match value {
            Value::String(value) => {
                labels.insert(name, value);
            }
            other => {
                let path = format!("labels.{}", shorten(&name));
                findings.push(must_be(&path, "a text", &other));
            }
        }
    }
    labels
}

fn finding(path: &str, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        message,
    }
}

fn must_be(path: &str, wanted: &str, got: &Value) -> Finding {
    finding(path, format!("must be {wanted}, and is {}", kind(got)))
}
