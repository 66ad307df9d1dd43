//! What goes up: the journal, how the station is, what became of commands.

use super::super::{
    CommandId, State,
    journal::{Acked, Turned},
    protocol::{ClockReport, InForce, Reported, Status},
};
use super::{
    Alarm, Answer, Call, Change, Kept, Link, Now, RequestId,
    lane::{Lane, Random},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{collections::VecDeque, time::Duration};

/// Changes close together are reported together.
const DEBOUNCE: Duration = Duration::from_secs(2);
/// A station reports so often even if nothing changes.
const REPORT: Duration = Duration::from_secs(600);
/// A station that comes back after a month sends a full batch no more often than this: 200 rows a second.
const PACE: Duration = Duration::from_millis(2_500);
/// After an answer that only people can put right.
const TURNED: Duration = Duration::from_secs(3600);
/// As many report numbers are kept at a time, so that not every report costs the disk a write.
const NUMBERS: u64 = 1_000;
/// As many rows as a full batch has.
const FULL: i64 = 500;
/// As many words about commands that are not remembered wait for the office at most.
const MOST_TELLINGS: usize = 200;

/// Why the office does not take the journal, as an alarm says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// Two machines write it, or one was restored from a backup.
    Fork,
    /// A line does not follow from the one before.
    Broken,
    /// The office knows another journal or another key of this station.
    Unknown,
}

/// What goes up.
#[derive(Debug)]
pub(super) struct Report {
    /// The journal and its last row; none before the journal said.
    pub(super) rows: Option<(String, i64)>,
    facts: Value,
    journal: Lane,
    reported: Lane,
    status: Lane,
    /// Something has changed since the last report.
    changed: bool,
    /// When that is reported; none while the next report is the regular one.
    settled: Option<Duration>,
    /// When the next report is due in any case.
    due: Duration,
    /// The next report's number.
    next: u64,
    /// The word that is on its way.
    telling: Option<Status>,
    /// Words about commands that are not remembered here.
    tellings: VecDeque<Status>,
}

impl Report {
    pub(super) fn new(kept: &Kept) -> Self {
        Self {
            rows: None,
            facts: Value::Null,
            journal: Lane::default(),
            reported: Lane::default(),
            status: Lane::default(),
            changed: true,
            settled: None,
            due: Duration::ZERO,
            next: kept.reports,
            telling: None,
            tellings: VecDeque::new(),
        }
    }

    /// Something that is reported has changed.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// The office wants a report at once.
    pub(super) fn now(&mut self) {
        self.settled = Some(Duration::ZERO);
    }

    pub(super) fn facts(&mut self, facts: Value) {
        self.changed |= self.facts != facts;
        self.facts = facts;
    }

    /// The office wants the journal again, whatever it said before.
    pub(super) fn retry_journal(&mut self) {
        self.journal.hurry();
    }

    /// A word about a command that is not remembered here.
    pub(super) fn tell(&mut self, command: CommandId, state: State, at: Timestamp) {
        if self.tellings.len() < MOST_TELLINGS && !self.tellings.iter().any(|status| status.command == command) {
            self.tellings.push_back(Status { command, state, at });
        }
    }

    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        [&mut self.journal, &mut self.reported, &mut self.status].into_iter()
    }

    /// When to look again, with `kept` as it is.
    pub(super) fn wake(&self, kept: &Kept) -> Option<Duration> {
        let reported = self.reported.wake(true).map(|ready| ready.max(self.settled.unwrap_or(self.due).min(self.due)));
        let journal = self.journal.wake(self.unsent(kept).is_some());
        let status = self.status.wake(self.untold(kept).is_some());
        [reported, journal, status].into_iter().flatten().min()
    }

    /// So far the journal has been written. Tidings may overtake each other: a journal never becomes shorter.
    pub(super) fn rows(&mut self, epoch: String, newest: i64) {
        let known = self.rows.as_ref().filter(|(known, _)| *known == epoch).map_or(newest, |(_, known)| *known);
        self.rows = Some((epoch, newest.max(known)));
    }

    /// From where rows are to be sent, if there are any.
    fn unsent(&self, kept: &Kept) -> Option<Call> {
        let (epoch, newest) = self.rows.as_ref()?;
        let acked = if *epoch == kept.epoch { kept.acked } else { 0 };
        (*newest > acked).then(|| Call::Journal { epoch: epoch.clone(), after: acked, newest: *newest })
    }

    /// What the office has not acknowledged yet.
    fn untold(&self, kept: &Kept) -> Option<Status> {
        let of_order = kept.orders.iter().find(|(_, order)| !order.told);
        let of_order = of_order.map(|(id, order)| Status { command: *id, state: order.state.clone(), at: order.at });
        of_order.or_else(|| self.tellings.front().cloned())
    }
}

impl Link {
    pub(super) fn ask_report(&mut self, now: Now) {
        let at = now.since_boot;
        if let Some(call) = self.report.unsent(&self.kept)
            && self.report.journal.is_free(at)
        {
            let id = self.ask(call);
            self.report.journal.sent(id, at);
        }
        if let Some(status) = self.report.untold(&self.kept)
            && self.report.status.is_free(at)
        {
            self.report.telling = Some(status.clone());
            let id = self.ask(Call::Status(status));
            self.report.status.sent(id, at);
        }
        if self.report.changed && self.report.settled.is_none() {
            self.report.settled = Some(at + DEBOUNCE);
        }
        let is_due = at >= self.report.due || self.report.settled.is_some_and(|settled| at >= settled);
        if is_due && self.report.reported.is_free(at) {
            if self.report.next >= self.kept.reports {
                self.keep(Change::Numbered { reports: self.report.next + NUMBERS });
            }
            let reported = self.reported(now);
            (self.report.changed, self.report.settled) = (false, None);
            self.report.next += 1;
            self.report.due = at + REPORT;
            self.report_sent();
            let id = self.ask(Call::Report(Box::new(reported)));
            self.report.reported.sent(id, at);
        }
    }

    fn reported(&self, now: Now) -> Reported {
        let root = self.pinned.root();
        let in_force =
            |(source, plan): (&_, &super::KeptPlan)| InForce { source: *source, revision: plan.mark.revision };
        let offset = self.offset(now).and_then(|offset| i64::try_from(offset.as_millis()).ok());
        Reported {
            sequence: self.report.next,
            root: root.version,
            generation: root.generation,
            in_force: self.kept.plans.iter().map(in_force).collect(),
            fetching: self.documents.fetching(),
            journal: self.report.rows.clone(),
            acked: self.kept.acked,
            clock: ClockReport { state: now.clock, offset_ms: offset },
            rejected: self.documents.rejected(),
            facts: self.report.facts.clone(),
        }
    }

    /// Takes the answer to something that went up.
    pub(super) fn report_answered(&mut self, now: Now, id: RequestId, answer: &Answer, random: Random<'_>) {
        let at = now.since_boot;
        let after = if let Answer::Later(after) = answer { *after } else { None };
        if self.report.journal.landed(id).is_some() {
            self.journal_answered(now, answer, random);
        } else if self.report.status.landed(id).is_some() {
            let told = self.report.telling.take();
            match (answer, told) {
                (Answer::Done, Some(told)) => {
                    self.report.status.succeeded();
                    self.told(&told);
                }
                _ => self.report.status.failed(at, after, random),
            }
        } else if self.report.reported.landed(id).is_some() {
            self.report_ended(now, *answer == Answer::Done);
            if *answer == Answer::Done {
                self.report.reported.succeeded();
            } else {
                self.report.changed = true;
                self.report.reported.failed(at, after, random);
            }
        }
    }

    /// The office knows this state. Where the command has moved on meanwhile, it does not know that yet.
    fn told(&mut self, told: &Status) {
        self.report.tellings.retain(|status| status != told);
        let id = told.command;
        if let Some(order) = self.kept.orders.get_mut(&id)
            && order.state == told.state
        {
            order.told = true;
            // Only the end is worth a write: anything else is told again after a restart.
            if order.state.is_final() {
                self.keep(Change::Told { id });
            }
        }
    }

    /// Goes back to where the office says that it holds the journal. Forward it goes by answers to rows alone.
    pub(super) fn held_here(&mut self, held: &Acked) {
        let acked = if held.epoch == self.kept.epoch { held.acked.max(0) } else { 0 };
        if acked < self.kept.acked {
            self.keep(Change::Acked { epoch: self.kept.epoch.clone(), acked });
        }
    }

    fn journal_answered(&mut self, now: Now, answer: &Answer, random: Random<'_>) {
        let at = now.since_boot;
        let Some((epoch, newest)) = self.report.rows.clone() else { return };
        let before = if epoch == self.kept.epoch { self.kept.acked } else { 0 };
        let turn = match answer {
            // More than there is: another machine writes this journal too.
            Answer::Acked(acked) if acked.epoch == epoch && acked.acked > newest => Some(Turn::Fork),
            Answer::Acked(acked) if acked.epoch == epoch && acked.acked > before => {
                self.keep(Change::Acked { epoch, acked: acked.acked });
                self.report.journal.succeeded();
                if acked.acked + FULL <= newest {
                    self.report.journal.rest(at + PACE);
                }
                None
            }
            Answer::Turned(Turned::Need { from }) if (1..=newest + 1).contains(from) => {
                // An answer that is older than what the hello said changes nothing.
                if from - 1 < before {
                    self.keep(Change::Acked { epoch, acked: from - 1 });
                }
                // A store that asks for the same rows again and again is asked more and more rarely.
                self.report.journal.failed(at, None, random);
                return;
            }
            Answer::Turned(Turned::Fork { .. } | Turned::Need { .. }) => Some(Turn::Fork),
            Answer::Turned(Turned::BadChain { .. } | Turned::Malformed) => Some(Turn::Broken),
            Answer::Turned(Turned::Signature | Turned::Epoch | Turned::Other) => Some(Turn::Unknown),
            Answer::Later(after) => return self.report.journal.failed(at, *after, random),
            _ => return self.report.journal.failed(at, None, random),
        };
        for each in [Turn::Fork, Turn::Broken, Turn::Unknown] {
            self.alarm(Alarm::JournalTurned(each), turn == Some(each));
        }
        if turn.is_some() {
            self.report.journal.rest(at + TURNED);
        }
    }
}
