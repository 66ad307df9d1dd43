//! 考评 against its budget: the month of 500 stations with 900,000 rows, and a year of their daily totals, in well under a
//! second; beside it the list of stations, a search, and the rows of a workbook. On SQLite and on a private PostgreSQL.
//!
//! `cargo bench --bench assess`; needs PostgreSQL's programs. The tables are filled row by row as an intake leaves them,
//! less the chain, which none of these questions looks at.

#[path = "../tests/support/postgres.rs"]
mod postgres;

use dalaba::{
    clock,
    office::{
        assess::{Month, assess},
        store::{Search, Store},
    },
    outcome::Outcome,
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use sqlx::{AnyPool, AssertSqlSafe};
use std::{future::Future, path::Path};

const STATIONS: usize = 500;
const A_DAY: usize = 60;
/// Rows of one statement.
const CHUNK: usize = 400;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres::fresh();
    for (name, database) in [("SQLite", None), ("PostgreSQL", Some(database.as_str()))] {
        runtime.block_on(measure(name, database, folder.path()));
    }
}

/// Asks five times, and says how long the middle one took.
async fn timed<T, F: Future<Output = T>>(what: &str, ask: impl Fn() -> F) -> T {
    let mut took = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        let begun = clock::monotonic();
        last = Some(ask().await);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    println!("  {what}: {:.0} ms (of {:.0} to {:.0})", ms(took[2]), ms(took[0]), ms(took[4]));
    last.expect("it was asked")
}

fn ms(took: std::time::Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

async fn measure(name: &str, database: Option<&str>, folder: &Path) {
    let store = Store::open(database, folder).await.expect("a store");
    let file = format!("sqlite://{}/office.db", folder.display());
    let tables = AnyPool::connect(database.unwrap_or(&file)).await.expect("the tables");
    let begun = clock::monotonic();
    fill(&tables).await;
    println!("{name}: filled in {:.0} s", begun.elapsed().as_secs_f64());

    let (zone, november): (_, Month) = (TimeZone::UTC, "2026-11".parse().expect("a month"));
    let now: Timestamp = "2026-12-01T12:00:00Z".parse().expect("a time");
    let month = |month: Month| {
        let (store, zone) = (&store, &zone);
        async move {
            let records = store.month_records(month, None, now, zone).await.expect("the records");
            assess(month, &records, now, zone)
        }
    };
    let report = timed("考评 of the month", || month(november)).await;
    assert_eq!(report.stations.len(), STATIONS);
    assert_eq!(report.total.planned, i64::try_from(STATIONS * A_DAY * 30).expect("few"));
    assert_eq!((report.total.silent, report.total.recorded), (0, i64::try_from(STATIONS * 30).expect("few")));
    let months = timed("考评 of the year, month by month", || async {
        let (mut at, mut planned) = ("2026-01".parse::<Month>().expect("a month"), 0);
        while at.year() == 2026 && at <= november {
            planned += month(at).await.total.planned;
            at = at.after();
        }
        planned
    });
    assert_eq!(months.await, i64::try_from(STATIONS * A_DAY * 334).expect("few"));
    let one = report.stations[0].station.clone();
    timed("考评 of a station's month", || async {
        store.month_records(november, Some(&one), now, &zone).await.expect("its record")
    })
    .await;
    timed("the list of stations", || async { store.stations().await.expect("stations") }).await;
    let all = Search::days(november.first(), november.last());
    let missed = Search { outcome: Some(Outcome::Missed), ..all.clone() };
    let title = Search { announcement: Some("第 59 条".into()), ..all.clone() };
    let nothing = Search { announcement: Some("没有这样的播报".into()), ..all.clone() };
    for (what, search) in [
        ("a page of everything", &all),
        ("a page of what was missed", &missed),
        ("a page of one title", &title),
        ("a title that is not there, in 900,000 rows", &nothing),
    ] {
        timed(what, || async { store.search(search, None, 101).await.expect("rows") }).await;
    }
    let of_one = Search { station: Some(one), ..all };
    timed("the rows of a station's month", || async { store.search(&of_one, None, 2000).await.expect("rows") }).await;
}

/// Stations with a year of totals, and rows for its November.
async fn fill(tables: &AnyPool) {
    let (first, last) = (jiff::civil::date(2026, 1, 1), jiff::civil::date(2026, 11, 30));
    let november = jiff::civil::date(2026, 11, 1);
    let mut tx = tables.begin().await.expect("a transaction");
    let confirmed = midnight(first);
    let mut days: Vec<String> = Vec::new();
    let mut rows: Vec<String> = Vec::new();
    for station in 0..STATIONS {
        let id = format!("village-{station:03}");
        let journal_last = 30 * A_DAY;
        let came = midnight(last) + 86_400_000;
        for statement in [
            format!(
                "INSERT INTO station (id, name, public_key, division, groups, state, asked, confirmed, plan_revision, wants,
                    heard, up) VALUES ('{id}', '第 {station} 村', '', '330127104', '[\"片{}\"]', 'active', 0, {confirmed}, 0, 1,
                    {came}, 0)",
                station % 20
            ),
            format!(
                "INSERT INTO journal (station, epoch, acked, head, at, is_current)
                VALUES ('{id}', '{id}-0', {journal_last}, '', {came}, 1)"
            ),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.expect("a row");
        }
        let mut day = first;
        while day <= last {
            for (outcome, reason, times) in
                [("played", "", 57), ("missed", "station-down", 2), ("skipped", "hushed", 1)]
            {
                let on_time = if outcome == "played" { 55 } else { 0 };
                days.push(format!("('{id}','{day}','{outcome}','{reason}',0,{times},{on_time},{})", on_time * 20_000));
            }
            day = day.tomorrow().expect("a day");
        }
        let change = |day: i64| {
            let at = midnight(first) + day * 86_400_000;
            format!("('{id}',{at},1),('{id}',{},0)", at + 80_000_000)
        };
        let changes: Vec<_> = (0..334).map(change).collect();
        for chunk in changes.chunks(CHUNK) {
            insert(&mut tx, "presence (station, at, up)", chunk).await;
        }
    }
    for chunk in days.chunks(CHUNK) {
        insert(&mut tx, "day (station, date, outcome, reason, asked, times, on_time, heard_ms)", chunk).await;
    }
    // As they come: day by day, from all stations.
    let hash = "5508d2b710e64bc470079e1b211d9c58".repeat(2);
    let line = "x".repeat(1000);
    for index in 0..30_usize {
        let day = november.saturating_add(i64::try_from(index).expect("few").days());
        for station in 0..STATIONS {
            for slot in 0..A_DAY {
                let (outcome, reason) = match slot {
                    0..57 => ("played", "NULL"),
                    57 | 58 => ("missed", "'station-down'"),
                    _ => ("skipped", "'hushed'"),
                };
                let due = midnight(day) + i64::try_from(slot).expect("few") * 600_000;
                let seq = index * A_DAY + slot + 1;
                rows.push(format!(
                    "('village-{station:03}','village-{station:03}-0',{seq},'town/daily/fraud-{slot}@{due}','{day}',{due},'town',
                    'fraud-{slot}','全民反诈在行动，第 {slot} 条','{outcome}',{reason},20000,20000,1,'{line}','{hash}')"
                ));
            }
            if rows.len() >= CHUNK {
                insert(&mut tx, ENTRY, &rows).await;
                rows.clear();
            }
        }
    }
    insert(&mut tx, ENTRY, &rows).await;
    tx.commit().await.expect("all of it");
}

const ENTRY: &str = "entry (station, epoch, seq, occurrence, date, due, source, announcement, title, outcome, reason, \
                     expected_ms, heard_ms, late_ms, line, hash)";

async fn insert(tx: &mut sqlx::Transaction<'_, sqlx::Any>, into: &str, rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    let statement = format!("INSERT INTO {into} VALUES {}", rows.join(","));
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut **tx).await.expect("rows");
}

fn midnight(day: Date) -> i64 {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).expect("a time").as_millisecond()
}
