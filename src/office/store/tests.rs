//! The store on both engines. [`engines`] is for every test of every part that keeps something.

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use super::*;
use std::ops::Deref;
use tempfile::TempDir;

/// A store that nobody has used. Its folder, which may hold other things of the test too, lasts as long as this.
pub(in crate::office) struct Fresh {
    store: Store,
    /// Where the test may put files.
    pub(in crate::office) folder: TempDir,
    database: Option<String>,
}

impl Fresh {
    async fn open(database: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(database.as_deref(), folder.path()).await.unwrap();
        Self { store, folder, database }
    }

    /// Opens the same database once more, as a second process or the next one would.
    pub(in crate::office) async fn again(&self) -> Store {
        Store::open(self.database.as_deref(), self.folder.path()).await.unwrap()
    }
}

impl Deref for Fresh {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// One fresh store on each engine: on SQLite in a folder of its own, on PostgreSQL in a database of its own on a real
/// server. Without PostgreSQL the test fails.
pub(in crate::office) async fn engines() -> [Fresh; 2] {
    let database = tokio::task::spawn_blocking(postgres::fresh).await.unwrap();
    [Fresh::open(None).await, Fresh::open(Some(database)).await]
}

async fn number(store: &Store, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(store.reads()).await.unwrap()
}

/// The row that setting an office up leaves.
async fn set_up(store: &Store) {
    let office = "INSERT INTO office (id, name, division, zone, generation, revision) \
                  VALUES (1, '青石镇', '3301', 'Asia/Shanghai', 1, 0)";
    let mut tx = store.begin().await.unwrap();
    sqlx::query(office).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_store_opens_in_a_folder_with_a_chinese_name_and_again() {
    let folder = tempfile::tempdir().unwrap().keep().join("青石镇 100%");
    std::fs::create_dir_all(&folder).unwrap();
    for _ in 0..2 {
        let store = Store::in_folder(&folder).await.unwrap();
        assert_eq!(number(&store, "SELECT count(*) FROM sqlite_master WHERE type = 'table'").await, 19);
    }
    assert!(folder.join("office.db").exists());
}

#[tokio::test]
async fn two_processes_open_one_new_database_at_once_and_a_newer_one_not_at_all() {
    let database = tokio::task::spawn_blocking(postgres::fresh).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for database in [None, Some(database.as_str())] {
        let open = || Store::open(database, folder.path());
        let (one, two, three) = tokio::join!(open(), open(), open());
        for store in [&one, &two, &three] {
            let store = store.as_ref().unwrap();
            assert_eq!(number(store, "SELECT count(*) FROM version").await, 1, "{:?}", store.engine());
        }
        let one = one.unwrap();
        let mut tx = one.begin().await.unwrap();
        sqlx::query("UPDATE version SET number = 2").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(open().await, Err(StoreError::Newer)), "{:?}", one.engine());
    }
}

#[tokio::test]
async fn what_is_no_address_of_a_database_is_not_opened_and_its_password_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in ["mysql://a:geheim@b/c", "office.db", "", "Postgres://office:geheim-und-lang@b/c"] {
        let error = Store::open(Some(wrong), folder.path()).await.unwrap_err();
        assert!(matches!(error, StoreError::NoAddress(_)), "{wrong}");
        assert!(!error.to_string().contains("lang"), "{error}");
    }
    let nobody = format!("postgres://office@localhost/office?host={}", folder.path().display());
    assert!(matches!(Store::open(Some(&nobody), folder.path()).await, Err(StoreError::Away(_))));
}

#[tokio::test]
async fn a_change_that_was_not_committed_leaves_nothing_and_one_that_was_is_on_record() {
    for store in engines().await {
        set_up(&store).await;
        drop(store.change().await.unwrap());
        let change = store.change().await.unwrap();
        assert_eq!(change.commit("王芳", Deed::Placed, "beizhuang", "北庄村").await.unwrap(), 1);
        let again = store.again().await;
        assert_eq!(number(&again, "SELECT revision FROM office").await, 1);
        assert_eq!(number(&again, "SELECT count(*) FROM audit WHERE what = 'placed' AND revision = 1").await, 1);
    }
}

#[tokio::test]
async fn revisions_have_the_order_of_their_commits() {
    const EACH: i64 = 20;
    for store in engines().await {
        set_up(&store).await;
        let other = store.again().await;
        let write = |store: Store| async move {
            for _ in 0..EACH {
                store.change().await.unwrap().commit("王芳", Deed::Placed, "", "").await.unwrap();
            }
        };
        let writers = [write(store.clone()), write(other.clone()), write(other)].map(tokio::spawn);
        // Whoever asks for what is newer than the last revision must never see a gap filled later.
        let mut seen = 0;
        while seen < EACH * 3 {
            let rows: i64 = number(&store, "SELECT count(*) FROM audit").await;
            let highest: Option<i64> =
                sqlx::query_scalar("SELECT max(revision) FROM audit").fetch_one(store.reads()).await.unwrap();
            assert!(highest.unwrap_or(0) >= rows);
            let all: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE revision <= $1")
                .bind(highest.unwrap_or(0))
                .fetch_one(store.reads())
                .await
                .unwrap();
            assert_eq!(all, highest.unwrap_or(0), "a revision came after a later one");
            seen = all;
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_what_is_there_can_be_read_and_with_room_it_goes_on() {
    for store in engines().await {
        set_up(&store).await;
        // PostgreSQL's disk cannot be filled from here; it says 53100 then.
        let fill = match store.engine() {
            Engine::Sqlite => {
                sqlx::query("PRAGMA max_page_count = 1").execute(&store.writes).await.unwrap();
                "INSERT INTO root (version, envelope) VALUES (1, hex(randomblob(1000000)))"
            }
            Engine::Postgres => "DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$",
        };
        let mut change = store.change().await.unwrap();
        let error = StoreError::from(sqlx::query(fill).execute(&mut *change.tx).await.unwrap_err());
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        drop(change);
        assert_eq!(number(&store, "SELECT revision FROM office").await, 0);
        if store.engine() == Engine::Sqlite {
            sqlx::query("PRAGMA max_page_count = 1000000").execute(&store.writes).await.unwrap();
        }
        store.change().await.unwrap().commit("王芳", Deed::Wrote, "", "").await.unwrap();
    }
}
