//! Settles overlaps: who goes first, who is left out, and why.
//!
//! There are two lanes: `background`, and everything above it. Sounds meet only within a lane, since background goes on
//! under `normal` and `urgent`. In a lane a higher band cuts a lower; an equal or lower one waits within its grace and
//! then starts at the end of what it waited for, or is left out as `overlap`; `hard` cuts its own band at the moment
//! it falls due, and has no power over what starts at that very moment. Whoever has waited longest goes first within a
//! band. One whose wait would carry it into quiet hours is left out as `quiet-hours`. What has no sound (its clips are
//! missing or not prepared) meets nobody.
//!
//! **How far back must one look?** A chain of waiting can be long, so each day is settled from an *anchor*: of the days whose
//! number since 1970-01-01 is a multiple of [`STRIDE`], the last that lies [`SETTLING`] days before it. The fate of
//! a moment is thus a function of its day and never of the window asked for, and adjoining windows equal one. The anchor
//! is seldom visited: where silence is certain, since no sound could reach there even if each started as late as its
//! grace allows, nothing before matters, and [`is_silent_before`] finds that out from the last few days.

use super::{Moment, Verdict, limits::QuietSpans, subject::Subject};
use crate::{outcome::Reason, schedule::Band};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};

/// Days from one anchor to the next.
const STRIDE: i64 = 32;

/// Days that an anchor lies before a day at least: enough for a chain begun in its midst to find its step.
pub(super) const SETTLING: i64 = 3;

/// Days after a day that may decide what sounds on it: one waits through its grace, a day at most, and a day may be short.
pub(super) const LOOK_AHEAD: i64 = 2;

/// Returns the day from which `day` is settled.
pub(super) fn anchor(day: Date) -> Date {
    let number = super::days_since_1970(day) - SETTLING;
    day.saturating_sub((SETTLING + number.rem_euclid(STRIDE)).days())
}

/// Settles `moments`, whole days in order.
pub(super) fn settle(subjects: &[Subject], quiet: &QuietSpans, moments: &mut [Moment]) {
    let day = |moment: &Moment| moment.local.date();
    let mut settled = Vec::with_capacity(moments.len());
    let mut from = 0;
    while let Some(anchor) = moments.get(from).map(|moment| anchor(day(moment))) {
        let to = from + moments[from..].partition_point(|moment| self::anchor(day(moment)) == anchor);
        let horizon = day(&moments[to - 1]).saturating_add(LOOK_AHEAD.days());
        let start = moments.partition_point(|moment| day(moment) < anchor);
        let end = moments.partition_point(|moment| day(moment) <= horizon);
        for background in [false, true] {
            let mut sounds: Vec<Sound> = lane(subjects, &moments[start..end], background).collect();
            Lane::run(quiet, &mut sounds);
            let todays = sounds.iter().filter(|sound| (from..to).contains(&(start + sound.at)));
            settled.extend(todays.map(|sound| (start + sound.at, sound.start, sound.verdict)));
        }
        from = to;
    }
    // Only now: the days of another anchor begin from what is not settled.
    for (at, start, verdict) in settled {
        (moments[at].start, moments[at].verdict) = (start, verdict);
    }
}

/// Returns whether both lanes are certainly silent at some moment up to `until`, whatever came before `moments`, which
/// hold every moment from `since` on.
pub(super) fn is_silent_before(subjects: &[Subject], moments: &[Moment], since: Timestamp, until: Timestamp) -> bool {
    let longest = subjects.iter().map(Subject::longest_reach).max().unwrap_or_default();
    let known = since.saturating_add(longest).unwrap_or(Timestamp::MAX);
    [false, true].into_iter().all(|background| {
        let mut reach = known;
        for sound in lane(subjects, moments, background).take_while(|sound| sound.due < until) {
            if reach <= sound.due {
                return true;
            }
            reach = reach.max(sound.end(sound.deadline));
        }
        reach <= until
    })
}

/// Returns what may sound in one of the lanes.
fn lane(subjects: &[Subject], moments: &[Moment], background: bool) -> impl Iterator<Item = Sound> {
    moments
        .iter()
        .enumerate()
        .filter(|(_, moment)| moment.verdict == Verdict::Play && moment.expected.is_positive())
        .map(|(at, moment)| Sound {
            at,
            band: subjects[moment.subject].band(),
            due: moment.due,
            deadline: moment.due.saturating_add(moment.grace).unwrap_or(Timestamp::MAX),
            expected: moment.expected,
            hard: moment.hard,
            start: moment.due,
            verdict: Verdict::Play,
        })
        .filter(move |sound| (sound.band == Band::Background) == background)
}

/// What a lane needs of a moment.
#[derive(Debug)]
struct Sound {
    /// Place among the moments.
    at: usize,
    band: Band,
    due: Timestamp,
    /// The last moment at which it may start.
    deadline: Timestamp,
    expected: SignedDuration,
    hard: bool,
    start: Timestamp,
    verdict: Verdict,
}

impl Sound {
    /// Returns when it would end, started at `start`.
    fn end(&self, start: Timestamp) -> Timestamp {
        start.saturating_add(self.expected).unwrap_or(Timestamp::MAX)
    }
}

/// One lane as time passes.
struct Lane<'a> {
    quiet: &'a QuietSpans,
    sounds: &'a mut [Sound],
    /// What sounds, and until when.
    sounding: Option<(usize, Timestamp)>,
    /// What waits, in order of arrival.
    waiting: Vec<usize>,
}

impl<'a> Lane<'a> {
    fn run(quiet: &'a QuietSpans, sounds: &'a mut [Sound]) {
        let mut lane = Self { quiet, sounds, sounding: None, waiting: Vec::new() };
        let mut next = 0;
        while next < lane.sounds.len() {
            let now = lane.sounds[next].due;
            while let Some((_, end)) = lane.sounding.filter(|(_, end)| *end < now) {
                lane.release(end);
            }
            lane.sounding = lane.sounding.filter(|(_, end)| *end > now);
            while lane.sounds.get(next).is_some_and(|sound| sound.due == now) {
                lane.arrive(next, now);
                next += 1;
            }
            if lane.sounding.is_none() {
                lane.release(now);
            }
        }
        while let Some((_, end)) = lane.sounding {
            lane.release(end);
        }
    }

    fn arrive(&mut self, new: usize, now: Timestamp) {
        let Sound { band, hard, .. } = self.sounds[new];
        let starts = match self.sounding {
            Some((running, _)) => {
                let running = &self.sounds[running];
                band > running.band || (hard && band == running.band && running.start < now)
            }
            None => {
                // Something has just ended, and others wait for it.
                !self.waiting.iter().map(|&waiter| &self.sounds[waiter]).any(|waiter| {
                    let ahead = if hard { waiter.band > band } else { waiter.band >= band };
                    ahead && now <= waiter.deadline
                })
            }
        };
        if starts {
            self.start(new, now);
        } else {
            self.waiting.push(new);
        }
    }

    fn start(&mut self, sound: usize, now: Timestamp) {
        self.sounds[sound].start = now;
        self.sounding = Some((sound, self.sounds[sound].end(now)));
    }

    /// Falls silent at `now` and starts whoever is next.
    fn release(&mut self, now: Timestamp) {
        self.sounding = None;
        let Self { sounds, quiet, waiting, .. } = self;
        waiting.retain(|&waiter| {
            let sound = &mut sounds[waiter];
            if sound.deadline < now {
                sound.verdict = Verdict::Skip(Reason::Overlap);
            } else if quiet.touch(now, sound.end(now)) {
                sound.verdict = Verdict::Skip(Reason::QuietHours);
            }
            sound.verdict == Verdict::Play
        });
        // The first of the highest band: `max_by_key` would take the last.
        let best = waiting.iter().map(|&waiter| sounds[waiter].band).max();
        if let Some(at) = waiting.iter().position(|&waiter| Some(sounds[waiter].band) == best) {
            let waiter = waiting.remove(at);
            self.start(waiter, now);
        }
    }
}
