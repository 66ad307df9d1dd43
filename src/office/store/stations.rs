//! Stations as the office knows them.

use super::{Store, StoreError};
use crate::link::{Division, GroupName, Place, StationId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};
use std::collections::BTreeSet;

/// How far a station is with the office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StationState {
    /// It asked, and no clerk has agreed yet.
    Pending,
    /// It was taken in.
    Active,
    /// Nothing comes from it or goes to it any more.
    Revoked,
}

impl StationState {
    /// Its word in the table and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }

    fn of(key: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Revoked].into_iter().find(|state| state.key() == key)
    }
}

/// A station as the office knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Station {
    /// Its name in every document.
    pub id: StationId,
    /// What people call it.
    pub name: String,
    /// Its public key, 64 hexadecimal digits.
    pub key: String,
    /// Its village, or what it belongs to.
    pub division: Division,
    /// Groups that the office made.
    pub groups: BTreeSet<GroupName>,
    /// How far it is with the office.
    pub state: StationState,
    /// When it asked to be taken in.
    pub asked: Timestamp,
    /// When a clerk agreed.
    pub confirmed: Option<Timestamp>,
    /// The key of another machine that asks to take its place.
    pub next_key: Option<String>,
    /// The revision of its plan, 0 before the first.
    pub plan_revision: i64,
    /// The office's revision at which anything about it last changed.
    pub wants: i64,
    /// The last word from it that is on the disk.
    pub heard: Option<Timestamp>,
    /// The end of the last announcement that was heard at it.
    pub sounded: Option<Timestamp>,
    /// A watch of it is open.
    pub up: bool,
}

impl Station {
    /// Returns where it is, for [`crate::link::Targets::include`] and to be signed.
    pub fn place(&self, generation: u64) -> Place {
        Place {
            generation,
            revision: self.wants.unsigned_abs(),
            station: self.id.clone(),
            key: self.key.clone(),
            division: self.division.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// The columns that [`station`] reads.
const COLUMNS: &str = "id, name, public_key, division, groups, state, asked, confirmed, next_key, plan_revision, wants, \
                       heard, sounded, up";

fn station(row: &AnyRow) -> Result<Station, StoreError> {
    let groups: String = row.try_get("groups")?;
    let state: String = row.try_get("state")?;
    let up: i64 = row.try_get("up")?;
    Ok(Station {
        id: read(row.try_get::<String, _>("id")?.try_into())?,
        name: row.try_get("name")?,
        key: row.try_get("public_key")?,
        division: read(row.try_get::<String, _>("division")?.try_into())?,
        groups: read(serde_json::from_str(&groups))?,
        state: StationState::of(&state).ok_or(StoreError::Unreadable(state))?,
        asked: moment(row.try_get("asked")?)?,
        confirmed: row.try_get::<Option<i64>, _>("confirmed")?.map(moment).transpose()?,
        next_key: row.try_get("next_key")?,
        plan_revision: row.try_get("plan_revision")?,
        wants: row.try_get("wants")?,
        heard: row.try_get::<Option<i64>, _>("heard")?.map(moment).transpose()?,
        sounded: row.try_get::<Option<i64>, _>("sounded")?.map(moment).transpose()?,
        up: up == 1,
    })
}

/// Returns what a column says, or that it cannot be understood.
pub(in crate::office) fn read<T, E: std::fmt::Display>(read: Result<T, E>) -> Result<T, StoreError> {
    read.map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// Returns the time in a column.
pub(in crate::office) fn moment(ms: i64) -> Result<Timestamp, StoreError> {
    read(Timestamp::from_millisecond(ms))
}

/// Returns a station as a transaction sees it.
pub(super) async fn one(tx: &mut Transaction<'static, Any>, id: &StationId) -> Result<Option<Station>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM station WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&mut **tx).await?;
    row.as_ref().map(station).transpose()
}

impl Store {
    /// Returns every station, by id.
    pub async fn stations(&self) -> Result<Vec<Station>, StoreError> {
        self.stations_changed(-1, i64::MAX).await
    }

    /// Returns the stations about which something last changed after a revision of the office and up to another, by id. A
    /// station that merely asked has not changed anything yet: its revision is 0.
    pub async fn stations_changed(&self, after: i64, until: i64) -> Result<Vec<Station>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM station WHERE wants > $1 AND wants <= $2 ORDER BY id");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(after).bind(until);
        query.fetch_all(self.reads()).await?.iter().map(station).collect()
    }

    /// Returns one station.
    pub async fn station(&self, id: &StationId) -> Result<Option<Station>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM station WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(self.reads()).await?;
        row.as_ref().map(station).transpose()
    }
}
