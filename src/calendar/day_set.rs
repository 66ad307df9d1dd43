//! A set of days, as `on` and the working hours write it.

use super::{Calendar, DayKind, lunar};
use jiff::civil::{Date, Weekday};
use std::str::FromStr;

/// Days of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Weekdays(pub [bool; 7]);

impl Weekdays {
    /// Returns the day that `name` stands for: `mon` to `sun`.
    pub fn day(name: &str) -> Option<Weekday> {
        Some(match name {
            "mon" => Weekday::Monday,
            "tue" => Weekday::Tuesday,
            "wed" => Weekday::Wednesday,
            "thu" => Weekday::Thursday,
            "fri" => Weekday::Friday,
            "sat" => Weekday::Saturday,
            "sun" => Weekday::Sunday,
            _ => return None,
        })
    }

    /// Adds a day.
    pub fn insert(&mut self, day: Weekday) {
        self.0[Self::index(day)] = true;
    }

    /// Returns whether `day` is one of these.
    pub fn contains(&self, day: Weekday) -> bool {
        self.0[Self::index(day)]
    }

    fn index(day: Weekday) -> usize {
        usize::from(day.to_monday_zero_offset().unsigned_abs())
    }
}

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

/// A lunar date that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{text}”不是农历日期；请写成 12-23（腊月廿三）或 闰06-15")]
pub struct LunarDateError {
    text: String,
}

impl FromStr for LunarDate {
    type Err = LunarDateError;

    fn from_str(text: &str) -> Result<Self, LunarDateError> {
        let error = || LunarDateError { text: text.to_owned() };
        let (leap, rest) = text.strip_prefix('闰').map_or((false, text), |rest| (true, rest));
        let (month, day) = rest.split_once('-').ok_or_else(error)?;
        let number = |text: &str, most| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && (1..=most).contains(number)).ok_or_else(error)
        };
        Ok(Self { month: number(month, 12)?, day: number(day, 30)?, leap })
    }
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
    /// Returns the set that one word stands for: `every-day`, `workdays`, `rest-days` or `holidays`.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "every-day" => Self::EveryDay,
            "workdays" => Self::Workdays,
            "rest-days" => Self::RestDays,
            "holidays" => Self::Holidays,
            _ => return None,
        })
    }

    /// Returns whether `date` is one of these days.
    pub fn contains(&self, calendar: &Calendar, date: Date) -> bool {
        match self {
            Self::EveryDay => true,
            Self::Workdays => calendar.kind(date).is_workday(),
            Self::RestDays => !calendar.kind(date).is_workday(),
            Self::Holidays => calendar.kind(date) == DayKind::Holiday,
            Self::Weekdays(days) => days.contains(date.weekday()),
            Self::Lunar(dates) => lunar::of(date).is_some_and(|lunar| {
                let falls = |wanted: &LunarDate| {
                    let ends_year = (wanted.month, wanted.day) == (12, 30) && lunar.ends_month;
                    (wanted.month, wanted.leap) == (lunar.month, lunar.leap) && (wanted.day == lunar.day || ends_year)
                };
                dates.iter().any(falls)
            }),
            Self::LunarDayEnds(digits) => lunar::of(date).is_some_and(|lunar| digits.contains(&(lunar.day % 10))),
            Self::Terms(names) => {
                lunar::of(date).and_then(|lunar| lunar.term).is_some_and(|term| names.iter().any(|name| name == term))
            }
            Self::Dates(dates) => dates.contains(&date),
        }
    }

    /// Returns whether `name` is a solar term.
    pub fn is_term(name: &str) -> bool {
        lunar::is_term(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn days(set: &DaySet, first: Date, last: Date) -> String {
        let calendar = Calendar::shipped();
        let mut found = Vec::new();
        let mut day = first;
        while day <= last {
            if set.contains(&calendar, day) {
                found.push(day.strftime("%m-%d").to_string());
            }
            day = day.tomorrow().unwrap();
        }
        found.join(" ")
    }

    #[test]
    fn each_form_of_on_means_its_days() {
        let june = (date(2026, 6, 17), date(2026, 6, 22));
        // Friday 19 June 2026 is the Dragon Boat Festival, off until Sunday.
        for (set, expected) in [
            (DaySet::EveryDay, "06-17 06-18 06-19 06-20 06-21 06-22"),
            (DaySet::Workdays, "06-17 06-18 06-22"),
            (DaySet::RestDays, "06-19 06-20 06-21"),
            (DaySet::Holidays, "06-19 06-20 06-21"),
            (DaySet::Weekdays(Weekdays([true, false, false, false, true, false, false])), "06-19 06-22"),
            (DaySet::Lunar(vec!["05-05".parse().unwrap()]), "06-19"),
            (DaySet::LunarDayEnds(vec![3, 8]), "06-17 06-22"),
            (DaySet::Terms(vec!["夏至".into()]), "06-21"),
            (DaySet::Dates(vec![date(2026, 6, 20)]), "06-20"),
        ] {
            assert_eq!(days(&set, june.0, june.1), expected, "{set:?}");
        }
    }

    #[test]
    fn make_up_workdays_are_workdays_and_weekends_inside_an_arrangement_are_holidays() {
        let october = (date(2026, 9, 19), date(2026, 9, 28));
        assert_eq!(days(&DaySet::Workdays, october.0, october.1), "09-20 09-21 09-22 09-23 09-24 09-28");
        assert_eq!(days(&DaySet::Holidays, october.0, october.1), "09-25 09-26 09-27");
    }

    #[test]
    fn the_thirtieth_of_the_twelfth_month_is_its_last_day_whichever_it_is() {
        let eve = DaySet::Lunar(vec!["12-30".parse().unwrap()]);
        assert_eq!(days(&eve, date(2024, 1, 1), date(2027, 12, 31)), "02-09 01-28 02-16 02-05");
    }

    #[test]
    fn a_leap_month_fires_only_when_written() {
        let (first, last) = (date(2025, 6, 1), date(2025, 9, 30));
        for (text, expected) in [("06-15", "07-09"), ("闰06-15", "08-08")] {
            assert_eq!(days(&DaySet::Lunar(vec![text.parse().unwrap()]), first, last), expected, "{text}");
        }
        let market = days(&DaySet::LunarDayEnds(vec![5]), date(2025, 7, 25), date(2025, 8, 22));
        assert_eq!(market, "07-29 08-08 08-18");
    }

    #[test]
    fn what_is_no_lunar_date_is_refused() {
        for text in ["", "12", "13-01", "00-10", "12-31", "1-1", "闰", "闰闰06-15", "12-23 ", "１２-23", "+1-01"] {
            assert!(text.parse::<LunarDate>().is_err(), "{text}");
        }
    }
}
