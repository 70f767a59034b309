//! What an expression sees of a run, built only as far as it looks.

use std::cell::{OnceCell, RefCell};
use std::sync::LazyLock;

use minijinja::value::Value;

use super::names::Reference;
use super::path::{Found, Path, Root, StepName, follow};
use crate::ids::{RunId, StepIndex};
use crate::json::Json;
use crate::run::{Run, StepStatus};

/// The facts of a run that expressions may use.
pub trait ScopeSource {
    /// `run.id`
    fn run_id(&self) -> RunId;

    /// `input`
    fn input(&self) -> &Json;

    /// `steps.X.status`
    fn step_status(&self, step: StepIndex) -> StepStatus;

    /// `steps.X.output`; `None` until the step is completed.
    fn step_output(&self, step: StepIndex) -> Option<&Json>;
}

impl ScopeSource for Run {
    fn run_id(&self) -> RunId {
        self.id
    }

    fn input(&self) -> &Json {
        static NOTHING: LazyLock<Json> = LazyLock::new(|| Json::from_trusted("{}"));
        self.accepted
            .as_ref()
            .map_or_else(|| &*NOTHING, |accepted| &accepted.input)
    }

    fn step_status(&self, step: StepIndex) -> StepStatus {
        self.steps
            .get(step.position())
            .map_or(StepStatus::Pending, |state| state.status)
    }

    fn step_output(&self, step: StepIndex) -> Option<&Json> {
        let state = self.steps.get(step.position())?;
        match state.status {
            StepStatus::Completed => state.output.as_ref(),
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Waiting
            | StepStatus::Failed
            | StepStatus::Skipped
            | StepStatus::Cancelled => None,
        }
    }
}

/// What expressions are evaluated in. Making one costs nothing; documents that an expression looks
/// into are parsed when it does, and kept for the other expressions of the same scope.
pub struct Scope<'a> {
    source: &'a dyn ScopeSource,
    input: OnceCell<Value>,
    outputs: RefCell<Vec<(StepIndex, Value)>>,
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope")
            .field("run_id", &self.source.run_id())
            .finish_non_exhaustive()
    }
}

/// What a plain path leads to.
pub(super) enum Piece<'a> {
    /// A part of a document: its JSON text.
    Json(&'a str),
    /// Text that needs no escapes in JSON.
    Plain(&'static str),
    /// One character of a text.
    Character(char),
    /// The id of the run.
    Id(RunId),
}

impl<'a> Scope<'a> {
    /// The scope of a run.
    pub fn new(source: &'a dyn ScopeSource) -> Self {
        Self {
            source,
            input: OnceCell::new(),
            outputs: RefCell::default(),
        }
    }

    /// The whole document at `root`, when there is one.
    pub(super) fn document(&self, root: &Root) -> Option<&'a Json> {
        match root {
            Root::Input => Some(self.source.input()),
            Root::Output(step) => self.source.step_output(step.index),
            Root::Run | Root::RunId | Root::Step(_) | Root::Status(_) => None,
        }
    }

    /// Follows a plain path; an error says what is undefined.
    ///
    /// `Run` and `Step` have no text of their own and count as `Plain("")` here.
    pub(super) fn find(&self, path: &Path) -> Result<Piece<'a>, String> {
        let document = match &path.root {
            Root::Run | Root::Step(_) => return Ok(Piece::Plain("")),
            Root::RunId => return Ok(Piece::Id(self.source.run_id())),
            Root::Status(step) => {
                return Ok(Piece::Plain(self.source.step_status(step.index).as_str()));
            }
            Root::Input | Root::Output(_) => self.document(&path.root),
        };
        let Some(document) = document else {
            let status = path
                .root
                .step()
                .map(|step| self.source.step_status(step.index).as_str());
            let root = path.prefix(0);
            return Err(format!("{root} (step is {})", status.unwrap_or("unknown")));
        };
        match follow(document.as_str(), &path.segments) {
            Found::Text(text) => Ok(Piece::Json(text)),
            Found::Character(character) => Ok(Piece::Character(character)),
            Found::Nothing(position) => Err(path.prefix(position + 1)),
        }
    }

    /// The names that the engine needs for an expression with these references.
    pub(super) fn context(
        &self,
        references: &[Reference],
        dynamic: bool,
        visible: &[StepName],
    ) -> Value {
        let mut names: Vec<(&str, Value)> = Vec::with_capacity(3);
        let mut steps: Vec<(&str, Value)> = Vec::new();
        if dynamic {
            names.push(("steps", Value::UNDEFINED));
            for step in visible {
                steps.push((step.id.as_str(), self.step(step, true)));
            }
        }
        for reference in references {
            match &reference.path.root {
                Root::Input => names.push(("input", self.input())),
                Root::Run | Root::RunId => {
                    let id = self.source.run_id().to_string();
                    names.push(("run", Value::from_pairs([("id", id)])));
                }
                Root::Step(step) | Root::Status(step) | Root::Output(step) => {
                    let output = dynamic || needs_output(references, step.index);
                    names.push(("steps", Value::UNDEFINED));
                    steps.push((step.id.as_str(), self.step(step, output)));
                }
            }
        }
        let steps = Value::from_pairs(steps);
        let root = names.into_iter().map(|(name, value)| {
            let value = if name == "steps" {
                steps.clone()
            } else {
                value
            };
            (name, value)
        });
        Value::from_pairs(root)
    }

    fn input(&self) -> Value {
        self.input
            .get_or_init(|| parse(self.source.input()))
            .clone()
    }

    /// `steps.X`, with its output when it is needed and there is one.
    fn step(&self, step: &StepName, output: bool) -> Value {
        let status = self.source.step_status(step.index).as_str();
        let output = output.then(|| self.output(step.index)).flatten();
        let output = output.map(|output| ("output", output));
        Value::from_pairs([("status", Value::from(status))].into_iter().chain(output))
    }

    fn output(&self, step: StepIndex) -> Option<Value> {
        let document = self.source.step_output(step)?;
        let mut outputs = self.outputs.borrow_mut();
        if let Some((_, known)) = outputs.iter().find(|(index, _)| *index == step) {
            return Some(known.clone());
        }
        let value = parse(document);
        outputs.push((step, value.clone()));
        Some(value)
    }
}

fn needs_output(references: &[Reference], step: StepIndex) -> bool {
    references.iter().any(|reference| {
        matches!(&reference.path.root, Root::Step(name) | Root::Output(name) if name.index == step)
    })
}

fn parse(document: &Json) -> Value {
    serde_json::from_str(document.as_str()).unwrap_or_else(|_| Value::from(document.as_str()))
}
