//! Quiet hours and the daily limit.

use super::{Moment, Program, Verdict, expand::instant, subject::Subject};
use crate::{outcome::Reason, schedule::Band};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use std::ops::RangeInclusive;

/// The quiet hours of some days as instants, in order, none touching another.
#[derive(Debug)]
pub(super) struct QuietSpans(Vec<(Timestamp, Timestamp)>);

impl QuietSpans {
    /// Returns the quiet hours that may matter to a moment of `days`.
    pub fn of(program: &Program, days: &RangeInclusive<Date>) -> Self {
        let (first, last) = (days.start().saturating_sub(2.days()), days.end().saturating_add(2.days()));
        let mut spans: Vec<_> = first
            .series(1.day())
            .take_while(|day| *day <= last)
            .flat_map(|day| program.hours.quiet.iter().map(move |window| window.on(day)))
            .map(|(open, close)| (instant(&program.zone, open), last_instant(&program.zone, close)))
            .collect();
        spans.sort_unstable();
        spans.dedup_by(|next, span| {
            let joined = next.0 <= span.1;
            if joined {
                span.1 = span.1.max(next.1);
            }
            joined
        });
        Self(spans)
    }

    /// Returns whether a sound from `start` to `end` would start in quiet hours, end in them or span them. One that ends
    /// as they begin is just in time.
    pub fn touch(&self, start: Timestamp, end: Timestamp) -> bool {
        let next = self.0.partition_point(|(_, close)| *close <= start);
        self.0.get(next).is_some_and(|(open, _)| *open <= start || *open < end)
    }
}

/// Quiet hours that end in a repeated hour end the second time.
fn last_instant(zone: &TimeZone, local: DateTime) -> Timestamp {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { after, .. } => after.to_timestamp(local).unwrap_or(Timestamp::MAX),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => instant(zone, local),
    }
}

/// Leaves out what quiet hours and the daily limit leave out. `moments` holds whole days, in order. What is left out
/// takes nothing of the day's time; what plays takes its expected length, whatever becomes of it later.
pub(super) fn apply(program: &Program, subjects: &[Subject], quiet: &QuietSpans, moments: &mut [Moment]) {
    let mut day = Date::MIN;
    let mut sounded = SignedDuration::ZERO;
    for moment in moments.iter_mut().filter(|moment| moment.verdict == Verdict::Play) {
        if quiet.touch(moment.due, moment.end()) {
            moment.verdict = Verdict::Skip(Reason::QuietHours);
            continue;
        }
        if subjects[moment.subject].band() > Band::Normal {
            continue;
        }
        if day != moment.local.date() {
            (day, sounded) = (moment.local.date(), SignedDuration::ZERO);
        }
        match sounded.checked_add(moment.expected) {
            Some(sum) if sum <= program.hours.daily_limit => sounded = sum,
            _ => moment.verdict = Verdict::Skip(Reason::DailyLimit),
        }
    }
}
