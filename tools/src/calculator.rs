//! The `calculator` tool: arithmetic, parsed and never run as code.
//!
//! A Pratt parser computes while it reads, so nothing is allocated. Binding, weakest first:
//!
//! ```text
//!   + -      left to right
//!   * /      left to right
//!   - +      signs in front:  -2 ** 2 = -(2 ** 2)
//!   **       right to left:   2 ** 3 ** 2 = 2 ** 9, and 2 ** -1 = 0.5
//!   ( )      numbers: 7  1.5  .5  1e3
//! ```
//!
//! A mistake in the text is reported before one in the arithmetic: `1 / 0 +` is a syntax error.

use crane_actors::tool::{CallContext, Tool};
use crane_core::limits::{CALCULATOR_CHARS, CALCULATOR_DEPTH};
use crane_core::tool::{ToolError, ToolSpec};
use futures_util::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Value, json};

/// The name plans use.
pub const NAME: &str = "calculator";

/// The `calculator` tool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calculator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    expression: String,
}

impl Tool for Calculator {
    fn spec(&self) -> ToolSpec {
        ToolSpec::pure(
            NAME,
            "Computes an arithmetic expression of numbers, + - * / ** and parentheses.",
            json!({
                "type": "object",
                "properties": {
                    "expression": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": CALCULATOR_CHARS,
                        "description": "The expression, such as (10 + 5) * 2. ** is the power, \
                                        binds tightest and from the right."
                    }
                },
                "required": ["expression"],
                "additionalProperties": false
            }),
        )
    }

    fn call(
        &self,
        input: Value,
        _context: CallContext,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        async move { call(input) }.boxed()
    }
}

fn call(input: Value) -> Result<Value, ToolError> {
    let Input { expression } = crate::input::read(input)?;
    let number = evaluate(&expression).map_err(|e| ToolError::invalid_input(e.to_string()))?;
    Ok(Value::from(number))
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalculatorError {
    /// There is nothing to compute.
    #[error("the expression is empty")]
    Empty,
    /// The expression passes [`CALCULATOR_CHARS`].
    #[error("the expression is longer than {CALCULATOR_CHARS} characters")]
    TooLong,
    /// The text is not an expression.
    #[error("syntax error at position {position}: {message}")]
    Syntax {
        /// Where, in characters from 1.
        position: usize,
        /// What was found, and what belongs there.
        message: String,
    },
    /// A word that is not a number.
    #[error("unknown name '{0}'; use numbers, + - * / ** and parentheses")]
    UnknownName(String),
    /// A division by zero, or zero to a negative power.
    #[error("division by zero")]
    DivisionByZero,
    /// A number, or what is computed from numbers, passes what a float holds or is not real.
    #[error("the result is not a finite number")]
    NotFinite,
}

/// The value of `expression`; never infinite, never NaN, never minus zero.
///
/// # Errors
/// [`CalculatorError`] says what is wrong and where.
///
/// ```
/// assert_eq!(crane_tools::calculator::evaluate("(10 + 5) * 2"), Ok(30.0));
/// ```
pub fn evaluate(expression: &str) -> Result<f64, CalculatorError> {
    if expression.chars().nth(CALCULATOR_CHARS).is_some() {
        return Err(CalculatorError::TooLong);
    }
    if expression.trim().is_empty() {
        return Err(CalculatorError::Empty);
    }
    let mut parser = Parser {
        text: expression,
        at: 0,
        depth: 0,
        fault: None,
    };
    let value = parser.expression(0)?;
    if let Some(found) = parser.peek() {
        return Err(match found {
            ')' => parser.syntax("')' without '('"),
            _ => parser.unexpected("an operator"),
        });
    }
    match parser.fault {
        Some(fault) => Err(fault),
        // Turns -0.0 into 0.0.
        None => Ok(value + 0.0),
    }
}

/// How tightly an operator holds its left and its right side.
#[derive(Clone, Copy)]
struct Binding {
    left: u8,
    right: u8,
}

/// How tightly a sign holds what follows: tighter than `*`, looser than `**`.
const SIGN: u8 = 5;

#[derive(Clone, Copy)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

impl Operator {
    /// The operator at the start of `text`.
    fn read(text: &str) -> Option<Self> {
        if text.starts_with("**") {
            return Some(Self::Power);
        }
        match text.as_bytes().first()? {
            b'+' => Some(Self::Add),
            b'-' => Some(Self::Subtract),
            b'*' => Some(Self::Multiply),
            b'/' => Some(Self::Divide),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Power => 2,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide => 1,
        }
    }

    fn binding(self) -> Binding {
        let (left, right) = match self {
            Self::Add | Self::Subtract => (1, 2),
            Self::Multiply | Self::Divide => (3, 4),
            Self::Power => (8, 7),
        };
        Binding { left, right }
    }

    fn apply(self, left: f64, right: f64) -> Result<f64, CalculatorError> {
        let divides = match self {
            Self::Divide => right == 0.0,
            Self::Power => left == 0.0 && right < 0.0,
            Self::Add | Self::Subtract | Self::Multiply => false,
        };
        if divides {
            return Err(CalculatorError::DivisionByZero);
        }
        finite(match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Power => left.powf(right),
        })
    }
}

fn finite(value: f64) -> Result<f64, CalculatorError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(CalculatorError::NotFinite)
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes read.
    at: usize,
    depth: usize,
    /// The first mistake in the arithmetic; reported when the text turns out to be well formed.
    fault: Option<CalculatorError>,
}

impl Parser<'_> {
    /// Reads operators that hold their left side at least as tightly as `minimum`.
    fn expression(&mut self, minimum: u8) -> Result<f64, CalculatorError> {
        self.depth += 1;
        if self.depth > CALCULATOR_DEPTH {
            return Err(self.syntax(format!("more than {CALCULATOR_DEPTH} levels of nesting")));
        }
        let mut value = self.operand()?;
        while self.peek().is_some()
            && let Some(operator) = Operator::read(self.rest())
        {
            let Binding { left, right } = operator.binding();
            if left < minimum {
                break;
            }
            self.at += operator.bytes();
            let right = self.expression(right)?;
            let result = operator.apply(value, right);
            value = self.keep(result);
        }
        self.depth -= 1;
        Ok(value)
    }

    fn operand(&mut self) -> Result<f64, CalculatorError> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let value = self.expression(0)?;
                if self.peek() != Some(')') {
                    return Err(self.unexpected("an operator or ')'"));
                }
                self.at += 1;
                Ok(value)
            }
            Some('-') => {
                self.at += 1;
                Ok(-self.expression(SIGN)?)
            }
            Some('+') => {
                self.at += 1;
                self.expression(SIGN)
            }
            Some('0'..='9' | '.') => self.number(),
            _ => Err(self.unexpected("a number or '('")),
        }
    }

    fn number(&mut self) -> Result<f64, CalculatorError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let mut end = digits(0);
        let mut count = end;
        if bytes.get(end) == Some(&b'.') {
            let decimals = digits(end + 1);
            count += decimals;
            end += 1 + decimals;
        }
        if count == 0 {
            return Err(self.syntax("'.' without digits"));
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits((end + 1 + sign).min(bytes.len()));
            if exponent > 0 {
                end += 1 + sign + exponent;
            }
        }
        let Ok(value) = rest[..end].parse::<f64>() else {
            return Err(self.syntax(format!("'{}' is not a number", &rest[..end])));
        };
        self.at += end;
        Ok(self.keep(finite(value)))
    }

    /// The value, or a stand-in for it after a mistake that is remembered.
    fn keep(&mut self, result: Result<f64, CalculatorError>) -> f64 {
        result.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            1.0
        })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        let next = trimmed.chars().next();
        self.at += rest.len() - trimmed.len();
        next
    }

    fn unexpected(&mut self, wanted: &str) -> CalculatorError {
        let Some(found) = self.peek() else {
            return self.syntax(format!("expected {wanted}, but the expression ends"));
        };
        if found.is_alphabetic() || found == '_' {
            let name = |c: &char| c.is_alphanumeric() || *c == '_';
            return CalculatorError::UnknownName(self.rest().chars().take_while(name).collect());
        }
        self.syntax(format!("expected {wanted}, found '{found}'"))
    }

    fn syntax(&self, message: impl Into<String>) -> CalculatorError {
        CalculatorError::Syntax {
            position: self.text[..self.at].chars().count() + 1,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests;
