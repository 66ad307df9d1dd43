//! What may be believed about the time, and why.
//!
//! Always true: the newest time seen never follows a clock that is not believed, so a dead battery cannot poison it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Every clock of the machine, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock: may step, may lie.
    pub wall: Timestamp,
    /// Since the machine booted, time asleep included; never steps.
    pub since_boot: Duration,
    /// Since the machine booted, time asleep left out; never steps.
    pub awake: Duration,
    /// The kernel says that its clock is synchronised.
    pub synchronised: bool,
}

/// How far the wall clock is believed, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockState {
    /// Nothing scheduled sounds and nothing is decided.
    Untrusted,
    /// Near the newest time seen.
    Plausible,
    /// A person confirmed it this boot.
    Confirmed,
    /// The kernel says synchronised.
    Trusted,
}

/// A clock may lie this far before the newest time seen, and a confirmed one may stray this far, and be believed.
const BACK: SignedDuration = SignedDuration::from_mins(5);
/// A clock may lie this far after the newest time seen and be believed: a village without power for a holiday.
const AHEAD: SignedDuration = SignedDuration::from_hours(45 * 24);
/// With no journal yet, a clock is plausible this long after the program's release: ten years.
const FRESH: SignedDuration = SignedDuration::from_hours(3652 * 24);

/// Judges readings of the clock against what is known about the time.
#[derive(Debug, Clone)]
pub struct Trust {
    released: Timestamp,
    newest: Option<Timestamp>,
    confirmed: Option<Reading>,
}

impl Trust {
    /// Returns the trust of a station that has seen `newest`, or nothing yet.
    pub fn new(released: Timestamp, newest: Option<Timestamp>) -> Self {
        Self { released, newest, confirmed: None }
    }

    /// Returns how far the reading is believed, and lets the newest time seen follow one that is.
    pub fn judge(&mut self, now: &Reading) -> ClockState {
        let state = self.state(now);
        self.newest = match state {
            ClockState::Untrusted => self.newest,
            ClockState::Plausible => self.newest.max(Some(now.wall)),
            ClockState::Confirmed | ClockState::Trusted => Some(now.wall),
        };
        state
    }

    /// A person says that the clock is right; counts until the machine boots again or the clock strays.
    pub fn confirm(&mut self, now: &Reading) {
        self.confirmed = Some(*now);
    }

    /// Returns the newest time seen on a clock that was believed.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    fn state(&self, now: &Reading) -> ClockState {
        if now.synchronised {
            return ClockState::Trusted;
        }
        if self.confirmed.is_some_and(|then| step(&then, now).abs() <= BACK) {
            return ClockState::Confirmed;
        }
        let (first, last) = match self.newest {
            Some(newest) => (plus(newest, -BACK), plus(newest, AHEAD)),
            None => (self.released, plus(self.released, FRESH)),
        };
        if (first..=last).contains(&now.wall) { ClockState::Plausible } else { ClockState::Untrusted }
    }
}

/// Returns by how much the wall clock moved more than time passed from `then` to `now`.
pub fn step(then: &Reading, now: &Reading) -> SignedDuration {
    now.wall.duration_since(then.wall).saturating_sub(passed(then.since_boot, now.since_boot))
}

/// Returns how long the machine slept from `then` to `now`.
pub fn asleep(then: &Reading, now: &Reading) -> SignedDuration {
    passed(then.since_boot, now.since_boot).saturating_sub(passed(then.awake, now.awake))
}

/// Returns the time from `then` to `now` on a clock that never steps.
pub fn passed(then: Duration, now: Duration) -> SignedDuration {
    SignedDuration::try_from(now.saturating_sub(then)).unwrap_or(SignedDuration::MAX)
}

/// Returns `at` moved by `by`, held inside what a timestamp can say.
pub fn plus(at: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_duration(at.as_duration().saturating_add(by)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: &str, seconds: u64) -> Reading {
        let boot = Duration::from_secs(seconds);
        Reading { wall: wall.parse().expect("a timestamp"), since_boot: boot, awake: boot, synchronised: false }
    }

    #[test]
    fn a_clock_is_plausible_near_the_newest_time_seen() {
        use ClockState::{Plausible, Untrusted};
        let (released, seen) = ("2026-11-01T00:00:00Z", Some("2027-03-01T00:00:00Z"));
        for (newest, wall, expected) in [
            (seen, "2027-02-28T23:55:00Z", Plausible),
            (seen, "2027-02-28T23:54:59Z", Untrusted),
            (seen, "2027-04-15T00:00:00Z", Plausible),
            (seen, "2027-04-15T00:00:01Z", Untrusted),
            (seen, "1970-01-01T00:00:00Z", Untrusted),
            (None, "2026-10-31T23:59:59Z", Untrusted),
            (None, "2026-11-01T00:00:00Z", Plausible),
            (None, "2036-10-30T00:00:00Z", Plausible),
            (None, "2037-01-01T00:00:00Z", Untrusted),
        ] {
            let mut trust =
                Trust::new(released.parse().expect("time"), newest.map(|at: &str| at.parse().expect("time")));
            assert_eq!(trust.judge(&reading(wall, 0)), expected, "{newest:?} {wall}");
        }
    }

    #[test]
    fn the_newest_time_follows_only_a_clock_that_is_believed() {
        let mut trust = Trust::new("2026-11-01T00:00:00Z".parse().expect("time"), None);
        for (wall, synchronised, expected) in [
            ("2000-01-01T00:00:00Z", false, None),
            ("2026-12-01T00:10:00Z", false, Some("2026-12-01T00:10:00Z")),
            ("2026-12-01T00:06:00Z", false, Some("2026-12-01T00:10:00Z")),
            ("2039-01-01T00:00:00Z", false, Some("2026-12-01T00:10:00Z")),
            ("2026-11-20T00:00:00Z", true, Some("2026-11-20T00:00:00Z")),
        ] {
            trust.judge(&Reading { synchronised, ..reading(wall, 0) });
            assert_eq!(trust.newest(), expected.map(|at: &str| at.parse().expect("time")), "{wall}");
        }
    }

    #[test]
    fn a_confirmation_lasts_while_the_clock_runs_on_evenly() {
        let mut trust = Trust::new("2026-11-01T00:00:00Z".parse().expect("time"), None);
        trust.confirm(&reading("2040-01-01T00:00:00Z", 100));
        for (wall, seconds, expected) in [
            ("2040-01-01T01:00:00Z", 3700, ClockState::Confirmed),
            ("2040-01-01T01:04:00Z", 3700, ClockState::Confirmed),
            ("2041-01-01T00:00:00Z", 7200, ClockState::Untrusted),
        ] {
            assert_eq!(trust.judge(&reading(wall, seconds)), expected, "{wall}");
        }
    }
}
