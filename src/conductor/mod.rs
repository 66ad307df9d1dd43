//! Decides what the station does next.
//!
//! [`Conductor::handle`] takes the time and one [`Event`] and returns the [`Action`]s to carry out. It reads no clock and
//! opens no file or device, so a test can live through a year in a second.
//!
//! Always true, and checked in `tests/year.rs`: at most one announcement above `background` sounds at a time; every
//! occurrence owed gets exactly one final entry; a clock set back repeats nothing.
//!
//! One event goes through four steps: what time it is ([`Conductor::observe`]), what happened (`speaker`, `asked`),
//! what fell due ([`Conductor::decide`]), and what that asks of the speaker ([`Conductor::advance`]).
//!
//! Not here: what falls due ([`crate::plan`]), how it sounds ([`crate::speaker`]).

mod action;
mod advance;
mod asked;
mod event;
mod heard;
mod live;
mod orders;
#[cfg(test)]
mod tests;
mod timeline;

pub use action::{Action, Alarm, Done, Refusal, SetVolume, Silence, Tick};
pub use event::{Command, Event, Limits, Memory, Order, Playable};

use crate::{
    entry::Running,
    gate::{self, Gate},
    outcome::{Outcome, Reason},
    plan::{Occurrence, OccurrenceId, Program, Verdict},
    schedule::{Band, Source, Volume},
    trust::{self, ClockState, Reading, Trust, passed, plus},
};
use jiff::{SignedDuration, Timestamp};
use live::{Live, Phase, Then};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use timeline::{Owed, Timeline};

/// A wall clock that moves this much more or less than time passes has been set.
const STEP: SignedDuration = SignedDuration::from_secs(2);
/// How long the journal may go without a tick.
const TICK: Duration = Duration::from_secs(60);
/// How long safe mode lasts.
const SAFE: SignedDuration = SignedDuration::from_mins(30);
/// Five daemon starts in this time are a crash loop.
const LOOP: SignedDuration = SignedDuration::from_mins(10);
/// How long decided occurrences are kept at hand; those further back are asked of the journal.
const KEPT: SignedDuration = SignedDuration::from_hours(48);
/// The smallest step of a timestamp: turns "up to and with now" into a half-open window.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// The state machine: [`Event`] in, [`Action`]s out.
#[derive(Debug)]
pub struct Conductor {
    limits: Limits,
    timeline: Timeline,
    trust: Trust,
    clock: ClockState,
    /// The last reading.
    seen: Reading,
    /// How the gap before this reading is explained.
    gap: Gap,
    /// Set while the clock is not believed.
    doubt: Option<Doubt>,
    /// Everything due before is decided, waits or plays; none before the clock was first believed.
    cursor: Option<Timestamp>,
    /// Recalls not yet answered.
    recalling: u32,
    /// Decided occurrences with their due, for as long as one could come round again.
    decided: BTreeMap<OccurrenceId, Timestamp>,
    /// Running rows of the last daemon, until the clock is believed.
    held: Vec<Running>,
    /// Owed, and not yet begun.
    waiting: Vec<Waiting>,
    /// Begun: at most one above background, and one background.
    live: Vec<Live>,
    /// When the last one above background, and the last background, fell silent.
    freed: [Option<Timestamp>; 2],
    stopped: Option<Silence>,
    hushed: Option<Silence>,
    safe_until: Option<Timestamp>,
    /// In place of the station file's.
    volume: Option<SetVolume>,
    device: Device,
    /// The speaker is being replaced on our word.
    replacing: bool,
    alarms: BTreeSet<Alarm>,
    ticked: Option<Duration>,
    /// Something a tick should say has changed.
    unticked: bool,
    wake: Timestamp,
    actions: Vec<Action>,
}

/// What is known about the output.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Device {
    /// The speaker is starting, or opens the output anew.
    Opening,
    Ready(String),
    Missing,
}

/// Owed, and not yet begun.
#[derive(Debug, Clone)]
struct Waiting {
    owed: Owed,
    asked: Option<Asked>,
    /// What keeps it from starting.
    blocked: Reason,
}

/// Who asked for a play, by hand or as an office.
#[derive(Debug, Clone)]
struct Asked {
    operator: String,
    note: Option<String>,
    /// It sounds no longer than this.
    longest: Option<SignedDuration>,
}

/// How dues before now that nobody handled in time are explained.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// Dues up to here have the reason `before`, later ones `after`.
    until: Timestamp,
    before: Reason,
    after: Reason,
}

/// Since when the clock is not believed.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since_boot: Duration,
    before: Reason,
}

/// An announcement that sounds, or that broke off and comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Playing {
    /// Which.
    pub occurrence: Occurrence,
    /// When its sound was planned to begin, by the wall clock.
    pub start: Timestamp,
    /// How long it sounds in all.
    pub length: jiff::SignedDuration,
    /// How much of it the device has accepted.
    pub heard: jiff::SignedDuration,
    /// How loud it is just now, root mean square.
    pub level_dbfs: Option<f32>,
    /// Who asked for it.
    pub operator: Option<String>,
    /// Why, or what is the matter with it.
    pub note: Option<String>,
}

/// Shortens a silence that may last no longer.
fn within(silence: Silence, latest: Timestamp) -> Silence {
    Silence { until: silence.until.min(latest), ..silence }
}

/// What the pages and commands may see.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// How far the clock is believed.
    pub clock: ClockState,
    /// What sounds.
    pub playing: Vec<Playing>,
    /// The next to play, at most three.
    pub next: Vec<Occurrence>,
    /// Silent until then.
    pub stopped: Option<Silence>,
    /// Silent until then.
    pub hushed: Option<Silence>,
    /// Nothing scheduled sounds until then.
    pub safe_mode_until: Option<Timestamp>,
    /// The output that is open.
    pub device: Option<String>,
    /// In percent.
    pub volume: u8,
}

impl Conductor {
    /// Returns a conductor that takes over from what is on record, and its first actions.
    pub fn new(
        now: Reading,
        mut memory: Memory,
        limits: Limits,
        program: Arc<Program>,
        revision: String,
    ) -> (Self, Vec<Action>) {
        let mut first = Vec::new();
        if memory.versions.is_empty() {
            // A new station; or a journal without its versions, for which what is at hand is the best guess.
            memory.versions.push((memory.tick, revision.clone(), Arc::clone(&program)));
            first.extend(memory.tick.map(|effective| Action::Dated { revision: revision.clone(), effective }));
        }
        let mut trust = Trust::new(limits.released, memory.newest);
        let clock = trust.judge(&now);
        let is_new = memory.versions.last().is_some_and(|last| last.1 != revision || *last.2 != *program);
        let timeline = Timeline::new(&now, memory.versions);
        let kept = memory.tick.unwrap_or(now.wall);
        let in_loop = plus(now.wall, -LOOP);
        let starts = memory.starts.iter().filter(|start| (in_loop..=now.wall).contains(*start)).count();
        let mut conductor = Self {
            timeline,
            trust,
            clock: ClockState::Untrusted,
            seen: now,
            gap: Gap { until: now.wall, before: Reason::StationDown, after: Reason::StationDown },
            doubt: Some(Doubt { since_boot: now.since_boot, before: Reason::StationDown }),
            cursor: memory.tick,
            recalling: 0,
            decided: memory.decided.into_iter().map(|id| (id, kept)).collect(),
            held: memory.running,
            waiting: Vec::new(),
            live: Vec::new(),
            freed: [None; 2],
            stopped: memory.stopped.map(|stop| within(stop, plus(now.wall, gate::STOP))),
            hushed: memory.hushed.map(|hush| within(hush, plus(now.wall, gate::HUSH))),
            safe_until: None,
            volume: memory.volume.filter(|set| set.instead_of == limits.volume),
            limits,
            device: Device::Opening,
            replacing: false,
            alarms: BTreeSet::new(),
            ticked: None,
            unticked: true,
            wake: now.wall,
            actions: first,
        };
        if is_new {
            conductor.timeline.put(now.wall, Some(now.since_boot), program, revision);
        }
        if starts >= 5 {
            conductor.enter_safe_mode(&now);
        }
        conductor.believe(&now, clock);
        conductor.advance(&now);
        let actions = std::mem::take(&mut conductor.actions);
        (conductor, actions)
    }

    /// Returns the actions that `event` asks for, in the order in which they must be carried out.
    pub fn handle(&mut self, now: Reading, event: Event) -> Vec<Action> {
        self.observe(&now);
        let mut answer = None;
        match event {
            Event::Woke => {}
            Event::Reprogrammed { program, revision } => {
                self.decide(&now);
                let undated = self.doubt.map(|_| now.since_boot);
                if undated.is_none() && revision != self.timeline.revision() {
                    self.actions.push(Action::Dated { revision: revision.clone(), effective: now.wall });
                }
                self.timeline.put(now.wall, undated, program, revision);
                self.unticked = true;
                self.rearm(&now);
            }
            Event::Limited(limits) => self.limit(limits),
            Event::Speaker(word) => self.hear(&now, word),
            Event::SpeakerDied => self.bury(&now),
            Event::Recalled { decided } => {
                self.recalling = self.recalling.saturating_sub(1);
                self.decided.extend(decided.into_iter().map(|id| (id, now.wall)));
            }
            Event::Asked { ask, command } => answer = Some(Action::Answer { ask, answer: self.obey(&now, command) }),
        }
        self.advance(&now);
        // Last: what a person was told is on record.
        self.actions.extend(answer);
        std::mem::take(&mut self.actions)
    }

    /// Takes other limits. A volume set by command stood in place of the old one, and goes with it, as at a start.
    fn limit(&mut self, limits: Limits) {
        self.volume = self.volume.filter(|set| set.instead_of == limits.volume);
        self.limits = limits;
        self.unticked = true;
        self.set_gains();
    }

    /// Dates the versions that came at a moment nobody believed.
    fn date(&mut self, now: &Reading) {
        let dated = self.timeline.settle(now.wall, now.since_boot).into_iter();
        self.actions.extend(dated.map(|(revision, effective)| Action::Dated { revision, effective }));
    }

    /// Returns the wall time at which to hand in [`Event::Woke`] next.
    pub fn next_wake(&self) -> Timestamp {
        self.wake
    }

    /// How far the clock is believed.
    pub fn clock(&self) -> ClockState {
        self.clock
    }

    /// Returns whether no item is in the air that another plan could come into: background goes on under anything.
    pub fn is_between_items(&self) -> bool {
        let is_begun = |live: &Live| live.sounded && live.band() > Band::Background;
        !self.live.iter().any(is_begun)
    }

    /// Returns what the pages and commands may see.
    pub fn status(&self, now: Reading) -> Status {
        let is_live = |id: &OccurrenceId| self.live.iter().any(|live| live.id() == id);
        let waiting = self.waiting.iter().map(|waiting| &waiting.owed.occurrence);
        let armed = self.live.iter().filter(|live| live.phase == Phase::Armed).map(|live| &live.occurrence);
        let ahead = self.timeline.ahead(now.wall, Timestamp::MAX).iter();
        let ahead = ahead.filter(|next| next.verdict == Verdict::Play && !is_live(&next.id));
        Status {
            clock: self.clock,
            playing: self
                .live
                .iter()
                .filter(|live| live.phase != Phase::Armed)
                .map(|live| Playing {
                    occurrence: live.occurrence.clone(),
                    start: live.running.start,
                    length: live::length(live.running.playout.frames()),
                    heard: live::length(live.accepted()),
                    level_dbfs: live.level,
                    operator: live.running.entry.operator.clone(),
                    note: live.running.entry.note.clone(),
                })
                .collect(),
            next: armed.chain(waiting).chain(ahead).take(3).cloned().collect(),
            stopped: self.stopped.clone().filter(|stop| now.wall < stop.until),
            hushed: self.hushed.clone().filter(|hush| now.wall < hush.until),
            safe_mode_until: self.safe_until.filter(|until| now.wall < *until),
            device: self.device_name().map(str::to_owned),
            volume: self.volume().percent(),
        }
    }

    /// Takes in what the clocks say: steps, sleep, and whether the wall clock is believed.
    fn observe(&mut self, now: &Reading) {
        let then = std::mem::replace(&mut self.seen, *now);
        let step = trust::step(&then, now);
        if step.abs() > STEP {
            self.shift(now, step);
        }
        if trust::asleep(&then, now) > STEP {
            self.wake_up(now);
        }
        self.gap = Gap {
            until: plus(then.wall, passed(then.since_boot, now.since_boot).saturating_add(STEP)),
            before: Reason::StationDown,
            after: Reason::ClockJump,
        };
        let clock = self.trust.judge(now);
        if self.doubt.is_none() && clock == ClockState::Untrusted {
            self.doubt = Some(Doubt { since_boot: then.since_boot, before: Reason::ClockJump });
        }
        self.believe(now, clock);
    }

    /// The wall clock was set: what sounds keeps its place, what is armed is armed anew.
    fn shift(&mut self, now: &Reading, step: SignedDuration) {
        if let Some(stop) = &mut self.stopped {
            stop.until = plus(stop.until, step);
        }
        self.safe_until = self.safe_until.map(|until| plus(until, step));
        self.hushed = self.hushed.take().map(|hush| within(hush, plus(now.wall, gate::HUSH)));
        self.freed = [None; 2];
        let mut withdrawn = Vec::new();
        for live in &mut self.live {
            if live.sounded || live.marked {
                live.running.start = plus(live.running.start, step);
                live.running.playout.start = plus(live.running.playout.start, step);
                live.running.seen = plus(live.running.seen, step);
                // Quiet hours are by the clock; how long it may last is not.
                if let Some((at, Reason::MaxLength)) = &mut live.running.playout.not_after {
                    *at = plus(*at, step);
                }
            } else if live.phase == Phase::Armed {
                withdrawn.push(live.id().clone());
            }
        }
        for id in withdrawn {
            self.end(now, &id, Then::Withdraw);
        }
    }

    /// The machine slept: what was with the speaker broke off.
    fn wake_up(&mut self, now: &Reading) {
        let slept: Vec<_> = self
            .live
            .iter()
            .filter(|live| matches!(live.phase, Phase::Armed | Phase::Sounding))
            .map(|live| live.id().clone())
            .collect();
        for id in slept {
            self.end(now, &id, Then::Reenter(Reason::PowerLoss));
        }
    }

    /// Follows the judgement of the clock.
    fn believe(&mut self, now: &Reading, clock: ClockState) {
        self.clock = clock;
        if clock == ClockState::Untrusted {
            if self.alarms.insert(Alarm::ClockUntrusted) {
                self.actions.push(Action::Alarm(Alarm::ClockUntrusted));
                self.unwait();
                self.withdraw_armed(now);
            }
            return;
        }
        if let Some(doubt) = self.doubt.take() {
            let until = plus(now.wall, -passed(doubt.since_boot, now.since_boot));
            self.gap = Gap { until, before: doubt.before, after: Reason::ClockUntrusted };
            self.date(now);
            self.cursor.get_or_insert(until);
            self.clear(Alarm::ClockUntrusted);
            self.unticked = true;
        }
        if self.cursor.is_some_and(|cursor| cursor > plus(now.wall, STEP)) {
            self.unwait();
            self.cursor = self.cursor.min(Some(now.wall));
            self.date(now);
            self.recalling += 1;
            self.actions.push(Action::Recall { since: now.wall });
            self.unticked = true;
        }
        for running in std::mem::take(&mut self.held) {
            self.resume(now, running);
        }
    }

    /// Puts what waits back to be decided anew.
    fn unwait(&mut self) {
        let mut cursor = self.cursor;
        self.waiting.retain(|waiting| {
            if waiting.asked.is_none() {
                cursor = cursor.min(Some(waiting.owed.occurrence.due));
            }
            waiting.asked.is_some()
        });
        self.cursor = cursor;
    }

    fn withdraw_armed(&mut self, now: &Reading) {
        let armed: Vec<_> = self
            .live
            .iter()
            .filter(|live| live.scheduled && live.phase == Phase::Armed && !live.marked)
            .map(|live| live.id().clone())
            .collect();
        for id in armed {
            self.end(now, &id, Then::Withdraw);
        }
    }

    /// Takes over an announcement that was running when the last daemon ended.
    fn resume(&mut self, now: &Reading, mut running: Running) {
        let id = running.entry.occurrence.clone();
        let heard = u64::try_from(running.entry.heard_ms).unwrap_or(0);
        let sounded = heard > 0 || running.seen >= running.start;
        let manual = live::is_asked(&running.entry);
        // What an office ordered and nobody heard, it orders again while it still wants it.
        let comes_again = !manual || live::is_ordered(&id);
        if self.decided.contains_key(&id) || (!sounded && comes_again) {
            if !self.decided.contains_key(&id) && !manual {
                self.cursor = self.cursor.min(Some(running.entry.due));
            }
            self.actions.push(Action::Abandon(id));
            return;
        }
        let booted = plus(now.wall, -passed(Duration::ZERO, now.since_boot));
        let reason = if booted > running.seen { Reason::PowerLoss } else { Reason::Crash };
        running.interrupted.get_or_insert(reason);
        let occurrence = live::remembered(self.timeline.program(), &running);
        let is_lost = now.wall < plus(running.start, -STEP) || self.slot(occurrence.band).is_some();
        let before = heard.saturating_mul(u64::from(crate::plan::RATE) / 1000);
        let live = Live {
            occurrence,
            scheduled: !manual,
            before,
            energy: running.entry.rms_dbfs.map_or(0.0, |rms| live::energy(before, rms)),
            frames: 0,
            level: None,
            sounded,
            marked: true,
            alive: now.awake,
            saved: now.awake,
            ducked: false,
            phase: Phase::Interrupted,
            running,
        };
        if is_lost || !sounded {
            self.conclude(now, live, Some(Reason::PowerLoss), now.wall);
        } else {
            self.live.push(live);
        }
    }

    /// Decides everything that fell due since the cursor: into an entry, or into the waiting line.
    fn decide(&mut self, now: &Reading) {
        if self.doubt.is_some() || self.recalling > 0 {
            return;
        }
        let (Some(from), to) = (self.cursor, plus(now.wall, INSTANT)) else { return };
        if from >= to {
            return;
        }
        self.timeline.look(from.max(plus(now.wall, -STEP)));
        self.cursor = Some(to);
        if self.timeline.is_idle(&(from..to)) {
            return;
        }
        for owed in self.timeline.owed(from..to) {
            let id = &owed.occurrence.id;
            let known = self.decided.contains_key(id)
                || self.live.iter().any(|live| live.id() == id)
                || self.waiting.iter().any(|waiting| waiting.owed.occurrence.id == *id);
            if known {
                continue;
            }
            match self.fate(now, &owed.occurrence) {
                Some((outcome, reason)) => self.finish_unheard(now, &owed, None, outcome, reason),
                None => self.waiting.push(Waiting { owed, asked: None, blocked: Reason::DeviceUnavailable }),
            }
        }
    }

    /// Returns what becomes of an occurrence that fell due, unless it may still start.
    fn fate(&self, now: &Reading, occurrence: &Occurrence) -> Option<(Outcome, Reason)> {
        if let Verdict::Skip(reason) = occurrence.verdict {
            return Some((Outcome::Skipped, reason));
        }
        if now.wall > deadline(occurrence) {
            let reason = if occurrence.due <= self.gap.until { self.gap.before } else { self.gap.after };
            return Some((Outcome::Missed, reason));
        }
        if let Some(reason) = self.gate().refuses(occurrence.band, now.wall) {
            return Some((Outcome::Skipped, reason));
        }
        self.is_safe(now.wall).then_some((Outcome::Missed, Reason::SafeMode))
    }

    /// Writes the final entry of an occurrence of which nothing sounded.
    fn finish_unheard(&mut self, now: &Reading, owed: &Owed, asked: Option<&Asked>, outcome: Outcome, reason: Reason) {
        let volume = self.volume_of(&owed.occurrence);
        let program = Arc::clone(self.timeline.program());
        let mut entry = live::blank(&program, &owed.occurrence, &owed.revision, volume, self.clock, now.wall);
        entry.outcome = outcome;
        entry.reason = Some(reason);
        entry.operator = asked.map(|asked| asked.operator.clone());
        entry.note = asked.and_then(|asked| asked.note.clone()).or_else(|| self.silencer(reason));
        self.decided.insert(entry.occurrence.clone(), entry.due);
        self.unticked = true;
        self.actions.push(Action::Finish(Box::new(entry)));
    }

    /// Writes the final entry of an announcement that had begun.
    fn conclude(&mut self, now: &Reading, mut live: Live, why: Option<Reason>, at: Timestamp) {
        let (outcome, reason) = live.verdict(why);
        live.note(self.device_name(), at);
        let mut entry = live.running.entry;
        entry.outcome = outcome;
        entry.reason = reason;
        entry.ended = at;
        entry.note = entry.note.or_else(|| reason.and_then(|reason| self.silencer(reason)));
        entry.clock.state = self.clock;
        self.freed[slot_of(entry.band)] = Some(at.min(now.wall));
        self.decided.insert(entry.occurrence.clone(), entry.due);
        self.unticked = true;
        self.actions.push(Action::Finish(Box::new(entry)));
    }

    /// Returns who silenced the station, and what for, where that is the reason.
    fn silencer(&self, reason: Reason) -> Option<String> {
        let silence = match reason {
            Reason::Stopped => self.stopped.as_ref()?,
            Reason::Hushed => self.hushed.as_ref()?,
            _ => return None,
        };
        let what = silence.note.as_ref().map_or_else(String::new, |note| format!("：{note}"));
        Some(format!("{}（{}）{what}", reason.zh(), silence.operator))
    }

    /// Tells the speaker to end an announcement, and remembers what for.
    fn end(&mut self, now: &Reading, id: &OccurrenceId, then: Then) {
        if let Some(live) = self.live.iter_mut().find(|live| live.id() == id) {
            if !matches!(live.phase, Phase::Ending(_)) {
                self.actions.push(Action::Stop(id.clone()));
                live.alive = now.awake;
            }
            live.phase = Phase::Ending(then);
        }
    }

    fn enter_safe_mode(&mut self, now: &Reading) {
        self.safe_until = Some(plus(now.wall, SAFE));
        self.raise(Alarm::SafeMode);
    }

    fn raise(&mut self, alarm: Alarm) {
        if self.alarms.insert(alarm) {
            self.actions.push(Action::Alarm(alarm));
        }
    }

    fn clear(&mut self, alarm: Alarm) {
        if self.alarms.remove(&alarm) {
            self.actions.push(Action::Clear(alarm));
        }
    }

    fn is_safe(&self, at: Timestamp) -> bool {
        self.safe_until.is_some_and(|until| at < until)
    }

    fn gate(&self) -> Gate<'_> {
        let program = self.timeline.program();
        Gate {
            hours: self.doubt.is_none().then_some((&program.zone, &program.hours)),
            stopped_until: self.stopped.as_ref().map(|stop| stop.until),
            hushed_until: self.hushed.as_ref().map(|hush| hush.until),
        }
    }

    fn volume_of(&self, occurrence: &Occurrence) -> Volume {
        gate::volume(self.volume(), occurrence.volume, self.limits.ceiling)
    }

    /// The station's volume: as it was set by command, else as its file says; never above the ceiling.
    fn volume(&self) -> Volume {
        self.volume.map_or(self.limits.volume, |set| set.volume).min(self.limits.ceiling)
    }

    fn device_name(&self) -> Option<&str> {
        match &self.device {
            Device::Ready(name) => Some(name),
            Device::Opening | Device::Missing => None,
        }
    }

    /// Returns what is begun on the side of `band`: background, or everything above it.
    fn slot(&self, band: Band) -> Option<&Live> {
        self.live.iter().find(|live| slot_of(live.band()) == slot_of(band))
    }
}

/// Background sounds beside one other announcement; everything above it alone.
fn slot_of(band: Band) -> usize {
    usize::from(band > Band::Background)
}

/// The latest moment at which an occurrence may start: its grace, or where the plan has it wait, right after.
fn deadline(occurrence: &Occurrence) -> Timestamp {
    let grace = plus(occurrence.due, occurrence.grace);
    if occurrence.start > occurrence.due { grace.max(plus(occurrence.start, STEP)) } else { grace }
}

/// Who goes first among those that wait.
fn rank(occurrence: &Occurrence) -> (Reverse<Band>, Timestamp, Reverse<Source>, OccurrenceId) {
    (Reverse(occurrence.band), occurrence.due, Reverse(occurrence.source), occurrence.id.clone())
}
