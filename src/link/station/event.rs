//! What can happen to the station's end of the link, and what it can do about it.

use super::super::{
    BlobId, CommandId, State,
    journal::{Acked, Turned},
    protocol::{Envelopes, Reported, Status, WatchEvent},
    time::Nonce,
};
use super::{Change, Turn};
use crate::{
    schedule::{Band, Source, Volume},
    trust::ClockState,
};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// The clocks of the machine, as the daemon judges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since boot, time asleep included; never steps.
    pub since_boot: Duration,
    /// The wall clock.
    pub wall: Timestamp,
    /// How far the wall clock is believed.
    pub clock: ClockState,
}

/// Which request; never used twice by one link.
pub type RequestId = u64;

/// A request to the office.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Opens a watch. With `wait`, the office answers once, at the latest after so many seconds.
    Watch {
        /// The root in force here.
        root: u64,
        /// To be signed with the time.
        nonce: Nonce,
        /// A long poll.
        wait: Option<u32>,
    },
    /// Asks for the roots after this version.
    Trust {
        /// The root in force here.
        from: u64,
    },
    /// Asks for what the station should have.
    Desired,
    /// Asks for a sound, from this byte on. A transfer that lasts longer than 45 s is ended by the shell, with what has
    /// come; the rest is asked for anew.
    Blob {
        /// Which.
        blob: BlobId,
        /// So many bytes are here.
        from: u64,
        /// So many there are.
        bytes: u64,
    },
    /// Says how the station is.
    Report(Box<Reported>),
    /// Sends rows of the journal: the shell reads them behind `after`, makes a [`super::super::journal::Batch`] of them
    /// and sends that.
    Journal {
        /// Which journal.
        epoch: String,
        /// Everything up to this row is there.
        after: i64,
        /// The last row that may go: an answer beyond what was told to the link would look like another machine's.
        newest: i64,
    },
    /// Says what has become of a command.
    Status(Status),
    /// Asks for the time.
    Time {
        /// To be signed with it.
        nonce: Nonce,
    },
}

/// How much of a sound is here, whole and held against its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it, with the right hash.
    Whole,
    /// Its first bytes; 0 where there is nothing, or where all of it was there with the wrong hash and was thrown away.
    Part(u64),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// 200 with documents.
    Envelopes(Envelopes),
    /// 200 without anything to say; the end of a long poll.
    Done,
    /// The office has rows up to here.
    Acked(Acked),
    /// 409: it did not take them.
    Turned(Turned),
    /// So much of the sound is here now, after a transfer that ended or broke off.
    Blob(Held),
    /// 429, 503, 507: later.
    Later(Option<Duration>),
    /// Anything else: no connection, a time-out, a watch that ended, an answer that makes no sense.
    Failed,
}

/// Everything that can happen to the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time passed.
    Woke,
    /// A watch was accepted: its headers came.
    Opened(RequestId),
    /// A watch said something.
    Watched(RequestId, WatchEvent),
    /// A request came to its end.
    Answered(RequestId, Answer),
    /// The journal's last row.
    Rows {
        /// Which journal.
        epoch: String,
        /// Its number.
        newest: i64,
    },
    /// How much of a sound is here, in answer to [`Action::Look`].
    Found(BlobId, Held),
    /// What became of an errand; for a sound once when it starts and once when its entry is in the journal. An errand that
    /// is carried again after a restart is answered by how far it is.
    Order(CommandId, State),
    /// What the rest of the station has to say has changed.
    Facts(Value),
}

/// Something for the rest of the station to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    /// Plays sounds, which are all here, as the occurrence [`CommandId::occurrence`]. One that is known by this name is
    /// not played again.
    Speak {
        /// Which command.
        id: CommandId,
        /// How pressing it is.
        band: Band,
        /// Titles and sounds, one after the other.
        audio: Vec<(String, BlobId)>,
        /// For a screen.
        text: String,
        /// It sounds no longer than this.
        longest: Duration,
        /// In percent of the station's.
        volume: Volume,
        /// 演练
        drill: bool,
        /// From here on, since boot, it is not begun.
        until: Duration,
        /// Who ordered it.
        operator: String,
    },
    /// Ends the sound of one command, or is the station's 停播 where none is named.
    Stop {
        /// Which command this is; none where another command takes the place of `only`: then nothing is answered.
        id: Option<CommandId>,
        /// Which command it ends.
        only: Option<CommandId>,
        /// An emergency sounds on.
        spares_emergencies: bool,
        /// Who ordered it.
        operator: String,
    },
    /// Sets the station's volume.
    Volume {
        /// Which command this is.
        id: CommandId,
        /// Under the station's ceiling.
        volume: Volume,
        /// Who ordered it.
        operator: String,
    },
}

/// What a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Nothing that the office signed has come for a week.
    OfficeSilent,
    /// The machine's clock and the office's are more than five minutes apart: one of them is wrong.
    ClocksDiffer,
    /// The plan in force should have been looked at again; it plays on.
    PlanOverdue(Source),
    /// The office does not take the journal.
    JournalTurned(Turn),
}

/// Everything the link can do. The shell carries the actions out in order, one after the other; where a [`Action::Keep`]
/// fails, it drops those behind it and makes the link anew from what is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Writes to the disk, durably, before anything behind it.
    Keep(Box<Change>),
    /// Sends a request.
    Ask(RequestId, Call),
    /// Gives a request up and closes its connection.
    Drop(RequestId),
    /// Says how much of a sound is here; answered by [`Event::Found`].
    Look(BlobId, u64),
    /// Stores a sound that came inside a command, whole.
    Store(BlobId, Vec<u8>),
    /// Has the rest of the station do something; answered by [`Event::Order`].
    Carry(Errand),
    /// Raises an alarm, once, until it is cleared.
    Alarm(Alarm),
    /// Takes an alarm back.
    Clear(Alarm),
}
