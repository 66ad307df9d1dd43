//! When an announcement falls due. The cron crate appears here alone.
//!
//! That crate counts seconds first, calls Sunday 1 and wants both day fields to match. None of it reaches a user:
//! [`CronLine`] takes the five fields of every Unix cron, writes day numbers as names, and unites two expressions
//! where both day fields are restricted. It asks for wall time only, so no clock change can skip or repeat a moment.

use crate::{
    calendar::{DaySet, DayWindow},
    schedule::AnnouncementName,
};
use cron::TimeUnitSpec;
use jiff::{
    SignedDuration,
    civil::{Date, DateTime, Time},
};
use std::{collections::BTreeSet, str::FromStr};

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
    /// Equal but for their day fields; a day that fits either is one of the line's days. Never empty.
    expressions: Vec<cron::Schedule>,
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

impl FromStr for CronLine {
    type Err = CronError;
    fn from_str(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if text.trim_start().starts_with('@') {
            return Err(CronError(format!("不支持“{text}”这种简写；请写成五段，如每天零点是 0 0 * * *")));
        }
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError(format!(
                "cron 要写五段：分 时 日 月 星期，这里有 {} 段；如 30 6 * * 1-5 是周一到周五 06:30{}",
                fields.len(),
                if fields.len() == 6 { "，秒不能写，要到秒请用 at" } else { "" }
            )));
        };
        let minute = MINUTE.read(minute)?;
        let hour = HOUR.read(hour)?;
        let day = DAY.read(day)?;
        let month = MONTH.read(month)?;
        let weekday = WEEKDAY.read(weekday)?;
        let days: &[(&str, &str)] = match (day.as_str(), weekday.as_str()) {
            ("*", _) | (_, "*") => &[(&day, &weekday)],
            _ => &[(&day, "*"), ("*", &weekday)],
        };
        let expressions = days
            .iter()
            .map(|(day, weekday)| format!("0 {minute} {hour} {day} {month} {weekday}").parse())
            .collect::<Result<_, _>>()
            .map_err(|_| CronError(format!("看不懂“{text}”；请写五段：分 时 日 月 星期")))?;
        Ok(Self { text: text.to_owned(), expressions })
    }
}

impl CronLine {
    /// Returns the moments of `date`, in order. Local wall time, evaluated as if it were UTC.
    pub fn on(&self, date: Date) -> Vec<DateTime> {
        let Some(fitting) = self.expressions.iter().find(|expression| fits(expression, date)) else {
            return Vec::new();
        };
        let hours = fitting.hours().iter();
        let times = hours.flat_map(|hour| fitting.minutes().iter().map(move |minute| (hour, minute)));
        times
            .filter_map(|(hour, minute)| Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok())
            .map(|time| date.to_datetime(time))
            .collect()
    }

    /// The line as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns whether `date` is one of the expression's days.
fn fits(expression: &cron::Schedule, date: Date) -> bool {
    let number = |value: i8| u32::from(value.unsigned_abs());
    expression.months().includes(number(date.month()))
        && expression.days_of_month().includes(number(date.day()))
        && expression.days_of_week().includes(number(date.weekday().to_sunday_one_offset()))
}

/// One of the five fields.
struct Field {
    title: &'static str,
    first: u8,
    last: u8,
    /// Lower case; the first stands for `first`.
    names: &'static [&'static str],
    /// How the cron crate is told the values, where numbers mean something else to it.
    written: &'static [&'static str],
}

const MINUTE: Field = Field { title: "分", first: 0, last: 59, names: &[], written: &[] };
const HOUR: Field = Field { title: "时", first: 0, last: 23, names: &[], written: &[] };
const DAY: Field = Field { title: "日", first: 1, last: 31, names: &[], written: &[] };
const MONTH: Field = Field {
    title: "月",
    first: 1,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    written: &[],
};
const WEEKDAY: Field = Field {
    title: "星期",
    first: 0,
    last: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    written: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
};

impl Field {
    /// Returns the field as the cron crate reads it: `*`, or a list of values.
    fn read(&self, text: &str) -> Result<String, CronError> {
        if text == "*" {
            return Ok(text.to_owned());
        }
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            values.extend(self.item(item)?);
        }
        let written: BTreeSet<String> = values.into_iter().map(|value| self.write(value)).collect();
        Ok(written.into_iter().collect::<Vec<_>>().join(","))
    }

    /// Returns the values of one item of the list: `*/5`, `8-17`, `8-17/3` or `8`.
    fn item(&self, item: &str) -> Result<impl Iterator<Item = u8> + use<>, CronError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (start, end) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((start, end)) => (self.value(start)?, self.value(end)?),
            None if step.is_some() => {
                let start = self.value(range)?;
                let rest = format!("{start}-{}/{}", self.last, step.unwrap_or_default());
                return Err(self.wrong(item, &format!("步长前面要写范围：从 {start} 起请写 {rest}")));
            }
            None => {
                let value = self.value(range)?;
                (value, value)
            }
        };
        if start > end {
            let rest = if end == self.first { end.to_string() } else { format!("{}-{end}", self.first) };
            let remedy = format!("范围要从小到大；请分成两段，写 {start}-{},{rest}", self.last);
            return Err(self.wrong(item, &remedy));
        }
        let step = match step {
            None => 1,
            Some(step) => match self.number(step) {
                Some(step) if (1..=self.last).contains(&step) => step,
                _ => {
                    let remedy = format!("步长要在 1 到 {} 之间；间隔更长请改用 every，如 every = \"90m\"", self.last);
                    return Err(self.wrong(item, &remedy));
                }
            },
        };
        Ok((start..=end).step_by(usize::from(step)))
    }

    fn value(&self, text: &str) -> Result<u8, CronError> {
        let named = self.names.iter().zip(self.first..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        match named.map(|(_, value)| value).or_else(|| self.number(text)) {
            Some(value) if (self.first..=self.last).contains(&value) => Ok(value),
            _ => Err(self.wrong(text, &format!("请写 {} 到 {} 的数字{}", self.first, self.last, self.hint()))),
        }
    }

    /// Returns the number that `text` spells in plain digits.
    fn number(&self, text: &str) -> Option<u8> {
        let plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse().ok() } else { None }
    }

    fn hint(&self) -> String {
        match self.names {
            [first, .., last] => format!("，或 {first} 到 {last}"),
            _ => String::new(),
        }
    }

    fn write(&self, value: u8) -> String {
        let name = self.written.get(usize::from(value));
        name.map_or_else(|| value.to_string(), |name| (*name).to_owned())
    }

    fn wrong(&self, item: &str, remedy: &str) -> CronError {
        CronError(format!("cron 的“{}”一段看不懂“{item}”；{remedy}", self.title))
    }
}
