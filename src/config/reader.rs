//! Asking the layers for settings, one at a time.
//!
//! Each setting is asked for once, with its name, default and range, in `sections`. From that one
//! line follow its value, its origin, how it is shown, and that it is known: what was given and
//! never asked for is no setting.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::file::{Entry, File};
use super::nearest::nearest;
use super::origin::{Finding, Origin};
use super::value::{Value, duration_text, size_text};

/// What the name of every environment variable for a setting starts with.
pub(super) const PREFIX: &str = "CRANE__";

/// What was given, by layer; a later one wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    pub(super) file: File,
    /// Variables with [`PREFIX`], by name.
    pub(super) environment: BTreeMap<String, String>,
    /// By setting: another variable that means it, and its value.
    pub(super) other: BTreeMap<&'static str, (String, Value)>,
    /// By setting: the flag and its value.
    pub(super) flags: BTreeMap<&'static str, (Origin, String)>,
}

/// A setting as it is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Section and key, such as `api.listen`.
    pub name: String,
    /// Its value as text, number, boolean or list; null when it is not set; masked when secret.
    pub value: Json,
    /// Where that comes from.
    pub origin: Origin,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    layers: Layers,
    settings: Vec<Setting>,
    /// Settings whose value is the default, whoever has set it.
    at_default: BTreeSet<String>,
    findings: Vec<Finding>,
}

/// The settings below one name.
#[derive(Debug)]
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            settings: Vec::new(),
            at_default: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { reader: self, name }
    }

    /// Where a setting that was asked for comes from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        let setting = self.settings.iter().find(|setting| setting.name == name);
        setting.map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Whether somebody has set it.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.origin(name) != Origin::Default
    }

    /// Whether somebody has set it to something else than the default.
    pub(super) fn is_changed(&self, name: &str) -> bool {
        self.is_set(name) && !self.at_default.contains(name)
    }

    /// Whether it was set by this variable of the environment.
    pub(super) fn is_from(&self, name: &str, variable: &str) -> bool {
        matches!(self.origin(name), Origin::Environment(from) if from == variable)
    }

    /// The default of a setting, where it follows from others.
    pub(super) fn by_default(&mut self, name: &str, value: &str) {
        let setting = self
            .settings
            .iter_mut()
            .find(|setting| setting.name == name);
        if let Some(setting) = setting {
            setting.value = Json::from(value);
        }
    }

    /// Something is wrong with a setting beside its own form.
    pub(super) fn complain(&mut self, name: &str, problem: impl Into<String>) {
        let finding = Finding {
            origin: self.origin(name),
            name: name.to_owned(),
            problem: problem.into(),
        };
        self.findings.push(finding);
    }

    /// The settings in the order in which they were asked for, or all that is wrong.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, Vec<Finding>> {
        self.refuse_unknown();
        if self.findings.is_empty() {
            return Ok(self.settings);
        }
        self.findings.sort_by_key(|finding| match &finding.origin {
            Origin::WholeFile(_) => (0, 0),
            Origin::File { line, .. } => (0, *line),
            Origin::Environment(_) => (1, 0),
            Origin::Flag(_) => (2, 0),
            Origin::Default => (3, 0),
        });
        Err(self.findings)
    }

    /// Of the layers, the last that has a value.
    fn given(&self, name: &str) -> Option<(Value, Origin)> {
        if let Some((origin, text)) = self.layers.flags.get(name) {
            return Some((Value::Words(text.clone()), origin.clone()));
        }
        let variable = variable(name);
        if let Some(text) = self.layers.environment.get(&variable) {
            return Some((Value::Words(text.clone()), Origin::Environment(variable)));
        }
        if let Some((variable, value)) = self.layers.other.get(name) {
            return Some((value.clone(), Origin::Environment(variable.clone())));
        }
        let file = &self.layers.file;
        let entry = file.entries.iter().find(|entry| entry.name == name)?;
        let value = entry.value.clone().unwrap_or(Value::Other("table"));
        Some((value, file.origin(entry)))
    }

    fn refuse_unknown(&mut self) {
        let file = std::mem::take(&mut self.layers.file);
        let mut unknown_tables: Vec<&str> = Vec::new();
        for entry in &file.entries {
            let below = |table: &&str| is_below(&entry.name, table);
            if unknown_tables.iter().any(below) || self.is_known(&entry.name) {
                continue;
            }
            let problem = match &entry.value {
                None if self.is_section(&entry.name) => continue,
                None => {
                    unknown_tables.push(&entry.name);
                    self.no_section(entry)
                }
                Some(_) if self.is_section(&entry.name) => {
                    format!("is a section, write it as [{}]", entry.name)
                }
                Some(_) => self.no_setting(&entry.name),
            };
            self.findings.push(Finding {
                origin: file.origin(entry),
                name: entry.name.clone(),
                problem,
            });
        }
        for variable in std::mem::take(&mut self.layers.environment).into_keys() {
            let name = setting(&variable);
            if !self.is_known(&name) || variable != self::variable(&name) {
                let problem = self.no_setting(&name);
                self.findings.push(Finding {
                    origin: Origin::Environment(variable),
                    name,
                    problem,
                });
            }
        }
    }

    /// A setting, or what stands inside the value of one.
    fn is_known(&self, name: &str) -> bool {
        let mut settings = self.settings.iter();
        settings.any(|setting| setting.name == name || is_below(name, &setting.name))
    }

    fn is_section(&self, name: &str) -> bool {
        let mut settings = self.settings.iter();
        settings.any(|setting| is_below(&setting.name, name))
    }

    fn no_setting(&self, name: &str) -> String {
        let names = self.settings.iter().map(|setting| setting.name.as_str());
        match nearest(name, names) {
            Some(meant) => format!("is no setting of crane; did you mean {meant}?"),
            None => "is no setting of crane; `crane config show` lists them".to_owned(),
        }
    }

    fn no_section(&self, entry: &Entry) -> String {
        let mut sections: Vec<&str> = self
            .settings
            .iter()
            .filter_map(|setting| Some(setting.name.rsplit_once('.')?.0))
            .collect();
        sections.dedup();
        match nearest(&entry.name, sections.iter().copied()) {
            Some(meant) => format!("is no section; did you mean [{meant}]?"),
            None => format!("is no section; there are {}", sections.join(", ")),
        }
    }
}

impl Section<'_> {
    /// Reads one setting: what was given, or the default.
    fn read<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        show: impl Fn(&T) -> Json,
    ) -> T {
        let name = format!("{}.{key}", self.name);
        let unchanged = show(&default);
        let (value, origin) = match self.reader.given(&name) {
            None => (default, Origin::Default),
            Some((given, origin)) => match parse(&given) {
                Ok(value) => (value, origin),
                Err(problem) => {
                    self.reader.findings.push(Finding {
                        origin: origin.clone(),
                        name: name.clone(),
                        problem,
                    });
                    (default, origin)
                }
            },
        };
        let shown = show(&value);
        if shown == unchanged {
            self.reader.at_default.insert(name.clone());
        }
        self.reader.settings.push(Setting {
            name,
            value: shown,
            origin,
        });
        value
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        self.read(key, default, Value::boolean, |value| Json::from(*value))
    }

    pub(super) fn count<T>(&mut self, key: &str, default: T, range: RangeInclusive<u64>) -> T
    where
        T: Copy + TryInto<u64> + TryFrom<u64>,
    {
        let widened = default.try_into().unwrap_or(u64::MAX);
        let value = self.read(
            key,
            widened,
            |value| value.count(&range),
            |value| Json::from(*value),
        );
        // The ranges fit the types.
        value.try_into().unwrap_or(default)
    }

    pub(super) fn size<T>(&mut self, key: &str, default: T, range: RangeInclusive<u64>) -> T
    where
        T: Copy + TryInto<u64> + TryFrom<u64>,
    {
        let widened = default.try_into().unwrap_or(u64::MAX);
        let value = self.read(
            key,
            widened,
            |value| value.size(&range),
            |value| Json::from(size_text(*value)),
        );
        value.try_into().unwrap_or(default)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(
            key,
            default,
            |value| value.duration(&range),
            |value| Json::from(duration_text(*value)),
        )
    }

    /// A text that is read by `parse` and shown as it is written again.
    pub(super) fn text<T: ToString>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.read(
            key,
            default,
            |value| value.text().and_then(parse),
            |value| Json::from(value.to_string()),
        )
    }

    /// A text that may be left out, read by `parse` and shown by `show`.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        self.read(
            key,
            None,
            |value| value.text().and_then(parse).map(Some),
            |value| Json::from(value.as_ref().map(&show)),
        )
    }

    pub(super) fn path(&mut self, key: &str, default: PathBuf) -> PathBuf {
        self.read(
            key,
            default,
            |value| value.text().and_then(path),
            |value| Json::from(value.display().to_string()),
        )
    }

    pub(super) fn optional_path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key, path, |path| path.display().to_string())
    }

    /// A list whose members are read by `parse` and shown by `show`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Vec<T> {
        self.read(
            key,
            Vec::new(),
            |value| value.list()?.iter().map(|member| parse(member)).collect(),
            |value| Json::from(value.iter().map(&show).collect::<Vec<String>>()),
        )
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("is empty, it must name a file or directory".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

fn is_below(name: &str, section: &str) -> bool {
    name.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The environment variable of a setting.
fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_ascii_uppercase())
}

/// The setting that an environment variable would set.
fn setting(variable: &str) -> String {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    name.replace("__", ".").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_go_both_ways() {
        assert_eq!(variable("tools.http.allow"), "CRANE__TOOLS__HTTP__ALLOW");
        assert_eq!(
            setting("CRANE__API__MAX_CONNECTIONS"),
            "api.max_connections"
        );
    }
}
