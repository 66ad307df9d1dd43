//! Roots, places and plans: asked for, judged, completed with their sounds, put in force.
//!
//! A plan waits here until all of its sounds are on the disk; it is then judged once more, by the keys and the clock of
//! that moment, and put in force by one change. What is on its way is not remembered over a restart: it is asked for again,
//! and the sounds that came already are found again.

use super::super::{
    BlobId, Document, Envelope, Refused,
    accept::Mark,
    protocol::{Envelopes, InForce, Rejected, Revision},
};
use super::{
    Action, Answer, Call, Change, Held, KeptPlan, Link, Now, RequestId,
    lane::{Lane, Random},
    orders::Cure,
};
use crate::schedule::Source;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// As many refused documents as are told to the office.
const REJECTED: usize = 20;
/// As many documents as an answer may hold.
const MOST_ENVELOPES: usize = 64;
/// What the station should have is asked for again after so long, even if the office says nothing new: whoever answered
/// last may have answered with what was right before.
const STALE: Duration = Duration::from_secs(3600);
/// How often the time is asked for while it is known.
const TIME: Duration = Duration::from_secs(1800);

/// Documents on their way.
#[derive(Debug, Default)]
pub(super) struct Documents {
    lane: Lane,
    blobs: Lane,
    /// What the office says that the station should have, and what was asked for last.
    wanted: Option<Revision>,
    fetched: Option<Revision>,
    asking: Option<Revision>,
    /// Until then what was fetched counts, since boot.
    fresh: Duration,
    /// Plans that wait for sounds.
    staged: BTreeMap<Source, Staged>,
    /// Sounds that are looked for; none where it is not known yet how much is here.
    missing: BTreeMap<BlobId, Missing>,
    fetching: Option<BlobId>,
    rejected: VecDeque<Rejected>,
}

#[derive(Debug)]
struct Staged {
    envelope: String,
    mark: Mark,
    sounds: BTreeMap<BlobId, u64>,
}

#[derive(Debug)]
struct Missing {
    bytes: u64,
    /// How much is here; none while nobody has looked.
    here: Option<u64>,
    /// A command waits for it.
    pressing: bool,
    /// How often it was asked for since it last grew: one that never comes does not stand before the others.
    tries: u32,
}

impl Documents {
    pub(super) fn desired(&mut self, wanted: Revision) {
        self.wanted = Some(wanted);
    }

    /// Whether what the station should have is to be asked for, by then.
    fn asks(&self, now: Duration) -> bool {
        self.wanted.is_some() && (self.wanted != self.fetched || now >= self.fresh)
    }

    pub(super) fn wake(&self) -> Option<Duration> {
        let fetches = self.missing.values().any(|missing| missing.here.is_some());
        let asks = if self.asks(Duration::ZERO) { Duration::ZERO } else { self.fresh };
        let asks = self.lane.wake(self.wanted.is_some()).map(|at| at.max(asks));
        [asks, self.blobs.wake(fetches)].into_iter().flatten().min()
    }

    pub(super) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// Plans that wait, with how many sounds are missing.
    pub(super) fn fetching(&self) -> Vec<(InForce, usize)> {
        let missing = |staged: &Staged| staged.sounds.keys().filter(|blob| self.missing.contains_key(blob)).count();
        let wait = |(source, staged): (&Source, &Staged)| {
            (InForce { source: *source, revision: staged.mark.revision }, missing(staged))
        };
        self.staged.iter().map(wait).collect()
    }

    /// Sounds of plans that wait.
    pub(super) fn staged_sounds(&self) -> impl Iterator<Item = BlobId> {
        self.staged.values().flat_map(|plan| plan.sounds.keys().copied())
    }

    pub(super) fn rejected(&self) -> Vec<Rejected> {
        self.rejected.iter().cloned().collect()
    }
}

impl Link {
    pub(super) fn ask_documents(&mut self, now: Now) {
        if self.documents.asks(now.since_boot) && self.documents.lane.is_free(now.since_boot) {
            self.documents.asking = self.documents.wanted;
            let id = self.ask(Call::Desired);
            self.documents.lane.sent(id, now.since_boot);
        }
        if self.documents.blobs.is_free(now.since_boot) {
            let known = self.documents.missing.iter().filter(|(_, missing)| missing.here.is_some());
            let next = known.max_by_key(|(_, missing)| (missing.pressing, Reverse(missing.tries), missing.here));
            if let Some((blob, missing)) = next {
                let (blob, bytes, from) = (*blob, missing.bytes, missing.here.unwrap_or(0));
                let id = self.ask(Call::Blob { blob, from, bytes });
                self.documents.fetching = Some(blob);
                if let Some(missing) = self.documents.missing.get_mut(&blob) {
                    missing.tries += 1;
                }
                self.documents.blobs.sent(id, now.since_boot);
            }
        }
    }

    /// Takes the answer to a request for documents or sounds, and returns whether it was one.
    pub(super) fn documents_answered(&mut self, now: Now, id: RequestId, answer: &Answer, random: Random<'_>) -> bool {
        if self.documents.lane.landed(id).is_some() {
            match answer {
                Answer::Envelopes(envelopes) => {
                    self.documents.lane.succeeded();
                    if self.take_desired(now, envelopes) {
                        self.documents.fetched = self.documents.asking;
                        self.documents.fresh = now.since_boot + STALE;
                    } else {
                        self.documents.lane.failed(now.since_boot, None, random);
                    }
                }
                Answer::Later(after) => self.documents.lane.failed(now.since_boot, *after, random),
                _ => self.documents.lane.failed(now.since_boot, None, random),
            }
            return true;
        }
        if self.documents.blobs.landed(id).is_some() {
            let blob = self.documents.fetching.take();
            match (answer, blob) {
                (Answer::Blob(held), Some(blob)) => {
                    let before = self.documents.missing.get(&blob).and_then(|missing| missing.here);
                    let grew = *held == Held::Whole || matches!(held, Held::Part(here) if before < Some(*here));
                    if grew {
                        self.documents.blobs.succeeded();
                        self.documents.missing.entry(blob).and_modify(|missing| missing.tries = 0);
                    } else {
                        // Nothing came, or all of it and wrong: not again at once.
                        self.documents.blobs.failed(now.since_boot, None, random);
                    }
                    self.found(now, blob, *held);
                }
                (answer, blob) => {
                    let after = if let Answer::Later(after) = answer { *after } else { None };
                    self.documents.blobs.failed(now.since_boot, after, random);
                    self.look_again(blob);
                }
            }
            return true;
        }
        false
    }

    /// Gives up a transfer that has taken too long.
    pub(super) fn give_up_blob(&mut self, now: Now, random: Random<'_>) {
        if let Some(id) = self.documents.blobs.overdue(now.since_boot) {
            self.documents.blobs.failed(now.since_boot, None, random);
            self.actions.push(Action::Drop(id));
            let blob = self.documents.fetching.take();
            self.look_again(blob);
        }
    }

    /// How much came before a transfer broke off, nobody has said.
    fn look_again(&mut self, blob: Option<BlobId>) {
        if let Some((blob, missing)) = blob.and_then(|blob| Some((blob, self.documents.missing.get_mut(&blob)?))) {
            missing.here = None;
            self.actions.push(Action::Look(blob, missing.bytes));
        }
    }

    /// Judges what the station should have; returns false where it is worth asking again.
    fn take_desired(&mut self, now: Now, envelopes: &Envelopes) -> bool {
        let mut settled = true;
        let mut staged = BTreeMap::new();
        for text in envelopes.envelopes.iter().take(MOST_ENVELOPES) {
            let is_in_force = self.kept.plans.values().any(|plan| plan.envelope == *text);
            if is_in_force {
                continue;
            }
            match self.judge(now, text.as_bytes()) {
                Ok(accepted) => match accepted.document {
                    Document::Place(place) if accepted.is_new => {
                        self.keep(Change::Place { place, marks: accepted.marks });
                        self.report.changed();
                    }
                    Document::Plan(plan) if accepted.is_new => {
                        let mark = Mark { revision: plan.revision, digest: BlobId::of(accepted.envelope.payload()) };
                        let sounds = plan.audio.iter().map(|sound| (sound.sha256, sound.bytes)).collect();
                        staged.insert(plan.source, Staged { envelope: text.clone(), mark, sounds });
                    }
                    _ => {}
                },
                Err(refusal) => {
                    match refusal.why {
                        Refused::NewerGeneration { .. } => {
                            self.root_wanted = self.root_wanted.max(self.pinned.root().version + 1);
                            settled = false;
                        }
                        Refused::TimeUnknown => settled = false,
                        _ => {}
                    }
                    self.reject(now, text, refusal.why);
                }
            }
        }
        for (source, plan) in staged {
            self.stage(now, source, plan);
        }
        settled
    }

    /// Has a plan wait for its sounds; one that waited in its place waits no longer.
    fn stage(&mut self, now: Now, source: Source, plan: Staged) {
        if self.documents.staged.get(&source).is_some_and(|staged| staged.mark == plan.mark) {
            return;
        }
        for (blob, bytes) in plan.sounds.clone() {
            self.want(blob, bytes, false);
        }
        self.documents.staged.insert(source, plan);
        self.drop_unwanted();
        self.report.changed();
        self.put_in_force(now);
    }

    /// Has a sound looked for, and fetched where it is not here.
    pub(super) fn want(&mut self, blob: BlobId, bytes: u64, pressing: bool) {
        let missing =
            self.documents.missing.entry(blob).or_insert(Missing { bytes, here: None, pressing: false, tries: 0 });
        if pressing && !std::mem::replace(&mut missing.pressing, true) {
            self.documents.blobs.hurry();
        }
        // Also where it was looked for already: it may have come meanwhile.
        self.actions.push(Action::Look(blob, bytes));
    }

    /// Stops fetching what nothing waits for any more.
    pub(super) fn drop_unwanted(&mut self) {
        let staged = &self.documents.staged;
        let is_staged = |blob: &BlobId| staged.values().any(|plan| plan.sounds.contains_key(blob));
        let orders = &self.orders;
        self.documents.missing.retain(|blob, _| is_staged(blob) || orders.wait_for(blob));
    }

    /// Takes how much of a sound is here.
    pub(super) fn found(&mut self, now: Now, blob: BlobId, held: Held) {
        match held {
            Held::Whole => {
                self.documents.missing.remove(&blob);
                self.arrived(now, blob);
                self.put_in_force(now);
            }
            Held::Part(here) => {
                if let Some(missing) = self.documents.missing.get_mut(&blob) {
                    missing.here = Some(if here < missing.bytes { here } else { 0 });
                }
            }
        }
    }

    /// Puts every plan in force that is whole.
    fn put_in_force(&mut self, now: Now) {
        let is_whole = |staged: &Staged| !staged.sounds.keys().any(|blob| self.documents.missing.contains_key(blob));
        let whole: Vec<_> =
            self.documents.staged.iter().filter(|(_, plan)| is_whole(plan)).map(|(source, _)| *source).collect();
        for source in whole {
            let Some(staged) = self.documents.staged.remove(&source) else { continue };
            match self.judge(now, staged.envelope.as_bytes()) {
                Ok(accepted) if accepted.is_new => {
                    let Document::Plan(plan) = accepted.document else { continue };
                    let plan = KeptPlan { envelope: staged.envelope, mark: staged.mark, review_by: plan.review_by };
                    self.keep(Change::Plan { source, plan, marks: accepted.marks });
                    self.housekeeping = now.since_boot;
                }
                Ok(_) => {}
                Err(refusal) => {
                    // It was good when it came; what changed may change back, as the time.
                    self.documents.fetched = None;
                    self.reject(now, &staged.envelope, refusal.why);
                }
            }
            self.drop_unwanted();
            self.report.changed();
        }
    }

    pub(super) fn trust_answered(&mut self, now: Now, answer: Answer, random: Random<'_>) {
        let before = self.pinned.root().version;
        let after = match answer {
            Answer::Envelopes(envelopes) => {
                for text in envelopes.envelopes.iter().take(MOST_ENVELOPES) {
                    match self.judge(now, text.as_bytes()) {
                        Ok(accepted) => {
                            let Document::Root(next) = accepted.document else { continue };
                            self.pinned = *next;
                            self.keep(Change::Root { envelope: text.clone(), marks: accepted.marks });
                            self.documents.fetched = None;
                        }
                        Err(refusal) => self.reject(now, text, refusal.why),
                    }
                }
                None
            }
            Answer::Later(after) => after,
            _ => None,
        };
        if self.pinned.root().version > before {
            self.trust.succeeded();
            self.report.changed();
            self.cured(now, Cure::Root, random);
        } else {
            self.trust.failed(now.since_boot, after, random);
        }
    }

    pub(super) fn time_answered(&mut self, now: Now, asked: Duration, answer: &Answer, random: Random<'_>) {
        let nonce = self.asked_time.take();
        let text = match answer {
            Answer::Envelopes(Envelopes { envelopes }) => envelopes.first(),
            _ => None,
        };
        let Some((text, nonce)) = text.zip(nonce) else {
            let after = if let Answer::Later(after) = answer { *after } else { None };
            return self.time.failed(now.since_boot, after, random);
        };
        match self.office.take(self.pinned.root(), text.as_bytes(), &nonce, asked, now.since_boot) {
            Ok(()) => {
                self.heard = now.since_boot;
                self.time.succeeded();
                self.time.rest(now.since_boot + TIME);
                self.cured(now, Cure::Time, random);
            }
            Err(why) => {
                self.reject(now, text, why);
                self.time.failed(now.since_boot, None, random);
            }
        }
    }

    /// Notes a document that was refused; the same one for the same reason is noted once.
    pub(super) fn reject(&mut self, now: Now, text: &str, why: Refused) {
        let sha256 = BlobId::of(text.as_bytes());
        if self.documents.rejected.iter().any(|one| one.sha256 == sha256 && one.why == why) {
            return;
        }
        let kind = Envelope::read(text.as_bytes()).ok().map(|envelope| envelope.kind().media_type().to_owned());
        let at = self.moment(now).at;
        let rejected = &mut self.documents.rejected;
        rejected.push_back(Rejected { kind, sha256, at, why });
        if rejected.len() > REJECTED {
            rejected.pop_front();
        }
        self.report.changed();
    }
}
