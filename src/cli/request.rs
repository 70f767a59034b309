//! From arguments to a run message: the plan file, the inputs, the labels, and their complaints.

use std::path::Path;

use crane_actors::submit::SubmitError;
use crane_core::event::Labels;
use crane_core::plan::Finding;
use crane_core::{Limits, Plan, RunId};
use serde_json::{Map, Value};

use super::failure::Failure;
use crate::config::Config;
use crate::node;
use crate::plan_file::{self, Document, Located};

/// `NAME=VALUE` of `--input`: the value is JSON if it parses, else text.
pub(super) fn named_value(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
    Ok((name, value))
}

/// `NAME=VALUE` of `--label`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    pair(text)
}

/// The id of a run.
pub(super) fn run_id(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|_| {
        "it is no run id, such as 0199d3a0-1f2e-7c3b-9a4d-5e6f708192a3; `crane runs list` shows them"
            .to_owned()
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name before '=' is missing".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Reads a plan file and checks it as a node with this configuration would; all that is wrong with
/// it is said at once, with lines.
pub(super) fn read_plan(path: &Path, config: &Config) -> Result<(Document, Plan), Failure> {
    let document = read_document(path, &config.limits)?;
    match check_plan(&document, config)? {
        Ok(plan) => Ok((document, plan)),
        Err(findings) => {
            let lines = findings
                .iter()
                .map(|finding| finding.line_of(&document.file));
            Err(Failure::Usage(errors(lines)))
        }
    }
}

/// Reads a file that may be as large as a request.
pub(super) fn read_document(path: &Path, limits: &Limits) -> Result<Document, Failure> {
    plan_file::read(path, limits.request_bytes).map_err(|error| Failure::usage(error.to_string()))
}

/// The plan in a document, or all that is wrong with it.
pub(super) fn check_plan(
    document: &Document,
    config: &Config,
) -> Result<Result<Plan, Vec<Located>>, Failure> {
    let catalog = node::catalog(config.tools.clone())?;
    Ok(Plan::check(&document.value, &catalog, &config.limits)
        .map_err(|findings| document.locate(&findings)))
}

/// The input of a run: the members of the file, with the single values on top.
pub(super) fn input(
    file: Option<&Path>,
    values: &[(String, Value)],
    limits: &Limits,
) -> Result<Option<Value>, Failure> {
    let mut members = match file {
        None => Map::new(),
        Some(path) => {
            let document = read_document(path, limits)?;
            let Value::Object(members) = document.value else {
                let file = document.file;
                return Err(Failure::usage(format!(
                    "{file}: must hold an object, such as {{\"price\": 41}}"
                )));
            };
            members
        }
    };
    let mut seen = Vec::new();
    for (name, value) in values {
        if seen.contains(&name) {
            return Err(Failure::usage(format!(
                "--input {name} is given twice; keep one of them"
            )));
        }
        seen.push(name);
        members.insert(name.clone(), value.clone());
    }
    let nothing = file.is_none() && values.is_empty();
    Ok((!nothing).then_some(Value::Object(members)))
}

/// Labels by name.
pub(super) fn labels(pairs: &[(String, String)]) -> Result<Labels, Failure> {
    let mut labels = Labels::new();
    for (name, value) in pairs {
        if labels.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!(
                "--label {name} is given twice; keep one of them"
            )));
        }
    }
    Ok(labels)
}

/// What a refused run message means for the command.
pub(super) fn refused(error: SubmitError) -> Failure {
    match error {
        SubmitError::Invalid(findings) => Failure::Usage(errors(findings.iter().map(finding))),
        SubmitError::Store(error) => error.into(),
        other @ (SubmitError::KeyReused(_)
        | SubmitError::Exists(_)
        | SubmitError::TooMany { .. }
        | SubmitError::Stopping
        | SubmitError::NotOwner(_)
        | SubmitError::Lost) => Failure::failed(other.to_string()),
    }
}

/// A finding as a line.
pub(super) fn finding(finding: &Finding) -> String {
    match finding.path.as_str() {
        "" => finding.message.clone(),
        path => format!("{path}: {}", finding.message),
    }
}

/// Several errors, one a line; the first one gets its mark from [`Failure::message`].
pub(super) fn errors(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\nerror: ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_json_if_it_parses_and_text_otherwise() {
        let value = |text: &str| named_value(text).unwrap().1;
        assert_eq!(value("n=3"), json!(3));
        assert_eq!(value("n=true"), json!(true));
        assert_eq!(value("n={\"a\":[1]}"), json!({"a": [1]}));
        assert_eq!(value("n=\"3\""), json!("3"));
        assert_eq!(value("n=a=b"), json!("a=b"));
        assert_eq!(value("n="), json!(""));
        assert_eq!(value("n=07"), json!("07"));
        assert!(named_value("n").is_err());
        assert!(named_value("=3").is_err());
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let pair = ("n".to_owned(), json!(1));
        let input = |values: &[_]| input(None, values, &Limits::default());
        assert!(input(std::slice::from_ref(&pair)).unwrap().is_some());
        assert!(input(&[pair.clone(), pair]).is_err());
        assert_eq!(input(&[]).unwrap(), None);
        let label = ("a".to_owned(), "b".to_owned());
        assert!(labels(&[label.clone(), label]).is_err());
    }
}
