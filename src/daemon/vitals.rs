//! What the daemon did lately, as whoever watches it from outside asks: a loop that turns, a journal that takes, frames
//! that flow.

use crate::outcome::Outcome;
use std::{collections::BTreeMap, time::Duration};

/// A daemon whose last tick is older does not decide any more: it ticks every minute.
const TICK: Duration = Duration::from_secs(150);
/// Sound that shows no progress for so long does not flow: it tells four times a second, and is replaced after two.
const PROGRESS: Duration = Duration::from_secs(5);

/// What is counted while the daemon runs; times are on the clock that sleeps with the machine.
#[derive(Debug)]
pub(super) struct Vitals {
    ticked: Duration,
    progressed: Duration,
    finished: BTreeMap<Outcome, u64>,
    underruns: u64,
}

/// How the daemon does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The loop turns: a tick is on record that is not old.
    pub ticks: bool,
    /// The journal takes what is written.
    pub journal: bool,
    /// Frames flow; none while nothing is to sound.
    pub frames: Option<bool>,
    /// Final entries since the daemon started, by outcome.
    pub finished: BTreeMap<Outcome, u64>,
    /// How often the sound card ran dry since the daemon started.
    pub underruns: u64,
}

impl Health {
    /// Returns whether everything that should go on does.
    pub fn is_good(&self) -> bool {
        self.ticks && self.journal && self.frames != Some(false)
    }
}

impl Vitals {
    pub fn new(now: Duration) -> Self {
        Self { ticked: now, progressed: now, finished: BTreeMap::new(), underruns: 0 }
    }

    /// A tick is on record.
    pub fn ticked(&mut self, now: Duration) {
        self.ticked = now;
    }

    /// Sound has made progress.
    pub fn progressed(&mut self, now: Duration) {
        self.progressed = now;
    }

    /// An entry is final.
    pub fn finished(&mut self, outcome: Outcome) {
        *self.finished.entry(outcome).or_default() += 1;
    }

    /// The sound card ran dry.
    pub fn ran_dry(&mut self) {
        self.underruns += 1;
    }

    pub fn health(&self, now: Duration, journal: bool, is_sounding: bool) -> Health {
        Health {
            ticks: now.saturating_sub(self.ticked) <= TICK,
            journal,
            frames: is_sounding.then(|| now.saturating_sub(self.progressed) <= PROGRESS),
            finished: self.finished.clone(),
            underruns: self.underruns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_only_while_all_goes_on() {
        let second = Duration::from_secs;
        let mut vitals = Vitals::new(second(100));
        vitals.ticked(second(160));
        vitals.progressed(second(200));
        for (now, journal, sounding, good) in [
            (201, true, false, true),
            (204, true, true, true),
            (206, true, true, false),
            (206, true, false, true),
            (204, false, true, false),
            (310, true, false, true),
            (311, true, false, false),
        ] {
            assert_eq!(vitals.health(second(now), journal, sounding).is_good(), good, "{now} {journal} {sounding}");
        }
    }
}
