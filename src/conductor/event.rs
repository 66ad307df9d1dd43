//! Everything that can happen to a station.

use super::{SetVolume, Silence};
use crate::{
    entry::Running,
    plan::{OccurrenceId, Program},
    schedule::{AnnouncementName, Band, ClipPath, Volume},
    speaker::protocol::Word,
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Everything that can happen to a station.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time passed, or the clock was looked at again.
    Woke,
    /// Schedules, calendar or clips changed: from now on this program is in force. `revision` names it in entries.
    Reprogrammed {
        /// The new version.
        program: Arc<Program>,
        /// 16 hex digits.
        revision: String,
    },
    /// The station's own limits were changed.
    Limited(Limits),
    /// The speaker said something.
    Speaker(Word),
    /// The speaker process is gone, or was killed because it hung; the daemon is starting another.
    SpeakerDied,
    /// What the journal holds, in answer to [`super::Action::Recall`].
    Recalled {
        /// Every occurrence with a final entry due in the recalled range.
        decided: BTreeSet<OccurrenceId>,
    },
    /// A person or program asks for something; answered by [`super::Action::Answer`] with the same number.
    Asked {
        /// Chosen by the asker.
        ask: u64,
        /// What.
        command: Command,
    },
}

/// What a person may ask of a station.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Plays an announcement or a clip now, in band `urgent`; with a note and an administrator, as an emergency.
    Play {
        /// Made by the shell, so that this stays pure.
        id: OccurrenceId,
        /// What.
        what: Playable,
        /// Who asks.
        operator: String,
        /// Passes quiet hours, hush and an earlier stop.
        emergency: bool,
        /// Required for an emergency.
        note: Option<String>,
    },
    /// Ends what sounds and what waits, and holds until released or for 30 minutes.
    Stop {
        /// Who asks.
        operator: String,
    },
    /// Ends a stop.
    Release {
        /// Who asks.
        operator: String,
    },
    /// Silences until then, at most 24 h; a moment not after now ends the hush.
    Hush {
        /// Until when.
        until: Timestamp,
        /// Who asks.
        operator: String,
        /// What for, as a wedding or a funeral.
        note: Option<String>,
    },
    /// Sets the station's volume.
    Volume {
        /// Under the ceiling.
        volume: Volume,
        /// Who asks.
        operator: String,
    },
    /// An office has something said. Never refused: whatever becomes of it is an entry.
    Order(Box<Order>),
    /// An office ends what it ordered; where no order is named, everything, and holds as a stop does.
    Silence {
        /// Which.
        only: Option<OccurrenceId>,
        /// An emergency sounds on.
        spares_emergencies: bool,
        /// Who ordered it.
        operator: String,
    },
    /// A person says that the clock is right.
    ConfirmClock {
        /// Who says so.
        operator: String,
    },
}

/// Something that an office has said now.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Names it for ever: one that is known is not played again.
    pub id: OccurrenceId,
    /// What people call it.
    pub title: String,
    /// One after the other.
    pub clips: Vec<ClipPath>,
    /// How pressing it is.
    pub band: Band,
    /// It sounds no longer than this.
    pub longest: SignedDuration,
    /// In percent of the station's.
    pub volume: Volume,
    /// For a screen.
    pub screen: Option<String>,
    /// From here on, since boot, it is not begun.
    pub until: Duration,
    /// Who ordered it.
    pub operator: String,
    /// As 演练.
    pub note: Option<String>,
}

/// What can be played by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playable {
    /// One file of `audio/`.
    Clip(ClipPath),
    /// An announcement of a schedule in force; the first by (source, schedule) that has the key.
    Announcement(AnnouncementName),
}

/// What a station remembers when it starts, read from the journal.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The last tick on record: how far everything is decided.
    pub tick: Option<Timestamp>,
    /// The newest time ever seen.
    pub newest: Option<Timestamp>,
    /// Announcements that were running when the last daemon ended.
    pub running: Vec<Running>,
    /// Occurrences with a final entry, due from two days before the tick on.
    pub decided: BTreeSet<OccurrenceId>,
    /// Versions that were in force since the tick: (taking effect, revision, program), in the order in which they came.
    /// The last one is the version in force when the last daemon ended. No moment for one that came while the clock was
    /// not believed: it counts from when the clock is believed again.
    pub versions: Vec<(Option<Timestamp>, String, Arc<Program>)>,
    /// Wall times of daemon starts, this one included, on record.
    pub starts: Vec<Timestamp>,
    /// A stop that was in force.
    pub stopped: Option<Silence>,
    /// A hush that was in force.
    pub hushed: Option<Silence>,
    /// A volume set by command.
    pub volume: Option<SetVolume>,
}

/// The station's limits that are not part of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Of the station.
    pub volume: Volume,
    /// No source gets past it.
    pub ceiling: Volume,
    /// When this program was released: with no journal yet, the clock is plausible from here to ten years later.
    pub released: Timestamp,
    /// How long before its start an announcement is armed.
    pub lead: SignedDuration,
}
