//! The kind of each date in China's official calendar, lunar dates, and the station's hours.
//!
//! Pure: year files arrive as text. A year that is missing or not official falls back to legal days and weekends, and
//! says so ([`Calendar::is_official`]); a wrong calendar is never silent.

mod day_set;
mod holidays;
mod hours;
mod lunar;

pub use day_set::{DaySet, LunarDate, LunarDateError, Weekdays};
pub use holidays::{YearError, YearFile, YearStatus};
pub use hours::{DayWindow, Hours, WindowError, WorkingHours};

use crate::text::Language;
use jiff::civil::Date;
use serde::Serialize;
use std::collections::BTreeMap;

/// What the official calendar says of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayKind {
    /// Monday to Friday, not in a holiday arrangement.
    Workday,
    /// A weekend day outside every arrangement.
    RestDay,
    /// In the year file's `off`, weekend days inside an arrangement included.
    Holiday,
    /// A Saturday or Sunday on which people work (调休): a workday in every sense.
    MakeUpWorkday,
}

impl DayKind {
    /// Returns whether people work on such a day.
    pub fn is_workday(self) -> bool {
        matches!(self, Self::Workday | Self::MakeUpWorkday)
    }

    /// The kind in the words of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        match self {
            Self::Workday => language.pick("工作日", "workday"),
            Self::RestDay => language.pick("休息日", "day off"),
            Self::Holiday => language.pick("节假日", "public holiday"),
            Self::MakeUpWorkday => language.pick("调休上班", "make-up workday"),
        }
    }
}

/// The kind of every date, from one file a year.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calendar {
    years: BTreeMap<i16, YearFile>,
}

impl Calendar {
    /// The calendar compiled into the program: 2024 to 2027.
    pub fn shipped() -> Self {
        holidays::shipped()
    }

    /// Puts one year's file in place of what the calendar held for that year.
    pub fn replace(&mut self, year: YearFile) {
        self.years.insert(year.year, year);
    }

    /// Returns the kind of `date`. In a year without a file: legal days and weekends.
    pub fn kind(&self, date: Date) -> DayKind {
        holidays::kind(self.years.get(&date.year()), date)
    }

    /// Returns whether `year` follows an official arrangement; where it does not, make-up workdays are unknown.
    pub fn is_official(&self, year: i16) -> bool {
        self.years.get(&year).is_some_and(|file| file.status == YearStatus::Official)
    }
}
