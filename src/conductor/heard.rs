//! What the speaker says, and what its death means.

use super::*;
use crate::speaker::protocol::{End, Level, Word};

/// Sound no louder than this is silence, in dBFS.
const SILENCE: f32 = -90.0;
/// How often the journal hears of what sounds.
const SAVE: Duration = Duration::from_secs(5);
/// When it hears of it first: a kill in the first seconds still leaves on record that something sounded.
const FIRST_SAVE: Duration = Duration::from_secs(1);
/// So many deaths of the speaker in one occurrence are a crash loop.
const DEATHS: u8 = 3;

impl Conductor {
    pub(super) fn hear(&mut self, now: &Reading, word: Word) {
        match word {
            Word::Ready { device } => {
                self.device = Device::Ready(device);
                self.clear(Alarm::NoDevice);
            }
            Word::NoDevice { .. } => {
                self.device = Device::Missing;
                self.raise(Alarm::NoDevice);
            }
            Word::Started { occurrence, at, error_us } => self.started(now, &occurrence, at, error_us),
            Word::Progress { occurrence, frames, level, now_dbfs } => {
                self.progressed(now, &occurrence, frames, level, now_dbfs);
            }
            Word::Ended { occurrence, frames, level, at, end, evidence, note } => {
                let Some(place) = self.live.iter().position(|live| *live.id() == occurrence) else { return };
                if self.live[place].phase == Phase::Interrupted {
                    return;
                }
                let mut live = self.live.remove(place);
                live.frames = live.frames.max(frames);
                live.sounded |= frames > 0;
                live.measured(frames, level);
                let entry = &mut live.running.entry;
                if frames > 0 {
                    entry.evidence = entry.evidence.max(Some(evidence));
                    entry.note =
                        [entry.note.take(), note].into_iter().flatten().reduce(|one, other| one + "；" + &other);
                }
                self.listen(&live);
                self.ended(now, live, at, end);
            }
            Word::Underrun { .. } => {
                for live in self.live.iter_mut().filter(|live| live.phase == Phase::Sounding) {
                    live.running.entry.underruns += 1;
                }
            }
            Word::Pong | Word::Tested { .. } | Word::Learned { .. } | Word::Output { .. } => {}
        }
    }

    fn started(&mut self, now: &Reading, id: &OccurrenceId, at: Timestamp, error_us: i64) {
        let device = self.device_name().map(str::to_owned);
        let Some(live) = self.live.iter_mut().find(|live| live.id() == id) else { return };
        if live.phase == Phase::Armed {
            live.phase = Phase::Sounding;
        }
        live.sounded = true;
        live.marked = true;
        live.alive = now.awake;
        live.saved = now.awake.saturating_sub(SAVE - FIRST_SAVE);
        let entry = &mut live.running.entry;
        if entry.started.is_none() {
            entry.started = Some(at);
            entry.start_error_us = Some(error_us);
        }
        live.note(device.as_deref(), at);
        self.actions.push(Action::Progress(Box::new(live.running.clone())));
    }

    fn progressed(&mut self, now: &Reading, id: &OccurrenceId, frames: u64, level: Level, now_dbfs: f32) {
        let device = self.device_name().map(str::to_owned);
        let Some(live) = self.live.iter_mut().find(|live| live.id() == id) else { return };
        if frames <= live.frames || live.phase == Phase::Interrupted {
            return;
        }
        if live.phase == Phase::Armed {
            live.phase = Phase::Sounding;
        }
        live.frames = frames;
        live.sounded = true;
        live.marked = true;
        if live.phase == Phase::Sounding {
            live.alive = now.awake;
        }
        live.measured(frames, level);
        live.level = Some(now_dbfs);
        live.note(device.as_deref(), now.wall);
        if now.awake.saturating_sub(live.saved) >= SAVE {
            live.saved = now.awake;
            self.actions.push(Action::Progress(Box::new(live.running.clone())));
        }
    }

    /// Alarms on silence where there should be sound.
    fn listen(&mut self, live: &Live) {
        match live.running.entry.peak_dbfs {
            Some(peak) if live.frames > 0 && peak <= SILENCE => self.raise(Alarm::Silence),
            Some(_) if live.frames > 0 => self.clear(Alarm::Silence),
            _ => {}
        }
    }

    fn ended(&mut self, now: &Reading, live: Live, at: Timestamp, end: End) {
        if let Phase::Ending(then) = live.phase {
            return self.ended_by_order(now, live, then, at);
        }
        match end {
            End::Finished => self.conclude(now, live, None, at),
            End::DecoderShort => self.conclude(now, live, Some(Reason::DecoderShort), at),
            End::Gate => {
                let reason = live.running.playout.not_after.map(|(_, reason)| reason);
                self.conclude(now, live, reason, at);
            }
            // Of the device itself the speaker tells in words of its own, and only when it changes.
            End::DeviceLost | End::DeviceStalled | End::Stopped => {
                let reason = if end == End::DeviceStalled { Reason::DeviceStalled } else { Reason::DeviceLost };
                self.interrupt(now, live, reason, at);
            }
        }
    }

    /// Goes on with an announcement that the speaker ended because it was told to.
    pub(super) fn ended_by_order(&mut self, now: &Reading, live: Live, then: Then, at: Timestamp) {
        match then {
            Then::Reenter(reason) => self.interrupt(now, live, reason, at),
            Then::Cut(reason) if live.accepted() > 0 || live.sounded || !live.scheduled => {
                self.conclude(now, live, Some(reason), at);
            }
            Then::Withdraw if live.sounded => self.conclude(now, live, Some(Reason::Stopped), at),
            Then::Cut(Reason::Preempted) if live.occurrence.due <= now.wall => {
                self.actions.push(Action::Abandon(live.id().clone()));
                let owed = Owed { occurrence: live.occurrence, revision: live.running.entry.revision };
                self.waiting.push(Waiting { owed, asked: None, blocked: Reason::Overlap });
            }
            Then::Cut(reason) if live.occurrence.due <= now.wall => self.conclude(now, live, Some(reason), at),
            Then::Cut(_) | Then::Withdraw => {
                self.actions.push(Action::Abandon(live.id().clone()));
                if live.scheduled {
                    self.cursor = self.cursor.min(Some(live.occurrence.due));
                }
            }
        }
    }

    /// Notes that a sound broke off; it re-enters when a device is there.
    fn interrupt(&mut self, now: &Reading, mut live: Live, reason: Reason, at: Timestamp) {
        if live.verdict(None).0 == Outcome::Played {
            return self.conclude(now, live, None, at);
        }
        live.running.interrupted.get_or_insert(reason);
        live.before = live.accepted();
        live.frames = 0;
        live.energy = live.running.entry.rms_dbfs.map_or(0.0, |rms| live::energy(live.before, rms));
        live.phase = Phase::Interrupted;
        live.note(self.device_name(), at.min(now.wall));
        if live.sounded {
            live.running.seen = live.running.seen.max(live.running.start);
            self.actions.push(Action::Progress(Box::new(live.running.clone())));
        }
        self.live.push(live);
    }

    /// The speaker is gone, and with it everything it had.
    pub(super) fn bury(&mut self, now: &Reading) {
        self.device = Device::Opening;
        let replaced = std::mem::take(&mut self.replacing);
        let reason = if replaced { Reason::DeviceStalled } else { Reason::Crash };
        for mut live in std::mem::take(&mut self.live) {
            if live.phase == Phase::Interrupted {
                self.live.push(live);
                continue;
            }
            // A speaker that died after the start may have been heard before it could say so.
            live.sounded |= !replaced && live.begins() <= now.wall;
            if let Phase::Ending(then) = live.phase {
                self.ended_by_order(now, live, then, now.wall);
                continue;
            }
            live.running.deaths = live.running.deaths.saturating_add(1);
            if live.running.deaths >= DEATHS {
                self.enter_safe_mode(now);
                if live.accepted() == 0 {
                    live.running.interrupted = None;
                }
                self.conclude(now, live, Some(Reason::SafeMode), now.wall);
            } else {
                self.interrupt(now, live, reason, now.wall);
            }
        }
    }
}
