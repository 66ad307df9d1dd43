//! One file a year: China's statutory holidays and make-up workdays, as the State Council's notice arranges them.

use super::{Calendar, DayKind, lunar};
use crate::text::civil_date;
use jiff::{
    ToSpan as _,
    civil::{Date, Weekday},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// The files compiled into the program; one in the station's home replaces one here.
const SHIPPED: [(i16, &str); 4] = [
    (2024, include_str!("../../schedules/calendar/2024.toml")),
    (2025, include_str!("../../schedules/calendar/2025.toml")),
    (2026, include_str!("../../schedules/calendar/2026.toml")),
    (2027, include_str!("../../schedules/calendar/2027.toml")),
];

/// Whether a year's arrangement is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum YearStatus {
    /// From the notice.
    Official,
    /// Only the days that the law fixes; make-up workdays are unknown.
    LegalDaysOnly,
}

/// One year's arrangement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YearFile {
    /// Every date below lies in it.
    pub year: i16,
    /// The notice's title and number.
    pub source: String,
    /// The notice's date.
    pub published: Option<Date>,
    /// Whether the arrangement is known.
    pub status: YearStatus,
    /// Days off with the holiday's name, weekend days inside an arrangement included.
    pub off: BTreeMap<Date, String>,
    /// Saturdays and Sundays on which people work.
    pub work: BTreeSet<Date>,
}

/// Why a year file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YearError {
    /// Byte offset in the text, where known.
    pub at: Option<usize>,
    /// What is wrong and what to do, in Chinese.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    source: String,
    published: Option<Spanned<toml::value::Datetime>>,
    status: YearStatus,
    off: Vec<RawOff>,
    #[serde(default)]
    work: Vec<Spanned<toml::value::Datetime>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOff {
    date: Spanned<toml::value::Datetime>,
    name: String,
}

impl YearFile {
    /// Reads and checks one year file; returns every mistake.
    pub fn parse(year: i16, text: &str) -> Result<Self, Vec<YearError>> {
        let raw: Raw = toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            let message =
                format!("日历文件读不懂（{}）；请对照随程序附带的 2026.toml 改正", error.message().replace('\n', " "));
            vec![YearError { at: error.span().map(|span| span.start), message }]
        })?;
        let mut errors = Vec::new();
        let mut read = |written: &Spanned<toml::value::Datetime>, in_year: bool| {
            let at = Some(written.span().start);
            match civil_date(written.get_ref()) {
                Some(date) if !in_year || date.year() == year => Some(date),
                Some(date) => {
                    errors.push(YearError {
                        at,
                        message: format!("{date} 不在 {year} 年；请改正日期或换到那一年的文件"),
                    });
                    None
                }
                None => {
                    errors.push(YearError {
                        at,
                        message: format!("“{}”不是日期；请写成 {year}-01-01", written.get_ref()),
                    });
                    None
                }
            }
        };
        let published = raw.published.as_ref().and_then(|written| read(written, false));
        let off: BTreeMap<Date, String> =
            raw.off.iter().filter_map(|off| Some((read(&off.date, true)?, off.name.clone()))).collect();
        let work: Vec<(usize, Date)> =
            raw.work.iter().filter_map(|written| Some((written.span().start, read(written, true)?))).collect();
        for (at, date) in &work {
            let mut say = |message| errors.push(YearError { at: Some(*at), message });
            if off.contains_key(date) {
                say(format!("{date} 同时写在 off 和 work 里；请只留一处"));
            }
            if !is_weekend(*date) {
                say(format!("{date} 不是周六或周日，不会是调休上班日；请核对通知"));
            }
        }
        for date in legal_days(year) {
            if !off.contains_key(&date) {
                errors.push(YearError {
                    at: None, message: format!("法定节假日 {date} 不在 off 里；请对照通知补上")
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let work = work.into_iter().map(|(_, date)| date).collect();
        Ok(Self { year, source: raw.source, published, status: raw.status, off, work })
    }
}

fn is_weekend(date: Date) -> bool {
    matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Returns the days that the law makes holidays: 11 a year up to 2024, 13 from 2025 (全国年节及纪念日放假办法, revised
/// in November 2024, adds New Year's Eve of the lunar year and 2 May).
fn legal_days(year: i16) -> BTreeSet<Date> {
    let revised = year >= 2025;
    let Ok(first) = Date::new(year, 1, 1) else { return BTreeSet::new() };
    let in_year = first.series(1.day()).take_while(|date| date.year() == year);
    in_year
        .filter(|date| {
            let fixed = match (date.month(), date.day()) {
                (1, 1) | (5, 1) | (10, 1..=3) => true,
                (5, 2) => revised,
                _ => false,
            };
            let moving = lunar::of(*date).is_some_and(|lunar| {
                let by_moon = match (lunar.month, lunar.day) {
                    (1, 1..=3) | (5, 5) | (8, 15) => !lunar.leap,
                    (12, _) => revised && lunar.ends_month,
                    _ => false,
                };
                by_moon || lunar.term == Some("清明")
            });
            fixed || moving
        })
        .collect()
}

pub(super) fn shipped() -> Calendar {
    let mut calendar = Calendar::default();
    for (year, text) in SHIPPED {
        calendar.replace(YearFile::parse(year, text).expect("the shipped files are read by a test"));
    }
    calendar
}

pub(super) fn kind(file: Option<&YearFile>, date: Date) -> DayKind {
    let weekend = if is_weekend(date) { DayKind::RestDay } else { DayKind::Workday };
    match file {
        Some(file) if file.off.contains_key(&date) => DayKind::Holiday,
        Some(file) if file.work.contains(&date) => DayKind::MakeUpWorkday,
        Some(_) => weekend,
        None if legal_days(date.year()).contains(&date) => DayKind::Holiday,
        None => weekend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn three_official_years_agree_with_another_implementation() {
        let mut known: BTreeMap<Date, DayKind> = BTreeMap::new();
        for line in include_str!("../../tests/fixtures/holidays.txt").lines().filter(|line| !line.starts_with('#')) {
            let (day, kind) = line.split_once(' ').unwrap();
            let kind = if kind == "off" { DayKind::Holiday } else { DayKind::MakeUpWorkday };
            known.insert(day.parse().unwrap(), kind);
        }
        let calendar = Calendar::shipped();
        let mut day = date(2024, 1, 1);
        while day < date(2027, 1, 1) {
            let plain = if is_weekend(day) { DayKind::RestDay } else { DayKind::Workday };
            assert_eq!(calendar.kind(day), known.get(&day).copied().unwrap_or(plain), "{day}");
            day = day.tomorrow().unwrap();
        }
    }

    #[test]
    fn the_law_gives_eleven_days_to_2024_and_thirteen_from_2025() {
        for (year, expected) in [(2023, 11), (2024, 11), (2025, 13), (2026, 13), (2027, 13)] {
            assert_eq!(legal_days(year).len(), expected, "{year}");
        }
    }

    #[test]
    fn only_official_years_are_official() {
        let calendar = Calendar::shipped();
        let official: Vec<i16> = (2023..2029).filter(|year| calendar.is_official(*year)).collect();
        assert_eq!(official, [2024, 2025, 2026]);
        assert_eq!(calendar.kind(date(2028, 10, 1)), DayKind::Holiday);
        assert_eq!(calendar.kind(date(2028, 10, 4)), DayKind::Workday);
    }

    #[test]
    fn each_mistake_in_a_year_file_is_named() {
        let good = SHIPPED[2].1;
        for (from, to, expected) in [
            ("2026-01-02", "2025-01-02", "不在 2026 年"),
            ("work = [", "work = [2026-10-01, ", "同时写在"),
            ("work = [", "work = [2026-10-12, ", "不是周六或周日"),
            ("{ date = 2026-10-01, name = \"国庆节\" },", "", "2026-10-01 不在 off 里"),
            ("status = \"official\"", "status = \"maybe\"", "读不懂"),
            ("status = \"official\"", "status = \"official\"\ncolour = 1", "读不懂"),
            ("2026-01-02", "2026-01-02T10:00:00", "不是日期"),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let errors = YearFile::parse(2026, &text).expect_err(to);
            assert!(errors.iter().any(|error| error.message.contains(expected)), "{to}: {errors:?}");
        }
        let twice = good.replacen("work = [", "work = [2026-10-12, 2026-10-13, ", 1);
        assert_eq!(YearFile::parse(2026, &twice).expect_err("two mistakes").len(), 2);
    }

    #[test]
    fn every_shipped_file_is_whole() {
        for (year, text) in SHIPPED {
            assert_eq!(YearFile::parse(year, text).map(|file| file.year), Ok(year));
        }
    }
}
