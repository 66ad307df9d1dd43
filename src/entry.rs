//! One line of the journal: what became of an occurrence. The chain that proves the lines is a function here.

use crate::{
    outcome::{Evidence, Outcome, Reason},
    plan::OccurrenceId,
    schedule::{Band, Source},
    text::hex,
    trust::ClockState,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A clip as it was when it played: deleting the file never touches history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayedClip {
    /// What people called it.
    pub title: String,
    /// Of the file in `audio/`; empty where it was missing.
    pub sha256: String,
}

/// The clock as it stood when the line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockNote {
    /// How far it was believed.
    pub state: ClockState,
    /// Of the wall clock against the best reference known; none where there is no reference.
    pub offset_ms: Option<i64>,
}

/// What became of an occurrence: the conductor's part of a line, before the journal numbers and chains it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Exactly one entry for each.
    pub occurrence: OccurrenceId,
    /// Who issued it.
    pub source: Source,
    /// The file's stem; `manual` for a play asked for by a person.
    pub schedule: String,
    /// The announcement's key; the clip's path for a play of a clip.
    pub announcement: String,
    /// What people called it.
    pub title: String,
    /// In the order of playing, chime left out.
    pub clips: Vec<PlayedClip>,
    /// How pressing it was.
    pub band: Band,
    /// When it fell due.
    pub due: Timestamp,
    /// When its first sample sounded, as measured.
    pub started: Option<Timestamp>,
    /// When its last sample sounded, or when its fate was settled.
    pub ended: Timestamp,
    /// Expected length.
    pub expected_ms: i64,
    /// Length of what the device accepted.
    pub heard_ms: i64,
    /// Measured start less planned start.
    pub start_error_us: Option<i64>,
    /// The final word.
    pub outcome: Outcome,
    /// Why not in full; none if and only if played.
    pub reason: Option<Reason>,
    /// How much is known about what was heard; none where nothing sounded.
    pub evidence: Option<Evidence>,
    /// The output's stable name.
    pub device: Option<String>,
    /// The highest sample handed to the device.
    pub peak_dbfs: Option<f32>,
    /// The root mean square of all samples handed to the device.
    #[serde(default)]
    pub rms_dbfs: Option<f32>,
    /// How often the device ran dry or its timeline jumped.
    #[serde(default)]
    pub underruns: u32,
    /// Station and announcement together, in percent.
    pub volume: u8,
    /// The clock as it stood.
    pub clock: ClockNote,
    /// Who asked for it.
    pub operator: Option<String>,
    /// The note of a person, or what the journal has to add (`late-write`).
    pub note: Option<String>,
    /// Version of the program in force: the hash of its schedules, 16 hex digits.
    pub revision: String,
}

/// A running announcement as the journal keeps it, outside the chain, until its entry is final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The entry as far as it is known; `outcome` and `reason` are what a power cut now would make of it.
    pub entry: Entry,
    /// When its sound was planned to begin.
    pub start: Timestamp,
    /// When it was last known to sound.
    pub seen: Timestamp,
    /// What to play on re-entry.
    pub playout: crate::speaker::protocol::Playout,
    /// Why it was interrupted first, if it was.
    pub interrupted: Option<Reason>,
    /// Deaths of the speaker during it.
    pub deaths: u8,
}

/// What stands for the hash before the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line of the journal as it is stored: the entry, numbered and chained to the line before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Which journal: the station and its key.
    pub epoch: String,
    /// 1, 2, 3 … without gap.
    pub seq: i64,
    /// What became of an occurrence.
    #[serde(flatten)]
    pub entry: Entry,
    /// The hash of the line before; [`GENESIS`] for the first.
    pub prev: String,
}

/// Writes the line that is stored, hashed and kept as written.
pub fn line(entry: &Entry, epoch: &str, seq: i64, prev: &str) -> serde_json::Result<String> {
    serde_json::to_string(&Line { epoch: epoch.to_owned(), seq, entry: entry.clone(), prev: prev.to_owned() })
}

/// Returns `sha256(prev ‖ line)` in lower-case hex: `prev` as its 64 hex digits, `line` as its UTF-8 bytes.
pub fn chain(prev: &str, line: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(prev);
    hash.update(line);
    hex(&hash.finalize())
}
