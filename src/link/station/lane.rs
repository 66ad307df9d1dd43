//! One kind of request: at most one at a time, tried again ever more rarely while it fails.

use super::RequestId;
use std::time::Duration;

/// The first pause after a failure is up to this long.
const BASE: Duration = Duration::from_secs(2);
/// And none is longer than this.
const CAP: Duration = Duration::from_secs(300);
/// A request that has not come to its end by then is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers from outside, so that the same numbers give the same life.
pub type Random<'a> = &'a mut dyn FnMut() -> u64;

/// Full jitter: anything from nothing to the cap of this try, so that ten thousand stations do not come back together.
pub(super) fn jitter(tries: u32, random: Random<'_>) -> Duration {
    let most = BASE.saturating_mul(1 << tries.min(16)).min(CAP);
    Duration::from_millis(random() % u64::try_from(most.as_millis()).unwrap_or(1).max(1))
}

/// One kind of request.
#[derive(Debug, Default)]
pub(super) struct Lane {
    flight: Option<(RequestId, Duration)>,
    tries: u32,
    /// Not before, since boot.
    ready: Duration,
}

impl Lane {
    /// Returns whether a request may be sent.
    pub(super) fn is_free(&self, now: Duration) -> bool {
        self.flight.is_none() && now >= self.ready
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, id: RequestId, now: Duration) {
        self.flight = Some((id, now));
    }

    /// Takes an answer; returns when its request was sent, or nothing where it is none of this lane.
    pub(super) fn landed(&mut self, id: RequestId) -> Option<Duration> {
        let (_, since) = self.flight.take_if(|(flying, _)| *flying == id)?;
        Some(since)
    }

    /// It went well.
    pub(super) fn succeeded(&mut self) {
        self.tries = 0;
    }

    /// It went wrong; `after` is what the office asked for.
    pub(super) fn failed(&mut self, now: Duration, after: Option<Duration>, random: Random<'_>) {
        self.ready = now + after.unwrap_or_else(|| jitter(self.tries, random));
        self.tries = self.tries.saturating_add(1);
    }

    /// Nothing is sent before then.
    pub(super) fn rest(&mut self, until: Duration) {
        self.ready = self.ready.max(until);
    }

    /// Something more pressing came: earlier failures do not hold it back.
    pub(super) fn hurry(&mut self) {
        self.ready = Duration::ZERO;
    }

    /// Returns the request that has taken too long, and forgets it.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<RequestId> {
        self.flight.take_if(|(_, since)| now >= *since + PATIENCE).map(|(id, _)| id)
    }

    /// Returns when to look again; never where nothing is wanted and nothing is on its way.
    pub(super) fn wake(&self, is_wanted: bool) -> Option<Duration> {
        match self.flight {
            Some((_, since)) => Some(since + PATIENCE),
            None => is_wanted.then_some(self.ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes_and_no_further() {
        for (tries, most) in [(0, 2), (1, 4), (7, 256), (8, 300), (40, 300), (u32::MAX, 300)] {
            assert_eq!(jitter(tries, &mut || most * 1000 - 1).as_secs(), most - 1, "{tries}");
            assert_eq!(jitter(tries, &mut || most * 1000).as_secs(), 0, "{tries}");
        }
    }

    #[test]
    fn what_the_office_asks_for_is_obeyed_to_the_second() {
        let mut lane = Lane::default();
        lane.sent(1, Duration::ZERO);
        assert_eq!(lane.landed(2), None);
        assert_eq!(lane.landed(1), Some(Duration::ZERO));
        lane.failed(Duration::from_secs(10), Some(Duration::from_secs(900)), &mut || 0);
        assert!(!lane.is_free(Duration::from_secs(909)) && lane.is_free(Duration::from_secs(910)));
    }
}
