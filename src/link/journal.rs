//! The journal on its way: what a station sends, and how the office takes it in.
//!
//! Rows go up oldest first and without gap, as the stored lines they are, so the office's chain is the station's chain. An
//! answer says how far the office has everything on its disk. What was sent again is dropped; what does not continue the
//! office's chain is not: a cloned disk and a restored backup write other rows under the same numbers, and a store that
//! ignored known numbers would eat them.
//!
//! Always true: what the office holds of an epoch is a beginning of one station's journal, byte for byte.
//!
//! Not here: the lines ([`crate::entry`]), where they are stored.

use crate::{
    entry::{GENESIS, Line, chain},
    journal::batch_text,
    text::{hex, unhex},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// As many rows as a batch holds at most.
pub const MOST_ROWS: usize = 500;
/// As many bytes of lines; a single longer line still travels alone.
pub const MOST_BYTES: usize = 256 << 10;
/// The longest line.
pub const LONGEST_LINE: usize = 64 << 10;

/// Rows on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Which journal.
    pub epoch: String,
    /// The number of the first line.
    pub from: i64,
    /// The number of the last line.
    pub to: i64,
    /// As stored.
    pub lines: Vec<String>,
    /// The hash of the last line.
    pub head: String,
    /// By the station's key, hex.
    pub signature: String,
}

impl Batch {
    /// Makes a batch of the stored lines from number `from` on, as many of them as fit. `prev` is the hash of the line
    /// before them. None where there is no line.
    pub fn of(epoch: &str, from: i64, prev: &str, lines: &[String], key: &SigningKey) -> Option<Self> {
        let mut bytes = 0;
        let fits = |line: &&String| {
            let first = bytes == 0;
            bytes += line.len();
            first || bytes <= MOST_BYTES
        };
        let lines: Vec<_> = lines.iter().take(MOST_ROWS).take_while(fits).cloned().collect();
        let to = from + i64::try_from(lines.len()).ok()? - 1;
        let head = lines.iter().fold(prev.to_owned(), |prev, line| chain(&prev, line));
        let signature = hex(&key.sign(batch_text(epoch, from, to, &head).as_bytes()).to_bytes());
        (!lines.is_empty()).then(|| Self { epoch: epoch.to_owned(), from, to, lines, head, signature })
    }

    fn is_by(&self, key: &VerifyingKey) -> bool {
        let signature = unhex(&self.signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
        let text = batch_text(&self.epoch, self.from, self.to, &self.head);
        signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

/// How far the office holds one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which journal.
    pub epoch: String,
    /// The number of the last row; 0 where there is none.
    pub acked: i64,
    /// Its hash; [`GENESIS`] where there is none.
    pub head: String,
}

impl Cursor {
    /// The cursor of a journal of which nothing is here yet.
    pub fn new(epoch: impl Into<String>) -> Self {
        Self { epoch: epoch.into(), acked: 0, head: GENESIS.to_owned() }
    }
}

/// The answer to a batch that was taken in: everything up to here is on the office's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Of which journal.
    pub epoch: String,
    /// The number of the last row.
    pub acked: i64,
}

/// Why a batch was not taken in. A station that is told `need` sends from there; anything else is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "turned", rename_all = "kebab-case")]
pub enum Turned {
    /// Rows before these are not here: the office was restored from a backup, or the station is ahead of itself.
    #[error("rows from {from} on are not here yet")]
    Need {
        /// Send from here.
        from: i64,
    },
    /// The rows do not continue what is here: two machines write this journal, or one was restored from a backup.
    #[error("row {seq} is here with another content: two machines write this journal, or one was restored")]
    Fork {
        /// Where they part at the latest.
        seq: i64,
    },
    /// A line does not follow from the one before it.
    #[error("row {seq} does not follow from the one before it")]
    BadChain {
        /// Its number.
        seq: i64,
    },
    /// The signature is not this station's.
    #[error("the signature is not this station's")]
    Signature,
    /// The journal is not the one that this station is known to write: a clerk has to agree to another.
    #[error("this station is known to write another journal")]
    Epoch,
    /// It has not the form of a batch.
    #[error("not a batch of rows")]
    Malformed,
    /// A reason that only a newer program knows.
    #[error("for a reason that only a newer program knows")]
    #[serde(other)]
    Other,
}

/// A row to store.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number.
    pub seq: i64,
    /// As the station stored it.
    pub line: String,
    /// Its hash in the chain.
    pub hash: String,
    /// What it says.
    pub says: Line,
}

/// Holds a batch against what is here, and returns the rows that are new with the cursor behind them; both are to be
/// stored in one transaction before the station is answered. `hash_at` tells the hash of a row that is here already; it
/// is asked only about rows up to the cursor, at most twice.
pub fn take(
    cursor: &Cursor,
    batch: &Batch,
    key: &VerifyingKey,
    hash_at: impl Fn(i64) -> Option<String>,
) -> Result<(Vec<Row>, Cursor), Turned> {
    if batch.epoch != cursor.epoch {
        return Err(Turned::Epoch);
    }
    let count = i64::try_from(batch.lines.len()).map_err(|_| Turned::Malformed)?;
    let bytes: usize = batch.lines.iter().map(String::len).sum();
    let is_sound = (1..=MOST_ROWS).contains(&batch.lines.len())
        && (bytes <= MOST_BYTES || batch.lines.len() == 1)
        && batch.lines.iter().all(|line| line.len() <= LONGEST_LINE)
        && batch.from >= 1
        && batch.from.checked_add(count - 1) == Some(batch.to);
    if !is_sound {
        return Err(Turned::Malformed);
    }
    if !batch.is_by(key) {
        return Err(Turned::Signature);
    }
    if batch.from > cursor.acked + 1 {
        return Err(Turned::Need { from: cursor.acked + 1 });
    }
    let here = |seq: i64| match seq {
        0 => Some(GENESIS.to_owned()),
        seq if seq == cursor.acked => Some(cursor.head.clone()),
        seq => hash_at(seq),
    };
    // What stands before the first line is here; so every line can be told from what is here by its hash alone.
    let mut prev = here(batch.from - 1).ok_or(Turned::Need { from: cursor.acked + 1 })?;
    let mut rows = Vec::new();
    for (seq, line) in (batch.from..).zip(&batch.lines) {
        let says: Line = serde_json::from_str(line).map_err(|_| Turned::BadChain { seq })?;
        if says.epoch != batch.epoch || says.seq != seq {
            return Err(Turned::BadChain { seq });
        }
        if says.prev != prev {
            return Err(if seq == batch.from { Turned::Fork { seq } } else { Turned::BadChain { seq } });
        }
        prev = chain(&prev, line);
        if seq == batch.to.min(cursor.acked) && here(seq).as_ref() != Some(&prev) {
            return Err(Turned::Fork { seq });
        }
        if seq > cursor.acked {
            rows.push(Row { seq, line: line.clone(), hash: prev.clone(), says });
        }
    }
    if prev != batch.head {
        return Err(Turned::BadChain { seq: batch.to });
    }
    let after = rows.last().map_or_else(
        || cursor.clone(),
        |last| Cursor { epoch: cursor.epoch.clone(), acked: last.seq, head: last.hash.clone() },
    );
    Ok((rows, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &str = "beizhuang-0123456789abcdef";

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    /// A stored line with as little in it as reads as one.
    fn line(seq: i64, prev: &str, title: &str) -> String {
        format!(
            r#"{{"epoch":"{EPOCH}","seq":{seq},"occurrence":"o/{title}/{seq}","source":"station","schedule":"s","announcement":"a","title":"{title}","clips":[],"band":"normal","due":"2026-06-17T06:30:00Z","started":null,"ended":"2026-06-17T06:30:00Z","expected_ms":0,"heard_ms":0,"start_error_us":null,"outcome":"missed","reason":"station-down","evidence":null,"device":null,"peak_dbfs":null,"volume":80,"clock":{{"state":"trusted","offset_ms":null}},"operator":null,"note":null,"revision":"","prev":"{prev}"}}"#
        )
    }

    /// A journal of as many rows as titles.
    fn journal(titles: &str) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        for (seq, title) in (1..).zip(titles.split(' ')) {
            let prev = rows.last().map_or(GENESIS, |row| &row.1).to_owned();
            let line = line(seq, &prev, title);
            let hash = chain(&prev, &line);
            rows.push((line, hash));
        }
        rows
    }

    /// Sends rows `from` to `to` of one journal to an office that has the first `acked` rows of another.
    fn sent(mine: &str, from: usize, to: usize, theirs: &str, acked: usize) -> Result<i64, Turned> {
        let (mine, theirs) = (journal(mine), journal(theirs));
        let prev = if from == 1 { GENESIS } else { &mine[from - 2].1 };
        let lines: Vec<_> = mine[from - 1..to].iter().map(|row| row.0.clone()).collect();
        let batch = Batch::of(EPOCH, i64::try_from(from).unwrap(), prev, &lines, &key()).unwrap();
        let at = |seq: i64| theirs.get(usize::try_from(seq).ok()?.checked_sub(1)?).map(|row| row.1.clone());
        let acked = i64::try_from(acked).unwrap();
        let cursor = Cursor { epoch: EPOCH.into(), acked, head: at(acked).unwrap_or(GENESIS.into()) };
        take(&cursor, &batch, &key().verifying_key(), at).map(|(rows, cursor)| {
            assert_eq!(rows.len() as i64, cursor.acked - acked);
            cursor.acked
        })
    }

    #[test]
    fn rows_are_taken_once_and_only_where_they_continue_what_is_here() {
        for (mine, from, to, theirs, acked, expected) in [
            ("a b c", 1, 3, "", 0, Ok(3)),
            ("a b c", 2, 3, "a", 1, Ok(3)),
            ("a b c", 1, 3, "a b", 2, Ok(3)),
            ("a b c", 1, 2, "a b c", 3, Ok(3)),
            ("a b c", 3, 3, "a b c", 3, Ok(3)),
            ("a b c", 3, 3, "a", 1, Err(Turned::Need { from: 2 })),
            ("a b x", 3, 3, "a b c", 3, Err(Turned::Fork { seq: 3 })),
            ("a x c", 3, 3, "a b", 2, Err(Turned::Fork { seq: 3 })),
            ("a x c", 1, 3, "a b", 2, Err(Turned::Fork { seq: 2 })),
            ("a x", 1, 2, "a b c", 3, Err(Turned::Fork { seq: 2 })),
            ("x b c", 2, 3, "a b", 2, Err(Turned::Fork { seq: 2 })),
        ] {
            assert_eq!(sent(mine, from, to, theirs, acked), expected, "{mine} {from}-{to} to {theirs} {acked}");
        }
    }

    #[test]
    fn a_batch_that_is_not_what_it_says_is_turned_away() {
        let rows = journal("a b c");
        let lines: Vec<_> = rows.iter().map(|row| row.0.clone()).collect();
        let good = Batch::of(EPOCH, 1, GENESIS, &lines, &key()).unwrap();
        let resigned = |mut batch: Batch| {
            batch.signature =
                hex(&key().sign(batch_text(&batch.epoch, batch.from, batch.to, &batch.head).as_bytes()).to_bytes());
            batch
        };
        let with = |change: &dyn Fn(&mut Batch)| {
            let mut batch = good.clone();
            change(&mut batch);
            resigned(batch)
        };
        for (batch, expected) in [
            (Batch { head: rows[1].1.clone(), ..good.clone() }, Turned::Signature),
            (Batch { signature: "zz".into(), ..good.clone() }, Turned::Signature),
            (with(&|batch| batch.head = rows[1].1.clone()), Turned::BadChain { seq: 3 }),
            (with(&|batch| batch.lines.swap(1, 2)), Turned::BadChain { seq: 2 }),
            (with(&|batch| batch.lines[1] = batch.lines[1].replace("\"b\"", "\"x\"")), Turned::BadChain { seq: 3 }),
            (with(&|batch| batch.lines[1] = "{}".into()), Turned::BadChain { seq: 2 }),
            (with(&|batch| batch.to = 4), Turned::Malformed),
            (with(&|batch| batch.from = 0), Turned::Malformed),
            (with(&|batch| batch.from = i64::MAX), Turned::Malformed),
            (with(&|batch| batch.lines.clear()), Turned::Malformed),
            (with(&|batch| batch.lines = vec![String::new(); MOST_ROWS + 1]), Turned::Malformed),
            (with(&|batch| batch.epoch = "nanzhuang-0".into()), Turned::Epoch),
        ] {
            assert_eq!(take(&Cursor::new(EPOCH), &batch, &key().verifying_key(), |_| None), Err(expected));
        }
    }

    #[test]
    fn a_batch_holds_what_fits_and_always_something() {
        let long = |bytes: usize| "x".repeat(bytes);
        for (lengths, expected) in [
            (vec![10; 600], 500),
            (vec![MOST_BYTES / 2, MOST_BYTES / 2, 1], 2),
            (vec![MOST_BYTES + 1, 1], 1),
            (vec![1, MOST_BYTES], 1),
        ] {
            let lines: Vec<_> = lengths.into_iter().map(long).collect();
            assert_eq!(Batch::of(EPOCH, 1, GENESIS, &lines, &key()).unwrap().lines.len(), expected);
        }
        assert_eq!(Batch::of(EPOCH, 1, GENESIS, &[], &key()), None);
    }
}
