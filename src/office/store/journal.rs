//! Journals in the tables: how far each is held, its rows, and the day totals that they add up to.
//!
//! Always true: rows, totals and cursor move together, in one [`Taking`], under the lock of the cursor's row. So two
//! offices on one PostgreSQL may be sent the same rows at once, and each is stored once. At most one journal of a station
//! is current; the tables refuse a second.
//!
//! Not here: whether rows follow ([`crate::link::journal`]), how many batches share a [`Taking`]
//! ([`crate::office::intake`]).

use super::{Change, Engine, Store, StoreError};
use crate::{
    entry::GENESIS,
    link::{
        StationId,
        journal::{Batch, Cursor, Turned},
    },
    text::hex,
};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// Journals of one station that wait for a clerk's agreement, at most: a station that shows a new one each day fills
/// nothing.
const MOST_OTHERS: i64 = 8;

/// Rows of one statement. Few sizes, so that each is prepared once a connection.
const CHUNKS: [usize; 3] = [128, 16, 1];

/// The columns of `entry`, in the order in which [`Taking::insert`] binds them.
const COLUMNS: &str =
    "station, epoch, seq, occurrence, date, due, source, announcement, title, outcome, reason, expected_ms,
    heard_ms, late_ms, line, hash";
const COLUMN_COUNT: usize = 16;

/// The statement for so many rows.
fn insert(engine: Engine, rows: usize) -> String {
    // SQLite looks a numbered place up by its name, each time it meets it, among all of them.
    let place = |number: usize| match engine {
        Engine::Sqlite => "?".to_owned(),
        Engine::Postgres => format!("${}", number + 1),
    };
    let row = |row: usize| {
        let places: Vec<_> = (0..COLUMN_COUNT).map(|column| place(row * COLUMN_COUNT + column)).collect();
        format!("({})", places.join(","))
    };
    let values: Vec<_> = (0..rows).map(row).collect();
    format!("INSERT INTO entry ({COLUMNS}) VALUES {}", values.join(","))
}

/// A journal of a station, as far as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How far.
    pub cursor: Cursor,
    /// Why the last batch of it was not taken in.
    pub turned: Option<Turned>,
    /// When the last batch came.
    pub at: Timestamp,
    /// Whether it is the one that the station is known to write.
    pub is_current: bool,
}

/// A row of `entry`, less the station and journal that it shares with its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct Stored {
    pub seq: i64,
    pub occurrence: String,
    pub date: Arc<str>,
    pub due: i64,
    pub source: &'static str,
    pub announcement: String,
    pub title: String,
    pub outcome: Arc<str>,
    pub reason: Option<Arc<str>>,
    pub expected_ms: i64,
    pub heard_ms: i64,
    pub late_ms: Option<i64>,
    pub line: String,
    pub hash: String,
}

/// The rows of a day that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::office) struct DayKey {
    pub date: Arc<str>,
    pub outcome: Arc<str>,
    /// Empty where there is none.
    pub reason: Arc<str>,
    /// Whether a person or a command asked for it, instead of a plan.
    pub asked: bool,
}

/// What rows of one [`DayKey`] add to the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::office) struct DayTotal {
    pub times: i64,
    pub on_time: i64,
    pub heard_ms: i64,
}

/// What a batch adds to the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct Ready {
    pub rows: Vec<Stored>,
    /// The date on which it came.
    pub today: Arc<str>,
    pub days: BTreeMap<DayKey, DayTotal>,
    /// The end of the last announcement that was heard.
    pub sounded: Option<i64>,
    pub after: Cursor,
}

impl Store {
    /// Returns every journal that came from a station: the current one first, then as they last came.
    pub async fn journals(&self, station: &StationId) -> Result<Vec<Held>, StoreError> {
        let query = "SELECT epoch, acked, head, turned, at, is_current FROM journal WHERE station = $1
            ORDER BY is_current DESC, at DESC, epoch";
        let rows = sqlx::query(query).bind(station.as_str()).fetch_all(self.reads()).await?;
        rows.iter().map(held).collect()
    }

    /// Returns how far the current journal of a station is here; none before its first rows.
    pub async fn cursor(&self, station: &StationId) -> Result<Option<Cursor>, StoreError> {
        let row = sqlx::query(CURSOR).bind(station.as_str()).fetch_optional(self.reads()).await?;
        Ok(row.as_ref().map(cursor).transpose()?)
    }

    /// Returns how many rows of all journals are here. It counts them all.
    pub async fn rows(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM entry").fetch_one(self.reads()).await?)
    }

    /// Returns the hashes of these rows, as far as they are here.
    pub(in crate::office) async fn hashes(
        &self,
        station: &StationId,
        epoch: &str,
        seqs: [i64; 2],
    ) -> Result<BTreeMap<i64, String>, StoreError> {
        let query = sqlx::query(HASHES).bind(station.as_str()).bind(epoch).bind(seqs[0]).bind(seqs[1]);
        hashes(&query.fetch_all(self.reads()).await?)
    }

    /// Begins to take in batches.
    pub(in crate::office) async fn taking(&self) -> Result<Taking, StoreError> {
        Ok(Taking { tx: self.begin().await?, engine: self.engine() })
    }
}

const CURSOR: &str = "SELECT epoch, acked, head FROM journal WHERE station = $1 AND is_current = 1";
const LOCK: &str = "SELECT epoch, acked, head FROM journal WHERE station = $1 AND is_current = 1 FOR UPDATE";
const HASHES: &str = "SELECT seq, hash FROM entry WHERE station = $1 AND epoch = $2 AND (seq = $3 OR seq = $4)";

fn cursor(row: &AnyRow) -> Result<Cursor, sqlx::Error> {
    Ok(Cursor { epoch: row.try_get("epoch")?, acked: row.try_get("acked")?, head: row.try_get("head")? })
}

fn hashes(rows: &[AnyRow]) -> Result<BTreeMap<i64, String>, StoreError> {
    let pair = |row: &AnyRow| Ok((row.try_get("seq")?, row.try_get("hash")?));
    rows.iter().map(pair).collect()
}

fn held(row: &AnyRow) -> Result<Held, StoreError> {
    let at = row.try_get("at")?;
    let turned: Option<String> = row.try_get("turned")?;
    let unreadable = |what: &str| StoreError::Unreadable(what.to_owned());
    Ok(Held {
        cursor: cursor(row)?,
        turned: turned
            .map(|turned| serde_json::from_str(&turned))
            .transpose()
            .map_err(|_| unreadable("journal.turned"))?,
        at: Timestamp::from_millisecond(at).map_err(|_| unreadable("journal.at"))?,
        is_current: row.try_get::<i64, _>("is_current")? == 1,
    })
}

/// A transaction that takes in batches. Whoever takes in those of several stations takes the stations in the order of
/// their ids: then no two wait for each other. Dropped without a commit, it leaves nothing.
pub(in crate::office) struct Taking {
    tx: Transaction<'static, Any>,
    engine: Engine,
}

impl Taking {
    /// Returns how far the current journal of a station is here, which stays so until this has ended.
    pub async fn lock(&mut self, station: &StationId) -> Result<Option<Cursor>, StoreError> {
        // On SQLite there is one writer, and this is it.
        let query = match self.engine {
            Engine::Sqlite => CURSOR,
            Engine::Postgres => LOCK,
        };
        let row = sqlx::query(query).bind(station.as_str()).fetch_optional(&mut *self.tx).await?;
        Ok(row.as_ref().map(cursor).transpose()?)
    }

    /// Like [`Store::hashes`], with what this transaction has stored.
    pub async fn hashes(
        &mut self,
        station: &StationId,
        epoch: &str,
        seqs: [i64; 2],
    ) -> Result<BTreeMap<i64, String>, StoreError> {
        let query = sqlx::query(HASHES).bind(station.as_str()).bind(epoch).bind(seqs[0]).bind(seqs[1]);
        hashes(&query.fetch_all(&mut *self.tx).await?)
    }

    /// Makes this the current journal of a station that has none. False where another office was first.
    pub async fn open(&mut self, station: &StationId, cursor: &Cursor) -> Result<bool, StoreError> {
        let query = "INSERT INTO journal (station, epoch, acked, head, at, is_current)
            VALUES ($1, $2, $3, $4, 0, 1) ON CONFLICT DO NOTHING";
        let query = sqlx::query(query).bind(station.as_str()).bind(&cursor.epoch).bind(cursor.acked).bind(&cursor.head);
        Ok(query.execute(&mut *self.tx).await?.rows_affected() == 1)
    }

    /// Stores what a batch adds, which `key` has signed.
    pub async fn store(
        &mut self,
        station: &StationId,
        key: &VerifyingKey,
        batch: &Batch,
        ready: &Ready,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let after = &ready.after;
        let advance =
            "UPDATE journal SET acked = $3, head = $4, turned = NULL, at = $5 WHERE station = $1 AND epoch = $2";
        let advance = sqlx::query(advance).bind(station.as_str()).bind(&after.epoch).bind(after.acked);
        advance.bind(&after.head).bind(at.as_millisecond()).execute(&mut *self.tx).await?;
        if ready.rows.is_empty() {
            return Ok(());
        }
        let sign = "INSERT INTO head (station, epoch, date, first, seq, hash, signature, key)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (station, epoch, date) DO UPDATE SET first = excluded.first, seq = excluded.seq,
                hash = excluded.hash, signature = excluded.signature, key = excluded.key";
        let sign = sqlx::query(sign).bind(station.as_str()).bind(&batch.epoch).bind(&*ready.today).bind(batch.from);
        let sign = sign.bind(batch.to).bind(&batch.head).bind(&batch.signature).bind(hex(key.as_bytes()));
        sign.execute(&mut *self.tx).await?;
        let mut rest = &ready.rows[..];
        for size in CHUNKS {
            while let Some((chunk, others)) = rest.split_at_checked(size) {
                self.insert(station, &after.epoch, chunk).await?;
                rest = others;
            }
        }
        for (day, total) in &ready.days {
            let add = "INSERT INTO day (station, date, outcome, reason, asked, times, on_time, heard_ms)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (station, date, outcome, reason, asked) DO UPDATE SET times = day.times + excluded.times,
                    on_time = day.on_time + excluded.on_time, heard_ms = day.heard_ms + excluded.heard_ms";
            let add = sqlx::query(add).bind(station.as_str()).bind(&*day.date).bind(&*day.outcome).bind(&*day.reason);
            let add = add.bind(i64::from(day.asked)).bind(total.times).bind(total.on_time).bind(total.heard_ms);
            add.execute(&mut *self.tx).await?;
        }
        if let Some(sounded) = ready.sounded {
            let raise = "UPDATE station SET sounded = $2 WHERE id = $1 AND (sounded IS NULL OR sounded < $2)";
            sqlx::query(raise).bind(station.as_str()).bind(sounded).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    async fn insert(&mut self, station: &StationId, epoch: &str, rows: &[Stored]) -> Result<(), StoreError> {
        static INSERTS: LazyLock<[[String; CHUNKS.len()]; 2]> =
            LazyLock::new(|| [Engine::Sqlite, Engine::Postgres].map(|engine| CHUNKS.map(|rows| insert(engine, rows))));
        let size = CHUNKS.iter().position(|size| *size == rows.len()).expect("rows come in these sizes");
        let mut query = sqlx::query(INSERTS[usize::from(self.engine == Engine::Postgres)][size].as_str());
        for row in rows {
            query = query.bind(station.as_str()).bind(epoch).bind(row.seq).bind(&row.occurrence).bind(&*row.date);
            query = query.bind(row.due).bind(row.source).bind(&row.announcement).bind(&row.title).bind(&*row.outcome);
            query = query.bind(row.reason.as_deref()).bind(row.expected_ms).bind(row.heard_ms).bind(row.late_ms);
            query = query.bind(&row.line).bind(&row.hash);
        }
        query.execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Notes why the last batch of a journal was not taken in. A journal that is not here yet is noted as one that waits
    /// for a clerk's agreement.
    pub async fn turn(
        &mut self,
        station: &StationId,
        epoch: &str,
        turned: &Turned,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let turned = serde_json::to_string(turned).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let note = "UPDATE journal SET turned = $3, at = $4 WHERE station = $1 AND epoch = $2";
        let note = sqlx::query(note).bind(station.as_str()).bind(epoch).bind(&turned).bind(at.as_millisecond());
        if note.execute(&mut *self.tx).await?.rows_affected() > 0 {
            return Ok(());
        }
        let other = "INSERT INTO journal (station, epoch, acked, head, turned, at, is_current)
            SELECT $1, $2, 0, $3, $4, $5, 0
            WHERE (SELECT count(*) FROM journal WHERE station = $1 AND acked = 0 AND is_current = 0) < $6
            ON CONFLICT DO NOTHING";
        let other = sqlx::query(other).bind(station.as_str()).bind(epoch).bind(GENESIS).bind(&turned);
        other.bind(at.as_millisecond()).bind(MOST_OTHERS).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Makes all of it durable.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

impl Change {
    /// From now on this is the journal that the station is known to write: its machine was replaced, or given a new key.
    /// What is here of the others stays. False, and nothing changes, where no batch of it ever came.
    pub async fn agree_to_journal(&mut self, station: &StationId, epoch: &str) -> Result<bool, StoreError> {
        // In the order in which a `Taking` takes them: the current one first.
        let retire = "UPDATE journal SET is_current = 0 WHERE station = $1 AND epoch <> $2 AND is_current = 1
            AND EXISTS (SELECT 1 FROM journal WHERE station = $1 AND epoch = $2)";
        sqlx::query(retire).bind(station.as_str()).bind(epoch).execute(&mut *self.tx).await?;
        let agree = "UPDATE journal SET is_current = 1, turned = NULL WHERE station = $1 AND epoch = $2";
        let agree = sqlx::query(agree).bind(station.as_str()).bind(epoch).execute(&mut *self.tx).await?;
        Ok(agree.rows_affected() == 1)
    }
}
