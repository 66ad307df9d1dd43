//! The binary as a person or a program meets it: what it prints where, and how it ends.

mod support;

use serde_json::Value;
use support::{Said, Setup, Village, dalaba, said, town::Town, wave::melody};

/// A home without a sound server: nothing here sounds.
fn home() -> Village {
    Village::with(Setup { server: false, ..Setup::default() })
}

fn run(words: &[&str]) -> Said {
    let mut command = dalaba();
    command.args(words);
    said(command)
}

const GOOD: &str = "[announcement.a]\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"a\"\nat = [\"08:00\"]\n";

#[test]
fn wrong_usage_ends_with_two_and_says_how() {
    for words in [
        &["sing"][..],
        &[],
        &["run", "--volume", "11"],
        &["plan", "--days", "many"],
        &["plan", "--from", "2026-02-30"],
        &["volume"],
        &["volume", "loud"],
        &["volume", "101"],
        &["hush"],
        &["hush", "--until", "soon"],
        &["play"],
        &["play", "a.wav", "--emergency"],
        &["ingest"],
        &["journal", "--on", "yesterday"],
        &["journal", "--on", "2026-01-01", "--from", "2026-01-01"],
        &["journal", "--key", "00"],
        &["invite", "北庄村"],
        &["invite", "--division", "330127104201"],
        &["invite", "北庄村", "--division", "3301271042"],
    ] {
        let said = run(words);
        assert_eq!(said.code, 2, "{words:?}: {said:#?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{words:?}: {said:#?}");
    }
}

#[test]
fn every_mistake_in_a_schedule_is_one_finding_with_its_place_and_the_exit_code_is_one() {
    // What is written after the five lines of a good file, and where and what the finding must be.
    for (mistake, line, code) in [
        ("volum = 80\n", Some(6), "unknown-key"),
        ("grace = 2\n", Some(6), "wrong-type"),
        ("grace = \"2 parsecs\"\n", Some(6), "bad-duration"),
        ("except = [2026-02-30]\n", Some(6), "bad-date"),
        ("during = [\"06:00\"]\n", Some(6), "bad-window"),
        ("on = \"weekdays\"\n", Some(6), "bad-days"),
        ("every = \"30m\"\n", Some(6), "one-of-at-every-cron"),
        ("[[rule]]\nplay = \"b\"\nat = [\"09:00\"]\n", Some(7), "unknown-announcement"),
        ("[[rule]]\nplay = \"a\"\nat = [\"25:00\"]\n", Some(8), "bad-time"),
        ("[[rule]]\nplay = \"a\"\ncron = \"* * *\"\n", Some(8), "bad-cron"),
        ("[announcement.b]\nplay = [\"a.wav\"]\nband = \"emergency\"\n", Some(8), "emergency-band"),
        ("[announcement.b]\nplay = [\"../a.wav\"]\n", Some(7), "bad-path"),
        ("[announcement.b]\nplay = [\"nothing/\"]\n", None, "empty-folder"),
        ("[announcement.b]\nplay = [\"nothing.wav\"]\n", None, "clip-missing"),
    ] {
        let mut village = home();
        village.clip("a.wav", &melody(1, 1.0)).schedule("daily", &format!("{GOOD}{mistake}"));
        let said = village.dalaba(["check", "--json"]);
        assert_eq!(said.code, 1, "{code}: {said:#?}");
        let findings = said.json();
        let serious: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] != "note").collect();
        let [finding] = serious[..] else { panic!("{code}: {findings:#?}") };
        assert_eq!((finding["line"].as_u64(), finding["code"].as_str()), (line, Some(code)), "{finding:#}");
        assert_eq!(finding["column"].as_u64().is_some_and(|column| column > 0), line.is_some(), "{finding:#}");
        assert_eq!(finding["file"], "schedules/daily.toml", "{finding:#}");
        assert!(finding["message"].as_str().is_some_and(|message| !message.is_ascii()), "{finding:#}");
    }
}

#[test]
fn several_mistakes_are_all_reported_at_once_and_the_good_rules_still_play() {
    let mut village = home();
    village.clip("a.wav", &melody(1, 1.0));
    let bad = "[[rule]]\nplay = \"a\"\nat = [\"26:00\"]\n[[rule]]\nplay = \"nobody\"\nat = [\"09:00\"]\n";
    village.schedule("daily", &format!("{GOOD}{bad}")).schedule("other", "titel = \"x\"\n");
    let findings = village.dalaba(["check", "--json"]).json();
    let mut places: Vec<String> =
        findings.iter().filter(|f| f["severity"] != "note").map(|f| format!("{}:{}", f["file"], f["line"])).collect();
    places.sort_unstable();
    places.dedup();
    assert!(places.len() >= 3, "{findings:#?}");
    let plan = village.dalaba(["plan", "--from", "2026-06-17", "--days", "1", "--json"]).json();
    let ids: Vec<&Value> = plan.iter().map(|occurrence| &occurrence["occurrence"]).collect();
    assert_eq!(ids, ["station/daily/a@2026-06-17T08:00:00"]);
}

#[test]
fn a_good_home_has_no_finding_and_nothing_is_written_into_it() {
    let mut village = home();
    village.clip("a.wav", &melody(1, 1.0)).schedule("daily", GOOD);
    let said = village.dalaba(["check", "--json"]).ok();
    assert!(said.json().iter().all(|finding| finding["severity"] == "note"), "{said:#?}");
}

#[test]
fn a_mistake_in_the_station_file_is_said_with_its_remedy() {
    for (station, what) in [
        ("[station]\nid = \"a\"\nname = \"甲\"\nzone = \"Asia/Shangri-La\"\n", "a zone that does not exist"),
        ("[station]\nid = \"a\"\nname = \"甲\"\ncolour = \"red\"\n", "an unknown key"),
        ("[station]\nid = 7\nname = \"甲\"\n", "a wrong type"),
        ("[station]\nid = \"Bei Zhuang\"\nname = \"甲\"\n", "an id with a space"),
        ("[station]\nname = \"甲\"\n", "no id"),
        ("[station]\nid = \"a\"\nname = \"甲\"\n[sound]\nvolume = 180\n", "a volume above 100"),
        ("[station]\nid = \"a\"\nname = \"甲\"\n[hours]\nquiet = [\"22:00\"]\n", "a window without an end"),
        ("[station]\nid = \"a\"\nname = \"甲\"\n[[closed]]\ndate = 2026-02-30\n", "an impossible date"),
        ("[station\n", "no TOML"),
    ] {
        let mut village = home();
        village.file("station.toml", station);
        let said = village.dalaba(["check", "--json"]);
        assert_eq!(said.code, 1, "{what}: {said:#?}");
        let findings = said.json();
        let mine = findings.iter().find(|finding| finding["file"] == "station.toml");
        assert!(mine.is_some_and(|f| f["severity"] == "error" && f["message"].as_str().is_some()), "{what}: {said:#?}");
    }
}

#[test]
fn the_plan_is_one_object_a_line_in_order_with_its_fields() {
    let mut village = home();
    village.clip("a.wav", &melody(1, 1.5));
    village.schedule("daily", &format!("{GOOD}[[override]]\ndate = 2026-06-18\ncancel = \"all\"\nnote = \"停\"\n"));
    let said = village.dalaba(["plan", "--from", "2026-06-17", "--days", "2", "--json"]).ok();
    let [first, second] = &said.json()[..] else { panic!("{said:#?}") };
    let expected = serde_json::json!({
        "occurrence": "station/daily/a@2026-06-17T08:00:00", "due": "2026-06-17T08:00:00+08:00", "schedule": "daily",
        "announcement": "a", "title": "a", "band": "normal", "clips": ["a.wav"], "expected_ms": 1500, "verdict": "play",
        "reason": null,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&first[field], value, "{field}: {first:#}");
    }
    assert_eq!((&second["verdict"], &second["reason"]), (&"skip".into(), &"cancelled".into()), "{second:#}");
}

#[test]
fn without_a_daemon_its_commands_say_so() {
    let village = home();
    for words in [&["next"][..], &["stop"], &["release"], &["volume", "50"], &["play", "a.wav"]] {
        let said = village.dalaba(words);
        assert_eq!(said.code, 1, "{words:?}: {said:#?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{words:?}: {said:#?}");
    }
}

#[test]
fn a_home_that_never_ran_has_no_journal_and_says_so() {
    let said = home().dalaba(["journal", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:#?}");
    assert!(said.err.contains("还没有播出记录"), "{said:#?}");
    assert_eq!(home().dalaba(["journal", "--verify"]).code, 1, "nothing is proved where nothing is");
}

/// Writes a journal of three rows into the home, as a daemon would.
fn with_journal(village: &Village) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let data = village.home().join("data");
        std::fs::create_dir_all(&data).expect("a folder in the home");
        let mut journal = dalaba::journal::Journal::open(&data, "test").await.expect("a new journal");
        for minute in ["06:30", "06:31", "06:32"] {
            let entry = serde_json::json!({
                "occurrence": format!("station/daily/a@2026-06-17T{minute}:00"), "source": "station",
                "schedule": "daily", "announcement": "a", "title": "早间提示", "clips": [], "band": "normal",
                "due": format!("2026-06-17T{minute}:00+08:00"), "ended": format!("2026-06-17T{minute}:20+08:00"),
                "expected_ms": 20_000, "heard_ms": 0, "outcome": "missed", "reason": "station-down", "volume": 64,
                "clock": { "state": "plausible" }, "revision": "0123456789abcdef",
            });
            let entry = serde_json::from_value(entry).expect("an entry");
            assert!(journal.finish(&entry).await.expect("the disk takes it"));
        }
    });
}

#[test]
fn an_exported_record_is_proved_away_from_the_station_and_a_forged_one_is_refused_with_a_sentence() {
    let (station, mut away) = (home(), home());
    with_journal(&station);
    let table = station.home().join("六月.csv");
    station.dalaba(["journal", "--on", "2026-06-17", "--csv", table.to_str().unwrap()]).ok();
    let json = station.dalaba(["journal", "--json"]).ok().out;
    let csv = std::fs::read_to_string(&table).unwrap();
    let verify = |village: &mut Village, text: &str, key: Option<&str>| {
        let file = village.file("carried", text).home().join("carried");
        let mut words = vec!["journal", "--json", "--verify", file.to_str().unwrap()];
        words.extend(key.into_iter().flat_map(|key| ["--key", key]));
        village.dalaba(words)
    };
    let facts = verify(&mut away, &json, None).ok().json().remove(0);
    assert_eq!((&facts["whole"], &facts["rows"], &facts["signed"]), (&true.into(), &3.into(), &3.into()), "{facts:#}");
    let key = facts["key"].as_str().unwrap().to_owned();
    assert!(facts["fingerprint"].as_str().is_some_and(|digits| digits.len() == 19), "{facts:#}");
    // Known by heart, from a file, and another station's.
    away.file("key.txt", format!("{key}\n"));
    let kept = away.home().join("key.txt");
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    for text in [&json, &csv] {
        for (known, code) in [(key.as_str(), 0), (kept.to_str().unwrap(), 0), (other, 1)] {
            let said = verify(&mut away, text, Some(known));
            assert_eq!((said.code, &said.json()[0]["known"]), (code, &(code == 0).into()), "{said:#?}");
        }
        let forged = text.replace("station-down", "clock-jump");
        let said = verify(&mut away, &forged, None);
        let why = said.json().remove(0);
        assert!(said.code == 1 && why["seq"] == 1 && !why["why"].as_str().unwrap().is_ascii(), "{said:#?}");
    }
    for wrong in ["abcd", "no-such-file"] {
        let said = verify(&mut away, &json, Some(wrong));
        assert!(said.code == 1 && said.out.is_empty() && said.err.contains("公钥"), "{said:#?}");
    }
    // At the station itself, nothing is signed yet: chained, and nobody's.
    let whole = station.dalaba(["journal", "--verify", "--json"]).ok().json().remove(0);
    assert_eq!((&whole["signed"], &whole["key"]), (&0.into(), &Value::Null), "{whole:#}");
    assert_eq!(station.dalaba(["journal", "--verify", "--key", &key]).code, 1);
}

#[test]
fn what_is_not_audio_is_refused_with_a_sentence_and_what_is_has_its_facts() {
    let mut village = home();
    let good = village.clip("good.wav", &melody(1, 2.0)).home().join("audio/good.wav");
    let good = good.to_str().unwrap();
    let facts = run(&["ingest", "--json", good]).ok().json().remove(0);
    assert!((facts["duration_ms"].as_i64().unwrap() - 2_000).abs() <= 1, "{facts:#}");
    for field in ["title", "sha256", "codec"] {
        assert!(facts[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {facts:#}");
    }
    for field in ["loudness_lufs", "true_peak_dbtp"] {
        assert!(facts[field].as_f64().is_some_and(|level| (-40.0..3.0).contains(&level)), "{field}: {facts:#}");
    }

    let whole = support::wave::wav(&melody(1, 2.0));
    let mut huge = whole.clone();
    huge[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    huge[16..20].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    for (name, bytes) in [
        ("empty.mp3", &b""[..]),
        ("page.mp3", b"<!DOCTYPE html><html><title>404</title></html>"),
        ("header.wav", &whole[..30]),
        ("huge.wav", &huge),
    ] {
        let file = village.file(&format!("audio/{name}"), bytes).home().join("audio").join(name);
        let said = run(&["ingest", "--json", file.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{name}: {said:#?}");
        assert!(said.out.is_empty() && !said.err.is_ascii(), "{name}: {said:#?}");
        assert!(!said.err.contains("panicked"), "{name}: {said:#?}");
    }

    // One bad file does not take the facts of the good one away.
    let bad = village.home().join("audio/page.mp3");
    let both = run(&["ingest", "--json", bad.to_str().unwrap(), good]);
    assert_eq!((both.code, both.json().len()), (1, 1), "{both:#?}");
}

#[test]
fn a_code_that_is_made_at_the_office_without_a_browser_lets_a_village_in() {
    let town = Town::new();
    let office_home = town.home();
    let office_home = office_home.to_str().unwrap();
    let invite = |more: &[&str]| run(&[&["invite", "北庄村", "--home", office_home, "--division"], more].concat());
    let page = town.pages.json("/enrol").json();

    let said = invite(&["330127104201"]).ok();
    let words = page["words"].as_str().unwrap();
    assert!(said.out.contains(words) && said.out.contains("北庄村  330127104201"), "{said:#?}");
    let said = invite(&["330127104201", "--json"]).ok();
    let [made] = &said.json()[..] else { panic!("{said:#?}") };
    assert_eq!((made["words"]["zh"].as_str(), made["name"].as_str()), (Some(words), Some("北庄村")), "{made:#}");
    let open = town.pages.json("/enrol").json()["open"].as_array().unwrap().clone();
    let second = |code: &Value| code["expires"].as_str().unwrap().split('.').next().unwrap().to_owned();
    assert!(open.len() == 2 && open.iter().any(|code| second(code) == second(made)), "{open:#?}");

    let village = home();
    let url = format!("https://{}", town.pages.address);
    let enrolled = village.dalaba(["enrol", made["code"].as_str().unwrap(), "--office", &url, "--yes", "--json"]).ok();
    assert_eq!(enrolled.json()[0]["words"]["zh"].as_str(), Some(words), "{enrolled:#?}");
    let waiting = town.pages.json("/enrol").json()["waiting"].as_array().unwrap().clone();
    assert!(waiting.len() == 1 && waiting[0]["name"] == "北庄村", "{waiting:#?}");
    let records = town.pages.json("/records").json().to_string();
    assert!(records.contains("made-code") && records.contains("local"), "{records}");

    let outside = invite(&["330127105201"]);
    assert!(outside.code == 1 && outside.out.is_empty() && outside.err.contains("不归本中心管"), "{outside:#?}");
    let nowhere = village.home().to_str().unwrap();
    let none = run(&["invite", "北庄村", "--division", "330127104201", "--home", nowhere]);
    assert!(none.code == 1 && none.err.contains("没有设置好的中心"), "{none:#?}");
    assert!(!village.home().join("office.db").exists(), "what only asks makes nothing");
}
