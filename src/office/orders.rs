//! Commands: play, emergency, stop, volume, call for a report (抽查点名); who will hear them, and what became of them.
//!
//! A command is signed, kept and put on record in one change; the watches hand it out until its deadline. What a page says
//! of it is what stations said: never that it was sent.
//!
//! Always true: no two commands under one key have the same counter, however many office processes there are, and the
//! counters rise with the revisions.
//!
//! Not here: who may order what (the pages), what a station makes of it ([`crate::link::station`]).

mod follow;
#[cfg(test)]
mod tests;

pub use follow::{AtStation, Followed, Overview};

use super::{
    Office,
    desk::DeskError,
    store::{Deed, Ordered, StationState, StoreError},
};
use crate::{
    clock, gate,
    link::{
        BlobId, Command, CommandId, Division, Envelope, Kind, Op, StationId, Targets,
        command::{Audio, Speech},
        office::Issued,
    },
    schedule::Volume,
    text::Said,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A play and an emergency are not worth hearing later than this.
const SPEECH: SignedDuration = SignedDuration::from_mins(10);
/// A stop goes on stopping for as long as anything can sound.
const STOP: SignedDuration = gate::LONGEST;
/// A volume is right whenever it comes.
const VOLUME: SignedDuration = SignedDuration::from_hours(24);
/// Who answers later than this was not there when he was called.
const REPORT: SignedDuration = SignedDuration::from_secs(60);
/// How long something may sound whose length is not known.
const UNKNOWN_LENGTH: SignedDuration = SignedDuration::from_mins(10);
/// What a sound may be longer than was thought.
const SLACK: SignedDuration = SignedDuration::from_secs(10);
/// The largest sounds that travel inside a command, in bytes: an emergency does not wait for another request.
const LARGEST_INLINE: usize = 64 << 10;
/// The longest name of a person that a command carries, in characters.
const LONGEST_NAME: usize = 64;

/// A sound to be heard at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Clip {
    /// One that is among the blobs.
    Stored {
        /// Which.
        sha256: BlobId,
    },
    /// One that was made for this, of at most 64 KiB.
    Inline {
        /// What people call it.
        title: String,
        /// The file, in base64.
        base64: String,
    },
}

/// What is to be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// What people call it.
    pub title: String,
    /// One after the other.
    pub clips: Vec<Clip>,
    /// For a screen beside the loudspeaker, and for the journal.
    #[serde(default)]
    pub text: String,
    /// In percent of the station's volume.
    #[serde(default = "full")]
    pub volume: Volume,
    /// It sounds no longer than this; as long as its sounds are where that is not said.
    #[serde(default)]
    pub longest: Option<SignedDuration>,
}

fn full() -> Volume {
    Volume::FULL
}

/// What every command has, whatever it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whom it is for.
    pub targets: Targets,
    /// How long it waits to be begun; as long as is usual where that is not said.
    pub lives: Option<SignedDuration>,
    /// 演练
    pub drill: bool,
    /// For the office's own record.
    pub note: String,
    /// Commands that this one takes the place of.
    pub supersedes: BTreeSet<CommandId>,
}

/// What is to be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// One command, wherever it sounds or is still to sound.
    Command(CommandId),
    /// Everything that this office ordered.
    Everything {
        /// Where.
        targets: Targets,
        /// Emergencies too.
        emergencies: bool,
    },
}

/// A station that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hearer {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// A watch of it is open.
    pub up: bool,
    /// The last word from it.
    pub heard: Option<Timestamp>,
}

/// A command that is about to be signed.
#[derive(Clone)]
struct Draft<'a> {
    title: &'a str,
    op: Op,
    /// Under the key of emergencies.
    is_emergency: bool,
    terms: Terms,
    lives: SignedDuration,
    all_clear: Option<&'a Words>,
}

impl Office {
    /// Returns who will hear a command with these targets, those that are not there last. Ask before it is issued.
    pub async fn hearers(&self, targets: &Targets) -> Result<Vec<Hearer>, DeskError> {
        let generation = self.keys.generation();
        let mut stations = self.store.stations().await?;
        stations.retain(|station| station.state == StationState::Active && targets.include(&station.place(generation)));
        let hearer = |station: super::store::Station| Hearer {
            station: station.id,
            name: station.name,
            up: station.up,
            heard: station.heard,
        };
        let mut hearers: Vec<_> = stations.into_iter().map(hearer).collect();
        hearers.sort_by_key(|hearer| !hearer.up);
        Ok(hearers)
    }

    /// Plays something now, within quiet hours, hush and stop.
    pub async fn issue_play(&self, who: &str, words: &Words, terms: Terms) -> Result<CommandId, DeskError> {
        let op = Op::Play(self.speech(words, terms.drill).await?);
        let draft = Draft { title: &words.title, op, is_emergency: false, terms, lives: SPEECH, all_clear: None };
        self.issue(who, draft).await
    }

    /// Speaks to everybody who is meant, above everything else. `all_clear` is kept, unsigned, to be said when it is over.
    pub async fn issue_emergency(
        &self,
        who: &str,
        words: &Words,
        terms: Terms,
        all_clear: Option<&Words>,
    ) -> Result<CommandId, DeskError> {
        let op = Op::Emergency(self.speech(words, terms.drill).await?);
        if let Some(all_clear) = all_clear {
            // What could not be said later is found now.
            self.speech(all_clear, terms.drill).await?;
        }
        let draft = Draft { title: &words.title, op, is_emergency: true, terms, lives: SPEECH, all_clear };
        self.issue(who, draft).await
    }

    /// Says that an emergency is over, to all to whom it was said, and ends it where it still sounds: with the words that
    /// were prepared for it, or by silence alone where none were.
    pub async fn issue_all_clear(&self, who: &str, emergency: CommandId) -> Result<CommandId, DeskError> {
        let ordered = self.ordered(emergency).await?;
        if ordered.op != "emergency" {
            return Err(DeskError::refused(
                "它不是紧急播报，没有解除",
                "it was no emergency, and nothing is to be cleared",
            ));
        }
        let Some(prepared) = &ordered.all_clear else { return self.issue_stop(who, Stop::Command(emergency)).await };
        let words: Words = super::store::read(serde_json::from_str(prepared))?;
        let terms = Terms {
            targets: ordered.targets,
            drill: ordered.drill,
            supersedes: [emergency].into(),
            note: ordered.title,
            ..Terms::default()
        };
        self.issue_emergency(who, &words, terms, None).await
    }

    /// Ends what sounds, and what is still to sound.
    pub async fn issue_stop(&self, who: &str, stop: Stop) -> Result<CommandId, DeskError> {
        let now = clock::wall();
        let (command, targets, is_emergency, drill, title, lives) = match stop {
            Stop::Command(id) => {
                let ordered = self.ordered(id).await?;
                if !matches!(ordered.op.as_str(), "play" | "emergency") {
                    return Err(DeskError::refused(
                        "这条指令不出声，没有可停的",
                        "it makes no sound, and nothing is to be stopped",
                    ));
                }
                // It has to outlive what it stops.
                let lives = ordered.not_after.duration_since(now).max(STOP).min(VOLUME);
                let is_emergency = ordered.op == "emergency";
                (Some(id), ordered.targets, is_emergency, ordered.drill, format!("停播：{}", ordered.title), lives)
            }
            Stop::Everything { targets, emergencies } => {
                (None, targets, emergencies, false, "停播全部".to_owned(), STOP)
            }
        };
        let terms = Terms { targets, drill, ..Terms::default() };
        let draft = Draft { title: &title, op: Op::Stop { command }, is_emergency, terms, lives, all_clear: None };
        self.issue(who, draft).await
    }

    /// Sets the volume of stations, under their own ceilings.
    pub async fn issue_volume(&self, who: &str, volume: Volume, terms: Terms) -> Result<CommandId, DeskError> {
        let title = format!("音量 {}%", volume.percent());
        let op = Op::Volume { volume };
        let draft = Draft { title: &title, op, is_emergency: false, terms, lives: VOLUME, all_clear: None };
        self.issue(who, draft).await
    }

    /// 抽查点名: calls stations for a report. [`Office::command`] says who answered, and what.
    pub async fn issue_report(&self, who: &str, terms: Terms) -> Result<CommandId, DeskError> {
        let op = Op::Report;
        let draft = Draft { title: "抽查点名", op, is_emergency: false, terms, lives: REPORT, all_clear: None };
        self.issue(who, draft).await
    }

    async fn ordered(&self, id: CommandId) -> Result<Ordered, DeskError> {
        let ordered = self.store.command(id).await?;
        ordered.ok_or_else(|| DeskError::refused("没有这条指令", "there is no such command"))
    }

    /// Makes words into what a command carries.
    async fn speech(&self, words: &Words, drill: bool) -> Result<Speech, DeskError> {
        let stored = self.store.sounds().await?;
        let (mut audio, mut length, mut is_known) = (Vec::new(), SignedDuration::ZERO, true);
        for clip in &words.clips {
            audio.push(match clip {
                Clip::Stored { sha256 } => {
                    let sound = stored.get(sha256).ok_or_else(|| {
                        DeskError::refused("有的音频不在中心了；请重新选", "a sound is not here any more; choose again")
                    })?;
                    let milliseconds = i64::try_from(sound.duration_ms).unwrap_or(i64::MAX);
                    length = length.saturating_add(SignedDuration::from_millis(milliseconds));
                    Audio { title: sound.title.clone(), sha256: *sha256, bytes: sound.bytes, inline: None }
                }
                Clip::Inline { title, base64 } => {
                    is_known = false;
                    let bytes = BASE64.decode(base64).ok().filter(|bytes| (1..=LARGEST_INLINE).contains(&bytes.len()));
                    let bytes = bytes.ok_or_else(|| {
                        DeskError::refused(
                            "随指令下发的音频要在 64 KB 以内；请上传为音频再选它",
                            "a sound inside a command has 64 KB at most; upload it and choose it",
                        )
                    })?;
                    Audio {
                        title: title.clone(),
                        sha256: BlobId::of(&bytes),
                        bytes: bytes.len() as u64,
                        inline: Some(BASE64.encode(&bytes)),
                    }
                }
            });
        }
        if audio.is_empty() {
            return Err(DeskError::refused(
                "没有选要播的音频；请至少选一个",
                "no sound was chosen; choose one at least",
            ));
        }
        let longest = words.longest.unwrap_or(if is_known { length.saturating_add(SLACK) } else { UNKNOWN_LENGTH });
        let longest = longest.clamp(SignedDuration::from_secs(1), gate::LONGEST);
        Ok(Speech {
            audio,
            text: words.text.clone(),
            max_ms: u64::try_from(longest.as_millis()).unwrap_or(1),
            volume: words.volume,
            drill,
        })
    }

    /// Signs a command, keeps it and puts it on record; then the watches hand it out. An emergency finds room on a full disk.
    async fn issue(&self, who: &str, draft: Draft<'_>) -> Result<CommandId, DeskError> {
        match self.keep_order(who, draft.clone()).await {
            Err(DeskError::Store(StoreError::Full(_))) if draft.is_emergency && self.spare.give() => {
                tracing::warn!("the disk is full; what was kept back for an emergency is used");
                self.keep_order(who, draft).await
            }
            issued => issued,
        }
    }

    async fn keep_order(&self, who: &str, draft: Draft<'_>) -> Result<CommandId, DeskError> {
        let about = self.store.about().await?;
        let about = about.ok_or_else(|| DeskError::refused("本中心还没有设置", "this office has not been set up"))?;
        let targets = draft.terms.targets;
        within(&targets, &about.division)?;
        if self.hearers(&targets).await?.is_empty() {
            return Err(DeskError::refused(
                "没有一个已接入的站点会听到；请改选村、分组或区划",
                "no station that was taken in would hear it; choose others",
            ));
        }
        let all_clear = draft.all_clear.map(serde_json::to_string).transpose();
        let all_clear = super::store::read(all_clear)?;
        let mut change = self.change_to_sign().await?;
        // Under the lock of the change: keys are renewed in changes too.
        let signer = if draft.is_emergency { self.keys.emergency() } else { self.keys.content() };
        let now = clock::wall();
        let id = super::store::read(CommandId::try_from(uuid::Uuid::now_v7()))?;
        let not_after = now.saturating_add(draft.terms.lives.unwrap_or(draft.lives)).unwrap_or(Timestamp::MAX);
        let drill = draft.terms.drill;
        let command = Command {
            id,
            generation: self.keys.generation(),
            counter: change.next_counter(&signer.kid, now).await?,
            issued: now,
            not_after,
            targets,
            operator: who.chars().take(LONGEST_NAME).collect(),
            supersedes: draft.terms.supersedes,
            op: draft.op,
        };
        let envelope = super::store::read(Envelope::of(Kind::Command, &command, std::slice::from_ref(&signer)))?;
        // As a station will read it: what it would refuse is not issued.
        Issued::read(envelope.text()).map_err(|why| DeskError::Refused(why.said()))?;
        let ordered = Ordered {
            id,
            revision: change.revision,
            op: command.op.name().to_owned(),
            kid: signer.kid,
            counter: command.counter,
            issued: now,
            not_after,
            drill,
            title: draft.title.to_owned(),
            targets: command.targets,
            envelope: envelope.text().to_owned(),
            made_by: who.to_owned(),
            note: draft.terms.note,
            all_clear,
        };
        change.keep_command(&ordered).await?;
        let drill = if drill { "（演练）" } else { "" };
        change.commit(who, Deed::Ordered, &id.to_string(), &format!("{}{drill} {}", ordered.op, ordered.title)).await?;
        self.watches.hint();
        Ok(id)
    }
}

/// Refuses what the office's keys may not speak to: every station would refuse the whole command.
fn within(targets: &Targets, division: &Division) -> Result<(), DeskError> {
    match targets.divisions.iter().find(|target| !division.contains(target)) {
        Some(outside) => Err(DeskError::Refused(Said::new(
            format!("区划 {outside} 不归本中心（{division}）管；请去掉"),
            format!("the division {outside} does not belong to this office ({division}); take it out"),
        ))),
        None => Ok(()),
    }
}
