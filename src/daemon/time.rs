//! What time it is at the station: the machine's clock where the kernel keeps it right or the office agrees with it; by the
//! office, where that alone knows, as after years without a battery.
//!
//! The machine's clock is never set. The daemon lives by this clock; what it tells the speaker and the amplifier, and what
//! it hears from them, is by the machine's, and is converted on the way.
//!
//! Not here: how far a clock is believed ([`crate::trust`]), what the office says and how well it is known
//! ([`crate::link::time`]).

use crate::{
    clock::{Clock, SystemClock},
    speaker::protocol::{Playout, Word},
    trust::{ClockState, Reading, passed, plus},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::sync::watch;

/// A machine's clock this near to the office's is as good as any: following the last few milliseconds would only unsettle
/// what is planned.
const AGREE: SignedDuration = SignedDuration::from_secs(1);
/// A machine's clock this far from the office's is wrong.
const WRONG: SignedDuration = SignedDuration::from_mins(5);

/// The station's clock.
#[derive(Debug, Clone)]
pub(super) struct StationClock {
    /// The office's clock when the machine booted, once it said so.
    office: watch::Receiver<Option<Timestamp>>,
}

/// Returns what the station takes a reading of the machine's clocks for.
fn by(office: Option<Timestamp>, machine: Reading) -> Reading {
    let Some(office) = office.filter(|_| !machine.synchronised) else { return machine };
    let office = plus(office, passed(Duration::ZERO, machine.since_boot));
    let agrees = office.duration_since(machine.wall).abs() <= AGREE;
    Reading { wall: if agrees { machine.wall } else { office }, synchronised: true, ..machine }
}

impl StationClock {
    pub(super) fn new(office: watch::Receiver<Option<Timestamp>>) -> Self {
        Self { office }
    }

    /// By how much the station's clock is ahead of the machine's.
    fn ahead(&self) -> SignedDuration {
        let machine = SystemClock.now();
        by(*self.office.borrow(), machine).wall.duration_since(machine.wall)
    }

    /// What the speaker is told, by the machine's clock.
    pub(super) fn for_speaker(&self, mut playout: Playout) -> Playout {
        let ahead = self.ahead();
        playout.start = plus(playout.start, -ahead);
        playout.not_after = playout.not_after.map(|(at, reason)| (plus(at, -ahead), reason));
        playout
    }

    /// What the speaker says, by the station's clock.
    pub(super) fn of_speaker(&self, mut word: Word) -> Word {
        if let Word::Started { at, .. } | Word::Ended { at, .. } = &mut word {
            *at = plus(*at, self.ahead());
        }
        word
    }

    /// How far the machine's own clock is believed, where the station's is believed as far as `station`.
    pub(super) fn of_machine(&self, station: ClockState) -> ClockState {
        let machine = SystemClock.now();
        let Some(office) = self.office.borrow().filter(|_| !machine.synchronised) else { return station };
        let office = plus(office, passed(Duration::ZERO, machine.since_boot));
        match office.duration_since(machine.wall).abs() <= WRONG {
            true => ClockState::Plausible,
            false => ClockState::Untrusted,
        }
    }
}

impl Clock for StationClock {
    fn now(&self) -> Reading {
        by(*self.office.borrow(), SystemClock.now())
    }

    async fn nap_until(&self, at: Timestamp) {
        SystemClock.nap_until(plus(at, -self.ahead())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_office_is_followed_where_the_machine_does_not_know() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        for (machine, synchronised, office, expected, trusted) in [
            ("2000-01-01T00:01:00Z", false, None, "2000-01-01T00:01:00Z", false),
            ("2000-01-01T00:01:00Z", false, Some("2027-03-01T08:00:00Z"), "2027-03-01T08:01:00Z", true),
            ("2027-03-01T08:01:00.9Z", false, Some("2027-03-01T08:00:00Z"), "2027-03-01T08:01:00.9Z", true),
            ("2027-03-01T08:01:01.1Z", false, Some("2027-03-01T08:00:00Z"), "2027-03-01T08:01:00Z", true),
            ("2027-03-01T09:00:00Z", true, Some("2027-03-01T08:00:00Z"), "2027-03-01T09:00:00Z", true),
        ] {
            let minute = Duration::from_secs(60);
            let reading = Reading { wall: at(machine), since_boot: minute, awake: minute, synchronised };
            let taken = by(office.map(at), reading);
            assert_eq!((taken.wall, taken.synchronised), (at(expected), trusted), "{machine} {office:?}");
        }
    }
}
