//! A set of days, as `on` and the working hours write it.

use super::Calendar;
use jiff::civil::Date;

/// Days of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Weekdays(pub [bool; 7]);

/// A month and day of the lunar calendar, in a leap month or not. Day 30 of month 12 means the month's last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LunarDate {
    /// 1 to 12.
    pub month: u8,
    /// 1 to 30.
    pub day: u8,
    /// Written `闰06-15`.
    pub leap: bool,
}

/// A set of days.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DaySet {
    /// `every-day`
    #[default]
    EveryDay,
    /// `workdays`: make-up workdays included, holidays left out.
    Workdays,
    /// `rest-days`: every other day.
    RestDays,
    /// `holidays`: the dates in the year file's `off`.
    Holidays,
    /// `["mon", "fri"]`
    Weekdays(Weekdays),
    /// `{ lunar = ["12-23"] }`
    Lunar(Vec<LunarDate>),
    /// `{ lunar-day-ends = [3, 8] }`: the last digit of the lunar day; leap months too.
    LunarDayEnds(Vec<u8>),
    /// `{ terms = ["冬至"] }`: solar terms by name.
    Terms(Vec<String>),
    /// `{ dates = [2026-12-13] }`
    Dates(Vec<Date>),
}

impl DaySet {
    /// Returns whether `date` is one of these days.
    pub fn contains(&self, calendar: &Calendar, date: Date) -> bool {
        todo!("{calendar:?} {date}")
    }
}
