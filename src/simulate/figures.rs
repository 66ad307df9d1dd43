//! What a fleet measures, and how it is said.

use crate::link::CommandId;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// A half and a hundredth of some measurements, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Half of them are no longer than this.
    pub p50_ms: u64,
    /// Ninety-nine of a hundred are no longer than this.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Spread {
    fn of(mut measured: Vec<u64>) -> Self {
        measured.sort_unstable();
        let at = |percent: usize| measured.get((measured.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let part = |percent| at(percent).unwrap_or(0);
        Self { count: measured.len(), p50_ms: part(50), p99_ms: part(99), max_ms: part(100) }
    }
}

/// How one command went out: from the moment the office signed it to its arrival at each station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FanOut {
    /// Which.
    pub command: CommandId,
    /// Its operation.
    pub op: String,
    /// When it was signed.
    pub issued: Timestamp,
    /// Until it came.
    #[serde(flatten)]
    pub came: Spread,
    /// Until it began to sound; simulated stations need no time for it themselves.
    pub sounds: Spread,
}

/// How the fleet came back after its watches had broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Storm {
    /// As many had lost their watch.
    pub stations: usize,
    /// From the loss of each watch to the next hello.
    #[serde(flatten)]
    pub back: Spread,
    /// From the first loss to the last hello.
    pub whole_ms: u64,
}

/// Where the fleet stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Stations that the office has taken in.
    pub enrolled: usize,
    /// Stations that hear the office.
    pub up: usize,
    /// Watches that were opened so far.
    pub watches: u64,
    /// Rows in all journals.
    pub rows: i64,
    /// Rows that the office has.
    pub acked: i64,
    /// Rows a second that it took since the last line.
    pub acked_per_s: u64,
    /// Rows that the office had, and has no longer.
    pub lost: i64,
    /// Stations with the newest plan that any has, where one has a plan.
    pub in_force: usize,
    /// Documents that stations refused.
    pub refused: u64,
    /// Alarms that are raised.
    pub alarms: usize,
    /// Answers that meant later, and requests that came to nothing.
    pub later: u64,
    /// Requests that came to nothing.
    pub failed: u64,
    /// What went wrong by intention.
    pub mishaps: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Out {
    op: String,
    issued: Timestamp,
    came: BTreeMap<usize, u64>,
    sounds: BTreeMap<usize, u64>,
    /// When something of it was measured last.
    changed: Duration,
    told: bool,
}

/// What is measured over the whole run.
#[derive(Debug, Default)]
pub(super) struct Figures {
    commands: BTreeMap<CommandId, Out>,
    /// Stations whose watch broke, with the moment.
    down: BTreeMap<usize, Duration>,
    storm: Option<(Duration, Vec<u64>)>,
}

/// A command is told when nothing of it was measured for so long.
const SETTLED: Duration = Duration::from_secs(3);

impl Figures {
    /// A command came to a station. Again, where it came before, counts for nothing.
    pub(super) fn came(&mut self, station: usize, command: (CommandId, &str, Timestamp), at: Timestamp, now: Duration) {
        let (id, op, issued) = command;
        let out = self.commands.entry(id).or_insert_with(|| Out {
            op: op.to_owned(),
            issued,
            came: BTreeMap::new(),
            sounds: BTreeMap::new(),
            changed: now,
            told: false,
        });
        out.came.entry(station).or_insert_with(|| {
            (out.changed, out.told) = (now, false);
            length(at.duration_since(issued))
        });
    }

    /// A command sounds at a station.
    pub(super) fn sounds(&mut self, station: usize, id: CommandId, at: Timestamp, now: Duration) {
        if let Some(out) = self.commands.get_mut(&id) {
            out.sounds.entry(station).or_insert_with(|| {
                (out.changed, out.told) = (now, false);
                length(at.duration_since(out.issued))
            });
        }
    }

    /// A watch broke.
    pub(super) fn went(&mut self, station: usize, now: Duration) {
        self.down.entry(station).or_insert(now);
        self.storm.get_or_insert_with(|| (now, Vec::new()));
    }

    /// A station hears the office. Returns the storm that ends with it.
    pub(super) fn back(&mut self, station: usize, now: Duration) -> Option<Storm> {
        let since = self.down.remove(&station)?;
        let (first, lengths) = self.storm.as_mut()?;
        lengths.push(millis(now.saturating_sub(since)));
        let whole_ms = millis(now.saturating_sub(*first));
        if !self.down.is_empty() {
            return None;
        }
        let (_, lengths) = self.storm.take()?;
        Some(Storm { stations: lengths.len(), back: Spread::of(lengths), whole_ms })
    }

    /// The commands of which nothing new was measured for a while and that were not told yet.
    pub(super) fn settled(&mut self, now: Duration) -> Vec<FanOut> {
        let settled = self.commands.iter_mut().filter(|(_, out)| !out.told && now >= out.changed + SETTLED);
        let tell = |(id, out): (&CommandId, &mut Out)| {
            out.told = true;
            FanOut {
                command: *id,
                op: out.op.clone(),
                issued: out.issued,
                came: Spread::of(out.came.values().copied().collect()),
                sounds: Spread::of(out.sounds.values().copied().collect()),
            }
        };
        settled.map(tell).collect()
    }
}

fn length(length: SignedDuration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(0)
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_half_the_hundredth_and_the_longest() {
        for (measured, expected) in [
            (vec![], (0, 0, 0)),
            (vec![7], (7, 7, 7)),
            (vec![4, 1, 3, 2], (2, 4, 4)),
            ((1..=1000).rev().collect(), (500, 990, 1000)),
        ] {
            let Spread { p50_ms, p99_ms, max_ms, .. } = Spread::of(measured);
            assert_eq!((p50_ms, p99_ms, max_ms), expected);
        }
    }

    #[test]
    fn a_storm_ends_with_the_last_station_that_comes_back() {
        let mut figures = Figures::default();
        let at = Duration::from_secs;
        for (station, second) in [(1, 10), (2, 11), (1, 12)] {
            figures.went(station, at(second));
        }
        assert_eq!(figures.back(3, at(13)), None, "it never went");
        assert_eq!(figures.back(1, at(14)), None);
        let back = Spread { count: 2, p50_ms: 4_000, p99_ms: 9_000, max_ms: 9_000 };
        assert_eq!(figures.back(2, at(20)), Some(Storm { stations: 2, back, whole_ms: 10_000 }));
        assert_eq!(figures.back(2, at(21)), None);
    }
}
