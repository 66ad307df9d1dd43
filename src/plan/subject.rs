//! An announcement together with the rules of its file that play it.

use super::{Moment, Occurrence, OccurrenceId, Program, Verdict, expand::counted_grace, pick::Picker};
use crate::{
    outcome::Reason,
    schedule::{Announcement, Band, Rule, Schedule},
};
use jiff::{SignedDuration, civil::Date};
use std::cmp::Reverse;

/// An announcement together with the rules of its file that play it.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    schedule: &'a Schedule,
    name: &'a str,
    announcement: &'a Announcement,
    /// At least one.
    pub rules: Vec<&'a Rule>,
    /// The file and the announcement both are.
    pub enabled: bool,
    pub picker: Picker<'a>,
}

impl<'a> Subject<'a> {
    /// Returns the announcements that some rule plays, in the order in which equal moments take their turn: band from
    /// high to low, source from high to low, then by id.
    pub fn all(program: &'a Program) -> Vec<Self> {
        let mut subjects = Vec::new();
        for schedule in &program.schedules {
            for (name, announcement) in &schedule.announcements {
                let rules: Vec<&Rule> = schedule.rules.iter().filter(|rule| rule.play == *name).collect();
                if !rules.is_empty() {
                    subjects.push(Self {
                        schedule,
                        name,
                        announcement,
                        rules,
                        enabled: schedule.enabled && announcement.enabled,
                        picker: Picker::new(&program.clips, name, announcement),
                    });
                }
            }
        }
        // The id's own order: `@` follows the name in it.
        subjects.sort_by_cached_key(|subject| {
            let id = format!("{}/{}@", subject.schedule.name, subject.name);
            (Reverse(subject.announcement.band), Reverse(subject.schedule.source), id)
        });
        subjects
    }

    /// Returns the band.
    pub fn band(&self) -> Band {
        self.announcement.band
    }

    /// Returns how long after its due one of its moments could sound at the latest.
    pub fn longest_reach(&self) -> SignedDuration {
        let grace = self.rules.iter().map(|rule| counted_grace(rule)).max().unwrap_or_default();
        self.picker.longest().saturating_add(grace)
    }

    /// Returns whether `day` is within the file's `from` and `until`.
    pub fn is_current(&self, day: Date) -> bool {
        self.schedule.from.is_none_or(|from| from <= day) && self.schedule.until.is_none_or(|until| day <= until)
    }

    /// Returns why the moment is left out before any limit, if it is. A cancelled day comes first: it says most.
    fn left_out(&self, program: &Program, moment: &Moment, any_valid: bool) -> Option<Reason> {
        let date = moment.local.date();
        let cancelled = program.closed.contains(&date)
            || self.schedule.overrides.iter().any(|over| over.date == date && over.cancels(self.name));
        if cancelled {
            Some(Reason::Cancelled)
        } else if !moment.enabled {
            Some(Reason::Disabled)
        } else if !any_valid {
            Some(Reason::ClipExpired)
        } else {
            None
        }
    }

    /// Returns the occurrence of a settled moment.
    pub fn occurrence(&self, moment: &Moment) -> Occurrence {
        let Self { schedule, name, announcement, .. } = self;
        Occurrence {
            id: OccurrenceId::scheduled(schedule.source, &schedule.name, name, moment.local),
            source: schedule.source,
            schedule: schedule.name.clone(),
            announcement: (*name).to_owned(),
            title: announcement.title.clone(),
            due: moment.due,
            local: moment.local,
            start: moment.start,
            band: announcement.band,
            chime: announcement.chime.clone(),
            clips: self.picker.paths(moment.choice, moment.local.date()),
            expected: moment.expected,
            grace: moment.grace,
            hard: moment.hard,
            volume: announcement.volume,
            screen: announcement.screen.clone(),
            verdict: moment.verdict,
        }
    }
}

/// Gives every moment its clips and its length, and leaves out what was cancelled, disabled or has expired. `moments`
/// holds whole days, in order.
pub(super) fn fill(program: &Program, subjects: &mut [Subject], moments: &mut [Moment]) {
    let mut counts = vec![(Date::MIN, 0_i64); subjects.len()];
    for moment in moments {
        let date = moment.local.date();
        let (day, count) = &mut counts[moment.subject];
        if *day != date {
            (*day, *count) = (date, 0);
        }
        let subject = &mut subjects[moment.subject];
        let any_valid = match subject.picker.choose(date, *count) {
            Some((choice, expected)) => {
                (moment.choice, moment.expected) = (choice, expected);
                true
            }
            None => false,
        };
        *count += 1;
        if let Some(reason) = subject.left_out(program, moment, any_valid) {
            moment.verdict = Verdict::Skip(reason);
        }
    }
}
