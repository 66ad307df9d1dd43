//! Lunar dates and solar terms; the tyme4rs crate appears here alone.
//!
//! A year's table is computed once and kept: a year's plan asks for the same days again and again. Outside 1900 to
//! 2100 no date has a lunar date here.

use jiff::civil::Date;
use std::sync::OnceLock;
use tyme4rs::tyme::{
    Tyme as _,
    solar::{SOLAR_TERM_NAMES, SolarDay, SolarTerm},
};

const FIRST: i16 = 1900;
const LAST: i16 = 2100;

/// A date in the lunar calendar, with the solar term that begins on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LunarDay {
    /// 1 to 12.
    pub month: u8,
    /// 1 to 30.
    pub day: u8,
    /// In a leap month.
    pub leap: bool,
    /// The last day of its month.
    pub ends_month: bool,
    /// The solar term that begins on this day.
    pub term: Option<&'static str>,
}

/// Returns the lunar date of `date`.
pub(super) fn of(date: Date) -> Option<LunarDay> {
    static YEARS: [OnceLock<Vec<LunarDay>>; (LAST - FIRST + 1) as usize] =
        [const { OnceLock::new() }; (LAST - FIRST + 1) as usize];
    let year = YEARS.get(usize::try_from(date.year() - FIRST).ok()?)?;
    let table = year.get_or_init(|| table(date.year()));
    table.get(usize::try_from(date.day_of_year() - 1).ok()?).copied()
}

/// Returns whether `name` is a solar term.
pub(super) fn is_term(name: &str) -> bool {
    SOLAR_TERM_NAMES.contains(&name)
}

fn table(year: i16) -> Vec<LunarDay> {
    let days = Date::constant(year, 12, 31).day_of_year();
    let first = SolarDay::from_ymd(isize::from(year), 1, 1).get_lunar_day();
    let (mut month, mut day) = (first.get_lunar_month(), first.get_day());
    let mut table = Vec::new();
    for _ in 0..days {
        let length = month.get_day_count();
        table.push(LunarDay {
            month: u8::try_from(month.get_month()).unwrap_or(0),
            day: u8::try_from(day).unwrap_or(0),
            leap: month.is_leap(),
            ends_month: day == length,
            term: None,
        });
        if day == length {
            (month, day) = (month.next(1), 1);
        } else {
            day += 1;
        }
    }
    // Index 0 is the winter solstice of the year before; the 24 terms of a civil year are 1 to 24.
    for index in 1..=24 {
        let term = SolarTerm::from_index(isize::from(year), index);
        let day = term.get_solar_day();
        let place = Date::new(
            i16::try_from(day.get_year()).unwrap_or(0),
            i8::try_from(day.get_month()).unwrap_or(0),
            i8::try_from(day.get_day()).unwrap_or(0),
        );
        let Ok(place) = place else { continue };
        let name = SOLAR_TERM_NAMES[usize::try_from(index).unwrap_or(0) % SOLAR_TERM_NAMES.len()];
        if place.year() == year
            && let Some(day) = table.get_mut(usize::try_from(place.day_of_year() - 1).unwrap_or(usize::MAX))
        {
            day.term = Some(name);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use icu_calendar::{Date as IcuDate, cal::ChineseTraditional};
    use jiff::civil::date;

    #[test]
    fn every_day_of_four_years_agrees_with_another_implementation() {
        let mut day = date(2024, 1, 1);
        while day < date(2028, 1, 1) {
            let other =
                IcuDate::try_new_iso(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
                    .unwrap()
                    .to_calendar(ChineseTraditional::new());
            let month = other.month();
            let ours = of(day).unwrap();
            assert_eq!(
                (ours.month, ours.leap, ours.day),
                (month.number(), month.to_input().is_leap(), other.day_of_month().0),
                "{day}"
            );
            day = day.tomorrow().unwrap();
        }
    }

    #[test]
    fn every_solar_term_of_four_years_agrees_with_another_implementation() {
        let known: Vec<(Date, &str)> = include_str!("../../tests/fixtures/solar-terms.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(' ').map(|(day, term)| (day.parse().unwrap(), term)).unwrap())
            .collect();
        let mut ours = Vec::new();
        let mut day = date(2024, 1, 1);
        while day < date(2028, 1, 1) {
            ours.extend(of(day).unwrap().term.map(|term| (day, term)));
            day = day.tomorrow().unwrap();
        }
        assert_eq!(ours, known);
    }

    #[test]
    fn no_date_is_too_far_away_to_ask_for() {
        for (day, known) in [
            (Date::MIN, false),
            (date(1899, 12, 31), false),
            (date(1900, 1, 1), true),
            (date(2100, 12, 31), true),
            (Date::MAX, false),
        ] {
            assert_eq!(of(day).is_some(), known, "{day}");
        }
    }

    #[test]
    fn leap_months_and_year_ends_of_known_traps() {
        for (day, month, lunar, leap, last) in [
            (date(2033, 12, 22), 11, 1, true, false),
            (date(2025, 7, 25), 6, 1, true, false),
            (date(2027, 1, 30), 12, 23, false, false),
            (date(2027, 2, 5), 12, 29, false, true),
            (date(2027, 2, 6), 1, 1, false, false),
        ] {
            let ours = of(day).unwrap();
            assert_eq!((ours.month, ours.day, ours.leap, ours.ends_month), (month, lunar, leap, last), "{day}");
        }
    }
}
