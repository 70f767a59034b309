//! Paths and queries, with whatever a user typed in them made safe (RFC 3986, section 2.1).

use std::fmt::Write;

/// A path with its query.
#[derive(Debug)]
pub(super) struct Query(String);

impl Query {
    /// A path without a query so far.
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Adds a parameter.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&escaped(value));
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// `text` as one segment of a path, or one value of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // A segment of dots alone is a direction in a path.
    let is_direction = text == "." || text == "..";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || (b"-_.~,".contains(&byte) && !is_direction) {
            safe.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_typed_stays_in_its_place() {
        let mut query = Query::new("/runs");
        query.add("limit", "3");
        query.add("label", "a=b&c d/ü");
        assert_eq!(query.finish(), "/runs?limit=3&label=a%3Db%26c%20d%2F%C3%BC");
        assert_eq!(escaped("../x?y#z"), "..%2Fx%3Fy%23z");
        assert_eq!(escaped(".."), "%2E%2E");
        assert_eq!(escaped("todo_store"), "todo_store");
    }
}
