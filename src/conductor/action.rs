//! Everything a station can do about it. The daemon carries the actions out in order, one after the other, so that a
//! `Begin` is durable before the `Play` behind it.

use crate::{
    entry::{Entry, Running},
    plan::OccurrenceId,
    schedule::Volume,
    speaker::protocol::Playout,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything a station can do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Writes a running announcement: durable before anything sounds. Again for a re-entry: replaces it.
    Begin(Box<Running>),
    /// Updates a running announcement, every 5 s.
    Progress(Box<Running>),
    /// Forgets a running announcement that never sounded and is no longer owed.
    Abandon(OccurrenceId),
    /// Writes the final entry and removes its running row, in one transaction.
    Finish(Box<Entry>),
    /// Notes that everything up to `tick` is decided, with the newest time seen and the stop, hush and volume in force.
    Tick(Tick),
    /// Notes when a version took effect: it was kept before, without a moment, since the clock may not be believed. A
    /// moment on record only ever moves back: the same schedules with other clips are no new version on record.
    Dated {
        /// Which; the last one kept under this name.
        revision: String,
        /// When.
        effective: Timestamp,
    },
    /// Asks the journal which occurrences due from here on are decided; answered by [`super::Event::Recalled`].
    Recall {
        /// From here on.
        since: Timestamp,
    },
    /// Arms an announcement at the speaker.
    Play {
        /// What and when.
        playout: Playout,
    },
    /// Fades it out, or disarms it.
    Stop(OccurrenceId),
    /// Changes the gain of what sounds.
    Gain {
        /// Which.
        occurrence: OccurrenceId,
        /// The new factor.
        gain: f32,
    },
    /// Kills the speaker: it should make progress and does not.
    ReplaceSpeaker,
    /// Answers a command.
    Answer {
        /// The asker's number.
        ask: u64,
        /// What was done, or why not, for the person who asked.
        answer: Result<Done, Refusal>,
    },
    /// Raises an alarm, once, until it is cleared.
    Alarm(Alarm),
    /// Takes an alarm back.
    Clear(Alarm),
}

/// What the journal keeps of a moment at which everything before it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Everything due before is decided; none while the clock has never been believed.
    pub at: Option<Timestamp>,
    /// The newest time seen.
    pub newest: Option<Timestamp>,
    /// A stop in force.
    pub stopped: Option<Silence>,
    /// A hush in force.
    pub hushed: Option<Silence>,
    /// A volume set by command.
    pub volume: Option<SetVolume>,
}

/// A stop or a hush: what a person ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// It ends by itself then.
    pub until: Timestamp,
    /// Who ordered it.
    pub operator: String,
    /// What for.
    pub note: Option<String>,
}

/// A volume set by command. It stands until the next one, or until the station file says something else: the last word
/// counts, whoever had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetVolume {
    /// What was set.
    pub volume: Volume,
    /// What the station file said at that time.
    pub instead_of: Volume,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It sounds, or waits its turn.
    Playing(OccurrenceId),
    /// Silent until then, or until released.
    Stopped(Timestamp),
    /// The stop is over.
    Released,
    /// Silent until then.
    Hushed(Timestamp),
    /// The hush is over.
    Unhushed,
    /// The volume in force, in percent.
    Volume(u8),
    /// The clock counts as confirmed.
    Confirmed,
}

/// Why a command was refused. Reads on from "没有执行：".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Refusal {
    #[error("没有名为“{0}”的播报或音频；名称见 `dalaba plan` 或 audio/ 文件夹")]
    Unknown(String),
    #[error("音频“{0}”还不能播放：{1}")]
    NotReady(String, String),
    #[error("现在是静音时段；只有紧急播报可以播出")]
    QuietHours,
    #[error("正在停播，到 {0} 为止；先执行 `dalaba release`")]
    Stopped(Timestamp),
    #[error("正在临时静音，到 {0} 为止；先取消静音")]
    Hushed(Timestamp),
    #[error("紧急播报必须写明原因（--note）")]
    NoNote,
    #[error("静音最长 24 小时")]
    HushTooLong,
    #[error("有更高优先级的播报正在播出")]
    Busy,
    #[error("音量不能超过站点上限 {0}%")]
    AboveCeiling(u8),
    #[error("没有可用的声卡；请检查声卡和连线")]
    NoDevice,
}

impl Refusal {
    /// The same in English. Reads on from "Not done: ".
    pub fn en(&self) -> String {
        match self {
            Self::Unknown(name) => format!("there is no announcement or clip `{name}`"),
            Self::NotReady(name, _) => format!("the clips of `{name}` are missing, damaged, or still being imported"),
            Self::QuietHours => "these are quiet hours; only an emergency sounds".into(),
            Self::Stopped(until) => format!("the station is stopped until {until}; release it first"),
            Self::Hushed(until) => format!("the station is hushed until {until}; end the hush first"),
            Self::NoNote => "an emergency needs a note that says why".into(),
            Self::HushTooLong => "a hush lasts 24 hours at most".into(),
            Self::Busy => "something more pressing is playing".into(),
            Self::AboveCeiling(ceiling) => format!("the station's volume goes up to {ceiling} % at most"),
            Self::NoDevice => "there is no sound card; check the card and its cable".into(),
        }
    }
}

/// What a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// The clock is not believed; a person must confirm it.
    ClockUntrusted,
    /// No output opens.
    NoDevice,
    /// Too many crashes; nothing scheduled sounds for 30 minutes.
    SafeMode,
    /// What was handed to the device is silence.
    Silence,
}
