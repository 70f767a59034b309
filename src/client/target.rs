//! The address of a server, and the token it asks for.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderValue, Uri, uri};

use super::error::Error;

/// Where a server is: `http://127.0.0.1:8080`, or behind a path of a proxy,
/// `https://example.com/crane`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether to speak TLS.
    pub(super) tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub(super) host: String,
    /// Where it listens.
    pub(super) port: u16,
    /// The header `Host`.
    pub(super) authority: String,
    /// What comes before `/api/v1`; empty, or begins with a slash and ends without.
    pub(super) prefix: String,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &'static str| Error::Address {
            // What is before an '@' may be a password.
            text: text.rsplit('@').next().unwrap_or_default().to_owned(),
            reason,
        };
        let trimmed = text.trim();
        let whole = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            format!("http://{trimmed}")
        };
        let uri: Uri = whole.parse().map_err(|_| wrong("it does not parse"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it must not hold a user or password; give a token in CRANE_TOKEN",
            ));
        }
        if uri.query().is_some() || whole.contains('#') {
            return Err(wrong("it must not hold a query or a fragment"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let port = port_of(authority, tls).ok_or_else(|| wrong("its port is none"))?;
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix(crate::api::BASE).unwrap_or(path);
        Ok(Self {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }
}

fn port_of(authority: &uri::Authority, tls: bool) -> Option<u16> {
    match authority.port() {
        Some(port) => Some(port.as_u16()).filter(|port| *port != 0),
        None if authority.as_str().ends_with(':') => None,
        // A port that is no number of 16 bits counts as absent.
        None if authority.as_str().len() > authority.host().len() => None,
        None => Some(if tls { 443 } else { 80 }),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// A bearer token. It is never shown.
#[derive(Clone)]
pub struct Token(pub(super) HeaderValue);

impl Token {
    /// The token in this text, whose surrounding blanks do not count.
    ///
    /// # Errors
    /// When it is empty or holds what no header may hold.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Token("it is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token("it must be visible ASCII without blanks"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| Error::Token("it does not fit into a header"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_with_its_defaults() {
        let plain = target("http://127.0.0.1:8080/");
        assert_eq!(
            (plain.tls, plain.host.as_str(), plain.port),
            (false, "127.0.0.1", 8080)
        );
        assert_eq!(plain.to_string(), "http://127.0.0.1:8080");
        assert_eq!(target("localhost:8080"), target("http://localhost:8080"));
        assert_eq!(target("http://crane.example").port, 80);
        let proxied = target("https://example.com/crane/api/v1/");
        assert_eq!((proxied.tls, proxied.port), (true, 443));
        assert_eq!(proxied.prefix, "/crane");
        assert_eq!(proxied.to_string(), "https://example.com/crane");
        let six = target("http://[::1]:8080");
        assert_eq!(
            (six.host.as_str(), six.authority.as_str()),
            ("::1", "[::1]:8080")
        );
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "http://",
            "ftp://x",
            "http://x?y",
            "http://x#y",
            "http://x:99999",
            "http://x:0",
            "http://x:",
            "http://a b",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        let refused = "http://me:secret@x".parse::<Target>().unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{refused}");
        assert!(refused.to_string().contains("CRANE_TOKEN"), "{refused}");
    }

    #[test]
    fn a_token_is_checked_and_never_shown() {
        let token = Token::new(" s3cret\n").unwrap();
        assert_eq!(token.0.to_str().unwrap(), "Bearer s3cret");
        assert!(!format!("{token:?}{:?}", token.0).contains("s3cret"));
        for wrong in ["", "  ", "a b", "a\u{7f}", "ä"] {
            let error = Token::new(wrong).unwrap_err().to_string();
            assert!(wrong.trim().is_empty() || !error.contains(wrong), "{error}");
        }
    }
}
