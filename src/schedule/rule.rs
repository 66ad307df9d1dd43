//! When an announcement falls due. The cron crate appears here alone.

use crate::{
    calendar::{DaySet, DayWindow},
    schedule::AnnouncementName,
};
use jiff::{
    SignedDuration,
    civil::{Date, DateTime, Time},
};

/// When an announcement falls due.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which announcement of the file.
    pub play: AnnouncementName,
    /// `false` makes its occurrences `skipped(disabled)`.
    pub enabled: bool,
    /// The moments.
    pub when: When,
    /// The days.
    pub on: DaySet,
    /// Only filters moments.
    pub during: Option<During>,
    /// Days on which the rule gives no moment.
    pub except: Vec<Date>,
    /// How late an occurrence may still start.
    pub grace: SignedDuration,
    /// Cuts a running announcement of the same band.
    pub hard: bool,
}

/// The moments of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// At these times of the day.
    At(Vec<Time>),
    /// Every so often, anew each day from the window's start or from midnight; the end is outside.
    Every {
        /// At least one second.
        period: SignedDuration,
        /// May cross midnight; its moments belong to the day on which it starts.
        between: Option<DayWindow>,
    },
    /// As a Unix cron reads it.
    Cron(CronLine),
}

/// Which moments a rule lets pass.
#[derive(Debug, Clone, PartialEq)]
pub enum During {
    /// Inside the station's working hours.
    WorkingHours,
    /// Outside quiet hours and outside working hours.
    AfterHours,
    /// Inside one of these windows.
    Windows(Vec<DayWindow>),
}

/// Five fields as every Unix cron reads them: 0 and 7 are Sunday, Monday is 1; where both day fields are restricted
/// (anything but exactly `*`), either may match.
#[derive(Debug, Clone)]
pub struct CronLine {
    text: String,
}

impl PartialEq for CronLine {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A cron line that cannot be read, with the remedy, in Chinese.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(pub String);

impl std::str::FromStr for CronLine {
    type Err = CronError;
    fn from_str(text: &str) -> Result<Self, CronError> {
        todo!("{text}")
    }
}

impl CronLine {
    /// Returns the moments of `date`, in order. Local wall time, evaluated as if it were UTC.
    pub fn on(&self, date: Date) -> Vec<DateTime> {
        todo!("{date}")
    }
}
