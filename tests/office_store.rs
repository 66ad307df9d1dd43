//! What stations send of their journals, on SQLite and on PostgreSQL: every row once, every answer true, whoever else
//! sends, whoever is killed.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support {
    pub mod pen;
    pub mod postgres;
}

use dalaba::{
    entry::Line,
    link::journal::{Batch, Turned},
    office::{
        intake::{Intake, IntakeError},
        store::{Deed, Store, StoreError},
    },
};
use ed25519_dalek::VerifyingKey;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sqlx::{AnyPool, Row as _};
use std::{collections::BTreeMap, env, io, net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration};
use support::{
    pen::{Pen, entry, missed},
    postgres,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

/// How long uploads may take, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// An office's tables with an intake, and a look into them of one's own.
struct Office {
    database: Option<String>,
    folder: TempDir,
    store: Store,
    intake: Intake,
    tables: AnyPool,
}

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

impl Office {
    async fn at(database: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(database.as_deref(), folder.path()).await.unwrap();
        let file = format!("sqlite://{}/office.db", folder.path().display());
        let tables = AnyPool::connect(database.as_deref().unwrap_or(&file)).await.unwrap();
        let office = "INSERT INTO office (id, name, division, zone, generation, revision)
            VALUES (1, '青石镇', '3301', 'Asia/Shanghai', 1, 0)";
        sqlx::query(office).execute(&tables).await.unwrap();
        Self { intake: Intake::new(store.clone(), zone()), database, folder, store, tables }
    }

    /// One on each engine.
    async fn both() -> [Self; 2] {
        let database = tokio::task::spawn_blocking(postgres::fresh).await.unwrap();
        [Self::at(None).await, Self::at(Some(database)).await]
    }

    /// A second process of this office: a store and an intake of its own.
    async fn second(&self) -> Intake {
        let store = Store::open(self.database.as_deref(), self.folder.path()).await.unwrap();
        Intake::new(store, zone())
    }

    /// Puts a station into the tables.
    async fn knows(&self, pen: &Pen) {
        let station =
            "INSERT INTO station (id, name, public_key, division, groups, state, asked, plan_revision, wants, up)
            VALUES ($1, '', '', '', '[]', 'active', 0, 0, 0, 1)";
        sqlx::query(station).bind(pen.station.as_str()).execute(&self.tables).await.unwrap();
    }

    async fn take(&self, pen: &Pen, batch: Batch) -> Result<i64, Turned> {
        answer(self.intake.take(&pen.station, &pen.verifying(), batch).await.map(|acked| acked.acked))
    }

    /// Sends what is not here yet.
    async fn take_all(&self, pen: &Pen) {
        upload(&self.intake, pen, 0).await;
    }

    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.tables).await.unwrap()
    }

    /// Holds the tables against what the station wrote: every row once and byte for byte, the chain whole, the cursor at
    /// the end, the days added up.
    async fn holds_exactly(&self, pen: &Pen) {
        let station = pen.station.as_str();
        let query = "SELECT seq, line, hash FROM entry WHERE station = $1 AND epoch = $2 ORDER BY seq";
        let rows = sqlx::query(query).bind(station).bind(&pen.epoch).fetch_all(&self.tables).await.unwrap();
        let rows: Vec<(i64, String, String)> = rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
        let wrote =
            pen.lines.iter().zip(&pen.hashes).zip(1..).map(|((line, hash), seq)| (seq, line.clone(), hash.clone()));
        assert!(rows.iter().cloned().eq(wrote), "{station}: {} rows of {}", rows.len(), pen.rows());

        let cursor = self.store.cursor(&pen.station).await.unwrap().unwrap();
        assert_eq!((cursor.acked, Some(&cursor.head)), (pen.rows(), pen.hashes.last()), "{station}");

        let mut days: BTreeMap<(String, bool), (i64, i64, i64)> = BTreeMap::new();
        for line in &pen.lines {
            let says: Line = serde_json::from_str(line).unwrap();
            let date = zone().to_datetime(says.entry.due).date().to_string();
            let day = days.entry((date, says.entry.reason.is_some())).or_default();
            day.0 += 1;
            day.1 += i64::from(says.entry.started.is_some());
            day.2 += says.entry.heard_ms;
        }
        let query = "SELECT date, reason, times, on_time, heard_ms FROM day WHERE station = $1 ORDER BY date, reason";
        let rows = sqlx::query(query).bind(station).fetch_all(&self.tables).await.unwrap();
        let added: BTreeMap<_, _> = rows
            .iter()
            .map(|r| ((r.get(0), !r.get::<String, _>(1).is_empty()), (r.get(2), r.get(3), r.get(4))))
            .collect();
        assert_eq!(added, days, "{station}");
    }
}

fn answer<T>(taken: Result<T, IntakeError>) -> Result<T, Turned> {
    match taken {
        Ok(taken) => Ok(taken),
        Err(IntakeError::Turned(turned)) => Err(turned),
        Err(other) => panic!("{other:?}"),
    }
}

/// Sends a journal from behind row `acked` on, and asks again where there was no room.
async fn upload(intake: &Intake, pen: &Pen, mut acked: i64) {
    while acked < pen.rows() {
        acked = match intake.take(&pen.station, &pen.verifying(), pen.batch(acked + 1)).await {
            Ok(taken) => taken.acked,
            Err(IntakeError::Turned(Turned::Need { from })) => from - 1,
            Err(other) => panic!("{other:?}"),
        };
    }
}

fn village(name: &str, rows: i64) -> Pen {
    let mut pen = Pen::new(name, 1);
    pen.write_days(rows);
    pen
}

#[tokio::test]
async fn rows_are_stored_once_with_their_days_and_what_was_heard_last() {
    let pen = village("beizhuang", 1234);
    for office in Office::both().await {
        office.knows(&pen).await;
        office.take_all(&pen).await;
        office.holds_exactly(&pen).await;
        let played = pen.lines.iter().rev().find(|line| line.contains(r#""outcome":"played""#)).unwrap();
        let last: Line = serde_json::from_str(played).unwrap();
        assert_eq!(office.number("SELECT sounded FROM station").await, last.entry.ended.as_millisecond());
        let head = "SELECT seq FROM head WHERE station = 'beizhuang'";
        assert_eq!(office.number(head).await, 1234);
        // All of it once more, in other pieces, and from the middle.
        for (from, rows) in [(1, 1), (1, 400), (700, 300), (1234, 1)] {
            assert_eq!(office.take(&pen, pen.batch_of(from, rows)).await, Ok(1234), "from {from}");
        }
        office.holds_exactly(&pen).await;
    }
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_turned_away_and_noted_until_one_fits() {
    for office in Office::both().await {
        let pen = village("beizhuang", 20);
        // The same machine's disk, cloned after row 9: both write a row 10.
        let mut clone = village("beizhuang", 9);
        clone.write(&missed(entry(9_999)));
        clone.write_days(3);
        assert_eq!(office.take(&pen, pen.batch_of(4, 3)).await, Err(Turned::Need { from: 1 }));
        assert_eq!(office.take(&pen, pen.batch_of(1, 12)).await, Ok(12));
        assert_eq!(office.take(&pen, pen.batch_of(15, 3)).await, Err(Turned::Need { from: 13 }));
        let turned = |office: &Office| {
            let store = office.store.clone();
            let station = pen.station.clone();
            async move { store.journals(&station).await.unwrap()[0].turned.clone() }
        };
        assert_eq!(turned(&office).await, None, "to be asked for rows is nothing for people");
        for (batch, expected) in [
            (clone.batch_of(10, 3), Turned::Fork { seq: 12 }),
            (clone.batch_of(13, 1), Turned::Fork { seq: 13 }),
            (Batch { signature: "00".into(), ..pen.batch_of(13, 2) }, Turned::Signature),
            (Batch { to: 99, ..pen.batch_of(13, 2) }, Turned::Malformed),
        ] {
            assert_eq!(office.take(&pen, batch).await, Err(expected.clone()));
            assert_eq!(turned(&office).await, Some(expected));
        }
        assert_eq!(office.number("SELECT count(*) FROM entry").await, 12);
        office.take_all(&pen).await;
        assert_eq!(turned(&office).await, None);
        office.holds_exactly(&pen).await;
    }
}

#[tokio::test]
async fn another_journal_of_a_station_waits_until_a_clerk_agrees() {
    for office in Office::both().await {
        let (old, mut new) = (village("beizhuang", 5), Pen::new("beizhuang", 2));
        new.write_days(7);
        office.take_all(&old).await;
        // The station's key is the new one now, or nothing it signs would be believed.
        let take = |batch| office.take(&new, batch);
        assert_eq!(take(Batch { signature: "00".into(), ..new.batch(1) }).await, Err(Turned::Signature));
        assert_eq!(office.store.journals(&new.station).await.unwrap().len(), 1, "a name without proof is not noted");
        assert_eq!(take(new.batch(1)).await, Err(Turned::Epoch));
        let journals = office.store.journals(&new.station).await.unwrap();
        let seen: Vec<_> = journals.iter().map(|j| (&j.cursor.epoch, j.is_current, j.turned.clone())).collect();
        assert_eq!(seen, [(&old.epoch, true, None), (&new.epoch, false, Some(Turned::Epoch))]);

        let mut change = office.store.change().await.unwrap();
        assert!(!change.agree_to_journal(&new.station, "beizhuang-never-seen").await.unwrap());
        assert!(change.agree_to_journal(&new.station, &new.epoch).await.unwrap());
        change.commit("王芳", Deed::Placed, "beizhuang", "").await.unwrap();
        office.take_all(&new).await;
        assert_eq!(office.take(&old, old.batch(1)).await, Err(Turned::Epoch), "the old one is closed");
        assert_eq!(office.number("SELECT count(*) FROM entry").await, 12);
        assert_eq!(office.store.cursor(&new.station).await.unwrap().unwrap().acked, 7);
        for number in 0..30 {
            let mut other = Pen::new("beizhuang", 3 + number);
            other.write_days(1);
            assert_eq!(office.take(&other, other.batch(1)).await, Err(Turned::Epoch));
        }
        assert_eq!(office.store.journals(&new.station).await.unwrap().len(), 10, "it fills nothing");
    }
}

#[tokio::test]
async fn rows_with_hostile_values_are_stored_and_spoil_nothing() {
    for office in Office::both().await {
        let mut pen = Pen::new("beizhuang", 1);
        let ordinary = entry(0);
        for (title, heard_ms, due) in [
            ("a\0b", i64::MAX, "2026-06-17T00:00:00Z"),
            ("\u{202e}'; DROP TABLE entry; --", i64::MAX, "2026-06-17T00:00:00Z"),
            ("$1 ? :x", i64::MIN, "-009999-01-02T01:59:59Z"),
            ("", -1, "9999-12-29T00:00:00Z"),
        ] {
            let mut entry = ordinary.clone();
            (entry.title, entry.heard_ms, entry.due) = (title.into(), heard_ms, due.parse().unwrap());
            entry.ended = "9999-12-30T00:00:00Z".parse().unwrap();
            pen.write(&entry);
        }
        office.knows(&pen).await;
        office.take_all(&pen).await;
        assert_eq!(office.number("SELECT count(*) FROM entry").await, 4);
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(office.number("SELECT heard_ms FROM day WHERE date = '2026-06-17'").await, 2 * day);
        let now = dalaba::clock::wall().as_millisecond();
        assert!(office.number("SELECT sounded FROM station").await <= now, "nothing sounded in the future");
        for epoch in ["", "a\0b", "a\nb", &"x".repeat(200)] {
            let batch = Batch { epoch: epoch.to_owned(), ..pen.batch(1) };
            assert_eq!(office.take(&pen, batch).await, Err(Turned::Malformed), "{epoch:?}");
        }
    }
}

#[tokio::test]
async fn one_batch_that_the_database_refuses_does_not_spoil_the_others() {
    for office in Office::both().await {
        let pens: Vec<_> = (0..12).map(|number| village(&format!("village-{number}"), 40)).collect();
        // A row that is there though no cursor says so: no office leaves one, a broken disk may.
        let stray =
            "INSERT INTO entry (station, epoch, seq, occurrence, date, due, source, announcement, title, outcome,
            expected_ms, heard_ms, line, hash) VALUES ($1, $2, 7, '', '', 0, '', '', '', '', 0, 0, '', '')";
        sqlx::query(stray).bind("village-5").bind(&pens[5].epoch).execute(&office.tables).await.unwrap();
        let take = |pen: &Pen| {
            let (intake, station, key, batch) =
                (office.intake.clone(), pen.station.clone(), pen.verifying(), pen.batch(1));
            tokio::spawn(async move { intake.take(&station, &key, batch).await })
        };
        let taken: Vec<_> = pens.iter().map(take).collect();
        for (number, (taken, pen)) in taken.into_iter().zip(&pens).enumerate() {
            match taken.await.unwrap() {
                Ok(_) => office.holds_exactly(pen).await,
                Err(IntakeError::Store(error)) => {
                    assert!(matches!(*error, StoreError::Database(_)), "{error:?}");
                    assert_eq!(number, 5);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(office.store.cursor(&pens[5].station).await.unwrap(), None, "nothing of it is here");
    }
}

#[tokio::test]
async fn two_offices_on_one_database_take_the_same_rows_at_once_and_store_each_once() {
    for office in Office::both().await {
        let second = office.second().await;
        let pens: Vec<_> = (0..6).map(|number| Arc::new(village(&format!("village-{number}"), 900))).collect();
        let mut uploads = JoinSet::new();
        for pen in &pens {
            for (number, intake) in [&office.intake, &second, &second].into_iter().enumerate() {
                let (intake, pen) = (intake.clone(), pen.clone());
                uploads.spawn(async move {
                    let mut acked = 0;
                    while acked < pen.rows() {
                        let batch = pen.batch_of(acked + 1, 30 + 17 * number);
                        acked = answer(intake.take(&pen.station, &pen.verifying(), batch).await).unwrap().acked;
                    }
                });
            }
        }
        uploads.join_all().await;
        for pen in &pens {
            office.holds_exactly(pen).await;
        }
    }
}

#[tokio::test]
async fn two_first_journals_of_one_station_at_once_and_only_one_is_believed() {
    for office in Office::both().await {
        let second = office.second().await;
        for round in 0..8 {
            let name = format!("village-{round}");
            let (mut one, mut other) = (Pen::new(&name, 1), Pen::new(&name, 2));
            one.write_days(3);
            other.write_days(3);
            let keys = [one.verifying(), other.verifying()];
            let (first, then) = tokio::join!(
                office.intake.take(&one.station, &keys[0], one.batch(1)),
                second.take(&other.station, &keys[1], other.batch(1))
            );
            let mut answers = [answer(first).map(|a| a.acked), answer(then).map(|a| a.acked)];
            answers.sort_by_key(Result::is_err);
            assert_eq!(answers, [Ok(3), Err(Turned::Epoch)], "{name}");
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_is_told_to_come_back_and_everything_arrives() {
    for office in Office::both().await {
        // All at once: more than there is room for.
        let pens: Vec<_> = (0..160).map(|number| Arc::new(village(&format!("village-{number}"), 420))).collect();
        let mut takes = JoinSet::new();
        for pen in &pens {
            let (intake, pen) = (office.intake.clone(), pen.clone());
            takes.spawn(async move { intake.take(&pen.station, &pen.verifying(), pen.batch(1)).await });
        }
        let taken = takes.join_all().await;
        let full = taken.iter().filter(|answer| matches!(answer, Err(IntakeError::Full))).count();
        assert!((1..pens.len()).contains(&full), "{full} of {}", pens.len());
        assert!(taken.iter().all(|answer| matches!(answer, Ok(_) | Err(IntakeError::Full))));
        for pen in &pens {
            office.take_all(pen).await;
        }
        assert_eq!(office.store.rows().await.unwrap(), 160 * 420);
    }
}

#[tokio::test]
async fn a_killed_office_has_every_row_that_it_answered_for_and_each_once() {
    for office in Office::both().await {
        let path = office.folder.path().to_owned();
        kill_while_uploading(office.database.as_deref(), &path, 1, &office).await;
    }
}

#[tokio::test]
async fn two_offices_on_one_database_are_killed_in_turn_and_every_row_is_stored_once() {
    let database = tokio::task::spawn_blocking(postgres::fresh).await.unwrap();
    let office = Office::at(Some(database)).await;
    let path = office.folder.path().to_owned();
    kill_while_uploading(office.database.as_deref(), &path, 2, &office).await;
}

#[tokio::test]
async fn a_database_that_is_killed_is_said_to_be_away_and_has_what_was_answered_for() {
    let mut server = tokio::task::spawn_blocking(postgres::Server::launch).await.unwrap();
    let office = Office::at(Some(server.fresh())).await;
    let pens: Vec<_> = (0..4).map(|number| Arc::new(village(&format!("village-{number}"), 800))).collect();
    let (count, mut counted) = watch::channel(0);
    let (state, up) = watch::channel(true);
    let mut uploads = JoinSet::new();
    for pen in &pens {
        let (intake, pen, count, mut up) = (office.intake.clone(), pen.clone(), count.clone(), up.clone());
        uploads.spawn(async move {
            let mut acked = 0;
            while acked < pen.rows() {
                match intake.take(&pen.station, &pen.verifying(), pen.batch_of(acked + 1, 20)).await {
                    Ok(taken) => {
                        count.send_modify(|count| *count += taken.acked - acked);
                        acked = taken.acked;
                    }
                    Err(IntakeError::Store(error)) => {
                        assert!(matches!(*error, StoreError::Away(_)), "{error:?}");
                        up.wait_for(|up| *up).await.unwrap();
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    for kill in 1..=3 {
        counted.wait_for(|count| *count >= kill * 700).await.unwrap();
        state.send_replace(false);
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            server.start();
            server
        })
        .await
        .unwrap();
        state.send_replace(true);
    }
    uploads.join_all().await;
    for pen in &pens {
        office.holds_exactly(pen).await;
    }
}

/// A batch on its way to an office's process.
#[tokio::test]
async fn a_town_that_grows_takes_its_office_to_another_database() {
    let folder = tempfile::tempdir().unwrap();
    let (home, copy) = (folder.path().join("office"), folder.path().join("copy"));
    let database = postgres::fresh();
    std::fs::write(folder.path().join("password"), "一个很长很长的密码").unwrap();
    let program = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dalaba"));
        command.arg("office").arg("--home").arg(&home).args(more).kill_on_drop(true);
        command
    };
    let copied = async |more: &[&str]| {
        let output = program(more).output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    };
    let found = ["--listen", "127.0.0.1:0", "--name", "青石镇", "--division", "330127104000", "--admin", "李主任"];
    let password = folder.path().join("password").to_str().unwrap().to_owned();
    let found = [&found[..], &["--password-file", &password]].concat();
    // Returns the line with its name and the words of its root.
    let words = async |more: &[&str]| {
        let mut office = program(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(office.stdout.take().unwrap()).lines();
        let line = loop {
            let line = lines.next_line().await.unwrap().expect("it starts");
            if line.contains("核对词") {
                break line;
            }
        };
        let (done, said) = copied(&["--copy-to", copy.to_str().unwrap()]).await;
        assert!(!done && said.contains("已经有一个中心程序在运行"), "{said}");
        office.kill().await.unwrap();
        line
    };
    let (done, said) = copied(&["--copy-to", &database]).await;
    assert!(!done && said.contains("没有中心"), "{said}");
    let original = words(&found).await;
    let (done, said) = copied(&["--copy-to", &database]).await;
    assert!(done && said.contains("两边一致"), "{said}");
    let (done, said) = copied(&["--copy-to", &database]).await;
    assert!(!done && said.contains("已有内容"), "{said}");
    assert_eq!(words(&["--listen", "127.0.0.1:0", "--database", &database]).await, original);
    // And back into a file.
    let (done, said) = copied(&["--database", &database, "--copy-to", copy.to_str().unwrap()]).await;
    assert!(done && copy.join("office.db").exists(), "{said}");
}

#[derive(Serialize, Deserialize)]
struct Sent {
    station: String,
    key: [u8; 32],
    batch: Batch,
}

/// Stations upload through each of so many processes of one office at once, while these are killed in turn.
async fn kill_while_uploading(database: Option<&str>, folder: &Path, processes: usize, office: &Office) {
    const STATIONS: usize = 6;
    const ROWS: i64 = 600;
    let kills: i64 = env::var("DALABA_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let pens: Vec<_> = (0..STATIONS).map(|number| Arc::new(village(&format!("village-{number}"), ROWS))).collect();
    let (count, mut counted) = watch::channel(0);
    let mut children = Vec::new();
    let mut places = Vec::new();
    let mut uploads = JoinSet::new();
    for process in 0..processes {
        let (child, address) = launch(database, folder).await;
        let (place, at) = watch::channel(address);
        children.push(child);
        places.push(place);
        for pen in &pens {
            uploads.spawn(send_all(pen.clone(), at.clone(), count.clone(), 7 + 6 * process));
        }
    }
    let (database, folder) = (database.map(str::to_owned), folder.to_owned());
    let mut killer = JoinSet::new();
    killer.spawn(async move {
        let all = ROWS * (STATIONS * processes) as i64;
        for kill in 1..=kills {
            let mark = all * kill / (kills + 1);
            counted.wait_for(|count| *count >= mark).await.unwrap();
            let victim = usize::try_from(kill).unwrap() % processes;
            children[victim].kill().await.unwrap();
            let (child, address) = launch(database.as_deref(), &folder).await;
            children[victim] = child;
            places[victim].send_replace(address);
        }
        // They end with this.
        std::future::pending::<()>().await;
    });
    tokio::select! {
        _ = uploads.join_all() => {}
        ended = killer.join_next() => panic!("{ended:?}"),
        () = tokio::time::sleep(PATIENCE) => panic!("the uploads never ended"),
    }
    for pen in &pens {
        office.holds_exactly(pen).await;
    }
}

/// Starts a process that takes batches in, and returns where it listens.
async fn launch(database: Option<&str>, folder: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "an_office_for_the_others_to_kill", "--ignored", "--nocapture"])
        .env("OFFICE_DATABASE", database.unwrap_or_default())
        .env("OFFICE_HOME", folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, address)) = line.split_once("listens at ") {
            return (child, address.parse().unwrap());
        }
    }
    panic!("the office ended before it listened");
}

/// Sends a journal in pieces of so many rows, again where there was no answer. What was answered once is never asked for.
async fn send_all(pen: Arc<Pen>, mut at: watch::Receiver<SocketAddr>, count: watch::Sender<i64>, rows: usize) {
    let mut acked = 0;
    let mut line = None;
    while acked < pen.rows() {
        let address = *at.borrow_and_update();
        match send(&mut line, address, &pen, acked, rows).await {
            Ok(answer) => {
                let now: i64 = answer.trim().parse().unwrap_or_else(|_| panic!("{}: {answer}", pen.station));
                assert!(now > acked, "{}: {now} after {acked}", pen.station);
                count.send_modify(|count| *count += now - acked);
                acked = now;
            }
            Err(_) => {
                line = None;
                at.changed().await.unwrap();
            }
        }
    }
}

async fn send(
    line: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    pen: &Pen,
    acked: i64,
    rows: usize,
) -> io::Result<String> {
    let stream = match line {
        Some(stream) => stream,
        None => line.insert(BufReader::new(TcpStream::connect(address).await?)),
    };
    let batch = pen.batch_of(acked + 1, rows);
    let sent = Sent { station: pen.station.to_string(), key: pen.verifying().to_bytes(), batch };
    stream.write_all((serde_json::to_string(&sent).unwrap() + "\n").as_bytes()).await?;
    let mut answer = String::new();
    match stream.read_line(&mut answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(answer),
    }
}

#[tokio::test]
#[ignore = "the process that other tests start and kill"]
async fn an_office_for_the_others_to_kill() {
    let Ok(home) = env::var("OFFICE_HOME") else { return };
    let database = env::var("OFFICE_DATABASE").ok().filter(|database| !database.is_empty());
    let store = Store::open(database.as_deref(), Path::new(&home)).await.unwrap();
    let intake = Intake::new(store, zone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listens at {}", listener.local_addr().unwrap());
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let intake = intake.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut text = String::new();
                while stream.read_line(&mut text).await.is_ok_and(|bytes| bytes > 0) {
                    let sent: Sent = serde_json::from_str(&text).unwrap();
                    let key = VerifyingKey::from_bytes(&sent.key).unwrap();
                    let taken = intake.take(&sent.station.try_into().unwrap(), &key, sent.batch).await;
                    let answer =
                        taken.map_or_else(|error| format!("{error:?}\n"), |acked| format!("{}\n", acked.acked));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    text.clear();
                }
            });
        }
    };
    // Longer than any test; one that ends otherwise takes this process with it.
    let _: Result<(), _> = tokio::time::timeout(2 * PATIENCE, serve).await;
}
