//! The grammar of `text/event-stream`, piece by piece as it arrives
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).

use std::collections::VecDeque;

/// Longest event: a plan as large as a request may be, with room for what is around it.
const EVENT_BYTES: usize = 16 << 20;

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its `id`, if it has one of its own.
    pub(super) id: Option<String>,
    /// Its `event`; empty when it names none.
    pub(super) event: String,
    /// Its `data`.
    pub(super) data: String,
}

/// Why what arrives is no event stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// An event without end.
    #[error("an event is longer than {EVENT_BYTES} bytes")]
    TooLong,
    /// Bytes that are no text.
    #[error("an event is not UTF-8")]
    NotText,
}

/// Turns bytes into messages.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether the last line ended in CR, so that an LF now belongs to it.
    after_return: bool,
    /// Whether a line has been read; a byte order mark may come before the first.
    begun: bool,
    /// The message that has not ended yet.
    message: Message,
    has_data: bool,
    ready: VecDeque<Message>,
}

impl Parser {
    /// Takes what has arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        for byte in bytes {
            let after_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' => self.end_line()?,
                b'\r' => {
                    self.after_return = true;
                    self.end_line()?;
                }
                _ => self.line.push(*byte),
            }
        }
        if self.line.len() + self.message.data.len() > EVENT_BYTES {
            return Err(Wrong::TooLong);
        }
        Ok(())
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) -> Result<(), Wrong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| Wrong::NotText)?;
        let line = match line.strip_prefix('\u{feff}') {
            Some(rest) if !self.begun => rest,
            _ => &line,
        };
        self.begun = true;
        if line.is_empty() {
            self.end_message();
            return Ok(());
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            // A comment, `retry`, or what later versions may say.
            _ => {}
        }
        Ok(())
    }

    fn end_message(&mut self) {
        let message = std::mem::take(&mut self.message);
        if std::mem::take(&mut self.has_data) {
            self.ready.push_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Message> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser.feed(piece).unwrap();
        }
        std::iter::from_fn(|| parser.next()).collect()
    }

    fn message(id: Option<&str>, event: &str, data: &str) -> Message {
        Message {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &[u8] = b": hello\n\nid: 1\nevent: run_accepted\ndata: {\"seq\":1}\n\n:\n\n\
        event: lagged\ndata: {}\n\nid:2\ndata:a\ndata\ndata: b\nretry: 3\nnew: x\n\nid: 3\n\n";

    fn expected() -> Vec<Message> {
        vec![
            message(Some("1"), "run_accepted", "{\"seq\":1}"),
            message(None, "lagged", "{}"),
            message(Some("2"), "", "a\n\nb"),
        ]
    }

    #[test]
    fn messages_comments_and_unknown_fields_are_told_apart() {
        assert_eq!(parse(&[STREAM]), expected());
        assert_eq!(parse(&[b"data: x\n"]), [], "the blank line is missing");
    }

    #[test]
    fn it_does_not_matter_where_the_pieces_are_cut_and_how_lines_end() {
        for cut in 0..STREAM.len() {
            let (left, right) = STREAM.split_at(cut);
            assert_eq!(parse(&[left, right]), expected(), "cut at {cut}");
        }
        for end in ["\r\n", "\r"] {
            let text = String::from_utf8(STREAM.to_vec()).unwrap();
            let text = format!("\u{feff}{}", text.replace('\n', end));
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(parse(&bytes), expected());
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut whole = Parser::default();
            let fed = whole.feed(&bytes);
            let mut pieces = Parser::default();
            let each = bytes.chunks(1).try_for_each(|piece| pieces.feed(piece));
            prop_assert_eq!(fed, each);
            prop_assert_eq!(whole.ready, pieces.ready);
        }
    }

    #[test]
    fn an_event_without_end_and_bytes_that_are_no_text_are_refused() {
        let mut parser = Parser::default();
        let megabyte = vec![b'x'; 1 << 20];
        let mut fed = (0..20).map(|_| parser.feed(&megabyte));
        assert!(fed.any(|fed| fed == Err(Wrong::TooLong)));
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"data: \xff\n"), Err(Wrong::NotText));
    }
}
