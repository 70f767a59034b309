//! Tokens: what a client shows to be let in. Only their hashes are kept.
//!
//! A token has no salt and no slow hash around it: those are for passwords that people choose. The
//! tokens that `crane config token` makes have 256 random bits, which nobody finds by trying.

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};

/// What a stored hash starts with.
const SCHEME: &str = "blake3:";
/// What a token that was made here starts with, so that scanners for leaked secrets know it.
const MARK: &str = "crane_";
/// A token of fewer bytes is advised against: it can be found by trying.
pub const GUESSED: usize = 16;
/// Longest token, in bytes.
const LONGEST: usize = 1_024;

/// The hash of a token. It never shows itself in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(blake3::hash(token))
    }

    /// As it is written into the configuration file: `blake3:` and 64 hexadecimal digits.
    pub fn line(&self) -> String {
        format!("{SCHEME}{}", self.0.to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

/// An entry of `api.tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash that was given, or that of the token that was.
    pub hash: TokenHash,
    /// Whether the token itself was given.
    pub is_plain: bool,
}

impl FromStr for Entry {
    type Err = String;

    /// Never repeats what was given: it may be secret.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix(SCHEME) {
            let hash = blake3::Hash::from_hex(digits).map_err(|_| {
                "holds a hash that is none, it must be blake3: and 64 hexadecimal digits".to_owned()
            })?;
            return Ok(Self {
                hash: TokenHash(hash),
                is_plain: false,
            });
        }
        check(text)?;
        Ok(Self {
            hash: TokenHash::of(text.as_bytes()),
            is_plain: true,
        })
    }
}

/// Whether a text can be a token at all: a header has to carry it.
///
/// # Errors
/// A sentence that does not repeat the text.
pub fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "holds a token that is none, it must be 1 to {LONGEST} visible ASCII characters \
             without blanks"
        ));
    }
    Ok(())
}

/// The tokens that let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<TokenHash>);

impl Tokens {
    /// Whether there are none, and so everybody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `token` is one of them. How long that takes says nothing about which, or how close.
    pub fn admit(&self, token: &[u8]) -> bool {
        let presented = TokenHash::of(token);
        let mut found = Choice::from(0);
        for known in &self.0 {
            found |= known.0.as_bytes().ct_eq(presented.0.as_bytes());
        }
        found.into()
    }
}

impl FromIterator<TokenHash> for Tokens {
    fn from_iter<I: IntoIterator<Item = TokenHash>>(hashes: I) -> Self {
        Self(hashes.into_iter().collect())
    }
}

/// A new random token.
///
/// # Errors
/// When the system has no random numbers.
pub fn generate() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let digits = blake3::Hash::from_bytes(bytes).to_hex();
    Ok(format!("{MARK}{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_itself_and_by_its_hash_and_no_other_is() {
        let token = generate().unwrap();
        let plain: Entry = token.parse().unwrap();
        let hashed: Entry = plain.hash.line().parse().unwrap();
        assert_eq!(plain.hash, hashed.hash);
        assert!(plain.is_plain && !hashed.is_plain);
        let tokens: Tokens = [TokenHash::of(b"other"), hashed.hash].into_iter().collect();
        assert!(tokens.admit(token.as_bytes()));
        assert!(!tokens.admit(&token.as_bytes()[1..]));
        assert!(!tokens.admit(b""));
        assert!(!tokens.admit(hashed.hash.line().as_bytes()));
        assert!(!Tokens::default().admit(b"other"));
    }

    #[test]
    fn two_tokens_are_never_the_same_and_debug_shows_none() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), MARK.len() + 64);
        let hash = TokenHash::of(one.as_bytes());
        assert!(!format!("{hash:?}").contains(&hash.line()[SCHEME.len()..]));
    }

    #[test]
    fn what_no_header_can_carry_is_refused_without_being_repeated() {
        for text in ["", "two words", "ä", "blake3:12", &"x".repeat(1_025)] {
            let error = text.parse::<Entry>().unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
