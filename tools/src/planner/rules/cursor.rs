//! Reading a row of tokens from the left, one known word after the other. Never goes back.

use super::tokens::Token;

/// Reads tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'t, 'a> {
    rest: &'t [Token<'a>],
    read: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(super) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self {
            rest: tokens,
            read: 0,
        }
    }

    /// Tokens read so far.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// The tokens that are left.
    pub(super) fn rest(&self) -> &'t [Token<'a>] {
        self.rest
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads one of the words, if it is next.
    pub(super) fn word(&mut self, words: &[&str]) -> Option<&'a str> {
        let next = self.rest.first().filter(|t| !t.quoted)?;
        words.contains(&next.text).then(|| {
            self.skip(1);
            next.text
        })
    }

    /// Reads as many of the words as are next.
    pub(super) fn words(&mut self, words: &[&str]) {
        while self.word(words).is_some() {}
    }

    /// Reads all the words in their order, or nothing.
    pub(super) fn phrase(&mut self, words: &[&str]) -> bool {
        let matches = self.rest.len() >= words.len()
            && words
                .iter()
                .zip(self.rest)
                .all(|(word, token)| !token.quoted && token.text == *word);
        if matches {
            self.skip(words.len());
        }
        matches
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.read += count;
    }
}
