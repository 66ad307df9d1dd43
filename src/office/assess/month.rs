//! A month of the calendar, and how a day of it is on record.

use jiff::{ToSpan as _, civil::Date};
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A month of the calendar, written `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

/// The text is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}”不是月份（应写成 2026-11）")]
pub struct NoMonth(String);

impl Month {
    /// The month that a day lies in.
    pub fn of(day: Date) -> Self {
        Self(day.first_of_month())
    }

    /// Its first day.
    pub fn first(self) -> Date {
        self.0
    }

    /// Its last day.
    pub fn last(self) -> Date {
        self.0.last_of_month()
    }

    /// The month before it.
    pub fn before(self) -> Self {
        Self::of(self.0.saturating_sub(1.day()))
    }

    /// The month after it.
    pub fn after(self) -> Self {
        Self::of(self.last().saturating_add(1.day()))
    }

    /// Its year.
    pub fn year(self) -> i16 {
        self.0.year()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let no_month = || NoMonth(text.chars().take(20).collect());
        let is_plain = text.len() == 7 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let first = is_plain.then(|| format!("{text}-01").parse::<Date>().ok()).flatten().ok_or_else(no_month)?;
        // What a table compares as text has four digits and no sign.
        if first.year() < 1 { Err(no_month()) } else { Ok(Self(first)) }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Days from the first to the last, both within; none where the last lies before the first.
pub fn days(first: Date, last: Date) -> impl Iterator<Item = Date> {
    first.series(1.day()).take_while(move |day| *day <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_in_one_way_and_knows_its_neighbours() {
        for (text, expected) in [
            ("2026-11", "2026-11-01 2026-11-30 2026-10 2026-12"),
            ("2024-02", "2024-02-01 2024-02-29 2024-01 2024-03"),
            ("2026-01", "2026-01-01 2026-01-31 2025-12 2026-02"),
            ("9999-12", "9999-12-01 9999-12-31 9999-11 9999-12"),
            ("2026-13", "no"),
            ("2026-1", "no"),
            ("2026-11-01", "no"),
            ("-000001", "no"),
            ("0000-01", "no"),
            ("一二三四-五六", "no"),
            ("", "no"),
        ] {
            let said = text.parse::<Month>().map(|month| {
                assert_eq!(month.to_string(), text);
                format!("{} {} {} {}", month.first(), month.last(), month.before(), month.after())
            });
            assert_eq!(said.unwrap_or_else(|_| "no".into()), expected, "{text}");
        }
    }
}
