//! What falls due in a window of time, in order, and what is left out with its reason.
//!
//! [`plan`] is pure and answers for any window at any time, so the page, `dalaba plan`, the daemon and the assessment
//! read one truth. It computes from whole days before the window and cuts last, so adjoining windows equal one.
//!
//! Not here: what really happened ([`crate::conductor`], [`crate::entry`]).

mod clash;
mod clips;
mod expand;
mod limits;
mod occurrence;

pub use clips::{Clip, ClipState, Clips, RATE};
pub use expand::instant;
pub use occurrence::{Occurrence, OccurrenceId, Verdict};

use crate::{
    calendar::{Calendar, Hours},
    schedule::Schedule,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::ops::Range;

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
pub fn plan(program: &Program, window: Range<Timestamp>) -> Plan {
    let mut occurrences = expand::expand(program, &window);
    limits::apply(program, &mut occurrences);
    clash::settle(&mut occurrences);
    occurrences.retain(|occurrence| window.contains(&occurrence.due));
    Plan { occurrences }
}
