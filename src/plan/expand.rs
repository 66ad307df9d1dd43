//! Rules to moments, and the filters that make a moment no occurrence at all.
//!
//! Works on whole local days and on light [`Moment`]s; only what lies in the window asked for becomes an
//! [`super::Occurrence`], with its texts, at the very end.

use super::{Program, Verdict, pick::Choice, subject::Subject};
use crate::schedule::{During, Rule, When};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use std::ops::{Range, RangeInclusive};

/// The longest grace that counts: a day later it is another day's moment. It also bounds how far ahead the fate of a
/// moment may depend on others.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// One announcement at one moment, before it is worth its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub due: Timestamp,
    /// Index into the subjects, which stand in the order in which equal moments take their turn.
    pub subject: usize,
    pub local: DateTime,
    /// When its sound is planned to begin.
    pub start: Timestamp,
    pub enabled: bool,
    pub grace: SignedDuration,
    pub hard: bool,
    pub choice: Choice,
    pub expected: SignedDuration,
    pub verdict: Verdict,
}

impl Moment {
    /// Returns when its sound is planned to end.
    pub fn end(&self) -> Timestamp {
        self.start.saturating_add(self.expected).unwrap_or(Timestamp::MAX)
    }
}

/// Returns the instant of a local wall time: the only crossing. A time skipped by a clock change moves to the first
/// instant after the gap; a repeated time is the first of the two. A later wall time never gives an earlier instant.
pub fn instant(zone: &TimeZone, local: DateTime) -> Timestamp {
    let nearest = if local < DateTime::ZERO { Timestamp::MIN } else { Timestamp::MAX };
    let with = |offset: Offset| offset.to_timestamp(local).unwrap_or(nearest);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => with(offset),
        AmbiguousOffset::Fold { before, .. } => with(before),
        AmbiguousOffset::Gap { before, after } => {
            let (early, late) = (with(after), with(before));
            zone.following(early)
                .map(|change| (change.timestamp(), change.offset()))
                .take_while(|(at, _)| *at <= late)
                .find(|(_, offset)| *offset == after)
                .map_or(late, |(at, _)| at)
        }
    }
}

/// Crosses from wall time to instants, quickly where no clock change is near.
struct Crossing<'a> {
    zone: &'a TimeZone,
    offset: Offset,
    /// Far enough from any clock change that `offset` alone decides.
    steady: Range<Timestamp>,
}

impl<'a> Crossing<'a> {
    /// More than the widest gap or fold of any zone, a whole day in Samoa.
    const BERTH: SignedDuration = SignedDuration::from_hours(26);

    fn new(zone: &'a TimeZone) -> Self {
        Self { zone, offset: Offset::UTC, steady: Timestamp::MIN..Timestamp::MIN }
    }

    fn instant(&mut self, local: DateTime) -> Timestamp {
        if let Ok(at) = self.offset.to_timestamp(local)
            && self.steady.contains(&at)
        {
            return at;
        }
        let at = instant(self.zone, local);
        let bound = |change: Option<Timestamp>, berth: SignedDuration, none: Timestamp| {
            change.map_or(none, |change| change.saturating_add(berth).unwrap_or(none))
        };
        // `preceding` leaves out a change at the very instant.
        let next = at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(at);
        let before = self.zone.preceding(next).next().map(|change| change.timestamp());
        let after = self.zone.following(at).next().map(|change| change.timestamp());
        self.offset = self.zone.to_offset(at);
        self.steady = bound(before, Self::BERTH, Timestamp::MIN)..bound(after, -Self::BERTH, Timestamp::MAX);
        at
    }
}

/// Returns every moment whose own date is in `days`, in order of (due, subject), each once. `at_most` bounds what one
/// rule gives, for those who only want to know whether it is too much.
pub(super) fn expand(
    program: &Program,
    subjects: &[Subject],
    days: RangeInclusive<Date>,
    at_most: usize,
) -> Vec<Moment> {
    let mut crossing = Crossing::new(&program.zone);
    let mut moments = Vec::new();
    // A window that crosses midnight belongs to the day on which it starts.
    let eve = days.start().saturating_sub(1.day());
    let sets = DaySets::of(subjects);
    let order = |moment: &Moment| (moment.due, moment.subject, moment.local);
    let mut sorted = 0;
    let mut given = vec![0; subjects.iter().map(|subject| subject.rules.len()).sum()];
    for day in eve.series(1.day()).take_while(|day| day <= days.end()) {
        let holds = sets.holds(program, day);
        let mut ordinal = 0;
        for (index, subject) in subjects.iter().enumerate() {
            for rule in &subject.rules {
                let (set, given) = (sets.of_rule[ordinal], &mut given[ordinal]);
                ordinal += 1;
                if !holds[set] || rule.except.contains(&day) || !subject.is_current(day) {
                    continue;
                }
                let enabled = subject.enabled && rule.enabled;
                let grace = counted_grace(rule);
                moments_on(rule, day, |local| {
                    if *given < at_most && days.contains(&local.date()) && passes(program, rule, local) {
                        *given += 1;
                        let due = crossing.instant(local);
                        moments.push(Moment {
                            due,
                            subject: index,
                            local,
                            start: due,
                            enabled,
                            grace,
                            hard: rule.hard,
                            choice: Choice::Nothing,
                            expected: SignedDuration::ZERO,
                            verdict: Verdict::Play,
                        });
                    }
                    *given < at_most
                });
            }
        }
        // A day at a time is quick; what is left for the end is to see that all is in order.
        moments[sorted..].sort_by_key(order);
        sorted += moments[sorted..].partition_point(|moment| moment.local.date() <= day);
    }
    moments.sort_by_key(order);
    moments.dedup_by(|again, first| {
        let same = (again.due, again.subject) == (first.due, first.subject);
        if same {
            merge(first, again);
        }
        same
    });
    moments
}

/// The rule's grace, as far as it counts.
pub(super) fn counted_grace(rule: &Rule) -> SignedDuration {
    rule.grace.clamp(SignedDuration::ZERO, LONGEST_GRACE)
}

/// Makes one of two moments of one announcement at one instant. A rule that is switched off has no say beside one
/// that is on. Of two wall times that a clock change makes one instant, the later is the one on the clock.
fn merge(kept: &mut Moment, other: &Moment) {
    match (kept.enabled, other.enabled) {
        (true, false) => {}
        (false, true) => (kept.enabled, kept.grace, kept.hard) = (true, other.grace, other.hard),
        (true, true) | (false, false) => {
            kept.grace = kept.grace.max(other.grace);
            kept.hard |= other.hard;
        }
    }
    kept.local = kept.local.max(other.local);
}

/// The different day sets of all rules: many rules share few, and a lunar date is not free.
struct DaySets<'a> {
    sets: Vec<&'a crate::calendar::DaySet>,
    /// For each rule, in order of subject and rule.
    of_rule: Vec<usize>,
}

impl<'a> DaySets<'a> {
    fn of(subjects: &[Subject<'a>]) -> Self {
        let mut sets: Vec<&crate::calendar::DaySet> = Vec::new();
        let of_rule = subjects
            .iter()
            .flat_map(|subject| &subject.rules)
            .map(|rule| {
                sets.iter().position(|set| **set == rule.on).unwrap_or_else(|| {
                    sets.push(&rule.on);
                    sets.len() - 1
                })
            })
            .collect();
        Self { sets, of_rule }
    }

    fn holds(&self, program: &Program, day: Date) -> Vec<bool> {
        self.sets.iter().map(|set| set.contains(&program.calendar, day)).collect()
    }
}

/// Hands the moments that `rule` gives for `day` to `take`, until it wants no more. They may lie on the next date where
/// `between` crosses midnight.
fn moments_on(rule: &Rule, day: Date, mut take: impl FnMut(DateTime) -> bool) {
    match &rule.when {
        When::At(times) => {
            let _ = times.iter().all(|time| take(day.to_datetime(*time)));
        }
        When::Cron(line) => {
            let _ = line.on(day).into_iter().all(take);
        }
        When::Every { period, between } => {
            let period = (*period).max(SignedDuration::from_secs(1));
            let (start, end) = match between {
                Some(window) => window.on(day),
                None => (day.to_datetime(Time::midnight()), day.saturating_add(1.day()).to_datetime(Time::midnight())),
            };
            let mut moment = start;
            while moment < end && take(moment) {
                match moment.checked_add(period) {
                    Ok(next) => moment = next,
                    Err(_) => break,
                }
            }
        }
    }
}

/// Returns whether `during` lets the moment pass.
fn passes(program: &Program, rule: &Rule, local: DateTime) -> bool {
    match &rule.during {
        None => true,
        Some(During::WorkingHours) => program.hours.is_working(&program.calendar, local),
        Some(During::AfterHours) => program.hours.is_after_hours(&program.calendar, local),
        Some(During::Windows(windows)) => windows.iter().any(|window| window.holding(local).is_some()),
    }
}
