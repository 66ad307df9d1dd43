//! Something to say: chime, clips, band, volume, screen text.

use super::Source;
use crate::text::Language;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How pressing an announcement is; a higher band cuts a lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// Goes on, at −12 dB, under `normal` and `urgent`.
    Background,
    /// The default.
    #[default]
    Normal,
    /// Case bulletins, and what a person plays by hand.
    Urgent,
    /// A command, never a file: the only band that passes quiet hours.
    Emergency,
}

impl Band {
    /// The band in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        match self {
            Self::Background => language.pick("背景", "background"),
            Self::Normal => language.pick("普通", "normal"),
            Self::Urgent => language.pick("优先", "urgent"),
            Self::Emergency => language.pick("紧急", "emergency"),
        }
    }
}

/// How loud a sound plays, in percent. Checked once where it enters, so nobody below checks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Volume(u8);

/// A volume above 100 %.
#[derive(Debug, thiserror::Error)]
#[error("volume {percent} is above 100")]
pub struct TooLoud {
    percent: u8,
}

impl Volume {
    /// As loud as the station allows.
    pub const FULL: Self = Self(100);

    /// In percent, 0 to 100.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// The factor on a sample: `(percent / 100)^3`, so that equal steps sound equal.
    pub fn gain(self) -> f32 {
        (f32::from(self.0) / 100.0).powi(3)
    }
}

impl TryFrom<u8> for Volume {
    type Error = TooLoud;
    fn try_from(percent: u8) -> Result<Self, TooLoud> {
        match percent {
            0..=100 => Ok(Self(percent)),
            _ => Err(TooLoud { percent }),
        }
    }
}

impl From<Volume> for u8 {
    fn from(volume: Volume) -> Self {
        volume.0
    }
}

/// A clip's path under `audio/`, with `/` on every system: relative, no `..`, no empty part, no control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClipPath(String);

/// Where sounds that offices delivered have their paths.
const TOWN: &str = ".town/";
const COUNTY: &str = ".county/";
const SOUND: &str = ".sound/";

/// A path that would leave `audio/` or cannot be a file's.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not a path under audio/")]
pub struct ClipPathError {
    path: String,
}

impl ClipPath {
    /// The path as written, with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a sound that came with the plan of an office: no file of `audio/` can have it, since import passes over
    /// names that begin with a dot. So an office's clip never stands in the place of a local one, nor in another office's.
    pub fn delivered(source: Source, path: &Self) -> Self {
        match source {
            Source::Station => path.clone(),
            Source::Town => Self(format!("{TOWN}{path}")),
            Source::County => Self(format!("{COUNTY}{path}")),
        }
    }

    /// The path of a delivered sound by what it is, whatever a plan calls it.
    pub fn sound(sha256: impl fmt::Display) -> Self {
        Self(format!("{SOUND}{sha256}"))
    }

    /// Returns whether it is a file of `audio/`.
    pub fn is_local(&self) -> bool {
        !self.0.starts_with('.')
    }

    /// The file's name without its ending.
    pub fn stem(&self) -> &str {
        let name = self.0.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Where it is, as people and findings name it: under `audio/`, or with the office that delivered it.
    pub fn file(&self) -> String {
        match self.0.strip_prefix('.') {
            Some(delivered) => delivered.to_owned(),
            None => format!("audio/{self}"),
        }
    }

    /// The path as its own schedule calls it.
    pub fn named(&self) -> &str {
        let path = self.0.strip_prefix(TOWN).or_else(|| self.0.strip_prefix(COUNTY));
        path.unwrap_or(&self.0)
    }

    /// Returns whether the file lies in this folder or below it.
    pub fn is_in(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for ClipPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClipPath {
    type Error = ClipPathError;
    fn try_from(path: String) -> Result<Self, ClipPathError> {
        let sound = !path.is_empty()
            && path.len() <= 1024
            && !path.contains(|c: char| c.is_control() || c == '\\' || c == ':')
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if sound { Ok(Self(path)) } else { Err(ClipPathError { path }) }
    }
}

impl From<ClipPath> for String {
    fn from(path: ClipPath) -> Self {
        path.0
    }
}

/// One item of `play`: a clip, or a folder that stands for its clips.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlayPath {
    /// One file.
    Clip(ClipPath),
    /// Every clip below this folder; written with a `/` at its end, kept here without.
    Folder(ClipPath),
}

impl fmt::Display for PlayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clip(path) => write!(f, "{path}"),
            Self::Folder(path) => write!(f, "{path}/"),
        }
    }
}

/// Which of an announcement's clips one occurrence plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pick {
    /// One a time, in byte order of path: clip `(d + k) mod n`.
    #[default]
    InTurn,
    /// One a time, in an order drawn anew every n moments.
    Shuffle,
    /// Every clip, in byte order of path.
    All,
}

/// Something to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// What people call it; the key where the file gives none.
    pub title: String,
    /// `false` makes its occurrences `skipped(disabled)`.
    pub enabled: bool,
    /// Never [`Band::Emergency`].
    pub band: Band,
    /// Sounds first.
    pub chime: Option<ClipPath>,
    /// At least one.
    pub play: Vec<PlayPath>,
    /// Which of the clips.
    pub pick: Pick,
    /// In percent of the station's volume.
    pub volume: Volume,
    /// For a screen beside the loudspeaker.
    pub screen: Option<String>,
}
