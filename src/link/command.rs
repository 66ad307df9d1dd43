//! Something to do now: play, emergency, stop, volume, report; and what becomes of it.
//!
//! A command is delivered until its deadline and dies there: what an outage held back is not spoken when it ends.

use super::{BlobId, Refused, Targets, refused, root::MOST_NUMBER};
use crate::{
    gate,
    ingest::BIGGEST_BYTES,
    outcome::Reason,
    plan::OccurrenceId,
    schedule::{Band, Volume},
    text::Said,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// How long an emergency may wait to be heard.
const EMERGENCY_LIVES: SignedDuration = SignedDuration::from_mins(30);
/// How long any other command may.
pub(super) const LIVES: SignedDuration = SignedDuration::from_hours(24);
/// The largest sound that travels inside a command, in bytes.
const LARGEST_INLINE: usize = 64 << 10;
/// As many sounds as a command may play one after the other.
const MOST_SOUNDS: usize = 16;
/// The longest text for a screen, in characters.
const LONGEST_TEXT: usize = 2_000;
/// As many commands as one may supersede.
const MOST_SUPERSEDED: usize = 100;

/// Names a command for ever: a UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId(uuid::Uuid);

/// A text that is no UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUIDv7")]
pub struct BadCommandId;

impl CommandId {
    /// The occurrence that a play by this command is in the journal.
    pub fn occurrence(self) -> OccurrenceId {
        OccurrenceId::from(format!("command/{self}"))
    }
}

impl TryFrom<uuid::Uuid> for CommandId {
    type Error = BadCommandId;
    fn try_from(id: uuid::Uuid) -> Result<Self, BadCommandId> {
        if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(BadCommandId) }
    }
}

impl TryFrom<String> for CommandId {
    type Error = BadCommandId;
    fn try_from(text: String) -> Result<Self, BadCommandId> {
        let id = uuid::Uuid::try_parse(&text).map_err(|_| BadCommandId)?;
        // One way to write it, so that equal commands have equal names everywhere.
        if id.to_string() == text { Self::try_from(id) } else { Err(BadCommandId) }
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A sound that a command plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// What people call it.
    pub title: String,
    /// What it is.
    pub sha256: BlobId,
    /// How long the file is.
    pub bytes: u64,
    /// The file itself, in base64, where it is at most 64 KiB: an emergency does not wait for another request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

impl Audio {
    /// Returns the bytes that came along, if any did.
    pub fn inlined(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.inline.as_ref()?).ok()
    }
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speech {
    /// One after the other.
    pub audio: Vec<Audio>,
    /// For a screen beside the loudspeaker, and for the journal.
    #[serde(default)]
    pub text: String,
    /// It sounds no longer than this, in milliseconds; at most two hours, as everything.
    pub max_ms: u64,
    /// In percent of the station's volume.
    #[serde(default = "full")]
    pub volume: Volume,
    /// 演练: tells the listeners and the reports that this is not the real thing.
    #[serde(default)]
    pub drill: bool,
}

fn full() -> Volume {
    Volume::FULL
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Plays now, in band `urgent`: bound by quiet hours, hush and stop.
    Play(Speech),
    /// Plays now, in band `emergency`.
    Emergency(Speech),
    /// Ends a play of this office, or all of them where none is named. Under a `content` key it never ends an emergency.
    Stop {
        /// Which; it may not have arrived yet, and is then never heard.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<CommandId>,
    },
    /// Sets the station's volume.
    Volume {
        /// Under the station's ceiling.
        volume: Volume,
    },
    /// 抽查点名: reports now.
    Report,
}

impl Op {
    /// Its name in the document.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Play(_) => "play",
            Self::Emergency(_) => "emergency",
            Self::Stop { .. } => "stop",
            Self::Volume { .. } => "volume",
            Self::Report => "report",
        }
    }

    /// What it has to say, and how pressing it is.
    pub fn speech(&self) -> Option<(&Speech, Band)> {
        match self {
            Self::Play(speech) => Some((speech, Band::Urgent)),
            Self::Emergency(speech) => Some((speech, Band::Emergency)),
            Self::Stop { .. } | Self::Volume { .. } | Self::Report => None,
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Its name.
    pub id: CommandId,
    /// The root's.
    pub generation: u64,
    /// Higher than every one before it under the same key; a station sees only some of them. An office that counts on from
    /// the greater of its last and the time in milliseconds repeats none even after the restore of a backup.
    pub counter: u64,
    /// When it was signed.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub issued: Timestamp,
    /// From here on it is not begun any more.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub not_after: Timestamp,
    /// Whom it is for.
    pub targets: Targets,
    /// Who ordered it, for the journal.
    pub operator: String,
    /// Commands that this one takes the place of.
    pub supersedes: BTreeSet<CommandId>,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// What every command has, whatever it asks for.
#[derive(Deserialize)]
struct Written {
    id: CommandId,
    generation: u64,
    counter: u64,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    issued: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    not_after: Timestamp,
    targets: Targets,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    supersedes: BTreeSet<CommandId>,
    op: String,
}

/// The name alone: what a refusal is told under.
#[derive(Deserialize)]
struct Named {
    id: CommandId,
}

/// Returns the name of the command in a signed payload, even where the rest cannot be understood.
pub(super) fn name_of(payload: &[u8]) -> Option<CommandId> {
    serde_json::from_slice(payload).ok().map(|Named { id }| id)
}

impl Command {
    /// Reads a signed payload, and holds it against everything that needs no key, clock or memory.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Refused> {
        let written: Written = serde_json::from_slice(payload).map_err(Refused::malformed)?;
        let op = match written.op.as_str() {
            "play" | "emergency" | "stop" | "volume" | "report" => {
                serde_json::from_slice(payload).map_err(Refused::malformed)?
            }
            other => return Err(Refused::Unsupported { op: other.chars().take(32).collect() }),
        };
        let Written { id, generation, counter, issued, not_after, targets, operator, supersedes, op: _ } = written;
        let command = Self { id, generation, counter, issued, not_after, targets, operator, supersedes, op };
        command.check()?;
        Ok(command)
    }

    fn check(&self) -> Result<(), Refused> {
        let longest = u64::try_from(gate::LONGEST.as_millis()).unwrap_or(u64::MAX);
        let speech = self.op.speech().map(|(speech, _)| speech);
        refused::unless([
            ((1..=MOST_NUMBER).contains(&self.counter), "counter"),
            (self.operator.chars().count() <= 64, "operator"),
            (self.supersedes.len() <= MOST_SUPERSEDED, "supersedes"),
            (speech.is_none_or(|speech| (1..=MOST_SOUNDS).contains(&speech.audio.len())), "audio"),
            (speech.is_none_or(|speech| (1..=longest).contains(&speech.max_ms)), "max_ms"),
            (speech.is_none_or(|speech| speech.text.chars().count() <= LONGEST_TEXT), "text"),
        ])?;
        for audio in speech.into_iter().flat_map(|speech| &speech.audio) {
            if audio.title.chars().count() > 200 || !(1..=BIGGEST_BYTES).contains(&audio.bytes) {
                return Err(Refused::malformed("a sound"));
            }
            let Some(inline) = &audio.inline else { continue };
            let bytes = BASE64.decode(inline).map_err(Refused::malformed)?;
            if bytes.len() > LARGEST_INLINE {
                return Err(Refused::TooLarge { bytes: bytes.len() as u64, most: LARGEST_INLINE as u64 });
            }
            if BlobId::of(&bytes) != audio.sha256 || bytes.len() as u64 != audio.bytes {
                return Err(Refused::WrongHash { blob: audio.sha256.to_string() });
            }
        }
        let lives = if matches!(self.op, Op::Emergency(_)) { EMERGENCY_LIVES } else { LIVES };
        if self.not_after <= self.issued || self.not_after.duration_since(self.issued) > lives {
            return Err(Refused::Lifetime);
        }
        Ok(())
    }
}

/// How far a command has come at a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It arrived.
    Delivered,
    /// It was checked, and is on the station's disk.
    Verified,
    /// It sounds, or is being done.
    Started,
    /// It sounded, in full or in part as the journal says; or it was done.
    Finished,
    /// Its deadline passed before it could begin.
    Expired,
    /// It was not accepted.
    Rejected(Refused),
    /// A stop or another command took its place before its end.
    Superseded,
    /// It could not be done.
    Failed {
        /// As in the journal.
        why: Reason,
    },
}

impl State {
    fn rank(&self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::Verified => 1,
            Self::Started => 2,
            Self::Finished | Self::Expired | Self::Rejected(_) | Self::Superseded | Self::Failed { .. } => 3,
        }
    }

    /// Returns whether nothing can follow it.
    pub fn is_final(&self) -> bool {
        self.rank() == 3
    }

    /// Moves on to `next`, and returns whether it did: never back, and never on from a final state. So both ends may hear
    /// of states in any order and as often as the network likes.
    pub fn advance(&mut self, next: Self) -> bool {
        let moves = next.rank() > self.rank();
        if moves {
            *self = next;
        }
        moves
    }

    /// The state in the words of whoever reads.
    pub fn said(&self) -> Said {
        match self {
            Self::Delivered => Said::new("已送达", "delivered"),
            Self::Verified => Said::new("已校验", "verified"),
            Self::Started => Said::new("已开始", "started"),
            Self::Finished => Said::new("已完成", "finished"),
            Self::Expired => Said::new("过期", "expired"),
            Self::Rejected(why) => {
                let why = why.said();
                Said::new(format!("拒绝：{}", why.zh), format!("rejected: {}", why.en))
            }
            Self::Superseded => Said::new("已被取代", "superseded"),
            Self::Failed { why } => Said::new(format!("失败：{}", why.zh()), format!("failed: {}", why.en())),
        }
    }
}
