//! The simulated station: true time, its clocks, its disk, its speaker, its people, and the judge that watches.

use crate::{
    Dice,
    speaker::{Micros, Said, Speaker},
    village,
};
use dalaba::{
    conductor::{Action, Command, Conductor, Done, Event, Limits, Memory, Playable, Tick},
    entry::{Entry, Running},
    outcome::Outcome,
    plan::{self, OccurrenceId, Program, RATE},
    schedule::{Band, Volume},
    speaker::protocol::{Playout, Word},
    trust::{ClockState, Reading},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;
const DAY: Micros = 24 * HOUR;
/// 2026-12-01 in Beizhuang.
const OPENING: Micros = 1_796_054_400 * SECOND;

/// What may go wrong, and what people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    PowerCut,
    Kill,
    ClockStep,
    BadRtc,
    Suspend,
    DeviceLost,
    SpeakerCrash,
    SpeakerHang,
    TornClip,
    Edit,
    Stop,
    Hush,
    Manual,
    Emergency,
}

impl Fault {
    pub const ALL: [Self; 14] = [
        Self::PowerCut,
        Self::Kill,
        Self::ClockStep,
        Self::BadRtc,
        Self::Suspend,
        Self::DeviceLost,
        Self::SpeakerCrash,
        Self::SpeakerHang,
        Self::TornClip,
        Self::Edit,
        Self::Stop,
        Self::Hush,
        Self::Manual,
        Self::Emergency,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::PowerCut => "power-cut",
            Self::Kill => "kill",
            Self::ClockStep => "clock-step",
            Self::BadRtc => "bad-rtc",
            Self::Suspend => "suspend",
            Self::DeviceLost => "device-lost",
            Self::SpeakerCrash => "speaker-crash",
            Self::SpeakerHang => "speaker-hang",
            Self::TornClip => "torn-clip",
            Self::Edit => "edit",
            Self::Stop => "stop",
            Self::Hush => "hush",
            Self::Manual => "manual",
            Self::Emergency => "emergency",
        }
    }

    /// How often in a month.
    fn rate(self) -> i64 {
        match self {
            Self::PowerCut | Self::Kill => 6,
            Self::ClockStep => 2,
            Self::BadRtc => 1,
            Self::Suspend => 2,
            Self::DeviceLost | Self::SpeakerCrash | Self::SpeakerHang => 6,
            Self::TornClip => 4,
            Self::Edit | Self::Manual => 8,
            Self::Stop | Self::Hush | Self::Emergency => 3,
        }
    }
}

/// What comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Later {
    Fault(Fault),
    /// The power comes back.
    Boot,
    /// The daemon starts.
    Start,
    /// The clock is put right, by the network or by a person.
    RightClock,
    DeviceBack,
    SpeakerGone,
    /// The daemon's nap ends: it notices a stepped clock.
    Nap,
}

/// What is on disk: every action that returned is durable; the one in flight when the power goes may be either way.
#[derive(Debug, Default)]
struct Disk {
    entries: BTreeMap<OccurrenceId, Entry>,
    by_due: BTreeMap<Timestamp, BTreeSet<OccurrenceId>>,
    running: BTreeMap<OccurrenceId, Running>,
    tick: Option<Tick>,
    starts: Vec<Timestamp>,
    versions: Vec<(Option<Timestamp>, String, Arc<Program>)>,
}

impl Disk {
    fn decided(&self, since: Timestamp) -> BTreeSet<OccurrenceId> {
        self.by_due.range(since..).flat_map(|(_, ids)| ids.iter().cloned()).collect()
    }

    fn memory(&self) -> Memory {
        let tick = self.tick.as_ref().and_then(|tick| tick.at);
        let first = match tick {
            Some(tick) => {
                self.versions.iter().rposition(|version| version.0.is_some_and(|from| from <= tick)).unwrap_or(0)
            }
            None => 0,
        };
        Memory {
            tick,
            newest: self.tick.as_ref().and_then(|tick| tick.newest),
            running: self.running.values().cloned().collect(),
            decided: tick.map_or_else(BTreeSet::new, |tick| self.decided(tick - SignedDuration::from_hours(48))),
            versions: self.versions[first.min(self.versions.len())..].to_vec(),
            starts: self.starts.clone(),
            stopped: self.tick.as_ref().and_then(|tick| tick.stopped.clone()),
            hushed: self.tick.as_ref().and_then(|tick| tick.hushed.clone()),
            volume: self.tick.as_ref().and_then(|tick| tick.volume),
        }
    }
}

/// How a seed's year went.
#[derive(Debug)]
pub struct Told {
    pub hash: u64,
    pub wrong: Vec<String>,
    pub faults: BTreeMap<&'static str, u64>,
    #[expect(dead_code, reason = "printed for one seed")]
    pub outcomes: BTreeMap<String, u64>,
}

/// One seed's year.
pub struct Year {
    dice: Dice,
    enabled: Vec<Fault>,
    /// The network sets the clock a while after each boot; else a person must.
    has_network_time: bool,
    is_told: bool,
    now: Micros,
    ends: Micros,
    later: BTreeMap<(Micros, u64), Later>,
    order: u64,
    /// The wall clock's error.
    offset: Micros,
    stepped: Micros,
    synchronised: bool,
    booted: Micros,
    slept: Micros,
    is_on: bool,
    is_asleep: bool,
    daemon: Option<Conductor>,
    speaker: Speaker,
    words: BTreeMap<(Micros, u64), Word>,
    disk: Disk,
    programs: Vec<Arc<Program>>,
    program: usize,
    edits: u64,
    /// The daemon dies after so many actions of its next batch.
    dies_after: Option<(u64, bool)>,
    /// True moments of edits, with how long around each nobody can say which version was in force.
    history: Vec<(Micros, usize)>,
    /// Spans of true time in which the wall clock was wrong; the last may be open.
    clouded: Vec<(Micros, Micros)>,
    /// Frames really accepted, by occurrence.
    heard: BTreeMap<OccurrenceId, u64>,
    asked: u64,
    hasher: DefaultHasher,
    wrong: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    zone: TimeZone,
}

impl Year {
    pub fn new(seed: u64, days: i64, is_told: bool) -> Self {
        let mut dice = Dice::new(seed);
        let enabled: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.one_in(2)).collect();
        let has_network_time = dice.one_in(2);
        let programs = village::versions(&mut dice);
        if is_told {
            println!("seed {seed}: faults {enabled:?}, network time {has_network_time}");
        }
        let mut year = Self {
            dice,
            enabled,
            has_network_time,
            is_told,
            now: OPENING,
            ends: OPENING + days * DAY,
            later: BTreeMap::new(),
            order: 0,
            offset: 0,
            stepped: 0,
            synchronised: false,
            booted: OPENING - MINUTE,
            slept: 0,
            is_on: true,
            is_asleep: false,
            daemon: None,
            speaker: Speaker::starting(OPENING, true),
            words: BTreeMap::new(),
            disk: Disk::default(),
            programs,
            program: 0,
            edits: 0,
            dies_after: None,
            history: Vec::new(),
            clouded: Vec::new(),
            heard: BTreeMap::new(),
            asked: 0,
            hasher: DefaultHasher::new(),
            wrong: Vec::new(),
            faults: BTreeMap::new(),
            zone: TimeZone::get("Asia/Shanghai").expect("bundled"),
        };
        for fault in year.enabled.clone() {
            year.next_fault(fault);
        }
        year.at(OPENING, Later::Start);
        year
    }

    /// Lives the year and judges it.
    pub fn live(mut self) -> Told {
        self.until(self.ends);
        self.heal();
        let healed = self.now;
        self.until(healed + 10 * MINUTE);
        self.judge(healed);
        let mut outcomes = BTreeMap::new();
        for entry in self.disk.entries.values() {
            *outcomes.entry(format!("{:?} {:?}", entry.outcome, entry.reason)).or_default() += 1;
        }
        Told { hash: self.hasher.finish(), wrong: self.wrong, faults: self.faults, outcomes }
    }

    fn until(&mut self, end: Micros) {
        let (mut moment, mut steps) = (self.now, 0);
        while self.wrong.len() < 5 {
            let wake = self.daemon.as_ref().filter(|_| !self.is_asleep).map(|daemon| {
                let wall = daemon.next_wake();
                let micros = i64::try_from((wall.as_nanosecond() + 999).div_euclid(1000)).expect("in range");
                (micros - self.offset).max(self.now)
            });
            let word = self.words.keys().next().map(|(at, _)| *at).filter(|_| !self.is_asleep);
            let sound = if self.is_asleep { None } else { self.speaker.next(self.now, self.offset) };
            let later = self.later.keys().next().map(|(at, _)| *at);
            let Some(next) = [wake, word, sound, later].into_iter().flatten().min().filter(|next| *next < end) else {
                break;
            };
            self.now = next.max(self.now);
            if self.now > moment {
                (moment, steps) = (self.now, 0);
            }
            steps += 1;
            if steps > 1000 {
                self.accuse("time stands still");
                return;
            }
            if later.is_some_and(|at| at <= self.now) {
                let (_, later) = self.later.pop_first().expect("looked at just now");
                self.befall(later);
            } else if word.is_some_and(|at| at <= self.now) {
                let (_, word) = self.words.pop_first().expect("looked at just now");
                self.tell(Event::Speaker(word));
            } else if sound.is_some_and(|at| at <= self.now) {
                self.sound();
            } else {
                self.tell(Event::Woke);
            }
            self.listen();
        }
        self.now = end.max(self.now);
    }

    fn at(&mut self, moment: Micros, later: Later) {
        self.order += 1;
        self.later.insert((moment, self.order), later);
    }

    fn next_fault(&mut self, fault: Fault) {
        let mean = 30 * DAY / fault.rate();
        // Sums of dice: every gap from minutes to two means.
        let gap = MINUTE + i64::try_from(self.dice.below(u64::try_from(2 * mean).expect("positive"))).expect("fits");
        let at = self.now + gap;
        // Most things are worth most while something sounds: half of them come seconds around a due moment.
        let at = if self.dice.one_in(2) { self.near_due(at) } else { at };
        self.at(at, Later::Fault(fault));
    }

    fn near_due(&mut self, at: Micros) -> Micros {
        let from = stamp(at);
        let planned = plan::plan(&self.programs[self.program], from..from + SignedDuration::from_hours(12));
        let nudge = i64::try_from(self.dice.below(40)).expect("small") * SECOND - 12 * SECOND
            + i64::try_from(self.dice.below(1_000_000)).expect("small");
        planned.occurrences.first().map_or(at, |next| (next.due.as_microsecond() + nudge).max(self.now + 1))
    }

    fn reading(&self) -> Reading {
        let since_boot = micros(self.now - self.booted);
        Reading {
            wall: stamp(self.now + self.offset),
            since_boot,
            awake: since_boot - micros(self.slept),
            synchronised: self.synchronised,
        }
    }

    // What happens.

    fn befall(&mut self, later: Later) {
        (self.now, later).hash(&mut self.hasher);
        self.note(|| format!("{later:?}"));
        match later {
            Later::Fault(fault) => {
                self.next_fault(fault);
                self.fail(fault);
            }
            Later::Boot => self.boot(),
            Later::Start => self.start(),
            Later::RightClock => self.right_clock(),
            Later::DeviceBack => self.speaker.has_device = true,
            Later::SpeakerGone => self.lose_speaker(),
            Later::Nap => {
                if std::mem::take(&mut self.is_asleep) {
                    self.stepped = self.now;
                }
                self.tell(Event::Woke);
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        if !self.is_on || self.is_asleep {
            return;
        }
        *self.faults.entry(fault.name()).or_default() += 1;
        match fault {
            Fault::PowerCut | Fault::Kill => {
                if self.dice.one_in(2) && self.daemon.is_some() {
                    // In the middle of its next batch of actions.
                    self.dies_after = Some((self.dice.below(4), fault == Fault::PowerCut));
                } else {
                    self.go_down(fault == Fault::PowerCut);
                }
            }
            Fault::ClockStep => {
                let by = self.dice.between(1, DAY / SECOND) * SECOND;
                let by = if self.dice.one_in(2) { by } else { -by };
                self.set_offset(by);
                let back = self.now + self.dice.between(1, 6 * 3600) * SECOND;
                self.at(back, Later::RightClock);
                self.at(self.now + SECOND / 2, Later::Nap);
            }
            Fault::BadRtc => {
                self.go_down(true);
                let wrong = [0, 946_684_800, 1_420_070_400, self.now / SECOND + 12 * 366 * 86_400];
                let wrong = match self.dice.below(6) {
                    near @ 0..2 => {
                        let by = self.dice.between(0, 7200) * SECOND;
                        if near == 0 { by } else { -by }
                    }
                    pick => wrong[usize::try_from(pick - 2).expect("small")] * SECOND - self.now,
                };
                self.set_offset(wrong);
            }
            Fault::Suspend if self.now > self.ends - DAY => {}
            Fault::Suspend => {
                let span = self.dice.between(1, 14 * 3600) * SECOND;
                self.is_asleep = true;
                self.slept += span;
                self.speaker.sleep(span);
                self.words =
                    std::mem::take(&mut self.words).into_iter().map(|((a, n), w)| ((a + span, n), w)).collect();
                self.at(self.now + span, Later::Nap);
            }
            Fault::DeviceLost => {
                self.speaker.has_device = false;
                let back = self.now + self.dice.between(1, 3 * 86_400) * SECOND;
                self.at(back, Later::DeviceBack);
            }
            Fault::SpeakerCrash => self.lose_speaker(),
            Fault::SpeakerHang => {
                for (playout, frames) in self.speaker.die(self.now) {
                    self.count(&playout, frames);
                }
                self.speaker.alive = true;
                self.speaker.hung = true;
            }
            Fault::TornClip => {
                for sound in &mut self.speaker.sounds {
                    sound.torn_at = Some(sound.accepted(self.now) + u64::from(RATE) * 4);
                }
            }
            Fault::Edit => {
                self.program = usize::try_from(self.dice.below(village::VERSIONS as u64)).expect("small");
                self.edits += 1;
                if self.daemon.is_some() {
                    self.record_version();
                    let program = Arc::clone(&self.programs[self.program]);
                    self.tell(Event::Reprogrammed { program, revision: self.revision() });
                }
            }
            Fault::Stop => {
                let operator = "test".to_owned();
                self.ask(Command::Stop { operator: operator.clone() });
                if self.dice.one_in(2) {
                    self.ask(Command::Release { operator });
                }
            }
            Fault::Hush => {
                let until = self.reading().wall + SignedDuration::from_mins(self.dice.between(0, 1440));
                self.ask(Command::Hush { until, operator: "test".into(), note: None });
            }
            Fault::Manual | Fault::Emergency => {
                let emergency = fault == Fault::Emergency;
                let id = OccurrenceId::manual(uuid::Uuid::from_u64_pair(self.dice.next(), self.dice.next()));
                self.ask(Command::Play {
                    id,
                    what: Playable::Announcement("fraud".into()),
                    operator: "test".into(),
                    emergency,
                    note: emergency.then(|| "台风".to_owned()),
                });
            }
        }
    }

    fn set_offset(&mut self, offset: Micros) {
        if self.offset == 0 && offset != 0 {
            self.clouded.push((self.now, Micros::MAX));
        }
        if offset == 0
            && let Some(last) = self.clouded.last_mut()
            && last.1 == Micros::MAX
        {
            last.1 = self.now;
        }
        self.offset = offset;
        self.stepped = self.now;
    }

    fn right_clock(&mut self) {
        if !self.is_on || self.is_asleep {
            self.at(self.now + 10 * MINUTE, Later::RightClock);
            return;
        }
        self.set_offset(0);
        self.synchronised = self.has_network_time;
        self.tell(Event::Woke);
        if !self.has_network_time {
            self.ask(Command::ConfirmClock { operator: "test".into() });
        }
    }

    fn go_down(&mut self, power: bool) {
        self.dies_after = None;
        self.daemon = None;
        self.words.clear();
        for (playout, frames) in self.speaker.die(self.now) {
            self.count(&playout, frames);
        }
        let span = if self.dice.one_in(2) { 5 + self.dice.between(0, 60) } else { self.dice.between(5, 3 * 86_400) };
        self.is_on = !power;
        self.is_asleep = false;
        self.at(self.now + span * SECOND, if power { Later::Boot } else { Later::Start });
    }

    fn boot(&mut self) {
        if self.is_on {
            return;
        }
        self.is_on = true;
        self.synchronised = false;
        self.booted = self.now;
        self.slept = 0;
        let wait = match self.has_network_time {
            true => self.dice.between(5, 3600),
            false if self.offset != 0 => self.dice.between(60, 2 * 86_400),
            false => 0,
        };
        if wait > 0 {
            self.at(self.now + wait * SECOND, Later::RightClock);
        }
        self.start();
    }

    fn start(&mut self) {
        if self.is_asleep {
            return self.at(self.now + MINUTE, Later::Start);
        }
        if !self.is_on || self.daemon.is_some() {
            return;
        }
        let now = self.reading();
        self.disk.starts.push(now.wall);
        self.speaker = Speaker::starting(self.now, self.speaker.has_device);
        let percent = |percent: u8| Volume::try_from(percent).expect("at most 100");
        let limits = Limits {
            volume: percent(80),
            ceiling: percent(100),
            released: stamp(OPENING - 30 * DAY),
            lead: SignedDuration::from_secs(10),
        };
        let memory = self.disk.memory();
        let program = Arc::clone(&self.programs[self.program]);
        let is_new = self.disk.versions.last().is_none_or(|last| last.1 != self.revision());
        if is_new {
            self.record_version();
        }
        let (daemon, actions) = Conductor::new(now, memory, limits, program, self.revision());
        self.daemon = Some(daemon);
        self.perform(actions, None);
    }

    fn revision(&self) -> String {
        format!("{:016x}", self.edits)
    }

    fn record_version(&mut self) {
        let program = Arc::clone(&self.programs[self.program]);
        self.disk.versions.push((None, self.revision(), program));
        self.history.push((self.now, self.program));
    }

    fn lose_speaker(&mut self) {
        if self.daemon.is_none() || !self.speaker.alive {
            return;
        }
        for (playout, frames) in self.speaker.die(self.now) {
            self.count(&playout, frames);
        }
        self.words.clear();
        self.speaker = Speaker::starting(self.now, self.speaker.has_device);
        self.tell(Event::SpeakerDied);
    }

    fn sound(&mut self) {
        for said in self.speaker.run(self.now, self.offset) {
            match said {
                Said::Word(word, delay) => {
                    self.order += 1;
                    self.words.insert((self.now + delay, self.order), word);
                }
                Said::Began(playout) => self.began(&playout),
                Said::Over(playout, frames) => self.count(&playout, frames),
            }
        }
    }

    fn count(&mut self, playout: &Playout, frames: u64) {
        *self.heard.entry(playout.occurrence.clone()).or_default() += frames;
    }

    fn ask(&mut self, command: Command) {
        self.asked += 1;
        let ask = self.asked;
        self.tell(Event::Asked { ask, command });
    }

    fn tell(&mut self, event: Event) {
        let now = self.reading();
        let Some(daemon) = &mut self.daemon else { return };
        let ask = match &event {
            Event::Asked { ask, .. } => Some(*ask),
            _ => None,
        };
        if self.is_told && !matches!(event, Event::Woke | Event::Speaker(Word::Progress { .. })) {
            let told = format!("{event:?}");
            println!("{} {} <- {told:.300}", self.now, now.wall);
        }
        let actions = daemon.handle(now, event);
        self.perform(actions, ask);
    }

    fn perform(&mut self, actions: Vec<Action>, ask: Option<u64>) {
        let mut answers = 0;
        let mut recalls = Vec::new();
        for (at, action) in (0..).zip(actions) {
            if let Some((after, power)) = self.dies_after
                && at >= after
            {
                if self.dice.one_in(2) {
                    // The commit was in flight: it may be on disk though nobody heard so.
                    self.commit(&action);
                }
                self.note(|| format!("dies before {action:?}"));
                self.go_down(power);
                return;
            }
            self.trace(&action);
            match &action {
                Action::Play { playout } => self.arm(playout),
                Action::Stop(id) => self.speaker.stop(id.as_str(), self.now),
                Action::ReplaceSpeaker => self.at(self.now + SECOND / 5, Later::SpeakerGone),
                Action::Recall { since } => recalls.push(*since),
                Action::Answer { ask: number, answer } => {
                    answers += u64::from(ask == Some(*number));
                    if let Ok(Done::Playing(_)) = answer {
                        self.note(|| "by hand".to_owned());
                    }
                }
                Action::Gain { .. } | Action::Alarm(_) | Action::Clear(_) => {}
                _ => self.commit(&action),
            }
        }
        if ask.is_some() && answers != 1 {
            self.accuse(&format!("a command got {answers} answers"));
        }
        for since in recalls {
            let decided = self.disk.decided(since);
            self.tell(Event::Recalled { decided });
        }
    }

    fn commit(&mut self, action: &Action) {
        match action {
            Action::Begin(running) | Action::Progress(running) => {
                let id = running.entry.occurrence.clone();
                if self.disk.entries.contains_key(&id) {
                    self.accuse(&format!("{id} runs after its entry"));
                }
                self.disk.running.insert(id, (**running).clone());
            }
            Action::Abandon(id) => {
                self.disk.running.remove(id);
            }
            Action::Finish(entry) => self.finish(entry),
            Action::Tick(tick) => self.disk.tick = Some(tick.clone()),
            Action::Dated { revision, effective } => {
                if let Some(kept) = self.disk.versions.iter_mut().rfind(|kept| kept.1 == *revision) {
                    kept.0 = Some(kept.0.map_or(*effective, |known| known.min(*effective)));
                }
            }
            _ => {}
        }
    }

    fn trace(&mut self, action: &Action) {
        (self.now, std::mem::discriminant(action)).hash(&mut self.hasher);
        if let Action::Finish(entry) = action {
            (entry.occurrence.as_str(), entry.outcome, entry.reason, entry.heard_ms).hash(&mut self.hasher);
        }
        if self.is_told && !matches!(action, Action::Tick(_) | Action::Progress(_)) {
            let told = match action {
                Action::Begin(running) => format!("Begin {} {}", running.entry.occurrence, running.start),
                Action::Finish(entry) => format!(
                    "Finish {} {:?} {:?} {}/{}",
                    entry.occurrence, entry.outcome, entry.reason, entry.heard_ms, entry.expected_ms
                ),
                Action::Play { playout } => {
                    format!("Play {} {} +{}", playout.occurrence, playout.start, playout.skip_frames)
                }
                other => format!("{other:?}"),
            };
            println!("{} {} -> {told}", self.now, stamp(self.now + self.offset));
        }
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{} {} .. {:.300}", self.now, stamp(self.now + self.offset), what());
        }
    }

    // The judge.

    fn accuse(&mut self, what: &str) {
        self.note(|| format!("WRONG: {what}"));
        self.wrong.push(format!("{} {what}", self.zone.to_datetime(stamp(self.now))));
    }

    fn arm(&mut self, playout: &Playout) {
        let id = &playout.occurrence;
        if self.disk.entries.contains_key(id) {
            self.accuse(&format!("{id} is played after its entry"));
        }
        if !self.speaker.hung || self.speaker.alive {
            self.speaker.play(playout.clone(), None);
        }
    }

    fn began(&mut self, playout: &Playout) {
        let id = &playout.occurrence;
        if !self.disk.running.contains_key(id) {
            self.accuse(&format!("{id} sounds before it is on record"));
        }
        if playout.skip_frames == 0 && self.heard.get(id).is_some_and(|heard| *heard > 0) {
            self.accuse(&format!("{id} starts from its beginning twice"));
        }
        let clock = self.daemon.as_ref().map(|daemon| daemon.status(self.reading()).clock);
        if clock == Some(ClockState::Untrusted)
            && !id.as_str().starts_with("manual/")
            && self.now > self.stepped + SECOND
        {
            self.accuse(&format!("{id} starts though nobody knows the time"));
        }
    }

    /// Looks at what is in the air.
    fn listen(&mut self) {
        if self.is_asleep || self.speaker.sounds.is_empty() {
            return;
        }
        let sounding = self.speaker.sounding(self.now);
        let above: usize = sounding.range(Band::Normal..).map(|(_, count)| count).sum();
        let below = sounding.get(&Band::Background).copied().unwrap_or(0);
        if above > 1 || below > 1 {
            let ids: Vec<_> = self.speaker.sounds.iter().map(|sound| sound.playout.occurrence.to_string()).collect();
            self.accuse(&format!("several sound at once: {ids:?}"));
        }
        let is_known = self.offset.abs() <= 2 * SECOND && self.now > self.stepped + 4 * SECOND;
        let is_civil = sounding.range(..Band::Emergency).next().is_some();
        if !is_known || !is_civil {
            return;
        }
        let hours = &self.programs[self.program].hours;
        // The fade may last a moment into them.
        let is_quiet = |at: Micros| hours.is_quiet(self.zone.to_datetime(stamp(at)));
        let clock = || self.daemon.as_ref().map(|daemon| daemon.status(self.reading()).clock);
        if is_quiet(self.now)
            && is_quiet(self.now - SECOND)
            && clock().is_some_and(|clock| clock != ClockState::Untrusted)
        {
            let ids: Vec<_> = self.speaker.sounds.iter().map(|sound| sound.playout.occurrence.to_string()).collect();
            self.accuse(&format!("sounds in quiet hours: {ids:?}"));
        }
    }

    fn finish(&mut self, entry: &Entry) {
        let id = &entry.occurrence;
        if self.disk.entries.contains_key(id) {
            self.accuse(&format!("{id} has two entries"));
            return;
        }
        let fits = match entry.reason {
            None => entry.outcome == Outcome::Played,
            Some(reason) => reason.fits(entry.outcome),
        };
        if !fits {
            self.accuse(&format!("{id} is {:?} {:?}", entry.outcome, entry.reason));
        }
        let real = self.speaker.sounds.iter().filter(|sound| sound.playout.occurrence == *id);
        let real: u64 =
            real.map(|sound| sound.accepted(self.now)).sum::<u64>() + self.heard.get(id).copied().unwrap_or(0);
        let heard = u64::try_from(entry.heard_ms).unwrap_or(0) * u64::from(RATE) / 1000;
        let is_whole = real * 1000 >= frames(entry.expected_ms) * 994;
        if (entry.outcome == Outcome::Played && !is_whole)
            || heard > real + u64::from(RATE) / 100
            || (entry.outcome == Outcome::Partial && real == 0)
        {
            self.accuse(&format!("{id} is {:?} with {real} frames heard, {heard} written", entry.outcome));
        }
        self.disk.running.remove(id);
        self.disk.by_due.entry(entry.due).or_default().insert(id.clone());
        self.disk.entries.insert(id.clone(), entry.clone());
    }

    /// Ends every fault and puts the station right.
    fn heal(&mut self) {
        self.note(|| "heal".to_owned());
        self.later.clear();
        self.dies_after = None;
        self.speaker.has_device = true;
        if !self.is_on {
            self.boot();
        }
        self.start();
        if self.speaker.hung {
            self.lose_speaker();
        }
        self.right_clock();
        self.ask(Command::Release { operator: "test".into() });
    }

    /// Compares the journal with what was owed: the plan of the versions in force, by true time.
    fn judge(&mut self, healed: Micros) {
        let mut missing = Vec::new();
        for (at, &(from, version)) in self.history.iter().enumerate() {
            let until = self.history.get(at + 1).map_or(healed, |next| next.0);
            let window = stamp(from + 2 * SECOND)..stamp((until - 2 * SECOND).max(from + 2 * SECOND));
            for occurrence in plan::plan(&self.programs[version], window).occurrences {
                let due = occurrence.due.as_microsecond();
                if !self.is_in_doubt(due) && !self.disk.entries.contains_key(&occurrence.id) {
                    missing.push(occurrence.id);
                }
            }
        }
        if !missing.is_empty() {
            self.accuse(&format!("{} owed without an entry, first {}", missing.len(), missing[0]));
        }
        let open: Vec<_> =
            self.disk.running.keys().filter(|id| self.disk.running[*id].start < stamp(healed)).cloned().collect();
        if let Some(first) = open.first() {
            self.accuse(&format!("{} still run, first {first}", open.len()));
        }
    }

    /// Returns whether two versions could each claim to be in force at `due`: one came while the clock was wrong.
    fn is_in_doubt(&self, due: Micros) -> bool {
        self.clouded.iter().any(|&(from, until)| {
            let until = until.min(self.now);
            let is_near = (from - 2 * DAY..until + 2 * DAY).contains(&due);
            is_near && self.history.iter().any(|(edit, _)| (from - 3 * DAY..until + 3 * DAY).contains(edit))
        })
    }
}

fn stamp(at: Micros) -> Timestamp {
    Timestamp::from_microsecond(at).expect("in range")
}

fn micros(span: Micros) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}

fn frames(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0) * u64::from(RATE) / 1000
}
