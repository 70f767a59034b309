//! Reading `crane.toml`: values with their lines, and what is wrong with its form.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{Finding, Origin};
use super::value::Value;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A table or a value of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Its full name, such as `api.listen`.
    pub(super) name: String,
    /// Where its key stands.
    pub(super) line: usize,
    /// The value; `None` for a table.
    pub(super) value: Option<Value>,
}

/// A configuration file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// As it was named.
    pub(super) path: Option<Arc<str>>,
    /// Tables and values, each table before what it holds.
    pub(super) entries: Vec<Entry>,
}

impl File {
    /// The file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<Finding>> {
        let file: Arc<str> = path.display().to_string().into();
        let refuse = |problem: String| {
            vec![Finding {
                origin: Origin::WholeFile(file.clone()),
                name: String::new(),
                problem,
            }]
        };
        let cannot = |error: std::io::Error| refuse(format!("cannot be read: {error}"));
        let size = std::fs::metadata(path).map_err(cannot)?.len();
        if size > LARGEST {
            return Err(refuse(format!(
                "is {size} bytes, a configuration has at most {LARGEST}"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(cannot)?;
        Self::parse(file, &text)
    }

    /// The file with this text.
    pub(super) fn parse(file: Arc<str>, text: &str) -> Result<Self, Vec<Finding>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let finding = |error: &toml::de::Error| Finding {
                origin: Origin::File {
                    file: file.clone(),
                    line: line_of(text, error.span().map_or(0, |span| span.start)),
                },
                name: String::new(),
                problem: error.message().replace('\n', " "),
            };
            return Err(errors.iter().map(finding).collect());
        }
        let mut entries = Vec::new();
        flatten("", table.get_ref(), text, &mut entries);
        Ok(Self {
            path: Some(file),
            entries,
        })
    }

    /// Where an entry stands.
    pub(super) fn origin(&self, entry: &Entry) -> Origin {
        Origin::File {
            file: self.path.clone().unwrap_or_default(),
            line: entry.line,
        }
    }
}

/// A single value, written as in a file.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    Some(value_of(value.get_ref()))
}

fn flatten(prefix: &str, table: &DeTable<'_>, text: &str, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        let entry = |value| Entry {
            name: name.clone(),
            line: line_of(text, key.span().start),
            value,
        };
        match value.get_ref() {
            DeValue::Table(inner) => {
                entries.push(entry(None));
                flatten(&name, inner, text, entries);
            }
            other => entries.push(entry(Some(value_of(other)))),
        }
    }
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("number of more than 64 bits"), Value::Integer),
        DeValue::Array(members) => Value::List(
            members
                .iter()
                .map(|member: &Spanned<DeValue<'_>>| value_of(member.get_ref()))
                .collect(),
        ),
        DeValue::Float(_) => Value::Other("number with a fraction"),
        DeValue::Datetime(_) => Value::Other("date"),
        DeValue::Table(_) => Value::Other("table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_the_line_of_their_key() {
        let text = "# a comment\n[api]\nlisten = \"a\"\n\n[tools.http]\nallow = [\n  \"x\",\n]\n";
        let file = File::parse("f".into(), text).unwrap();
        let lines: Vec<_> = file
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.line))
            .collect();
        assert!(lines.contains(&("api", 2)), "{lines:?}");
        assert!(lines.contains(&("api.listen", 3)), "{lines:?}");
        assert!(lines.contains(&("tools.http.allow", 6)), "{lines:?}");
    }

    #[test]
    fn every_mistake_of_form_is_reported_with_its_line() {
        let text = "[api]\nlisten = \nmax = 1\nmax = 2\n[api\n";
        let findings = File::parse("f".into(), text).unwrap_err();
        let lines: Vec<String> = findings.iter().map(|f| f.origin.to_string()).collect();
        assert!(lines.contains(&"f:2".to_owned()), "{findings:?}");
        assert!(lines.contains(&"f:4".to_owned()), "{findings:?}");
        assert!(lines.contains(&"f:5".to_owned()), "{findings:?}");
    }
}
