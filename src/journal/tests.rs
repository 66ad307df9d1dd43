use super::{
    read::{Csv, Reader, Verdict, verify_export},
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
    let tick = Tick { at: Some(at(300)), newest: Some(at(310)), stopped_until: None, hushed_until: Some(at(900)) };
    journal.tick(&tick).await.unwrap();
    drop(journal);

    let mut journal = Journal::open(dir.path(), "beizhuang").await.unwrap();
    let memory = journal.start(at(620)).await.unwrap();
    assert_eq!((memory.tick, memory.newest), (Some(at(300)), Some(at(310))));
    assert_eq!((memory.stopped_until, memory.hushed_until), (None, Some(at(900))));
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
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: 1, signed: 0 });
    journal.begin(&running(60)).await.unwrap();
    journal.abandon(&running(60).entry.occurrence).await.unwrap();
    assert!(journal.start(at(60)).await.unwrap().running.is_empty());
}

#[tokio::test]
async fn every_way_of_forging_is_found_at_its_row() {
    for (forgery, broken) in [
        ("UPDATE entry SET line = replace(line, '\"heard_ms\":20000', '\"heard_ms\":20001') WHERE seq = 3", Some(3)),
        ("UPDATE entry SET hash = replace(hash, '0', '1') WHERE seq = 3", Some(3)),
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
            (Verdict::Whole { rows: 6, signed: 5 }, None) => {}
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

#[tokio::test]
async fn an_exported_file_proves_itself() {
    let (dir, _journal) = filled(3).await;
    let mut lines = Vec::new();
    let mut reader = Reader::open(&dir.path().join("journal.db")).await.unwrap();
    let keep = |row: read::Stored| -> Result<(), JournalError> {
        lines.push(row.export());
        Ok(())
    };
    reader.entries(Timestamp::MIN..Timestamp::MAX, keep).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((value["seq"].as_i64(), value["hash"].as_str().map(str::len)), (Some(1), Some(64)));

    let whole = lines.join("\n");
    let check = |text: &str| verify_export(&mut text.as_bytes()).unwrap();
    assert_eq!(check(&whole), Verdict::Whole { rows: 3, signed: 0 });
    let forged = whole.replacen("\"heard_ms\":20000", "\"heard_ms\":10000", 1);
    assert!(matches!(check(&forged), Verdict::Broken { seq: 1, .. }));
    assert!(matches!(check(&lines[1..].join("\n")), Verdict::Broken { seq: 1, .. }));
    assert!(matches!(check("hello"), Verdict::Broken { seq: 1, .. }));
}

#[tokio::test]
async fn a_window_holds_the_rows_due_in_it_and_a_spreadsheet_runs_none_of_them() {
    let (dir, _journal) = filled(5).await;
    let mut bytes = Vec::new();
    let mut csv = Csv::new(&mut bytes, TimeZone::get("Asia/Shanghai").unwrap()).unwrap();
    let mut reader = Reader::open(&dir.path().join("journal.db")).await.unwrap();
    let mut rows = 0;
    let take = |row: read::Stored| -> Result<(), JournalError> {
        rows += 1;
        csv.row(&row).map_err(io::Error::other)?;
        Ok(())
    };
    reader.entries(at(60)..at(180), take).await.unwrap();
    csv.finish().unwrap();
    assert_eq!(rows, 2);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("\u{feff}epoch,seq,occurrence"), "{text}");
    assert!(text.contains("'=早间") && text.contains("+08:00") && text.contains(",-120,"), "{text}");
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
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: acknowledged, signed: 0 });
    assert!(journal.finish(&entry(60_000)).await.unwrap(), "after the failure the journal opens anew");
    assert_eq!(verdict(&dir).await, Verdict::Whole { rows: acknowledged + 1, signed: 0 });
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
