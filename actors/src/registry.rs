//! The tools of a node: their declarations, their compiled schemas and their gates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crane_core::tool::{ToolCatalog, ToolSpec};
use serde_json::Value;

use crate::gate::Gate;
use crate::tool::Tool;

/// Why a set of tools cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two tools have the same name.
    #[error("two tools are named {0:?}; names must be unique")]
    Duplicate(String),
    /// A tool's own schema is not a schema.
    #[error("the input schema of tool {tool:?} is not valid: {detail}")]
    Schema {
        /// The tool.
        tool: String,
        /// What is wrong.
        detail: String,
    },
}

/// All tools of a node, by name.
#[derive(Debug, Default)]
pub struct Registry {
    tools: BTreeMap<String, Arc<Gate>>,
}

impl Registry {
    /// Takes the tools in and compiles their schemas.
    ///
    /// # Errors
    /// A name that occurs twice, or a schema that is none.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self, Error> {
        let mut gates = BTreeMap::new();
        for tool in tools {
            let spec = tool.spec();
            let name = spec.name.as_str().to_owned();
            let schema = Schema::compile(&spec)?;
            if gates.contains_key(&name) {
                return Err(Error::Duplicate(name));
            }
            gates.insert(name, Arc::new(Gate::new(spec, schema, tool)));
        }
        Ok(Self { tools: gates })
    }

    /// The declarations, by name.
    pub fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.tools.values().map(|gate| gate.spec())
    }

    pub(crate) fn gate(&self, tool: &str) -> Option<&Arc<Gate>> {
        self.tools.get(tool)
    }

    pub(crate) fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.tools.values()
    }
}

impl ToolCatalog for Registry {
    fn spec(&self, tool: &str) -> Option<&ToolSpec> {
        self.tools.get(tool).map(|gate| gate.spec())
    }

    fn names(&self) -> Vec<&str> {
        self.tools.keys().map(String::as_str).collect()
    }

    fn check_input(&self, tool: &str, input: &Value) -> Vec<(String, String)> {
        self.tools
            .get(tool)
            .map(|gate| gate.schema().findings(input))
            .unwrap_or_default()
    }
}

/// A compiled JSON Schema.
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    fn compile(spec: &ToolSpec) -> Result<Self, Error> {
        jsonschema::draft202012::new(&spec.input_schema)
            .map(Self)
            .map_err(|error| Error::Schema {
                tool: spec.name.to_string(),
                detail: error.to_string(),
            })
    }

    /// Whether the input fits.
    pub(crate) fn accepts(&self, input: &Value) -> bool {
        self.0.is_valid(input)
    }

    /// Everything in which the input does not fit: a JSON pointer and a sentence.
    pub(crate) fn findings(&self, input: &Value) -> Vec<(String, String)> {
        self.0
            .iter_errors(input)
            .map(|error| (error.instance_path().to_string(), error.to_string()))
            .collect()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}
