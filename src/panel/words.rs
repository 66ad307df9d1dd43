//! Every text of the pages, one file a language: `words/zh.toml` and `words/en.toml`. Each page names its own part, so a
//! text that one language lacks does not compile into a program that starts: a test reads both.

use super::{clips, first_run, frame, journal, now, plan, schedules, screen, settings, sign_in};
use crate::text::Language;
use serde::Deserialize;
use std::{fmt::Display, sync::LazyLock};

/// The texts of all pages in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub frame: frame::Words,
    pub now: now::Words,
    pub plan: plan::Words,
    pub clips: clips::Words,
    pub journal: journal::Words,
    pub schedules: schedules::Words,
    pub sign_in: sign_in::Words,
    pub first_run: first_run::Words,
    pub settings: settings::Words,
    pub screen: screen::Words,
}

static CHINESE: LazyLock<Words> = LazyLock::new(|| read(include_str!("words/zh.toml")));
static ENGLISH: LazyLock<Words> = LazyLock::new(|| read(include_str!("words/en.toml")));

impl Words {
    /// Returns the texts in this language.
    pub fn of(language: Language) -> &'static Self {
        language.pick(&CHINESE, &ENGLISH)
    }
}

fn read(text: &str) -> Words {
    toml::from_str(text).expect("the words are compiled in, and a test reads them")
}

/// Puts values into the places of a text: `{n}` is the value named `n`.
pub(super) fn fill(text: &str, values: &[(&str, &dyn Display)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every text with its key and the places in it.
    fn places(text: &str) -> BTreeSet<(String, Vec<String>)> {
        fn walk(path: &str, value: &toml::Value, found: &mut BTreeSet<(String, Vec<String>)>) {
            match value {
                toml::Value::Table(table) => {
                    for (key, value) in table {
                        walk(&format!("{path}.{key}"), value, found);
                    }
                }
                toml::Value::String(text) => {
                    assert!(!text.trim().is_empty(), "{path} is empty");
                    let mut names: Vec<_> =
                        text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
                    names.sort();
                    found.insert((path.to_owned(), names));
                }
                other => panic!("{path} is no text: {other}"),
            }
        }
        let mut found = BTreeSet::new();
        walk("", &toml::Value::Table(toml::from_str(text).unwrap()), &mut found);
        found
    }

    #[test]
    fn neither_language_lacks_a_text_or_a_value_in_it() {
        Words::of(Language::Chinese);
        Words::of(Language::English);
        let (chinese, english) = (places(include_str!("words/zh.toml")), places(include_str!("words/en.toml")));
        assert_eq!(chinese.difference(&english).collect::<Vec<_>>(), Vec::<&(String, Vec<String>)>::new());
        assert_eq!(english.difference(&chinese).collect::<Vec<_>>(), Vec::<&(String, Vec<String>)>::new());
    }

    #[test]
    fn values_stand_in_their_places() {
        assert_eq!(fill("{a} of {b}", &[("a", &1), ("b", &"two")]), "1 of two");
    }
}
