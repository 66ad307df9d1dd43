//! A stream of server-sent events, taken apart as it comes: `data:` lines up to an empty one are an event, comments and
//! other fields are passed over.
//!
//! Always true: no more is held than one event may be long.

/// An event that is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {most} bytes")]
pub(crate) struct TooLong {
    most: usize,
}

/// What came so far.
#[derive(Debug)]
pub(crate) struct Events {
    most: usize,
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return: a line feed behind it ends no other line.
    returned: bool,
}

impl Events {
    /// Takes events of at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, line: Vec::new(), data: None, returned: false }
    }

    /// Takes the next bytes, and hands the data of every event that they complete to `take`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), TooLong> {
        for &byte in bytes {
            let returned = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\n' | b'\r' => self.end_line(&mut take),
                _ if self.line.len() + self.data.as_ref().map_or(0, Vec::len) >= self.most => {
                    return Err(TooLong { most: self.most });
                }
                byte => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, take: &mut impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                take(&data);
            }
        } else if let Some(more) = line.strip_prefix(b"data:") {
            let more = more.strip_prefix(b" ").unwrap_or(more);
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(more);
                }
                None => self.data = Some(more.to_vec()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of the events, when the text comes in pieces of `piece` bytes.
    fn heard(text: &str, piece: usize) -> Result<Vec<String>, TooLong> {
        let (mut events, mut heard) = (Events::new(16), Vec::new());
        for bytes in text.as_bytes().chunks(piece) {
            events.feed(bytes, |data| heard.push(String::from_utf8(data.to_vec()).unwrap()))?;
        }
        Ok(heard)
    }

    #[test]
    fn events_come_out_whole_however_the_stream_is_cut() {
        for (text, expected) in [
            ("data: a\n\n", "a"),
            ("data: a\r\n\r\ndata:b\r\n\r\n", "a|b"),
            ("data: a\rdata: b\r\r", "a\nb"),
            (": alive\n\nevent: x\nid: 3\ndata: a\n\n", "a"),
            ("data: a\n\ndata: b\n", "a"),
            ("\n\n\n", ""),
            ("data:\n\n", ""),
            ("data: 大\n\n", "大"),
            ("data: 0123456789\n\n", "0123456789"),
        ] {
            for piece in [1, 2, 3, 100] {
                assert_eq!(heard(text, piece).unwrap().join("|"), expected, "{text:?} {piece}");
            }
        }
    }

    #[test]
    fn no_more_is_held_than_an_event_may_be_long() {
        for text in ["data: 0123456789abcdef\n\n", "data: 01234567\ndata: 0123\n\n", ":0123456789abcdef0123456789"] {
            assert_eq!(heard(text, 4), Err(TooLong { most: 16 }), "{text:?}");
        }
    }
}
