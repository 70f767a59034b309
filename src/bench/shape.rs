//! The plans that are measured. Every step calls `echo`, so that what is measured is Crane.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// Most steps of a plan.
const STEPS: usize = 10_000;

/// What the DAG of a plan looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many steps, each with the output of the one before as its input.
    Chain(usize),
    /// One step, two that take its output, one that takes both of theirs.
    Diamond,
    /// One step, so many that wait for it, one that waits for all of those.
    Fanout(usize),
    /// Of ten runs, six chains of 5, three diamonds and a fan of 20.
    Mixed,
}

/// A text that is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be chain:N, diamond, fanout:N or mixed, with N from 1 to {}",
    STEPS - 2
)]
pub struct ShapeError;

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let size = |number: &str| match number.parse() {
            Ok(size @ 1..=9_998) => Ok(size),
            _ => Err(ShapeError),
        };
        match text.split_once(':') {
            None if text == "diamond" => Ok(Self::Diamond),
            None if text == "mixed" => Ok(Self::Mixed),
            Some(("chain", number)) => size(number).map(Self::Chain),
            Some(("fanout", number)) => size(number).map(Self::Fanout),
            _ => Err(ShapeError),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(size) => write!(f, "chain:{size}"),
            Self::Diamond => f.write_str("diamond"),
            Self::Fanout(size) => write!(f, "fanout:{size}"),
            Self::Mixed => f.write_str("mixed"),
        }
    }
}

impl Shape {
    /// The plans to submit in turn, each with its number of steps.
    pub(super) fn plans(&self) -> Vec<(Value, usize)> {
        match self {
            Self::Chain(size) => vec![chain(*size)],
            Self::Diamond => vec![diamond()],
            Self::Fanout(size) => vec![fanout(*size)],
            Self::Mixed => {
                let mut plans = vec![chain(5); 6];
                plans.extend(vec![diamond(); 3]);
                plans.push(fanout(20));
                plans
            }
        }
    }
}

fn echo(id: &str, input: &Value, depends_on: &[String]) -> Value {
    json!({ "id": id, "tool": "echo", "input": input, "depends_on": depends_on })
}

fn plan(steps: &[Value]) -> (Value, usize) {
    let count = steps.len();
    (json!({ "steps": steps }), count)
}

fn chain(size: usize) -> (Value, usize) {
    let step = |number: usize| match number {
        1 => echo("s1", &json!({ "value": 41 }), &[]),
        _ => {
            let before = format!("${{steps.s{}.output.value}}", number - 1);
            echo(&format!("s{number}"), &json!({ "value": before }), &[])
        }
    };
    plan(&(1..=size).map(step).collect::<Vec<_>>())
}

fn diamond() -> (Value, usize) {
    let top = "${steps.top.output.value}";
    let both = json!({
        "left": "${steps.left.output.value}",
        "right": "${steps.right.output.value}",
    });
    plan(&[
        echo("top", &json!({ "value": 41 }), &[]),
        echo("left", &json!({ "value": top }), &[]),
        echo("right", &json!({ "value": top }), &[]),
        echo("bottom", &both, &[]),
    ])
}

fn fanout(size: usize) -> (Value, usize) {
    let names: Vec<String> = (1..=size).map(|number| format!("b{number}")).collect();
    let top = "${steps.top.output.value}";
    let mut steps = vec![echo("top", &json!({ "value": 41 }), &[])];
    let branch = |name: &String| echo(name, &json!({ "value": top }), &[]);
    steps.extend(names.iter().map(branch));
    steps.push(echo("join", &json!({ "value": 0 }), &names));
    plan(&steps)
}

#[cfg(test)]
mod tests {
    use crane_core::{Limits, Plan};

    use super::*;

    #[test]
    fn a_shape_reads_back_what_it_prints() {
        for text in ["chain:10", "diamond", "fanout:100", "mixed"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "chain",
            "chain:",
            "chain:0",
            "chain:9999",
            "diamond:3",
            "ring:3",
        ] {
            assert_eq!(text.parse::<Shape>(), Err(ShapeError), "{text}");
        }
    }

    #[test]
    fn every_shape_is_a_valid_plan_of_the_size_it_says() {
        let catalog = crate::node::catalog(crane_tools::ToolsConfig::default()).unwrap();
        for shape in [
            Shape::Chain(10),
            Shape::Diamond,
            Shape::Fanout(100),
            Shape::Mixed,
        ] {
            for (source, steps) in shape.plans() {
                let plan = Plan::check(&source, &catalog, &Limits::default()).unwrap();
                assert_eq!(plan.steps.len(), steps);
            }
        }
        assert_eq!(Shape::Fanout(9_998).plans()[0].1, 10_000);
    }
}
