//! Commands as they were signed, and how far each station is with them.

use super::{
    Change, Store, StoreError,
    stations::{moment, read},
};
use crate::link::{
    CommandId, KeyId, Place, State, StationId, Targets,
    office::{Issued, Receipts},
    protocol::Status,
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row as _, any::AnyRow};
use std::collections::BTreeMap;

/// A command as it was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ordered {
    /// Its name.
    pub id: CommandId,
    /// The office's revision when it was issued.
    pub revision: i64,
    /// What it does: play, emergency, stop, volume, report.
    pub op: String,
    /// Whose key signed it.
    pub kid: KeyId,
    /// Its counter under that key.
    pub counter: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// From here on it is not begun any more.
    pub not_after: Timestamp,
    /// 演练
    pub drill: bool,
    /// What people call it.
    pub title: String,
    /// Whom it is for.
    pub targets: Targets,
    /// Its envelope, byte for byte.
    #[serde(skip)]
    pub envelope: String,
    /// Who ordered it.
    pub made_by: String,
    /// For the office's own record.
    pub note: String,
    /// What was prepared to be said when it is over, as JSON; unsigned.
    #[serde(skip)]
    pub all_clear: Option<String>,
}

impl Ordered {
    /// As the watches hand it out.
    pub fn issued(&self) -> Issued {
        let (targets, envelope) = (self.targets.clone(), self.envelope.clone());
        Issued { id: self.id, targets, not_after: self.not_after, envelope }
    }
}

/// How far a command is at one station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// As it said.
    #[serde(flatten)]
    pub state: State,
    /// Since when, by the station's clock.
    pub at: Timestamp,
    /// When the office heard of it.
    pub came: Timestamp,
}

/// The columns that [`ordered`] reads.
const COLUMNS: &str =
    "id, revision, op, kid, counter, issued, not_after, drill, title, targets, envelope, made_by, note, all_clear";

fn ordered(row: &AnyRow) -> Result<Ordered, StoreError> {
    let targets: String = row.try_get("targets")?;
    Ok(Ordered {
        id: read(row.try_get::<String, _>("id")?.try_into())?,
        revision: row.try_get("revision")?,
        op: row.try_get("op")?,
        kid: read(row.try_get::<String, _>("kid")?.try_into())?,
        counter: row.try_get::<i64, _>("counter")?.unsigned_abs(),
        issued: moment(row.try_get("issued")?)?,
        not_after: moment(row.try_get("not_after")?)?,
        drill: row.try_get::<i64, _>("drill")? == 1,
        title: row.try_get("title")?,
        targets: read(serde_json::from_str(&targets))?,
        envelope: row.try_get("envelope")?,
        made_by: row.try_get("made_by")?,
        note: row.try_get("note")?,
        all_clear: row.try_get("all_clear")?,
    })
}

fn receipt(row: &AnyRow) -> Result<(StationId, Receipt), StoreError> {
    let state: String = row.try_get("state")?;
    let state = read(serde_json::from_str(&state))?;
    let (at, came) = (moment(row.try_get("at")?)?, moment(row.try_get("came")?)?);
    Ok((read(row.try_get::<String, _>("station")?.try_into())?, Receipt { state, at, came }))
}

impl Store {
    /// Returns the newest commands before a revision, newest first: drills or the real ones, both where it is not said.
    pub async fn commands(&self, drill: Option<bool>, before: i64, most: u32) -> Result<Vec<Ordered>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM command WHERE revision < $1 AND ($2 < 0 OR drill = $2) ORDER BY revision DESC LIMIT $3"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(before).bind(drill.map_or(-1, i64::from));
        let rows = query.bind(i64::from(most)).fetch_all(self.reads()).await?;
        rows.iter().map(ordered).collect()
    }

    /// Returns one command.
    pub async fn command(&self, id: CommandId) -> Result<Option<Ordered>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM command WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(self.reads()).await?;
        row.as_ref().map(ordered).transpose()
    }

    /// Returns the commands that may still be begun, oldest first: what watches owe. Those after a revision of the office.
    pub async fn open_commands(&self, after: i64, now: Timestamp) -> Result<Vec<Ordered>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM command WHERE not_after > $1 AND revision > $2 ORDER BY revision");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now.as_millisecond()).bind(after);
        query.fetch_all(self.reads()).await?.iter().map(ordered).collect()
    }

    /// Returns how far a command is at each station that said so.
    pub async fn receipts(&self, id: CommandId) -> Result<BTreeMap<StationId, Receipt>, StoreError> {
        let sql = "SELECT station, state, at, came FROM command_station WHERE command = $1";
        let rows = sqlx::query(sql).bind(id.to_string()).fetch_all(self.reads()).await?;
        rows.iter().map(receipt).collect()
    }

    /// Returns how far one station is with each command that may still be begun.
    pub async fn states_at(
        &self,
        station: &StationId,
        now: Timestamp,
    ) -> Result<BTreeMap<CommandId, State>, StoreError> {
        let sql = "SELECT s.command, s.state FROM command_station s JOIN command c ON c.id = s.command \
                   WHERE s.station = $1 AND c.not_after > $2";
        let rows: Vec<(String, String)> =
            sqlx::query_as(sql).bind(station.as_str()).bind(now.as_millisecond()).fetch_all(self.reads()).await?;
        let state = |(id, state): (String, String)| Ok((read(id.try_into())?, read(serde_json::from_str(&state))?));
        rows.into_iter().map(state).collect()
    }

    /// Takes a station's word about a command, and returns whether it is news; none where there is no such command, or it
    /// is not meant for that station. Words come in any order, and again, and to any office process.
    pub async fn take_status(
        &self,
        place: &Place,
        status: &Status,
        now: Timestamp,
    ) -> Result<Option<bool>, StoreError> {
        let Some(command) = self.command(status.command).await? else { return Ok(None) };
        let (id, station) = (status.command.to_string(), place.station.as_str());
        let written = read(serde_json::to_string(&status.state))?;
        // Another process may hear of the same command meanwhile; a state moves on three times at most.
        for _ in 0..4 {
            let sql = "SELECT station, state, at, came FROM command_station WHERE command = $1 AND station = $2";
            let known = sqlx::query(sql).bind(&id).bind(station).fetch_optional(self.reads()).await?;
            let known = known.as_ref().map(receipt).transpose()?;
            let mut receipts = Receipts::default();
            if let Some((_, Receipt { state, at, .. })) = &known {
                receipts.take(&command.issued(), place, state.clone(), *at);
            }
            if !command.targets.include(place) {
                return Ok(None);
            }
            if !receipts.take(&command.issued(), place, status.state.clone(), status.at) {
                return Ok(Some(false));
            }
            let mut tx = self.begin().await?;
            let (at, came) = (status.at.as_millisecond(), now.as_millisecond());
            let rows = if let Some((_, known)) = known {
                // Only on top of what was read: another process may have heard more meanwhile.
                let sql = "UPDATE command_station SET state = $3, at = $4, came = $5 \
                           WHERE command = $1 AND station = $2 AND state = $6";
                let query = sqlx::query(sql).bind(&id).bind(station).bind(&written).bind(at).bind(came);
                query.bind(read(serde_json::to_string(&known.state))?).execute(&mut *tx).await?
            } else {
                let sql = "INSERT INTO command_station (command, station, state, at, came) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(&id).bind(station).bind(&written).bind(at).bind(came).execute(&mut *tx).await?
            };
            tx.commit().await?;
            if rows.rows_affected() == 1 {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}

impl Change {
    /// Returns the next counter of a key: above every one that is here, and not below the time in milliseconds, so that an
    /// office that was restored from a backup repeats none.
    pub(in crate::office) async fn next_counter(&mut self, kid: &KeyId, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT max(counter) FROM command WHERE kid = $1";
        let last: Option<i64> = sqlx::query_scalar(sql).bind(kid.as_str()).fetch_one(&mut *self.tx).await?;
        Ok(last.map_or(0, |last| last + 1).max(now.as_millisecond()).unsigned_abs())
    }

    /// Keeps a command for ever. Its counter was not used before under its key, or nothing is kept.
    pub(in crate::office) async fn keep_command(&mut self, ordered: &Ordered) -> Result<(), StoreError> {
        let sql = "INSERT INTO command (id, revision, op, kid, counter, issued, not_after, drill, title, targets, envelope, \
                   made_by, note, all_clear) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let query = sqlx::query(sql).bind(ordered.id.to_string()).bind(self.revision).bind(&ordered.op);
        let query = query.bind(ordered.kid.as_str()).bind(ordered.counter.cast_signed());
        let query = query.bind(ordered.issued.as_millisecond()).bind(ordered.not_after.as_millisecond());
        let query = query.bind(i64::from(ordered.drill)).bind(&ordered.title);
        let query = query.bind(read(serde_json::to_string(&ordered.targets))?).bind(&ordered.envelope);
        let query = query.bind(&ordered.made_by).bind(&ordered.note).bind(ordered.all_clear.clone());
        query.execute(&mut *self.tx).await?;
        Ok(())
    }
}
