//! Windows of the day, and the station's hours: quiet, working, and the daily limit.

use super::{Calendar, DaySet};
use jiff::{
    SignedDuration,
    civil::{Date, DateTime, Time},
};

/// A half-open window of the day: `06:00-21:00` contains 06:00 and not 21:00; `22:00-06:00` crosses midnight and
/// belongs to the day it starts on. `24:00` may stand at the end. Never empty: `06:00-06:00` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DayWindow {
    start: Time,
    /// Seconds from midnight of the starting day, above `start`'s; up to 48 h.
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
        todo!("{date}")
    }

    /// Returns the day on which the window holding `moment` starts, if one holds it.
    pub fn holding(&self, moment: DateTime) -> Option<Date> {
        todo!("{moment}")
    }
}

impl std::str::FromStr for DayWindow {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        todo!("{text}")
    }
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

impl Hours {
    /// Returns whether `moment` is quiet.
    pub fn is_quiet(&self, moment: DateTime) -> bool {
        self.quiet.iter().any(|window| window.holding(moment).is_some())
    }

    /// Returns when quiet next begins at or after `moment` (which is not quiet), looking two days ahead.
    pub fn next_quiet(&self, moment: DateTime) -> Option<DateTime> {
        todo!("{moment}")
    }

    /// Returns whether `moment` is inside working hours.
    pub fn is_working(&self, calendar: &Calendar, moment: DateTime) -> bool {
        todo!("{calendar:?} {moment}")
    }

    /// Returns whether `moment` is outside quiet hours and outside working hours.
    pub fn is_after_hours(&self, calendar: &Calendar, moment: DateTime) -> bool {
        !self.is_quiet(moment) && !self.is_working(calendar, moment)
    }
}
