//! Where a setting was given, and what is wrong with one.

use std::fmt;
use std::sync::Arc;

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
    /// The configuration file as a whole.
    WholeFile(Arc<str>),
    /// An environment variable, by name.
    Environment(String),
    /// A flag of the command line, as it is typed.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::WholeFile(file) => f.write_str(file),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Something that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub origin: Origin,
    /// The setting or section, such as `api.listen`; empty when the file as a whole is meant.
    pub name: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            name,
            problem,
        } = self;
        match (origin, name.as_str()) {
            // Nobody wrote it down: there is no place to point at.
            (Origin::Default, name) => write!(f, "{name} {problem}"),
            (origin, "") => write!(f, "{origin}: {problem}"),
            (origin, name) => write!(f, "{origin}: {name} {problem}"),
        }
    }
}

/// A configuration that is refused, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub Vec<Finding>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}
