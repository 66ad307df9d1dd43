//! Windows of the day, and the station's hours: quiet, working, and the daily limit.

use super::{Calendar, DaySet};
use jiff::{
    SignedDuration, ToSpan as _,
    civil::{Date, DateTime, Time},
};
use std::{fmt, str::FromStr};

/// Seconds of a civil day.
const DAY: i32 = 86_400;

/// A half-open window of the day: `06:00-21:00` contains 06:00 and not 21:00; `22:00-06:00` crosses midnight and
/// belongs to the day it starts on. `24:00` may stand at the end. Never empty: `06:00-06:00` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DayWindow {
    start: Time,
    /// Seconds from midnight of the starting day, above `start`'s; below 48 h.
    end_seconds: i32,
}

/// A window that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{text}”不是时段；请写成 06:00-21:00（可跨零点，如 22:00-06:00）")]
pub struct WindowError {
    text: String,
}

impl DayWindow {
    /// When the window opens.
    pub fn start(&self) -> Time {
        self.start
    }

    /// Returns when the window that starts on `date` opens and closes.
    pub fn on(&self, date: Date) -> (DateTime, DateTime) {
        let midnight = date.at(0, 0, 0, 0);
        (date.to_datetime(self.start), midnight.saturating_add(self.end_seconds.seconds()))
    }

    /// Returns the day on which the window holding `moment` starts, if one holds it.
    pub fn holding(&self, moment: DateTime) -> Option<Date> {
        let second = seconds(moment.time());
        let start = seconds(self.start);
        if (start..self.end_seconds).contains(&second) {
            Some(moment.date())
        } else if second + DAY < self.end_seconds {
            moment.date().yesterday().ok()
        } else {
            None
        }
    }
}

/// Whole seconds from midnight; a fraction of a second does not move a moment out of its second.
fn seconds(time: Time) -> i32 {
    (i32::from(time.hour()) * 60 + i32::from(time.minute())) * 60 + i32::from(time.second())
}

impl fmt::Display for DayWindow {
    /// As it is written; seconds where there are some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.end_seconds > DAY { self.end_seconds - DAY } else { self.end_seconds };
        for (dash, second) in [("", seconds(self.start)), ("-", end)] {
            write!(f, "{dash}{:02}:{:02}", second / 3600, second / 60 % 60)?;
            if second % 60 != 0 {
                write!(f, ":{:02}", second % 60)?;
            }
        }
        Ok(())
    }
}

impl FromStr for DayWindow {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let error = || WindowError { text: text.to_owned() };
        let (start, end) = text.split_once('-').ok_or_else(error)?;
        let start = clock_time(start).filter(|start| *start < DAY).ok_or_else(error)?;
        let end = clock_time(end).ok_or_else(error)?;
        let end_seconds = match end.cmp(&start) {
            std::cmp::Ordering::Greater => end,
            std::cmp::Ordering::Less => end + DAY,
            std::cmp::Ordering::Equal => return Err(error()),
        };
        let start = Time::midnight().saturating_add(start.seconds());
        Ok(Self { start, end_seconds })
    }
}

/// Reads `HH:MM` or `HH:MM:SS`, up to `24:00`, as seconds from midnight.
fn clock_time(text: &str) -> Option<i32> {
    let mut parts = text.trim().split(':');
    let mut two_digits = || {
        let part = parts.next()?;
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<i32>().ok()).flatten()
    };
    let (hour, minute) = (two_digits()?, two_digits()?);
    let second = if text.matches(':').count() == 2 { two_digits()? } else { 0 };
    let total = (hour * 60 + minute) * 60 + second;
    (parts.next().is_none() && minute < 60 && second < 60 && total <= DAY).then_some(total)
}

/// On which days people work when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingHours {
    /// The day on which each window starts.
    pub days: DaySet,
    /// Windows of the day.
    pub times: Vec<DayWindow>,
}

/// The station's hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Only an emergency sounds in these.
    pub quiet: Vec<DayWindow>,
    /// When people work.
    pub working: Vec<WorkingHours>,
    /// Of `background` and `normal` sound in a civil day.
    pub daily_limit: SignedDuration,
}

impl Default for Hours {
    /// Quiet from 21:30 to 06:00; people work from 08:00 to 12:00 and 13:30 to 17:30 on workdays; 4 h a day.
    fn default() -> Self {
        let window = |text: &str| text.parse().expect("the default windows are windows");
        Self {
            quiet: vec![window("21:30-06:00")],
            working: vec![WorkingHours {
                days: DaySet::Workdays,
                times: vec![window("08:00-12:00"), window("13:30-17:30")],
            }],
            daily_limit: SignedDuration::from_hours(4),
        }
    }
}

impl Hours {
    /// Returns whether `moment` is quiet.
    pub fn is_quiet(&self, moment: DateTime) -> bool {
        self.quiet.iter().any(|window| window.holding(moment).is_some())
    }

    /// Returns when quiet next begins at or after `moment` (which is not quiet), looking two days ahead.
    pub fn next_quiet(&self, moment: DateTime) -> Option<DateTime> {
        let days = [0, 1, 2].into_iter().filter_map(|ahead| moment.date().checked_add(ahead.days()).ok());
        days.flat_map(|day| self.quiet.iter().map(move |window| window.on(day).0))
            .filter(|start| *start >= moment)
            .min()
    }

    /// Returns whether `moment` is inside working hours.
    pub fn is_working(&self, calendar: &Calendar, moment: DateTime) -> bool {
        self.working.iter().any(|working| {
            let starts = working.times.iter().filter_map(|window| window.holding(moment));
            starts.into_iter().any(|day| working.days.contains(calendar, day))
        })
    }

    /// Returns whether `moment` is outside quiet hours and outside working hours.
    pub fn is_after_hours(&self, calendar: &Calendar, moment: DateTime) -> bool {
        !self.is_quiet(moment) && !self.is_working(calendar, moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    fn any_window() -> impl Strategy<Value = DayWindow> {
        (0..DAY, 1..DAY).prop_map(|(start, length)| DayWindow {
            start: Time::midnight().saturating_add(start.seconds()),
            end_seconds: start + length,
        })
    }

    #[test]
    fn a_window_is_shown_as_it_is_written() {
        for text in ["06:00-21:00", "22:00-06:00", "00:00-24:00", "06:30:15-07:00", "23:00-00:30"] {
            assert_eq!(text.parse::<DayWindow>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_window_holds_exactly_the_moments_between_its_ends(window in any_window(), edge in 0..2i32, nudge in -1..=1i32) {
            let day = date(2026, 6, 17);
            let (open, close) = window.on(day);
            let moment = if edge == 0 { open } else { close } + nudge.seconds();
            let held = window.holding(moment) == Some(day);
            prop_assert_eq!(held, open <= moment && moment < close);
        }

        #[test]
        fn a_window_and_the_rest_of_the_day_share_no_moment_and_drop_none(window in any_window(), second in 0..DAY) {
            let moment = date(2026, 6, 17).at(0, 0, 0, 0) + second.seconds();
            let (open, close) = window.on(date(2026, 6, 16));
            let rest = DayWindow { start: close.time(), end_seconds: {
                let (start, end) = (seconds(close.time()), seconds(open.time()));
                if end > start { end } else { end + DAY }
            } };
            prop_assert!(window.holding(moment).is_some() != rest.holding(moment).is_some());
        }
    }

    #[test]
    fn windows_are_half_open_and_belong_to_the_day_they_start_on() {
        for (window, moment, expected) in [
            ("06:00-21:00", date(2026, 6, 17).at(6, 0, 0, 0), Some(17)),
            ("06:00-21:00", date(2026, 6, 17).at(20, 59, 59, 0), Some(17)),
            ("06:00-21:00", date(2026, 6, 17).at(21, 0, 0, 0), None),
            ("22:00-06:00", date(2026, 6, 17).at(22, 0, 0, 0), Some(17)),
            ("22:00-06:00", date(2026, 6, 18).at(5, 59, 59, 0), Some(17)),
            ("22:00-06:00", date(2026, 6, 18).at(6, 0, 0, 0), None),
            ("18:00-24:00", date(2026, 6, 17).at(23, 59, 59, 0), Some(17)),
            ("18:00-24:00", date(2026, 6, 18).at(0, 0, 0, 0), None),
            ("00:00-24:00", date(2026, 6, 18).at(0, 0, 0, 0), Some(18)),
        ] {
            let held = window.parse::<DayWindow>().unwrap().holding(moment);
            assert_eq!(held.map(|day| day.day()), expected, "{window} {moment}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "06:00",
            "6:00-21:00",
            "06:00-06:00",
            "24:00-06:00",
            "06:60-07:00",
            "06:00-25:00",
            "06:00~21:00",
            "+6:00-07:00",
        ] {
            assert!(text.parse::<DayWindow>().is_err(), "{text}");
        }
    }

    #[test]
    fn after_hours_is_what_is_neither_quiet_nor_working() {
        let (hours, calendar) = (Hours::default(), Calendar::shipped());
        // 20 September 2026 is a Sunday on which people work; the 25th is the Mid-Autumn Festival.
        for (moment, expected) in [
            (date(2026, 9, 20).at(9, 0, 0, 0), false),
            (date(2026, 9, 20).at(12, 0, 0, 0), true),
            (date(2026, 9, 20).at(18, 0, 0, 0), true),
            (date(2026, 9, 20).at(22, 0, 0, 0), false),
            (date(2026, 9, 25).at(9, 0, 0, 0), true),
        ] {
            assert_eq!(hours.is_after_hours(&calendar, moment), expected, "{moment}");
        }
    }

    #[test]
    fn quiet_is_seen_coming() {
        let hours = Hours::default();
        let evening = date(2026, 6, 17).at(21, 30, 0, 0);
        assert_eq!(hours.next_quiet(date(2026, 6, 17).at(6, 0, 0, 0)), Some(evening));
        assert_eq!(hours.next_quiet(evening), Some(evening));
        assert_eq!(Hours { quiet: vec![], ..hours }.next_quiet(evening), None);
    }
}
