//! One day of a station: what was due, what became of it, what is to come, in order.
//!
//! The journal knows what happened, the plan what is to happen; where both know a moment, the journal is right.

use crate::{
    daemon::Snapshot,
    entry::{Entry, Line},
    journal::{JournalError, read::Reader},
    outcome::{Outcome, Reason},
    plan::{Program, Verdict, instant, plan},
    schedule::Band,
    text::Language,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use std::{collections::BTreeMap, ops::Range, path::Path};

/// How a moment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Played,
    Partial,
    Skipped,
    Missed,
    /// It sounds.
    Playing,
    /// It is to play.
    ToCome,
    /// It is due and waits, or nothing is known of it yet.
    Due,
    /// It will be left out, for a reason known already.
    LeftOut,
}

/// One moment of a day.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Moment {
    pub occurrence: String,
    #[serde(skip)]
    pub due: Timestamp,
    /// Local time of day.
    pub at: String,
    /// When its sound began, or is planned to: later than due if it waits for another.
    #[serde(skip)]
    pub start: Timestamp,
    pub title: String,
    pub schedule: String,
    pub announcement: String,
    pub band: Band,
    pub expected_ms: i64,
    pub state: State,
    pub reason: Option<Reason>,
    pub note: Option<String>,
}

impl Moment {
    /// Returns how it stands in words, with the reason.
    pub fn said(&self, language: Language) -> String {
        let state = match self.state {
            State::Played => Outcome::Played.said(language),
            State::Partial => Outcome::Partial.said(language),
            State::Skipped => Outcome::Skipped.said(language),
            State::Missed => Outcome::Missed.said(language),
            State::Playing => language.pick("正在播出", "playing"),
            State::ToCome => language.pick("待播", "to come"),
            State::Due => language.pick("等待", "waiting"),
            State::LeftOut => language.pick("不播", "left out"),
        };
        match self.reason {
            Some(reason) => format!("{state} · {}", reason.said(language)),
            None => state.to_owned(),
        }
    }

    /// Returns the class of its row.
    pub fn class(&self) -> &'static str {
        match self.state {
            State::Played => "played",
            State::Partial => "partial",
            State::Skipped | State::LeftOut => "skipped",
            State::Missed => "missed",
            State::Playing => "playing",
            State::ToCome | State::Due => "to-come",
        }
    }
}

/// Returns the moments of `day` from its first to its last, in the station's zone.
pub(super) fn window(zone: &TimeZone, day: Date) -> Range<Timestamp> {
    let midnight = |day: Date| instant(zone, day.to_datetime(jiff::civil::Time::midnight()));
    midnight(day)..day.tomorrow().map_or(Timestamp::MAX, midnight)
}

/// Returns what happened and what is to happen in `window`, as the daemon and the journal know it.
pub(super) async fn moments(seen: &Snapshot, window: Range<Timestamp>) -> Result<Vec<Moment>, JournalError> {
    let entries = entries(&seen.journal, window.clone()).await?;
    let playing: Vec<_> = seen.status.playing.iter().map(|one| one.occurrence.id.to_string()).collect();
    Ok(join(&seen.program, window, entries, &playing, seen.now))
}

/// Returns the entries due in `window`; none before the journal exists.
pub(super) async fn entries(journal: &Path, window: Range<Timestamp>) -> Result<Vec<Entry>, JournalError> {
    let mut entries = Vec::new();
    if journal.exists() {
        let mut reader = Reader::open(journal).await?;
        let take = |stored: crate::journal::read::Stored| {
            entries.push(serde_json::from_str::<Line>(&stored.line)?.entry);
            Ok::<_, JournalError>(())
        };
        reader.entries(window, take).await?;
    }
    Ok(entries)
}

fn join(
    program: &Program,
    window: Range<Timestamp>,
    entries: Vec<Entry>,
    playing: &[String],
    now: Timestamp,
) -> Vec<Moment> {
    let at = |due: Timestamp| due.to_zoned_datetime(program.zone.clone()).strftime("%H:%M:%S").to_string();
    let mut found = BTreeMap::new();
    for entry in entries {
        let state = match entry.outcome {
            Outcome::Played => State::Played,
            Outcome::Partial => State::Partial,
            Outcome::Skipped => State::Skipped,
            Outcome::Missed => State::Missed,
        };
        let moment = Moment {
            occurrence: entry.occurrence.to_string(),
            due: entry.due,
            at: at(entry.due),
            start: entry.started.unwrap_or(entry.due),
            title: entry.title,
            schedule: entry.schedule,
            announcement: entry.announcement,
            band: entry.band,
            expected_ms: entry.expected_ms,
            state,
            reason: entry.reason,
            note: entry.note,
        };
        found.insert((moment.due, moment.occurrence.clone()), moment);
    }
    for occurrence in plan(program, window).occurrences {
        let id = occurrence.id.to_string();
        // What is past and not on record was not owed: it came with a version that took effect later.
        let is_playing = playing.contains(&id);
        let (state, reason) = match occurrence.verdict {
            _ if is_playing => (State::Playing, None),
            Verdict::Skip(reason) if occurrence.due > now => (State::LeftOut, Some(reason)),
            Verdict::Play if occurrence.due > now => (State::ToCome, None),
            Verdict::Play if occurrence.due.saturating_add(occurrence.grace).is_ok_and(|late| late > now) => {
                (State::Due, None)
            }
            _ => continue,
        };
        let moment = Moment {
            at: at(occurrence.due),
            start: occurrence.start,
            due: occurrence.due,
            title: occurrence.title,
            schedule: occurrence.schedule,
            announcement: occurrence.announcement,
            band: occurrence.band,
            expected_ms: i64::try_from(occurrence.expected.as_millis()).unwrap_or(i64::MAX),
            state,
            reason,
            note: None,
            occurrence: id.clone(),
        };
        found.entry((occurrence.due, id)).or_insert(moment);
    }
    found.into_values().collect()
}
