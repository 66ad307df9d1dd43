//! Commands: judged, remembered, carried, told.

use super::super::{Accepted, BlobId, Command, CommandId, Document, KeyId, Marks, Op, Refused, Role, State};
use super::{Action, Change, Errand, Kept, Link, Now, Order, Tombstone, deadline, lane::Random};
use crate::{
    entry::Entry,
    outcome::{Outcome, Reason},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// As many commands as are remembered at a time.
const MOST: usize = 2_000;

/// What may turn a refusal into its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cure {
    Root,
    Time,
}

impl Cure {
    fn of(why: &Refused) -> Option<Self> {
        match why {
            Refused::TimeUnknown => Some(Self::Time),
            Refused::UnknownKey { .. } | Refused::Revoked { .. } | Refused::NewerGeneration { .. } => Some(Self::Root),
            _ => None,
        }
    }
}

/// Commands that are not at their end, as far as this run of the program knows.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Sounds that are looked for.
    sounds: BTreeMap<CommandId, BTreeSet<BlobId>>,
    /// Not carried yet in this run.
    uncarried: BTreeSet<CommandId>,
    /// Calls for a report, until it is sent; and those whose report is on its way.
    reports: BTreeSet<CommandId>,
    reporting: BTreeSet<CommandId>,
    /// What would have let in a command that was refused.
    curable: BTreeSet<Cure>,
    /// When the first that waits for its sounds expires, since boot.
    expires: Duration,
}

impl Waiting {
    /// After a restart whatever is not at its end is carried again: the rest of the station knows how far it is.
    pub(super) fn new(kept: &Kept) -> Self {
        let open = kept.orders.iter().filter(|(_, order)| !order.state.is_final());
        Self { uncarried: open.map(|(id, _)| *id).collect(), expires: Duration::MAX, ..Self::default() }
    }

    pub(super) fn wake(&self) -> Duration {
        self.expires
    }

    pub(super) fn wait_for(&self, blob: &BlobId) -> bool {
        self.sounds.values().any(|sounds| sounds.contains(blob))
    }
}

/// Returns what a command came to whose sound has this entry in the journal.
pub fn state_of(entry: &Entry) -> State {
    match (entry.outcome, entry.reason) {
        (Outcome::Partial | Outcome::Skipped, Some(Reason::Stopped | Reason::Superseded)) => State::Superseded,
        (Outcome::Played | Outcome::Partial, _) => State::Finished,
        (Outcome::Skipped, Some(Reason::Expired)) => State::Expired,
        (Outcome::Skipped | Outcome::Missed, why) => State::Failed { why: why.unwrap_or(Reason::Crash) },
    }
}

impl Link {
    /// Takes a command from the watch.
    pub(super) fn ordered(&mut self, now: Now, text: &str) {
        match self.judge(now, text.as_bytes()) {
            Ok(Accepted { document: Document::Command(command), by, role, is_new, marks, .. }) => {
                let id = command.id;
                if let Some(order) = self.kept.orders.get_mut(&id) {
                    // The office asks again: it has not heard how far it is.
                    order.told = false;
                } else if is_new && self.kept.orders.len() >= MOST {
                    self.reject(now, text, Refused::TooMany);
                    self.report.tell(id, State::Rejected(Refused::TooMany), self.moment(now).at);
                } else if is_new {
                    self.accept(now, text, *command, by, role.unwrap_or(Role::Other), marks);
                }
            }
            // Roots and plans do not come this way.
            Ok(_) => self.reject(now, text, Refused::malformed("a document that is no command")),
            Err(refusal) => {
                let unknown = refusal.command.filter(|id| !self.kept.orders.contains_key(id));
                let cure = Cure::of(&refusal.why);
                self.orders.curable.extend(cure);
                if let (Some(id), None) = (unknown, cure) {
                    self.report.tell(id, refusal.state(), self.moment(now).at);
                }
                if let Refused::NewerGeneration { .. } = refusal.why {
                    self.root_wanted = self.root_wanted.max(self.pinned.root().version + 1);
                }
                self.reject(now, text, refusal.why);
            }
        }
    }

    /// What was wanting is here. The office sends what it owes when a watch is opened, so another one is.
    pub(super) fn cured(&mut self, now: Now, cure: Cure, random: Random<'_>) {
        if self.orders.curable.remove(&cure) {
            self.reopen_watch(now, random);
        }
    }

    fn accept(&mut self, now: Now, text: &str, command: Command, by: KeyId, role: Role, marks: Marks) {
        let id = command.id;
        let at = self.moment(now).at;
        let tombstones = Tombstone::of(&command, &by, role);
        let is_overtaken = self.is_overtaken(&command, &by);
        let state = if is_overtaken { State::Superseded } else { State::Verified };
        let envelope = (!state.is_final()).then(|| text.to_owned());
        let deadline = deadline(command.issued, command.not_after, at);
        let order = Order { envelope, by, deadline, state, at, told: false };
        self.keep(Change::Accepted { id, order, tombstones, marks });
        if is_overtaken {
            return;
        }
        self.orders.uncarried.insert(id);
        self.supersede_uncarried(now);
        self.prepare(now);
    }

    /// What has not been carried yet and is stopped by now never will be.
    fn supersede_uncarried(&mut self, now: Now) {
        for id in self.orders.uncarried.clone() {
            let Some(order) = self.kept.orders.get(&id) else { continue };
            let Some(command) = order.command() else { continue };
            if order.state == State::Verified
                && self.is_overtaken(&command, &order.by)
                && self.orders.sounds.contains_key(&id)
            {
                self.moved(now, id, State::Superseded);
            }
        }
    }

    /// Carries what needs no sound, stops first of all; looks for the sounds of the rest, once the time is known.
    fn prepare(&mut self, now: Now) {
        let mut speeches = Vec::new();
        for id in self.orders.uncarried.clone() {
            if self.orders.sounds.contains_key(&id) {
                continue;
            }
            match self.kept.orders.get(&id).and_then(Order::command) {
                Some(command) if command.op.speech().is_some() => speeches.push((id, command)),
                Some(command) => self.carry(now, id, &command),
                None => drop(self.orders.uncarried.remove(&id)),
            }
        }
        if !self.moment(now).known {
            return;
        }
        for (id, command) in speeches {
            let audio = command.op.speech().into_iter().flat_map(|(speech, _)| &speech.audio);
            self.orders.sounds.insert(id, audio.clone().map(|audio| audio.sha256).collect());
            for audio in audio {
                if let Some(bytes) = audio.inlined() {
                    self.actions.push(Action::Store(audio.sha256, bytes));
                }
                self.want(audio.sha256, audio.bytes, true);
            }
        }
    }

    /// A sound is here, whole.
    pub(super) fn arrived(&mut self, now: Now, blob: BlobId) {
        let mut ready = Vec::new();
        for (id, sounds) in &mut self.orders.sounds {
            if sounds.remove(&blob) && sounds.is_empty() {
                ready.push(*id);
            }
        }
        for id in ready {
            if let Some(command) = self.kept.orders.get(&id).and_then(Order::command) {
                self.carry(now, id, &command);
            }
        }
    }

    fn carry(&mut self, now: Now, id: CommandId, command: &Command) {
        let Some(order) = self.kept.orders.get(&id) else { return };
        let (operator, spares_emergencies) = (command.operator.clone(), self.is_content(&order.by));
        // It may sound already, in which case the rest of the station knows it; it is not begun any more.
        let until =
            if self.is_overtaken(command, &order.by) { Duration::ZERO } else { self.since_boot(now, order.deadline) };
        self.orders.uncarried.remove(&id);
        self.orders.sounds.remove(&id);
        let errand = match &command.op {
            Op::Play(speech) | Op::Emergency(speech) => Errand::Speak {
                id,
                band: command.op.speech().map(|(_, band)| band).unwrap_or_default(),
                audio: speech.audio.iter().map(|audio| (audio.title.clone(), audio.sha256)).collect(),
                text: speech.text.clone(),
                longest: Duration::from_millis(speech.max_ms),
                volume: speech.volume,
                drill: speech.drill,
                until,
                operator,
            },
            Op::Stop { command: only } => Errand::Stop { id: Some(id), only: *only, spares_emergencies, operator },
            Op::Volume { volume } => Errand::Volume { id, volume: *volume, operator },
            Op::Report => {
                self.orders.reports.insert(id);
                self.report.now();
                return;
            }
        };
        let supersedes: Vec<_> = command.supersedes.iter().filter(|old| self.is_open(**old)).copied().collect();
        for only in supersedes {
            let operator = command.operator.clone();
            self.actions.push(Action::Carry(Errand::Stop { id: None, only: Some(only), spares_emergencies, operator }));
        }
        self.actions.push(Action::Carry(errand));
    }

    fn is_overtaken(&self, command: &Command, by: &KeyId) -> bool {
        self.kept.tombstones.iter().any(|tombstone| tombstone.stops(command, by))
    }

    fn is_open(&self, id: CommandId) -> bool {
        self.kept.orders.get(&id).is_some_and(|order| !order.state.is_final())
    }

    /// A key that is not listed any more stops no more than it could.
    fn is_content(&self, by: &KeyId) -> bool {
        let key = self.pinned.root().keys.iter().find(|key| key.public.kid == *by);
        key.is_none_or(|key| key.role != Role::Emergency)
    }

    /// Takes how far a command is.
    pub(super) fn moved(&mut self, now: Now, id: CommandId, mut state: State) {
        let Some(order) = self.kept.orders.get(&id) else { return };
        if state == State::Expired && order.command().is_some_and(|command| self.is_overtaken(&command, &order.by)) {
            state = State::Superseded;
        }
        if order.state.clone().advance(state.clone()) {
            let is_final = state.is_final();
            self.keep(Change::Moved { id, state, at: self.moment(now).at });
            if is_final {
                self.orders.uncarried.remove(&id);
                self.orders.sounds.remove(&id);
                self.drop_unwanted();
            }
        }
    }

    /// A report answers every call that came before it.
    pub(super) fn report_sent(&mut self) {
        self.orders.reporting.append(&mut self.orders.reports);
    }

    /// A report is at the office, or did not get there.
    pub(super) fn report_ended(&mut self, now: Now, arrived: bool) {
        let mut calls = std::mem::take(&mut self.orders.reporting);
        if !arrived {
            return self.orders.reports.append(&mut calls);
        }
        for id in calls {
            self.moved(now, id, State::Finished);
        }
    }

    /// Ends what waited for its sounds until its deadline, and takes up what waited for the time.
    pub(super) fn expire_orders(&mut self, now: Now) {
        self.prepare(now);
        let moment = self.moment(now);
        let waiting: Vec<_> = self.orders.sounds.keys().copied().filter(|_| moment.known).collect();
        self.orders.expires = Duration::MAX;
        for id in waiting {
            let order = self.kept.orders.get(&id).filter(|order| order.state == State::Verified);
            match order.map(|order| order.deadline) {
                Some(deadline) if moment.at >= deadline => self.moved(now, id, State::Expired),
                Some(deadline) => self.orders.expires = self.orders.expires.min(self.since_boot(now, deadline)),
                None => {}
            }
        }
    }
}
