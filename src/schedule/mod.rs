//! What plays and when: one file of announcements and rules.
//!
//! Pure values. Text becomes a [`Schedule`] and its [`Finding`]s in [`mod@file`]; moments are found in [`crate::plan`].

mod announcement;
pub(crate) mod edit;
pub mod file;
mod finding;
mod rule;

pub use announcement::{Announcement, Band, ClipPath, ClipPathError, Pick, PlayPath, TooLoud, Volume};
pub use finding::{Finding, Severity};
pub use rule::{CronError, CronLine, During, Rule, When};

use crate::text::Language;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of an announcement in its file: letters, digits, `-` and `_` of any script, 1 to 64 characters.
pub type AnnouncementName = String;

/// Returns whether `name` may name an announcement, and a schedule that the pages make.
pub fn is_name(name: &str) -> bool {
    let letters = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    letters && (1..=64).contains(&name.chars().count())
}

/// Who issued a schedule; at an equal moment and band the highest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file in the station's own `schedules/`.
    Station,
    /// A plan delivered by the town office.
    Town,
    /// A plan delivered by the county.
    County,
}

impl Source {
    /// The source in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        match self {
            Self::Station => language.pick("本站", "this station"),
            Self::Town => language.pick("镇中心", "the town"),
            Self::County => language.pick("县中心", "the county"),
        }
    }
}

/// One file of announcements, the rules by which they fall due, and one-day overrides.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The file's stem: `daily` for `schedules/daily.toml`.
    pub name: String,
    /// Who issued it.
    pub source: Source,
    /// What people call it; the file's stem where the file gives none.
    pub title: String,
    /// `false` makes all of its occurrences `skipped(disabled)`.
    pub enabled: bool,
    /// First day, inclusive.
    pub from: Option<Date>,
    /// Last day, inclusive.
    pub until: Option<Date>,
    /// By key, in order of key.
    pub announcements: BTreeMap<AnnouncementName, Announcement>,
    /// In order of the file.
    pub rules: Vec<Rule>,
    /// In order of the file.
    pub overrides: Vec<Override>,
}

impl Schedule {
    /// Gives the sounds of a delivered schedule the paths that they have at a station: [`ClipPath::delivered`].
    pub fn at_station(mut self) -> Self {
        let source = self.source;
        let there = |path: &ClipPath| ClipPath::delivered(source, path);
        for announcement in self.announcements.values_mut() {
            announcement.chime = announcement.chime.as_ref().map(there);
            for play in &mut announcement.play {
                *play = match play {
                    PlayPath::Clip(path) => PlayPath::Clip(there(path)),
                    PlayPath::Folder(path) => PlayPath::Folder(there(path)),
                };
            }
        }
        self
    }

    /// The file that it was read from, as findings name it.
    pub fn file(&self) -> String {
        file_of(self.source, &self.name)
    }
}

/// Names the file of a schedule: relative to the home, or as it came from an office.
pub fn file_of(source: Source, name: &str) -> String {
    let folder = match source {
        Source::Station => "schedules",
        Source::Town => "town",
        Source::County => "county",
    };
    format!("{folder}/{name}.toml")
}

/// What one date does to every rule of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The moment's own date.
    pub date: Date,
    /// Which announcements it cancels.
    pub cancel: Cancel,
    /// Why, for the people who ask.
    pub note: String,
}

/// Which announcements an [`Override`] cancels.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancel {
    /// Every one in the file.
    All,
    /// These keys.
    Named(Vec<AnnouncementName>),
}

impl Override {
    /// Returns whether this override cancels `announcement`.
    pub fn cancels(&self, announcement: &str) -> bool {
        match &self.cancel {
            Cancel::All => true,
            Cancel::Named(names) => names.iter().any(|name| name == announcement),
        }
    }
}
