//! Whether a document is believed: every check, in one order, in one place.
//!
//! 1. the envelope is well formed; 2. its key is listed, 3. not revoked, and 4. its signature holds; 5. the contents are
//!    well formed; 6. the key's role fits, 7. the key is in force, 8. its scope covers the targets and this station;
//!    9. the targets cover this station; 10. the generation is the root's; 11. revision or counter lie above what was
//!    seen; 12. it has not expired; 13. hashes match.
//!
//! What is accepted comes with the new high-water [`Marks`], to be stored in one transaction with what it does: marks
//! that are stored earlier lose a document in a crash, marks that are stored later let it in twice.
//!
//! Not here: putting it in force.

use super::{
    BlobId, Command, CommandId, Envelope, KeyId, Kind, Op, Pinned, Place, Plan, Refused, Role, State, Targets, command,
    root::{Key, MOST_NUMBER},
};
use crate::schedule::Source;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// As many counters of one key as are remembered one by one; older ones count as used.
const COUNTERS: usize = 256;

/// The time as far as it is known, to judge deadlines by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The best guess.
    pub at: Timestamp,
    /// Believed. While it is not, only a stop is accepted: everything else might be out of date.
    pub known: bool,
}

/// The highest document seen of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its revision.
    pub revision: u64,
    /// The sha256 of its payload.
    pub digest: BlobId,
}

/// Counters that one key has used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// This one and all below count as used.
    floor: u64,
    /// Those above that were seen, with what they were seen on. Commands overtake each other, so the highest alone would
    /// lose what comes second.
    seen: BTreeMap<u64, BlobId>,
}

impl Counters {
    /// Returns whether this very document was seen before; refuses a counter that was used for another, or may have been.
    fn check(&self, counter: u64, digest: BlobId) -> Result<bool, Refused> {
        match self.seen.get(&counter) {
            Some(seen) if *seen == digest => Ok(true),
            None if counter > self.floor => Ok(false),
            _ => Err(Refused::Replayed { counter }),
        }
    }

    fn add(&mut self, counter: u64, digest: BlobId) {
        self.seen.insert(counter, digest);
        while self.seen.len() > COUNTERS
            && let Some((lowest, _)) = self.seen.pop_first()
        {
            self.floor = lowest;
        }
    }
}

/// The high-water marks of a station: what has been seen and may not come again. They count within a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    generation: u64,
    place: Option<Mark>,
    plans: BTreeMap<Source, Mark>,
    counters: BTreeMap<KeyId, Counters>,
    newest: Option<Timestamp>,
}

impl Marks {
    /// Returns the marks of a station that has just taken up its place.
    pub fn of(place: &Place, digest: BlobId) -> Self {
        let mark = Mark { revision: place.revision, digest };
        Self { generation: place.generation, place: Some(mark), ..Self::default() }
    }

    /// Within which generation they count.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The highest plan of a source that was put in force.
    pub fn plan(&self, source: Source) -> Option<Mark> {
        self.plans.get(&source).copied()
    }

    /// The latest time at which something that was accepted had been signed: it cannot be earlier now, unless the office's
    /// clock was wrong then.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Returns the marks that count under a root: those at hand, or none yet in a new generation.
    fn within(&self, generation: u64) -> Self {
        if self.generation == generation { self.clone() } else { Self { generation, ..Self::default() } }
    }
}

/// Returns whether a revision is new; refuses one that is older, or another document under the same.
fn above(mark: Option<Mark>, revision: u64, digest: BlobId) -> Result<bool, Refused> {
    let Some(mark) = mark else { return Ok(true) };
    match revision.cmp(&mark.revision) {
        std::cmp::Ordering::Less => Err(Refused::OldRevision { ours: mark.revision, theirs: revision }),
        std::cmp::Ordering::Equal if digest == mark.digest => Ok(false),
        std::cmp::Ordering::Equal => Err(Refused::SameRevision { revision }),
        std::cmp::Ordering::Greater => Ok(true),
    }
}

/// What was in the envelope.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// The next root. Under a new generation the marks have started again.
    Root(Box<Pinned>),
    /// A new place.
    Place(Place),
    /// A plan. The marks are stored when it is put in force, not when it has merely arrived.
    Plan(Box<Plan>),
    /// A command.
    Command(Box<Command>),
}

/// A document that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// What it says.
    pub document: Document,
    /// As it came.
    pub envelope: Envelope,
    /// Whose word it is; for a root, the first of those who signed.
    pub by: KeyId,
    /// What that key may do; none for a root.
    pub role: Option<Role>,
    /// False where this very document was accepted before.
    pub is_new: bool,
    /// To be stored in one transaction with what the document does.
    pub marks: Marks,
}

/// A document that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: Refused,
    /// The command it was, where a trusted key says so: nobody else can have one reported as rejected.
    pub command: Option<CommandId>,
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        Self { why, command: None }
    }
}

impl Refusal {
    /// What the office is told about the command.
    pub fn state(&self) -> State {
        match &self.why {
            Refused::Expired { .. } => State::Expired,
            why => State::Rejected(why.clone()),
        }
    }
}

/// What a station knows when it judges a document.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Whom it trusts.
    pub pinned: &'a Pinned,
    /// Where it belongs.
    pub place: &'a Place,
    /// What it has seen.
    pub marks: &'a Marks,
    /// What time it is.
    pub now: Moment,
}

impl Judge<'_> {
    /// Runs every check on an envelope as it came.
    pub fn accept(&self, bytes: &[u8]) -> Result<Accepted, Refusal> {
        let envelope = Envelope::read(bytes)?;
        if envelope.kind() == Kind::Root {
            return Ok(self.root(envelope)?);
        }
        let key = self.pinned.root().signer(&envelope)?;
        let told_under = match envelope.kind() {
            Kind::Command => command::name_of(envelope.payload()),
            _ => None,
        };
        let judged = match envelope.kind() {
            Kind::Place => self.place(&envelope, key),
            Kind::Plan => self.plan(&envelope, key),
            Kind::Command => self.command(&envelope, key),
            kind @ (Kind::Root | Kind::Time) => Err(Refused::UnknownType { kind: kind.media_type().to_owned() }),
        };
        let (document, is_new, mut marks) = judged.map_err(|why| Refusal { why, command: told_under })?;
        let issued = match &document {
            Document::Plan(plan) => Some(plan.issued),
            Document::Command(command) => Some(command.issued),
            Document::Root(_) | Document::Place(_) => None,
        };
        marks.newest = marks.newest.max(issued);
        Ok(Accepted { document, envelope, by: key.public.kid.clone(), role: Some(key.role), is_new, marks })
    }

    fn root(&self, envelope: Envelope) -> Result<Accepted, Refused> {
        let by = envelope.signatures().first().map(|signature| signature.kid.clone());
        let by = by.ok_or_else(|| Refused::malformed("no signature"))?;
        let next = self.pinned.follow(envelope.clone())?;
        let marks = self.marks.within(next.root().generation);
        Ok(Accepted { document: Document::Root(Box::new(next)), envelope, by, role: None, is_new: true, marks })
    }

    fn place(&self, envelope: &Envelope, key: &Key) -> Result<(Document, bool, Marks), Refused> {
        let place: Place = envelope.document()?;
        if place.revision > MOST_NUMBER {
            return Err(Refused::malformed("revision"));
        }
        self.may(key, &[Role::Content])?;
        if !key.scope.contains(&place.division) {
            return Err(Refused::OutOfScope { kid: key.public.kid.to_string() });
        }
        if place.station != self.place.station || place.key != self.place.key {
            return Err(Refused::NotForThisStation);
        }
        let mut marks = self.of_generation(place.generation)?;
        let digest = BlobId::of(envelope.payload());
        let is_new = above(marks.place, place.revision, digest)?;
        marks.place = Some(Mark { revision: place.revision, digest });
        Ok((Document::Place(place), is_new, marks))
    }

    fn plan(&self, envelope: &Envelope, key: &Key) -> Result<(Document, bool, Marks), Refused> {
        let plan: Plan = envelope.document()?;
        self.may(key, &[Role::Content])?;
        // A town does not speak in the county's name.
        if plan.source == Source::County && !key.scope.is_county_or_above() {
            return Err(Refused::OutOfScope { kid: key.public.kid.to_string() });
        }
        self.is_for_us(key, &plan.targets)?;
        let mut marks = self.of_generation(plan.generation)?;
        let digest = BlobId::of(envelope.payload());
        let is_new = above(marks.plan(plan.source), plan.revision, digest)?;
        // One that is in force already stays there, however late it is.
        if is_new {
            self.in_time(plan.review_by)?;
        }
        plan.check()?;
        marks.plans.insert(plan.source, Mark { revision: plan.revision, digest });
        Ok((Document::Plan(Box::new(plan)), is_new, marks))
    }

    fn command(&self, envelope: &Envelope, key: &Key) -> Result<(Document, bool, Marks), Refused> {
        let command = Command::read(envelope.payload())?;
        self.may(
            key,
            match command.op {
                Op::Emergency(_) => &[Role::Emergency],
                Op::Play(_) | Op::Volume { .. } => &[Role::Content],
                Op::Report | Op::Stop { .. } => &[Role::Content, Role::Emergency],
            },
        )?;
        self.is_for_us(key, &command.targets)?;
        let mut marks = self.of_generation(command.generation)?;
        let digest = BlobId::of(envelope.payload());
        let counters = marks.counters.entry(key.public.kid.clone()).or_default();
        let is_known = counters.check(command.counter, digest)?;
        counters.add(command.counter, digest);
        // Silence needs no clock.
        let is_timely = matches!(command.op, Op::Stop { .. }) && !self.now.known;
        if !is_known && !is_timely {
            self.in_time(command.not_after)?;
        }
        Ok((Document::Command(Box::new(command)), !is_known, marks))
    }

    fn may(&self, key: &Key, roles: &[Role]) -> Result<(), Refused> {
        if !roles.contains(&key.role) {
            return Err(Refused::WrongRole { kid: key.public.kid.to_string() });
        }
        if self.now.known && self.now.at >= key.not_after {
            return Err(Refused::KeyExpired { kid: key.public.kid.to_string() });
        }
        Ok(())
    }

    /// Both: else a relay could re-aim a true command at another village, or a village's key speak to a county.
    fn is_for_us(&self, key: &Key, targets: &Targets) -> Result<(), Refused> {
        let covers = key.scope.contains(&self.place.division)
            && targets.divisions.iter().all(|division| key.scope.contains(division));
        if !covers {
            return Err(Refused::OutOfScope { kid: key.public.kid.to_string() });
        }
        if targets.include(self.place) { Ok(()) } else { Err(Refused::NotForThisStation) }
    }

    fn of_generation(&self, theirs: u64) -> Result<Marks, Refused> {
        let ours = self.pinned.root().generation;
        match theirs.cmp(&ours) {
            std::cmp::Ordering::Less => Err(Refused::OldGeneration { ours, theirs }),
            std::cmp::Ordering::Equal => Ok(self.marks.within(ours)),
            std::cmp::Ordering::Greater => Err(Refused::NewerGeneration { ours, theirs }),
        }
    }

    fn in_time(&self, not_after: Timestamp) -> Result<(), Refused> {
        match self.now {
            Moment { known: false, .. } => Err(Refused::TimeUnknown),
            Moment { at, .. } if at >= not_after => Err(Refused::Expired { not_after }),
            _ => Ok(()),
        }
    }
}
