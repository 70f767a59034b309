//! Texts that are not to be seen.

use std::fmt;

/// A secret: whoever prints what holds it prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The URL of a database without the password that may be in it.
pub(super) fn url(url: &str) -> String {
    // Wherever else a password may stand, the whole is hidden.
    let elsewhere = |text: &str| text.to_ascii_lowercase().contains("password");
    let Some((scheme, rest)) = url.split_once("://") else {
        return if elsewhere(url) { "***" } else { url }.to_owned();
    };
    // The last @, so that one in a password that is not encoded hides too much, not too little.
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (user, place),
        None => ("", rest),
    };
    if elsewhere(place) {
        return "***".to_owned();
    }
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
        None if user.is_empty() => format!("{scheme}://{place}"),
        None => format!("{scheme}://{user}@{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (given, shown) in [
            ("postgres://db/x", "postgres://db/x"),
            ("postgres://crane@db/x", "postgres://crane@db/x"),
            ("postgres://crane:s3cret@db/x", "postgres://crane:***@db/x"),
            (
                "postgres://crane:s3c@ret@db:1/x",
                "postgres://crane:***@db:1/x",
            ),
            ("postgres://db/x?password=s3cret", "***"),
            ("host=db user=crane", "host=db user=crane"),
            ("host=db password=s3cret", "***"),
        ] {
            assert_eq!(url(given), shown);
        }
        assert_eq!(format!("{:?}", Hidden::new("s3cret")), "***");
    }
}
