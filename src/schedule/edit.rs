//! Changes of a schedule's text. What a change does not touch stays byte for byte: comments, order, spaces, line ends.
//!
//! Pure: text in, text out. Whether the new text says something sensible is for [`crate::schedule::file`] to find.

pub(crate) mod cancel;
pub(crate) mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// A text whose structure must be put right by hand first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Torn;

/// Lets `change` work on the text's tables.
fn edit(text: &str, change: impl FnOnce(&mut DocumentMut)) -> Result<String, Torn> {
    let mut document = document(text)?;
    change(&mut document);
    Ok(keep(text, &document.to_string()))
}

/// Reads the text's tables.
fn document(text: &str) -> Result<DocumentMut, Torn> {
    plain(text).parse().map_err(|_| Torn)
}

/// Returns what came back from a form as a text like `before`: a browser ends every line in its own way.
pub(crate) fn as_before(before: Option<&str>, sent: &str) -> String {
    let sent = plain(sent);
    before.map_or_else(|| sent.clone(), |before| keep(before, &sent))
}

/// The text without its byte order mark, each line ended as Unix ends it.
fn plain(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}

/// Returns `edited` with the lines that it shares with `text` as they stood there: an editor on Windows ends lines in
/// its own way, and puts a mark before the first.
fn keep(text: &str, edited: &str) -> String {
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let old: Vec<_> = body.split_inclusive('\n').collect();
    let new: Vec<_> = edited.split_inclusive('\n').collect();
    let bare = |line: &str| line.trim_end_matches(['\r', '\n']).len();
    let same = |old: &str, new: &str| old[..bare(old)] == new[..bare(new)];
    let before = old.iter().zip(&new).take_while(|(old, new)| same(old, new)).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| same(old, new)).count();
    let end = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let mut kept = mark.to_owned();
    kept.extend(old[..before].iter().copied());
    let fresh = &new[before..new.len() - after];
    if !fresh.is_empty() && before > 0 && !kept.ends_with('\n') {
        kept.push_str(end);
    }
    for line in fresh {
        let ended: Cow<str> =
            line.strip_suffix('\n').map_or(Cow::Borrowed(*line), |bare| Cow::Owned(format!("{bare}{end}")));
        kept.push_str(&ended);
    }
    kept.extend(old[old.len() - after..].iter().copied());
    kept
}

/// Returns the tables under `key`, written `[[key]]` or as a list of inline tables.
fn tables<'a>(document: &'a DocumentMut, key: &str) -> Vec<&'a dyn TableLike> {
    match document.get(key) {
        Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| table as &dyn TableLike).collect(),
        Some(Item::Value(Value::Array(list))) => {
            list.iter().filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).collect()
        }
        _ => Vec::new(),
    }
}

/// The same, to be changed.
fn tables_mut<'a>(document: &'a mut DocumentMut, key: &str) -> Vec<&'a mut dyn TableLike> {
    match document.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) => tables.iter_mut().map(|table| table as &mut dyn TableLike).collect(),
        Some(Item::Value(Value::Array(list))) => {
            list.iter_mut().filter_map(Value::as_inline_table_mut).map(|table| table as &mut dyn TableLike).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes a value in the place of the one before it, whose spaces and comment it keeps.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// Puts `table` behind the others under `key`.
fn push(document: &mut DocumentMut, key: &str, table: Table) {
    match document.entry(key).or_insert_with(|| Item::ArrayOfTables(Default::default())) {
        Item::ArrayOfTables(tables) => tables.push(table),
        Item::Value(Value::Array(list)) => list.push(table.into_inline_table()),
        // Something else stands under this name, and the findings say so.
        _ => {}
    }
}

/// Takes the table at `index` away, with the comment that stands right above it; what stands apart stays.
fn take_away(document: &mut DocumentMut, key: &str, index: usize) {
    match document.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) if index < tables.len() => {
            let gone = tables.remove(index);
            if tables.is_empty() {
                document.remove(key);
            }
            leave_comments(document, &gone);
        }
        // A list counts its inline tables alone, as `tables` does.
        Some(Item::Value(Value::Array(list))) => {
            let place = list.iter().enumerate().filter(|(_, value)| value.is_inline_table()).nth(index);
            if let Some(place) = place.map(|(place, _)| place) {
                list.remove(place);
            }
        }
        _ => {}
    }
}

/// Puts the comments that stood apart from a table that is gone above whatever follows it.
fn leave_comments(document: &mut DocumentMut, gone: &Table) {
    let above = gone.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    // Everything up to the last empty line stands apart.
    let Some(end) = above.rfind("\n\n").map(|at| at + 1).filter(|end| above[..*end].contains('#')) else { return };
    let apart = above[..end].to_owned();
    let position = gone.position().unwrap_or(isize::MAX);
    let next = next_position(document.as_table(), position);
    match next.and_then(|next| table_at(document.as_table_mut(), next)) {
        Some(table) => {
            let own = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("\n").to_owned();
            table.decor_mut().set_prefix(format!("{apart}{own}"));
        }
        None => {
            let own = document.trailing().as_str().unwrap_or_default().to_owned();
            document.set_trailing(format!("{apart}{own}"));
        }
    }
}

/// Returns the place of the table that follows `position` in the text.
fn next_position(table: &Table, position: isize) -> Option<isize> {
    let own = table.position().filter(|own| *own > position);
    let below = table.iter().flat_map(|(_, item)| match item {
        Item::Table(table) => next_position(table, position).into_iter().collect(),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(|table| next_position(table, position)).collect(),
        _ => Vec::new(),
    });
    below.chain(own).min()
}

fn table_at(table: &mut Table, position: isize) -> Option<&mut Table> {
    if table.position() == Some(position) && !table.is_implicit() {
        return Some(table);
    }
    table.iter_mut().find_map(|(_, item)| match item {
        Item::Table(table) => table_at(table, position),
        Item::ArrayOfTables(tables) => tables.iter_mut().find_map(|table| table_at(table, position)),
        _ => None,
    })
}
