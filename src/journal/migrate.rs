//! Numbered steps from nothing to the newest schema. A step that shipped is never edited.

use super::JournalError;
use sqlx::{Connection as _, Row as _, SqliteConnection};

const STEPS: [&str; 3] =
    [include_str!("schema.sql"), include_str!("self-test.sql"), include_str!("self-test-english.sql")];

/// Brings a database up to date, each step in a transaction of its own.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), JournalError> {
    migrate_to(connection, STEPS.len()).await
}

/// Returns how many steps a database has behind it.
pub(super) async fn steps(connection: &mut SqliteConnection) -> Result<usize, JournalError> {
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?.try_get(0)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > STEPS.len() { Err(JournalError::Newer { version }) } else { Ok(done) }
}

/// Brings a database so many steps far.
pub(super) async fn migrate_to(connection: &mut SqliteConnection, last: usize) -> Result<(), JournalError> {
    let done = steps(connection).await?;
    for (index, step) in STEPS.iter().enumerate().take(last).skip(done) {
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        // A pragma takes no parameter; the number is ours.
        let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", index + 1));
        sqlx::raw_sql(version).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}
