//! Rules to moments, and the filters that make a moment no occurrence at all.

use super::{Occurrence, Program};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use std::ops::Range;

/// Returns the instant of a local wall time: the only crossing. A time skipped by a clock change moves to the first
/// instant after the gap; a repeated time is the first of the two.
pub fn instant(zone: &TimeZone, local: DateTime) -> Timestamp {
    todo!("{zone:?} {local}")
}

pub(super) fn expand(program: &Program, window: &Range<Timestamp>) -> Vec<Occurrence> {
    todo!("{program:?} {window:?}")
}
