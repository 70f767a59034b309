//! Settings from the environment, read in this one place.
//!
//! A variable `CRANE__SECTION__NAME` is a setting; both there are take `true` or `false`:
//!
//! | variable | `true` means (the default is `false`) |
//! |---|---|
//! | `CRANE__TOOLS__HTTP__ALLOW_PRIVATE` | the `http` tool may call private, loopback and other special addresses |
//! | `CRANE__STORE__ACCEPT_CORRUPTION` | a damaged place of the journal is passed over, with a log line, and what is behind it is dropped |
//!
//! A variable with the prefix that is no setting, or a value that does not fit, is refused at the
//! start with its name: a setting without effect would be found much later.

use crane_tools::ToolsConfig;

/// What every setting's name starts with.
const PREFIX: &str = "CRANE__";

/// The settings of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of the tools.
    pub tools: ToolsConfig,
    /// Whether the store goes on past a damaged place of its journal; an operator's decision.
    pub accept_corruption: bool,
}

/// A variable that is no setting, or holds no value for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such setting.
    #[error("the environment variable {0} is no setting of crane; unset it or mend its name")]
    Unknown(String),
    /// The setting takes other values.
    #[error("the environment variable {name} is {value:?}, it must be true or false")]
    NotBoolean {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Settings {
    /// The settings of this process.
    ///
    /// # Errors
    /// The first variable that is refused, by name.
    pub fn from_environment() -> Result<Self, Error> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::from_variables(variables)
    }

    fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut found: Vec<(String, String)> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        found.sort();
        let mut settings = Self::default();
        for (name, value) in found {
            match name.as_str() {
                "CRANE__TOOLS__HTTP__ALLOW_PRIVATE" => {
                    settings.tools.http.allow_private = boolean(name, value)?;
                }
                "CRANE__STORE__ACCEPT_CORRUPTION" => {
                    settings.accept_corruption = boolean(name, value)?;
                }
                _ => return Err(Error::Unknown(name)),
            }
        }
        Ok(settings)
    }
}

fn boolean(name: String, value: String) -> Result<bool, Error> {
    match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::NotBoolean { name, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, Error> {
        Settings::from_variables([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_setting_is_read_and_other_variables_are_none_of_ours() {
        let name = "CRANE__TOOLS__HTTP__ALLOW_PRIVATE";
        assert!(read(name, "true").unwrap().tools.http.allow_private);
        assert!(!read(name, "false").unwrap().tools.http.allow_private);
        assert_eq!(read("PATH", "/bin").unwrap(), Settings::default());
        assert_eq!(read("CRANE_LOG", "info").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_setting_or_value_is_refused_by_name() {
        let error = read("CRANE__TOOLS__HTTPS__ALLOW_PRIVATE", "true").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("CRANE__TOOLS__HTTPS__ALLOW_PRIVATE")
        );
        let error = read("CRANE__TOOLS__HTTP__ALLOW_PRIVATE", "yes").unwrap_err();
        assert!(error.to_string().contains("\"yes\""));
    }
}
