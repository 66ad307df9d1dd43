//! The record of what played and why the rest did not: one SQLite file, one writer.
//!
//! Write-ahead log and `synchronous=FULL`: an `Ok` is on the disk (measured: `NORMAL` lost hundreds of acknowledged
//! rows in a power cut, `FULL` none). A commit that fails may have happened all the same; so after any failure the
//! connection is opened anew and the write is tried once more, by key, which changes nothing where it had happened.
//!
//! Not here: reading beside a running daemon ([`read`]), files for others and their proof ([`export`], [`xlsx`]), what the lines mean ([`crate::entry`]).

pub mod export;
mod migrate;
pub mod read;
mod restore;
mod sign;
#[cfg(test)]
mod tests;
pub mod totals;
pub mod xlsx;

pub use restore::{Unfit, examine};
pub use sign::{NoKey, PublicKey, batch_text, head_text};

use crate::{
    conductor::{Memory, SetVolume, Silence, Tick},
    entry::{Entry, GENESIS, Line, Running, chain, line},
    plan::OccurrenceId,
    schedule::Volume,
    text::Said,
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::warn;

/// How far before the last tick the decided occurrences are remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(48);
/// Starts that count towards safe mode lie this close.
const STARTS: SignedDuration = SignedDuration::from_mins(10);

// Asked at every start or write: none may read more of the journal than it answers with.
const STARTED: &str = "SELECT at FROM start WHERE at BETWEEN ? AND ? ORDER BY at";
const DECIDED: &str = "SELECT occurrence FROM entry WHERE due >= ?";
const HEAD: &str = "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1";
const KNOWN: &str = "SELECT 1 FROM entry WHERE occurrence = ?";

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database said no.
    #[error("播出记录数据库不能使用")]
    Database(#[from] sqlx::Error),
    /// The file system said no.
    #[error("播出记录所在的文件夹不能使用")]
    Io(#[from] io::Error),
    /// A value could not be written as JSON.
    #[error("播出记录写不成文字")]
    Json(#[from] serde_json::Error),
    /// The key file is not one.
    #[error("{} 不是密钥文件；请从备份恢复，不要删除", file.display())]
    Key {
        /// Where it is.
        file: PathBuf,
    },
    /// Made by a newer program.
    #[error("播出记录由更新的程序写成（版本 {version}）；请升级本程序")]
    Newer {
        /// The schema's number.
        version: i64,
    },
}

/// What a self-test of the sound card found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SelfTest {
    /// When.
    pub at: Timestamp,
    /// The output that was opened; none where none opened.
    pub device: Option<String>,
    /// In plain words; none where frames flowed.
    pub fault: Option<Said>,
}

const LAST_TEST: &str = "SELECT at, device, fault, fault_en FROM self_test ORDER BY at DESC LIMIT 1";

fn self_test(row: &sqlx::sqlite::SqliteRow) -> Result<SelfTest, JournalError> {
    let at = moment(row.try_get(0)?).unwrap_or_default();
    let (zh, en): (Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
    let fault = zh.map(|zh| Said::new(zh.clone(), en.unwrap_or(zh)));
    Ok(SelfTest { at, device: row.try_get(1)?, fault })
}

/// Returns the station's key, which is made where there is none yet.
pub fn station_key(data: &Path) -> Result<SigningKey, JournalError> {
    sign::station_key(data)
}

/// The station's journal, open for writing. Every `Ok` is durable.
#[derive(Debug)]
pub struct Journal {
    file: PathBuf,
    connection: SqliteConnection,
    key: SigningKey,
    epoch: String,
}

impl Journal {
    /// Opens or creates `data/journal.db` and the station's key, and brings the schema up to date.
    pub async fn open(data: &Path, station: &str) -> Result<Self, JournalError> {
        let file = data.join("journal.db");
        let key = sign::station_key(data)?;
        let mut connection = connect(&file).await?;
        migrate::migrate(&mut connection).await?;
        let public = PublicKey::from(&key).to_string();
        // A start costs a disk no write that says nothing new.
        if get(&mut connection, "public-key").await?.as_ref() != Some(&public) {
            put(&mut connection, "public-key", &public).await?;
        }
        // A journal begun by this station; a restored or cloned one keeps its own name for ever.
        sqlx::query("INSERT OR IGNORE INTO state (key, value) VALUES ('epoch', ?)")
            .bind(format!("{station}-{}", &public[..16]))
            .execute(&mut connection)
            .await?;
        let epoch = get(&mut connection, "epoch").await?.unwrap_or_default();
        Ok(Self { file, connection, key, epoch })
    }

    /// Notes that a daemon starts at `now`, and returns what the conductor must know (`versions` stays empty: they are
    /// not the journal's).
    pub async fn start(&mut self, now: Timestamp) -> Result<Memory, JournalError> {
        sqlx::query("INSERT INTO start (at) VALUES (?)")
            .bind(now.as_millisecond())
            .execute(&mut self.connection)
            .await?;
        let tick = self.moment("tick").await?;
        let newest = self.moment("newest").await?;
        let since = tick.or(newest).map_or(Timestamp::MIN, |at| at.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN));
        let (first, last) =
            (now.checked_sub(STARTS).unwrap_or(Timestamp::MIN), now.checked_add(STARTS).unwrap_or(Timestamp::MAX));
        let starts = sqlx::query(STARTED)
            .bind(first.as_millisecond())
            .bind(last.as_millisecond())
            .fetch_all(&mut self.connection)
            .await?;
        let mut running = Vec::new();
        for row in sqlx::query("SELECT json FROM running ORDER BY occurrence").fetch_all(&mut self.connection).await? {
            match serde_json::from_str(row.try_get(0)?) {
                Ok(one) => running.push(one),
                Err(error) => warn!(%error, "a running announcement on record cannot be read; it is left to the plan"),
            }
        }
        Ok(Memory {
            tick,
            newest,
            running,
            decided: self.decided(since).await?,
            versions: Vec::new(),
            starts: starts.iter().filter_map(|row| moment(row.try_get(0).ok()?)).collect(),
            stopped: self.silence("stopped").await?,
            hushed: self.silence("hushed").await?,
            volume: self
                .volume("volume")
                .await?
                .zip(self.volume("volume-instead-of").await?)
                .map(|(volume, instead_of)| SetVolume { volume, instead_of }),
        })
    }

    /// Writes or replaces a running announcement.
    pub async fn begin(&mut self, running: &Running) -> Result<(), JournalError> {
        let json = serde_json::to_string(running)?;
        if let Err(error) = begin(&mut self.connection, running, &json).await {
            self.reopen(&error).await?;
            begin(&mut self.connection, running, &json).await?;
        }
        Ok(())
    }

    /// Forgets a running announcement that never sounded.
    pub async fn abandon(&mut self, occurrence: &OccurrenceId) -> Result<(), JournalError> {
        let forget = "DELETE FROM running WHERE occurrence = ?";
        sqlx::query(forget).bind(occurrence.as_str()).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Appends the final entry to the chain and removes its running row, in one transaction. Idempotent: an occurrence
    /// that has its entry keeps it, and `Ok(false)` is returned.
    pub async fn finish(&mut self, entry: &Entry) -> Result<bool, JournalError> {
        match finish(&mut self.connection, &self.epoch, entry).await {
            Err(error) => {
                self.reopen(&error).await?;
                finish(&mut self.connection, &self.epoch, entry).await
            }
            done => done,
        }
    }

    /// Keeps a tick.
    pub async fn tick(&mut self, tick: &Tick) -> Result<(), JournalError> {
        let mut transaction = self.connection.begin().await?;
        let moment = |at: Timestamp| at.as_millisecond().to_string();
        let percent = |volume: Volume| volume.percent().to_string();
        for (key, value) in [
            ("tick", tick.at.map(moment)),
            ("newest", tick.newest.map(moment)),
            ("stopped", tick.stopped.as_ref().map(serde_json::to_string).transpose()?),
            ("hushed", tick.hushed.as_ref().map(serde_json::to_string).transpose()?),
            ("volume", tick.volume.map(|set| percent(set.volume))),
            ("volume-instead-of", tick.volume.map(|set| percent(set.instead_of))),
        ] {
            match value {
                Some(value) => put(&mut transaction, key, &value).await?,
                None => {
                    sqlx::query("DELETE FROM state WHERE key = ?").bind(key).execute(&mut *transaction).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Returns whether nothing is on record.
    pub async fn is_empty(&mut self) -> Result<bool, JournalError> {
        Ok(head(&mut self.connection).await?.is_none())
    }

    /// Closes the file, with everything in it.
    pub async fn close(self) -> Result<(), JournalError> {
        Ok(self.connection.close().await?)
    }

    /// Returns the final entry of an occurrence, if it has one.
    pub async fn entry(&mut self, occurrence: &OccurrenceId) -> Result<Option<Entry>, JournalError> {
        let row = sqlx::query("SELECT line FROM entry WHERE occurrence = ?").bind(occurrence.as_str());
        let row = row.fetch_optional(&mut self.connection).await?;
        let line = row.map(|row| row.try_get::<String, _>(0)).transpose()?;
        Ok(line.map(|line| serde_json::from_str::<Line>(&line)).transpose()?.map(|line| line.entry))
    }

    /// Returns the occurrences with a final entry, due at or after `since`.
    pub async fn decided(&mut self, since: Timestamp) -> Result<BTreeSet<OccurrenceId>, JournalError> {
        let rows = sqlx::query(DECIDED).bind(since.as_millisecond()).fetch_all(&mut self.connection).await?;
        let id = |row: &sqlx::sqlite::SqliteRow| Ok(OccurrenceId::from(row.try_get::<String, _>(0)?));
        rows.iter().map(id).collect()
    }

    /// Signs the head of the chain, where it has grown since the last signature.
    pub async fn sign_head(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let Some((seq, hash)) = head(&mut self.connection).await? else { return Ok(()) };
        let signature = sign::sign(&self.key, &head_text(seq, &hash, now));
        sqlx::query("INSERT OR IGNORE INTO head (seq, hash, at, signature) VALUES (?, ?, ?, ?)")
            .bind(seq)
            .bind(hash)
            .bind(now.as_millisecond())
            .bind(signature)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Keeps what a self-test found.
    pub async fn tested(&mut self, test: &SelfTest) -> Result<(), JournalError> {
        sqlx::query("INSERT INTO self_test (at, device, fault, fault_en) VALUES (?, ?, ?, ?)")
            .bind(test.at.as_millisecond())
            .bind(&test.device)
            .bind(test.fault.as_ref().map(|fault| &fault.zh))
            .bind(test.fault.as_ref().map(|fault| &fault.en))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Returns what the last self-test found.
    pub async fn last_test(&mut self) -> Result<Option<SelfTest>, JournalError> {
        let row = sqlx::query(LAST_TEST).fetch_optional(&mut self.connection).await?;
        row.as_ref().map(self_test).transpose()
    }

    async fn moment(&mut self, key: &'static str) -> Result<Option<Timestamp>, JournalError> {
        let text = get(&mut self.connection, key).await?;
        Ok(text.and_then(|text| moment(text.parse().ok()?)))
    }

    async fn silence(&mut self, key: &'static str) -> Result<Option<Silence>, JournalError> {
        let text = get(&mut self.connection, key).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn volume(&mut self, key: &'static str) -> Result<Option<Volume>, JournalError> {
        let text = get(&mut self.connection, key).await?;
        Ok(text.and_then(|text| Volume::try_from(text.parse::<u8>().ok()?).ok()))
    }

    async fn reopen(&mut self, error: &JournalError) -> Result<(), JournalError> {
        warn!(
            error = error as &dyn std::error::Error,
            "a write to the journal failed; what happened is unknown: reading again"
        );
        self.connection = connect(&self.file).await?;
        Ok(())
    }
}

fn moment(millisecond: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millisecond).ok()
}

async fn connect(file: &Path) -> Result<SqliteConnection, JournalError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    Ok(options.connect().await?)
}

async fn put(connection: &mut SqliteConnection, key: &str, value: &str) -> Result<(), JournalError> {
    sqlx::query("INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(())
}

async fn get(connection: &mut SqliteConnection, key: &str) -> Result<Option<String>, JournalError> {
    let row = sqlx::query("SELECT value FROM state WHERE key = ?").bind(key).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn head(connection: &mut SqliteConnection) -> Result<Option<(i64, String)>, JournalError> {
    let row = sqlx::query(HEAD).fetch_optional(connection).await?;
    Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?))).transpose()?)
}

async fn begin(connection: &mut SqliteConnection, running: &Running, json: &str) -> Result<(), JournalError> {
    sqlx::query(
        "INSERT INTO running (occurrence, json) VALUES (?, ?) ON CONFLICT (occurrence) DO UPDATE SET json = excluded.json",
    )
    .bind(running.entry.occurrence.as_str())
    .bind(json)
    .execute(connection)
    .await?;
    Ok(())
}

async fn finish(connection: &mut SqliteConnection, epoch: &str, entry: &Entry) -> Result<bool, JournalError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let id = entry.occurrence.as_str();
    let known = sqlx::query(KNOWN).bind(id).fetch_optional(&mut *transaction).await?;
    if known.is_none() {
        let (last, prev) = head(&mut transaction).await?.unwrap_or((0, GENESIS.to_owned()));
        let line = line(entry, epoch, last + 1, &prev)?;
        sqlx::query("INSERT INTO entry (seq, occurrence, due, line, hash) VALUES (?, ?, ?, ?, ?)")
            .bind(last + 1)
            .bind(id)
            .bind(entry.due.as_millisecond())
            .bind(&line)
            .bind(chain(&prev, &line))
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("DELETE FROM running WHERE occurrence = ?").bind(id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(known.is_none())
}
