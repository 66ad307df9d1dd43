//! The office itself, and every root that was in force.

use super::{Change, Store, StoreError, stations::read};
use crate::link::{Division, Envelope, Kind, Place, Plan, Signer};
use jiff::tz::TimeZone;

/// As many stations as are signed for at a time.
const PAGE: i64 = 100;

/// What holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The last change's.
    pub revision: i64,
    /// The root's.
    pub generation: u64,
    /// The version of the root.
    pub root: u64,
}

/// The one row of the office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What people call it.
    pub name: String,
    /// Whom it may speak to.
    pub division: Division,
    /// Where its dates are, as `Asia/Shanghai`.
    pub zone: String,
    /// The root's.
    pub generation: u64,
    /// The last change's.
    pub revision: i64,
}

impl About {
    /// Returns the zone.
    pub fn time_zone(&self) -> Result<TimeZone, StoreError> {
        read(TimeZone::get(&self.zone))
    }
}

impl Store {
    /// Returns what office this is; none before it was set up.
    pub async fn about(&self) -> Result<Option<About>, StoreError> {
        let sql = "SELECT name, division, zone, generation, revision FROM office WHERE id = 1";
        let row: Option<(String, String, String, i64, i64)> = sqlx::query_as(sql).fetch_optional(self.reads()).await?;
        let Some((name, division, zone, generation, revision)) = row else { return Ok(None) };
        let division = read(division.try_into())?;
        Ok(Some(About { name, division, zone, generation: generation.unsigned_abs(), revision }))
    }

    /// Returns the office's revision: higher after every change; 0 before the office was set up.
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let revision = sqlx::query_scalar("SELECT revision FROM office WHERE id = 1");
        Ok(revision.fetch_optional(self.reads()).await?.unwrap_or(0))
    }

    /// Returns what is in force; none before the office was set up.
    pub async fn in_force(&self) -> Result<Option<InForce>, StoreError> {
        let sql = "SELECT revision, generation, (SELECT coalesce(max(version), 0) FROM root) FROM office WHERE id = 1";
        let row: Option<(i64, i64, i64)> = sqlx::query_as(sql).fetch_optional(self.reads()).await?;
        Ok(row.map(|(revision, generation, root)| InForce {
            revision,
            generation: generation.unsigned_abs(),
            root: root.unsigned_abs(),
        }))
    }

    /// Sets the office up under its first root, in one change; none where it was set up already. Nothing is durable before
    /// the change is committed.
    pub async fn found(&self, about: &About, version: u64, root: &str) -> Result<Option<Change>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO office (id, name, division, zone, generation, revision) VALUES (1, $1, $2, $3, $4, 1) \
                   ON CONFLICT DO NOTHING";
        let office = sqlx::query(sql).bind(&about.name).bind(about.division.as_str()).bind(&about.zone);
        if office.bind(about.generation.cast_signed()).execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let mut change = Change { tx, revision: 1 };
        change.root(version, about.generation, root).await?;
        Ok(Some(change))
    }

    /// Returns the roots after a version, oldest first, with their versions.
    pub async fn roots_after(&self, version: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT version, envelope FROM root WHERE version > $1 ORDER BY version")
                .bind(i64::try_from(version).unwrap_or(i64::MAX))
                .fetch_all(self.reads())
                .await?;
        Ok(rows.into_iter().map(|(version, envelope)| (version.unsigned_abs(), envelope)).collect())
    }
}

impl Change {
    /// Puts another root in force.
    pub async fn root(&mut self, version: u64, generation: u64, envelope: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO root (version, envelope) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(version.cast_signed()).bind(envelope).execute(&mut *self.tx).await?;
        // Who was ahead in another generation is not in this one, and says so by itself where it is.
        let sql =
            "UPDATE reported SET ahead = 0 WHERE ahead = 1 AND (SELECT generation FROM office WHERE id = 1) <> $1";
        sqlx::query(sql).bind(generation.cast_signed()).execute(&mut *self.tx).await?;
        let sql = "UPDATE office SET generation = $1 WHERE id = 1";
        sqlx::query(sql).bind(generation.cast_signed()).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Returns the version of the root in force.
    pub async fn newest_root(&mut self) -> Result<u64, StoreError> {
        let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM root").fetch_one(&mut *self.tx).await?;
        Ok(version.unwrap_or(0).unsigned_abs())
    }

    /// Signs every place and plan with another key, under a generation. Within the same generation their bytes stay what
    /// they are, so that a station finds what it has.
    pub async fn sign_again(&mut self, content: &Signer, generation: u64) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let sql = "SELECT id, place, plan FROM station WHERE id > $1 AND place IS NOT NULL ORDER BY id LIMIT $2";
            let rows: Vec<(String, Option<String>, Option<String>)> =
                sqlx::query_as(sql).bind(&after).bind(PAGE).fetch_all(&mut *self.tx).await?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            after = last.clone();
            for (id, place, plan) in &rows {
                let place = place.as_ref().map(|text| signed_again(text, content, generation)).transpose()?;
                let plan = plan.as_ref().map(|text| signed_again(text, content, generation)).transpose()?;
                let sql = "UPDATE station SET place = $2, plan = $3, wants = $4 WHERE id = $1";
                let update = sqlx::query(sql).bind(id).bind(place).bind(plan).bind(self.revision);
                update.execute(&mut *self.tx).await?;
            }
        }
    }
}

fn signed_again(text: &str, content: &Signer, generation: u64) -> Result<String, StoreError> {
    let envelope = Envelope::read(text.as_bytes()).map_err(|why| StoreError::Unreadable(why.said().zh))?;
    let (kind, by) = (envelope.kind(), std::slice::from_ref(content));
    let payload = envelope.payload();
    let signed = match kind {
        Kind::Place => {
            let place: Place = read(serde_json::from_slice(payload))?;
            (place.generation != generation).then(|| Envelope::of(kind, &Place { generation, ..place }, by))
        }
        Kind::Plan => {
            let plan: Plan = read(serde_json::from_slice(payload))?;
            (plan.generation != generation).then(|| Envelope::of(kind, &Plan { generation, ..plan }, by))
        }
        Kind::Root | Kind::Command | Kind::Time => None,
    };
    let signed = read(signed.transpose())?.unwrap_or_else(|| Envelope::sign(kind, payload, by));
    Ok(signed.text().to_owned())
}
