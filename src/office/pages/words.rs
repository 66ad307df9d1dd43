//! Every text of the office's pages, one file a language; each page names its own part.

use super::{
    assess, campaigns, enrol, first_run, frame, groups, journal, keys, orders, people, records, sounds, station,
    stations, targets, volume,
};
use crate::{
    text::Language,
    web::{SiteWords, Texts, read_words},
};
use serde::Deserialize;
use std::sync::LazyLock;

/// The texts of all pages in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub site: SiteWords,
    pub frame: frame::Words,
    pub stations: stations::Words,
    pub station: station::Words,
    pub enrol: enrol::Words,
    pub groups: groups::Words,
    pub targets: targets::Words,
    pub orders: orders::Words,
    pub volume: volume::Words,
    pub sounds: sounds::Words,
    pub campaigns: campaigns::Words,
    pub assess: assess::Words,
    pub journal: journal::Words,
    pub people: people::Words,
    pub keys: keys::Words,
    pub records: records::Words,
    pub first_run: first_run::Words,
}

static CHINESE: LazyLock<Words> = LazyLock::new(|| read_words(include_str!("words/zh.toml")));
static ENGLISH: LazyLock<Words> = LazyLock::new(|| read_words(include_str!("words/en.toml")));

impl Words {
    /// Returns the texts in this language.
    pub fn of(language: Language) -> &'static Self {
        language.pick(&CHINESE, &ENGLISH)
    }
}

impl Texts for Words {
    fn of(language: Language) -> &'static Self {
        Self::of(language)
    }

    fn site(&self) -> &SiteWords {
        &self.site
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_language_lacks_a_text_or_a_value_in_it() {
        Words::of(Language::Chinese);
        Words::of(Language::English);
        crate::web::compare_words(include_str!("words/zh.toml"), include_str!("words/en.toml"));
    }
}
