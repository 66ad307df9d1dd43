//! How a text that came from somebody stands in a page: as text, whatever is in it.
//!
//! What would be markup is written out. What nobody sees and what turns around the text after it is shown as a mark of its
//! own: a village is not to look like another, and a clerk is not to read another number than the one that stands there.
//!
//! Every template is escaped by this; `askama.toml` says so.

use askama::filters::{Escaper, Html};
use std::fmt::{self, Write};

/// Stands where something cannot be shown.
const UNSEEN: &str = "\u{fffd}";

/// The escaper of every page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

fn is_unseen(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Escaper for Plain {
    fn write_escaped_str<W: Write>(&self, mut to: W, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, unseen)) = rest.char_indices().find(|(_, letter)| is_unseen(*letter)) {
            Html.write_escaped_str(&mut to, &rest[..at])?;
            to.write_str(UNSEEN)?;
            rest = &rest[at + unseen.len_utf8()..];
        }
        Html.write_escaped_str(to, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_shown_as_text() {
        for (text, shown) in [
            ("北庄村 07:30", "北庄村 07:30"),
            ("<b>\"&'", "&#60;b&#62;&#34;&#38;&#39;"),
            ("a\nb\tc\r\n", "a\nb\tc\r\n"),
            ("\u{202e}012\u{2067}<", "\u{fffd}012\u{fffd}&#60;"),
            ("\u{7}\u{1b}[2J\u{0}\u{85}", "\u{fffd}\u{fffd}[2J\u{fffd}\u{fffd}"),
        ] {
            let mut page = String::new();
            Plain.write_escaped_str(&mut page, text).unwrap();
            assert_eq!(page, shown, "{text:?}");
        }
    }
}
