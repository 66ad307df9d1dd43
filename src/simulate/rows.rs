//! The journal of a light station: a few bytes a row, from which the stored line is written whenever it is sent.
//!
//! Always true: the same row is always the same line, so the office's chain holds however often rows go up.

use crate::{
    entry::{ClockNote, Entry, GENESIS, chain, line},
    link::{
        CommandId,
        journal::{Batch, MOST_ROWS},
    },
    outcome::{Evidence, Outcome, Reason},
    schedule::{Band, Source},
    trust::{ClockState, plus},
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// As many hashes are remembered: of the last rows that were sent, and of those before them.
const MARKS: usize = 3;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// When it fell due.
    pub(super) due: Timestamp,
    /// How long it sounded, in milliseconds.
    pub(super) heard_ms: u32,
    /// The command it was; none for what the station made up.
    pub(super) command: Option<(CommandId, Band)>,
    /// What became of it.
    pub(super) outcome: Outcome,
    /// Why not all of it.
    pub(super) reason: Option<Reason>,
}

impl Row {
    fn entry(&self, seq: i64) -> Entry {
        let sounded = matches!(self.outcome, Outcome::Played | Outcome::Partial);
        let ended = plus(self.due, SignedDuration::from_millis(self.heard_ms.into()));
        let (occurrence, schedule) = match self.command {
            Some((id, _)) => (id.occurrence(), "command"),
            None => (format!("station/simulated/reminder@{}/{seq}", self.due).into(), "simulated"),
        };
        Entry {
            occurrence,
            source: if self.command.is_some() { Source::Town } else { Source::Station },
            schedule: schedule.into(),
            announcement: "reminder".into(),
            title: "反诈提醒".into(),
            clips: Vec::new(),
            band: self.command.map_or(Band::Normal, |(_, band)| band),
            due: self.due,
            started: sounded.then_some(self.due),
            ended,
            expected_ms: self.heard_ms.into(),
            heard_ms: if sounded { self.heard_ms.into() } else { 0 },
            start_error_us: sounded.then_some(0),
            outcome: self.outcome,
            reason: self.reason,
            evidence: sounded.then_some(Evidence::Accepted),
            device: None,
            peak_dbfs: None,
            rms_dbfs: None,
            underruns: 0,
            volume: 80,
            clock: ClockNote { state: ClockState::Trusted, offset_ms: Some(0) },
            operator: None,
            note: None,
            revision: String::new(),
        }
    }
}

/// The rows of one station.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    epoch: String,
    rows: Vec<Row>,
    /// The hash of some rows, by number.
    marks: BTreeMap<i64, String>,
}

impl Rows {
    /// An empty journal.
    pub(super) fn new(epoch: String) -> Self {
        Self { epoch, rows: Vec::new(), marks: BTreeMap::new() }
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The number of the last row; 0 where there is none.
    pub(super) fn newest(&self) -> i64 {
        i64::try_from(self.rows.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    fn line(&self, seq: i64, prev: &str) -> Option<String> {
        let row = self.rows.get(usize::try_from(seq).ok()?.checked_sub(1)?)?;
        line(&row.entry(seq), &self.epoch, seq, prev).ok()
    }

    /// The hash of row `seq`, by the shortest way from a row whose hash is known.
    fn hash(&self, seq: i64) -> Option<String> {
        let known = self.marks.range(..=seq).next_back();
        let (from, hash) = known.map_or((0, GENESIS.to_owned()), |(from, hash)| (*from, hash.clone()));
        (from + 1..=seq).try_fold(hash, |prev, seq| Some(chain(&prev, &self.line(seq, &prev)?)))
    }

    /// The rows behind `after` up to `newest`, as many as a batch holds; none where there are none.
    pub(super) fn batch(&mut self, after: i64, newest: i64, key: &SigningKey) -> Option<Batch> {
        let first = self.hash(after)?;
        let mut lines = Vec::new();
        let mut prev = first.clone();
        for seq in (after + 1..=newest.min(self.newest())).take(MOST_ROWS) {
            let line = self.line(seq, &prev)?;
            prev = chain(&prev, &line);
            lines.push(line);
        }
        let batch = Batch::of(&self.epoch, after + 1, &first, &lines, key)?;
        self.marks.insert(after, first);
        self.marks.insert(batch.to, batch.head.clone());
        while self.marks.len() > MARKS {
            self.marks.pop_first();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::journal::{Cursor, take};

    #[test]
    fn rows_go_up_as_one_chain_however_often() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut rows = Rows::new("sim-1-0123456789abcdef".into());
        for minute in 0..1_200 {
            let due = Timestamp::from_second(1_781_700_000 + minute * 60).unwrap();
            rows.push(Row { due, heard_ms: 20_000, command: None, outcome: Outcome::Played, reason: None });
        }
        let mut cursor = Cursor::new(rows.epoch());
        let mut hashes = vec![GENESIS.to_owned()];
        // Twice from the beginning, as after the restore of a backup.
        for mut after in [0, 0, 900] {
            while after < 1200 {
                let batch = rows.batch(after, rows.newest(), &key).unwrap();
                let at = |seq: i64| hashes.get(usize::try_from(seq).unwrap()).cloned();
                let (new, next) = take(&cursor, &batch, &key.verifying_key(), at).unwrap();
                hashes.extend(new.into_iter().map(|row| row.hash));
                (after, cursor) = (batch.to, next);
            }
            assert_eq!((cursor.acked, hashes.len()), (1200, 1201));
        }
        assert_eq!(rows.batch(1200, 1200, &key), None);
    }
}
