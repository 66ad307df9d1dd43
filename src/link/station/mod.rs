//! The station's end of the link: [`Link::handle`] takes the time and one [`Event`] and returns the [`Action`]s to carry out.
//!
//! One watch is open to the office; it says which plans there are, hands over commands, and shows that the line is alive.
//! While it does, everything else is asked for by requests of their own, one of a kind at a time. Nothing is queued that
//! cannot be asked for again: a station that comes back after a month asks for what it should have, and sends its journal
//! from where it was acknowledged.
//!
//! Always true: without an office nothing changes; a plan is put in force whole, after every check, by one [`Change`]; a
//! command is on the disk before it is carried; a state of a command never moves back.
//!
//! Not here: connections, files and names ([`Action`] says what the shell has to do), when a plan that is in force takes
//! the place of another in the air (the daemon's, at the end of an item), sound.

mod documents;
mod event;
mod kept;
mod lane;
mod orders;
mod report;
#[cfg(test)]
mod tests;
mod watch;

pub use event::{Action, Alarm, Answer, Call, Errand, Event, Held, Now, RequestId};
pub use kept::{Change, Kept, KeptPlan, Order, Tombstone};
pub use lane::Random;
pub use orders::state_of;
pub use report::Turn;

use super::{
    Accepted, Judge, Moment, Pinned, Refused,
    accept::Refusal,
    protocol::Revision,
    time::{Nonce, OfficeClock},
};
use crate::trust::{ClockState, plus};
use documents::Documents;
use jiff::{SignedDuration, Timestamp};
use lane::Lane;
use orders::Waiting;
use report::Report;
use std::{collections::BTreeSet, time::Duration};
use watch::Watch;

/// The machine's clock and the office's may differ by so much and both be right.
const AGREE: SignedDuration = SignedDuration::from_mins(5);
/// After so long without a word that the office signed, somebody should look.
const SILENT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often what is long past is forgotten, and the plans' reviews are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// The station's end of the link.
#[derive(Debug)]
pub struct Link {
    kept: Kept,
    pinned: Pinned,
    office: OfficeClock,
    watch: Watch,
    trust: Lane,
    time: Lane,
    documents: Documents,
    orders: Waiting,
    report: Report,
    /// The root of the office, as far as it was said.
    root_wanted: u64,
    /// The last question for the time that is still open.
    asked_time: Option<Nonce>,
    alarms: BTreeSet<Alarm>,
    /// When something that the office signed came last.
    heard: Duration,
    housekeeping: Duration,
    requests: RequestId,
    actions: Vec<Action>,
}

impl Link {
    /// Takes up what was kept. `now` is when the link starts; the first try comes soon after.
    pub fn new(kept: Kept, now: Now, random: Random<'_>) -> Result<Self, Refused> {
        let pinned = Pinned::first(kept.root.as_bytes())?;
        let root_wanted = pinned.root().version;
        Ok(Self {
            orders: Waiting::new(&kept),
            report: Report::new(&kept),
            kept,
            pinned,
            office: OfficeClock::default(),
            watch: Watch::new(now.since_boot, random),
            trust: Lane::default(),
            time: Lane::default(),
            documents: Documents::default(),
            root_wanted,
            asked_time: None,
            alarms: BTreeSet::new(),
            heard: now.since_boot,
            housekeeping: now.since_boot,
            requests: 0,
            actions: Vec::new(),
        })
    }

    /// Takes one event, and returns what is to be done about it, in order.
    pub fn handle(&mut self, now: Now, event: Event, random: Random<'_>) -> Vec<Action> {
        match event {
            Event::Woke => {}
            Event::Opened(id) => self.watch_opened(now, id),
            Event::Watched(id, event) => self.watched(now, id, event, random),
            Event::Answered(id, answer) => self.answered(now, id, answer, random),
            Event::Rows { epoch, newest } => self.report.rows(epoch, newest),
            Event::Found(blob, held) => self.found(now, blob, held),
            Event::Order(id, state) => self.moved(now, id, state),
            Event::Facts(facts) => self.report.facts(facts),
        }
        self.keep_watch(now, random);
        self.give_up(now, random);
        self.expire_orders(now);
        self.ask_everything(now, random);
        self.keep_house(now);
        std::mem::take(&mut self.actions)
    }

    /// Returns when the link wants to be woken, since boot.
    pub fn next_wake(&self) -> Duration {
        let always = [self.watch.wake(), self.housekeeping, self.orders.wake()];
        let lanes = [
            self.trust.wake(self.root_wanted > self.pinned.root().version),
            self.time.wake(true),
            self.documents.wake(),
            self.report.wake(&self.kept),
        ];
        let asking = lanes.into_iter().flatten().filter(|_| self.watch.is_up());
        always.into_iter().chain(asking).min().unwrap_or(self.housekeeping)
    }

    /// What is remembered.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whom the station trusts.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Sounds that plans wait for, or that came for them: what is not thrown away.
    pub fn staged_sounds(&self) -> impl Iterator<Item = super::BlobId> {
        self.documents.staged_sounds()
    }

    /// Whether the office is heard at this moment.
    pub fn is_up(&self) -> bool {
        self.watch.is_up()
    }

    /// The alarms that are raised.
    pub fn alarms(&self) -> &BTreeSet<Alarm> {
        &self.alarms
    }

    /// The office's clock, for whoever judges the machine's.
    pub fn office_clock(&self) -> &OfficeClock {
        &self.office
    }

    /// The time by which documents are judged. The office has dated them by its own clock, so it is that clock, right or
    /// wrong, where it was said since boot: what an office gives whose clock is wrong counts for as long as it was meant to.
    /// Else it is the machine's, where it is believed; unless the kernel vouches for it, never before something that was
    /// signed earlier.
    pub fn moment(&self, now: Now) -> Moment {
        if let Some((at, _)) = self.office.at(now.since_boot) {
            return Moment { at, known: true };
        }
        match now.clock {
            ClockState::Trusted => Moment { at: now.wall, known: true },
            ClockState::Plausible | ClockState::Confirmed => {
                Moment { at: self.kept.marks.newest().map_or(now.wall, |newest| now.wall.max(newest)), known: true }
            }
            ClockState::Untrusted => Moment { at: now.wall, known: false },
        }
    }

    /// The machine's clock less the office's.
    fn offset(&self, now: Now) -> Option<SignedDuration> {
        Some(now.wall.duration_since(self.office.at(now.since_boot)?.0))
    }

    /// Returns since boot when a deadline of the judged time is reached.
    fn since_boot(&self, now: Now, deadline: Timestamp) -> Duration {
        let left = deadline.duration_since(self.moment(now).at);
        now.since_boot.saturating_add(Duration::try_from(left).unwrap_or_default())
    }

    fn judge(&self, now: Now, bytes: &[u8]) -> Result<Accepted, Refusal> {
        let judge =
            Judge { pinned: &self.pinned, place: &self.kept.place, marks: &self.kept.marks, now: self.moment(now) };
        judge.accept(bytes)
    }

    fn keep(&mut self, change: Change) {
        self.kept.apply(change.clone());
        self.actions.push(Action::Keep(Box::new(change)));
    }

    fn ask(&mut self, call: Call) -> RequestId {
        self.requests += 1;
        self.actions.push(Action::Ask(self.requests, call));
        self.requests
    }

    fn alarm(&mut self, alarm: Alarm, raised: bool) {
        let changed = if raised { self.alarms.insert(alarm) } else { self.alarms.remove(&alarm) };
        if changed {
            self.actions.push(if raised { Action::Alarm(alarm) } else { Action::Clear(alarm) });
            self.report.changed();
        }
    }

    /// Hands an answer to the lane whose it is. One that comes after its request was given up is nobody's.
    fn answered(&mut self, now: Now, id: RequestId, answer: Answer, random: Random<'_>) {
        if self.watch.is(id) {
            self.watch_ended(now, &answer, random);
        } else if self.trust.landed(id).is_some() {
            self.trust_answered(now, answer, random);
        } else if let Some(asked) = self.time.landed(id) {
            self.time_answered(now, asked, &answer, random);
        } else if !self.documents_answered(now, id, &answer, random) {
            self.report_answered(now, id, &answer, random);
        }
    }

    /// Gives up what has taken too long.
    fn give_up(&mut self, now: Now, random: Random<'_>) {
        self.give_up_blob(now, random);
        let mut given_up = Vec::new();
        let lanes = [&mut self.trust, &mut self.time, self.documents.lane_mut()].into_iter();
        for lane in lanes.chain(self.report.lanes_mut()) {
            if let Some(id) = lane.overdue(now.since_boot) {
                lane.failed(now.since_boot, None, random);
                given_up.push(Action::Drop(id));
            }
        }
        // Among them may be the last report.
        if !given_up.is_empty() {
            self.report.changed();
        }
        self.actions.append(&mut given_up);
    }

    /// Asks for everything that is wanted and may be asked for now. The root first: without it other documents are
    /// refused for want of it.
    fn ask_everything(&mut self, now: Now, random: Random<'_>) {
        if !self.watch.is_up() {
            return;
        }
        let root = self.pinned.root().version;
        if self.root_wanted > root && self.trust.is_free(now.since_boot) {
            let id = self.ask(Call::Trust { from: root });
            self.trust.sent(id, now.since_boot);
        }
        if self.time.is_free(now.since_boot) {
            let nonce = Nonce::new(random(), random());
            let id = self.ask(Call::Time { nonce: nonce.clone() });
            self.asked_time = Some(nonce);
            self.time.sent(id, now.since_boot);
        }
        self.ask_documents(now);
        self.ask_report(now);
    }

    fn keep_house(&mut self, now: Now) {
        if now.since_boot < self.housekeeping {
            return;
        }
        self.housekeeping = now.since_boot + HOUSEKEEPING;
        let moment = self.moment(now);
        if moment.known && self.kept.has_past(moment.at) {
            self.keep(Change::Forgotten { before: moment.at });
        }
        let overdue: Vec<_> = self
            .kept
            .plans
            .iter()
            .map(|(source, plan)| (*source, moment.known && moment.at >= plan.review_by))
            .collect();
        for (source, overdue) in overdue {
            self.alarm(Alarm::PlanOverdue(source), overdue);
        }
        self.alarm(Alarm::ClocksDiffer, self.offset(now).is_some_and(|offset| offset.abs() > AGREE));
        self.alarm(Alarm::OfficeSilent, now.since_boot.saturating_sub(self.heard) >= SILENT);
    }
}

/// Returns the earlier of a deadline and the end of the life that a document was meant to have, counted from its coming:
/// an office's clock that is ahead does not make it live longer.
fn deadline(issued: Timestamp, not_after: Timestamp, now: Timestamp) -> Timestamp {
    not_after.min(plus(now, not_after.duration_since(issued)))
}
