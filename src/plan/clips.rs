//! What the plan needs to know about the sounds in `audio/`.

use crate::{
    schedule::{ClipPath, PlayPath},
    text::Said,
};
use jiff::{SignedDuration, civil::Date};
use std::{collections::BTreeMap, path::PathBuf};

/// What became of a file at import.
#[derive(Debug, Clone, PartialEq)]
pub enum ClipState {
    /// Prepared; plays.
    Ready {
        /// Of the file in `audio/`, lower-case hex.
        sha256: String,
        /// The prepared sound: FLAC, 48 kHz, mono.
        file: PathBuf,
        /// At 48 kHz.
        frames: u64,
        /// Brings it to the station's loudness under the true-peak ceiling; a factor.
        gain: f32,
    },
    /// Seen, and not yet through the ingest child.
    Pending,
    /// Refused, with the sentence for the clerk; its occurrences become `missed(clip-corrupt)`.
    Refused(Said),
}

/// One file of `audio/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// What people call it; the file's stem where nothing says more.
    pub title: String,
    /// First day on which it may play.
    pub valid_from: Option<Date>,
    /// Last day on which it may play.
    pub valid_until: Option<Date>,
    /// Never plays again; kept for the history.
    pub retired: bool,
    /// What became of it.
    pub state: ClipState,
}

/// Sample rate of every prepared sound, in hertz.
pub const RATE: u32 = 48_000;

impl Clip {
    /// Returns the length of the prepared sound; none while there is none.
    pub fn length(&self) -> Option<SignedDuration> {
        match self.state {
            ClipState::Ready { frames, .. } => {
                Some(SignedDuration::from_micros(i64::try_from(frames).ok()?.checked_mul(1_000_000)? / i64::from(RATE)))
            }
            ClipState::Pending | ClipState::Refused(_) => None,
        }
    }

    /// Returns whether the clip may play on `date`.
    pub fn is_valid_on(&self, date: Date) -> bool {
        !self.retired
            && self.valid_from.is_none_or(|from| from <= date)
            && self.valid_until.is_none_or(|until| date <= until)
    }
}

/// The sounds of a station, in byte order of path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clips(pub BTreeMap<ClipPath, Clip>);

impl Clips {
    /// The files of `audio/`, without what offices delivered.
    pub fn local(&self) -> impl Iterator<Item = (&ClipPath, &Clip)> {
        self.0.iter().filter(|(path, _)| path.is_local())
    }

    /// Returns the clip at `path`.
    pub fn get(&self, path: &ClipPath) -> Option<&Clip> {
        self.0.get(path)
    }

    /// Returns the paths that `play` stands for, in byte order, each once. A single path is returned whether or not
    /// the file exists, so that a missing file is missed rather than forgotten.
    pub fn expand(&self, play: &[PlayPath]) -> Vec<ClipPath> {
        let mut paths = Vec::new();
        for item in play {
            match item {
                PlayPath::Clip(path) => paths.push(path.clone()),
                PlayPath::Folder(folder) => {
                    paths.extend(self.0.keys().filter(|path| path.is_in(folder)).cloned());
                }
            }
        }
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}
