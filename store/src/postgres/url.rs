//! Reading the URL of a database.
//!
//! tokio-postgres does it; here is what people also write: `sslmode=verify-full` and
//! `sslrootcert`, and that a server on the same machine needs no TLS.

use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::Error;

/// What a URL says.
pub(crate) struct Target {
    /// How to connect.
    pub(crate) config: Config,
    /// The certificates it names.
    pub(crate) ca: Option<PathBuf>,
}

/// Reads a URL or libpq's `key=value` form.
pub(crate) fn parse(url: &str) -> Result<Target, Error> {
    let (known, ca) = translate(url);
    let mut config: Config = known.parse().map_err(|error: tokio_postgres::Error| {
        // The URL itself is not repeated: it may hold a password.
        let cause = std::error::Error::source(&error).map_or(error.to_string(), |e| e.to_string());
        let text = format!(
            "the database's URL cannot be read: {cause}; it looks like \
             postgres://user:password@host:5432/database"
        );
        Error::Unsuitable(text.into())
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Error::Unsuitable(
            "the database's URL names no host; it looks like \
             postgres://user:password@host:5432/database"
                .into(),
        ));
    }
    if config.get_ssl_mode() == SslMode::Prefer && is_local(&config) {
        config.ssl_mode(SslMode::Disable);
    }
    Ok(Target { config, ca })
}

/// Where it leads, for messages: user, host and database, never the password.
pub(crate) fn describe(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .zip(config.get_ports().iter().chain(std::iter::repeat(&5432)))
        .map(|(host, port)| match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        })
        .collect();
    let user = config.get_user().unwrap_or("(default user)");
    let database = config.get_dbname().unwrap_or(user);
    format!("database {database} at {} as {user}", hosts.join(","))
}

/// Takes out of a URL what tokio-postgres does not know.
fn translate(url: &str) -> (String, Option<PathBuf>) {
    let Some((base, query)) = url.split_once('?').filter(|_| url.contains("://")) else {
        return (url.to_owned(), None);
    };
    let mut ca = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => ca = Some(PathBuf::from(path.replace("%2F", "/"))),
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            Some(("sslmode", "allow")) => kept.push("sslmode=prefer"),
            _ => kept.push(pair),
        }
    }
    if kept.is_empty() {
        return (base.to_owned(), ca);
    }
    (format!("{base}?{}", kept.join("&")), ca)
}

fn is_local(config: &Config) -> bool {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    };
    config.get_hosts().iter().all(local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        parse(url).expect("the URL is read").config.get_ssl_mode()
    }

    #[test]
    fn what_libpq_calls_verifying_is_what_we_always_do() {
        let target = parse("postgres://u:p@db/x?sslmode=verify-full&sslrootcert=/etc/ca.pem");
        let target = target.expect("the URL is read");
        assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(target.ca, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(target.config.get_dbname(), Some("x"));
    }

    #[test]
    fn tls_is_left_out_on_this_machine_alone() {
        assert_eq!(mode("postgres://u@localhost/x"), SslMode::Disable);
        assert_eq!(mode("postgres://u@127.0.0.1/x"), SslMode::Disable);
        assert_eq!(mode("host=/run/postgresql user=u"), SslMode::Disable);
        assert_eq!(
            mode("postgres://u@localhost/x?sslmode=require"),
            SslMode::Require
        );
        assert_eq!(mode("postgres://u@db.example/x"), SslMode::Prefer);
    }

    #[test]
    fn a_message_never_holds_the_password() {
        let target = parse("postgres://u:secret@db:77/x").expect("the URL is read");
        assert_eq!(describe(&target.config), "database x at db:77 as u");
        let error = parse("postgres://u:secret@db/x?color=red").err();
        let text = error.expect("it is refused").to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("color"), "{text}");
        assert!(parse("postgres:///x").is_err());
    }
}
