//! Texts that every page server here has in common, one file a language; what differs from one to the other is in the
//! words of its pages, and a part of them in the form of [`SiteWords`].

use super::{Role, code, editor, people::forms, sign_in};
use crate::text::Language;
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Display, sync::LazyLock};

/// The texts in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Words {
    pub frame: FrameWords,
    pub sign_in: sign_in::Words,
    pub people: forms::Words,
    pub first_run: code::Words,
    pub editor: editor::Words,
}

/// Texts around every page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FrameWords {
    pub sign_in: String,
    pub sign_out: String,
    pub other_language: String,
    pub problem: String,
    pub back: String,
    pub pages: String,
    pub skip: String,
    /// What was just done, by its code.
    pub said: BTreeMap<String, String>,
}

/// What each page server says of itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SiteWords {
    pub program: String,
    /// What somebody does who has forgotten the password.
    pub forgotten: String,
    /// What each role may do.
    pub roles: BTreeMap<String, String>,
    /// What was just done, by its code.
    pub said: BTreeMap<String, String>,
}

impl SiteWords {
    /// Returns what a role may do.
    pub fn role(&self, role: &Role) -> &str {
        self.roles.get(role.key()).map_or("", String::as_str)
    }
}

/// The words of a page server's pages.
pub(crate) trait Texts: Send + Sync + 'static {
    /// Returns them in this language.
    fn of(language: Language) -> &'static Self;
    /// Returns what it says of itself.
    fn site(&self) -> &SiteWords;
}

static CHINESE: LazyLock<Words> = LazyLock::new(|| read(include_str!("words/zh.toml")));
static ENGLISH: LazyLock<Words> = LazyLock::new(|| read(include_str!("words/en.toml")));

impl Words {
    /// Returns the texts in this language.
    pub fn of(language: Language) -> &'static Self {
        language.pick(&CHINESE, &ENGLISH)
    }
}

/// Reads a file of words.
pub(crate) fn read<W: DeserializeOwned>(text: &str) -> W {
    // Straight from TOML each of these large structs would be compiled three times: for tables, for dates, for spans.
    let texts: serde_json::Value = toml::from_str(text).expect("the words are compiled in, and a test reads them");
    serde_json::from_value(texts).expect("each page has its words, and a test reads them")
}

/// Puts values into the places of a text: `{n}` is the value named `n`.
pub(crate) fn fill(text: &str, values: &[(&str, &dyn Display)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &value.to_string()))
}

/// Holds two languages against each other: neither lacks a text, or a value in it.
#[cfg(test)]
pub(crate) fn compare(chinese: &str, english: &str) {
    use std::collections::BTreeSet;

    type Places = BTreeSet<(String, Vec<String>)>;

    /// Every text with its key and the places in it.
    fn places(text: &str) -> Places {
        fn walk(path: &str, value: &toml::Value, found: &mut Places) {
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
        let mut found = Places::new();
        walk("", &toml::Value::Table(toml::from_str(text).unwrap()), &mut found);
        found
    }
    let (chinese, english) = (places(chinese), places(english));
    assert_eq!(chinese.difference(&english).collect::<Vec<_>>(), Vec::<&(String, Vec<String>)>::new());
    assert_eq!(english.difference(&chinese).collect::<Vec<_>>(), Vec::<&(String, Vec<String>)>::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_language_lacks_a_text_or_a_value_in_it() {
        Words::of(Language::Chinese);
        Words::of(Language::English);
        compare(include_str!("words/zh.toml"), include_str!("words/en.toml"));
    }

    #[test]
    fn values_stand_in_their_places() {
        assert_eq!(fill("{a} of {b}", &[("a", &1), ("b", &"two")]), "1 of two");
    }
}
