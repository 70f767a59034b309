//! Which URLs and addresses may be called.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address;

/// An exception from the refusal of special addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Allowed {
    /// A host by name; its addresses are not looked at.
    Host(String),
    /// All hosts below a domain, written `*.domain`.
    Below(String),
    /// A network, written `address/prefix`, or one address.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many leading bits all members share.
        prefix: u8,
    },
}

/// An entry of `allow` that is none of the forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither a host (quotes.internal), nor the hosts below a domain (*.internal), nor an \
     address or network (10.1.0.0/16)"
)]
pub struct AllowedError(String);

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AllowedError(text.to_owned());
        let network = |address: IpAddr, prefix: Option<u8>| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.unwrap_or(longest);
            (prefix <= longest).then_some(Self::Network { address, prefix })
        };
        if let Some((address, prefix)) = text.split_once('/') {
            let address = address.parse().map_err(|_| error())?;
            let prefix = prefix.parse().map_err(|_| error())?;
            return network(address, Some(prefix)).ok_or_else(error);
        }
        if let Ok(address) = text.parse() {
            return network(address, None).ok_or_else(error);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        match Host::parse(name) {
            Ok(Host::Domain(name)) if !name.contains('*') => Ok(if below {
                Self::Below(name)
            } else {
                Self::Host(name)
            }),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Allowed {
    type Error = AllowedError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

impl From<Allowed> for String {
    fn from(allowed: Allowed) -> Self {
        allowed.to_string()
    }
}

/// Why a URL or what it resolves to may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("scheme '{0}' is not supported; use http or https")]
    Scheme(String),
    #[error("a URL with user name or password is refused; use an Authorization header")]
    UserInfo,
    #[error("the URL has no host")]
    NoHost,
    #[error(
        "{address} is a private or otherwise special address and refused; an operator can allow \
         it (tools.http.allow)"
    )]
    Address { address: IpAddr },
    #[error(
        "{host} is at {address}, a private or otherwise special address, and refused; an operator \
         can allow it (tools.http.allow)"
    )]
    Name { host: String, address: IpAddr },
}

/// The rules, as configured.
#[derive(Debug)]
pub(super) struct Guard {
    allow_private: bool,
    allow: Vec<Allowed>,
}

impl Guard {
    pub(super) fn new(allow_private: bool, allow: Vec<Allowed>) -> Self {
        Self {
            allow_private,
            allow,
        }
    }

    /// Whether a request to `url` may be made, as far as the URL alone shows.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let address = match url.host().ok_or(Refused::NoHost)? {
            // The resolver asks `select` once the name has addresses.
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        if self.permits(address) {
            Ok(())
        } else {
            Err(Refused::Address { address })
        }
    }

    /// Those of a host's addresses that may be called; an error when that leaves none.
    pub(super) fn select(
        &self,
        host: &str,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        if self.permits_host(host) {
            return Ok(found);
        }
        let (permitted, refused): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| self.permits(address.ip()));
        match refused.first() {
            Some(first) if permitted.is_empty() => Err(Refused::Name {
                host: host.to_owned(),
                address: first.ip(),
            }),
            _ => Ok(permitted),
        }
    }

    fn permits(&self, address: IpAddr) -> bool {
        self.allow_private
            || address::is_public(address)
            || self.allow.iter().any(|allowed| match allowed {
                Allowed::Network {
                    address: network,
                    prefix,
                } => [address, address::canonical(address)]
                    .into_iter()
                    .any(|address| address::contains(*network, *prefix, address)),
                Allowed::Host(_) | Allowed::Below(_) => false,
            })
    }

    fn permits_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.allow.iter().any(|allowed| match allowed {
            Allowed::Host(name) => *name == host,
            Allowed::Below(domain) => host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Allowed::Network { .. } => false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn guard(allow: &[&str]) -> Guard {
        Guard::new(false, allow.iter().map(|a| a.parse().unwrap()).collect())
    }

    fn check(guard: &Guard, url: &str) -> Result<(), Refused> {
        guard.check(&Url::parse(url).unwrap())
    }

    #[test]
    fn literal_addresses_are_refused_however_they_are_written() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://2130706433/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]:8080/",
            "https://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://１２７.0.0.1/",
        ] {
            let result = check(&guard(&[]), url);
            assert!(
                matches!(result, Err(Refused::Address { .. })),
                "{url}: {result:?}"
            );
        }
        assert_eq!(check(&guard(&[]), "http://8.8.8.8/"), Ok(()));
        assert_eq!(check(&guard(&[]), "http://example.com/"), Ok(()));
    }

    #[test]
    fn other_schemes_and_user_names_are_refused() {
        for url in ["ftp://example.com/", "file:///etc/passwd", "data:,x"] {
            assert!(
                matches!(check(&guard(&[]), url), Err(Refused::Scheme(_))),
                "{url}"
            );
        }
        for url in ["http://me@example.com/", "http://:pw@example.com/"] {
            assert_eq!(check(&guard(&[]), url), Err(Refused::UserInfo), "{url}");
        }
    }

    #[test]
    fn networks_hosts_and_domains_can_be_allowed() {
        let some = guard(&["10.1.0.0/16", "::1", "localhost", "*.corp.example"]);
        assert_eq!(check(&some, "http://10.1.2.3/"), Ok(()));
        assert_eq!(check(&some, "http://[::ffff:10.1.2.3]/"), Ok(()));
        assert_eq!(check(&some, "http://[::1]/"), Ok(()));
        assert!(check(&some, "http://10.2.0.1/").is_err());
        let loopback = || vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        for (host, allowed) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("a.corp.example", true),
            ("a.b.corp.example", true),
            ("corp.example", false),
            ("evilcorp.example", false),
            (".corp.example", false),
            ("other", false),
        ] {
            assert_eq!(some.select(host, loopback()).is_ok(), allowed, "{host}");
        }
        let everything = Guard::new(true, Vec::new());
        assert_eq!(check(&everything, "http://127.0.0.1/"), Ok(()));
        assert!(everything.select("other", loopback()).is_ok());
    }

    #[test]
    fn only_the_public_addresses_of_a_name_are_used() {
        let public = SocketAddr::from(([8, 8, 8, 8], 0));
        let private = SocketAddr::from(([10, 0, 0, 1], 0));
        let guard = guard(&[]);
        assert_eq!(guard.select("a", vec![private, public]), Ok(vec![public]));
        assert_eq!(
            guard.select("a", vec![private]),
            Err(Refused::Name {
                host: "a".to_owned(),
                address: private.ip()
            })
        );
    }

    #[test]
    fn entries_of_the_allow_list_are_checked() {
        for entry in [
            "",
            "10.0.0.0/33",
            "::1/129",
            "10.0.0.0/x",
            "a b",
            "*.*.x",
            "a:80",
            "http://a",
        ] {
            assert!(entry.parse::<Allowed>().is_err(), "{entry}");
        }
        for entry in ["10.0.0.0/8", "*.corp.example", "quotes.internal"] {
            assert_eq!(entry.parse::<Allowed>().unwrap().to_string(), entry);
        }
    }
}
