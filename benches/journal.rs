//! A journal of a million rows against its budget: the daemon ready in 300 ms. The journal is made once and kept in
//! the target folder; it holds what twenty-seven years of a hundred announcements a day leave behind, heads included.
//!
//! `cargo bench --bench journal`; the first run takes about two minutes more.

use criterion::{Criterion, criterion_group, criterion_main};
use dalaba::{
    clock,
    conductor::Tick,
    daemon::Control,
    entry::{ClockNote, Entry, GENESIS, PlayedClip, chain, line},
    home::Home,
    journal::{
        Journal, JournalError, head_text,
        read::{Reader, Verdict},
    },
    outcome::{Evidence, Outcome},
    plan::OccurrenceId,
    schedule::{Band, Source},
    text::hex,
    trust::ClockState,
};
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use std::{
    fs,
    hint::black_box,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::runtime::Runtime;

const ROWS: i64 = 1_000_000;
/// Between two occurrences: a hundred a day.
const STEP: SignedDuration = SignedDuration::from_secs(864);
/// Rows under one signature: those of an hour and a half.
const SIGNED: i64 = 6;

/// One row of a village's day.
fn entry(number: i64, due: Timestamp) -> Entry {
    let end = due + SignedDuration::from_secs(23);
    Entry {
        occurrence: OccurrenceId::from(format!("station/daily/fraud-{}@{due}", number % 100)),
        source: Source::Station,
        schedule: "daily".into(),
        announcement: format!("fraud-{}", number % 100),
        title: "全民反诈在行动：早间提示".into(),
        clips: vec![PlayedClip {
            title: "冒充公检法".into(), sha256: "5508d2b710e64bc470079e1b211d9c58".repeat(2)
        }],
        band: Band::Normal,
        due,
        started: Some(due),
        ended: end,
        expected_ms: 23_000,
        heard_ms: 23_000,
        start_error_us: Some(number % 300 - 150),
        outcome: Outcome::Played,
        reason: None,
        evidence: Some(Evidence::Accepted),
        device: Some("pulse:alsa_output.pci-0000_00_1b.0.analog-stereo".into()),
        peak_dbfs: Some(-1.5),
        rms_dbfs: Some(-18.25),
        underruns: 0,
        volume: 80,
        clock: ClockNote { state: ClockState::Trusted, offset_ms: None },
        operator: None,
        note: None,
        revision: "0123456789abcdef".into(),
    }
}

/// Returns a home whose journal holds a million rows up to now; makes it where it is not there yet.
fn million(runtime: &Runtime) -> Home {
    let home = Home::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("million"));
    let whole = home.dir.join("whole");
    if !whole.exists() {
        // Half a journal of an interrupted run is no journal; where there is none yet, there is nothing to remove.
        let _ = fs::remove_dir_all(&home.dir);
        fs::create_dir_all(home.data()).expect("the target folder takes files");
        runtime.block_on(fill(&home)).expect("the journal is written");
        fs::write(whole, "").expect("the target folder takes files");
    }
    dress(&home).expect("the target folder takes files");
    home
}

/// A station that plays a clip a hundred times a day. Its first start imports the clip; that one is a warm-up.
fn dress(home: &Home) -> io::Result<()> {
    const SECOND: u32 = 48_000 * 2;
    let mut wave = Vec::new();
    for (name, value) in [(b"RIFF", SECOND + 36), (b"WAVE", 0x2074_6d66), (&16_u32.to_le_bytes(), 0x0001_0001)] {
        wave.extend_from_slice(name);
        wave.extend(value.to_le_bytes());
    }
    for value in [48_000, SECOND, 0x0010_0002, u32::from_le_bytes(*b"data"), SECOND] {
        wave.extend(value.to_le_bytes());
    }
    wave.extend((-48_i16..48).cycle().take(48_000).flat_map(|sample| (sample * 200).to_le_bytes()));
    fs::create_dir_all(home.audio())?;
    fs::create_dir_all(home.schedules())?;
    fs::write(home.audio().join("a.wav"), wave)?;
    let schedule = "[announcement.a]\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"a\"\nevery = \"14m\"\n";
    fs::write(home.schedules().join("daily.toml"), schedule)?;
    let station = "[station]\nid = \"beizhuang\"\nname = \"北庄村\"\n[hours]\nquiet = []\n";
    fs::write(home.dir.join("station.toml"), station)
}

/// Writes the rows in one transaction; what the writer's own commits would leave, without a million of them.
async fn fill(home: &Home) -> Result<(), JournalError> {
    let mut journal = Journal::open(&home.data(), "beizhuang").await?;
    let last = clock::wall();
    journal.start(last).await?;
    drop(journal);
    let seed = fs::read(home.data().join("station.key"))?;
    let key = SigningKey::from_bytes(&seed.try_into().expect("a key is 32 bytes"));
    let epoch = format!("beizhuang-{}", &hex(key.verifying_key().as_bytes())[..16]);

    let mut connection =
        SqliteConnectOptions::new().filename(home.journal()).disable_statement_logging().connect().await?;
    let mut transaction = connection.begin().await?;
    let mut prev = GENESIS.to_owned();
    for seq in 1..=ROWS {
        let due = last - STEP * i32::try_from(ROWS - seq + 1).expect("a million fits");
        let entry = entry(seq, due);
        let line = line(&entry, &epoch, seq, &prev)?;
        prev = chain(&prev, &line);
        sqlx::query("INSERT INTO entry (seq, occurrence, due, line, hash) VALUES (?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(entry.occurrence.as_str())
            .bind(due.as_millisecond())
            .bind(line)
            .bind(&prev)
            .execute(&mut *transaction)
            .await?;
        if seq % SIGNED == 0 {
            sqlx::query("INSERT INTO head (seq, hash, at, signature) VALUES (?, ?, ?, ?)")
                .bind(seq)
                .bind(&prev)
                .bind(entry.ended.as_millisecond())
                .bind(hex(&key.sign(head_text(seq, &prev, entry.ended).as_bytes()).to_bytes()))
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// The daemon before a run: the last one ended just now, so that nothing is owed.
async fn ended_now(home: &Home) -> Result<(), JournalError> {
    let now = clock::wall();
    let tick = Tick { at: Some(now), newest: Some(now), stopped: None, hushed: None, volume: None };
    Journal::open(&home.data(), "beizhuang").await?.tick(&tick).await?;
    let mut connection = SqliteConnectOptions::new().filename(home.journal()).connect().await?;
    // A run killed twenty times in ten minutes is a crash loop; this one is a measurement.
    sqlx::query("DELETE FROM start").execute(&mut connection).await?;
    Ok(())
}

/// Returns how long `dalaba run` takes until `path` answers with `wanted`, from the start of its process.
fn until_answer(runtime: &Runtime, home: &Home, path: &str, wanted: &str) -> Duration {
    runtime.block_on(ended_now(home)).expect("the journal takes a tick");
    // Of the run before; the first has none.
    let _ = fs::remove_file(home.control());
    let begun = clock::monotonic();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_dalaba"))
        .args(["run", "--listen", "127.0.0.1:0", "--home"])
        .arg(&home.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    while !answers(home, path, wanted) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the daemon never answered");
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    daemon.kill().expect("a child can be killed");
    daemon.wait().expect("a child can be waited for");
    took
}

fn answers(home: &Home, path: &str, wanted: &str) -> bool {
    let Ok(control) = Control::read(home) else { return false };
    let Ok(mut stream) = TcpStream::connect(control.address) else { return false };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        control.address, control.token
    );
    let mut answer = String::new();
    let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.starts_with("HTTP/1.1 200") && answer.contains(wanted)
}

fn total(times: u64, mut once: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| once()).sum()
}

fn a_million_rows(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let home = million(&runtime);
    let mut group = criterion.benchmark_group("a journal of a million rows");
    group.sample_size(10);

    group.bench_function("open, and read what the daemon must know", |bencher| {
        bencher.iter_custom(|times| {
            total(times, || {
                runtime.block_on(ended_now(&home)).expect("the journal takes a tick");
                let begun = clock::monotonic();
                runtime.block_on(async {
                    let mut journal = Journal::open(&home.data(), "beizhuang").await.expect("it opens");
                    black_box(journal.start(clock::wall()).await.expect("it is read"));
                });
                begun.elapsed()
            })
        });
    });
    group.bench_function("run, until the status page answers", |bencher| {
        bencher.iter_custom(|times| total(times, || until_answer(&runtime, &home, "/", "")));
    });
    group.bench_function("run, until ready: the speaker answers too", |bencher| {
        bencher.iter_custom(|times| total(times, || until_answer(&runtime, &home, "/api/next", "\"ready\":true")));
    });

    let mut journal = runtime.block_on(Journal::open(&home.data(), "beizhuang")).expect("it opens");
    group.bench_function("one entry, durable", |bencher| {
        bencher.iter(|| {
            let now = clock::wall();
            assert!(runtime.block_on(journal.finish(&entry(0, now))).expect("it is written"));
        });
    });
    let mut reader = runtime.block_on(Reader::open(&home.journal())).expect("it opens");
    for (name, days) in [("a day of last month", 30), ("a day ten years back", 3650)] {
        let start = clock::wall() - SignedDuration::from_hours(24 * days);
        let window = start..start + SignedDuration::from_hours(24);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rows = 0;
                let take = |_| {
                    rows += 1;
                    Ok::<_, JournalError>(())
                };
                runtime.block_on(reader.entries(window.clone(), take)).expect("it is read");
                assert!((90..=101).contains(&rows), "{rows}");
            });
        });
    }
    group.finish();

    // Once: it takes longer than all the rest.
    let begun = clock::monotonic();
    let verdict = runtime.block_on(reader.verify()).expect("it is read");
    assert!(matches!(verdict, Verdict::Whole { rows, .. } if rows >= ROWS), "{verdict:?}");
    println!("verify the whole: {:.1} s", begun.elapsed().as_secs_f64());
}

criterion_group!(benches, a_million_rows);
criterion_main!(benches);
