//! Campaigns and their versions, and the plans that stations get of them.
//!
//! A change reads what it builds on after it has begun: whoever would change it too waits for this change, so what the
//! other connections show is what is true until it is committed.

use super::{
    Change, Store, StoreError,
    stations::{moment, read},
};
use crate::{
    link::{BlobId, Envelope, StationId, protocol::Reported},
    office::{
        campaign::{Campaign, CampaignId, CampaignKind, Standing, Stands},
        compose::Out,
    },
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{
    Any, Row as _,
    any::{AnyArguments, AnyRow},
    query::Query,
};
use std::{collections::BTreeMap, sync::Arc};

/// A campaign as it is filed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filed {
    /// Its name.
    pub id: CampaignId,
    /// What kind of thing it is.
    pub kind: CampaignKind,
    /// What people call it.
    pub title: String,
    /// How far it is.
    pub standing: Standing,
    /// The office's revision at which what stations have of it last changed; 0 before anybody had it.
    pub changed: i64,
    /// When anything about it last changed.
    pub at: Timestamp,
}

/// One version of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// Who wrote it, or brought it back.
    pub made_by: String,
    /// When.
    pub at: Timestamp,
    /// When it first went to all it is meant for; none where it never did.
    pub went_out: Option<Timestamp>,
}

/// As many plans as one statement keeps.
const PLANS: usize = 100;

/// The columns that [`filed`] reads.
const COLUMNS: &str = "id, kind, title, state, trial, version, published, changed, at";

fn filed(row: &AnyRow) -> Result<Filed, StoreError> {
    let (kind, state): (String, String) = (row.try_get("kind")?, row.try_get("state")?);
    let trial: Option<String> = row.try_get("trial")?;
    let published: Option<i64> = row.try_get("published")?;
    let known_kind = CampaignKind::ALL.into_iter().find(|known| known.key() == kind);
    let known_state = Stands::ALL.into_iter().find(|known| known.key() == state);
    Ok(Filed {
        id: read(row.try_get::<String, _>("id")?.try_into())?,
        kind: known_kind.ok_or(StoreError::Unreadable(kind))?,
        title: row.try_get("title")?,
        standing: Standing {
            state: known_state.ok_or(StoreError::Unreadable(state))?,
            trial: trial.map(|trial| read(trial.try_into())).transpose()?,
            version: row.try_get::<i64, _>("version")?.unsigned_abs(),
            published: published.map(i64::unsigned_abs),
        },
        changed: row.try_get("changed")?,
        at: moment(row.try_get("at")?)?,
    })
}

impl Store {
    /// Returns every campaign, what was changed last first.
    pub async fn campaigns(&self) -> Result<Vec<Filed>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM campaign ORDER BY at DESC, id");
        sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(self.reads()).await?.iter().map(filed).collect()
    }

    /// Returns one campaign.
    pub async fn campaign(&self, id: &CampaignId) -> Result<Option<Filed>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM campaign WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(self.reads()).await?;
        row.as_ref().map(filed).transpose()
    }

    /// Returns the versions of a campaign, newest first.
    pub async fn versions(&self, id: &CampaignId) -> Result<Vec<Version>, StoreError> {
        let sql =
            "SELECT version, made_by, at, went_out FROM campaign_version WHERE campaign = $1 ORDER BY version DESC";
        let rows: Vec<(i64, String, i64, Option<i64>)> =
            sqlx::query_as(sql).bind(id.as_str()).fetch_all(self.reads()).await?;
        let version = |(version, made_by, at, went_out): (i64, String, i64, Option<i64>)| {
            let went_out = went_out.map(moment).transpose()?;
            Ok(Version { version: version.unsigned_abs(), made_by, at: moment(at)?, went_out })
        };
        rows.into_iter().map(version).collect()
    }

    /// Returns what a version says.
    pub async fn version(&self, id: &CampaignId, version: u64) -> Result<Option<Campaign>, StoreError> {
        let sql = "SELECT document FROM campaign_version WHERE campaign = $1 AND version = $2";
        let document: Option<String> =
            sqlx::query_scalar(sql).bind(id.as_str()).bind(version.cast_signed()).fetch_optional(self.reads()).await?;
        document.map(|document| read(serde_json::from_str(&document))).transpose()
    }

    /// Returns the campaigns of which some station has something, with the versions that somebody has.
    pub async fn out(&self) -> Result<BTreeMap<CampaignId, Out>, StoreError> {
        let sql = "SELECT c.id, c.kind, c.title, c.state, c.trial, c.version, c.published, c.changed, c.at, \
                   v.version AS number, v.document FROM campaign c JOIN campaign_version v ON v.campaign = c.id \
                   AND (v.version = c.published OR (c.trial IS NOT NULL AND v.version = c.version)) ORDER BY c.id";
        let mut all: BTreeMap<CampaignId, Out> = BTreeMap::new();
        for row in sqlx::query(sql).fetch_all(self.reads()).await? {
            let filed = filed(&row)?;
            let campaign: Campaign = read(serde_json::from_str(&row.try_get::<String, _>("document")?))?;
            let out = all.entry(filed.id).or_insert_with(|| Out::new(filed.standing));
            out.versions.insert(row.try_get::<i64, _>("number")?.unsigned_abs(), Arc::new(campaign));
        }
        Ok(all)
    }

    /// Returns how long the sounds among the blobs are, in milliseconds, with the lengths of their files.
    pub async fn sounds(&self) -> Result<BTreeMap<BlobId, Stored>, StoreError> {
        let rows: Vec<(String, i64, String, i64)> =
            sqlx::query_as("SELECT sha256, bytes, title, duration_ms FROM blob").fetch_all(self.reads()).await?;
        let sound = |(sha256, bytes, title, ms): (String, i64, String, i64)| {
            let stored = Stored { title, bytes: bytes.unsigned_abs(), duration_ms: ms.unsigned_abs() };
            Ok((read(BlobId::try_from(sha256))?, stored))
        };
        rows.into_iter().map(sound).collect()
    }

    /// Returns what stations last said of themselves, and when.
    pub async fn reports(&self) -> Result<BTreeMap<StationId, (Reported, Timestamp)>, StoreError> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT station, document, at FROM reported").fetch_all(self.reads()).await?;
        let report = |(station, document, at): (String, String, i64)| {
            // What only a newer program can read is as good as no report.
            let document = serde_json::from_str(&document).ok()?;
            Some((StationId::try_from(station).ok()?, (document, Timestamp::from_millisecond(at).ok()?)))
        };
        Ok(rows.into_iter().filter_map(report).collect())
    }

    /// Returns the plan's envelope of a station; none before the first.
    pub async fn plan(&self, station: &StationId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT plan FROM station WHERE id = $1";
        let plan: Option<Option<String>> =
            sqlx::query_scalar(sql).bind(station.as_str()).fetch_optional(self.reads()).await?;
        Ok(plan.flatten())
    }
}

/// A sound that is among the blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What people call it.
    pub title: String,
    /// How long the file is.
    pub bytes: u64,
    /// How long it sounds.
    pub duration_ms: u64,
}

impl Change {
    /// Files a campaign as it stands now.
    pub(in crate::office) async fn file(&mut self, filed: &Filed) -> Result<(), StoreError> {
        let sql = "INSERT INTO campaign (id, kind, title, state, trial, version, published, changed, at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, \
                   title = excluded.title, state = excluded.state, trial = excluded.trial, version = excluded.version, \
                   published = excluded.published, changed = excluded.changed, at = excluded.at";
        let Filed { id, kind, title, standing, changed, at } = filed;
        let query = sqlx::query(sql).bind(id.as_str()).bind(kind.key()).bind(title).bind(standing.state.key());
        let query = query.bind(standing.trial.as_ref().map(|trial| trial.as_str().to_owned()));
        let query = query.bind(standing.version.cast_signed()).bind(standing.published.map(u64::cast_signed));
        query.bind(changed).bind(at.as_millisecond()).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Keeps a version for ever.
    pub(in crate::office) async fn keep_version(
        &mut self,
        campaign: &Campaign,
        version: u64,
        who: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO campaign_version (campaign, version, document, made_by, at) VALUES ($1, $2, $3, $4, $5)";
        let document = read(serde_json::to_string(campaign))?;
        let query = sqlx::query(sql).bind(campaign.id.as_str()).bind(version.cast_signed()).bind(document);
        query.bind(who).bind(at.as_millisecond()).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Notes that a version went to all it is meant for.
    pub(in crate::office) async fn went_out(
        &mut self,
        id: &CampaignId,
        version: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE campaign_version SET went_out = $3 \
                   WHERE campaign = $1 AND version = $2 AND went_out IS NULL";
        let query = sqlx::query(sql).bind(id.as_str()).bind(version.cast_signed()).bind(at.as_millisecond());
        query.execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Gives these stations other plans, under the revision of this change. Everybody who would change something waits
    /// meanwhile, an emergency too, so it is many rows at a time.
    pub(in crate::office) async fn keep_plans(&mut self, plans: &[(StationId, Envelope)]) -> Result<(), StoreError> {
        for some in plans.chunks(PLANS) {
            let rows: Vec<_> = (1..=some.len()).map(|row| format!("(${}, ${})", 2 * row, 2 * row + 1)).collect();
            // Both engines call the columns of VALUES so.
            let sql = format!(
                "UPDATE station SET plan = v.column2, plan_revision = $1, wants = $1 FROM (VALUES {}) AS v \
                 WHERE id = v.column1 AND plan_revision < $1",
                rows.join(", ")
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(self.revision);
            let bind = |query: Query<'static, Any, AnyArguments>, (station, envelope): &(StationId, Envelope)| {
                query.bind(station.as_str().to_owned()).bind(envelope.text().to_owned())
            };
            some.iter().fold(query, bind).execute(&mut *self.tx).await?;
        }
        Ok(())
    }
}
