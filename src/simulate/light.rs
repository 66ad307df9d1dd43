//! A light station: the real link, and as much around it as it needs to be believed.

use super::{
    Fleet, Told, identity,
    mishap::{Dice, Mishap},
    now,
    rows::{Row, Rows},
    wire::Me,
};
use crate::{
    link::{
        BlobId, CommandId, Moment, Pinned, Refused, State,
        protocol::{Enrolled, Rejected},
        station::{Action, Answer, Call, Change, Errand, Event, Held, Kept, Link, RequestId},
    },
    outcome::{Outcome, Reason},
    schedule::Band,
    text::hex,
    trust::{Reading, plus},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::task::AbortHandle;

/// Between two questions whether the office has taken a station in.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Between two rows that a station brings along.
const ROWS_APART: SignedDuration = SignedDuration::from_mins(24);
/// An announcement sounds for up to so long.
const LONGEST: Duration = Duration::from_secs(30);
/// A request while the line is cut fails within so long.
const FAILING: Duration = Duration::from_secs(5);

/// What happens at a station when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It asks to be taken in.
    Asks,
    /// The link is woken.
    Wakes,
    /// An announcement is over, and stands in the journal.
    Row,
    /// A command begins to sound.
    Starts(CommandId),
    /// It has sounded.
    Ends(CommandId),
    /// A request comes to nothing.
    Fails(RequestId),
    /// Something goes wrong.
    Mishap,
    /// The power is back.
    Boots,
}

/// A command that waits for its sound, or sounds.
#[derive(Debug, Clone, Copy)]
struct Sound {
    band: Band,
    until: Duration,
    longest: Duration,
    started: Option<Timestamp>,
}

/// A light station.
pub(super) struct Light {
    pub(super) me: Arc<Me>,
    /// None before it was taken in, and while it is dark.
    pub(super) link: Option<Link>,
    pub(super) rows: Rows,
    /// Counts up; what belongs to an earlier one is lost.
    pub(super) life: u32,
    /// How far its clock is wrong.
    pub(super) skew: SignedDuration,
    /// What it remembers while it is dark.
    kept: Option<Kept>,
    dice: Dice,
    wake: Duration,
    up: bool,
    cut: Duration,
    flights: BTreeMap<RequestId, (AbortHandle, Option<BlobId>)>,
    blobs: BTreeSet<BlobId>,
    sounds: BTreeMap<CommandId, Sound>,
    decided: BTreeMap<CommandId, State>,
    /// The last refusal that was counted.
    refused: Option<(BlobId, Timestamp)>,
    /// How far the office has the journal.
    acked: i64,
}

impl Light {
    pub(super) fn new(index: usize, options: &super::Options, wall: Timestamp) -> Self {
        let (me, epoch) = identity(index, options.seed);
        let mut rows = Rows::new(epoch);
        for back in (1..=i32::try_from(options.rows).unwrap_or(i32::MAX)).rev() {
            rows.push(plain(plus(wall, -ROWS_APART.saturating_mul(back)), Duration::from_secs(20)));
        }
        Self {
            me: Arc::new(me),
            link: None,
            rows,
            life: 0,
            skew: SignedDuration::ZERO,
            kept: None,
            dice: Dice::new(options.seed, !u64::try_from(index).unwrap_or(0)),
            wake: Duration::MAX,
            up: false,
            cut: Duration::ZERO,
            flights: BTreeMap::new(),
            blobs: BTreeSet::new(),
            sounds: BTreeMap::new(),
            decided: BTreeMap::new(),
            refused: None,
            acked: 0,
        }
    }

    pub(super) fn is_enrolled(&self) -> bool {
        self.link.is_some() || self.kept.is_some()
    }

    /// Everything on its way is lost, and what belongs to it does not count any more.
    fn ends_life(&mut self) {
        self.life += 1;
        self.wake = Duration::MAX;
        for (_, (flight, _)) in std::mem::take(&mut self.flights) {
            flight.abort();
        }
    }

    /// Writes the end of what sounded or waited.
    fn decide(&mut self, id: CommandId, state: State, wall: Timestamp) -> State {
        let sound = self.sounds.remove(&id);
        let started = sound.and_then(|sound| sound.started);
        let (outcome, reason) = match (&state, started) {
            (State::Superseded, Some(_)) => (Outcome::Partial, Some(Reason::Stopped)),
            (State::Superseded, None) => (Outcome::Skipped, Some(Reason::Stopped)),
            (State::Expired, _) => (Outcome::Skipped, Some(Reason::Expired)),
            _ => (Outcome::Played, None),
        };
        let heard = started.map_or(0, |at| u32::try_from(wall.duration_since(at).as_millis()).unwrap_or(0));
        let (due, band) = (started.unwrap_or(wall), sound.map_or(Band::Urgent, |sound| sound.band));
        self.rows.push(Row { due, heard_ms: heard, command: Some((id, band)), outcome, reason });
        self.decided.insert(id, state.clone());
        state
    }
}

fn plain(due: Timestamp, heard: Duration) -> Row {
    let heard_ms = u32::try_from(heard.as_millis()).unwrap_or(0);
    Row { due, heard_ms, command: None, outcome: Outcome::Played, reason: None }
}

impl Fleet {
    /// Asks again whether the office has taken a station in.
    pub(super) fn ask_later(&mut self, reading: Reading, index: usize) {
        let wait = ASK_AGAIN + self.lights[index].dice.up_to(ASK_AGAIN);
        self.after(reading.since_boot + wait, index, self.lights[index].life, Deed::Asks);
    }

    /// The office has answered to an enrolment.
    pub(super) fn enrolled(&mut self, reading: Reading, index: usize, enrolled: &Enrolled) {
        let Some(place) = &enrolled.place else {
            self.note("有站点在等镇中心的工作人员确认".into());
            return self.ask_later(reading, index);
        };
        let light = &self.lights[index];
        let key = hex(light.me.key.verifying_key().as_bytes());
        let now = Moment { at: reading.wall, known: true };
        let kept = Pinned::first(enrolled.root.as_bytes()).and_then(|root| Kept::enrolled(&root, place, &key, now));
        match kept {
            Ok(kept) => self.boots(reading, index, kept),
            Err(why) => {
                self.note(format!("镇中心发来的信任根或站点位置不能用：{}", why.said().zh));
                self.ask_later(reading, index);
            }
        }
    }

    fn boots(&mut self, reading: Reading, index: usize, kept: Kept) {
        let light = &mut self.lights[index];
        light.ends_life();
        let sounding: Vec<_> = light.sounds.iter().filter(|(_, sound)| sound.started.is_some()).collect();
        let sounding: Vec<_> = sounding.into_iter().map(|(id, _)| *id).collect();
        for id in sounding {
            light.decide(id, State::Finished, reading.wall);
        }
        light.sounds.clear();
        let now = now(reading, light);
        let dice = &mut light.dice;
        match Link::new(kept, now, &mut || dice.next()) {
            Ok(link) => light.link = Some(link),
            Err(why) => return self.note(format!("站点记下的信任根不能用：{}", why.said().zh)),
        }
        let life = light.life;
        let row = light.dice.up_to(self.options.row_every);
        let mishap = self.options.mishap_every.map(|every| light.dice.up_to(every * 2));
        self.after(reading.since_boot + row, index, life, Deed::Row);
        if let Some(mishap) = mishap {
            self.after(reading.since_boot + mishap, index, life, Deed::Mishap);
        }
        let facts = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "simulated": true });
        self.happens(reading, index, Event::Facts(facts));
        self.tell_rows(reading, index);
    }

    fn tell_rows(&mut self, reading: Reading, index: usize) {
        let rows = &self.lights[index].rows;
        let event = Event::Rows { epoch: rows.epoch().to_owned(), newest: rows.newest() };
        self.happens(reading, index, event);
    }

    /// Lets something happen whose time has come.
    pub(super) fn does(&mut self, reading: Reading, index: usize, at: Duration, deed: Deed) {
        let light = &mut self.lights[index];
        match deed {
            Deed::Asks => {
                let name = format!("模拟村{}", index + 1);
                let enrolling = self.caller(index).enrol(self.options.code.clone(), name);
                // Its end is heard of; nobody has to wait for it.
                drop(tokio::spawn(enrolling));
            }
            Deed::Wakes => {
                if light.wake == at {
                    light.wake = Duration::MAX;
                    self.happens(reading, index, Event::Woke);
                }
            }
            Deed::Row => {
                let heard = light.dice.up_to(LONGEST);
                let due = plus(reading.wall, -SignedDuration::try_from(heard).unwrap_or_default());
                light.rows.push(plain(due, heard));
                let life = light.life;
                self.after(reading.since_boot + self.options.row_every, index, life, Deed::Row);
                self.tell_rows(reading, index);
            }
            Deed::Starts(id) => self.starts(reading, index, id),
            Deed::Ends(id) => {
                if light.sounds.contains_key(&id) {
                    let state = light.decide(id, State::Finished, reading.wall);
                    self.happens(reading, index, Event::Order(id, state));
                    self.tell_rows(reading, index);
                }
            }
            Deed::Fails(id) => self.happens(reading, index, Event::Answered(id, Answer::Failed)),
            Deed::Mishap => self.mishap(reading, index),
            Deed::Boots => {
                if let Some(kept) = light.kept.take() {
                    self.boots(reading, index, kept);
                }
            }
        }
    }

    fn starts(&mut self, reading: Reading, index: usize, id: CommandId) {
        let light = &mut self.lights[index];
        let life = light.life;
        let Some(sound) = light.sounds.get_mut(&id) else { return };
        if reading.since_boot >= sound.until {
            let state = light.decide(id, State::Expired, reading.wall);
            self.happens(reading, index, Event::Order(id, state));
            return self.tell_rows(reading, index);
        }
        sound.started = Some(reading.wall);
        let lasts = light.dice.up_to(LONGEST).min(sound.longest);
        self.figures.sounds(index, id, reading.wall, reading.since_boot);
        self.after(reading.since_boot + lasts, index, life, Deed::Ends(id));
        self.happens(reading, index, Event::Order(id, State::Started));
    }

    /// Something goes wrong, and the next thing is drawn.
    fn mishap(&mut self, reading: Reading, index: usize) {
        let light = &mut self.lights[index];
        let mishap = Mishap::draw(&mut light.dice);
        *self.counts.mishaps.entry(mishap.name()).or_default() += 1;
        match mishap {
            Mishap::Cut(long) => {
                light.cut = reading.since_boot + long;
                let broken: Vec<_> = std::mem::take(&mut light.flights).into_iter().collect();
                for (id, (flight, _)) in broken {
                    flight.abort();
                    self.happens(reading, index, Event::Answered(id, Answer::Failed));
                }
            }
            Mishap::Clock(minutes) => light.skew = SignedDuration::from_mins(minutes),
            Mishap::Dark(long) => {
                light.kept = light.link.take().map(|link| link.kept().clone());
                light.ends_life();
                let life = light.life;
                self.after(reading.since_boot + long, index, life, Deed::Boots);
                return self.stands(reading, index);
            }
            Mishap::Again => {
                let kept = light.link.take().map(|link| Kept { acked: 0, ..link.kept().clone() });
                if let Some(kept) = kept {
                    self.boots(reading, index, kept);
                }
                return;
            }
        }
        let (life, every) = (self.lights[index].life, self.options.mishap_every.unwrap_or(Duration::MAX / 4));
        let wait = self.lights[index].dice.up_to(every * 2);
        self.after(reading.since_boot + wait, index, life, Deed::Mishap);
    }

    /// Tells a link something, and carries out what it answers.
    pub(super) fn happens(&mut self, reading: Reading, index: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(mut event) = events.pop_front() {
            self.counts(index, &mut event);
            let light = &mut self.lights[index];
            let now = now(reading, light);
            let Some(link) = &mut light.link else { return };
            let dice = &mut light.dice;
            for action in link.handle(now, event, &mut || dice.next()) {
                self.acts(reading, index, action, &mut events);
            }
        }
        let light = &mut self.lights[index];
        let Some(link) = &light.link else { return };
        // Wakes at most once a millisecond, whatever the link asks for.
        let due = link.next_wake().max(reading.since_boot + Duration::from_millis(1));
        if due < light.wake {
            light.wake = due;
            let life = light.life;
            self.after(due, index, life, Deed::Wakes);
        }
        self.stands(reading, index);
    }

    /// Counts what comes to a station, and remembers the sound that came whole.
    fn counts(&mut self, index: usize, event: &mut Event) {
        let Event::Answered(id, answer) = event else { return };
        let flight = self.lights[index].flights.remove(id);
        match answer {
            Answer::Later(_) => self.counts.later += 1,
            Answer::Failed => self.counts.failed += 1,
            Answer::Blob(Held::Whole) => {
                if let Some((_, Some(blob))) = flight {
                    self.lights[index].blobs.insert(blob);
                }
            }
            _ => {}
        }
    }

    /// Notes whether a station hears the office.
    fn stands(&mut self, reading: Reading, index: usize) {
        let light = &mut self.lights[index];
        let up = light.link.as_ref().is_some_and(crate::link::station::Link::is_up);
        if std::mem::replace(&mut light.up, up) == up {
            return;
        }
        if !up {
            self.figures.went(index, reading.since_boot);
        } else if let Some(storm) = self.figures.back(index, reading.since_boot) {
            self.notes.push(Told::Storm(storm));
        }
    }

    fn acts(&mut self, reading: Reading, index: usize, action: Action, events: &mut VecDeque<Event>) {
        let light = &mut self.lights[index];
        match action {
            Action::Keep(change) => {
                if let Change::Acked { acked, .. } = *change {
                    self.acked(index, acked);
                }
            }
            Action::Ask(id, call) => self.asks(reading, index, id, call),
            Action::Drop(id) => {
                if let Some((flight, _)) = light.flights.remove(&id) {
                    flight.abort();
                }
            }
            Action::Look(blob, _) => {
                let held = if light.blobs.contains(&blob) { Held::Whole } else { Held::Part(0) };
                events.push_back(Event::Found(blob, held));
            }
            Action::Store(blob, _) => drop(light.blobs.insert(blob)),
            Action::Carry(errand) => self.carries(reading, index, errand, events),
            Action::Alarm(alarm) => self.note(format!("有站点告警：{alarm:?}")),
            Action::Clear(_) => {}
        }
    }

    /// The office has the journal up to here.
    fn acked(&mut self, index: usize, acked: i64) {
        let before = std::mem::replace(&mut self.lights[index].acked, acked);
        if acked >= before {
            self.counts.acked += acked - before;
        } else {
            self.counts.lost += before - acked;
        }
    }

    fn asks(&mut self, reading: Reading, index: usize, id: RequestId, call: Call) {
        let light = &mut self.lights[index];
        if let Call::Report(reported) = &call {
            let newest = reported.rejected.last().map(|Rejected { sha256, at, .. }| (*sha256, *at));
            if newest.is_some() && light.refused != newest {
                light.refused = newest;
                self.counts.refused += 1;
                if let Some(Rejected { why, .. }) = reported.rejected.last() {
                    let said = Refused::said(why).zh;
                    self.note(format!("有站点拒收文件：{said}"));
                }
            }
        }
        let light = &mut self.lights[index];
        if reading.since_boot < light.cut {
            let (life, wait) = (light.life, light.dice.up_to(FAILING));
            return self.after(reading.since_boot + wait, index, life, Deed::Fails(id));
        }
        let (mut blob, mut batch) = (None, None);
        match &call {
            Call::Watch { .. } => self.counts.watches += 1,
            Call::Blob { blob: wanted, .. } => blob = Some(*wanted),
            Call::Journal { after, newest, .. } => batch = light.rows.batch(*after, *newest, &light.me.key),
            _ => {}
        }
        let flight = tokio::spawn(self.caller(index).carry(id, call, batch)).abort_handle();
        self.lights[index].flights.insert(id, (flight, blob));
    }

    fn carries(&mut self, reading: Reading, index: usize, errand: Errand, events: &mut VecDeque<Event>) {
        let light = &mut self.lights[index];
        match errand {
            Errand::Speak { id, band, longest, until, .. } => {
                if let Some(state) = light.decided.get(&id) {
                    events.push_back(Event::Order(id, state.clone()));
                } else if light.sounds.get(&id).is_some_and(|sound| sound.started.is_some()) {
                    events.push_back(Event::Order(id, State::Started));
                } else {
                    light.sounds.insert(id, Sound { band, until, longest, started: None });
                    let life = light.life;
                    self.after(reading.since_boot, index, life, Deed::Starts(id));
                }
            }
            Errand::Stop { id, only, spares_emergencies, .. } => {
                let is_hit = |(command, sound): (&CommandId, &Sound)| {
                    only.is_none_or(|only| only == *command) && !(spares_emergencies && sound.band == Band::Emergency)
                };
                let hits: Vec<_> = light.sounds.iter().filter(|(id, sound)| is_hit((id, sound))).collect();
                let hits: Vec<_> = hits.into_iter().map(|(id, _)| *id).collect();
                for command in hits {
                    let state = light.decide(command, State::Superseded, reading.wall);
                    events.push_back(Event::Order(command, state));
                }
                events.extend(id.map(|id| Event::Order(id, State::Finished)));
                let rows = &light.rows;
                events.push_back(Event::Rows { epoch: rows.epoch().to_owned(), newest: rows.newest() });
            }
            Errand::Volume { id, .. } => events.push_back(Event::Order(id, State::Finished)),
        }
    }
}
