//! 仅此一天不播: one date's override, written and taken back.

use super::{Torn, edit, push, put, tables, tables_mut, take_away};
use crate::schedule::Cancel;
use jiff::civil::Date;
use toml_edit::{Array, Datetime, Item, Table, TableLike, Value, value};

/// Cancels an announcement, or everything without a name, on `date`.
pub(crate) fn cancel(text: &str, date: Date, name: Option<&str>, note: &str) -> Result<String, Torn> {
    edit(text, |document| {
        let mut of_day = tables(document, "override").into_iter().filter(|table| is_of(*table, date));
        let is_so = of_day.any(|table| match cancelled(table) {
            Some(Cancel::All) => true,
            Some(Cancel::Named(names)) => name.is_some_and(|name| names.iter().any(|known| known == name)),
            None => false,
        });
        if is_so {
            return;
        }
        match (tables_mut(document, "override").into_iter().find(|table| is_of(*table, date)), name) {
            (Some(table), None) => {
                put(table, "cancel", Value::from("all"));
                set_note(table, note);
            }
            (Some(table), Some(name)) => {
                if let Some(list) = table.get_mut("cancel").and_then(Item::as_array_mut) {
                    if !list.iter().any(|known| known.as_str() == Some(name)) {
                        list.push(name);
                    }
                } else {
                    put(table, "cancel", Value::from(Array::from_iter([name])));
                }
                set_note(table, note);
            }
            (None, _) => {
                let mut table = Table::new();
                table.insert("date", value(datetime(date)));
                table.insert("cancel", name.map_or_else(|| value("all"), |name| value(Array::from_iter([name]))));
                set_note(&mut table, note);
                push(document, "override", table);
            }
        }
    })
}

/// Lets an announcement, or everything without a name, play on `date` again. `all` are the names of the file.
pub(crate) fn restore(text: &str, date: Date, name: Option<&str>, all: &[&str]) -> Result<String, Torn> {
    edit(text, |document| {
        for index in (0..tables(document, "override").len()).rev() {
            let table = tables(document, "override")[index];
            if !is_of(table, date) {
                continue;
            }
            let before = cancelled(table);
            let left: Vec<String> = match (&before, name) {
                (_, None) | (None, _) => Vec::new(),
                (Some(Cancel::All), Some(name)) => {
                    all.iter().filter(|other| **other != name).map(|other| (*other).into()).collect()
                }
                (Some(Cancel::Named(names)), Some(name)) => {
                    names.iter().filter(|other| *other != name).cloned().collect()
                }
            };
            if left.is_empty() {
                take_away(document, "override", index);
            } else if before != Some(Cancel::Named(left.clone())) {
                tables_mut(document, "override")[index].insert("cancel", value(Array::from_iter(left)));
            }
        }
    })
}

fn is_of(table: &dyn TableLike, date: Date) -> bool {
    let written = table.get("date").and_then(Item::as_datetime);
    written.is_some_and(|written| crate::text::civil_date(written) == Some(date))
}

/// Returns what an override cancels; none where it says nothing that can be understood.
fn cancelled(table: &dyn TableLike) -> Option<Cancel> {
    let cancel = table.get("cancel")?;
    match cancel.as_array() {
        Some(list) => Some(Cancel::Named(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())),
        None => (cancel.as_str() == Some("all")).then_some(Cancel::All),
    }
}

fn set_note(table: &mut dyn TableLike, note: &str) {
    if !note.is_empty() {
        put(table, "note", Value::from(note));
    }
}

pub(super) fn datetime(date: Date) -> Datetime {
    Datetime {
        date: Some(toml_edit::Date {
            year: date.year().unsigned_abs(),
            month: date.month().unsigned_abs(),
            day: date.day().unsigned_abs(),
        }),
        time: None,
        offset: None,
    }
}
