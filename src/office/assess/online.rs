//! How long a station was online: from the changes of its presence, none of which need be orderly.

use jiff::Timestamp;
use std::ops::Range;

/// What is known of a station's coming and going.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether it was online when the period began.
    pub was_up: bool,
    /// Changes within the period: when, and whether it came.
    pub changes: Vec<(Timestamp, bool)>,
}

impl Presence {
    /// Returns for how many milliseconds of `period` it was online. What is known ends at `known`: of a station that
    /// nobody saw leave, nothing is believed beyond.
    pub fn online_ms(&self, period: &Range<Timestamp>, known: Timestamp) -> i64 {
        let end = known.min(period.end);
        let mut changes = self.changes.clone();
        // At one moment it may leave one process and come to another: then it is there.
        changes.sort_unstable();
        let (mut up, mut since, mut online) = (self.was_up, period.start, 0);
        for (at, comes) in changes.into_iter().chain([(end, false)]) {
            let at = at.clamp(period.start, end.max(period.start));
            if up {
                online += at.as_millisecond() - since.as_millisecond();
            }
            (up, since) = (comes, at);
        }
        online
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_online_is_what_lies_between_coming_and_going() {
        // The period is 100 to 200; `u120` comes at 120, `d150` goes at 150.
        for (was_up, changes, known, seconds) in [
            (false, "", 200, 0),
            (true, "", 200, 100),
            (true, "", 130, 30),
            (true, "", 300, 100),
            (true, "", 50, 0),
            (false, "u120 d150", 200, 30),
            (true, "d150 u180", 200, 70),
            (false, "u120", 200, 80),
            (false, "u120", 140, 20),
            (false, "u120 u130 d150 d160", 200, 30),
            (true, "d150 u150", 200, 100),
            (true, "u150 d150", 200, 100),
            (false, "d150 u120", 200, 30),
            (false, "u20 d500", 200, 100),
        ] {
            let change = |text: &str| (second(text[1..].parse().unwrap()), text.starts_with('u'));
            let presence = Presence { was_up, changes: changes.split_whitespace().map(change).collect() };
            let online = presence.online_ms(&(second(100)..second(200)), second(known));
            assert_eq!(online, seconds * 1000, "{was_up} {changes} {known}");
        }
    }
}
