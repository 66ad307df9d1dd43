//! Journals for the office to take in: what stations wrote, as batches signed with their keys.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use dalaba::{
    entry::{ClockNote, Entry, GENESIS, PlayedClip, chain, line},
    link::{
        StationId,
        journal::{Batch, MOST_ROWS},
    },
    outcome::{Evidence, Outcome, Reason},
    plan::OccurrenceId,
    schedule::{Band, Source},
    text::hex,
    trust::ClockState,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::{SignedDuration, Timestamp};

/// A station's journal, and the key that signs it.
pub struct Pen {
    pub station: StationId,
    pub key: SigningKey,
    pub epoch: String,
    pub lines: Vec<String>,
    pub hashes: Vec<String>,
}

impl Pen {
    /// An empty journal of a station. Another seed is another key.
    pub fn new(station: &str, seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let epoch = format!("{station}-{}", &hex(key.verifying_key().as_bytes())[..16]);
        let station = StationId::try_from(station.to_owned()).unwrap();
        Self { station, key, epoch, lines: Vec::new(), hashes: Vec::new() }
    }

    pub fn verifying(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// How many rows it has.
    pub fn rows(&self) -> i64 {
        self.lines.len() as i64
    }

    /// Writes one more.
    pub fn write(&mut self, entry: &Entry) {
        let prev = self.prev(self.rows() + 1);
        let line = line(entry, &self.epoch, self.rows() + 1, &prev).unwrap();
        self.hashes.push(chain(&prev, &line));
        self.lines.push(line);
    }

    /// Writes so many more, a hundred a day, one in ten of them missed.
    pub fn write_days(&mut self, rows: i64) {
        for _ in 0..rows {
            self.write(&entry(self.rows()));
        }
    }

    fn prev(&self, seq: i64) -> String {
        usize::try_from(seq - 2).map_or(GENESIS, |before| &self.hashes[before]).to_owned()
    }

    /// The batch that begins with row `from` and holds what fits.
    pub fn batch(&self, from: i64) -> Batch {
        self.batch_of(from, MOST_ROWS)
    }

    /// The batch of `rows` rows from row `from` on.
    pub fn batch_of(&self, from: i64, rows: usize) -> Batch {
        let rest = &self.lines[usize::try_from(from).unwrap() - 1..];
        Batch::of(&self.epoch, from, &self.prev(from), &rest[..rows.min(rest.len())], &self.key).unwrap()
    }
}

/// What a village's journal says at row `number`.
pub fn entry(number: i64) -> Entry {
    let first: Timestamp = "2026-06-17T00:00:00Z".parse().unwrap();
    let due = first + SignedDuration::from_secs(864 * number);
    let entry = Entry {
        occurrence: OccurrenceId::from(format!("town/daily/fraud-{}@{due}", number % 100)),
        source: Source::Town,
        schedule: "daily".into(),
        announcement: format!("fraud-{}", number % 100),
        title: "全民反诈在行动".into(),
        clips: vec![PlayedClip {
            title: "冒充公检法".into(), sha256: "5508d2b710e64bc470079e1b211d9c58".repeat(2)
        }],
        band: Band::Normal,
        due,
        started: Some(due + SignedDuration::from_micros(150)),
        ended: due + SignedDuration::from_secs(23),
        expected_ms: 23_000,
        heard_ms: 23_000,
        start_error_us: Some(150),
        outcome: Outcome::Played,
        reason: None,
        evidence: Some(Evidence::Accepted),
        device: Some("pulse:analog-stereo".into()),
        peak_dbfs: Some(-1.5),
        rms_dbfs: Some(-18.25),
        underruns: 0,
        volume: 80,
        clock: ClockNote { state: ClockState::Trusted, offset_ms: None },
        operator: None,
        note: None,
        revision: "0123456789abcdef".into(),
    };
    if number % 10 == 9 { missed(entry) } else { entry }
}

/// The same occurrence, had the station been down.
pub fn missed(entry: Entry) -> Entry {
    let nothing = Entry { started: None, heard_ms: 0, start_error_us: None, evidence: None, device: None, ..entry };
    Entry { outcome: Outcome::Missed, reason: Some(Reason::StationDown), peak_dbfs: None, rms_dbfs: None, ..nothing }
}
