//! The nightly self-test: the output is opened in silence and frames must flow, so that a dead sound card is known
//! before the first announcement of the morning and not by its absence.

use crate::calendar::Hours;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Between two self-tests at least: one a night.
const APART: SignedDuration = SignedDuration::from_hours(20);

/// Nothing may be due for so long.
const CLEAR: SignedDuration = SignedDuration::from_mins(10);

/// The hour of the night in a station without quiet hours.
const SMALL_HOUR: i8 = 3;

/// Returns whether it is time for a self-test: at night, with nothing sounding and the `next` announcement far off.
pub(super) fn is_due(
    last: Option<Timestamp>,
    now: Timestamp,
    next: Option<Timestamp>,
    hours: &Hours,
    zone: &TimeZone,
) -> bool {
    let civil = now.to_zoned_datetime(zone.clone()).datetime();
    let is_night = if hours.quiet.is_empty() { civil.hour() == SMALL_HOUR } else { hours.is_quiet(civil) };
    // A clock that was set back does not keep the test away for longer than it was off.
    let is_rested = last.is_none_or(|last| now.duration_since(last).abs() >= APART);
    is_night && is_rested && next.is_none_or(|next| next.duration_since(now) >= CLEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_night_with_nothing_near() {
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        let at = |text: &str| -> Timestamp { format!("2026-06-{text}+08:00").parse().expect("a moment") };
        let quiet = Hours::default();
        let none = Hours { quiet: Vec::new(), ..Hours::default() };
        for (hours, now, last, next, due) in [
            (&quiet, "17T22:00:00", None, Some("18T06:30:00"), true),
            (&quiet, "17T22:00:00", None, None, true),
            (&quiet, "17T12:00:00", None, None, false),
            (&quiet, "18T05:55:00", None, Some("18T06:00:00"), false),
            (&quiet, "18T02:00:00", Some("17T21:30:00"), None, false),
            (&quiet, "18T21:30:00", Some("17T21:30:00"), None, true),
            (&quiet, "18T21:30:00", Some("25T21:30:00"), None, true),
            (&none, "18T03:10:00", None, None, true),
            (&none, "18T22:10:00", None, None, false),
        ] {
            assert_eq!(is_due(last.map(at), at(now), next.map(at), hours, &zone), due, "{now} after {last:?}");
        }
    }
}
