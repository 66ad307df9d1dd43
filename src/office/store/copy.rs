//! Copies an office's tables into another, empty database: from SQLite to PostgreSQL when a town grows, and back.
//!
//! Always true: the copy is made in one transaction, and committed only if each table has as many rows as the original
//! and the rows of each journal still chain from the first to the last. Nothing is written to the original, and nobody
//! else writes to it meanwhile. Stations notice nothing.
//!
//! Not here: sounds, which are files under their hashes and may be copied as such; the keys.

use super::{Store, StoreError};
use crate::entry::{GENESIS, chain};
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction, any::AnyRow};
use tokio_stream::StreamExt as _;

/// Rows of one statement, where there are as many.
const CHUNK: usize = 100;

/// A table of `schema.sql`.
struct Table {
    name: &'static str,
    /// Whether it is a number, for each column.
    columns: Vec<(&'static str, bool)>,
}

/// The tables, as the schema has them.
fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in include_str!("schema.sql").lines() {
        let mut words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        match (words.next(), words.next(), words.next()) {
            (Some("CREATE"), Some("TABLE"), Some(name)) => tables.push(Table { name, columns: Vec::new() }),
            (Some(column), Some(kind @ ("TEXT" | "BIGINT")), _) => {
                if let Some(table) = tables.last_mut() {
                    table.columns.push((column, kind == "BIGINT"));
                }
            }
            _ => {}
        }
    }
    tables
}

impl Store {
    /// Copies everything to an empty store, and returns how many rows there were.
    pub async fn copy_to(&self, to: &Self) -> Result<i64, StoreError> {
        let (mut from, mut to) = (self.begin().await?, to.begin().await?);
        let mut rows = 0;
        for table in tables() {
            if count(&mut to, table.name).await? > 0 {
                return Err(StoreError::NotEmpty);
            }
            copy(&mut from, &mut to, &table).await?;
            let (here, there) = (count(&mut from, table.name).await?, count(&mut to, table.name).await?);
            if here != there {
                return Err(StoreError::Unlike(format!("{}: {here} / {there}", table.name)));
            }
            rows += here;
        }
        verify(&mut to).await?;
        to.commit().await?;
        Ok(rows)
    }
}

async fn count(tx: &mut Transaction<'static, Any>, table: &str) -> Result<i64, StoreError> {
    let query = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    Ok(sqlx::query_scalar(query).fetch_one(&mut **tx).await?)
}

async fn copy(
    from: &mut Transaction<'static, Any>,
    to: &mut Transaction<'static, Any>,
    table: &Table,
) -> Result<(), StoreError> {
    let names: Vec<_> = table.columns.iter().map(|column| column.0).collect();
    let query = AssertSqlSafe(format!("SELECT {} FROM {}", names.join(", "), table.name));
    let mut rows = sqlx::query(query).fetch(&mut **from);
    let mut chunk = Vec::new();
    while let Some(row) = rows.next().await {
        chunk.push(row?);
        if chunk.len() == CHUNK {
            insert(to, table, &names, &chunk).await?;
            chunk.clear();
        }
    }
    for row in chunk {
        insert(to, table, &names, std::slice::from_ref(&row)).await?;
    }
    Ok(())
}

async fn insert(
    to: &mut Transaction<'static, Any>,
    table: &Table,
    names: &[&str],
    rows: &[AnyRow],
) -> Result<(), StoreError> {
    let place = |row: usize, column: usize| format!("${}", row * names.len() + column + 1);
    let tuple = |row| format!("({})", (0..names.len()).map(|column| place(row, column)).collect::<Vec<_>>().join(","));
    let tuples: Vec<_> = (0..rows.len()).map(tuple).collect();
    let insert = format!("INSERT INTO {} ({}) VALUES {}", table.name, names.join(", "), tuples.join(","));
    let mut insert = sqlx::query(AssertSqlSafe(insert));
    for row in rows {
        for (index, (_, is_number)) in table.columns.iter().enumerate() {
            insert = match is_number {
                true => insert.bind(row.try_get::<Option<i64>, _>(index)?),
                false => insert.bind(row.try_get::<Option<String>, _>(index)?),
            };
        }
    }
    insert.execute(&mut **to).await?;
    Ok(())
}

/// Holds the rows of each journal against its head, chaining them anew.
async fn verify(tx: &mut Transaction<'static, Any>) -> Result<(), StoreError> {
    let journals = sqlx::query("SELECT station, epoch, acked, head FROM journal").fetch_all(&mut **tx).await?;
    for journal in journals {
        let (station, epoch): (String, String) = (journal.try_get(0)?, journal.try_get(1)?);
        let (acked, head): (i64, String) = (journal.try_get(2)?, journal.try_get(3)?);
        let query = "SELECT seq, line, hash FROM entry WHERE station = $1 AND epoch = $2 ORDER BY seq";
        let mut rows = sqlx::query(query).bind(&station).bind(&epoch).fetch(&mut **tx);
        let (mut seq, mut hash) = (0, GENESIS.to_owned());
        while let Some(row) = rows.next().await {
            let row = row?;
            seq += 1;
            hash = chain(&hash, &row.try_get::<String, _>(1)?);
            if row.try_get::<i64, _>(0)? != seq || row.try_get::<String, _>(2)? != hash {
                return Err(StoreError::Unlike(format!("{station} {epoch} {seq}")));
            }
        }
        if (seq, hash) != (acked, head) {
            return Err(StoreError::Unlike(format!("{station} {epoch} {acked}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::engines, *};

    /// A row of each table with a value in each column, and a second one with none where none is allowed.
    async fn fill(store: &Store) {
        let mut tx = store.begin().await.unwrap();
        let line = "{}";
        let hash = chain(GENESIS, line);
        for table in tables() {
            let names: Vec<_> = table.columns.iter().map(|column| column.0).collect();
            let value = |(name, is_number): &(&str, bool)| match (table.name, *name, is_number) {
                ("entry", "line", _) => format!("'{line}'"),
                ("entry", "hash", _) | ("journal", "head", _) => format!("'{hash}'"),
                (_, _, true) => "1".to_owned(),
                (_, name, false) => format!("'{name} 青石镇 ''x''\n'"),
            };
            let mut values: Vec<_> = table.columns.iter().map(value).collect();
            if let ("entry" | "journal", [station, epoch, ..]) = (table.name, &mut values[..]) {
                (*station, *epoch) = ("'beizhuang'".into(), "'beizhuang-1'".into());
            }
            let insert = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), values.join(", "));
            sqlx::query(AssertSqlSafe(insert)).execute(&mut *tx).await.unwrap();
        }
        let pending =
            "INSERT INTO station (id, name, public_key, division, groups, state, asked, plan_revision, wants, up)
            VALUES ('a', '', '', '', '[]', 'pending', 0, 0, 0, 0)";
        sqlx::query(pending).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn everything(store: &Store) -> String {
        let mut all = String::new();
        for table in tables() {
            let names: Vec<_> = table.columns.iter().map(|column| column.0).collect();
            let query = format!("SELECT {0} FROM {1} ORDER BY 1", names.join(", "), table.name);
            for row in sqlx::query(AssertSqlSafe(query)).fetch_all(store.reads()).await.unwrap() {
                all += table.name;
                for (index, (name, is_number)) in table.columns.iter().enumerate() {
                    all += &match is_number {
                        true => format!(" {name}={:?}", row.get::<Option<i64>, _>(index)),
                        false => format!(" {name}={:?}", row.get::<Option<String>, _>(index)),
                    };
                }
                all += "\n";
            }
        }
        all
    }

    #[tokio::test]
    async fn everything_is_copied_to_another_engine_and_back_and_over_nothing() {
        let [sqlite, postgres] = engines().await;
        let [back, _] = engines().await;
        fill(&sqlite).await;
        let rows = sqlite.copy_to(&postgres).await.unwrap();
        assert_eq!(rows, tables().len() as i64 + 1);
        assert_eq!(postgres.copy_to(&back).await.unwrap(), rows);
        let original = everything(&sqlite).await;
        assert!(original.contains("青石镇 'x'"), "{original}");
        assert_eq!(everything(&postgres).await, original);
        assert_eq!(everything(&back).await, original);
        assert!(matches!(sqlite.copy_to(&postgres).await, Err(StoreError::NotEmpty)));
    }

    #[tokio::test]
    async fn a_journal_that_does_not_chain_is_not_copied() {
        for wrong in [
            "UPDATE entry SET line = '{ }'",
            "UPDATE entry SET seq = 2",
            "DELETE FROM entry",
            "UPDATE journal SET head = ''",
        ] {
            let [sqlite, postgres] = engines().await;
            fill(&sqlite).await;
            sqlx::query(wrong).execute(&sqlite.writes).await.unwrap();
            let copied = sqlite.copy_to(&postgres).await;
            assert!(matches!(copied, Err(StoreError::Unlike(_))), "{wrong}: {copied:?}");
            assert_eq!(everything(&postgres).await, "", "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_schema_is_read_whole() {
        let [sqlite, _] = engines().await;
        let columns = "SELECT count(*) FROM sqlite_master, pragma_table_info(sqlite_master.name)
            WHERE sqlite_master.type = 'table' AND sqlite_master.name <> 'version'";
        let columns: i64 = sqlx::query_scalar(columns).fetch_one(sqlite.reads()).await.unwrap();
        assert_eq!(tables().iter().map(|table| table.columns.len() as i64).sum::<i64>(), columns);
    }
}
