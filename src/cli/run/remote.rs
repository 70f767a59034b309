//! `crane run --server`: the run is the server's, and what is seen of it here comes from its stream.
//!
//! The message carries an Idempotency-Key of its own, so that it can be sent again when its answer
//! was lost, unless the server cannot take keys at the moment. Ctrl-C ends the looking, not the run.

use std::cell::OnceCell;
use std::sync::Mutex;

use crane_core::plan::Finding;
use crane_core::{RunId, Seq};

use super::super::failure::Failure;
use super::super::remote::{Remote, attend};
use super::super::{Shape, request, watch};
use super::Asked;
use crate::client::{Client, Error, Message, RemoteRun};
use crate::live::Live;
use crate::output;
use crate::plan_file::Document;

/// Submits what was asked and follows it, or leaves it to the server.
pub(super) async fn start(
    asked: Asked,
    remote: &Remote,
    detach: bool,
    shape: Shape,
) -> Result<u8, Failure> {
    let Asked {
        prompt,
        plan,
        input,
        labels,
    } = asked;
    let message = Message {
        prompt,
        plan: plan.as_ref().map(|document| document.value.clone()),
        input,
        labels,
    };
    let accepted = OnceCell::new();
    let outcome = attend(async {
        let run = submit(&remote.client, &message, plan.as_ref()).await?;
        let (id, node) = (run.head.run_id, run.head.node.clone());
        let _ = accepted.set(id);
        if detach {
            return detached(&run, shape);
        }
        let live = Mutex::new(Live::of_one());
        let run = watch::remote_to_the_end(&remote.client, id, Seq(0), Some(&live)).await?;
        drop(live);
        watch::report(&run, &node, shape, &remote.option)
    })
    .await;
    match (&outcome, accepted.get()) {
        (Err(Failure::Interrupted), Some(id)) => goes_on(*id, remote),
        (Err(Failure::Interrupted), None) => output::note(&format!(
            "interrupted before the server answered; if it has accepted the run, this shows it: \
             crane runs list{}",
            remote.option
        )),
        _ => {}
    }
    outcome
}

async fn submit(
    client: &Client,
    message: &Message,
    plan: Option<&Document>,
) -> Result<RemoteRun, Failure> {
    let key = key()?;
    client
        .submit(message, &key)
        .await
        .map_err(|error| match (error, plan) {
            (Error::Refused(refusal), Some(document)) if !refusal.findings.is_empty() => {
                let lines = refusal.findings.iter().map(|f| line(f, document));
                Failure::Usage(request::errors(lines))
            }
            (error, _) => error.into(),
        })
}

/// A key that nobody else uses.
fn key() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed(format!("no random numbers: {error}")))?;
    Ok(format!("crane-{:032x}", u128::from_be_bytes(random)))
}

/// A finding as a line of the plan's file if it is about the plan: the server knows the plan as a
/// part of its message.
fn line(finding: &Finding, document: &Document) -> String {
    let Some(rest) = finding.path.strip_prefix("plan") else {
        return request::finding(finding);
    };
    let path = match rest.strip_prefix('.') {
        Some(path) => path,
        None if rest.is_empty() || rest.starts_with('[') => rest,
        None => return request::finding(finding),
    };
    let inside = Finding {
        path: path.to_owned(),
        message: finding.message.clone(),
    };
    let located = document.locate(&[inside]);
    let lines = located.iter().map(|found| found.line_of(&document.file));
    lines.collect::<Vec<_>>().join("\n")
}

fn detached(run: &RemoteRun, shape: Shape) -> Result<u8, Failure> {
    match shape {
        Shape::Text => output::print(&run.head.run_id.to_string())?,
        Shape::Json => output::print_json(&run.json)?,
    }
    Ok(0)
}

/// Who stops looking wants to know what becomes of the run.
pub(in super::super) fn goes_on(id: RunId, remote: &Remote) {
    let (target, option) = (remote.client.target(), &remote.option);
    output::note(&format!(
        "interrupted; run {id} goes on at {target}\n\
         to follow it: crane runs events {id} --follow{option}\n\
         to cancel it: crane runs cancel {id}{option}"
    ));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn keys_are_visible_ascii_and_each_is_another() {
        let (one, other) = (key().unwrap(), key().unwrap());
        assert_ne!(one, other);
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn findings_about_the_plan_become_lines_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.yaml");
        std::fs::write(&path, "steps:\n  - id: a\n    tool: ecko\n").unwrap();
        let document = crate::plan_file::read(Path::new(&path), 1_000).unwrap();
        let file = path.display();
        let line = |path: &str| {
            let path = path.to_owned();
            let message = "wrong".to_owned();
            line(&Finding { path, message }, &document)
        };
        assert_eq!(
            line("plan.steps[0].tool"),
            format!("{file}:3:5: steps[0].tool: wrong")
        );
        assert!(line("plan").starts_with(&format!("{file}")));
        assert_eq!(line("labels.x"), "labels.x: wrong");
        assert_eq!(line("planet"), "planet: wrong");
    }
}
