//! A station of the simulation: its disk, its loudspeaker, and the real link between them.

use super::{Dice, world::EPOCH_MS};
use dalaba::{
    entry::{ClockNote, Entry, GENESIS, chain, line},
    link::{
        BlobId, CommandId, State, StationId,
        journal::Batch,
        station::{Errand, Held, Kept, Link, Now},
    },
    outcome::{Outcome, Reason},
    schedule::{Band, Source},
    trust::ClockState,
};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What survives a power cut.
#[derive(Debug, Clone)]
pub struct Disk {
    pub kept: Kept,
    pub blobs: BTreeMap<BlobId, Vec<u8>>,
    /// Line and hash.
    pub rows: Vec<(String, String)>,
    /// What commands came to, as the journal has it.
    pub decided: BTreeMap<CommandId, State>,
    /// What sounds.
    pub running: BTreeMap<CommandId, Band>,
}

/// The machine's clock, from one boot on.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    /// When it booted, in truth.
    pub at: u64,
    /// Of the wall clock against the truth, in ms.
    pub skew: i64,
    pub clock: ClockState,
}

pub struct Village {
    pub name: StationId,
    pub key: SigningKey,
    pub disk: Disk,
    /// Counts up; whatever belongs to an earlier one is lost.
    pub life: u64,
    pub boot: Boot,
    /// None while it is off.
    pub link: Option<Link>,
    /// When it is woken next.
    pub wake: u64,
    /// Owed to the loudspeaker, in this life.
    pub waiting: BTreeMap<CommandId, (Band, Duration)>,
    /// Every command that was ever heard here.
    pub heard: BTreeSet<CommandId>,
    /// The highest plan that was in force here.
    pub highest: (u64, u64),
    /// A copy of the disk runs elsewhere, or ran.
    pub cloned: bool,
}

impl Village {
    pub fn now(&self, truth: u64) -> Now {
        let wall = EPOCH_MS + i64::try_from(truth).unwrap() + self.boot.skew;
        Now {
            since_boot: Duration::from_millis(truth - self.boot.at),
            wall: Timestamp::from_millisecond(wall).unwrap(),
            clock: self.boot.clock,
        }
    }

    pub fn epoch(&self) -> String {
        format!("{}-0123456789abcdef", self.name)
    }

    pub fn newest(&self) -> i64 {
        i64::try_from(self.disk.rows.len()).unwrap()
    }

    /// Writes what became of something into the journal.
    pub fn write(&mut self, occurrence: &str, outcome: Outcome, reason: Option<Reason>, truth: u64) {
        let at = self.now(truth).wall;
        let entry = Entry {
            occurrence: occurrence.to_owned().into(),
            source: Source::Town,
            schedule: "daily".into(),
            announcement: "a".into(),
            title: "反诈".into(),
            clips: Vec::new(),
            band: Band::Normal,
            due: at,
            started: None,
            ended: at,
            expected_ms: 0,
            heard_ms: 0,
            start_error_us: None,
            outcome,
            reason,
            evidence: None,
            device: None,
            peak_dbfs: None,
            rms_dbfs: None,
            underruns: 0,
            volume: 80,
            clock: ClockNote { state: self.boot.clock, offset_ms: None },
            operator: None,
            note: None,
            revision: String::new(),
        };
        let prev = self.disk.rows.last().map_or(GENESIS, |row| &row.1).to_owned();
        let line = line(&entry, &self.epoch(), self.newest() + 1, &prev).unwrap();
        let hash = chain(&prev, &line);
        self.disk.rows.push((line, hash));
    }

    pub fn batch(&self, after: i64, newest: i64) -> Option<Batch> {
        let (after, newest) = (usize::try_from(after).ok()?, usize::try_from(newest).ok()?);
        let prev = if after == 0 { GENESIS } else { &self.disk.rows.get(after - 1)?.1 };
        let lines: Vec<_> = self.disk.rows.get(after..newest)?.iter().take(500).map(|row| row.0.clone()).collect();
        Batch::of(&self.epoch(), i64::try_from(after).ok()? + 1, prev, &lines, &self.key)
    }

    pub fn held(&mut self, blob: BlobId, bytes: u64) -> Held {
        let here = self.disk.blobs.get(&blob).map_or(0, Vec::len) as u64;
        if here < bytes {
            return Held::Part(here);
        }
        if BlobId::of(&self.disk.blobs[&blob]) == blob {
            return Held::Whole;
        }
        self.disk.blobs.remove(&blob);
        Held::Part(0)
    }

    /// Takes an errand; returns what is to be told at once.
    pub fn take(&mut self, errand: &Errand, truth: u64) -> Vec<(CommandId, State)> {
        match errand {
            Errand::Speak { id, band, until, .. } => {
                if let Some(state) = self.disk.decided.get(id) {
                    return vec![(*id, state.clone())];
                }
                if self.disk.running.contains_key(id) {
                    return vec![(*id, State::Started)];
                }
                self.waiting.insert(*id, (*band, *until));
                Vec::new()
            }
            Errand::Stop { id, only, spares_emergencies, .. } => {
                let hit = |(command, band): (&CommandId, &Band)| {
                    let is_hit =
                        only.is_none_or(|only| only == *command) && !(*spares_emergencies && *band == Band::Emergency);
                    is_hit.then_some(*command)
                };
                let waiting = self.waiting.iter().map(|(command, (band, _))| (command, band));
                let hits: Vec<_> = waiting.chain(&self.disk.running).filter_map(hit).collect();
                let mut told = Vec::new();
                for command in hits {
                    told.push(self.end(command, State::Superseded, truth));
                }
                told.extend(id.map(|id| (id, State::Finished)));
                told
            }
            Errand::Volume { id, .. } => vec![(*id, State::Finished)],
        }
    }

    /// Writes the end of what sounded or waited.
    pub fn end(&mut self, command: CommandId, state: State, truth: u64) -> (CommandId, State) {
        self.waiting.remove(&command);
        self.disk.running.remove(&command);
        let (outcome, reason) = match &state {
            State::Superseded => (Outcome::Partial, Some(Reason::Stopped)),
            State::Expired => (Outcome::Skipped, Some(Reason::Expired)),
            _ => (Outcome::Played, None),
        };
        self.write(command.occurrence().as_str(), outcome, reason, truth);
        self.disk.decided.insert(command, state.clone());
        (command, state)
    }

    /// The power goes: what was on its way to the disk may be lost.
    pub fn dies(&mut self, dice: &mut Dice) {
        self.life += 1;
        self.link = None;
        self.wake = u64::MAX;
        self.waiting.clear();
        for (blob, bytes) in &mut self.disk.blobs {
            // A whole sound takes its name only once it is on the disk; of a part anything may be missing.
            if BlobId::of(bytes) != *blob && dice.one_in(2) {
                bytes.truncate(usize::try_from(dice.below(100)).unwrap());
            }
        }
    }

    /// It comes back, with whatever its clock says.
    pub fn boots(&mut self, boot: Boot, dice: &mut Dice) {
        self.boot = boot;
        // What sounded when the power went is written down as far as it was heard.
        for command in self.disk.running.clone().into_keys() {
            self.end(command, State::Finished, boot.at);
        }
        let kept = self.disk.kept.clone();
        let now = self.now(boot.at);
        self.link = Some(Link::new(kept, now, &mut || dice.next()).unwrap());
    }
}
