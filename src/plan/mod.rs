//! What falls due in a window of time, in order, and what is left out with its reason.
//!
//! [`plan`] is pure and answers for any window at any time, so the page, `dalaba plan`, the daemon and the assessment
//! read one truth. It computes from whole days before the window and cuts last, so adjoining windows equal one.
//!
//! Not here: what really happened ([`crate::conductor`], [`crate::entry`]).

mod clash;
mod clips;
pub mod difference;
mod expand;
mod limits;
mod line;
mod occurrence;
mod pick;
mod subject;
#[cfg(test)]
mod tests;

pub use clips::{Clip, ClipState, Clips, RATE};
pub use expand::instant;
pub use line::{Line, rfc3339};
pub use occurrence::{Occurrence, OccurrenceId, Verdict};

use crate::{
    calendar::{Calendar, Hours},
    schedule::Schedule,
};
use expand::Moment;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time},
    tz::TimeZone,
};
use limits::QuietSpans;
use std::ops::{Range, RangeInclusive};
use subject::Subject;

/// More occurrences than this in a day are refused with the schedule that asks for them ([`crowded_days`]).
pub const DAILY_OCCURRENCES: usize = 500;

/// Everything that decides what a station plays: one version of it, in force from one moment to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The station's named zone, never the operating system's.
    pub zone: TimeZone,
    /// Sorted by (source, name).
    pub schedules: Vec<Schedule>,
    /// What each date is.
    pub calendar: Calendar,
    /// Quiet and working hours, the daily limit.
    pub hours: Hours,
    /// Days on which nothing scheduled sounds here: every moment is `skipped(cancelled)`.
    pub closed: Vec<Date>,
    /// What is in `audio/` and what became of it.
    pub clips: Clips,
}

/// The occurrences of a window, in order of (due, band from high to low, source from high to low, id).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To play or to skip.
    pub occurrences: Vec<Occurrence>,
}

/// Returns what falls due in `window`, which is half open.
///
/// A program that asks for more than [`DAILY_OCCURRENCES`] is planned all the same: refuse it before.
pub fn plan(program: &Program, window: Range<Timestamp>) -> Plan {
    if window.is_empty() {
        return Plan::default();
    }
    let date = |at: Timestamp| program.zone.to_datetime(at).date();
    // A wall time that a clock change skips may fall due on the date after its own.
    let first = date(window.start).saturating_sub(1.day());
    let last = date(window.end).saturating_add(clash::LOOK_AHEAD.days());
    let near = first.saturating_sub(clash::SETTLING.days());
    let mut subjects = Subject::all(program);
    let midnight = |day: Date| instant(&program.zone, day.to_datetime(Time::midnight()));
    let (mut quiet, mut moments) = limited(program, &mut subjects, near..=last);
    if !clash::is_silent_before(&subjects, &moments, midnight(near), midnight(first)) {
        (quiet, moments) = limited(program, &mut subjects, clash::anchor(first)..=last);
    }
    clash::settle(&subjects, &quiet, &mut moments);
    moments.retain(|moment| window.contains(&moment.due));
    let occurrences = moments.iter().map(|moment| subjects[moment.subject].occurrence(moment)).collect();
    Plan { occurrences }
}

/// Returns the moments of whole days with their clips, as the limits leave them, and the quiet hours around them.
fn limited(program: &Program, subjects: &mut [Subject], days: RangeInclusive<Date>) -> (QuietSpans, Vec<Moment>) {
    let quiet = QuietSpans::of(program, &days);
    let mut moments = expand::expand(program, subjects, days, usize::MAX);
    subject::fill(program, subjects, &mut moments);
    limits::apply(program, subjects, &quiet, &mut moments);
    (quiet, moments)
}

/// Returns the next `count` occurrences that are to play, due from `from` on, as far as `horizon_days` reaches. It plans
/// as little of the time ahead as it can.
pub fn upcoming(program: &Program, from: Timestamp, count: usize, horizon_days: u16) -> Vec<Occurrence> {
    let hours = |days: u16| (i64::from(days) * 24).hours();
    let horizon = from.saturating_add(hours(horizon_days)).unwrap_or(Timestamp::MAX);
    let (mut start, mut days) = (from, 1_u16);
    let mut found = Vec::new();
    while found.len() < count && start < horizon {
        let end = start.saturating_add(hours(days)).unwrap_or(Timestamp::MAX).min(horizon);
        let planned = plan(program, start..end).occurrences;
        found.extend(planned.into_iter().filter(|occurrence| occurrence.verdict == Verdict::Play));
        (start, days) = (end, days.saturating_mul(4));
    }
    found.truncate(count);
    found
}

/// Returns the dates in `days` with more than [`DAILY_OCCURRENCES`], skipped ones included. Its work stays bounded
/// whatever the rules ask for.
pub fn crowded_days(program: &Program, days: Range<Date>) -> Vec<Date> {
    let subjects = Subject::all(program);
    let crowded =
        |day: &Date| expand::expand(program, &subjects, *day..=*day, DAILY_OCCURRENCES + 1).len() > DAILY_OCCURRENCES;
    days.start.series(1.day()).take_while(|day| *day < days.end).filter(crowded).collect()
}

fn days_since_1970(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24
}
