//! `crane config`: what is set and where, what is wrong with it, and tokens.

use std::io::Read;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Shape;
use super::failure::{Failure, USAGE};
use super::place::Service;
use crate::config::{Loaded, Origin, Purpose};
use crate::output::{self, counted};
use crate::token::{self, TokenHash};

/// Check and show the configuration, make tokens
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong with the configuration of a server
    Check(Question),
    /// Show the settings in effect, each with where it comes from
    Show(Question),
    /// Make a token, and the line that lets it in
    Token(Token),
}

#[derive(Debug, Args)]
pub(super) struct Question {
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,

    #[command(flatten)]
    service: Service,
}

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Read the token from standard input instead of making one
    #[arg(long)]
    stdin: bool,

    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Shape,
}

/// See the module.
pub(super) fn run(command: &Command, log: Option<&str>) -> Result<u8, Failure> {
    match command {
        Command::Check(question) => check(question, log),
        Command::Show(question) => show(question, log),
        Command::Token(arguments) => token(arguments),
    }
}

fn check(question: &Question, log: Option<&str>) -> Result<u8, Failure> {
    let loaded = match (question.service.load(log, Purpose::Serve), question.output) {
        (Ok(loaded), _) => loaded,
        (Err(failure), Shape::Text) => return Err(failure),
        (Err(failure), Shape::Json) => {
            let message = failure.message().unwrap_or_default();
            return report(&message, &[]);
        }
    };
    match question.output {
        Shape::Json => report("", &loaded.warnings),
        Shape::Text => {
            warn(&loaded);
            output::print(&format!("the configuration is valid: {}", sources(&loaded)))?;
            Ok(0)
        }
    }
}

/// The verdict for programs; an error a line.
fn report(errors: &str, warnings: &[String]) -> Result<u8, Failure> {
    let errors: Vec<&str> = errors
        .lines()
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    output::print_json(&json!({
        "valid": errors.is_empty(),
        "errors": errors,
        "warnings": warnings,
    }))?;
    Ok(if errors.is_empty() { 0 } else { USAGE })
}

/// What the configuration is made of, in words.
fn sources(loaded: &Loaded) -> String {
    let count = |is: fn(&Origin) -> bool| {
        let settings = loaded.settings.iter();
        settings.filter(|setting| is(&setting.origin)).count()
    };
    let file = match &loaded.file {
        Some(path) => path.display().to_string(),
        None => "no file".to_owned(),
    };
    let in_file = count(|origin| matches!(origin, Origin::File { .. }));
    let variables = count(|origin| matches!(origin, Origin::Environment(_)));
    let flags = count(|origin| matches!(origin, Origin::Flag(_)));
    let in_file = counted(in_file, "setting");
    format!("{file} ({in_file}), {variables} from the environment, {flags} from flags")
}

/// Says what is allowed and not advisable.
pub(super) fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        output::note(&format!("warning: {warning}"));
    }
}

fn show(question: &Question, log: Option<&str>) -> Result<u8, Failure> {
    let loaded = question.service.load(log, Purpose::Show)?;
    match question.output {
        Shape::Text => output::print(&loaded.text())?,
        Shape::Json => output::print_json(&loaded.json())?,
    }
    Ok(0)
}

fn token(arguments: &Token) -> Result<u8, Failure> {
    let token = if arguments.stdin {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
        let token = text.trim().to_owned();
        token::check(&token).map_err(|error| Failure::usage(format!("standard input {error}")))?;
        if token.len() < token::GUESSED {
            let length = counted(token.len(), "character");
            output::note(&format!(
                "warning: a token of {length} can be guessed; take one of at least {}, or let \
                 `crane config token` make it",
                token::GUESSED
            ));
        }
        token
    } else {
        token::generate().map_err(|error| {
            Failure::failed(format!("no random numbers from the system: {error}"))
        })?
    };
    let hash = TokenHash::of(token.as_bytes()).line();
    match (arguments.output, arguments.stdin) {
        // Who brought the token knows it.
        (Shape::Json, true) => output::print_json(&json!({ "hash": hash }))?,
        (Shape::Json, false) => output::print_json(&json!({ "token": token, "hash": hash }))?,
        (Shape::Text, true) => output::print(&line(&hash))?,
        (Shape::Text, false) => {
            output::print(&format!(
                "# The token, for the header \"Authorization: Bearer TOKEN\"; it is not kept \
                 anywhere.\n{token}\n\n# The line for crane.toml, below [api]:\n{}",
                line(&hash)
            ))?;
        }
    }
    Ok(0)
}

fn line(hash: &str) -> String {
    format!("tokens = [\"{hash}\"]")
}
