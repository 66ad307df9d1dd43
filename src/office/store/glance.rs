//! What the pages show and nobody else asks: last words of many stations at once, comings and goings, receipts of one
//! station, what people did.

use super::{
    Change, Store, StoreError,
    stations::{moment, read},
};
use crate::link::{BlobId, Refused, State, StationId};
use jiff::{Timestamp, civil::Date};
use serde::Serialize;

/// A station's last word of itself, as it came.
#[derive(Debug, Clone)]
pub struct LastWord {
    /// Whose.
    pub station: String,
    /// [`crate::link::protocol::Reported`] as JSON.
    pub document: String,
    /// When it came, by the office's clock.
    pub at: Timestamp,
}

/// A station came or went.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Turn {
    /// When.
    pub at: Timestamp,
    /// It came.
    pub up: bool,
}

/// What a station said of a command.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptOf {
    /// Which.
    pub command: String,
    /// What it asks for.
    pub op: String,
    /// What people call it.
    pub title: String,
    /// 演练
    pub drill: bool,
    /// When it was issued.
    pub issued: Timestamp,
    /// How far it is; none for a state that only a newer program knows.
    pub state: Option<State>,
    /// Since when, by the station's clock.
    pub at: Timestamp,
}

/// A document that a station did not accept.
#[derive(Debug, Clone, Serialize)]
pub struct RejectedBy {
    /// The sha256 of its text.
    pub sha256: String,
    /// What it claimed to be.
    pub kind: Option<String>,
    /// Why not; none for a reason that cannot be read.
    pub why: Option<Refused>,
    /// When, by the station's clock.
    pub at: Timestamp,
}

/// A row of a station's journal.
#[derive(Debug, Clone, Serialize)]
pub struct Played {
    /// When it was due.
    pub due: Timestamp,
    /// What people call it.
    pub title: String,
    /// What became of it, by its word.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// So long it sounded, in milliseconds.
    pub heard_ms: i64,
    /// So long it should have.
    pub expected_ms: i64,
}

/// A sound among the blobs, as the pages list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shelved {
    /// Which.
    pub sha256: BlobId,
    /// How long the file is.
    pub bytes: u64,
    /// What people call it.
    pub title: String,
    /// Of the file as it came.
    pub extension: String,
    /// How long it sounds.
    pub duration_ms: u64,
    /// Who brought it.
    pub made_by: String,
    /// When.
    pub at: Timestamp,
}

/// Something that a person did.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// The office's revision by it.
    pub revision: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What: a word of [`super::Deed`].
    pub what: String,
    /// To which station, campaign or command.
    pub about: String,
    /// More of it.
    pub detail: String,
}

impl Store {
    /// Returns the last words that came at or after `since`.
    pub async fn last_words(&self, since: Timestamp) -> Result<Vec<LastWord>, StoreError> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT station, document, at FROM reported WHERE at >= $1 ORDER BY station")
                .bind(since.as_millisecond())
                .fetch_all(self.reads())
                .await?;
        rows.into_iter().map(last_word).collect()
    }

    /// Returns the last word of one station.
    pub async fn last_word(&self, station: &StationId) -> Result<Option<LastWord>, StoreError> {
        let row: Option<(String, String, i64)> =
            sqlx::query_as("SELECT station, document, at FROM reported WHERE station = $1")
                .bind(station.as_str())
                .fetch_optional(self.reads())
                .await?;
        row.map(last_word).transpose()
    }

    /// Returns the last comings and goings of a station, newest first.
    pub async fn turns(&self, station: &StationId, most: u32) -> Result<Vec<Turn>, StoreError> {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("SELECT at, up FROM presence WHERE station = $1 ORDER BY at DESC LIMIT $2")
                .bind(station.as_str())
                .bind(i64::from(most))
                .fetch_all(self.reads())
                .await?;
        rows.into_iter().map(|(at, up)| Ok(Turn { at: moment(at)?, up: up == 1 })).collect()
    }

    /// Returns what a station said of the last commands, newest first.
    pub async fn receipts_of(&self, station: &StationId, most: u32) -> Result<Vec<ReceiptOf>, StoreError> {
        let sql = "SELECT c.id, c.op, c.title, c.drill, c.issued, s.state, s.at FROM command_station s \
                   JOIN command c ON c.id = s.command WHERE s.station = $1 ORDER BY c.issued DESC LIMIT $2";
        let rows: Vec<(String, String, String, i64, i64, String, i64)> =
            sqlx::query_as(sql).bind(station.as_str()).bind(i64::from(most)).fetch_all(self.reads()).await?;
        let receipt = |(command, op, title, drill, issued, state, at): (String, _, _, i64, _, String, _)| {
            let state = serde_json::from_str(&state).ok();
            Ok(ReceiptOf { command, op, title, drill: drill == 1, issued: moment(issued)?, state, at: moment(at)? })
        };
        rows.into_iter().map(receipt).collect()
    }

    /// Returns the last documents that a station did not accept, newest first.
    pub async fn rejected_by(&self, station: &StationId, most: u32) -> Result<Vec<RejectedBy>, StoreError> {
        let rows: Vec<(String, Option<String>, String, i64)> =
            sqlx::query_as("SELECT sha256, kind, why, at FROM rejected WHERE station = $1 ORDER BY came DESC LIMIT $2")
                .bind(station.as_str())
                .bind(i64::from(most))
                .fetch_all(self.reads())
                .await?;
        let rejected = |(sha256, kind, why, at): (_, _, String, _)| {
            Ok(RejectedBy { sha256, kind, why: serde_json::from_str(&why).ok(), at: moment(at)? })
        };
        rows.into_iter().map(rejected).collect()
    }

    /// Returns what a station's journal holds of one day, in order of due; no more than `most` rows.
    pub async fn played_at(&self, station: &StationId, day: Date, most: u32) -> Result<Vec<Played>, StoreError> {
        let sql = "SELECT due, title, outcome, reason, heard_ms, expected_ms FROM entry \
                   WHERE station = $1 AND date = $2 ORDER BY due, seq LIMIT $3";
        let rows: Vec<(i64, String, String, Option<String>, i64, i64)> = sqlx::query_as(sql)
            .bind(station.as_str())
            .bind(day.to_string())
            .bind(i64::from(most))
            .fetch_all(self.reads())
            .await?;
        let played = |(due, title, outcome, reason, heard_ms, expected_ms)| {
            Ok(Played { due: moment(due)?, title, outcome, reason, heard_ms, expected_ms })
        };
        rows.into_iter().map(played).collect()
    }

    /// Returns the plan's envelope that a station should have.
    pub async fn plan_of(&self, station: &StationId) -> Result<Option<String>, StoreError> {
        let plan: Option<Option<String>> = sqlx::query_scalar("SELECT plan FROM station WHERE id = $1")
            .bind(station.as_str())
            .fetch_optional(self.reads())
            .await?;
        Ok(plan.flatten())
    }

    /// Returns the sounds that are here, newest first.
    pub async fn shelf(&self) -> Result<Vec<Shelved>, StoreError> {
        let sql = "SELECT sha256, bytes, title, extension, duration_ms, made_by, at FROM blob ORDER BY at DESC, sha256";
        let rows: Vec<(String, i64, String, String, i64, String, i64)> =
            sqlx::query_as(sql).fetch_all(self.reads()).await?;
        let shelved = |(sha256, bytes, title, extension, ms, made_by, at): (String, i64, _, _, i64, _, _)| {
            let (sha256, bytes, duration_ms) = (read(sha256.try_into())?, bytes.unsigned_abs(), ms.unsigned_abs());
            Ok(Shelved { sha256, bytes, title, extension, duration_ms, made_by, at: moment(at)? })
        };
        rows.into_iter().map(shelved).collect()
    }

    /// Returns what people did, newest first: `most` of it, before a revision.
    pub async fn records(&self, before: i64, most: u32) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT revision, at, who, what, about, detail FROM audit WHERE revision < $1 \
                   ORDER BY revision DESC LIMIT $2";
        let rows: Vec<(i64, i64, String, String, String, String)> =
            sqlx::query_as(sql).bind(before).bind(i64::from(most)).fetch_all(self.reads()).await?;
        let record = |(revision, at, who, what, about, detail)| {
            Ok(Record { revision, at: moment(at)?, who, what, about, detail })
        };
        rows.into_iter().map(record).collect()
    }
}

fn last_word((station, document, at): (String, String, i64)) -> Result<LastWord, StoreError> {
    Ok(LastWord { station, document, at: moment(at)? })
}

impl Change {
    /// Puts a sound on the list; one that is there keeps its title.
    pub async fn shelve(&mut self, sound: &Shelved) -> Result<(), StoreError> {
        let sql = "INSERT INTO blob (sha256, bytes, title, extension, duration_ms, made_by, at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(sound.sha256.to_string()).bind(sound.bytes.cast_signed()).bind(&sound.title);
        let query = query.bind(&sound.extension).bind(sound.duration_ms.cast_signed()).bind(&sound.made_by);
        query.bind(sound.at.as_millisecond()).execute(&mut *self.tx).await?;
        Ok(())
    }
}
