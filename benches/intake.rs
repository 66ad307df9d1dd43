//! The office's intake against its budget: 30,000 full entries a second, chain and signature checked, on the disk before
//! they are answered, one batch in ten sent twice; on SQLite and on a private PostgreSQL.
//!
//! `cargo bench --bench intake`; needs PostgreSQL's programs. Stations, office and database share the machine.

#[path = "../tests/support/pen.rs"]
mod pen;
#[path = "../tests/support/postgres.rs"]
mod postgres;

use dalaba::{
    clock,
    office::{intake::Intake, store::Store},
};
use jiff::tz::TimeZone;
use pen::Pen;
use std::{path::Path, sync::Arc};
use tokio::task::JoinSet;

const STATIONS: u8 = 64;
/// Rows of each.
const ROWS: i64 = 5000;
/// One batch in so many is sent twice.
const AGAIN: i64 = 10;

fn main() {
    let pens: Vec<_> = (0..STATIONS)
        .map(|number| {
            let mut pen = Pen::new(&format!("village-{number}"), number);
            pen.write_days(ROWS);
            Arc::new(pen)
        })
        .collect();
    let bytes: usize = pens[0].lines.iter().map(String::len).sum();
    println!("{STATIONS} stations with {ROWS} rows of {} bytes", bytes / pens[0].lines.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres::fresh();
    for (name, database) in [("SQLite", None), ("PostgreSQL", Some(database.as_str()))] {
        runtime.block_on(measure(name, database, folder.path(), &pens));
    }
}

async fn measure(name: &str, database: Option<&str>, folder: &Path, pens: &[Arc<Pen>]) {
    let store = Store::open(database, folder).await.expect("a store");
    let intake = Intake::new(store.clone(), TimeZone::UTC);
    let begun = clock::monotonic();
    let mut uploads = JoinSet::new();
    for pen in pens {
        uploads.spawn(upload(intake.clone(), pen.clone()));
    }
    let sent = uploads.join_all().await;
    let took = begun.elapsed().as_secs_f64();
    let again: i64 = sent.iter().map(|sent| sent.1).sum();
    let rows = ROWS * i64::from(STATIONS);
    assert_eq!(store.rows().await.expect("a count"), rows, "every row once");
    for pen in pens {
        let cursor = store.cursor(&pen.station).await.expect("a cursor").expect("a journal");
        assert_eq!(Some(&cursor.head), pen.hashes.last(), "the office's chain is the station's");
    }
    let mut waits: Vec<_> = sent.into_iter().flat_map(|sent| sent.0).collect();
    waits.sort_unstable();
    let wait = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "{name}: {rows} rows in {took:.2} s = {:.0} rows/s on the disk, and {again} sent again; an answer after {} ms \
         (half), {} ms (99 in 100)",
        rows as f64 / took,
        wait(50),
        wait(99)
    );
}

/// Sends the journal, each tenth batch twice. Returns how long each answer took, in milliseconds, and how many rows were
/// sent again.
async fn upload(intake: Intake, pen: Arc<Pen>) -> (Vec<u128>, i64) {
    let (mut waits, mut again, mut acked, mut number) = (Vec::new(), 0, 0, 0);
    while acked < pen.rows() {
        let batch = pen.batch(acked + 1);
        number += 1;
        if number % AGAIN == 0 {
            intake.take(&pen.station, &pen.verifying(), batch.clone()).await.expect("it is taken in");
            again += batch.to - batch.from + 1;
        }
        let begun = clock::monotonic();
        acked = intake.take(&pen.station, &pen.verifying(), batch).await.expect("it is taken in").acked;
        waits.push(begun.elapsed().as_millis());
    }
    (waits, again)
}
