//! Codes that let stations in, and what becomes of those that asked.

use super::{
    Change, Station, Store, StoreError,
    stations::{moment, read},
};
use crate::link::{Division, Envelope, Place, StationId};
use jiff::Timestamp;

/// A code that was made, as it is kept: the code itself is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The sha256 of the code as it is read out.
    pub hash: String,
    /// Where those are whom it lets in.
    pub division: Division,
    /// What the clerk calls the village; empty where each station names itself.
    pub name: String,
    /// Who made it.
    pub made_by: String,
    /// From here on it lets nobody in.
    pub expires: Timestamp,
    /// So many stations may still ask by it.
    pub uses: i64,
    /// They are taken in without a clerk.
    pub automatic: bool,
}

/// What came of a station's asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// No such code, or it is used up, or too old.
    NoCode,
    /// There is a station of this name elsewhere, or it asked by another code.
    Taken,
    /// It waits for a clerk, or has been taken in; with the code by which it asked.
    Known(Box<Station>, Code),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The sha256 of the code.
    pub hash: &'a str,
    /// Which station.
    pub station: &'a StationId,
    /// What it calls itself.
    pub name: &'a str,
    /// Its public key, 64 hexadecimal digits.
    pub key: &'a str,
}

type CodeRow = (String, String, String, String, i64, i64, i64);

const CODE: &str = "hash, division, name, made_by, expires, uses, automatic";

fn code((hash, division, name, made_by, expires, uses, automatic): CodeRow) -> Result<Code, StoreError> {
    let (division, expires) = (read(division.try_into())?, moment(expires)?);
    Ok(Code { hash, division, name, made_by, expires, uses, automatic: automatic == 1 })
}

impl Store {
    /// Returns the codes that still let somebody in, those that end first before others.
    pub async fn codes(&self, now: Timestamp) -> Result<Vec<Code>, StoreError> {
        let sql = format!("SELECT {CODE} FROM enrol_code WHERE uses > 0 AND expires > $1 ORDER BY expires, hash");
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(now.as_millisecond());
        let rows: Vec<CodeRow> = rows.fetch_all(self.reads()).await?;
        rows.into_iter().map(code).collect()
    }

    /// Takes note that a station asks to be taken in. To ask again by the same code with the same key changes nothing.
    pub async fn ask(&self, asking: Asking<'_>, now: Timestamp) -> Result<Asked, StoreError> {
        let Asking { hash, station, key, .. } = asking;
        let mut tx = self.begin().await?;
        // Written first: whoever asks by the same code at the same time waits here.
        let sql = format!("UPDATE enrol_code SET uses = uses WHERE hash = $1 RETURNING {CODE}");
        let row: Option<CodeRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(hash).fetch_optional(&mut *tx).await?;
        let Some(code) = row.map(code).transpose()? else { return Ok(Asked::NoCode) };
        type Known = (String, Option<String>, String, Option<String>, String);
        let sql = "SELECT public_key, next_key, state, code, division FROM station WHERE id = $1";
        let known: Option<Known> = sqlx::query_as(sql).bind(station.as_str()).fetch_optional(&mut *tx).await?;
        let by_this_code = |known: &Known| known.3.as_deref() == Some(hash);
        if let Some((public_key, next_key, ..)) = known.as_ref().filter(|known| by_this_code(known))
            && (key == public_key || Some(key) == next_key.as_deref())
        {
            drop(tx);
            return self.known(station, code).await;
        }
        if code.uses <= 0 || code.expires <= now {
            return Ok(Asked::NoCode);
        }
        let name = if code.name.is_empty() { asking.name } else { &code.name };
        match &known {
            None => {
                let sql = "INSERT INTO station (id, name, public_key, division, groups, state, asked, plan_revision, \
                           wants, up, code) VALUES ($1, $2, $3, $4, '[]', 'pending', $5, 0, 0, 0, $6)";
                let insert = sqlx::query(sql).bind(station.as_str()).bind(name).bind(key);
                let insert = insert.bind(code.division.as_str()).bind(now.as_millisecond()).bind(hash);
                insert.execute(&mut *tx).await?;
            }
            // Nobody has agreed to anything yet: the newest asking counts.
            Some((_, _, state, ..)) if state == "pending" => {
                let sql = "UPDATE station SET name = $2, public_key = $3, division = $4, asked = $5, code = $6 \
                           WHERE id = $1";
                let update = sqlx::query(sql).bind(station.as_str()).bind(name).bind(key);
                let update = update.bind(code.division.as_str()).bind(now.as_millisecond()).bind(hash);
                update.execute(&mut *tx).await?;
            }
            // A code of one village does not ask for the place of another's station.
            Some((.., division)) if *division != code.division.as_str() => return Ok(Asked::Taken),
            Some((public_key, _, state, ..)) => {
                let next = (public_key != key || state == "revoked").then_some(key);
                let sql = "UPDATE station SET next_key = $2, asked = $3, code = $4 WHERE id = $1";
                let update = sqlx::query(sql).bind(station.as_str()).bind(next).bind(now.as_millisecond()).bind(hash);
                update.execute(&mut *tx).await?;
            }
        }
        let sql = "UPDATE enrol_code SET uses = uses - 1 WHERE hash = $1";
        sqlx::query(sql).bind(hash).execute(&mut *tx).await?;
        tx.commit().await?;
        self.known(station, code).await
    }

    async fn known(&self, station: &StationId, code: Code) -> Result<Asked, StoreError> {
        let station = self.station(station).await?;
        Ok(station.map_or(Asked::NoCode, |station| Asked::Known(station.into(), code)))
    }

    /// Returns the place of a station as it was signed.
    pub async fn signed_place(&self, station: &StationId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT place FROM station WHERE id = $1";
        let place = sqlx::query_scalar(sql).bind(station.as_str()).fetch_optional(self.reads()).await?;
        Ok(place.flatten())
    }
}

impl Change {
    /// Keeps a code.
    pub async fn code(&mut self, code: &Code) -> Result<(), StoreError> {
        let sql = "INSERT INTO enrol_code (hash, division, name, made_by, expires, uses, automatic) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let insert = sqlx::query(sql).bind(&code.hash).bind(code.division.as_str()).bind(&code.name);
        let insert = insert.bind(&code.made_by).bind(code.expires.as_millisecond()).bind(code.uses);
        insert.bind(i64::from(code.automatic)).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Takes a station in under this key, in the place that was signed. A key that takes the place of another brings a
    /// journal of its own, whatever came before stays.
    pub async fn take_in(&mut self, place: &Place, envelope: &Envelope, now: Timestamp) -> Result<(), StoreError> {
        let id = place.station.as_str();
        let sql = "SELECT public_key FROM station WHERE id = $1";
        let before: Option<String> = sqlx::query_scalar(sql).bind(id).fetch_optional(&mut *self.tx).await?;
        let sql = "UPDATE station SET public_key = $2, next_key = NULL, state = 'active', confirmed = $3 WHERE id = $1";
        sqlx::query(sql).bind(id).bind(&place.key).bind(now.as_millisecond()).execute(&mut *self.tx).await?;
        if before.as_deref() != Some(&place.key) {
            for sql in
                ["UPDATE journal SET is_current = 0 WHERE station = $1", "DELETE FROM reported WHERE station = $1"]
            {
                sqlx::query(sql).bind(id).execute(&mut *self.tx).await?;
            }
        }
        self.place(place, envelope).await
    }

    /// Puts a station where its signed place says.
    pub async fn place(&mut self, place: &Place, envelope: &Envelope) -> Result<(), StoreError> {
        let groups = read(serde_json::to_string(&place.groups))?;
        let sql = "UPDATE station SET division = $2, groups = $3, place = $4, wants = $5 WHERE id = $1";
        let update = sqlx::query(sql).bind(place.station.as_str()).bind(place.division.as_str()).bind(groups);
        update.bind(envelope.text()).bind(self.revision).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Gives a station another name.
    pub async fn rename(&mut self, station: &StationId, name: &str) -> Result<(), StoreError> {
        let sql = "UPDATE station SET name = $2, wants = $3 WHERE id = $1";
        let update = sqlx::query(sql).bind(station.as_str()).bind(name).bind(self.revision);
        update.execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Trusts a station no longer, or forgets that it asked.
    pub async fn revoke(&mut self, station: &StationId) -> Result<(), StoreError> {
        let sql = "UPDATE station SET state = 'revoked', next_key = NULL, wants = $2 WHERE id = $1";
        sqlx::query(sql).bind(station.as_str()).bind(self.revision).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Forgets that another machine asks for the place of a station.
    pub async fn refuse_key(&mut self, station: &StationId) -> Result<(), StoreError> {
        let sql = "UPDATE station SET next_key = NULL WHERE id = $1";
        sqlx::query(sql).bind(station.as_str()).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Returns a station as this change sees it.
    pub async fn station(&mut self, id: &StationId) -> Result<Option<Station>, StoreError> {
        super::stations::one(&mut self.tx, id).await
    }
}
