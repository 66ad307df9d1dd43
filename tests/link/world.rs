//! Everything that happens, in order of time; what may never happen; and what must happen in the end.

use super::{
    Dice,
    office::{Office, Stray},
    village::{Boot, Disk, Village},
};
use dalaba::{
    link::{
        BlobId, CommandId, Op, Refused, State, StationId, Targets,
        command::{Audio, Speech},
        journal::{Batch, Turned},
        office::come_back_within,
        protocol::{Envelopes, WatchEvent},
        station::{Action, Alarm, Answer, Call, Change, Errand, Event, Held, Kept, RequestId},
    },
    outcome::Outcome,
    schedule::Volume,
    trust::ClockState,
};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// The truth begins in June 2026.
pub const EPOCH_MS: i64 = 1_781_700_000_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// How long everything has, once it is put right.
const HEALING: u64 = 4 * HOUR;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Loss,
    Cut,
    LongCut,
    HalfOpen,
    Buffer,
    PowerCut,
    Torn,
    OfficeDown,
    Restored,
    OfficeClock,
    Clone,
    Replay,
    Forged,
    Rotate,
    Busy,
    WrongSound,
    Relay,
}

impl Fault {
    pub const ALL: [Self; 17] = [
        Self::Loss,
        Self::Cut,
        Self::LongCut,
        Self::HalfOpen,
        Self::Buffer,
        Self::PowerCut,
        Self::Torn,
        Self::OfficeDown,
        Self::Restored,
        Self::OfficeClock,
        Self::Clone,
        Self::Replay,
        Self::Forged,
        Self::Rotate,
        Self::Busy,
        Self::WrongSound,
        Self::Relay,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Cut => "cut",
            Self::LongCut => "long-cut",
            Self::HalfOpen => "half-open",
            Self::Buffer => "buffer",
            Self::PowerCut => "power-cut",
            Self::Torn => "torn",
            Self::OfficeDown => "office-down",
            Self::Restored => "restored",
            Self::OfficeClock => "office-clock",
            Self::Clone => "clone",
            Self::Replay => "replay",
            Self::Forged => "forged",
            Self::Rotate => "rotate",
            Self::Busy => "busy",
            Self::WrongSound => "wrong-sound",
            Self::Relay => "relay",
        }
    }
}

/// What a seed came to.
#[derive(Debug)]
pub struct Told {
    pub wrong: Vec<String>,
    pub happened: BTreeMap<&'static str, u64>,
    pub hash: u64,
}

/// The line between one station and the office.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// Nothing passes until then.
    cut: u64,
    /// And nobody is told.
    silent: bool,
    /// Streams are held back until then.
    buffered: u64,
}

/// What happens next. A village is known by its number and, where it must be the same run of it, by its life.
#[derive(Debug, Clone)]
enum Next {
    Wake(usize, u64),
    /// A request reaches the office.
    Arrives(usize, u64, RequestId, Box<(Call, Option<Batch>)>),
    /// Something reaches the station.
    Comes(usize, u64, Event),
    /// A watch at the office says that it is alive; a poll ends.
    Beats(usize, RequestId),
    Starts(usize, u64, CommandId),
    Ends(usize, u64, CommandId),
    Boots(usize),
    Row(usize),
    Publish,
    Order,
    Fails(Fault),
    Noticed,
}

/// A watch as the office sees it.
#[derive(Debug, Clone, Copy)]
struct Watching {
    life: u64,
    id: RequestId,
    is_poll: bool,
}

pub struct World {
    dice: Dice,
    verbose: bool,
    now: u64,
    end: u64,
    queue: BTreeMap<(u64, u64), Next>,
    queued: u64,
    office: Office,
    office_down: u64,
    backup: Option<super::office::Disk>,
    villages: Vec<Village>,
    lines: Vec<Line>,
    watches: BTreeMap<usize, Watching>,
    faults: BTreeSet<Fault>,
    healing: bool,
    /// Every command that was ever issued.
    issued: BTreeMap<CommandId, (Timestamp, Targets)>,
    /// Envelopes that went over the line.
    recorded: Vec<String>,
    /// Every plan that a station was ever to have, oldest first.
    plans: BTreeMap<StationId, Vec<String>>,
    /// What a hostile relay passed on, with its name and the reasons for which it may be refused.
    hostile: BTreeMap<BlobId, (&'static str, &'static [&'static str])>,
    /// The highest root and generation that any station has.
    roots: (u64, u64),
    wrong: Vec<String>,
    happened: BTreeMap<&'static str, u64>,
    hash: DefaultHasher,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> Self {
        let mut dice = Dice::new(seed);
        let names = ["beizhuang", "nanzhuang", "xiahe", "shanqian"];
        let count = usize::try_from(dice.between(2, 4)).unwrap();
        let keys: Vec<_> = (10..).take(count).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect();
        let id = |name: &str| StationId::try_from(name.to_owned()).unwrap();
        let taken: Vec<_> = names.iter().zip(&keys).map(|(name, key)| (id(name), key.verifying_key())).collect();
        let office = Office::new(&taken);
        let villages: Vec<_> = taken.iter().zip(&keys).map(|((name, _), key)| village(&office, name, key)).collect();
        let faults = Fault::ALL.into_iter().filter(|_| dice.one_in(3)).collect::<BTreeSet<_>>();
        let long = faults.contains(&Fault::LongCut);
        let end = if long { dice.between(24 * HOUR, 72 * HOUR) } else { dice.between(4 * HOUR, 16 * HOUR) };
        let mut world = Self {
            lines: vec![Line::default(); count],
            dice,
            verbose,
            now: 0,
            end,
            queue: BTreeMap::new(),
            queued: 0,
            office,
            office_down: 0,
            backup: None,
            villages,
            watches: BTreeMap::new(),
            faults,
            healing: false,
            issued: BTreeMap::new(),
            recorded: Vec::new(),
            plans: BTreeMap::new(),
            hostile: BTreeMap::new(),
            roots: (1, 1),
            wrong: Vec::new(),
            happened: BTreeMap::new(),
            hash: DefaultHasher::new(),
        };
        for village in 0..count {
            world.after(village as u64 * SECOND, Next::Boots(village));
            world.after(MINUTE, Next::Row(village));
        }
        world.after(2 * MINUTE, Next::Publish);
        world.after(5 * MINUTE, Next::Order);
        for fault in world.faults.clone() {
            let first = world.dice.between(0, HOUR);
            world.after(first, Next::Fails(fault));
        }
        world
    }

    pub fn live(mut self) -> Told {
        if self.verbose {
            println!("{:?} for {} min", self.faults, self.end / MINUTE);
        }
        while let Some(((at, _), next)) = self.queue.pop_first() {
            if !self.healing && at >= self.end {
                self.now = self.end;
                self.heal();
            }
            if at >= self.end + HEALING || !self.wrong.is_empty() {
                break;
            }
            self.now = at;
            self.step(next);
        }
        if self.wrong.is_empty() {
            self.all_arrived();
        }
        Told { wrong: self.wrong, happened: self.happened, hash: self.hash.finish() }
    }

    fn after(&mut self, ms: u64, next: Next) {
        self.queued += 1;
        self.queue.insert((self.now + ms, self.queued), next);
    }

    fn happens(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        (self.now, &what).hash(&mut self.hash);
        if self.verbose {
            println!("{:>9} {}", self.now, what.chars().take(600).collect::<String>());
        }
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let what = format!("at {} ms: {}", self.now, what());
            self.wrong.push(what);
        }
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Wake(village, life) => {
                // An alarm clock that was set to another time meanwhile does not ring.
                if self.villages[village].life == life && self.villages[village].wake == self.now {
                    self.villages[village].wake = u64::MAX;
                    self.tell(village, life, Event::Woke);
                }
            }
            Next::Comes(village, life, event) => self.tell(village, life, event),
            Next::Arrives(village, life, id, asked) => self.serve(village, life, id, asked.0, asked.1),
            Next::Beats(village, id) => self.beat(village, id),
            Next::Starts(village, life, id) => self.starts(village, life, id),
            Next::Ends(village, life, id) => {
                let alive = self.villages[village].life == life;
                if alive && self.villages[village].disk.running.contains_key(&id) {
                    let now = self.now;
                    let (id, state) = self.villages[village].end(id, State::Finished, now);
                    self.tell(village, life, Event::Order(id, state));
                    self.tell_rows(village);
                }
            }
            Next::Boots(village) => self.boot(village),
            Next::Row(village) => {
                if !self.healing {
                    let wait = self.dice.between(MINUTE, 40 * MINUTE);
                    self.after(wait, Next::Row(village));
                    // A month's rows at once, now and then.
                    let count = if self.dice.one_in(30) { 700 } else { 1 };
                    if self.villages[village].link.is_some() {
                        for _ in 0..count {
                            let (now, seq) = (self.now, self.villages[village].newest());
                            let name = format!("town/daily/a@{seq}/{}", self.dice.below(1 << 40));
                            self.villages[village].write(&name, Outcome::Played, None, now);
                        }
                        self.tell_rows(village);
                    }
                }
            }
            Next::Publish => {
                if !self.healing {
                    let wait = self.dice.between(10 * MINUTE, 3 * HOUR);
                    self.after(wait, Next::Publish);
                    if self.now >= self.office_down {
                        self.publish();
                    }
                }
            }
            Next::Order => {
                if !self.healing {
                    let wait = self.dice.between(MINUTE, HOUR);
                    self.after(wait, Next::Order);
                    if self.now >= self.office_down {
                        self.order();
                    }
                }
            }
            Next::Fails(fault) => {
                if !self.healing {
                    let wait = self.dice.between(10 * MINUTE, 5 * HOUR);
                    self.after(wait, Next::Fails(fault));
                    self.fails(fault);
                }
            }
            Next::Noticed => self.bump(),
        }
    }

    /// Tells a station something and carries out what it answers. The power may go between any two actions.
    fn tell(&mut self, at: usize, life: u64, event: Event) {
        let village = &mut self.villages[at];
        if village.life != life {
            return;
        }
        let now = village.now(self.now);
        let Some(link) = &mut village.link else { return };
        let dice = &mut self.dice;
        let actions = link.handle(now, event, &mut || dice.next());
        let wake = u64::try_from(link.next_wake().as_millis()).unwrap_or(u64::MAX);
        let due = village.boot.at.saturating_add(wake).max(self.now + 1);
        // One alarm clock, set to the earliest moment asked for.
        if due < village.wake && due < self.end + HEALING {
            village.wake = due;
            self.after(due - self.now, Next::Wake(at, life));
        }
        let kept = actions.iter().any(|action| matches!(action, Action::Keep(_)));
        for action in actions {
            if self.faults.contains(&Fault::Torn) && !self.healing && self.dice.one_in(400) {
                self.happens("torn");
                self.power_cut(at);
                return;
            }
            self.carry_out(at, life, action);
        }
        let village = &self.villages[at];
        if let (true, Some(link)) = (kept && village.life == life, &village.link) {
            let same = untold(link.kept()) == untold(&village.disk.kept);
            self.must(same, || "the link remembers something else than its disk".into());
            let root = self.villages[at].link.as_ref().map(|link| {
                let root = link.pinned().root();
                (root.version, root.generation)
            });
            self.roots = self.roots.max(root.unwrap_or_default());
        }
    }

    fn carry_out(&mut self, at: usize, life: u64, action: Action) {
        match action {
            Action::Keep(change) => self.keep(at, *change),
            Action::Ask(id, call) => self.asked(at, life, id, call),
            Action::Drop(id) => {
                self.watches.retain(|village, watching| *village != at || watching.id != id);
            }
            Action::Look(blob, bytes) => {
                let held = self.villages[at].held(blob, bytes);
                let wait = self.dice.between(0, 50);
                self.after(wait, Next::Comes(at, life, Event::Found(blob, held)));
            }
            Action::Store(blob, bytes) => drop(self.villages[at].disk.blobs.insert(blob, bytes)),
            Action::Carry(errand) => self.carry(at, life, &errand),
            Action::Alarm(alarm) => {
                self.note(|| format!("{at} alarm {alarm:?}"));
                if matches!(alarm, Alarm::JournalTurned(_)) {
                    self.happens("fork");
                    let cloned = self.villages[at].cloned;
                    self.must(cloned, || {
                        format!("the journal of {at}, which nobody copied, was turned away: {alarm:?}")
                    });
                }
            }
            Action::Clear(_) => {}
        }
    }

    fn keep(&mut self, at: usize, change: Change) {
        self.note(|| format!("{at} keeps {change:?}"));
        if let Change::Plan { plan, .. } = &change {
            self.happens("plan");
            let plan = plan.plan().unwrap();
            let blobs = &self.villages[at].disk.blobs;
            let whole = plan
                .audio
                .iter()
                .all(|sound| blobs.get(&sound.sha256).is_some_and(|bytes| BlobId::of(bytes) == sound.sha256));
            let (before, after) = (self.villages[at].highest, (plan.generation, plan.revision));
            self.must(whole, || format!("half a plan is in force at {at}"));
            self.must(after > before, || format!("{after:?} follows {before:?} at {at}"));
            self.villages[at].highest = after;
        }
        if let Change::Moved { state, .. } = &change {
            let what = match state {
                State::Expired => "expired",
                State::Superseded => "stopped",
                _ => "moved",
            };
            self.happens(what);
        }
        self.villages[at].disk.kept.apply(change);
    }

    /// The rest of the station does as it is told, sooner or later.
    fn carry(&mut self, at: usize, life: u64, errand: &Errand) {
        self.note(|| format!("{at} carries {errand:?}"));
        if let Errand::Speak { id, until, .. } = errand {
            let village = &self.villages[at];
            let now = village.now(self.now);
            let moment = village.link.as_ref().unwrap().moment(now);
            let (not_after, targets) = &self.issued[id];
            let late = moment.at >= *not_after && *until > now.since_boot;
            let meant = targets.include(&village.disk.kept.place);
            let kept = village.disk.kept.orders.contains_key(id);
            self.must(moment.known, || format!("{id} is carried at an unknown time"));
            self.must(!late, || format!("{id} is carried after its deadline"));
            self.must(meant, || format!("{id} is carried where it was not meant"));
            self.must(kept, || format!("{id} is carried before it is on the disk"));
        }
        let now = self.now;
        let told = self.villages[at].take(errand, now);
        for (id, state) in told {
            let wait = self.dice.between(0, 500);
            self.after(wait, Next::Comes(at, life, Event::Order(id, state)));
        }
        if let Errand::Speak { id, .. } = errand
            && self.villages[at].waiting.contains_key(id)
        {
            let wait = if self.dice.one_in(10) { self.dice.below(5 * MINUTE) } else { self.dice.below(2 * SECOND) };
            self.after(wait, Next::Starts(at, life, *id));
        }
        self.tell_rows_later(at, life);
    }

    fn starts(&mut self, at: usize, life: u64, id: CommandId) {
        let now = self.now;
        let village = &mut self.villages[at];
        if village.life != life {
            return;
        }
        let Some((band, until)) = village.waiting.remove(&id) else { return };
        if village.now(now).since_boot >= until {
            let (id, state) = village.end(id, State::Expired, now);
            self.tell(at, life, Event::Order(id, state));
            return self.tell_rows(at);
        }
        let first = village.heard.insert(id);
        village.disk.running.insert(id, band);
        self.note(|| format!("{at} hears {id}"));
        self.happens("heard");
        self.must(first, || format!("{id} is heard twice at {at}"));
        let long = self.dice.between(SECOND, 2 * MINUTE);
        self.after(long, Next::Ends(at, life, id));
        self.tell(at, life, Event::Order(id, State::Started));
    }

    fn tell_rows(&mut self, at: usize) {
        let (life, epoch, newest) = {
            let village = &self.villages[at];
            (village.life, village.epoch(), village.newest())
        };
        self.tell(at, life, Event::Rows { epoch, newest });
    }

    fn tell_rows_later(&mut self, at: usize, life: u64) {
        let (epoch, newest) = (self.villages[at].epoch(), self.villages[at].newest());
        self.after(600, Next::Comes(at, life, Event::Rows { epoch, newest }));
    }

    // The network.

    fn lossy(&self) -> bool {
        self.faults.contains(&Fault::Loss) && !self.healing
    }

    fn delay(&mut self) -> u64 {
        let slow = self.lossy() && self.dice.one_in(10);
        if slow { self.dice.below(20 * SECOND) } else { self.dice.between(5, 300) }
    }

    fn asked(&mut self, at: usize, life: u64, id: RequestId, call: Call) {
        if matches!(&call, Call::Watch { wait: Some(_), .. }) {
            self.happens("poll");
        }
        let batch = match &call {
            Call::Journal { after, newest, .. } => self.villages[at].batch(*after, *newest),
            _ => None,
        };
        let line = self.lines[at];
        if self.now < line.cut || self.now < self.office_down {
            if !line.silent {
                let wait = self.dice.between(100, 10 * SECOND);
                self.after(wait, Next::Comes(at, life, Event::Answered(id, Answer::Failed)));
            }
            return;
        }
        if self.lossy() {
            self.happens("loss");
            if self.dice.one_in(12) {
                return;
            }
            if self.dice.one_in(12) {
                let wait = self.delay();
                self.after(wait, Next::Arrives(at, life, id, Box::new((call.clone(), batch.clone()))));
            }
        }
        let wait = self.delay();
        self.after(wait, Next::Arrives(at, life, id, Box::new((call, batch))));
    }

    /// Something goes down the line.
    fn send(&mut self, at: usize, life: u64, event: Event) {
        if self.now < self.lines[at].cut {
            return;
        }
        let is_stream =
            !matches!(event, Event::Answered(..)) && !self.watches.get(&at).is_some_and(|watch| watch.is_poll);
        if is_stream && self.now < self.lines[at].buffered {
            return;
        }
        if let Event::Watched(_, WatchEvent::Command { envelope }) = &event {
            self.recorded.push(envelope.clone());
        }
        if self.lossy() {
            if self.dice.one_in(12) {
                return;
            }
            if self.dice.one_in(12) {
                let wait = self.delay();
                self.after(wait, Next::Comes(at, life, event.clone()));
            }
        }
        // A stream keeps its order, unless the network is out to do harm.
        let wait = if self.lossy() { self.delay() } else { 40 };
        self.after(wait, Next::Comes(at, life, event));
    }

    // The office.

    fn serve(&mut self, at: usize, life: u64, id: RequestId, call: Call, batch: Option<Batch>) {
        if self.now < self.office_down || self.now < self.lines[at].cut {
            return;
        }
        let name = self.villages[at].name.clone();
        if self.faults.contains(&Fault::Busy) && !self.healing && self.dice.one_in(6) {
            self.happens("busy");
            let after = Some(Duration::from_millis(self.dice.below(5 * MINUTE))).filter(|_| self.dice.one_in(2));
            return self.send(at, life, Event::Answered(id, Answer::Later(after)));
        }
        let answer = match call {
            Call::Watch { nonce, wait, .. } => {
                self.watches.insert(at, Watching { life, id, is_poll: wait.is_some() });
                self.send(at, life, Event::Opened(id));
                let events = self.office.greet(&name, &nonce, self.now);
                let quick = events.len() > 1;
                for event in events {
                    self.send(at, life, Event::Watched(id, event));
                }
                let wait = if wait.is_some() && quick { 100 } else { 25 * SECOND };
                return self.after(wait, Next::Beats(at, id));
            }
            Call::Trust { from } => Answer::Envelopes(self.office.trust(from)),
            Call::Desired => Answer::Envelopes(self.wanted(&name)),
            Call::Time { nonce } => Answer::Envelopes(self.office.time(&nonce, self.now)),
            Call::Report(reported) => {
                let why: Vec<_> = reported.rejected.iter().map(|rejected| rejected.why.clone()).collect();
                self.note(|| format!("{at} reports {:?}, refused {why:?}", reported.in_force));
                for rejected in &reported.rejected {
                    if let Some((what, reasons)) = self.hostile.get(&rejected.sha256).copied() {
                        let why = reason(&rejected.why);
                        self.happens(what);
                        self.must(reasons.contains(&why.as_str()), || format!("{what} is refused as {why}"));
                    }
                }
                Answer::Done
            }
            Call::Blob { blob, from, bytes } => self.transfer(at, blob, from, bytes),
            Call::Status(status) => {
                if matches!(status.state, State::Rejected(_)) {
                    self.happens("rejected");
                }
                self.office.status(&name, status);
                Answer::Done
            }
            Call::Journal { .. } => match batch {
                Some(batch) => self.intake(at, &name, &batch),
                None => Answer::Failed,
            },
        };
        self.send(at, life, Event::Answered(id, answer));
    }

    fn intake(&mut self, at: usize, name: &StationId, batch: &Batch) -> Answer {
        let key = self.villages[at].key.verifying_key();
        match self.office.journal(name, batch, &key) {
            Ok(acked) => {
                self.happens("rows");
                let hashes = &self.office.disk.journals[name].1;
                let begins = |village: &Village| {
                    village.name == *name
                        && hashes.len() <= village.disk.rows.len()
                        && hashes.iter().zip(&village.disk.rows).next_back().is_none_or(|(hash, row)| *hash == row.1)
                };
                let one = self.villages.iter().any(begins);
                self.must(one, || format!("the office's journal of {name} is no station's"));
                Answer::Acked(acked)
            }
            Err(turned) => {
                if matches!(turned, Turned::Need { .. }) {
                    self.happens("need");
                }
                self.note(|| format!("{at} is turned away: {turned:?}"));
                Answer::Turned(turned)
            }
        }
    }

    /// Some of the sound comes, or all; through a cache that may be broken.
    fn transfer(&mut self, at: usize, blob: BlobId, from: u64, bytes: u64) -> Answer {
        let Some(whole) = self.office.blobs.get(&blob).cloned() else { return Answer::Failed };
        let mut rest = whole.get(usize::try_from(from).unwrap()..).unwrap_or_default().to_vec();
        if self.dice.one_in(4) {
            rest.truncate(usize::try_from(self.dice.below(rest.len() as u64 + 1)).unwrap());
        }
        if self.faults.contains(&Fault::WrongSound) && !self.healing && self.dice.one_in(3) && !rest.is_empty() {
            self.happens("wrong-sound");
            rest[0] ^= 1;
        }
        // It may have grown or shrunk since it was asked for, by another transfer or by a power cut.
        let here = self.villages[at].disk.blobs.entry(blob).or_default();
        if here.len() as u64 == from {
            here.extend(rest);
        }
        Answer::Blob(if self.villages[at].disk.blobs[&blob].is_empty() {
            Held::Part(0)
        } else {
            self.villages[at].held(blob, bytes)
        })
    }

    fn beat(&mut self, at: usize, id: RequestId) {
        let Some(watching) = self.watches.get(&at).copied().filter(|watching| watching.id == id) else { return };
        if watching.is_poll {
            self.send(at, watching.life, Event::Answered(id, Answer::Done));
            self.watches.remove(&at);
        } else {
            self.send(at, watching.life, Event::Watched(id, WatchEvent::Heartbeat));
            self.after(25 * SECOND, Next::Beats(at, id));
        }
    }

    fn tell_watches(&mut self, event: &dyn Fn(&Office, &StationId) -> Option<WatchEvent>) {
        for (at, watching) in self.watches.clone() {
            if let Some(event) = event(&self.office, &self.villages[at].name) {
                self.send(at, watching.life, Event::Watched(watching.id, event));
            }
        }
    }

    fn publish(&mut self) {
        self.office.publish(&mut self.dice, self.now);
        let revision = self.office.desired();
        self.note(|| format!("the office publishes {revision:?}"));
        for (name, plan) in &self.office.disk.plans {
            self.recorded.push(plan.text().to_owned());
            self.plans.entry(name.clone()).or_default().push(plan.text().to_owned());
        }
        self.tell_watches(&|office, _| Some(WatchEvent::Revision { desired: office.desired() }));
    }

    fn order(&mut self) {
        let known: Vec<_> = self.issued.keys().copied().collect();
        let some = known.get(usize::try_from(self.dice.below(known.len() as u64)).unwrap()).copied();
        let newest = known.last().copied();
        let speech = self.speech();
        let op = match self.dice.below(10) {
            0..=3 => Op::Play(speech),
            4..=6 => Op::Emergency(speech),
            7 => Op::Stop { command: None },
            8 => Op::Stop { command: if self.dice.one_in(2) { newest } else { some } },
            _ if self.dice.one_in(2) => Op::Report,
            _ => Op::Volume { volume: Volume::FULL },
        };
        let is_play = op.speech().is_some();
        let issued = self.office.order(&mut self.dice, self.now, op);
        self.note(|| format!("the office issues {} {:?}", issued.id, issued.targets));
        self.issued.insert(issued.id, (issued.not_after, issued.targets.clone()));
        let mut out = vec![issued];
        // A stop right behind its play may overtake it.
        if is_play && self.dice.one_in(3) {
            let stop = Op::Stop { command: Some(out[0].id).filter(|_| self.dice.one_in(2)) };
            let stop = self.office.order(&mut self.dice, self.now, stop);
            self.issued.insert(stop.id, (stop.not_after, stop.targets.clone()));
            out.push(stop);
            if self.dice.one_in(2) {
                out.reverse();
            }
        }
        for issued in out {
            self.tell_watches(&|office, name| {
                let meant = issued.targets.include(&office.disk.places[name]);
                meant.then(|| WatchEvent::Command { envelope: issued.envelope.clone() })
            });
        }
    }

    fn speech(&mut self) -> Speech {
        let bytes = format!("bulletin {}", self.dice.below(6)).into_bytes();
        let sha256 = BlobId::of(&bytes);
        self.office.blobs.insert(sha256, bytes.clone());
        let inline = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
        let inline = Some(inline).filter(|_| self.dice.one_in(2));
        let audio = Audio { title: "案情通报".into(), sha256, bytes: bytes.len() as u64, inline };
        Speech { audio: vec![audio], text: String::new(), max_ms: 120_000, volume: Volume::FULL, drill: false }
    }

    // What goes wrong.

    fn fails(&mut self, fault: Fault) {
        self.note(|| format!("fault {}", fault.name()));
        let at = usize::try_from(self.dice.below(self.villages.len() as u64)).unwrap();
        match fault {
            Fault::Loss | Fault::Torn | Fault::Busy | Fault::WrongSound => return,
            Fault::Cut => {
                let long = self.dice.between(SECOND, 2 * HOUR);
                self.cut(at, long, false);
            }
            Fault::LongCut => {
                let long = self.dice.between(12 * HOUR, 60 * HOUR);
                self.cut(at, long, false);
            }
            Fault::HalfOpen => {
                let long = self.dice.between(SECOND, HOUR);
                self.cut(at, long, true);
            }
            Fault::Buffer => {
                self.lines[at].buffered = self.now + self.dice.between(MINUTE, 12 * HOUR);
            }
            Fault::PowerCut => self.power_cut(at),
            Fault::OfficeDown => {
                if self.dice.one_in(2) {
                    let random = self.dice.next();
                    let count = self.villages.len() as u64 * 1000;
                    self.tell_watches(&|_, _| Some(come_back_within(count, random)));
                }
                self.office_down = self.now + self.dice.between(SECOND, 2 * HOUR);
                self.reset_watches();
            }
            Fault::Restored => match self.backup.take() {
                Some(disk) => {
                    self.office.disk = disk;
                    self.office.restored = true;
                    self.reset_watches();
                    let unnoticed = self.dice.between(MINUTE, 3 * HOUR);
                    self.after(unnoticed, Next::Noticed);
                }
                None => {
                    self.backup = Some(self.office.disk.clone());
                    return;
                }
            },
            Fault::OfficeClock => {
                let hours = i64::try_from(self.dice.below(48)).unwrap() - 24;
                self.office.skew = hours * i64::try_from(HOUR).unwrap();
            }
            Fault::Clone => {
                if self.villages.len() >= 6 || self.villages[at].cloned {
                    return;
                }
                self.copy(at);
            }
            Fault::Replay => {
                let count = self.recorded.len() as u64;
                let Some(envelope) = self.recorded.get(usize::try_from(self.dice.below(count)).unwrap()) else {
                    return;
                };
                let envelope = envelope.clone();
                self.inject(at, envelope);
            }
            Fault::Forged => {
                let Some(envelope) = self.recorded.last() else { return };
                let mut bytes = envelope.clone().into_bytes();
                let index = usize::try_from(self.dice.below(bytes.len() as u64)).unwrap();
                bytes[index] = b'A' + u8::try_from(self.dice.below(26)).unwrap();
                self.inject(at, String::from_utf8(bytes).unwrap());
            }
            Fault::Relay => self.relays(at),
            Fault::Rotate => {
                if self.now < self.office_down || self.office.restored {
                    return;
                }
                let version = self.fresh(self.roots.0);
                self.office.rotate(version);
                let root = self.office.disk.root.version;
                self.tell_watches(&|_, _| Some(WatchEvent::Trust { root }));
                self.publish();
            }
        }
        self.happens(fault.name());
    }

    fn cut(&mut self, at: usize, long: u64, silent: bool) {
        self.lines[at] = Line { cut: self.now + long, silent, ..self.lines[at] };
        if !silent && let Some(watching) = self.watches.remove(&at) {
            let wait = self.dice.between(10, 3 * SECOND);
            self.after(wait, Next::Comes(at, watching.life, Event::Answered(watching.id, Answer::Failed)));
        }
    }

    fn power_cut(&mut self, at: usize) {
        if self.villages[at].link.is_none() {
            return;
        }
        self.note(|| format!("{at} goes dark"));
        self.villages[at].dies(&mut self.dice);
        let dark = self.dice.between(5 * SECOND, 40 * MINUTE);
        self.after(dark, Next::Boots(at));
    }

    fn boot(&mut self, at: usize) {
        if self.villages[at].link.is_some() {
            return;
        }
        let minute = i64::try_from(MINUTE).unwrap();
        let (skew, clock) = match self.dice.below(8) {
            _ if self.healing || self.now == 0 => (0, ClockState::Trusted),
            0..=3 => (0, ClockState::Trusted),
            4 | 5 => (i64::try_from(self.dice.below(8)).unwrap() * minute - 4 * minute, ClockState::Plausible),
            6 => (i64::try_from(self.dice.below(600)).unwrap() * minute, ClockState::Plausible),
            _ => (-EPOCH_MS, ClockState::Untrusted),
        };
        let boot = Boot { at: self.now, skew, clock };
        self.villages[at].boots(boot, &mut self.dice);
        self.note(|| format!("{at} boots, {clock:?} {skew}"));
        let life = self.villages[at].life;
        self.tell(at, life, Event::Woke);
        self.tell_rows(at);
    }

    /// Another machine starts from a copy of the disk.
    fn copy(&mut self, at: usize) {
        let original = &mut self.villages[at];
        original.cloned = true;
        let copy = Village {
            name: original.name.clone(),
            key: original.key.clone(),
            disk: original.disk.clone(),
            life: 0,
            boot: original.boot,
            link: None,
            wake: u64::MAX,
            waiting: BTreeMap::new(),
            heard: original.heard.clone(),
            highest: original.highest,
            cloned: true,
        };
        self.villages.push(copy);
        self.lines.push(Line::default());
        let copy = self.villages.len() - 1;
        self.after(SECOND, Next::Boots(copy));
        self.after(MINUTE, Next::Row(copy));
    }

    /// Somebody on the line says what was said before, or what never was.
    fn inject(&mut self, at: usize, envelope: String) {
        let Some(watching) = self.watches.get(&at).copied() else { return };
        let event = Event::Watched(watching.id, WatchEvent::Command { envelope });
        self.after(1, Next::Comes(at, watching.life, event));
    }

    /// What a station should have; from a relay, what it should have had before.
    fn wanted(&mut self, name: &StationId) -> Envelopes {
        let mut wanted = self.office.wanted(name);
        if self.faults.contains(&Fault::Relay) && !self.healing && self.dice.one_in(3) {
            let before = self.plans.get(name).and_then(|plans| plans.len().checked_sub(2).map(|at| plans[at].clone()));
            if let Some(before) = before {
                // The last two where it also came as a command, at this station or another.
                let reasons = &[
                    "old-revision",
                    "same-revision",
                    "old-generation",
                    "newer-generation",
                    "unknown-key",
                    "revoked",
                    "time-unknown",
                    "malformed",
                    "not-for-this-station",
                ];
                self.hostile.insert(BlobId::of(before.as_bytes()), ("rolled-back", reasons));
                wanted.envelopes.truncate(1);
                wanted.envelopes.push(before);
            }
        }
        wanted
    }

    /// A relay, which sees everything and signs nothing, passes on what it should not.
    fn relays(&mut self, at: usize) {
        let name = self.villages[at].name.clone();
        let other = self.office.disk.places.keys().find(|other| **other != name).unwrap().clone();
        let marks = serde_json::to_value(&self.villages[at].disk.kept.marks).unwrap();
        let used = marks["counters"]["emergency"]["seen"].as_object();
        let used = used.filter(|_| marks["generation"].as_u64() == Some(self.office.disk.root.generation));
        let known = used.and_then(|used| used.keys().next()?.parse().ok());
        let op = Op::Emergency(self.speech());
        let mut stray = Stray { to: name, age: 0, counter: None, kid: "emergency", seed: 4 };
        let (what, reasons): (_, &[_]) = match self.dice.below(6) {
            0 => ("truncated", &["malformed"]),
            1 => ("altered", &["forged"]),
            2 => {
                (stray.kid, stray.seed) = ("emergency-2", 44);
                ("unlisted", &["unknown-key"])
            }
            3 => {
                stray.to = other;
                ("re-aimed", &["not-for-this-station"])
            }
            4 => {
                stray.age = 2 * HOUR;
                // An office that was put back counts from where it was, until somebody notices.
                let reasons: &[_] = if self.office.restored {
                    &["expired", "replayed", "time-unknown", "old-generation", "newer-generation"]
                } else {
                    &["expired", "time-unknown", "old-generation", "newer-generation"]
                };
                ("expired-command", reasons)
            }
            _ => {
                let Some(known) = known else { return };
                stray.counter = Some(known);
                ("replayed", &["replayed", "time-unknown", "old-generation", "newer-generation"])
            }
        };
        let issued = self.office.strays(&mut self.dice, self.now, op, &stray);
        self.issued.insert(issued.id, (issued.not_after, issued.targets.clone()));
        let mut envelope = issued.envelope;
        match what {
            "truncated" => envelope.truncate(usize::try_from(self.dice.below(envelope.len() as u64)).unwrap()),
            "altered" => {
                let middle = envelope.len() / 2;
                let other = if envelope.as_bytes()[middle] == b'A' { "B" } else { "A" };
                envelope.replace_range(middle..=middle, other);
            }
            _ => {}
        }
        self.hostile.insert(BlobId::of(envelope.as_bytes()), (what, reasons));
        self.inject(at, envelope);
    }

    /// A number above those that are known, and above those that a restored office forgot: nobody may have heard of them
    /// yet, and somebody may still.
    fn fresh(&self, known: u64) -> u64 {
        (known + 1).max(self.now / SECOND)
    }

    fn reset_watches(&mut self) {
        for (at, watching) in std::mem::take(&mut self.watches) {
            let wait = self.dice.between(10, 3 * SECOND);
            self.after(wait, Next::Comes(at, watching.life, Event::Answered(watching.id, Answer::Failed)));
        }
    }

    /// Somebody has noticed that the office was restored.
    fn bump(&mut self) {
        if !self.office.restored {
            return;
        }
        let known = self.office.disk.root.generation.max(self.roots.1);
        let (version, generation) = (self.fresh(self.roots.0), self.fresh(known));
        self.office.bump(version, generation);
        self.note(|| format!("the office starts generation {generation}"));
        self.publish();
        self.reset_watches();
    }

    // The end.

    fn heal(&mut self) {
        self.healing = true;
        self.note(|| "everything is put right".into());
        self.office_down = 0;
        self.office.skew = 0;
        for at in 0..self.villages.len() {
            self.lines[at] = Line::default();
            let name = self.villages[at].name.clone();
            let is_copy = self.villages.iter().position(|village| village.name == name) != Some(at);
            if is_copy {
                self.villages[at].dies(&mut self.dice);
                self.lines[at].cut = u64::MAX;
            } else if self.villages[at].link.is_some() {
                (self.villages[at].boot.skew, self.villages[at].boot.clock) = (0, ClockState::Trusted);
            } else {
                self.after(SECOND, Next::Boots(at));
            }
        }
        // A copy that was to boot never does.
        let villages = &self.villages;
        let is_copy = |at: &usize| villages.iter().position(|village| village.name == villages[*at].name) != Some(*at);
        self.queue.retain(|_, next| !matches!(next, Next::Boots(at) if is_copy(at)));
        self.reset_watches();
        self.bump();
    }

    fn all_arrived(&mut self) {
        let stations: Vec<_> = self.office.disk.places.keys().cloned().collect();
        for name in stations {
            let at = self.villages.iter().position(|village| village.name == name).unwrap();
            let village = &self.villages[at];
            let Some(link) = &village.link else {
                self.wrong.push(format!("{name} is dark"));
                continue;
            };
            let mut wrong = Vec::new();
            let hashes = self.office.disk.journals.get(&name).map_or(&[][..], |journal| &journal.1);
            if !village.cloned && !hashes.iter().eq(village.disk.rows.iter().map(|row| &row.1)) {
                wrong.push(format!("{} of {} rows of {name} arrived", hashes.len(), village.disk.rows.len()));
            }
            let current = self.office.disk.plans.get(&name).map(|plan| plan.text());
            let in_force = village.disk.kept.plans.values().next().map(|plan| plan.envelope.as_str());
            if current != in_force {
                wrong.push(format!("{name} has another plan in force: {:?}", village.highest));
            }
            if link.pinned().root().version != self.office.disk.root.version {
                wrong.push(format!("{name} has an old root"));
            }
            let open = village.disk.kept.orders.iter().filter(|(_, order)| !order.state.is_final() || !order.told);
            wrong.extend(open.map(|(id, order)| format!("{id} is {:?} at {name}, told {}", order.state, order.told)));
            let place = &self.office.disk.places[&name];
            let now = self.office.now(self.now);
            for (issued, receipts) in self.office.disk.commands.values() {
                let state = receipts.state(&name).map(|(state, _)| state);
                let is_settled = state.is_some_and(State::is_final) || state.is_none() && now >= issued.not_after;
                // A copy may have taken a command with it.
                if issued.targets.include(place) && !village.cloned && !is_settled {
                    wrong.push(format!("the office takes {} at {name} to be {state:?}", issued.id));
                }
            }
            if !village.cloned && link.alarms().iter().any(|alarm| matches!(alarm, Alarm::JournalTurned(_))) {
                wrong.push(format!("{name} raises {:?}", link.alarms()));
            }
            self.wrong.extend(wrong);
        }
    }
}

/// The name by which a reason travels.
fn reason(why: &Refused) -> String {
    serde_json::to_value(why).unwrap()["reason"].as_str().unwrap().to_owned()
}

fn untold(kept: &Kept) -> Kept {
    let mut kept = kept.clone();
    kept.orders.values_mut().for_each(|order| order.told = false);
    kept
}

fn village(office: &Office, name: &StationId, key: &SigningKey) -> Village {
    let now = dalaba::link::Moment { at: office.now(0), known: true };
    let root = dalaba::link::Pinned::first(office.first_root().as_bytes()).unwrap();
    let public: String = key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = Kept::enrolled(&root, office.place(name).text(), &public, now).unwrap();
    Village {
        name: name.clone(),
        key: key.clone(),
        disk: Disk {
            kept,
            blobs: BTreeMap::new(),
            rows: Vec::new(),
            decided: BTreeMap::new(),
            running: BTreeMap::new(),
        },
        life: 0,
        boot: Boot { at: 0, skew: 0, clock: ClockState::Trusted },
        link: None,
        wake: u64::MAX,
        waiting: BTreeMap::new(),
        heard: BTreeSet::new(),
        highest: (0, 0),
        cloned: false,
    }
}
