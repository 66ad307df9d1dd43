//! What a station last said of itself, as the pages show it.
//!
//! The document is kept as it came, and a newer program may say more or less in it: what is not understood is left out, and
//! nothing in it is believed to be short.

use crate::{
    link::protocol::{ClockReport, InForce, Rejected, Reported},
    schedule::Source,
    text::Said,
    trust::ClockState,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// The longest text that is shown of what a station says, in characters.
const LONGEST: usize = 300;
/// As many of a list.
const MOST: usize = 20;
/// A clock that is so far from the office's is wrong, in milliseconds.
const CLOCK_OFF_MS: i64 = 30_000;
/// So much of a disk is little, in MB.
const DISK_MB: u64 = 1_000;

/// A station's last word of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// When it came.
    pub at: Timestamp,
    /// The plan of the office that is in force; none before the first.
    pub in_force: Option<u64>,
    /// A plan that waits for its sounds, and how many are missing.
    pub fetching: Option<(u64, usize)>,
    /// The clock; none where nothing was said of it.
    pub clock: ClockReport,
    /// Documents that were refused, newest first.
    pub rejected: Vec<Rejected>,
    /// What is wrong, in the station's words.
    pub faults: Vec<Said>,
    /// The output that is open; none where there is none.
    pub device: Option<String>,
    /// Free on the disk.
    pub disk_free_mb: Option<u64>,
    /// In percent.
    pub volume: Option<u64>,
    /// The program's.
    pub version: Option<String>,
    /// What sounds.
    pub playing: Vec<String>,
    /// The last row of its journal, and how far it knows that the office has it.
    pub journal: Option<i64>,
    pub acked: i64,
}

impl Report {
    /// Reads what came; none where it is nothing that this program understands.
    pub fn read(document: &str, at: Timestamp) -> Option<Self> {
        Some(Self::of(serde_json::from_str(document).ok()?, at))
    }

    /// Makes what a station reported into what is shown.
    pub fn of(reported: Reported, at: Timestamp) -> Self {
        let ours = |plan: &&InForce| plan.source != Source::Station;
        let facts = &reported.facts;
        let mut rejected = reported.rejected;
        rejected.reverse();
        rejected.truncate(MOST);
        Self {
            at,
            in_force: reported.in_force.iter().filter(ours).map(|plan| plan.revision).max(),
            fetching: reported
                .fetching
                .iter()
                .filter(|(plan, _)| ours(&plan))
                .map(|(plan, missing)| (plan.revision, *missing))
                .max(),
            clock: reported.clock,
            rejected,
            faults: list(&facts["faults"], said),
            device: text(&facts["device"]),
            disk_free_mb: facts["disk_free"].as_u64().map(|bytes| bytes / 1_000_000),
            volume: facts["volume"].as_u64(),
            version: text(&facts["version"]),
            playing: list(&facts["playing"], |one| text(one).or_else(|| text(&one["title"]))),
            journal: reported.journal.map(|(_, last)| last),
            acked: reported.acked,
        }
    }

    /// Returns whether its clock is not to be relied on.
    pub fn doubts_clock(&self) -> bool {
        match self.clock.state {
            ClockState::Untrusted => true,
            ClockState::Plausible | ClockState::Confirmed => self.is_apart(),
            ClockState::Trusted => false,
        }
    }

    /// Returns whether it is the office's clock that is not to be relied on: the network keeps the station's right.
    pub fn doubts_office_clock(&self) -> bool {
        self.clock.state == ClockState::Trusted && self.is_apart()
    }

    fn is_apart(&self) -> bool {
        self.clock.offset_ms.is_some_and(|offset| offset.unsigned_abs() > CLOCK_OFF_MS.unsigned_abs())
    }

    /// Returns whether its disk is nearly full.
    pub fn is_short_of_disk(&self) -> bool {
        self.disk_free_mb.is_some_and(|free| free < DISK_MB)
    }

    /// Returns how many rows of its journal are still on their way.
    pub fn rows_to_come(&self) -> i64 {
        self.journal.map_or(0, |last| last.saturating_sub(self.acked).max(0))
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.chars().take(LONGEST).collect())
}

/// A sentence in both languages, or in the one that there is.
fn said(value: &Value) -> Option<Said> {
    let same = text(value).map(|text| Said::new(text.clone(), text));
    same.or_else(|| Some(Said::new(text(&value["zh"])?, text(&value["en"])?)))
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(read).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reported(facts: &Value) -> String {
        json!({
            "sequence": 7, "root": 1, "generation": 1,
            "in_force": [{ "source": "station", "revision": 900 }, { "source": "town", "revision": 12 }],
            "fetching": [[{ "source": "town", "revision": 13 }, 2]],
            "journal": ["a-1", 40], "acked": 38,
            "clock": { "state": "trusted", "offset_ms": -31_000 },
            "rejected": [
                { "kind": null, "sha256": "00".repeat(32), "at": 1, "why": { "reason": "not-for-this-station" } },
                { "kind": null, "sha256": "11".repeat(32), "at": 2, "why": { "reason": "from-the-future" } },
            ],
            "facts": facts,
        })
        .to_string()
    }

    #[test]
    fn of_two_clocks_that_differ_the_one_that_the_network_keeps_is_right() {
        for (state, offset, station, office) in [
            ("trusted", -31_000, false, true),
            ("trusted", 29_000, false, false),
            ("plausible", 31_000, true, false),
            ("plausible", 29_000, false, false),
            ("untrusted", 0, true, false),
        ] {
            let mut reported: Value = serde_json::from_str(&reported(&Value::Null)).unwrap();
            reported["clock"] = json!({ "state": state, "offset_ms": offset });
            let report = Report::read(&reported.to_string(), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!((report.doubts_clock(), report.doubts_office_clock()), (station, office), "{state} {offset}");
        }
    }

    #[test]
    fn what_a_station_says_is_read_whatever_it_leaves_out() {
        let long = "长".repeat(10_000);
        for (facts, faults, device) in [
            (Value::Null, vec![], None),
            (json!("nonsense"), vec![], None),
            (json!({ "faults": 7, "device": ["x"] }), vec![], None),
            (
                json!({ "faults": ["声卡没了", { "zh": "磁盘", "en": "disk" }, 7], "device": "pulse" }),
                vec!["声卡没了".to_owned(), "磁盘".into()],
                Some("pulse".to_owned()),
            ),
            (json!({ "faults": [long], "device": null }), vec!["长".repeat(LONGEST)], None),
        ] {
            let report = Report::read(&reported(&facts), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(report.faults.iter().map(|said| said.zh.clone()).collect::<Vec<_>>(), faults);
            assert_eq!(report.device, device);
            assert_eq!((report.in_force, report.fetching, report.rows_to_come()), (Some(12), Some((13, 2)), 2));
            assert_eq!(report.rejected.len(), 2);
            assert!(report.rejected[0].sha256 > report.rejected[1].sha256, "newest first");
        }
        assert_eq!(Report::read("{}", Timestamp::UNIX_EPOCH), None);
        assert_eq!(Report::read("<html>", Timestamp::UNIX_EPOCH), None);
    }
}
