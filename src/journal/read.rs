//! Reads a journal beside a running daemon: opens read-only, takes no lock, writes nothing.
//!
//! Not here: rows as files that people carry away, and their proof ([`super::export`]).

use super::{
    JournalError, SelfTest, migrate, moment,
    sign::{PublicKey, head_text},
};
use crate::{
    entry::{GENESIS, Line, chain},
    text::Said,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{ops::Range, path::Path};

/// Rows fetched at a time.
const PAGE: i64 = 500;
/// The first and the last row due in a window, by the index alone: a day's question reads a day's rows, not the journal.
pub(super) const SEQS: &str = "SELECT min(seq), max(seq) FROM entry WHERE due >= ? AND due < ?";

/// One row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The row's number.
    pub seq: i64,
    /// The JSON line, kept as written.
    pub line: String,
    /// Of this line.
    pub hash: String,
    /// Where the station signed when this was the head.
    pub signed: Option<Signed>,
}

/// A signature over a head of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Hex; over [`super::head_text`].
    pub signature: String,
}

impl Signed {
    /// Returns whether `key` made this signature, over this head.
    pub(super) fn is_by(&self, key: &PublicKey, seq: i64, hash: &str) -> bool {
        moment(self.at).is_some_and(|at| key.has_signed(&head_text(seq, hash, at), &self.signature))
    }
}

/// A journal open for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: SqliteConnection,
}

impl Reader {
    /// Opens `journal.db`, which must exist. One that its station has only just begun to make is empty.
    pub async fn open(file: &Path) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
        let mut connection = options.connect().await?;
        if migrate::steps(&mut connection).await? == 0 {
            connection = SqliteConnectOptions::new().in_memory(true).connect().await?;
            migrate::migrate(&mut connection).await?;
        }
        Ok(Self { connection })
    }

    /// Hands the rows due in `window` to `take`, oldest first.
    pub async fn entries<E: From<JournalError>>(
        &mut self,
        window: Range<Timestamp>,
        mut take: impl FnMut(Stored) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut seqs = self.seqs(&window).await?;
        while !seqs.is_empty() {
            let page = self.page(&seqs, &window).await?;
            let Some(last) = page.last() else { return Ok(()) };
            seqs.start = last.seq + 1;
            for stored in page {
                take(stored)?;
            }
        }
        Ok(())
    }

    /// Returns how many rows are due in `window`.
    pub async fn count(&mut self, window: &Range<Timestamp>) -> Result<i64, JournalError> {
        let row = sqlx::query("SELECT count(*) FROM entry WHERE due >= ? AND due < ?")
            .bind(window.start.as_millisecond())
            .bind(window.end.as_millisecond())
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Returns where the rows due in `window` lie; they are found by the index of dues, and read in order of number.
    pub(super) async fn seqs(&mut self, window: &Range<Timestamp>) -> Result<Range<i64>, JournalError> {
        let row = sqlx::query(SEQS)
            .bind(window.start.as_millisecond())
            .bind(window.end.as_millisecond())
            .fetch_one(&mut self.connection)
            .await?;
        let last: Option<i64> = row.try_get(1)?;
        Ok(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0)..last.map_or(0, |last| last.saturating_add(1)))
    }

    async fn page(&mut self, seqs: &Range<i64>, window: &Range<Timestamp>) -> Result<Vec<Stored>, JournalError> {
        let rows = sqlx::query(
            "SELECT seq, line, entry.hash, head.at, signature FROM entry LEFT JOIN head USING (seq) \
             WHERE seq >= ? AND seq < ? AND due >= ? AND due < ? ORDER BY seq LIMIT ?",
        )
        .bind(seqs.start)
        .bind(seqs.end)
        .bind(window.start.as_millisecond())
        .bind(window.end.as_millisecond())
        .bind(PAGE)
        .fetch_all(&mut self.connection)
        .await?;
        let stored = |row: &sqlx::sqlite::SqliteRow| {
            let signed = match row.try_get(3)? {
                Some(at) => Some(Signed { at, signature: row.try_get(4)? }),
                None => None,
            };
            Ok(Stored { seq: row.try_get(0)?, line: row.try_get(1)?, hash: row.try_get(2)?, signed })
        };
        rows.iter().map(stored).collect()
    }

    /// Returns which journal this is, and the number of its last row; nothing where nobody has begun it.
    pub async fn newest(&mut self) -> Result<Option<(String, i64)>, JournalError> {
        let Some(epoch) = super::get(&mut self.connection, "epoch").await? else { return Ok(None) };
        let head = super::head(&mut self.connection).await?;
        Ok(Some((epoch, head.map_or(0, |(seq, _)| seq))))
    }

    /// Returns at most `most` stored lines behind row `after`, with the hash of that row; nothing where this is not the
    /// journal `epoch`, or there is no such row.
    pub async fn behind(
        &mut self,
        epoch: &str,
        after: i64,
        most: usize,
    ) -> Result<Option<(String, Vec<String>)>, JournalError> {
        if super::get(&mut self.connection, "epoch").await?.as_deref() != Some(epoch) {
            return Ok(None);
        }
        let row = sqlx::query("SELECT hash FROM entry WHERE seq = ?").bind(after);
        let prev = match row.fetch_optional(&mut self.connection).await? {
            Some(row) => row.try_get(0)?,
            None if after == 0 => GENESIS.to_owned(),
            None => return Ok(None),
        };
        let rows = sqlx::query("SELECT line FROM entry WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(after)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await?;
        let lines = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, JournalError>>()?;
        Ok(Some((prev, lines)))
    }

    /// Returns what the self-tests of the sound card found, the newest first, a year of them at most.
    pub async fn self_tests(&mut self) -> Result<Vec<SelfTest>, JournalError> {
        let newest = "SELECT at, device, fault, fault_en FROM self_test ORDER BY at DESC LIMIT 366";
        let rows = sqlx::query(newest).fetch_all(&mut self.connection).await?;
        rows.iter().map(super::self_test).collect()
    }

    /// Writes a copy, as the journal is at one moment, into `file`, which must be empty.
    pub async fn copy_to(&mut self, file: &Path) -> Result<(), JournalError> {
        let name = file.to_str().ok_or(std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
        sqlx::query("VACUUM INTO ?").bind(name).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Proves the chain and every signed head, or names the first row that is broken.
    pub async fn verify(&mut self) -> Result<Verdict, JournalError> {
        let everything = Timestamp::MIN..Timestamp::MAX;
        // Read first: what a running daemon adds meanwhile is not missing.
        let newest: Option<i64> =
            sqlx::query("SELECT max(seq) FROM head").fetch_one(&mut self.connection).await?.try_get(0)?;
        let key = self.key().await?;
        let (mut proof, mut seqs) = (Proof::default(), i64::MIN..i64::MAX);
        loop {
            let page = self.page(&seqs, &everything).await?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                seqs.start = stored.seq + 1;
                if let Err(broken) = proof.take(&stored, key.as_ref()) {
                    return Ok(broken.into());
                }
            }
        }
        if let Some(newest) = newest.filter(|newest| *newest > proof.rows) {
            return Ok(Verdict::Broken {
                seq: proof.rows + 1,
                why: Said::new(
                    format!("第 {newest} 条已经签过名，但这里只有 {} 条：后面的记录被删掉了", proof.rows),
                    format!(
                        "entry {newest} was signed, and only {} are here: the ones behind were deleted",
                        proof.rows
                    ),
                ),
            });
        }
        Ok(Verdict::Whole { rows: proof.rows, signed: proof.signed, key: key.filter(|_| proof.signed > 0) })
    }

    /// Returns the station's public key, as the journal has it.
    pub(super) async fn key(&mut self) -> Result<Option<PublicKey>, JournalError> {
        Ok(super::get(&mut self.connection, "public-key").await?.and_then(|text| text.parse().ok()))
    }
}

/// What `--verify` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every row follows from the one before.
    Whole {
        /// How many.
        rows: i64,
        /// The last row under a signature of the station; rows behind it are chained and not yet signed.
        signed: i64,
        /// Whose signatures they are; none where there is none.
        key: Option<PublicKey>,
    },
    /// The first row that does not.
    Broken {
        /// Its number.
        seq: i64,
        /// What is wrong with it.
        why: Said,
    },
}

/// What is wrong with a row, in Chinese and in English.
pub(super) type Flaw = (&'static str, &'static str);

pub(super) const UNCHAINED: Flaw = (
    "这一条与前一条接不上：记录被插入、删除或调换过",
    "this one does not follow from the one before: entries were put in, deleted or exchanged",
);
pub(super) const UNREADABLE: Flaw = ("这一条读不懂：内容被改动过", "this one cannot be read: it was changed");
pub(super) const CHANGED: Flaw =
    ("这一条的校验值不符：内容被改动过", "the hash of this one does not fit: it was changed");
pub(super) const REWRITTEN: Flaw =
    ("这一条与站点的签名不符：记录被重写过", "this one is not what the station signed: entries were rewritten");

/// The first row that does not follow from the one before.
pub(super) struct Broken {
    pub(super) seq: i64,
    pub(super) why: Said,
}

impl Broken {
    pub(super) fn at(seq: i64, (zh, en): Flaw) -> Self {
        Self { seq, why: Said::new(zh, en) }
    }
}

impl From<Broken> for Verdict {
    fn from(Broken { seq, why }: Broken) -> Self {
        Self::Broken { seq, why }
    }
}

/// The chain as far as it was followed.
struct Proof {
    rows: i64,
    signed: i64,
    hash: String,
}

impl Default for Proof {
    fn default() -> Self {
        Self { rows: 0, signed: 0, hash: GENESIS.to_owned() }
    }
}

impl Proof {
    fn take(&mut self, stored: &Stored, key: Option<&PublicKey>) -> Result<(), Broken> {
        let seq = self.rows + 1;
        let broken = |flaw| Err(Broken::at(seq, flaw));
        if stored.seq != seq {
            return broken((
                "这一条缺失：记录被删除或调换过",
                "this one is missing: entries were deleted or exchanged",
            ));
        }
        match serde_json::from_str::<Line>(&stored.line) {
            Ok(line) if line.seq == seq && line.prev == self.hash => {}
            Ok(_) => return broken(UNCHAINED),
            Err(_) => return broken(UNREADABLE),
        }
        if chain(&self.hash, &stored.line) != stored.hash {
            return broken(CHANGED);
        }
        if let Some(signed) = &stored.signed {
            if !key.is_some_and(|key| signed.is_by(key, seq, &stored.hash)) {
                return broken(REWRITTEN);
            }
            self.signed = seq;
        }
        self.rows = seq;
        self.hash.clone_from(&stored.hash);
        Ok(())
    }
}
