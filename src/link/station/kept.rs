//! What the link remembers over a restart, and the changes that make it.
//!
//! A change is durable before anything that follows from it. Each carries everything that must become true together: a
//! document and the marks that let it in once, a stop and the tombstone that it leaves.

use super::super::{
    Command, CommandId, Document, Envelope, Judge, KeyId, Marks, Moment, Op, Pinned, Place, Plan, Refused, Role, State,
    accept::Mark, command::LIVES,
};
use crate::{schedule::Source, trust::plus};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a command that came to its end is remembered after its deadline.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A plan in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlan {
    /// Its envelope, as it came.
    pub envelope: String,
    /// Which.
    pub mark: Mark,
    /// When somebody must have looked at it again.
    pub review_by: Timestamp,
}

impl KeptPlan {
    /// Reads it again. It was checked when it was put in force, by the keys and the clock of that time.
    pub fn plan(&self) -> Result<Plan, Refused> {
        Envelope::read(self.envelope.as_bytes())?.document()
    }
}

/// A command that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its envelope, as it came; none once it came to its end.
    pub envelope: Option<String>,
    /// Who signed it.
    pub by: KeyId,
    /// From here on it is not begun.
    pub deadline: Timestamp,
    /// How far it is.
    pub state: State,
    /// Since when.
    pub at: Timestamp,
    /// The office has acknowledged this state.
    pub told: bool,
}

impl Order {
    /// Reads the command again, while it is not at its end.
    pub(super) fn command(&self) -> Option<Command> {
        let envelope = Envelope::read(self.envelope.as_ref()?.as_bytes()).ok()?;
        Command::read(envelope.payload()).ok()
    }
}

/// A stop that keeps on stopping what it overtook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// What it ends; everything issued before it where none is named.
    pub only: Option<CommandId>,
    /// Under which key.
    pub by: KeyId,
    /// Its counter.
    pub counter: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// An emergency is heard all the same.
    pub spares_emergencies: bool,
    /// Nothing that it could stop can come any more.
    pub until: Timestamp,
}

impl Tombstone {
    /// Returns the tombstones that a command leaves: a stop's own, and one for each command that it supersedes.
    pub(super) fn of(command: &Command, by: &KeyId, role: Role) -> Vec<Self> {
        let stop = match command.op {
            Op::Stop { command } => Some(command),
            _ => None,
        };
        let until = plus(command.not_after, LIVES);
        let tombstone = |only| Self {
            only,
            by: by.clone(),
            counter: command.counter,
            issued: command.issued,
            spares_emergencies: role != Role::Emergency,
            until,
        };
        stop.into_iter().chain(command.supersedes.iter().copied().map(Some)).map(tombstone).collect()
    }

    /// Returns whether it stops a command that `by` signed. Counters of one key tell the order; those of two do not.
    pub(super) fn stops(&self, command: &Command, by: &KeyId) -> bool {
        let was_before = match self.by == *by {
            true => command.counter < self.counter,
            false => command.issued <= self.issued,
        };
        let is_meant = self.only.map_or(was_before, |only| only == command.id);
        let is_spared = self.spares_emergencies && matches!(command.op, Op::Emergency(_));
        command.op.speech().is_some() && is_meant && !is_spared
    }
}

/// What the link remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The root's envelope.
    pub root: String,
    /// The place.
    pub place: Place,
    /// What has been seen.
    pub marks: Marks,
    /// The plans in force.
    pub plans: BTreeMap<Source, KeptPlan>,
    /// Commands, until they can be forgotten.
    pub orders: BTreeMap<CommandId, Order>,
    /// Stops that still stop.
    pub tombstones: Vec<Tombstone>,
    /// Of which journal `acked` speaks.
    pub epoch: String,
    /// How far the office has it.
    pub acked: i64,
    /// Reports below this number may have been sent.
    pub reports: u64,
}

/// One change of what is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Another root.
    Root {
        /// Its envelope.
        envelope: String,
        /// With it.
        marks: Marks,
    },
    /// Another place.
    Place {
        /// It.
        place: Place,
        /// With it.
        marks: Marks,
    },
    /// A plan is in force, whole.
    Plan {
        /// Whose.
        source: Source,
        /// Which.
        plan: KeptPlan,
        /// With it.
        marks: Marks,
    },
    /// A command was accepted.
    Accepted {
        /// Which.
        id: CommandId,
        /// Under which it is remembered.
        order: Order,
        /// What it stops.
        tombstones: Vec<Tombstone>,
        /// With it.
        marks: Marks,
    },
    /// A command moved on.
    Moved {
        /// Which.
        id: CommandId,
        /// To here.
        state: State,
        /// When.
        at: Timestamp,
    },
    /// The office knows how a command ended.
    Told {
        /// Which.
        id: CommandId,
    },
    /// What lies before this time for good is forgotten.
    Forgotten {
        /// By the station's best clock.
        before: Timestamp,
    },
    /// The office has the journal up to here.
    Acked {
        /// Which journal.
        epoch: String,
        /// So far; less than before where the office lost rows.
        acked: i64,
    },
    /// Reports may be numbered up to here.
    Numbered {
        /// The first number that may not be used yet.
        reports: u64,
    },
}

impl Kept {
    /// What a station remembers when it has been taken in: the root that people compared by its words, and the place it was
    /// given, which must name this station's key.
    pub fn enrolled(root: &Pinned, place: &str, key: &str, now: Moment) -> Result<Self, Refused> {
        let envelope = Envelope::read(place.as_bytes())?;
        // Whoever the place is for, a key of the root has to have signed it before it is read.
        root.root().signer(&envelope)?;
        let claimed: Place = envelope.document()?;
        let ours = Place { key: key.to_owned(), ..claimed };
        let judge = Judge { pinned: root, place: &ours, marks: &Marks::default(), now };
        let accepted = judge.accept(place.as_bytes()).map_err(|refusal| refusal.why)?;
        let Document::Place(place) = accepted.document else { return Err(Refused::malformed("place")) };
        Ok(Self {
            root: root.envelope().text().to_owned(),
            place,
            marks: accepted.marks,
            plans: BTreeMap::new(),
            orders: BTreeMap::new(),
            tombstones: Vec::new(),
            epoch: String::new(),
            acked: 0,
            reports: 0,
        })
    }

    /// Makes a change. Made twice, it changes nothing more.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Root { envelope, marks } => {
                // The office has lost its memory, and with it what it was told.
                if marks.generation() != self.marks.generation() {
                    self.orders.values_mut().for_each(|order| order.told = false);
                }
                (self.root, self.marks) = (envelope, marks);
            }
            Change::Place { place, marks } => (self.place, self.marks) = (place, marks),
            Change::Plan { source, plan, marks } => {
                self.plans.insert(source, plan);
                self.marks = marks;
            }
            Change::Accepted { id, order, tombstones, marks } => {
                self.orders.insert(id, order);
                let known = &self.tombstones;
                let new: Vec<_> = tombstones.into_iter().filter(|tombstone| !known.contains(tombstone)).collect();
                self.tombstones.extend(new);
                self.marks = marks;
            }
            Change::Moved { id, state, at } => {
                if let Some(order) = self.orders.get_mut(&id)
                    && order.state.advance(state)
                {
                    (order.at, order.told) = (at, false);
                    order.envelope.take_if(|_| order.state.is_final());
                }
            }
            Change::Told { id } => {
                if let Some(order) = self.orders.get_mut(&id) {
                    order.told = true;
                }
            }
            Change::Forgotten { before } => {
                self.tombstones.retain(|tombstone| tombstone.until > before);
                self.orders.retain(|_, order| !order.is_past(before));
            }
            Change::Acked { epoch, acked } => (self.epoch, self.acked) = (epoch, acked),
            Change::Numbered { reports } => self.reports = reports,
        }
    }

    /// Returns whether anything can be forgotten.
    pub(super) fn has_past(&self, before: Timestamp) -> bool {
        self.tombstones.iter().any(|tombstone| tombstone.until <= before)
            || self.orders.values().any(|order| order.is_past(before))
    }
}

impl Order {
    /// By then its counter and its deadline keep it out, if anybody sends it again.
    fn is_past(&self, before: Timestamp) -> bool {
        self.state.is_final() && self.told && plus(self.deadline, REMEMBERED) <= before
    }
}
