//! Compiling the templates and conditions of one plan, and noting which steps they name.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::expression::Expression;
use super::names::StepIds;
use super::path::StepName;
use super::split::{Part as Piece, split};
use super::template::{Body, Condition, Part, Template, Test};
use super::write::Writer;
use crate::ids::StepIndex;
use crate::json::Json;
use crate::limits;
use crate::plan::findings::{Findings, Place};

/// Compiles the expressions of one plan; equal ones are compiled once.
pub(crate) struct Compiler<'a> {
    steps: &'a dyn StepIds,
    known: HashMap<Box<str>, Arc<Expression>>,
    expressions: usize,
}

/// What the expressions of one step (or of the plan's output) refer to.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// The step itself, which it cannot refer to.
    pub(crate) myself: Option<StepIndex>,
    /// Steps named as `steps.X`: they imply a dependency.
    pub(crate) implied: Vec<StepIndex>,
    /// Steps named as `steps['X']`, and where: they need a written dependency.
    pub(crate) computed: Vec<(StepName, String)>,
    /// Where the first reference is whose step is known only at run time.
    pub(crate) dynamic: Option<String>,
}

/// A template under construction.
struct Draft {
    parts: Vec<Part>,
    literal: Writer,
    /// An expression was refused; the template is not going to be used.
    broken: bool,
}

impl Draft {
    fn new() -> Self {
        Self {
            parts: Vec::new(),
            literal: Writer::unlimited(),
            broken: false,
        }
    }

    /// Adds literal JSON text.
    fn literal(&mut self, add: impl FnOnce(&mut Writer) -> Result<(), super::write::WriteError>) {
        self.broken |= add(&mut self.literal).is_err();
    }

    fn expression(&mut self, part: impl FnOnce(Arc<Expression>) -> Part, found: Found) {
        self.flush();
        match found {
            Some(expression) => self.parts.push(part(expression)),
            None => self.broken = true,
        }
    }

    fn flush(&mut self) {
        let text = std::mem::replace(&mut self.literal, Writer::unlimited()).into_text();
        if !text.is_empty() {
            self.parts.push(Part::Literal(text.into()));
        }
    }

    fn finish(mut self) -> Body {
        if self.broken {
            return Body::Literal(Json::null());
        }
        if self.parts.is_empty() {
            return Body::Literal(Json::from_trusted(self.literal.into_text()));
        }
        self.flush();
        Body::Parts(self.parts.into())
    }
}

/// A compiled expression, or none when it was refused.
type Found = Option<Arc<Expression>>;

impl<'a> Compiler<'a> {
    /// A compiler for the plan with these steps.
    pub(crate) fn new(steps: &'a dyn StepIds) -> Self {
        Self {
            steps,
            known: HashMap::new(),
            expressions: 0,
        }
    }

    /// Compiles the JSON value at `place`. When something is wrong with it, that is in `findings`
    /// and the template is of no use.
    pub(crate) fn template(
        &mut self,
        value: &Value,
        place: &Place<'_>,
        uses: &mut Uses,
        findings: &mut Findings,
    ) -> Template {
        let mut draft = Draft::new();
        self.value(value, 0, place, &mut draft, uses, findings);
        Template {
            body: draft.finish(),
            visible: Arc::default(),
        }
    }

    /// Compiles a condition: an expression, bare or as one `${...}`, or a boolean.
    pub(crate) fn condition(
        &mut self,
        value: &Value,
        place: &Place<'_>,
        uses: &mut Uses,
        findings: &mut Findings,
    ) -> Option<Condition> {
        let test = match value {
            Value::Bool(value) => Test::Always(*value),
            Value::String(text) => {
                let source = match split(text.trim()).as_deref() {
                    Ok([Piece::Expression(source)]) => source,
                    _ => text.as_str(),
                };
                Test::Expression(self.expression(source, place, uses, findings)?)
            }
            _ => {
                findings.add(
                    place,
                    "must be an expression that gives true or false, such as \"steps.a.output > 0\"",
                );
                return None;
            }
        };
        Some(Condition {
            test,
            visible: Arc::default(),
        })
    }

    fn value(
        &mut self,
        value: &Value,
        depth: usize,
        place: &Place<'_>,
        draft: &mut Draft,
        uses: &mut Uses,
        findings: &mut Findings,
    ) {
        match value {
            Value::String(text) => self.text(text, depth, place, draft, uses, findings),
            Value::Array(items) => {
                let mut separator = "[";
                for (index, item) in items.iter().enumerate() {
                    draft.literal(|text| text.raw(separator));
                    separator = ",";
                    let place = place.index(index);
                    self.value(item, depth + 1, &place, draft, uses, findings);
                }
                draft.literal(|text| text.raw(if items.is_empty() { "[]" } else { "]" }));
            }
            Value::Object(members) => {
                let mut separator = "{";
                for (key, item) in members {
                    let place = place.key(key);
                    draft.literal(|text| text.raw(separator));
                    draft.literal(|text| text.string(&literal_key(key, &place, findings)));
                    draft.literal(|text| text.raw(":"));
                    separator = ",";
                    self.value(item, depth + 1, &place, draft, uses, findings);
                }
                draft.literal(|text| text.raw(if members.is_empty() { "{}" } else { "}" }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                draft.literal(|text| text.raw(&value.to_string()));
            }
        }
    }

    fn text(
        &mut self,
        text: &str,
        depth: usize,
        place: &Place<'_>,
        draft: &mut Draft,
        uses: &mut Uses,
        findings: &mut Findings,
    ) {
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(problem) => {
                findings.add(place, problem);
                draft.broken = true;
                return;
            }
        };
        if let [Piece::Expression(source)] = *pieces {
            let found = self.expression(source, place, uses, findings);
            draft.expression(|expression| Part::Value(expression, depth), found);
            return;
        }
        draft.literal(|text| text.raw("\""));
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => draft.literal(|text| text.escaped(literal)),
                Piece::Expression(source) => {
                    let found = self.expression(source, place, uses, findings);
                    draft.expression(Part::Text, found);
                }
            }
        }
        draft.literal(|text| text.raw("\""));
    }

    fn expression(
        &mut self,
        source: &str,
        place: &Place<'_>,
        uses: &mut Uses,
        findings: &mut Findings,
    ) -> Found {
        self.expressions += 1;
        if self.expressions > limits::PLAN_EXPRESSIONS || findings.is_full() {
            if self.expressions == limits::PLAN_EXPRESSIONS + 1 {
                findings.add(
                    place,
                    format!(
                        "more than {} expressions in one plan: split it",
                        limits::PLAN_EXPRESSIONS
                    ),
                );
            }
            return None;
        }
        if let Some(known) = self.known.get(source) {
            let known = Arc::clone(known);
            note(&known, place, uses, findings);
            return Some(known);
        }
        match Expression::compile(source, self.steps) {
            Ok(expression) => {
                let expression = Arc::new(expression);
                self.known.insert(source.into(), Arc::clone(&expression));
                note(&expression, place, uses, findings);
                Some(expression)
            }
            Err(problems) => {
                for problem in problems {
                    findings.add(place, problem);
                }
                None
            }
        }
    }
}

/// The key of an object as it comes out. Keys hold no templates: which keys an input has is part of
/// its shape, and that is checked before anything runs.
fn literal_key(key: &str, place: &Place<'_>, findings: &mut Findings) -> String {
    match split(key) {
        Ok(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => *text,
                Piece::Expression(_) => {
                    findings.add(
                        place,
                        "a key cannot hold \"${...}\": only values can (\"$${\" writes the text itself)",
                    );
                    ""
                }
            })
            .collect(),
        Err(problem) => {
            findings.add(place, problem);
            String::new()
        }
    }
}

/// Notes what an expression refers to.
fn note(expression: &Expression, place: &Place<'_>, uses: &mut Uses, findings: &mut Findings) {
    if expression.is_dynamic() {
        uses.dynamic.get_or_insert_with(|| place.to_string());
    }
    for reference in expression.references() {
        let Some(step) = reference.path.root.step() else {
            continue;
        };
        if uses.myself == Some(step.index) {
            findings.add(
                place,
                format!(
                    "step \"{}\" refers to itself: refer to a step that comes before it",
                    step.id
                ),
            );
        } else if reference.computed {
            uses.computed.push((step.clone(), place.to_string()));
        } else {
            uses.implied.push(step.index);
        }
    }
}

impl Template {
    /// Gives computed references the steps that they may reach.
    pub(crate) fn see(&mut self, visible: &Arc<[StepName]>) {
        if let Body::Parts(parts) = &self.body
            && parts.iter().any(|part| match part {
                Part::Literal(_) => false,
                Part::Value(expression, _) | Part::Text(expression) => expression.is_dynamic(),
            })
        {
            self.visible = Arc::clone(visible);
        }
    }
}

impl Condition {
    /// Gives computed references the steps that they may reach.
    pub(crate) fn see(&mut self, visible: &Arc<[StepName]>) {
        if let Test::Expression(expression) = &self.test
            && expression.is_dynamic()
        {
            self.visible = Arc::clone(visible);
        }
    }
}
