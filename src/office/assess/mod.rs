//! 考评: what the journals of a month come to, for each station, each group, and all.
//!
//! Pure: [`assess`] takes what the store holds of each station, and the time; the definitions of every number are in
//! [`definitions`] and are printed with every report.
//!
//! Always true: 应播 = 已播 + 免责 + 责任 = 已播 + 部分 + 漏播, and 已播 = 准点 + 补播; a day of which nothing is known is no good day.
//!
//! Not here: where the numbers are stored ([`crate::office::store`]), how a page shows them.

mod class;
mod count;
pub mod definitions;
pub mod evidence;
mod month;
mod online;
pub mod xlsx;

pub use class::Class;
pub use count::{ByReason, Numbers, Tally, by_reason};
pub use month::{Month, NoMonth, days};
pub use online::Presence;

use crate::{
    link::{GroupName, StationId},
    plan::instant,
    text::Language,
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// A station, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Which.
    pub id: StationId,
    /// What people call it.
    pub name: String,
    /// Groups that the office made.
    pub groups: BTreeSet<GroupName>,
    /// When it was taken in.
    pub confirmed: Timestamp,
    /// When it was trusted no longer.
    pub revoked: Option<Timestamp>,
    /// The last word from it.
    pub heard: Option<Timestamp>,
    /// A watch of it is open.
    pub up: bool,
}

/// Days from the first to the last, both within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Date,
    /// The last.
    pub last: Date,
}

impl Span {
    /// Returns whether a day lies within.
    pub fn contains(&self, day: Date) -> bool {
        self.first <= day && day <= self.last
    }
}

/// Returns the days of a month that count for a station: from the day it was taken in to the day it was trusted no
/// longer, and none that has not come yet. None where no day does.
pub fn counted(subject: &Subject, month: Month, now: Timestamp, zone: &TimeZone) -> Option<Span> {
    let day = |at: Timestamp| at.to_zoned_datetime(zone.clone()).date();
    let first = month.first().max(day(subject.confirmed));
    let last = month.last().min(subject.revoked.map_or(month.last(), day)).min(day(now));
    (first <= last).then_some(Span { first, last })
}

/// What is known of a station in the days that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub subject: Subject,
    /// The days that count.
    pub counted: Span,
    /// What became of its announcements, of those days.
    pub tallies: Vec<Tally>,
    /// Days with a record.
    pub dates: BTreeSet<Date>,
    /// From the first to the last day of each of its journals, as far as it came.
    pub journals: Vec<Span>,
    /// Its coming and going.
    pub presence: Presence,
}

/// How a day is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayState {
    /// There is a record.
    Recorded,
    /// There is none, and the journal goes on behind it: nothing was planned.
    Unplanned,
    /// 无记录
    Silent,
    /// It is not over.
    Running,
}

impl Unplaced {
    /// In the words of a clerk.
    pub fn zh(self) -> &'static str {
        match self {
            Self::Excused => "免责过半，须核实",
            Self::Unplanned => "没有应播",
            Self::Silent => "整月无记录",
            Self::Revoked => "已注销",
        }
    }

    /// The same in the language of whoever reads.
    pub fn said(self, language: Language) -> &'static str {
        let english = match self {
            Self::Excused => "more than half excused: look at it",
            Self::Unplanned => "nothing planned",
            Self::Silent => "no record at all",
            Self::Revoked => "revoked",
        };
        language.pick(self.zh(), english)
    }
}

impl Record {
    /// Returns how a day is on record, seen from `today`.
    pub fn state(&self, day: Date, today: Date) -> DayState {
        if day >= today {
            DayState::Running
        } else if self.dates.contains(&day) {
            DayState::Recorded
        } else if self.journals.iter().any(|span| span.contains(day)) {
            DayState::Unplanned
        } else {
            DayState::Silent
        }
    }

    fn numbers(&self, now: Timestamp, zone: &TimeZone) -> Numbers {
        let mut numbers = Numbers::default();
        self.tallies.iter().for_each(|tally| numbers.add(tally));
        let today = now.to_zoned_datetime(zone.clone()).date();
        for day in days(self.counted.first, self.counted.last) {
            let of_this_state = match self.state(day, today) {
                DayState::Running => continue,
                DayState::Recorded => &mut numbers.recorded,
                DayState::Unplanned => &mut numbers.unplanned,
                DayState::Silent => &mut numbers.silent,
            };
            *of_this_state += 1;
            numbers.days += 1;
        }
        let period = self.period(now, zone);
        numbers.known_ms = (period.end.as_millisecond() - period.start.as_millisecond()).max(0);
        let known = if self.subject.up { now } else { self.subject.heard.unwrap_or(period.start) };
        numbers.online_ms = self.presence.online_ms(&period, known);
        numbers
    }

    /// The time that counts, until now.
    fn period(&self, now: Timestamp, zone: &TimeZone) -> Range<Timestamp> {
        let midnight = |day: Date| instant(zone, day.at(0, 0, 0, 0));
        let start = midnight(self.counted.first).max(self.subject.confirmed);
        let end = midnight(self.counted.last.saturating_add(1.day()));
        start..end.min(self.subject.revoked.unwrap_or(end)).min(now)
    }
}

/// Why a station has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unplaced {
    /// More than half of what was planned is excused: people have to look at it.
    Excused,
    /// Nothing was planned.
    Unplanned,
    /// 无记录: there is not one day of which anything is known.
    Silent,
    /// It is trusted no longer.
    Revoked,
}

/// A station in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// Its groups.
    pub groups: BTreeSet<GroupName>,
    /// The first day that counts.
    pub first: Date,
    /// The last day that counts.
    pub last: Date,
    /// What it comes to.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// What was not played in full, and why.
    pub reasons: Vec<ByReason>,
    /// 得分; none where nothing was owed.
    pub score: Option<f64>,
    /// From 1; equal scores share a place.
    pub place: Option<u32>,
    /// Why it has no place.
    pub unplaced: Option<Unplaced>,
}

/// A group in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRow {
    /// Which; none for the stations that are in no group.
    pub group: Option<GroupName>,
    /// How many stations of it count.
    pub stations: usize,
    /// What they come to.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// 考评 of a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// Which month.
    pub month: Month,
    /// As things stood then.
    pub at: Timestamp,
    /// The month is not over.
    pub is_running: bool,
    /// All stations together.
    pub total: Numbers,
    /// What was not played in full, and why.
    pub reasons: Vec<ByReason>,
    /// By place; those without one behind, by name.
    pub stations: Vec<Row>,
    /// By name; those in no group last.
    pub groups: Vec<GroupRow>,
}

/// Returns what the records of a month come to.
pub fn assess(month: Month, records: &[Record], now: Timestamp, zone: &TimeZone) -> Assessment {
    let mut stations: Vec<_> = records.iter().map(|record| row(record, now, zone)).collect();
    stations.sort_by(|one, other| {
        let order = |row: &Row| (row.unplaced, Reverse(row.score.map(Score)));
        order(one).cmp(&order(other)).then_with(|| (&one.name, &one.station).cmp(&(&other.name, &other.station)))
    });
    let mut last: Option<(u32, Option<f64>)> = None;
    for (position, row) in (1..).zip(&mut stations) {
        if row.unplaced.is_none() {
            let place = last.filter(|(_, score)| *score == row.score).map_or(position, |(place, _)| place);
            row.place = Some(place);
            last = Some((place, row.score));
        }
    }
    let mut total = Numbers::default();
    let mut groups: BTreeMap<(bool, Option<GroupName>), (usize, Numbers)> = BTreeMap::new();
    for row in &stations {
        total += row.numbers;
        let mut within: Vec<_> = row.groups.iter().cloned().map(Some).collect();
        if within.is_empty() {
            within.push(None);
        }
        for group in within {
            let (count, numbers) = groups.entry((group.is_none(), group)).or_default();
            *count += 1;
            *numbers += row.numbers;
        }
    }
    let group = |((_, group), (stations, numbers))| GroupRow { group, stations, numbers };
    Assessment {
        month,
        at: now,
        is_running: now.to_zoned_datetime(zone.clone()).date() <= month.last(),
        total,
        reasons: by_reason(records.iter().flat_map(|record| &record.tallies)),
        stations,
        groups: groups.into_iter().map(group).collect(),
    }
}

fn row(record: &Record, now: Timestamp, zone: &TimeZone) -> Row {
    let numbers = record.numbers(now, zone);
    let Subject { id, name, groups, revoked, .. } = record.subject.clone();
    let unplaced = if revoked.is_some() {
        Some(Unplaced::Revoked)
    } else if numbers.planned == 0 {
        let nothing_known = numbers.silent > 0 && numbers.silent == numbers.days;
        Some(if nothing_known { Unplaced::Silent } else { Unplaced::Unplanned })
    } else {
        (numbers.excused * 2 > numbers.planned).then_some(Unplaced::Excused)
    };
    Row {
        station: id,
        name,
        groups,
        first: record.counted.first,
        last: record.counted.last,
        numbers,
        reasons: by_reason(&record.tallies),
        score: numbers.score(),
        place: None,
        unplaced,
    }
}

/// A score by its size.
#[derive(PartialEq)]
struct Score(f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
pub(in crate::office) mod tests;
