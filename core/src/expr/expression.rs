//! One expression: checked and compiled once, evaluated for every run.

use std::fmt;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::engine::ENGINE;
use super::error::ExprError;
use super::guard::rewrite;
use super::names::{FUNCTIONS, Reference, StepIds, names};
use super::path::{Path, Root, StepName};
use super::scope::{Piece, Scope};
use super::write::{WriteError, Writer};
use crate::json::Json;
use crate::limits;

/// A compiled expression.
pub(crate) struct Expression {
    source: Box<str>,
    references: Box<[Reference]>,
    dynamic: bool,
    /// `None` when the expression is nothing but the path of its one reference.
    program: Option<minijinja::Expression<'static, 'static>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl Expression {
    /// Checks and compiles `source`; the error lists everything that is wrong with it.
    pub(crate) fn compile(source: &str, steps: &dyn StepIds) -> Result<Self, Vec<String>> {
        // Before the parser sees it: a long flat chain would overflow the parser's stack.
        if source.len() > limits::EXPRESSION_BYTES {
            return Err(vec![too_long()]);
        }
        let source = source.trim();
        if source.is_empty() {
            return Err(vec!["the expression is empty".to_owned()]);
        }
        let names = names(source, steps);
        let plain = names.plain
            && names
                .references
                .iter()
                .all(|reference| match reference.path.root {
                    Root::Input | Root::Output(_) => true,
                    Root::RunId | Root::Status(_) => reference.path.segments.is_empty(),
                    Root::Run | Root::Step(_) => false,
                });
        let program = if plain {
            None
        } else {
            let program = compile(source)
                .and_then(|program| is_read_whole(source).map(|()| program))
                .map_err(|error| vec![syntax(source, &error)])?;
            if !names.problems.is_empty() {
                return Err(names.problems);
            }
            // The engine's own list of names: should the words ever be read otherwise than the
            // engine reads them, the expression is refused instead of racing.
            let mut unlisted = program.undeclared_variables(false);
            unlisted.retain(|name| {
                !names.free.contains(&name.as_str()) && !FUNCTIONS.contains(&name.as_str())
            });
            if let Some(name) = unlisted.iter().min() {
                return Err(vec![format!("unknown name \"{name}\"")]);
            }
            let guarded = rewrite(source);
            if guarded == source {
                Some(program)
            } else {
                Some(compile(&guarded).map_err(|error| vec![syntax(source, &error)])?)
            }
        };
        Ok(Self {
            source: source.into(),
            references: names.references.into(),
            dynamic: names.dynamic,
            program,
        })
    }

    /// The expression as written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// What it refers to, as far as that is static.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Whether it refers to steps that are known only when it runs.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// The path that the expression is, when it is nothing else.
    fn plain(&self) -> Option<&Path> {
        match (&self.program, &*self.references) {
            (None, [reference]) => Some(&reference.path),
            _ => None,
        }
    }

    /// The document that the expression is, when it is all of one.
    pub(super) fn document<'a>(&self, scope: &Scope<'a>) -> Option<&'a Json> {
        let path = self.plain().filter(|path| path.segments.is_empty())?;
        scope.document(&path.root)
    }

    /// Writes the value, `depth` levels deep in the result.
    pub(super) fn write(
        &self,
        scope: &Scope<'_>,
        visible: &[StepName],
        writer: &mut Writer,
        depth: usize,
    ) -> Result<(), ExprError> {
        let Some(path) = self.plain() else {
            let value = self.eval(scope, visible)?;
            return writer
                .value(&value, depth)
                .map_err(|error| self.unwritable(scope, error));
        };
        let written = match self.find(scope, path)? {
            Piece::Json(text) => writer.document(text, depth),
            Piece::Plain(text) => writer.string(text),
            Piece::Character(character) => writer.string(character.encode_utf8(&mut [0; 4])),
            Piece::Id(id) => writer.string(&id.to_string()),
        };
        written.map_err(|error| self.unwritable(scope, error))
    }

    /// Writes the value into a JSON string: text as it is, anything else as its JSON.
    pub(super) fn write_text(
        &self,
        scope: &Scope<'_>,
        visible: &[StepName],
        writer: &mut Writer,
    ) -> Result<(), ExprError> {
        let written = match self.plain() {
            Some(path) => match self.find(scope, path)? {
                Piece::Json(text) => write_json_text(text, writer),
                Piece::Plain(text) => writer.escaped(text),
                Piece::Character(character) => writer.escaped(character.encode_utf8(&mut [0; 4])),
                Piece::Id(id) => writer.escaped(&id.to_string()),
            },
            None => {
                let value = self.eval(scope, visible)?;
                match value.as_str() {
                    Some(text) => writer.escaped(text),
                    None => {
                        let mut inner = Writer::default();
                        inner
                            .value(&value, 0)
                            .and_then(|()| writer.escaped(&inner.into_text()))
                    }
                }
            }
        };
        written.map_err(|error| self.unwritable(scope, error))
    }

    /// The value as a boolean; anything else is an error.
    pub(super) fn test(&self, scope: &Scope<'_>, visible: &[StepName]) -> Result<bool, ExprError> {
        let not_boolean = |got: &str| ExprError::NotBoolean {
            expression: self.source.clone(),
            got: got.into(),
        };
        if let Some(path) = self.plain() {
            return match self.find(scope, path)? {
                Piece::Json("true") => Ok(true),
                Piece::Json("false") => Ok(false),
                Piece::Json(text) => Err(not_boolean(kind_of(text))),
                Piece::Plain(_) | Piece::Character(_) | Piece::Id(_) => Err(not_boolean("a text")),
            };
        }
        let value = self.eval(scope, visible)?;
        match value.kind() {
            ValueKind::Bool => Ok(value.is_true()),
            ValueKind::Undefined => Err(self.unwritable(scope, WriteError::Undefined)),
            ValueKind::None => Err(not_boolean("null")),
            ValueKind::Number => Err(not_boolean("a number")),
            ValueKind::String => Err(not_boolean("a text")),
            ValueKind::Seq | ValueKind::Iterable => Err(not_boolean("an array")),
            ValueKind::Map => Err(not_boolean("an object")),
            _ => Err(not_boolean("something else")),
        }
    }

    fn find<'a>(&self, scope: &Scope<'a>, path: &Path) -> Result<Piece<'a>, ExprError> {
        scope.find(path).map_err(|what| self.undefined(Some(what)))
    }

    /// Runs the engine.
    fn eval(&self, scope: &Scope<'_>, visible: &[StepName]) -> Result<Value, ExprError> {
        let Some(program) = &self.program else {
            return Err(self.undefined(None));
        };
        let context = scope.context(&self.references, self.dynamic, visible);
        program.eval(context).map_err(|error| match error.kind() {
            ErrorKind::UndefinedError => self.undefined(self.missing(scope)),
            ErrorKind::OutOfFuel => ExprError::TooCostly {
                expression: self.source.clone(),
            },
            _ => self.failed(plain_words(&error)),
        })
    }

    fn undefined(&self, what: Option<String>) -> ExprError {
        ExprError::Undefined {
            expression: self.source.clone(),
            what: what.unwrap_or_else(|| "a value".to_owned()).into(),
        }
    }

    fn failed(&self, message: String) -> ExprError {
        ExprError::Failed {
            expression: self.source.clone(),
            message: message.into(),
        }
    }

    /// The references that lead to nothing, in words.
    fn missing(&self, scope: &Scope<'_>) -> Option<String> {
        let mut missing: Vec<String> = self
            .references
            .iter()
            .filter_map(|reference| scope.find(&reference.path).err())
            .collect();
        missing.dedup();
        (!missing.is_empty()).then(|| missing.join(" or "))
    }

    fn unwritable(&self, scope: &Scope<'_>, error: WriteError) -> ExprError {
        let expression = self.source.clone();
        match error {
            WriteError::TooLarge => ExprError::TooLarge { expression },
            WriteError::TooDeep => ExprError::TooDeep { expression },
            WriteError::Undefined => self.undefined(self.missing(scope)),
            WriteError::Invalid(message) => self.failed(message),
        }
    }
}

fn compile(source: &str) -> Result<minijinja::Expression<'static, 'static>, Error> {
    ENGINE.compile_expression_owned(source.to_owned())
}

/// Whether the engine has read all of an expression that it compiles. Where its lexer fails right
/// behind a text (`'a' ?`, `'''`), its parser forgets that and takes the expression to end there;
/// inside brackets it then misses the closing one.
fn is_read_whole(source: &str) -> Result<(), Error> {
    if !source.contains(['\'', '"']) {
        return Ok(());
    }
    compile(&format!("({source})")).map(drop)
}

/// Writes a document into a JSON string: the inside of a text, else the JSON in its usual form.
fn write_json_text(text: &str, writer: &mut Writer) -> Result<(), WriteError> {
    let inside = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inside {
        Some(inside) => writer.raw(inside),
        None if text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) =>
        {
            writer.raw(text)
        }
        None => {
            let value: serde_json::Value = serde_json::from_str(text)
                .map_err(|error| WriteError::Invalid(error.to_string()))?;
            writer.escaped(&value.to_string())
        }
    }
}

/// What kind of value a JSON text is, with an article.
fn kind_of(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// What is said of an expression past its limit.
pub(super) fn too_long() -> String {
    format!(
        "the expression is longer than {} bytes: split it over several steps",
        limits::EXPRESSION_BYTES
    )
}

/// The engine's error without its place and prefix.
fn plain_words(error: &Error) -> String {
    error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn syntax(source: &str, error: &Error) -> String {
    format!("`{source}` is not an expression: {}", plain_words(error))
}
