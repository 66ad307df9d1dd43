//! One occurrence as `dalaba plan`, `dalaba next` and the pages show it.

use super::{Occurrence, Verdict};
use crate::{
    outcome::Reason,
    schedule::{Band, ClipPath},
};
use jiff::{ZonedDateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// One occurrence with its times in the station's zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The occurrence's id.
    pub occurrence: String,
    /// RFC 3339, with the zone's offset.
    pub due: String,
    /// The file's stem.
    pub schedule: String,
    /// The announcement's key.
    pub announcement: String,
    /// What people call it.
    pub title: String,
    /// How pressing it is.
    pub band: Band,
    /// Paths under `audio/`, chime left out.
    pub clips: Vec<ClipPath>,
    /// Chime and clips together.
    pub expected_ms: i64,
    /// `play` or `skip`.
    pub verdict: String,
    /// None for play.
    pub reason: Option<Reason>,
}

impl Line {
    /// Returns the line of `occurrence`.
    pub fn new(occurrence: &Occurrence, zone: &TimeZone) -> Self {
        let (verdict, reason) = match occurrence.verdict {
            Verdict::Play => ("play", None),
            Verdict::Skip(reason) => ("skip", Some(reason)),
        };
        Self {
            occurrence: occurrence.id.to_string(),
            due: rfc3339(&occurrence.due.to_zoned_datetime(zone.clone())),
            schedule: occurrence.schedule.clone(),
            announcement: occurrence.announcement.clone(),
            title: occurrence.title.clone(),
            band: occurrence.band,
            clips: occurrence.clips.clone(),
            expected_ms: i64::try_from(occurrence.expected.as_millis()).unwrap_or(i64::MAX),
            verdict: verdict.to_owned(),
            reason,
        }
    }
}

/// Writes a moment as RFC 3339 with its offset: `2026-06-17T06:30:00+08:00`.
pub fn rfc3339(moment: &ZonedDateTime) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}
