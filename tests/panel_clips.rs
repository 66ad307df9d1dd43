//! 音频 and 记录 at the real daemon: what a person sends, sees and carries away.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use calamine::{Data, Reader as _, Xlsx, open_workbook_from_rs};
use dalaba::{
    entry::{ClockNote, Entry},
    journal::Journal,
    outcome::{Evidence, Outcome, Reason},
    plan::OccurrenceId,
    schedule::{Band, Source},
    trust::ClockState,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::{fs, io::Cursor, path::Path};
use support::{
    Setup, Village,
    http::{Answer, Client},
    wave::{header, melody, wav},
};

/// A station without a sound card; its pages are open.
fn open(village: &mut Village) -> Client {
    village.launch();
    village.wait("the pages are open", |village| {
        village.home().join("data/control.json").exists() && Client::stranger(village).get("/").status == 200
    });
    Client::owner(village)
}

fn quiet() -> Village {
    Village::with(Setup { server: false, ..Setup::default() })
}

/// Every file under a folder, by path, but what the daemon itself writes there.
fn files(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                files(&entry.path()).into_iter().map(|below| format!("{name}/{below}")).collect()
            } else {
                vec![name]
            }
        })
        .collect();
    found.sort();
    found
}

/// `path ready|importing|refused: what was said`, one for each file of an answer.
fn received(answer: &Answer) -> Vec<(String, bool, String)> {
    let json = answer.json();
    let files = json["files"].as_array().unwrap_or_else(|| panic!("{json}")).clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    files.iter().map(|file| (text(&file["path"]), file["ready"] == true, text(&file["said"]))).collect()
}

#[test]
fn a_good_recording_is_taken_in_and_a_bad_one_refused_in_words_and_gone() {
    let mut village = quiet();
    village.clip("old.wav", &melody(1, 1.0));
    let use_it = "[announcement.a]\ntitle = \"早间\"\nplay = [\"案情/\"]\n[[rule]]\nplay = \"a\"\nat = [\"03:33\"]\n";
    village.schedule("daily", use_it);
    let client = open(&mut village);
    let good = wav(&melody(2, 2.0));
    let answer = client.upload("/clips", &[("folder", ""), ("new-folder", "案情")], &[("假冒 公检法.wav", &good)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(received(&answer), [("案情/假冒 公检法.wav".to_owned(), true, "已入库，可以播出".to_owned())]);
    let file = village.home().join("audio/案情/假冒 公检法.wav");
    assert_eq!(fs::read(&file).unwrap(), good, "it came whole");
    let address = "/clips/%E6%A1%88%E6%83%85/%E5%81%87%E5%86%92%20%E5%85%AC%E6%A3%80%E6%B3%95.wav";
    let page = client.get("/clips");
    assert!(page.text().contains("假冒 公检法") && page.text().contains(address), "{}", page.text());
    let row = client.json(address).json();
    assert_eq!((row["used"][0].as_str(), row["standing"].as_str()), (Some("早间"), Some("ready")), "{row:#}");
    assert_eq!(row["duration_ms"], 2_000, "{row:#}");
    let plays_at = row["plays_at_lufs"].as_f64().unwrap();
    assert!((plays_at + 16.0).abs() < 0.5, "{row:#}");
    assert_eq!(client.get(address).status, 200);
    let drawing = client.get(&address.replace("/clips/", "/clip-wave/"));
    assert_eq!((drawing.status, drawing.header("content-type").as_deref()), (200, Some("image/svg+xml")));
    assert_eq!(drawing.text().matches('M').count(), 600);

    let before = files(&village.home().join("audio"));
    for (name, bytes) in [
        ("坏.wav", &b"no sound at all"[..]),
        ("空.wav", &[]),
        ("静.wav", &wav(&[0.0; 48_000])),
        ("图.mp3", b"\x89PNG\r\n\x1a\n..."),
    ] {
        let answer = client.upload("/clips", &[("folder", "案情")], &[(name, bytes)]);
        assert_eq!(answer.status, 422, "{name}");
        let (path, ready, said) = received(&answer).remove(0);
        assert!(path.is_empty() && !ready && said.contains('；'), "{name}: {said}");
    }
    // Several at once: each has its own answer.
    let two = [("又一个.wav", &good[..]), ("坏.wav", b"x")];
    let answer = client.upload("/clips", &[("folder", "")], &two);
    let paths: Vec<_> = received(&answer).into_iter().map(|file| file.0).collect();
    assert_eq!((answer.status, paths), (200, vec!["又一个.wav".to_owned(), String::new()]));
    let mut expected = before;
    expected.push("又一个.wav".to_owned());
    expected.sort();
    assert_eq!(files(&village.home().join("audio")), expected);
    assert_eq!(files(&village.home().join("data/upload")), Vec::<String>::new(), "nothing is left on the way");
}

#[test]
fn no_name_leads_out_of_the_folder_or_over_a_file() {
    let mut village = quiet();
    village.clip("x.wav", &melody(1, 1.0));
    let client = open(&mut village);
    let good = wav(&melody(2, 1.0));
    let (audio, x) = (village.home().join("audio"), fs::read(village.home().join("audio/x.wav")).unwrap());
    let long = format!("{}.wav", "n".repeat(296));
    for name in
        ["../../x.wav", "..\\\\x.wav", "con.wav", ".hidden.wav", &long, "<script>.wav", "x.wav", "a.exe", "a%00.wav/.."]
    {
        let answer = client.upload("/clips", &[("folder", "")], &[(name, &good)]);
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert!(received(&answer)[0].0.is_empty(), "{name}");
    }
    for folder in ["..", "../..", "/tmp", "a/../..", "C:"] {
        for field in ["folder", "new-folder"] {
            let answer = client.upload("/clips", &[(field, folder)], &[("y.wav", &good)]);
            assert_eq!(answer.status, 422, "{field} {folder}: {}", answer.text());
        }
    }
    assert_eq!(files(&audio), ["x.wav"]);
    assert_eq!(fs::read(audio.join("x.wav")).unwrap(), x, "what was there is as it was");
    assert!(!village.home().join("x.wav").exists() && !village.home().parent().unwrap().join("x.wav").exists());

    // Shown escaped, whoever put it there.
    fs::write(audio.join("<script>alert(1)<.wav"), &good).unwrap();
    village.wait("it is listed", |_| client.get("/clips").text().contains("alert(1)"));
    assert!(!client.get("/clips").text().contains("<script>alert"));
    let page = client.get("/clips/%3Cscript%3Ealert(1)%3C.wav");
    assert_eq!((page.status, page.text().contains("<script>alert")), (200, false));

    for path in [
        "../station.toml",
        "%2e%2e/station.toml",
        "..%2Fstation.toml",
        "/etc/passwd",
        "clips.toml",
        "%FF.wav",
        "nothing.wav",
    ] {
        let status = client.get(&format!("/clip-audio/{path}")).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_its_body_and_as_soon_as_it_shows() {
    let mut village = quiet();
    let client = open(&mut village);
    let start = "POST /clips HTTP/1.1\r\nConnection: close\r\nAccept: application/json\r\nContent-Type: multipart/form-data; boundary=x\r\n";
    let own = format!(
        "Host: {0}\r\nOrigin: http://{0}\r\nAuthorization: Bearer {1}\r\n",
        client.address,
        client.token.as_ref().unwrap()
    );
    let answer = client.raw(format!("{start}{own}Content-Length: 300000000\r\n\r\n").as_bytes());
    assert_eq!(answer.status, 413, "{}", answer.head);
    assert!(answer.json()["error"].as_str().unwrap().contains("200 MB"));

    // The same without saying so: chunks until it is too much.
    let mut sent = format!("{start}{own}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let head = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    sent.extend(chunk(head));
    let much = chunk(&vec![7; 1 << 20]);
    for _ in 0..200 {
        sent.extend_from_slice(&much);
    }
    let answer = client.raw(&sent);
    // The answer may be lost with the connection; what counts is that nothing stays.
    assert!(matches!(answer.status, 413 | 0), "{}", answer.head);
    let upload = village.home().join("data/upload");
    village.wait("nothing is left on the way", |_| files(&upload).is_empty());
    assert_eq!(files(&village.home().join("audio")), Vec::<String>::new());

    // Half a file, and then the sender is gone.
    let mut half = format!("{start}{own}Content-Length: 5000\r\n\r\n").into_bytes();
    half.extend_from_slice(head);
    let mut stream = std::net::TcpStream::connect(client.address).unwrap();
    std::io::Write::write_all(&mut stream, &half).unwrap();
    drop(stream);
    village.wait("nothing is left on the way", |_| files(&upload).is_empty());
    assert_eq!(client.upload("/clips", &[], &[]).status, 422, "a form without a file");

    // A killed daemon sweeps at its next start.
    village.kill_daemon();
    fs::remove_file(village.home().join("data/control.json")).unwrap();
    fs::write(upload.join(".part-abc"), "left over").unwrap();
    open(&mut village);
    assert_eq!(files(&upload), Vec::<String>::new());
}

#[test]
fn a_browser_gets_the_part_of_a_file_that_it_asks_for() {
    let mut village = quiet();
    village.clip("a.wav", &melody(1, 1.0));
    let client = open(&mut village);
    village.wait("it is listed", |_| client.json("/clips/a.wav").status == 200);
    let bytes = fs::read(village.home().join("audio/a.wav")).unwrap();
    let whole = client.get("/clip-audio/a.wav");
    assert_eq!((whole.status, whole.body == bytes), (200, true));
    assert_eq!(whole.header("content-type").as_deref(), Some("audio/wav"));
    assert_eq!(whole.header("x-content-type-options").as_deref(), Some("nosniff"));
    let tag = whole.header("etag").unwrap();
    let last = bytes.len() - 1;
    for (range, more, status, expected) in [
        ("bytes=0-43", None, 206, &bytes[..44]),
        ("bytes=1000-", None, 206, &bytes[1000..]),
        ("bytes=-10", None, 206, &bytes[bytes.len() - 10..]),
        ("bytes=10-20", Some(tag.as_str()), 206, &bytes[10..21]),
        ("bytes=10-20", Some("\"other\""), 200, &bytes[..]),
        ("bytes=99999999-", None, 416, &[]),
    ] {
        let mut headers = vec![("Range", range)];
        headers.extend(more.map(|tag| ("If-Range", tag)));
        let answer = client.send("GET", "/clip-audio/a.wav", &headers, b"");
        assert_eq!((answer.status, answer.body == expected), (status, true), "{range}: {}", answer.head);
    }
    let answer = client.send("GET", "/clip-audio/a.wav", &[("Range", "bytes=5-")], b"");
    assert_eq!(answer.header("content-range"), Some(format!("bytes 5-{last}/{}", bytes.len())));
}

#[test]
fn a_clip_is_renamed_retired_brought_back_replaced_and_moved_where_nobody_loses_it() {
    let mut village = quiet();
    village.clip("a.wav", &melody(1, 1.0)).clip("free.wav", &melody(3, 1.0));
    village.file("audio/clips.toml", "# 我的说明\n[\"a.wav\"]\ntitle = \"甲\"\n");
    village.schedule(
        "daily",
        "[announcement.m]\ntitle = \"早间\"\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"m\"\nat = [\"03:33\"]\n",
    );
    let client = open(&mut village);
    let row = |path: &str| client.json(&format!("/clips/{path}")).json();
    let is = |what: &str, path: &str, holds: &dyn Fn(&Value) -> bool| village.wait(what, |_| holds(&row(path)));
    is("imported", "a.wav", &|row| row["standing"] == "ready");
    let fields = [("title", "新名"), ("valid_from", "2020-01-01"), ("valid_until", "2020-12-31")];
    let answer = client.form("/clip-about/a.wav", &fields);
    assert_eq!((answer.status, answer.header("location").as_deref()), (303, Some("/clips/a.wav?said=clip-saved")));
    is("renamed and over", "a.wav", &|row| row["title"] == "新名" && row["standing"] == "over");
    let notes = || fs::read_to_string(village.home().join("audio/clips.toml")).unwrap();
    let written = "# 我的说明\n[\"a.wav\"]\ntitle = \"新名\"\nvalid-from = 2020-01-01\nvalid-until = 2020-12-31\n";
    assert_eq!(notes(), written);
    assert_eq!(client.form("/clip-about/a.wav", &[("valid_from", "soon")]).status, 422);
    assert_eq!(notes(), written, "what is refused changes nothing");
    assert_eq!(client.form("/clip-retire/a.wav", &[]).status, 303);
    is("retired", "a.wav", &|row| row["standing"] == "retired");
    assert!(village.home().join("audio/a.wav").exists(), "nothing is deleted");
    assert_eq!(client.form("/clip-return/a.wav", &[]).status, 303);
    is("back", "a.wav", &|row| row["retired"] == false);

    let answer = client.form("/clip-move/a.wav", &[("folder", ""), ("name", "b.wav")]);
    assert_eq!((answer.status, answer.text().contains("早间")), (409, true), "{}", answer.text());
    for (name, status) in [("a.wav", 409), ("free.mp3", 422), ("../x.wav", 303)] {
        let answer = client.form("/clip-move/free.wav", &[("folder", ""), ("name", name)]);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert!(village.home().join("audio/x.wav").exists(), "folders of a name count for nothing");

    let other = wav(&melody(2, 3.0));
    let answer = client.upload("/clip-replace/a.wav", &[], &[("录音.wav", &other)]);
    assert_eq!(received(&answer), [("a.wav".to_owned(), true, "已入库，可以播出".to_owned())]);
    assert_eq!(row("a.wav")["duration_ms"], 3_000);
    for (name, bytes) in [("录音.wav", &b"broken"[..]), ("录音.mp3", &other)] {
        assert_eq!(client.upload("/clip-replace/a.wav", &[], &[(name, bytes)]).status, 422, "{name}");
    }
    assert_eq!(fs::read(village.home().join("audio/a.wav")).unwrap(), other, "a bad one replaces nothing");
    let stranger = Client::stranger(&village);
    assert_eq!(stranger.upload("/clips", &[], &[("s.wav", &other)]).status, 401);
    assert_eq!(stranger.json("/clips").status, 401);
}

/// Rows of four days, one of them with every outcome; the last has a text that a spreadsheet would run.
fn fill(village: &Village) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first: Timestamp = "2026-06-15T22:30:00Z".parse().unwrap();
    let rows = [
        (0, Outcome::Played, None, 10_000),
        (1, Outcome::Played, None, 10_000),
        (1, Outcome::Partial, Some(Reason::Stopped), 4_000),
        (1, Outcome::Skipped, Some(Reason::QuietHours), 0),
        (1, Outcome::Missed, Some(Reason::StationDown), 0),
        (1, Outcome::Missed, Some(Reason::ClipMissing), 0),
        (3, Outcome::Played, None, 10_000),
    ];
    runtime.block_on(async {
        let data = village.home().join("data");
        fs::create_dir_all(&data).unwrap();
        let mut journal = Journal::open(&data, "test").await.unwrap();
        for (number, (day, outcome, reason, heard_ms)) in rows.into_iter().enumerate() {
            let due = first + SignedDuration::from_hours(day * 24) + SignedDuration::from_mins(number as i64);
            let entry = Entry {
                occurrence: OccurrenceId::from(format!("station/daily/morning@{number}")),
                source: Source::Station,
                schedule: "daily".into(),
                announcement: if number == 1 { "evening".into() } else { "morning".into() },
                title: format!("=播报{number}<b>"),
                clips: Vec::new(),
                band: Band::Normal,
                due,
                started: (heard_ms > 0).then_some(due),
                ended: due,
                expected_ms: 10_000,
                heard_ms,
                start_error_us: None,
                outcome,
                reason,
                evidence: (heard_ms > 0).then_some(Evidence::Monitor),
                device: None,
                peak_dbfs: None,
                rms_dbfs: None,
                underruns: 0,
                volume: 80,
                clock: ClockNote { state: ClockState::Trusted, offset_ms: None },
                operator: None,
                note: None,
                revision: "0".repeat(16),
            };
            assert!(journal.finish(&entry).await.unwrap());
        }
        journal.sign_head(first).await.unwrap();
    });
    rows.len()
}

#[test]
fn the_page_says_what_the_journal_says() {
    let mut village = quiet();
    let all = fill(&village);
    let client = open(&mut village);
    let said = village.dalaba(["journal", "--json", "--on", "2026-06-17"]).ok().json();
    let view = client.json("/journal?on=2026-06-17").json();
    let rows = view["rows"].as_array().unwrap();
    let id =
        |row: &Value| (row["seq"].clone(), row["occurrence"].clone(), row["outcome"].clone(), row["reason"].clone());
    assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), said.iter().map(id).collect::<Vec<_>>());
    let totals = &view["totals"];
    let times = ["due", "played", "partial", "skipped", "missed"].map(|word| totals[word]["times"].as_u64().unwrap());
    assert_eq!(times, [5, 1, 1, 1, 2]);
    assert_eq!(
        (totals["due"]["expected_ms"].as_i64(), totals["due"]["heard_ms"].as_i64()),
        (Some(50_000), Some(14_000))
    );
    for (query, expected) in [
        ("outcome=missed", 2),
        ("outcome=missed&reason=clip-missing", 1),
        ("reason=stopped", 1),
        ("announcement=evening", 1),
        ("announcement=nothing", 0),
        ("outcome=&reason=&announcement=", 5),
    ] {
        let view = client.json(&format!("/journal?on=2026-06-17&{query}")).json();
        assert_eq!(view["rows"].as_array().unwrap().len(), expected, "{query}");
        assert_eq!(view["totals"]["due"]["times"], expected, "{query}");
        assert_eq!(client.get(&format!("/journal?on=2026-06-17&{query}")).status, 200, "{query}");
    }
    let page = client.get("/journal?from=2026-06-16&until=2026-06-19").text();
    assert_eq!(
        page.matches("&#60;b&#62;").count(),
        all + 2,
        "every title once in a row, and in the list of choices; escaped"
    );
    for query in ["on=x", "outcome=x", "from=2026-06-19&until=2026-06-16", "from=2020-01-01&until=2026-06-16"] {
        assert_eq!(client.get(&format!("/journal?{query}")).status, 422, "{query}");
    }
    assert!(client.get("/journal").text().contains("还没有记录"));
}

#[test]
fn what_is_carried_away_is_whole_and_proves_itself() {
    let mut village = quiet();
    let all = fill(&village);
    let client = open(&mut village);
    let file = village.home().join("carried.csv");
    for (query, rows) in [("", all), ("?from=2026-06-17&until=2026-06-18", 5)] {
        let answer = client.get(&format!("/journal.csv{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment; filename=\"dalaba-journal"));
        fs::write(&file, &answer.body).unwrap();
        let verdict = village.dalaba(["journal", "--json", "--verify", file.to_str().unwrap()]).ok().json().remove(0);
        assert_eq!(
            (verdict["whole"].as_bool(), verdict["rows"].as_u64()),
            (Some(true), Some(rows as u64)),
            "{verdict}"
        );
    }
    let sheet = village.home().join("journal.xlsx");
    village.dalaba(["journal", "--xlsx", sheet.to_str().unwrap()]).ok();
    let answer = client.get("/journal.xlsx");
    for bytes in [answer.body, fs::read(&sheet).unwrap()] {
        let mut book: Xlsx<_> = open_workbook_from_rs(Cursor::new(bytes)).unwrap();
        let rows = book.worksheet_range("实播记录").unwrap();
        assert_eq!(rows.height(), all + 1);
        assert_eq!(rows.get_value((1, 4)), Some(&Data::String("=播报0<b>".into())));
        assert_eq!(rows.get_value((6, 8)), Some(&Data::String("缺少音频".into())));
        let totals = book.worksheet_range("合计").unwrap();
        assert_eq!(totals.get_value((1, 2)), Some(&Data::Float(all as f64)));
        assert_eq!(
            book.worksheet_formula("合计").unwrap().get_value((2, 2)).unwrap(),
            "COUNTIFS('实播记录'!$H$2:$H$8,$A3)"
        );
    }
    let register = client.get("/journal/print?month=2026-06").text();
    for number in 0..all {
        assert!(register.contains(&format!("=播报{number}&#60;b&#62;")), "row {number} is in the register");
    }
    assert!(register.contains("播出信息登记本") && register.contains("记录人") && register.contains("审核人"));
    assert!(!client.get("/journal/print?month=2026-05").text().contains("=播报"));

    let verdict = client.json("/journal/check?again=1").json();
    assert_eq!((verdict["whole"].as_bool(), verdict["rows"].as_u64()), (Some(true), Some(all as u64)), "{verdict}");
    assert!(client.get("/journal/check").text().contains("记录完整：共 7 条"));
    assert_eq!(client.get("/journal/check?again=1").status, 303, "a reload looks and does not begin anew");
    let stranger = Client::stranger(&village);
    for path in ["/journal", "/journal.csv", "/journal.xlsx", "/journal/print", "/journal/check"] {
        assert_eq!(stranger.json(path).status, 401, "{path}");
    }
}

#[test]
fn a_clip_cut_short_is_told_apart_from_a_whole_one() {
    let mut village = quiet();
    let client = open(&mut village);
    // Ten seconds are promised, and one is there.
    let mut cut = header(48_000, 16, 960_000);
    cut.extend_from_slice(&wav(&melody(4, 1.0))[44..]);
    let answer = client.upload("/clips", &[("folder", "")], &[("半截.wav", &cut)]);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(received(&answer)[0].2.contains("不完整"), "{}", answer.text());
}
