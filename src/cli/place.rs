//! Which data and which configuration a command works with.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use crate::config::{Config, Loaded, Origin, Purpose, Sources};

/// The configuration file.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ConfigFile {
    /// Configuration file [default: ./crane.toml if it is there]
    #[arg(long = "config", value_name = "FILE", env = CONFIG_VARIABLE)]
    file: Option<PathBuf>,
}

/// The variable that is as good as `--config`.
const CONFIG_VARIABLE: &str = "CRANE_CONFIG";

impl ConfigFile {
    /// Whether it was named on the command line.
    pub(super) fn is_typed(&self) -> bool {
        let variable = std::env::var_os(CONFIG_VARIABLE);
        self.file.is_some() && self.file != variable.map(PathBuf::from)
    }

    /// The configuration for work on data that nobody else reaches.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let sources = Sources {
            file: self.file.clone(),
            ..Sources::default()
        };
        Ok(Config::load(sources)?.config)
    }
}

/// Where the runs are.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Data {
    /// Directory that holds the runs [default: ./crane-data]
    #[arg(long = "data", value_name = "DIR")]
    directory: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigFile,
}

impl Data {
    /// A directory that a command has chosen by itself.
    pub(super) fn at(path: PathBuf, config: ConfigFile) -> Self {
        let directory = Some(path);
        Self { directory, config }
    }

    /// Whether a directory, or the configuration that names one, was typed.
    pub(super) fn is_given(&self) -> bool {
        self.directory.is_some() || self.config.is_typed()
    }

    /// The configuration that holds there, with the directory as its `node.data`.
    pub(super) fn find(&self) -> Result<Config, Failure> {
        Ok(self.load(Vec::new(), Purpose::Work)?.config)
    }

    fn load(
        &self,
        mut flags: Vec<(&'static str, Origin, String)>,
        purpose: Purpose,
    ) -> Result<Loaded, Failure> {
        if let Some(path) = &self.directory {
            let text = path.display().to_string();
            flags.push(("node.data", Origin::Flag("--data"), text));
        }
        let mut loaded = Config::load(Sources {
            file: self.config.file.clone(),
            flags,
            purpose,
        })?;
        if let Some(path) = &self.directory {
            // A directory need not have a name in UTF-8, as settings have.
            loaded.config.node.data.clone_from(path);
        }
        Ok(loaded)
    }

    /// The options as they have to be repeated in a command that goes on with the same data.
    pub(super) fn option(&self) -> String {
        let option = |name: &str, path: &Option<PathBuf>| {
            let path = path.as_deref()?;
            Some(format!(" {name} {}", quoted(path)))
        };
        let data = option("--data", &self.directory);
        let config = option("--config", &self.config.file);
        [data, config].into_iter().flatten().collect()
    }
}

/// What a server may be told on the command line.
#[derive(Clone, Debug, Args)]
pub(super) struct Service {
    /// Address to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Let everybody in although others reach the address and there are no tokens
    #[arg(long)]
    insecure_no_auth: bool,

    #[command(flatten)]
    data: Data,
}

impl Service {
    /// The configuration of the server; `log` is the filter that was asked for on the command
    /// line or by `CRANE_LOG`.
    pub(super) fn load(&self, log: Option<&str>, purpose: Purpose) -> Result<Loaded, Failure> {
        let mut flags = Vec::new();
        if let Some(listen) = &self.listen {
            flags.push(("api.listen", Origin::Flag("--listen"), listen.clone()));
        }
        if self.insecure_no_auth {
            let flag = Origin::Flag("--insecure-no-auth");
            flags.push(("api.insecure_no_auth", flag, "true".to_owned()));
        }
        if let Some(filter) = log {
            flags.push(("log.filter", log_origin(filter), filter.to_owned()));
        }
        self.data.load(flags, purpose)
    }
}

/// Where a filter was asked for.
pub(super) fn log_origin(filter: &str) -> Origin {
    let variable = std::env::var_os(super::LOG_VARIABLE);
    match variable.is_some_and(|value| value == filter) {
        true => Origin::Environment(super::LOG_VARIABLE.to_owned()),
        false => Origin::Flag("--log"),
    }
}

/// As a shell reads it.
pub(super) fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_repeated_only_when_given_and_quoted_when_needed() {
        let option = |data: Option<&str>, config: Option<&str>| {
            let config = ConfigFile {
                file: config.map(PathBuf::from),
            };
            let directory = data.map(PathBuf::from);
            Data { directory, config }.option()
        };
        assert_eq!(option(None, None), "");
        assert_eq!(
            option(Some("/var/lib/crane"), None),
            " --data /var/lib/crane"
        );
        assert_eq!(option(Some("it's here"), None), " --data 'it'\\''s here'");
        assert_eq!(
            option(Some("d"), Some("c.toml")),
            " --data d --config c.toml"
        );
    }
}
