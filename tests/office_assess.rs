//! 考评 on SQLite and on PostgreSQL: journals that stations sent, counted by month; found again; and proved by the binary
//! with nothing but a file.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support {
    pub mod pen;
    pub mod postgres;
}

use dalaba::{
    entry::Entry,
    office::{
        assess::{
            Assessment, Month, Span, assess,
            evidence::{self, Form},
            xlsx::Xlsx,
        },
        intake::Intake,
        store::{Mark, Search, Store},
    },
    outcome::{Outcome, Reason},
    plan::OccurrenceId,
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use sqlx::AnyPool;
use std::{fs, io::Cursor, process::Command};
use support::{
    pen::{Pen, entry, missed},
    postgres,
};
use tempfile::TempDir;

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn at(text: &str) -> Timestamp {
    format!("{text}+08:00").parse().unwrap()
}

fn november() -> Month {
    "2026-11".parse().unwrap()
}

fn days(first: &str, last: &str) -> Span {
    let day = |text: &str| text.parse::<Date>().unwrap();
    Span { first: day(first), last: day(last) }
}

/// An office's store and intake, and a look into its tables of one's own.
struct Office {
    store: Store,
    intake: Intake,
    tables: AnyPool,
    folder: TempDir,
}

impl Office {
    /// One on each engine.
    async fn both() -> [Self; 2] {
        let database = tokio::task::spawn_blocking(postgres::fresh).await.unwrap();
        [Self::at(None).await, Self::at(Some(database)).await]
    }

    async fn at(database: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(database.as_deref(), folder.path()).await.unwrap();
        let file = format!("sqlite://{}/office.db", folder.path().display());
        let tables = AnyPool::connect(database.as_deref().unwrap_or(&file)).await.unwrap();
        Self { intake: Intake::new(store.clone(), zone()), store, tables, folder }
    }

    /// Takes a station in, as the office has it.
    async fn knows(&self, pen: &Pen, name: &str, groups: &str, state: &str, confirmed: Option<&str>) {
        let station =
            "INSERT INTO station (id, name, public_key, division, groups, state, asked, confirmed, plan_revision, wants, up)
            VALUES ($1, $2, '', '330127104', $3, $4, 0, $5, 0, 1, 0)";
        let confirmed = confirmed.map(|text| at(text).as_millisecond());
        let station = sqlx::query(station).bind(pen.station.as_str()).bind(name).bind(groups).bind(state);
        station.bind(confirmed).execute(&self.tables).await.unwrap();
    }

    async fn came(&self, pen: &Pen, when: &str, up: i64) {
        let change = sqlx::query("INSERT INTO presence (station, at, up) VALUES ($1, $2, $3)");
        change.bind(pen.station.as_str()).bind(at(when).as_millisecond()).bind(up).execute(&self.tables).await.unwrap();
        let heard = sqlx::query("UPDATE station SET heard = $2 WHERE id = $1").bind(pen.station.as_str());
        heard.bind(at(when).as_millisecond()).execute(&self.tables).await.unwrap();
    }

    /// Sends every row, in batches of a few.
    async fn takes(&self, pen: &Pen) {
        let mut from = 1;
        while from <= pen.rows() {
            let batch = pen.batch_of(from, 7);
            from = self.intake.take(&pen.station, &pen.verifying(), batch).await.unwrap().acked + 1;
        }
    }

    async fn assessed(&self, now: &str) -> Assessment {
        let records = self.store.month_records(november(), None, at(now), &zone()).await.unwrap();
        assess(november(), &records, at(now), &zone())
    }
}

/// An occurrence at a local time, played in full and on time.
fn played(when: &str) -> Entry {
    let due = at(when);
    let occurrence = OccurrenceId::from(format!("town/daily/morning@{when}"));
    Entry {
        occurrence,
        due,
        started: Some(due),
        ended: due + SignedDuration::from_secs(60),
        heard_ms: 60_000,
        ..entry(0)
    }
}

fn late(when: &str, seconds: i64) -> Entry {
    let entry = played(when);
    Entry { started: Some(entry.due + SignedDuration::from_secs(seconds)), ..entry }
}

fn asked(when: &str) -> Entry {
    Entry {
        occurrence: OccurrenceId::from(format!("manual/{when}")), title: "临时通知 50%_!".into(), ..played(when)
    }
}

fn broken(when: &str, outcome: Outcome, reason: Reason) -> Entry {
    Entry { outcome, reason: Some(reason), ..missed(played(when)) }
}

/// Six stations: one with everything, one taken in in the middle of the month, one that never says a word, one that is
/// trusted no longer, one that nobody has agreed to yet, and one that came after the month.
async fn town(office: &Office) -> [Pen; 6] {
    let names = ["beizhuang", "nanzhuang", "xizhuang", "dongzhuang", "xiazhuang", "xincun"];
    let mut number = 0;
    let mut pens = names.map(|name| {
        number += 1;
        Pen::new(name, number)
    });
    let [bei, nan, xi, dong, xia, xin] = &mut pens;
    for entry in [
        played("2026-10-31T18:00:00"),
        played("2026-11-01T06:30:00"),
        late("2026-11-01T12:00:00", 60),
        late("2026-11-01T18:00:00", 61),
        broken("2026-11-02T06:30:00", Outcome::Missed, Reason::ClipMissing),
        broken("2026-11-02T12:00:00", Outcome::Skipped, Reason::QuietHours),
        asked("2026-11-02T15:00:00"),
        // Nothing was planned on the 3rd; on the 4th the power was out, and it was written on the 5th.
        played("2026-11-05T06:30:00"),
        broken("2026-11-04T06:30:00", Outcome::Missed, Reason::StationDown),
        played("2026-12-01T06:30:00"),
    ] {
        bei.write(&entry);
    }
    for when in ["2026-11-15T06:30:00", "2026-11-16T06:30:00", "2026-11-17T06:30:00"] {
        nan.write(&played(when));
    }
    for when in ["2026-11-01T06:30:00", "2026-11-20T06:30:00"] {
        dong.write(&played(when));
    }
    xia.write(&played("2026-11-01T06:30:00"));
    office.knows(bei, "北庄", r#"["北片"]"#, "active", Some("2026-03-01T09:00:00")).await;
    office.knows(nan, "南庄", r#"["北片","山区"]"#, "active", Some("2026-11-16T12:00:00")).await;
    office.knows(xi, "西庄", "[]", "active", Some("2026-03-01T09:00:00")).await;
    office.knows(dong, "东庄", "[]", "revoked", Some("2026-03-01T09:00:00")).await;
    office.knows(xia, "下庄", "[]", "pending", None).await;
    office.knows(xin, "新村", "[]", "active", Some("2026-12-01T00:00:00")).await;
    let revoked = "INSERT INTO audit (revision, at, who, what, about, detail) VALUES (1, $1, 'a', 'revoked', $2, '')";
    let revoked = sqlx::query(revoked).bind(at("2026-11-10T12:00:00").as_millisecond());
    revoked.bind(dong.station.as_str()).execute(&office.tables).await.unwrap();
    office.came(bei, "2026-10-20T00:00:00", 1).await;
    office.came(bei, "2026-11-04T00:00:00", 0).await;
    office.came(bei, "2026-11-05T00:00:00", 1).await;
    office.came(bei, "2026-11-20T00:00:00", 0).await;
    for pen in [bei, nan, dong, xia] {
        office.takes(pen).await;
    }
    // The last of them came on the 2nd of December.
    let came = sqlx::query("UPDATE journal SET at = $1").bind(at("2026-12-02T00:00:00").as_millisecond());
    came.execute(&office.tables).await.unwrap();
    pens
}

fn said(report: &Assessment) -> Vec<String> {
    let row = |row: &dalaba::office::assess::Row| {
        let n = row.numbers;
        let place = row.place.map_or_else(|| format!("{:?}", row.unplaced.unwrap()), |place| place.to_string());
        format!(
            "{} {place}: {} to {}; planned {} = on time {} + made up {} + excused {} + blamed {}; rule {} asked {}; \
             days {} = {} + {} + {}; {} min",
            row.name,
            row.first,
            row.last,
            n.planned,
            n.on_time,
            n.made_up,
            n.excused,
            n.blamed,
            n.chosen,
            n.asked,
            n.days,
            n.recorded,
            n.unplanned,
            n.silent,
            n.minutes()
        )
    };
    report.stations.iter().map(row).collect()
}

#[tokio::test]
async fn a_month_is_counted_from_what_came_and_says_of_what_nothing_came() {
    for office in Office::both().await {
        let engine = office.store.engine();
        let report = office.assessed("2026-12-05T12:00:00").await;
        assert_eq!(report.stations, [], "{engine:?}: an office without stations");
        let pens = town(&office).await;
        let report = office.assessed("2026-12-05T12:00:00").await;
        assert_eq!(
            said(&report),
            [
                "北庄 1: 2026-11-01 to 2026-11-30; planned 6 = on time 3 + made up 1 + excused 1 + blamed 1; rule 1 \
                 asked 1; days 30 = 4 + 26 + 0; 5 min",
                "南庄 2: 2026-11-16 to 2026-11-30; planned 2 = on time 2 + made up 0 + excused 0 + blamed 0; rule 0 \
                 asked 0; days 15 = 2 + 0 + 13; 2 min",
                "西庄 Silent: 2026-11-01 to 2026-11-30; planned 0 = on time 0 + made up 0 + excused 0 + blamed 0; rule 0 \
                 asked 0; days 30 = 0 + 0 + 30; 0 min",
                "东庄 Revoked: 2026-11-01 to 2026-11-10; planned 1 = on time 1 + made up 0 + excused 0 + blamed 0; rule 0 \
                 asked 0; days 10 = 1 + 9 + 0; 1 min",
            ],
            "{engine:?}"
        );
        let bei = report.stations.iter().find(|row| row.name == "北庄").unwrap();
        assert_eq!(bei.numbers.online_ms, (3 + 15) * 86_400_000, "{engine:?}");
        let groups: Vec<_> = report.groups.iter().map(|group| (group.stations, group.numbers.planned)).collect();
        assert_eq!(groups, [(2, 8), (1, 2), (2, 1)], "{engine:?}");

        // In the middle of the month the days to come are not held against anybody.
        let report = office.assessed("2026-11-05T12:00:00").await;
        let silent = report.stations.iter().find(|row| row.name == "西庄").unwrap();
        assert_eq!((silent.numbers.days, silent.numbers.silent, report.is_running), (4, 4, true), "{engine:?}");

        let by_day = office.store.tallies_by_day(&pens[0].station, days("2026-11-01", "2026-11-30")).await.unwrap();
        let said: Vec<_> =
            by_day.iter().map(|(day, of)| (day.day(), of.iter().map(|one| one.times).sum::<i64>())).collect();
        assert_eq!(said, [(1, 3), (2, 3), (4, 1), (5, 1)], "{engine:?}");
    }
}

#[tokio::test]
async fn rows_are_found_by_whatever_is_known_of_them_a_page_at_a_time() {
    for office in Office::both().await {
        let engine = office.store.engine();
        let pens = town(&office).await;
        let all = Search::days("2026-11-01".parse().unwrap(), "2026-11-30".parse().unwrap());
        let bei = Some(pens[0].station.clone());
        let text = |text: &str| Some(text.to_owned());
        for (search, expected) in [
            (
                all.clone(),
                "20 dongzhuang 2, 17 nanzhuang 3, 16 nanzhuang 2, 15 nanzhuang 1, 5 beizhuang 8, 4 beizhuang 9, \
                           2 beizhuang 5, 2 beizhuang 6, 2 beizhuang 7, 1 beizhuang 2, 1 beizhuang 3, 1 beizhuang 4, \
                           1 dongzhuang 1, 1 xiazhuang 1",
            ),
            (
                Search { until: "2026-11-01".parse().unwrap(), station: bei.clone(), ..all.clone() },
                "1 beizhuang 2, 1 beizhuang 3, 1 beizhuang 4",
            ),
            (Search { outcome: Some(Outcome::Missed), ..all.clone() }, "4 beizhuang 9, 2 beizhuang 5"),
            (Search { reason: Some(Reason::QuietHours), ..all.clone() }, "2 beizhuang 6"),
            (Search { outcome: Some(Outcome::Played), reason: Some(Reason::QuietHours), ..all.clone() }, ""),
            (Search { announcement: text("通知 50%_!"), ..all.clone() }, "2 beizhuang 7"),
            (Search { announcement: text("通知%庄"), ..all.clone() }, ""),
            (Search { announcement: text("' OR 1=1 --"), ..all.clone() }, ""),
            (
                Search {
                    announcement: text("fraud-0"),
                    station: bei.clone(),
                    outcome: Some(Outcome::Missed),
                    ..all.clone()
                },
                "4 beizhuang 9, 2 beizhuang 5",
            ),
        ] {
            for most in [1, 2, 100] {
                let (mut rows, mut after): (Vec<_>, Option<Mark>) = (Vec::new(), None);
                loop {
                    let page = office.store.search(&search, after.as_ref(), most).await.unwrap();
                    assert!(page.len() <= most);
                    let Some(last) = page.last() else { break };
                    after = Some(Mark::of(last));
                    rows.extend(page);
                }
                let said: Vec<_> =
                    rows.iter().map(|row| format!("{} {} {}", row.date.day(), row.station, row.seq)).collect();
                assert_eq!(said.join(", "), expected, "{engine:?} {most} {search:?}");
            }
        }
        let late: Vec<_> = office.store.search(&Search { station: bei, ..all }, None, 100).await.unwrap();
        let late: Vec<_> = late.iter().filter(|row| row.late_ms.is_some()).map(|row| row.is_on_time()).collect();
        assert_eq!(late, [true, true, true, true, false], "{engine:?}");
    }
}

/// What the binary says of a file.
fn verified(file: &std::path::Path, key: &str) -> (bool, serde_json::Value) {
    let verify = ["journal", "--json", "--verify"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_dalaba")).args(verify).arg(file).args(["--key", key]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said:?}: {output:?}")))
}

#[tokio::test]
async fn a_month_of_a_station_proves_itself_without_the_office() {
    for office in Office::both().await {
        let engine = office.store.engine();
        let pens = town(&office).await;
        let key = dalaba::text::hex(pens[0].verifying().as_bytes());
        let found = office.store.evidence(&pens[0].station, days("2026-11-01", "2026-11-30")).await.unwrap();
        let [november] = &found[..] else { panic!("{found:?}") };
        // The 9th row was the last of the month; the station signed behind the 10th.
        assert_eq!((november.first, november.last, november.signed, november.from), (2, 9, 10, 8), "{engine:?}");
        for (form, name) in [(Form::Json, "北庄.jsonl"), (Form::Csv, "北庄.csv")] {
            let file = office.folder.path().join(name);
            let to = fs::File::create(&file).unwrap();
            let rows = evidence::write(&office.store, &pens[0].station, november, form, zone(), to).await.unwrap();
            assert_eq!(rows, 9, "{engine:?}");
            let (proved, said) = verified(&file, &key);
            assert!(proved, "{engine:?} {said}");
            assert_eq!((&said["whole"], &said["rows"], &said["signed"]), (&true.into(), &9.into(), &10.into()));
            assert_eq!(said["known"], true);
            let other = dalaba::text::hex(pens[1].verifying().as_bytes());
            let (proved, said) = verified(&file, &other);
            assert!(!proved, "{engine:?}: another key {said}");
            // Whoever improves a row afterwards, here or in the office's tables, is found out.
            let text = fs::read_to_string(&file).unwrap();
            let improved = file.with_extension("improved");
            fs::write(&improved, text.replace("clip-missing", "clip-corrupt")).unwrap();
            let (proved, said) = verified(&improved, &key);
            assert_eq!((proved, &said["seq"]), (false, &5.into()), "{engine:?}");
        }
        let query = "UPDATE entry SET line = replace(line, 'clip-missing', 'clip-corrupt') WHERE station = 'beizhuang'";
        sqlx::query(query).execute(&office.tables).await.unwrap();
        let file = office.folder.path().join("changed.jsonl");
        let to = fs::File::create(&file).unwrap();
        evidence::write(&office.store, &pens[0].station, november, Form::Json, zone(), to).await.unwrap();
        assert!(!verified(&file, &key).0, "{engine:?}: changed in the tables");
        sqlx::query("DELETE FROM entry WHERE station = 'beizhuang' AND seq = 7").execute(&office.tables).await.unwrap();
        let gap = evidence::write(&office.store, &pens[0].station, november, Form::Json, zone(), Vec::new()).await;
        assert!(gap.unwrap_err().to_string().contains("第 7 条"), "{engine:?}");
        assert_eq!(office.store.evidence(&pens[2].station, days("2026-11-01", "2026-11-30")).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_workbook_holds_each_row_that_was_counted() {
    for office in Office::both().await {
        town(&office).await;
        let report = office.assessed("2026-12-05T12:00:00").await;
        let mut xlsx = Xlsx::new("青石镇", &report, zone(), true).unwrap();
        let all = Search::days(november().first(), november().last());
        for row in office.store.search(&all, None, 1000).await.unwrap() {
            xlsx.row(&row).unwrap();
        }
        let mut bytes = Cursor::new(Vec::new());
        xlsx.finish(&mut bytes).unwrap();
        let mut book: calamine::Xlsx<_> = calamine::open_workbook_from_rs(bytes).unwrap();
        let raw = calamine::Reader::worksheet_range(&mut book, "原始记录").unwrap();
        let summary = calamine::Reader::worksheet_range(&mut book, "汇总").unwrap();
        let checks: Vec<_> = (3..7).filter_map(|row| summary.get_value((row, 26))).map(ToString::to_string).collect();
        assert_eq!(checks, ["一致"; 4], "{:?}", office.store.engine());
        assert_eq!(raw.height(), 1 + 8 + 2 + 1);
    }
}
