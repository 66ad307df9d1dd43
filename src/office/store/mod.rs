//! The office's tables, on SQLite or PostgreSQL: every line of SQL of the office is below this module.
//!
//! One text of SQL serves both engines, in the part of the language that they share (`$1`, `ON CONFLICT`, `BIGINT`), through
//! sqlx's `Any`. SQLite has one connection that writes and others that read; PostgreSQL has pools of both. What sums up
//! is cast to `BIGINT`, because PostgreSQL would make it a number that `Any` does not know.
//!
//! Always true: what changes what some station should have, or what a person decided, is a [`Change`]: it takes the office's
//! next revision under the lock of the one row of `office`, so that revisions have the order of their commits and whoever
//! polls "greater than the last" misses none. What comes from stations needs no revision. Whoever writes rows of several
//! stations in one transaction takes them in the order of their ids, so that no two wait for each other.
//!
//! Not here: what the documents say ([`crate::link`]), which of them a station gets.

mod campaigns;
mod commands;
mod copy;
mod enrol;
mod entries;
mod glance;
pub(in crate::office) mod journal;
mod presence;
mod stations;
#[cfg(test)]
pub(in crate::office) mod tests;
mod trust;

pub use campaigns::{Filed, Stored, Version};
pub use commands::{Ordered, Receipt};
pub use enrol::{Asked, Asking, Code};
pub use entries::{Evidence, Found, Mark, Search, StoredLine};
pub use glance::{LastWord, Played, ReceiptOf, Record, RejectedBy, Shelved, Turn};
pub use journal::Held;
pub use presence::{Refusal, Saying};
pub(in crate::office) use stations::read;
pub use stations::{Station, StationState};
pub use trust::{About, InForce};

use crate::clock;
use sqlx::{
    Any, AnyPool, Connection as _, Transaction,
    any::{AnyPoolOptions, install_default_drivers},
};
use std::{path::Path, time::Duration};

/// A connection that is not to be had by then is not coming.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that read, and on PostgreSQL as many that write.
const CONNECTIONS: u32 = 8;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It has no room left; nothing of what was asked is in it.
    #[error("数据库所在的磁盘满了；请腾出空间，未存的内容会自动重新上传")]
    Full(#[source] sqlx::Error),
    /// It cannot be reached.
    #[error("连不上数据库；请检查数据库服务器和网络")]
    Away(#[source] sqlx::Error),
    /// It refused.
    #[error("数据库没有完成操作")]
    Database(#[source] sqlx::Error),
    /// A copy would mix with what is there.
    #[error("目标数据库里已有内容；请换一个空的数据库")]
    NotEmpty,
    /// A copy is not like its original.
    #[error("复制的内容与原来的不一致，什么也没有写入：{0}")]
    Unlike(String),
    /// What `--database` says is no database.
    #[error("`{0}` 不是数据库地址；请写 postgres://用户名@服务器/数据库，不写则用主目录里的 office.db")]
    NoAddress(String),
    /// It was made by a newer program.
    #[error("数据库是更新版本的程序建立的；请升级本程序")]
    Newer,
    /// What is in it cannot be understood.
    #[error("数据库里的内容读不懂：{0}")]
    Unreadable(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        match error {
            // SQLite says 13, or that a write failed; PostgreSQL has a code for it.
            _ if ["13", "778", "53100"].contains(&code.as_str()) => Self::Full(error),
            Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed => Self::Away(error),
            // PostgreSQL ends, starts, cannot be connected to, or has become somebody's standby.
            _ if ["57P", "08"].iter().any(|class| code.starts_with(class)) || code == "25006" => Self::Away(error),
            _ => Self::Database(error),
        }
    }
}

/// The name of the file in the office's home.
pub(in crate::office) const FILE: &str = "office.db";

/// Which engine keeps the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One file.
    Sqlite,
    /// A server, which several office processes may share.
    Postgres,
}

/// The office's tables.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
    writes: AnyPool,
    reads: AnyPool,
}

impl Store {
    /// Opens what `--database` says; where it says nothing, `office.db` in the office's home.
    pub async fn open(database: Option<&str>, home: &Path) -> Result<Self, StoreError> {
        match database {
            None => Self::in_folder(home).await,
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Self::on_postgres(url).await
            }
            // An address may hold a password, so no more of it is repeated than what it begins with.
            Some(other) => {
                Err(StoreError::NoAddress(other.chars().take_while(|letter| *letter != '@').take(20).collect()))
            }
        }
    }

    /// Opens `office.db` in `folder`, or makes it.
    pub async fn in_folder(folder: &Path) -> Result<Self, StoreError> {
        let file = folder.join(FILE);
        // In an address, what is no plain character of a path is written as its bytes.
        let bytes = file.to_string_lossy().into_owned().into_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:\\".contains(byte);
        let path: String = bytes
            .iter()
            .map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
            .collect();
        Self::at(Engine::Sqlite, &format!("sqlite://{path}?mode=rwc")).await
    }

    /// Opens the database at `postgres://…`.
    pub async fn on_postgres(url: &str) -> Result<Self, StoreError> {
        Self::at(Engine::Postgres, url).await
    }

    async fn at(engine: Engine, url: &str) -> Result<Self, StoreError> {
        install_default_drivers();
        let pool = |connections| {
            let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
            // A full disk makes SQLite end a transaction by itself, and sqlx believes ever after that it goes on.
            let options = options.before_acquire(|connection, _| {
                let is_idle = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_idle) })
            });
            options.after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in at_first(engine) {
                        sqlx::query(*statement).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
        };
        let writers = if engine == Engine::Sqlite { 1 } else { CONNECTIONS };
        let writes = pool(writers).connect(url).await?;
        let reads = pool(CONNECTIONS).connect(url).await?;
        let store = Self { engine, writes, reads };
        store.migrate().await?;
        Ok(store)
    }

    /// Makes the tables, once, whichever of several processes comes first.
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // Whoever takes this lock first makes the tables; the others find them.
        if self.engine == Engine::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock(7301447)").execute(&mut *tx).await?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS version (number BIGINT PRIMARY KEY)").execute(&mut *tx).await?;
        let version: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM version").fetch_one(&mut *tx).await?;
        match version {
            None => {
                for statement in
                    include_str!("schema.sql").split_inclusive(";\n").filter(|text| text.contains("CREATE"))
                {
                    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await?;
                }
                sqlx::query("INSERT INTO version (number) VALUES (1)").execute(&mut *tx).await?;
            }
            Some(1) => {}
            Some(_) => return Err(StoreError::Newer),
        }
        Ok(tx.commit().await?)
    }

    /// Begins a transaction that may write. On SQLite it takes its turn at once, so that it cannot fail for want of it later.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(match self.engine {
            Engine::Sqlite => self.writes.begin_with("BEGIN IMMEDIATE").await?,
            Engine::Postgres => self.writes.begin().await?,
        })
    }

    /// Where one reads.
    pub(super) fn reads(&self) -> &AnyPool {
        &self.reads
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Begins a change, under the office's next revision, which waits for those before it.
    pub async fn change(&self) -> Result<Change, StoreError> {
        let mut tx = self.begin().await?;
        let next = "UPDATE office SET revision = revision + 1 WHERE id = 1 RETURNING revision";
        let revision = sqlx::query_scalar(next).fetch_one(&mut *tx).await?;
        Ok(Change { tx, revision })
    }
}

/// What each connection is told before it is used: what was committed is on the disk.
fn at_first(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &["PRAGMA busy_timeout = 10000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"],
        // A server may be set to answer before it has written; never to us. Stricter than we ask is left alone.
        Engine::Postgres => &[
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        ],
    }
}

/// A transaction with a revision of its own. Dropped without a commit, it leaves nothing.
#[derive(Debug)]
pub struct Change {
    pub(super) tx: Transaction<'static, Any>,
    /// The office's, once this is committed.
    pub revision: i64,
}

/// What people do at an office.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The office was set up.
    SetUp,
    /// A code was made for a village.
    MadeCode,
    /// A station was taken in.
    Confirmed,
    /// A station is trusted no longer.
    Revoked,
    /// A station's name, division or groups were changed.
    Placed,
    /// A sound was brought.
    Brought,
    /// A campaign or bulletin was written.
    Wrote,
    /// It went to one village.
    Tried,
    /// It went to all it is meant for.
    Published,
    /// An earlier version came back.
    Restored,
    /// It was taken back.
    Withdrew,
    /// Plans were signed again, before their time ran out.
    Renewed,
    /// A command was issued.
    Ordered,
    /// Somebody may use the pages, may do something else there, or may no longer.
    People,
    /// Another key signs.
    Keys,
}

impl Deed {
    /// Its word in the table and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::MadeCode => "made-code",
            Self::Confirmed => "confirmed",
            Self::Revoked => "revoked",
            Self::Placed => "placed",
            Self::Brought => "brought",
            Self::Wrote => "wrote",
            Self::Tried => "tried",
            Self::Published => "published",
            Self::Restored => "restored",
            Self::Withdrew => "withdrew",
            Self::Renewed => "renewed",
            Self::Ordered => "ordered",
            Self::People => "people",
            Self::Keys => "keys",
        }
    }
}

impl Change {
    /// Puts on record who did this, and makes it durable.
    pub async fn commit(mut self, who: &str, deed: Deed, about: &str, detail: &str) -> Result<i64, StoreError> {
        let audit = "INSERT INTO audit (revision, at, who, what, about, detail) VALUES ($1, $2, $3, $4, $5, $6)";
        let audit = sqlx::query(audit).bind(self.revision).bind(clock::wall().as_millisecond()).bind(who);
        audit.bind(deed.key()).bind(about).bind(detail).execute(&mut *self.tx).await?;
        self.tx.commit().await?;
        Ok(self.revision)
    }
}
