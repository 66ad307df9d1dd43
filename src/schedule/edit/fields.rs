//! A schedule's text as the fields of a form, and a form's fields back into the text.
//!
//! A field is named by its place: `title`, `announcement.morning.play`, `rule.0.at`. What a person writes goes into the
//! text as it is; whether it can be read is for the findings to say, at its line.

use super::{Torn, document, edit, push, put, tables, tables_mut, take_away};
use jiff::civil::Date;
use std::collections::BTreeMap;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// Values by the name of their field.
pub(crate) type Fields = BTreeMap<String, String>;

/// How a field is written in the text.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// Text with what counts where nothing is written.
    Choice(&'static str),
    Flag(bool),
    Number(&'static str),
    Day,
    /// Paths, one a line: they may hold spaces.
    Lines,
    Words,
    Days,
    /// A word, or windows of the day.
    During,
}

const SETTINGS: [(&str, Form); 4] =
    [("title", Form::Text), ("enabled", Form::Flag(true)), ("from", Form::Day), ("until", Form::Day)];

const ANNOUNCEMENT: [(&str, Form); 8] = [
    ("title", Form::Text),
    ("enabled", Form::Flag(true)),
    ("band", Form::Choice("normal")),
    ("chime", Form::Text),
    ("play", Form::Lines),
    ("pick", Form::Choice("in-turn")),
    ("volume", Form::Number("100")),
    ("screen", Form::Text),
];

const RULE: [(&str, Form); 10] = [
    ("play", Form::Text),
    ("enabled", Form::Flag(true)),
    ("at", Form::Words),
    ("every", Form::Text),
    ("between", Form::Text),
    ("cron", Form::Text),
    ("during", Form::During),
    ("except", Form::Days),
    ("grace", Form::Choice("2m")),
    ("hard", Form::Flag(false)),
];

/// The days of the week as `on` names them.
pub(crate) const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The sets that `on` writes as a table.
const SETS: [&str; 4] = ["lunar", "lunar-day-ends", "terms", "dates"];

/// Returns every field of a text.
pub(crate) fn read(text: &str) -> Result<Fields, Torn> {
    document(text).map(|document| fields(&document))
}

/// Puts the fields that differ into the text. A field that the text has no place for is passed over.
pub(crate) fn write(text: &str, wanted: &Fields) -> Result<String, Torn> {
    edit(text, |document| {
        let known = fields(document);
        let differs = |name: &str| {
            let (known, wanted) = (known.get(name), wanted.get(name));
            wanted.filter(|wanted| known.is_some_and(|known| tidy(known) != tidy(wanted)))
        };
        for (key, form) in SETTINGS {
            if let Some(value) = differs(key) {
                set(document.as_table_mut(), key, form, value);
            }
        }
        for (name, table) in announcements_mut(document) {
            for (key, form) in ANNOUNCEMENT {
                if let Some(value) = differs(&format!("announcement.{name}.{key}")) {
                    set(table, key, form, value);
                }
            }
        }
        for (index, table) in tables_mut(document, "rule").into_iter().enumerate() {
            for (key, form) in RULE {
                if let Some(value) = differs(&format!("rule.{index}.{key}")) {
                    set(table, key, form, value);
                }
            }
            let on = |key: &str| format!("rule.{index}.{key}");
            let names = ["on", "on-list"].map(on).into_iter().chain(WEEK.map(|day| on(&format!("on-{day}"))));
            if names.into_iter().any(|name| differs(&name).is_some()) {
                let value = |key: &str| {
                    let name = on(key);
                    wanted.get(&name).or(known.get(&name)).map(|value| tidy(value)).unwrap_or_default()
                };
                set_days(table, &value);
            }
        }
    })
}

/// Adds an announcement that plays nothing yet; the findings ask for what it lacks.
pub(crate) fn add_announcement(text: &str, name: &str, title: &str) -> Result<String, Torn> {
    edit(text, |document| {
        let fresh = || {
            let mut parent = Table::new();
            parent.set_implicit(true);
            Item::Table(parent)
        };
        let Some(all) = document.entry("announcement").or_insert_with(fresh).as_table_like_mut() else { return };
        if all.contains_key(name) {
            return;
        }
        let mut table = Table::new();
        if !title.is_empty() {
            table.insert("title", toml_edit::value(title));
        }
        table.insert("play", toml_edit::value(Array::new()));
        all.insert(name, Item::Table(table));
    })
}

/// Adds a rule without a time for an announcement.
pub(crate) fn add_rule(text: &str, play: &str) -> Result<String, Torn> {
    edit(text, |document| {
        let mut table = Table::new();
        table.insert("play", toml_edit::value(play));
        table.insert("at", toml_edit::value(Array::new()));
        push(document, "rule", table);
    })
}

/// Takes a rule away.
pub(crate) fn remove_rule(text: &str, index: usize) -> Result<String, Torn> {
    edit(text, |document| take_away(document, "rule", index))
}

/// Takes an announcement away, with its rules and its part in overrides.
pub(crate) fn remove_announcement(text: &str, name: &str) -> Result<String, Torn> {
    edit(text, |document| {
        let gone = document.get_mut("announcement").and_then(Item::as_table_like_mut).and_then(|all| all.remove(name));
        if let Some(Item::Table(gone)) = &gone {
            super::leave_comments(document, gone);
        }
        for index in (0..tables(document, "rule").len()).rev() {
            if tables(document, "rule")[index].get("play").and_then(Item::as_str) == Some(name) {
                take_away(document, "rule", index);
            }
        }
        for index in (0..tables(document, "override").len()).rev() {
            let mut of_day = tables_mut(document, "override");
            let Some(list) = of_day[index].get_mut("cancel").and_then(Item::as_array_mut) else { continue };
            let before = list.len();
            list.retain(|one| one.as_str() != Some(name));
            if list.is_empty() && before > 0 {
                take_away(document, "override", index);
            }
        }
    })
}

fn fields(document: &DocumentMut) -> Fields {
    let mut found = Fields::new();
    let mut take = |prefix: &str, table: &dyn TableLike, forms: &[(&str, Form)]| {
        for (key, form) in forms {
            found.insert(format!("{prefix}{key}"), text_of(table.get(key), *form));
        }
    };
    take("", document.as_table(), &SETTINGS);
    let announcements = document.get("announcement").and_then(Item::as_table_like);
    for (name, item) in announcements.into_iter().flat_map(|all| all.iter()) {
        if let Some(table) = item.as_table_like() {
            take(&format!("announcement.{name}."), table, &ANNOUNCEMENT);
        }
    }
    let rules = tables(document, "rule");
    for (index, table) in rules.iter().enumerate() {
        take(&format!("rule.{index}."), *table, &RULE);
    }
    for (index, table) in rules.iter().enumerate() {
        for (key, value) in days_of(table.get("on")) {
            found.insert(format!("rule.{index}.{key}"), value);
        }
    }
    found
}

fn announcements_mut(document: &mut DocumentMut) -> Vec<(String, &mut dyn TableLike)> {
    let all = document.get_mut("announcement").and_then(Item::as_table_like_mut);
    let all = all.into_iter().flat_map(|all| all.iter_mut());
    all.filter_map(|(name, item)| Some((name.get().to_owned(), item.as_table_like_mut()?))).collect()
}

/// What counts as the same: a browser ends lines in its own way.
fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '，' | '、' | ';' | '；'))
        .filter(|word| !word.is_empty())
        .collect()
}

fn text_of(item: Option<&Item>, form: Form) -> String {
    let Some(value) = item.and_then(Item::as_value) else {
        return match form {
            Form::Choice(default) | Form::Number(default) => default.to_owned(),
            Form::Flag(default) => flag(default).to_owned(),
            _ => String::new(),
        };
    };
    let between = if matches!(form, Form::Lines) { "\n" } else { " " };
    plain(value, between)
}

fn flag(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn plain(value: &Value, between: &str) -> String {
    match value {
        Value::String(text) => text.value().clone(),
        Value::Boolean(on) => flag(*on.value()).to_owned(),
        Value::Integer(number) => number.value().to_string(),
        Value::Datetime(at) => at.value().to_string(),
        Value::Array(list) => list.iter().map(|one| plain(one, " ")).collect::<Vec<_>>().join(between),
        other => other.to_string().trim().to_owned(),
    }
}

fn set(table: &mut dyn TableLike, key: &str, form: Form, text: &str) {
    let text = tidy(text);
    if text.is_empty() && !matches!(form, Form::Flag(_) | Form::Lines) {
        table.remove(key);
        return;
    }
    let value = match form {
        Form::Flag(_) => Value::from(text == "on"),
        Form::Text | Form::Choice(_) => Value::from(text),
        Form::Number(_) => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        Form::Day => day(&text),
        Form::Lines => {
            let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Value::from).collect();
            return put_list(table, key, lines);
        }
        Form::Words => return put_list(table, key, words(&text).into_iter().map(Value::from).collect()),
        Form::Days => return put_list(table, key, words(&text).into_iter().map(day).collect()),
        Form::During if matches!(text.as_str(), "working-hours" | "after-hours") => Value::from(text),
        Form::During => return put_list(table, key, words(&text).into_iter().map(Value::from).collect()),
    };
    put(table, key, value);
}

/// A date, or what was written in its place.
fn day(text: &str) -> Value {
    text.parse::<Date>().map_or_else(|_| Value::from(text), |date| Value::from(super::cancel::datetime(date)))
}

/// Writes a list; what stays in it keeps its form and its comments.
fn put_list(table: &mut dyn TableLike, key: &str, wanted: Vec<Value>) {
    let same = |a: &Value, b: &Value| plain(a, " ") == plain(b, " ");
    if let Some(list) = table.get_mut(key).and_then(Item::as_array_mut) {
        let stays: Vec<_> = list.iter().filter(|old| wanted.iter().any(|new| same(old, new))).cloned().collect();
        let is_prefix = stays.len() <= wanted.len() && stays.iter().zip(&wanted).all(|(old, new)| same(old, new));
        if is_prefix {
            list.retain(|old| wanted.iter().any(|new| same(old, new)));
            // The space before the bracket stays before the bracket.
            let last = list.len().checked_sub(1).filter(|_| wanted.len() > stays.len()).and_then(|at| list.get_mut(at));
            let space = last.and_then(|last| {
                let space = last.decor().suffix()?.as_str().filter(|space| !space.contains('#'))?.to_owned();
                last.decor_mut().set_suffix("");
                Some(space)
            });
            wanted.into_iter().skip(stays.len()).for_each(|new| list.push(new));
            if let (Some(space), Some(at)) = (space, list.len().checked_sub(1))
                && let Some(last) = list.get_mut(at)
            {
                last.decor_mut().set_prefix(" ");
                last.decor_mut().set_suffix(space);
            }
            return;
        }
    }
    put(table, key, Value::Array(wanted.into_iter().collect()));
}

/// Returns the fields of `on`: which set, its values, each day of the week.
fn days_of(item: Option<&Item>) -> Vec<(String, String)> {
    let mut week = [false; 7];
    let (kind, list) = match item {
        None => ("every-day".to_owned(), String::new()),
        Some(item) => match (item.as_array(), item.as_table_like()) {
            (Some(days), _) => {
                for (day, on) in WEEK.iter().zip(&mut week) {
                    *on = days.iter().any(|one| one.as_str() == Some(day));
                }
                ("weekdays".to_owned(), String::new())
            }
            (_, Some(set)) => {
                let known = set.iter().find(|(key, _)| SETS.contains(key));
                let value = known.and_then(|(_, item)| item.as_value()).map(|value| plain(value, " "));
                (known.map_or_else(|| "every-day".to_owned(), |(key, _)| key.to_owned()), value.unwrap_or_default())
            }
            _ => (item.as_value().map(|value| plain(value, " ")).unwrap_or_default(), String::new()),
        },
    };
    let mut found = vec![("on".to_owned(), kind), ("on-list".to_owned(), list)];
    found.extend(WEEK.iter().zip(week).map(|(day, on)| (format!("on-{day}"), flag(on).to_owned())));
    found
}

fn set_days(table: &mut dyn TableLike, value: &dyn Fn(&str) -> String) {
    let kind = value("on");
    if kind == "weekdays" {
        let days = WEEK.iter().filter(|day| value(&format!("on-{day}")) == "on").map(|day| Value::from(*day));
        put_list(table, "on", days.collect());
    } else if SETS.contains(&kind.as_str()) {
        let text = value("on-list");
        let one = |word: &str| match kind.as_str() {
            "dates" => day(word),
            "lunar-day-ends" => word.parse::<i64>().map_or_else(|_| Value::from(word), Value::from),
            _ => Value::from(word),
        };
        let mut set = InlineTable::new();
        set.insert(&kind, Value::Array(words(&text).into_iter().map(one).collect()));
        put(table, "on", Value::InlineTable(set));
    } else {
        put(table, "on", Value::from(kind));
    }
}
