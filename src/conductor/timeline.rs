//! What is owed and what comes next: the versions of the program, each in force from one moment to the next.
//!
//! Always true: versions are ordered by the moment they took effect. Plans of the version in force are kept for a day
//! and a half, so that a look at the next minutes costs nothing.

use crate::{
    plan::{self, Occurrence, Program},
    trust::{Reading, plus},
};
use jiff::{SignedDuration, Timestamp};
use std::{ops::Range, sync::Arc, time::Duration};

/// How far ahead one plan reaches.
const REACH: SignedDuration = SignedDuration::from_hours(36);
/// How much of a plan must be left when it is looked at.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// An occurrence together with the version under which it is owed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owed {
    pub occurrence: Occurrence,
    pub revision: String,
}

#[derive(Debug, Clone)]
struct Version {
    from: Timestamp,
    /// Set while the clock was not believed when this version came: what had passed since boot, in place of `from`.
    undated: Option<Duration>,
    revision: String,
    program: Arc<Program>,
}

#[derive(Debug)]
pub(super) struct Timeline {
    /// Oldest first; never empty.
    versions: Vec<Version>,
    /// What `planned` covers, of the version in force.
    window: Range<Timestamp>,
    planned: Vec<Occurrence>,
}

impl Timeline {
    /// Returns the timeline of the versions on record, of which there is at least one.
    pub fn new(now: &Reading, versions: Vec<(Option<Timestamp>, String, Arc<Program>)>) -> Self {
        let version = |(from, revision, program): (Option<Timestamp>, _, _)| Version {
            from: from.unwrap_or(now.wall),
            undated: from.is_none().then_some(now.since_boot),
            revision,
            program,
        };
        let versions = versions.into_iter().map(version).collect();
        Self { versions, window: Timestamp::MIN..Timestamp::MIN, planned: Vec::new() }
    }

    /// The program in force.
    pub fn program(&self) -> &Arc<Program> {
        &self.in_force().program
    }

    /// The name of the version in force.
    pub fn revision(&self) -> &str {
        &self.in_force().revision
    }

    fn in_force(&self) -> &Version {
        self.versions.last().expect("a timeline is made with a version and never loses its last")
    }

    /// Puts a version in force from `from` on; `undated` where that moment is not believed.
    pub fn put(&mut self, from: Timestamp, undated: Option<Duration>, program: Arc<Program>, revision: String) {
        self.versions.push(Version { from, undated, revision, program });
        self.forget_plan();
    }

    /// Dates the versions that came while the clock was not believed, now that it is, and brings those that came in
    /// what turned out to be the future back to `now`. Returns each that was given another moment.
    pub fn settle(&mut self, now: Timestamp, since_boot: Duration) -> Vec<(String, Timestamp)> {
        let mut earliest = Timestamp::MIN;
        let mut dated = Vec::new();
        for version in &mut self.versions {
            let before = version.undated.is_none().then_some(version.from);
            if let Some(then) = version.undated.take() {
                version.from = plus(now, -crate::trust::passed(then, since_boot));
            }
            version.from = version.from.min(now).max(earliest);
            earliest = version.from;
            if before != Some(version.from) {
                dated.push((version.revision.clone(), version.from));
            }
        }
        dated
    }

    /// Forgets versions that ended before `settled`: nothing is owed under them any more.
    pub fn forget(&mut self, settled: Timestamp) {
        let is_over = |version: &Version| version.undated.is_none() && version.from <= settled;
        let keep = self.versions.iter().rposition(is_over).unwrap_or(0);
        self.versions.drain(..keep);
    }

    /// Returns what is owed in `window`, each under the version that was in force at its due, in order of due.
    pub fn owed(&mut self, window: Range<Timestamp>) -> Vec<Owed> {
        let mut owed = Vec::new();
        for at in 0..self.versions.len() {
            let until = self.versions.get(at + 1).map_or(window.end, |next| next.from.min(window.end));
            let part = self.versions[at].from.max(window.start)..until;
            if part.start >= part.end {
                continue;
            }
            let version = &self.versions[at];
            let is_last = at + 1 == self.versions.len();
            let kept = is_last && self.window.start <= part.start && part.end <= self.window.end;
            let occurrences = if kept { self.between(&part).to_vec() } else { look_ahead(&version.program, part) };
            let revision = &version.revision;
            owed.extend(occurrences.into_iter().map(|occurrence| Owed { occurrence, revision: revision.clone() }));
        }
        owed
    }

    /// Returns whether anything is owed in `window`, when that is known without planning.
    pub fn is_idle(&self, window: &Range<Timestamp>) -> bool {
        self.versions.len() == 1
            && self.window.start <= window.start
            && window.end <= self.window.end
            && self.between(window).is_empty()
    }

    /// Makes sure that the plan of the version in force covers `now` and what follows soon.
    pub fn look(&mut self, now: Timestamp) {
        if self.window.start <= now && plus(now, MARGIN) < self.window.end {
            return;
        }
        self.window = now..plus(now, REACH);
        self.planned = look_ahead(self.program(), self.window.clone());
    }

    /// What is planned after `now` and not after `until`, of the version in force, as far as [`Self::look`] covers it.
    pub fn ahead(&self, now: Timestamp, until: Timestamp) -> &[Occurrence] {
        let first = self.planned.partition_point(|occurrence| occurrence.due <= now);
        let last = self.planned.partition_point(|occurrence| occurrence.due <= until);
        &self.planned[first..last.max(first)]
    }

    /// Forgets the plan: clips or rules changed.
    fn forget_plan(&mut self) {
        self.window = Timestamp::MIN..Timestamp::MIN;
        self.planned.clear();
    }

    fn between(&self, window: &Range<Timestamp>) -> &[Occurrence] {
        let first = self.planned.partition_point(|occurrence| occurrence.due < window.start);
        let last = self.planned.partition_point(|occurrence| occurrence.due < window.end);
        &self.planned[first..last.max(first)]
    }
}

/// Returns what a program plans: the conductor's only way to the plan.
fn look_ahead(program: &Program, window: Range<Timestamp>) -> Vec<Occurrence> {
    plan::plan(program, window).occurrences
}
