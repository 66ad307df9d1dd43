//! Schedule text to TOML tables, as much of it as can be read.
//!
//! A text without a mistake is one [`Block`]. Otherwise it is cut at its `[[rule]]`, `[[override]]` and
//! `[announcement.x]` headers and each part is read by itself, so that a bracket left open costs its own part alone.

use std::ops::Range;
use toml::de::{DeTable, Error};

/// A stretch of the text that was read by itself.
pub(super) struct Block<'t> {
    /// What could be read of it.
    pub table: DeTable<'t>,
    /// Where the stretch begins; spans in `table` count from here.
    pub base: usize,
    /// Whether the stretch begins with a header, and so is one announcement, rule or override.
    pub headed: bool,
    /// What TOML does not accept, in order of place, less what only follows from an earlier mistake.
    pub mistakes: Vec<Mistake>,
    /// Where TOML could not go on, in order of place.
    pub broken: Vec<Range<usize>>,
}

/// One thing that TOML does not accept.
pub(super) struct Mistake {
    /// In the stretch.
    pub span: Range<usize>,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A date or time that does not exist; the structure is whole.
    BadDate,
    /// The same key twice; which one counts, nobody can say.
    DuplicateKey,
    /// A name in Chinese without quotes; it was understood all the same.
    UnquotedName,
    /// A text without its quotes, or without one of them.
    Quotes,
    /// A list that is not closed, or lacks a comma.
    List,
    /// Anything else.
    Other,
}

/// Returns the text's tables.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let whole = read(text, 0, false);
    if whole.mistakes.is_empty() {
        return vec![whole];
    }
    let mut starts = vec![(0, false)];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if is_header(line) {
            starts.push((offset, true));
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    starts.iter().zip(ends).map(|(&(start, headed), end)| read(&text[start..end], start, headed)).collect()
}

fn read(text: &str, base: usize, headed: bool) -> Block<'_> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors.iter().map(|error| mistake(text, error)).collect();
    mistakes.sort_by_key(|mistake| mistake.span.start);
    let breaks = mistakes.iter().filter(|mistake| mistake.kind != Kind::UnquotedName);
    let broken = breaks.map(|mistake| mistake.span.clone()).collect();
    keep_causes(text, &mut mistakes);
    Block { table: table.into_inner(), base, headed, mistakes, broken }
}

/// Drops what only follows from an earlier mistake: the parser stumbles on for the rest of the line, and for the rest
/// of the block once a list is not closed.
fn keep_causes(text: &str, mistakes: &mut Vec<Mistake>) {
    let mut cause: Option<(usize, Kind)> = None;
    mistakes.retain(|mistake| {
        if !mistake.kind.tears() {
            return true;
        }
        let follows = cause.is_some_and(|(start, kind)| {
            matches!(kind, Kind::List | Kind::Other) || !text[start..mistake.span.start].contains('\n')
        });
        if !follows {
            cause = Some((mistake.span.start, mistake.kind));
        }
        !follows
    });
}

impl Kind {
    /// Returns whether what follows in the block may have been lost.
    pub(super) fn tears(self) -> bool {
        matches!(self, Self::Quotes | Self::List | Self::Other)
    }
}

fn mistake(text: &str, error: &Error) -> Mistake {
    let span = error.span().unwrap_or(0..0);
    // A mistake at the end of a line may point into the middle of a letter or past the end.
    let start = text.floor_char_boundary(span.start);
    let span = start..text.floor_char_boundary(span.end).max(start);
    Mistake { span, kind: kind(error.message()) }
}

fn kind(message: &str) -> Kind {
    let about = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if about(&["duplicate key", "cannot extend", "cannot redefine"]) {
        Kind::DuplicateKey
    } else if about(&["invalid date", "invalid time", "invalid offset"]) {
        Kind::BadDate
    } else if about(&["invalid unquoted key"]) {
        Kind::UnquotedName
    } else if about(&["array table"]) {
        Kind::Other
    } else if about(&["must be quoted", "string"]) {
        Kind::Quotes
    } else if about(&["array"]) {
        Kind::List
    } else {
        Kind::Other
    }
}

/// Returns whether `line` opens an announcement, a rule or an override, however badly it is closed.
fn is_header(line: &str) -> bool {
    let line = line.trim_start();
    if let Some(list) = line.strip_prefix("[[") {
        let list = list.trim_start();
        ["rule", "override"].iter().any(|name| list.strip_prefix(name).is_some_and(|rest| !continues(rest)))
    } else if let Some(table) = line.strip_prefix('[') {
        table.trim_start().strip_prefix("announcement").is_some_and(|rest| rest.trim_start().starts_with('.'))
    } else {
        false
    }
}

/// Returns whether a bare key goes on at the start of `rest`.
fn continues(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
