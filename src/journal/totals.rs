//! What the rows of a period come to: how many were due, what became of them, how long was heard.

use crate::{
    entry::Entry,
    outcome::{Outcome, Reason},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many, and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// How many rows.
    pub times: u64,
    /// How long they were to sound.
    pub expected_ms: i64,
    /// How long the device accepted.
    pub heard_ms: i64,
}

impl Total {
    fn add(&mut self, entry: &Entry) {
        self.times += 1;
        self.expected_ms = self.expected_ms.saturating_add(entry.expected_ms);
        self.heard_ms = self.heard_ms.saturating_add(entry.heard_ms);
    }
}

/// Of a period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Every row: what was due.
    pub due: Total,
    /// In full.
    pub played: Total,
    /// In part.
    pub partial: Total,
    /// Left out on purpose.
    pub skipped: Total,
    /// Left out by a fault.
    pub missed: Total,
    /// The last three by reason.
    pub reasons: Vec<ByReason>,
}

impl Totals {
    /// Returns each outcome with what it comes to.
    pub fn outcomes(&self) -> [(Outcome, Total); 4] {
        [
            (Outcome::Played, self.played),
            (Outcome::Partial, self.partial),
            (Outcome::Skipped, self.skipped),
            (Outcome::Missed, self.missed),
        ]
    }
}

/// What became of rows for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ByReason {
    /// What became of them.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// How many, and how long.
    #[serde(flatten)]
    pub total: Total,
}

/// Counts rows one after the other.
#[derive(Debug, Default)]
pub struct Count {
    all: Total,
    outcomes: BTreeMap<Outcome, Total>,
    reasons: BTreeMap<(Outcome, Reason), Total>,
}

impl Count {
    /// Counts one row.
    pub fn add(&mut self, entry: &Entry) {
        self.all.add(entry);
        self.outcomes.entry(entry.outcome).or_default().add(entry);
        if let Some(reason) = entry.reason {
            self.reasons.entry((entry.outcome, reason)).or_default().add(entry);
        }
    }

    /// Returns what they come to.
    pub fn totals(&self) -> Totals {
        let of = |outcome| self.outcomes.get(&outcome).copied().unwrap_or_default();
        let reasons = self.reasons.iter().map(|(&(outcome, reason), &total)| ByReason { outcome, reason, total });
        Totals {
            due: self.all,
            played: of(Outcome::Played),
            partial: of(Outcome::Partial),
            skipped: of(Outcome::Skipped),
            missed: of(Outcome::Missed),
            reasons: reasons.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::xlsx::tests::entry;

    #[test]
    fn every_row_counts_once_under_its_outcome_and_once_under_its_reason() {
        let mut count = Count::default();
        for (outcome, reason, heard_ms) in [
            (Outcome::Played, None, 10_000),
            (Outcome::Partial, Some(Reason::Stopped), 4_000),
            (Outcome::Missed, Some(Reason::StationDown), 0),
            (Outcome::Missed, Some(Reason::StationDown), 0),
            (Outcome::Skipped, Some(Reason::Stopped), 0),
        ] {
            count.add(&entry(outcome, reason, heard_ms));
        }
        let totals = count.totals();
        let short = |total: Total| (total.times, total.expected_ms, total.heard_ms);
        assert_eq!(short(totals.due), (5, 50_000, 14_000));
        assert_eq!(short(totals.played), (1, 10_000, 10_000));
        assert_eq!(short(totals.partial), (1, 10_000, 4_000));
        assert_eq!(short(totals.skipped), (1, 10_000, 0));
        assert_eq!(short(totals.missed), (2, 20_000, 0));
        let reasons: Vec<_> = totals.reasons.iter().map(|by| (by.outcome, by.reason, by.total.times)).collect();
        assert_eq!(
            reasons,
            [
                (Outcome::Partial, Reason::Stopped, 1),
                (Outcome::Skipped, Reason::Stopped, 1),
                (Outcome::Missed, Reason::StationDown, 2)
            ]
        );
    }
}
