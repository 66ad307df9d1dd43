//! The last gate: quiet hours, hush, the stop latch, the volume ceiling, the longest run. For every source without
//! exception; signatures do not pass it.
//!
//! Always true: below an emergency nothing passes a stop, a hush or quiet hours.

use crate::{
    calendar::Hours,
    outcome::Reason,
    plan,
    schedule::{Band, Volume},
    trust::plus,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// How long one announcement may sound.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(2);
/// How long a stop holds unless it is released.
pub const STOP: SignedDuration = SignedDuration::from_mins(30);
/// How long a hush may hold.
pub const HUSH: SignedDuration = SignedDuration::from_hours(24);

/// The gate as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    /// The station's zone and hours; none while nobody knows the time, when quiet hours cannot be told.
    pub hours: Option<(&'a TimeZone, &'a Hours)>,
    /// A stop in force.
    pub stopped_until: Option<Timestamp>,
    /// A hush in force.
    pub hushed_until: Option<Timestamp>,
}

impl Gate<'_> {
    /// Returns why a sound of `band` may not be in the air at `at`, if so.
    pub fn refuses(&self, band: Band, at: Timestamp) -> Option<Reason> {
        if band == Band::Emergency {
            return None;
        }
        if self.stopped_until.is_some_and(|until| at < until) {
            return Some(Reason::Stopped);
        }
        if self.hushed_until.is_some_and(|until| at < until) {
            return Some(Reason::Hushed);
        }
        let quiet = self.hours.is_some_and(|(zone, hours)| hours.is_quiet(zone.to_datetime(at)));
        quiet.then_some(Reason::QuietHours)
    }

    /// Returns when a sound of `band` that starts at `start` must be over, and why.
    pub fn not_after(&self, band: Band, start: Timestamp) -> (Timestamp, Reason) {
        let longest = (plus(start, LONGEST), Reason::MaxLength);
        if band == Band::Emergency {
            return longest;
        }
        let quiet = self.hours.and_then(|(zone, hours)| {
            let begins = hours.next_quiet(zone.to_datetime(start))?;
            Some((plan::instant(zone, begins), Reason::QuietHours))
        });
        quiet.map_or(longest, |quiet| if quiet.0 <= longest.0 { quiet } else { longest })
    }
}

/// Returns the volume at which an announcement plays: the station's, the announcement's, and never above the ceiling.
pub fn volume(station: Volume, announcement: Volume, ceiling: Volume) -> Volume {
    let product = u16::from(station.percent()) * u16::from(announcement.percent()) / 100;
    u8::try_from(product).ok().and_then(|percent| Volume::try_from(percent).ok()).unwrap_or(ceiling).min(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A night in Beizhuang: quiet from 21:30 to 06:00, on 17 June 2026.
    fn at(time: &str) -> Timestamp {
        format!("2026-06-17T{time}+08:00").parse().expect("a time of day")
    }

    fn hours() -> Hours {
        Hours {
            quiet: vec!["21:30-06:00".parse().expect("a window")],
            working: vec![],
            daily_limit: SignedDuration::from_hours(4),
        }
    }

    fn zone() -> TimeZone {
        TimeZone::get("Asia/Shanghai").expect("bundled")
    }

    #[test]
    fn only_an_emergency_passes_the_gate() {
        let (zone, hours) = (zone(), hours());
        for (time, stop, hush, expected) in [
            ("12:00:00", None, None, None),
            ("21:29:59", None, None, None),
            ("21:30:00", None, None, Some(Reason::QuietHours)),
            ("05:59:59", None, None, Some(Reason::QuietHours)),
            ("06:00:00", None, None, None),
            ("12:00:00", Some("12:10:00"), None, Some(Reason::Stopped)),
            ("12:00:00", Some("12:00:00"), None, None),
            ("12:00:00", None, Some("12:10:00"), Some(Reason::Hushed)),
        ] {
            let gate = Gate { hours: Some((&zone, &hours)), stopped_until: stop.map(at), hushed_until: hush.map(at) };
            assert_eq!(gate.refuses(Band::Urgent, at(time)), expected, "{time} {stop:?} {hush:?}");
            assert_eq!(gate.refuses(Band::Emergency, at(time)), None);
        }
    }

    #[test]
    fn a_sound_ends_where_quiet_begins_or_after_two_hours() {
        let (zone, hours) = (zone(), hours());
        let gate = Gate { hours: Some((&zone, &hours)), stopped_until: None, hushed_until: None };
        for (band, start, end, reason) in [
            (Band::Normal, "21:00:00", "21:30:00", Reason::QuietHours),
            (Band::Normal, "12:00:00", "14:00:00", Reason::MaxLength),
            (Band::Emergency, "21:00:00", "23:00:00", Reason::MaxLength),
        ] {
            assert_eq!(gate.not_after(band, at(start)), (at(end), reason), "{band:?} {start}");
        }
    }

    #[test]
    fn no_volume_gets_past_the_ceiling() {
        for (station, announcement, ceiling, expected) in
            [(80, 100, 100, 80), (80, 50, 100, 40), (100, 100, 60, 60), (0, 100, 100, 0)]
        {
            let of = |percent: u8| Volume::try_from(percent).expect("at most 100");
            assert_eq!(volume(of(station), of(announcement), of(ceiling)).percent(), expected);
        }
    }
}
