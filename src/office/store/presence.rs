//! What stations say of themselves, and who is there.

use super::{
    Store, StoreError,
    stations::{moment, read},
};
use crate::link::{
    State, StationId,
    office::Turned,
    protocol::{Rejected, Status},
};
use jiff::Timestamp;
use sqlx::{Any, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// A process that was not seen for so long is gone, in milliseconds.
const GONE: i64 = 60_000;

/// Something that a station said, to be written down.
#[derive(Debug, Clone)]
pub enum Saying {
    /// Its whole state.
    Reported {
        /// Who says so.
        station: StationId,
        /// Higher than every one before it.
        sequence: u64,
        /// As it came.
        document: String,
        /// The highest revision of a plan of this office that it has.
        plan: u64,
        /// It is under a root or a generation that this office does not know.
        ahead: bool,
        /// Documents that it did not accept.
        rejected: Vec<Rejected>,
        /// By the office's clock.
        came: Timestamp,
    },
    /// How far a command is.
    Status {
        /// Who says so.
        station: StationId,
        /// What it says.
        status: Status,
        /// By the office's clock.
        came: Timestamp,
    },
}

impl Saying {
    /// Who says so.
    pub fn station(&self) -> &StationId {
        match self {
            Self::Reported { station, .. } | Self::Status { station, .. } => station,
        }
    }
}

/// A document that a station did not accept, as the office's page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which station.
    pub station: StationId,
    /// What it says about it.
    pub rejected: Rejected,
    /// When it said so, by the office's clock.
    pub came: Timestamp,
}

impl Store {
    /// Writes down what stations said, in one transaction and in order of the stations, so that two processes do not wait
    /// for each other.
    pub async fn write_down(&self, sayings: &[&Saying]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for saying in sayings {
            match saying {
                Saying::Reported { .. } => reported(&mut tx, saying).await?,
                Saying::Status { station, status, came } => receipt(&mut tx, station, status, *came).await?,
            }
        }
        Ok(tx.commit().await?)
    }

    /// Returns the place and the plan of a station, as they were signed, with the office's revision of both.
    pub async fn desired(&self, station: &StationId) -> Result<Option<(i64, Vec<String>)>, StoreError> {
        let sql = "SELECT wants, place, plan FROM station WHERE id = $1";
        let row = sqlx::query_as(sql).bind(station.as_str());
        let row: Option<(i64, Option<String>, Option<String>)> = row.fetch_optional(self.reads()).await?;
        Ok(row.map(|(wants, place, plan)| (wants, place.into_iter().chain(plan).collect())))
    }

    /// Puts on record who came to this process, went and was heard; and that the process lives.
    pub async fn note_presence(
        &self,
        node: &str,
        now: Timestamp,
        turned: &BTreeMap<StationId, Vec<(Timestamp, Turned)>>,
        heard: &[(StationId, Timestamp)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO node (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen";
        sqlx::query(sql).bind(node).bind(now.as_millisecond()).execute(&mut *tx).await?;
        for (station, turned) in turned {
            for (at, turned) in turned {
                match turned {
                    Turned::Up => came(&mut tx, node, station, *at).await?,
                    Turned::Down => went(&mut tx, Some(node), station, *at).await?,
                }
            }
        }
        let sql = "UPDATE station SET heard = $2 WHERE id = $1 AND (heard IS NULL OR heard < $2)";
        for (station, at) in heard {
            sqlx::query(sql).bind(station.as_str()).bind(at.as_millisecond()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Says of the stations of processes that are gone that they went when their process was last seen. With `alone`,
    /// every process but this one is gone.
    pub async fn bury(&self, node: &str, now: Timestamp, alone: bool) -> Result<(), StoreError> {
        let before = if alone { i64::MAX } else { now.as_millisecond() - GONE };
        let sql = "SELECT count(*) FROM node WHERE id <> $1 AND seen < $2";
        let gone: i64 = sqlx::query_scalar(sql).bind(node).bind(before).fetch_one(self.reads()).await?;
        if gone == 0 {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let sql = "DELETE FROM node WHERE id <> $1 AND seen < $2 RETURNING id, seen";
        let nodes: Vec<(String, i64)> = sqlx::query_as(sql).bind(node).bind(before).fetch_all(&mut *tx).await?;
        for (node, seen) in nodes {
            let sql = "SELECT id FROM station WHERE node = $1 AND up = 1 ORDER BY id";
            let stations: Vec<String> = sqlx::query_scalar(sql).bind(&node).fetch_all(&mut *tx).await?;
            for station in stations {
                went(&mut tx, Some(&node), &read(station.try_into())?, moment(seen)?).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Says of every station of this process that it went: the process ends.
    pub async fn leave(&self, node: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "SELECT id FROM station WHERE node = $1 AND up = 1 ORDER BY id";
        let stations: Vec<String> = sqlx::query_scalar(sql).bind(node).fetch_all(&mut *tx).await?;
        for station in stations {
            went(&mut tx, Some(node), &read(station.try_into())?, now).await?;
        }
        sqlx::query("DELETE FROM node WHERE id = $1").bind(node).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Returns the last documents that stations did not accept, newest first; of one station, or of all.
    pub async fn refusals(&self, station: Option<&StationId>, most: i64) -> Result<Vec<Refusal>, StoreError> {
        let sql = "SELECT station, sha256, at, kind, why, came FROM rejected WHERE $1 = '' OR station = $1 \
                   ORDER BY came DESC, at DESC LIMIT $2";
        let rows = sqlx::query_as(sql).bind(station.map_or("", StationId::as_str)).bind(most);
        let rows: Vec<(String, String, i64, Option<String>, String, i64)> = rows.fetch_all(self.reads()).await?;
        let refusal = |(station, sha256, at, kind, why, came): (String, String, _, _, String, _)| {
            let rejected = Rejected {
                kind,
                sha256: read(sha256.try_into())?,
                at: moment(at)?,
                why: read(serde_json::from_str(&why))?,
            };
            Ok(Refusal { station: read(station.try_into())?, rejected, came: moment(came)? })
        };
        rows.into_iter().map(refusal).collect()
    }

    /// Returns the stations that have seen what this office does not know to have said: it was restored from a backup, and
    /// its generation is to be raised ([`super::super::keys::Renewal::Generation`]).
    pub async fn stations_ahead(&self) -> Result<BTreeSet<StationId>, StoreError> {
        let sql = "SELECT reported.station FROM reported JOIN station ON station.id = reported.station \
                   WHERE reported.ahead = 1 AND station.state = 'active'";
        let stations: Vec<String> = sqlx::query_scalar(sql).fetch_all(self.reads()).await?;
        stations.into_iter().map(|station| read(station.try_into())).collect()
    }
}

async fn came(
    tx: &mut Transaction<'static, Any>,
    node: &str,
    station: &StationId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let at = at.as_millisecond();
    let sql = "UPDATE station SET up = 1, node = $2 WHERE id = $1 AND up = 0";
    let is_news = sqlx::query(sql).bind(station.as_str()).bind(node).execute(&mut **tx).await?.rows_affected() > 0;
    if is_news {
        let sql = "INSERT INTO presence (station, at, up) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(station.as_str()).bind(at).execute(&mut **tx).await?;
    } else {
        // It came from another process.
        let sql = "UPDATE station SET node = $2 WHERE id = $1";
        sqlx::query(sql).bind(station.as_str()).bind(node).execute(&mut **tx).await?;
    }
    Ok(())
}

/// A station that is at another process by now did not go.
async fn went(
    tx: &mut Transaction<'static, Any>,
    node: Option<&str>,
    station: &StationId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE station SET up = 0, node = NULL WHERE id = $1 AND node = $2 AND up = 1";
    let is_news = sqlx::query(sql).bind(station.as_str()).bind(node).execute(&mut **tx).await?.rows_affected() > 0;
    if is_news {
        let sql = "INSERT INTO presence (station, at, up) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(station.as_str()).bind(at.as_millisecond()).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn reported(tx: &mut Transaction<'static, Any>, saying: &Saying) -> Result<(), StoreError> {
    let Saying::Reported { station, sequence, document, plan, ahead, rejected, came } = saying else { return Ok(()) };
    let sql = "INSERT INTO reported (station, sequence, document, at, ahead) \
               SELECT id, $2, $3, $4, CASE WHEN $5 = 1 OR $6 > plan_revision THEN 1 ELSE 0 END \
               FROM station WHERE id = $1 \
               ON CONFLICT (station) DO UPDATE SET sequence = excluded.sequence, document = excluded.document, \
               at = excluded.at, ahead = excluded.ahead WHERE reported.sequence < excluded.sequence";
    let report = sqlx::query(sql).bind(station.as_str()).bind(sequence.cast_signed()).bind(document);
    let report = report.bind(came.as_millisecond()).bind(i64::from(*ahead)).bind(plan.cast_signed());
    report.execute(&mut **tx).await?;
    let sql = "INSERT INTO rejected (station, sha256, at, kind, why, came) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT DO NOTHING";
    for Rejected { kind, sha256, at, why } in rejected {
        let why = read(serde_json::to_string(why))?;
        let kind = kind.as_ref().map(|kind| kind.replace('\0', "\u{fffd}").chars().take(100).collect::<String>());
        let refusal = sqlx::query(sql).bind(station.as_str()).bind(sha256.to_string()).bind(at.as_millisecond());
        refusal.bind(kind).bind(why).bind(came.as_millisecond()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// A state never moves back: what comes late, or again, changes nothing.
async fn receipt(
    tx: &mut Transaction<'static, Any>,
    station: &StationId,
    status: &Status,
    came: Timestamp,
) -> Result<(), StoreError> {
    let command = status.command.to_string();
    let new = read(serde_json::to_string(&status.state))?;
    // Another process may be told of the same command at the same time: then what it wrote is looked at again.
    loop {
        let sql = "SELECT state FROM command_station WHERE command = $1 AND station = $2";
        let old = sqlx::query_scalar(sql).bind(&command).bind(station.as_str());
        let old: Option<String> = old.fetch_optional(&mut **tx).await?;
        if let Some(text) = &old {
            let mut state: State = read(serde_json::from_str(text))?;
            if !state.advance(status.state.clone()) {
                return Ok(());
            }
        }
        let sql = "INSERT INTO command_station (command, station, state, at, came) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (command, station) DO UPDATE SET state = excluded.state, at = excluded.at, \
                   came = excluded.came WHERE command_station.state = $6";
        let write = sqlx::query(sql).bind(&command).bind(station.as_str()).bind(&new);
        let write = write.bind(status.at.as_millisecond()).bind(came.as_millisecond()).bind(old.unwrap_or_default());
        if write.execute(&mut **tx).await?.rows_affected() > 0 {
            return Ok(());
        }
    }
}
