use super::{
    export::{Csv, Row, export},
    read::{Reader, Verdict},
    *,
};
use crate::{
    entry::{ClockNote, Line, PlayedClip},
    outcome::{Evidence, Outcome},
    schedule::{Band, Source},
    speaker::protocol::Playout,
    trust::ClockState,
};
use jiff::tz::TimeZone;
use tempfile::TempDir;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

fn entry(second: i64) -> Entry {
    Entry {
        occurrence: OccurrenceId::from(format!("station/day/morning@{second}")),
        source: Source::Station,
        schedule: "day".into(),
        announcement: "morning".into(),
        title: "=早间\"提示\",\n".into(),
        clips: vec![PlayedClip { title: "冒充公检法".into(), sha256: "ab".into() }],
        band: Band::Normal,
        due: at(second),
        started: Some(at(second)),
        ended: at(second + 20),
        expected_ms: 20_000,
        heard_ms: 20_000,
        start_error_us: Some(-120),
        outcome: Outcome::Played,
        reason: None,
        evidence: Some(Evidence::Accepted),
        device: Some("pulse:village".into()),
        peak_dbfs: Some(-1.5),
        rms_dbfs: Some(-18.25),
        underruns: 0,
        volume: 64,
        clock: ClockNote { state: ClockState::Plausible, offset_ms: None },
        operator: None,
        note: None,
        revision: "0123456789abcdef".into(),
    }
}

fn running(second: i64) -> Running {
    Running {
        entry: entry(second),
        start: at(second),
        seen: at(second + 5),
        playout: Playout {
            occurrence: entry(second).occurrence,
            band: Band::Normal,
            segments: Vec::new(),
            start: at(second),
            skip_frames: 0,
            gain: 0.5,
            not_after: None,
        },
        interrupted: None,
        deaths: 0,
    }
}

async fn filled(rows: i64) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), "beizhuang").await.unwrap();
    for row in 0..rows {
        assert!(journal.finish(&entry(row * 60)).await.unwrap());
    }
    (dir, journal)
}

async fn verdict(dir: &TempDir) -> Verdict {
    Reader::open(&dir.path().join("journal.db")).await.unwrap().verify().await.unwrap()
}

#[tokio::test]
async fn a_restart_remembers_what_was_decided_and_what_was_running() {
    let (dir, mut journal) = filled(3).await;
    journal.begin(&running(600)).await.unwrap();
    journal.begin(&running(600)).await.unwrap();
    let percent = |percent: u8| crate::schedule::Volume::try_from(percent).unwrap();
    let volume = Some(SetVolume { volume: percent(35), instead_of: percent(80) });
    let hush = Silence { until: at(900), operator: "王".into(), note: Some("村里办喜事".into()) };
    let tick = Tick { at: Some(at(300)), newest: Some(at(310)), stopped: None, hushed: Some(hush.clone()), volume };
    journal.tick(&tick).await.unwrap();
    drop(journal);

    let mut journal = Journal::open(dir.path(), "beizhuang").await.unwrap();
    let memory = journal.start(at(620)).await.unwrap();
    assert_eq!((memory.tick, memory.newest), (Some(at(300)), Some(at(310))));
    assert_eq!((memory.stopped, memory.hushed), (None, Some(hush)));
    assert_eq!(memory.volume, volume);
    assert_eq!(memory.running, [running(600)]);
    assert_eq!(memory.decided.len(), 3);
    assert_eq!(memory.starts, [at(620)]);
    assert_eq!(journal.start(at(640)).await.unwrap().starts, [at(620), at(640)]);
}

#[tokio::test]
async fn an_occurrence_keeps_its_first_entry_and_its_running_row_goes_with_it() {
    let (dir, mut journal) = filled(1).await;
    journal.begin(&running(0)).await.unwrap();
    let again = Entry { outcome: Outcome::Missed, ..entry(0) };
    assert!(!journal.finish(&again).await.unwrap());
    assert!(journal.start(at(60)).await.unwrap().running.is_empty());
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: 1, signed: 0, key: None });
    journal.begin(&running(60)).await.unwrap();
    journal.abandon(&running(60).entry.occurrence).await.unwrap();
    assert!(journal.start(at(60)).await.unwrap().running.is_empty());
}

#[tokio::test]
async fn every_way_of_forging_is_found_at_its_row() {
    for (forgery, broken) in [
        ("UPDATE entry SET line = replace(line, '\"heard_ms\":20000', '\"heard_ms\":20001') WHERE seq = 3", Some(3)),
        ("UPDATE entry SET hash = substr(hash, 2) || substr(hash, 1, 1) WHERE seq = 3", Some(3)),
        ("DELETE FROM entry WHERE seq = 3", Some(3)),
        ("DELETE FROM entry WHERE seq = 1", Some(1)),
        ("DELETE FROM entry WHERE seq >= 5", Some(5)),
        (
            "UPDATE entry SET seq = -1 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 4; UPDATE entry SET seq = 4 WHERE seq = -1",
            Some(3),
        ),
        ("UPDATE head SET signature = replace(signature, '0', '1') WHERE seq = 5", Some(5)),
        ("UPDATE head SET at = at + 1 WHERE seq = 5", Some(5)),
        ("UPDATE entry SET due = due", None),
    ] {
        let (dir, mut journal) = filled(5).await;
        journal.sign_head(at(900)).await.unwrap();
        assert!(journal.finish(&entry(6000)).await.unwrap());
        sqlx::raw_sql(forgery).execute(&mut journal.connection).await.unwrap();
        match (verdict(&dir).await, broken) {
            (Verdict::Broken { seq, .. }, Some(expected)) => assert_eq!(seq, expected, "{forgery}"),
            (Verdict::Whole { rows: 6, signed: 5, key: Some(_) }, None) => {}
            (other, _) => panic!("{forgery}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_rewritten_chain_does_not_pass_under_the_old_signature() {
    let (dir, mut journal) = filled(4).await;
    journal.sign_head(at(900)).await.unwrap();
    sqlx::raw_sql("DELETE FROM entry WHERE seq >= 3").execute(&mut journal.connection).await.unwrap();
    for second in [6000, 6060, 6120] {
        assert!(journal.finish(&entry(second)).await.unwrap());
    }
    assert!(matches!(verdict(&dir).await, Verdict::Broken { seq: 4, .. }));
}

/// The rows due in `window` as they leave the station.
async fn exported(dir: &TempDir, window: std::ops::Range<Timestamp>) -> Vec<Row> {
    let mut rows = Vec::new();
    let take = |row: &Row| -> Result<(), JournalError> {
        rows.push(row.clone());
        Ok(())
    };
    let mut reader = Reader::open(&dir.path().join("journal.db")).await.unwrap();
    export(&mut reader, dir.path(), at(9000), window, take).await.unwrap();
    rows
}

fn as_json(rows: &[Row]) -> String {
    rows.iter().map(|row| row.json().unwrap() + "\n").collect()
}

fn as_csv(rows: &[Row]) -> String {
    let mut bytes = Vec::new();
    let mut csv = Csv::new(&mut bytes, TimeZone::get("Asia/Shanghai").unwrap()).unwrap();
    rows.iter().for_each(|row| csv.row(row).unwrap());
    csv.finish().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What a stranger with the file alone finds; the number of the broken row, if there is one.
fn found(text: &str) -> Result<Verdict, i64> {
    match super::export::verify(&mut text.as_bytes()).unwrap() {
        Verdict::Broken { seq, .. } => Err(seq),
        whole => Ok(whole),
    }
}

const ALL: std::ops::Range<Timestamp> = Timestamp::MIN..Timestamp::MAX;

#[tokio::test]
async fn an_exported_file_proves_itself_to_whoever_has_it_and_says_whose_it_is() {
    let (dir, mut journal) = filled(5).await;
    journal.sign_head(at(400)).await.unwrap();
    assert!(journal.finish(&entry(6000)).await.unwrap());
    let key = Some(PublicKey::from(&journal.key));
    for (window, rows, signed) in [(ALL, 6, 6), (at(60)..at(180), 2, 3), (at(6000)..at(6001), 1, 6)] {
        let exported = exported(&dir, window).await;
        for text in [as_json(&exported), as_csv(&exported), as_csv(&exported).replacen('\u{feff}', "", 1)] {
            assert_eq!(found(&text), Ok(Verdict::Whole { rows, signed, key }), "{text}");
        }
    }
    // Late entries stand behind earlier ones: their day has holes.
    assert!(journal.finish(&entry(30)).await.unwrap());
    let holes = exported(&dir, at(0)..at(100)).await;
    assert_eq!(holes.iter().map(|row| row.stored.seq).collect::<Vec<_>>(), [1, 2, 7]);
    assert_eq!(found(&as_csv(&holes)), Ok(Verdict::Whole { rows: 3, signed: 7, key }));
}

#[tokio::test]
async fn a_forged_file_is_refused_however_it_was_forged() {
    let (dir, mut journal) = filled(3).await;
    journal.sign_head(at(400)).await.unwrap();
    for second in [6000, 6060] {
        assert!(journal.finish(&entry(second)).await.unwrap());
    }
    let rows = exported(&dir, ALL).await;
    type Forge<'a> = &'a dyn Fn(&mut Vec<Row>);
    let forgeries: [(&str, Forge<'_>, i64); 11] = [
        ("a row changed", &|rows| rows[1].stored.line = heard_less(&rows[1]), 2),
        ("a row changed, and the chain made anew", &|rows| rechain(rows, 1), 3),
        ("a row after the last head changed, and the chain made anew", &|rows| rechain(rows, 3), 5),
        (
            "the heads gone too",
            &|rows| {
                rechain(rows, 1);
                rows[2].stored.signed = None
            },
            5,
        ),
        (
            "the seal gone too",
            &|rows| {
                rechain(rows, 1);
                rows[2].stored.signed = None;
                rows[4].seal = None
            },
            6,
        ),
        ("the first row gone", &|rows| drop(rows.remove(0)), 5),
        ("a row in the middle gone", &|rows| drop(rows.remove(1)), 5),
        ("the last row gone", &|rows| drop(rows.pop()), 5),
        (
            "the last row gone, its seal moved up",
            &|rows| {
                let seal = rows.remove(4).seal;
                rows[3].seal = seal
            },
            4,
        ),
        ("two rows swapped", &|rows| rows.swap(1, 2), 2),
        ("a row behind the seal", &|rows| rows.push(Row { seal: None, ..rows[4].clone() }), 6),
    ];
    for (forgery, forge, broken) in forgeries {
        let mut forged = rows.clone();
        forge(&mut forged);
        assert_eq!(found(&as_json(&forged)), Err(broken), "{forgery}, JSON");
        assert_eq!(found(&as_csv(&forged)), Err(broken), "{forgery}, CSV");
    }
    // Signed anew with another key: it proves itself, and the key tells.
    let stranger = filled(5).await.0;
    let Ok(Verdict::Whole { key, .. }) = found(&as_json(&exported(&stranger, ALL).await)) else { panic!() };
    assert_ne!(key, Some(PublicKey::from(&journal.key)));
}

/// The rows as an office has them, whose last batch began with row `from`.
async fn sent(dir: &TempDir, from: i64) -> Vec<Row> {
    let mut rows = exported(dir, ALL).await;
    for row in &mut rows {
        (row.seal, row.stored.signed) = (None, None);
    }
    let last = rows.last_mut().unwrap();
    let epoch = serde_json::from_str::<Line>(&last.stored.line).unwrap().epoch;
    let key = sign::existing_key(dir.path()).unwrap().unwrap();
    let signature = sign::sign(&key, &batch_text(&epoch, from, last.stored.seq, &last.stored.hash));
    last.sent = Some(export::Sent { from, key: PublicKey::from(&key).to_string(), signature });
    rows
}

#[tokio::test]
async fn the_file_of_an_office_is_proved_by_what_the_station_signed_when_it_sent_the_rows() {
    let (dir, journal) = filled(5).await;
    let key = Some(PublicKey::from(&journal.key));
    let rows = sent(&dir, 4).await;
    for first in 0..5 {
        let whole = Ok(Verdict::Whole { rows: 5 - first as i64, signed: 5, key });
        assert_eq!((found(&as_json(&rows[first..])), found(&as_csv(&rows[first..]))), (whole.clone(), whole));
    }
    type Forge<'a> = &'a dyn Fn(&mut Vec<Row>);
    let forgeries: [(&str, Forge<'_>, i64); 9] = [
        ("a row changed", &|rows| rows[1].stored.line = heard_less(&rows[1]), 2),
        ("a row changed, and the chain made anew", &|rows| rechain(rows, 1), 5),
        ("a row in the middle gone", &|rows| drop(rows.remove(1)), 3),
        ("the last row gone", &|rows| drop(rows.pop()), 5),
        (
            "the last row gone, its signature moved up",
            &|rows| {
                let sent = rows.remove(4).sent;
                rows[3].sent = sent
            },
            4,
        ),
        ("two rows swapped", &|rows| rows.swap(1, 2), 2),
        ("a row behind the signature", &|rows| rows.push(Row { sent: None, ..rows[4].clone() }), 6),
        ("another batch", &|rows| rows[4].sent.as_mut().unwrap().from = 3, 5),
        ("another key", &|rows| rows[4].sent.as_mut().unwrap().key = "00".repeat(32), 5),
    ];
    for (forgery, forge, broken) in forgeries {
        let mut forged = rows.clone();
        forge(&mut forged);
        assert_eq!(found(&as_json(&forged)), Err(broken), "{forgery}, JSON");
        assert_eq!(found(&as_csv(&forged)), Err(broken), "{forgery}, CSV");
    }
}

fn heard_less(row: &Row) -> String {
    row.stored.line.replace("\"heard_ms\":20000", "\"heard_ms\":10000")
}

/// What a forger without the key does: changes a row, and every hash from there on.
fn rechain(rows: &mut [Row], forged: usize) {
    rows[forged].stored.line = heard_less(&rows[forged]);
    for index in forged..rows.len() {
        let mut line: Line = serde_json::from_str(&rows[index].stored.line).unwrap();
        if index > 0 {
            line.prev.clone_from(&rows[index - 1].stored.hash);
        }
        let text = serde_json::to_string(&line).unwrap();
        rows[index].stored.hash = chain(&line.prev, &text);
        rows[index].stored.line = text;
    }
}

#[tokio::test]
async fn a_table_whose_cells_differ_from_its_proof_and_what_is_no_export_is_refused() {
    let (dir, _journal) = filled(3).await;
    let rows = exported(&dir, ALL).await;
    let (json, csv) = (as_json(&rows), as_csv(&rows));
    let table = |from: &str, to: &str| {
        assert!(csv.contains(from), "{csv}");
        csv.replacen(from, to, 1)
    };
    let due =
        |offset: &str| format!("{},", crate::plan::rfc3339(&at(60).to_zoned_datetime(TimeZone::get(offset).unwrap())));
    for (text, broken) in [
        (table(",20000,20000,", ",20000,10000,"), 1),
        (table(",played,", ",missed,"), 1),
        (table(&due("Asia/Shanghai"), &due("Asia/Shanghai").replace("+08", "+09")), 2),
        (table("heard_ms", "heared_ms"), 1),
        (table("冒充公检法", "冒充"), 1),
        (table(",played,", ",played,,"), 1),
        (csv.lines().next().unwrap().to_owned(), 1),
        (json.replacen("}\n", ",\"heard_ms\":1}\n", 1), 1),
        (json.replacen("\"hash\"", "\"heard_ms\":1,\"hash\"", 1), 1),
        (json.replacen('\n', "\n\n", 1), 2),
        ("hello".into(), 1),
        ("\u{feff}".into(), 1),
        (String::new(), 1),
    ] {
        assert_eq!(found(&text), Err(broken), "{text}");
    }
}

#[tokio::test]
async fn who_cannot_read_the_key_gets_the_rows_without_a_proof() {
    let (dir, _journal) = filled(2).await;
    std::fs::remove_file(dir.path().join("station.key")).unwrap();
    let rows = exported(&dir, ALL).await;
    assert_eq!((rows.len(), found(&as_json(&rows))), (2, Err(3)));
    assert!(!dir.path().join("station.key").exists(), "an export makes no key");
}

#[tokio::test]
async fn a_window_holds_the_rows_due_in_it_and_a_spreadsheet_runs_none_of_them() {
    let (dir, _journal) = filled(5).await;
    let rows = exported(&dir, at(60)..at(180)).await;
    assert_eq!(rows.len(), 2);
    let value: serde_json::Value = serde_json::from_str(&rows[0].json().unwrap()).unwrap();
    assert_eq!((value["seq"].as_i64(), value["hash"].as_str().map(str::len)), (Some(2), Some(64)));
    let text = as_csv(&rows);
    assert!(text.starts_with("\u{feff}epoch,seq,occurrence"), "{text}");
    assert!(text.contains("'=早间") && text.contains("+08:00") && text.contains(",-120,"), "{text}");
}

#[tokio::test]
async fn neither_a_start_nor_a_day_s_question_reads_the_whole_journal() {
    let (_dir, mut journal) = filled(1).await;
    for question in [STARTED, DECIDED, HEAD, KNOWN, read::SEQS] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {question}"));
        let steps = sqlx::raw_sql(explain).fetch_all(&mut journal.connection).await.unwrap();
        for step in steps {
            let step: String = step.get(3);
            // The head is the end of the table, whichever way it is walked.
            let is_short = step.starts_with("SEARCH ") || question == HEAD;
            assert!(is_short, "{question}: {step}");
        }
    }
    let mut reader = Reader::open(&journal.file).await.unwrap();
    assert_eq!(reader.seqs(&(at(0)..at(1))).await.unwrap(), 1..2);
    assert!(reader.seqs(&(at(1)..at(2))).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing_that_was_acknowledged() {
    let (dir, mut journal) = filled(2).await;
    let pages: i64 = sqlx::query("PRAGMA page_count").fetch_one(&mut journal.connection).await.unwrap().get(0);
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
    sqlx::raw_sql(limit).execute(&mut journal.connection).await.unwrap();
    let mut acknowledged = 2;
    // The first failure opens the connection anew, and with it the limit is gone: nothing but that row was in doubt.
    for row in 2..200 {
        let fresh = finish(&mut journal.connection, "epoch", &entry(row * 60)).await;
        match fresh {
            Ok(_) => acknowledged += 1,
            Err(JournalError::Database(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(acknowledged < 200, "the disk never filled");
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: acknowledged, signed: 0, key: None });
    assert!(journal.finish(&entry(60_000)).await.unwrap(), "after the failure the journal opens anew");
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: acknowledged + 1, signed: 0, key: None });
}

#[tokio::test]
async fn a_newer_schema_and_a_broken_key_are_left_alone() {
    let (dir, mut journal) = filled(1).await;
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut journal.connection).await.unwrap();
    drop(journal);
    assert!(matches!(Journal::open(dir.path(), "b").await, Err(JournalError::Newer { version: 99 })));
    std::fs::write(dir.path().join("station.key"), b"short").unwrap();
    assert!(matches!(Journal::open(dir.path(), "b").await, Err(JournalError::Key { .. })));
    assert_eq!(std::fs::read(dir.path().join("station.key")).unwrap(), b"short");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, _journal) = filled(0).await;
    let mode = std::fs::metadata(dir.path().join("station.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn a_line_reads_back_as_it_was_written() {
    let text = crate::entry::line(&entry(0), "e", 7, GENESIS).unwrap();
    let line: Line = serde_json::from_str(&text).unwrap();
    assert_eq!((line.entry, line.seq, line.prev.as_str()), (entry(0), 7, GENESIS));
}

#[test]
fn the_chain_is_sha256_of_the_hash_before_and_the_line() {
    // `printf '%064d{}' 0 | sha256sum`
    assert_eq!(chain(GENESIS, "{}"), "5508d2b710e64bc470079e1b211d9c58e21011e59d0559e422345dc19d659a75");
}

#[tokio::test]
async fn a_journal_that_is_only_being_made_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.db");
    std::fs::write(&file, "").unwrap();
    let mut reader = Reader::open(&file).await.unwrap();
    let all = Timestamp::MIN..Timestamp::MAX;
    assert_eq!(reader.count(&all).await.unwrap(), 0);
    assert!(reader.self_tests().await.unwrap().is_empty());
}
