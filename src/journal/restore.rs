//! Looks at a journal that somebody brings, before it may become a station's own: it must be made as ours are, down to its
//! tables, whole, and signed by the key that comes with it. A database that somebody else made could do anything when
//! it is written to.

use super::{
    JournalError, PublicKey, migrate,
    read::{Reader, Verdict},
};
use ed25519_dalek::SigningKey;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use std::{fs, path::Path};

/// Why a journal cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is no journal of ours.
    #[error("不是大喇叭的播出记录")]
    Foreign,
    /// It cannot be read.
    #[error("读不出来（{0}）")]
    Unreadable(#[from] JournalError),
    /// A row does not follow.
    #[error("第 {seq} 条不对：{why}")]
    Broken {
        /// Its number.
        seq: i64,
        /// What is wrong with it.
        why: String,
    },
    /// The key is another's.
    #[error("密钥 station.key 和播出记录不是一对")]
    Key,
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

/// Returns how many rows a journal has, if it and its key may become a station's own.
pub async fn examine(journal: &Path, key: &Path) -> Result<i64, Unfit> {
    let seed: [u8; 32] = fs::read(key).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Unfit::Key)?;
    let public = PublicKey::from(&SigningKey::from_bytes(&seed));
    let mut reader = Reader::open(journal).await?;
    sqlx::query("PRAGMA trusted_schema = OFF").execute(&mut reader.connection).await?;
    let steps = migrate::steps(&mut reader.connection).await?;
    let mut ours = SqliteConnection::connect("sqlite::memory:").await?;
    migrate::migrate_to(&mut ours, steps).await?;
    if steps == 0 || tables(&mut reader.connection).await? != tables(&mut ours).await? {
        return Err(Unfit::Foreign);
    }
    let sound: String = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut reader.connection).await?.try_get(0)?;
    if sound != "ok" {
        return Err(Unfit::Foreign);
    }
    if reader.key().await? != Some(public) {
        return Err(Unfit::Key);
    }
    match reader.verify().await? {
        Verdict::Whole { rows, .. } => Ok(rows),
        Verdict::Broken { seq, why } => Err(Unfit::Broken { seq, why: why.zh }),
    }
}

/// Returns everything that a database is made of: tables, indexes, triggers, views.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<(String, String, Option<String>)>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    #[tokio::test]
    async fn only_a_journal_of_ours_with_its_own_key_is_taken() {
        let (here, there, folder) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(Journal::open(here.path(), "a").await.unwrap());
        drop(Journal::open(there.path(), "b").await.unwrap());
        let copy = folder.path().join("copy.db");
        Reader::open(&here.path().join("journal.db")).await.unwrap().copy_to(&copy).await.unwrap();
        let key = here.path().join("station.key");
        assert_eq!(examine(&copy, &key).await.unwrap(), 0);
        assert!(matches!(examine(&copy, &there.path().join("station.key")).await, Err(Unfit::Key)));
        let mut connection = SqliteConnection::connect(&format!("sqlite:{}", copy.display())).await.unwrap();
        let trigger = "CREATE TRIGGER evil AFTER INSERT ON entry BEGIN DELETE FROM state; END";
        sqlx::raw_sql(trigger).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(examine(&copy, &key).await, Err(Unfit::Foreign)));
        fs::write(&copy, "x".repeat(4096)).unwrap();
        assert!(examine(&copy, &key).await.is_err());
    }
}
