//! One announcement at one moment.

use crate::{
    outcome::Reason,
    schedule::{AnnouncementName, Band, ClipPath, Source, Volume},
};
use jiff::{SignedDuration, Timestamp, civil::DateTime};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names an occurrence for ever: derived from what falls due and when, so it survives restarts and edits.
///
/// `station/daily/morning@2026-06-17T06:30:00`, `manual/UUIDv7`, `command/ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OccurrenceId(String);

impl OccurrenceId {
    /// The id of a scheduled occurrence; `due` is local wall time.
    pub fn scheduled(source: Source, schedule: &str, announcement: &str, due: DateTime) -> Self {
        let source = match source {
            Source::Station => "station",
            Source::Town => "town",
            Source::County => "county",
        };
        let due = due.to_string();
        let mut id = String::with_capacity(source.len() + schedule.len() + announcement.len() + due.len() + 3);
        for part in [source, "/", schedule, "/", announcement, "@", &due] {
            id.push_str(part);
        }
        Self(id)
    }

    /// The id of a play asked for by a person.
    pub fn manual(id: uuid::Uuid) -> Self {
        Self(format!("manual/{id}"))
    }

    /// Returns whether a person or a command asked for it, and no plan held it.
    pub fn is_asked(&self) -> bool {
        self.0.starts_with("manual/") || self.0.starts_with("command/")
    }

    /// The id as it stands in the journal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for OccurrenceId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the plan makes of an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is to sound.
    Play,
    /// It was due and is left out, for this reason (one of those that fit `skipped`).
    Skip(Reason),
}

/// One announcement at one moment, with everything that is needed to play it.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// Derived from source, schedule, announcement and local due.
    pub id: OccurrenceId,
    /// Who issued it.
    pub source: Source,
    /// The file's stem.
    pub schedule: String,
    /// The announcement's key.
    pub announcement: AnnouncementName,
    /// What people call it.
    pub title: String,
    /// When it falls due.
    pub due: Timestamp,
    /// The same on the wall clock of the station's zone, as the rule wrote it.
    pub local: DateTime,
    /// When its sound is planned to begin: due, or the end of what it waits for.
    pub start: Timestamp,
    /// How pressing it is.
    pub band: Band,
    /// Sounds first.
    pub chime: Option<ClipPath>,
    /// What plays, in order.
    pub clips: Vec<ClipPath>,
    /// Expected length of chime and clips together.
    pub expected: SignedDuration,
    /// How late it may still start.
    pub grace: SignedDuration,
    /// Cuts a running announcement of the same band.
    pub hard: bool,
    /// In percent of the station's volume.
    pub volume: Volume,
    /// For a screen beside the loudspeaker.
    pub screen: Option<String>,
    /// To play or to skip.
    pub verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_or_a_command_asks_for_is_told_from_what_is_planned() {
        let due = jiff::civil::date(2026, 6, 17).at(6, 30, 0, 0);
        for (id, is_asked) in [
            (OccurrenceId::scheduled(Source::Station, "manual", "manual", due), false),
            (OccurrenceId::scheduled(Source::Town, "daily", "command", due), false),
            (OccurrenceId::manual(uuid::Uuid::nil()), true),
            (OccurrenceId::from("command/0197a3c2-0000-7000-8000-000000000000".to_owned()), true),
        ] {
            assert_eq!(id.is_asked(), is_asked, "{id}");
        }
    }
}
