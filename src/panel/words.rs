//! Every text of the pages, one file a language: `words/zh.toml` and `words/en.toml`. Each page names its own part, so a
//! text that one language lacks does not compile into a program that starts: a test reads both.

use super::{clips, first_run, frame, journal, now, plan, schedules, screen, settings};
use crate::{
    text::Language,
    web::{SiteWords, Texts, read_words},
};
use serde::Deserialize;
use std::sync::LazyLock;

pub(super) use crate::web::fill;

/// The texts of all pages in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Words {
    pub site: SiteWords,
    pub frame: frame::Words,
    pub now: now::Words,
    pub plan: plan::Words,
    pub clips: clips::Words,
    pub journal: journal::Words,
    pub schedules: schedules::Words,
    pub first_run: first_run::Words,
    pub settings: settings::Words,
    pub screen: screen::Words,
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
