//! The first run, 设置, backup and screen of the real daemon: what a person does on a page is what the station does.

#![cfg(target_os = "linux")]

mod support;

use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io::Write as _, path::Path};
use support::{
    Village, at, fate,
    http::{Answer, Client},
    rig::peak,
    soon,
    wave::melody,
};

const PASSWORD: &str = "correct horse 1";

/// A form with a file that is no clip.
trait Sends {
    fn send_file(&self, path: &str, bytes: &[u8]) -> Answer;
}

impl Sends for Client {
    fn send_file(&self, path: &str, bytes: &[u8]) -> Answer {
        let head = "--border\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\
                    Content-Type: application/zip\r\n\r\n";
        let body = [head.as_bytes(), bytes, b"\r\n--border--\r\n"].concat();
        let origin = format!("http://{}", self.address);
        let kind = ("Content-Type", "multipart/form-data; boundary=border");
        self.send("POST", path, &[kind, ("Accept", "application/json"), ("Origin", &origin)], &body)
    }
}

/// Somebody at the machine of a village that was launched.
fn browser(village: &Village) -> Client {
    village.wait("the page is open", |village| village.home().join("data/control.json").exists());
    Client::stranger(village)
}

/// Does the first run and returns the administrator, signed in.
fn first_run(village: &Village, output: &str) -> Client {
    let mut browser = browser(village);
    let fields = [
        ("name", "王芳"),
        ("password", PASSWORD),
        ("again", PASSWORD),
        ("station", "北庄村"),
        ("kind", "village"),
        ("output", output),
        ("schedule", "on"),
    ];
    let done = browser.form("/first-run", &fields);
    assert_eq!((done.status, done.header("location").as_deref()), (303, Some("/?said=first-run")), "{}", done.text());
    browser.cookie = done.cookie();
    browser
}

/// A village whose home has no `station.toml`, running.
fn bare() -> Village {
    let mut village = Village::new();
    fs::remove_file(village.home().join("station.toml")).expect("no station file");
    village.clip("a.wav", &melody(1, 2.0)).launch();
    village
}

fn no_quiet(browser: &Client) {
    let hours = json!({ "quiet": "", "working": "工作日 08:00-12:00", "daily_limit_minutes": 240, "closed": "" });
    let saved = browser.post("/settings/hours", &hours);
    assert_eq!(saved.status, 200, "{}", saved.text());
}

fn announce(time: jiff::Timestamp) -> String {
    format!(
        "[announcement.one]\ntitle = \"一\"\nplay = [\"a.wav\"]\nscreen = \"不转账\"\n[[rule]]\nplay = \"one\"\nat = [\"{}\"]\n",
        at(time)
    )
}

#[test]
fn from_an_empty_home_to_the_first_reminder_on_one_page_and_only_once() {
    let mut village = bare();
    let stranger = browser(&village);
    let sent = stranger.get("/settings");
    assert_eq!((sent.status, sent.header("location").as_deref()), (303, Some("/first-run")), "nobody can sign in yet");
    assert!(stranger.get("/").text().contains("首次设置"), "a banner leads there");
    let page = stranger.json("/first-run").json();
    let found = page["outputs"].as_array().expect("outputs");
    assert!(found.iter().any(|output| output["name"] == "pulse:village"), "{page:#}");
    assert_eq!(page["offers"][0]["missing"][0], "chime/attention.flac", "what cannot play is not offered: {page:#}");

    let different = [
        ("name", "a"),
        ("password", PASSWORD),
        ("again", "x"),
        ("station", "b"),
        ("kind", "shop"),
        ("output", "default"),
    ];
    assert_eq!(stranger.form("/first-run", &different).status, 422);
    assert!(!village.home().join("data/people.json").exists() && !village.home().join("station.toml").exists());

    let admin = first_run(&village, "pulse:village");
    let text = fs::read_to_string(village.home().join("station.toml")).expect("a station file");
    assert!(text.contains("name = \"北庄村\"") && text.contains("output = [\"pulse:village\"]"), "{text}");
    assert!(text.contains("id = \"station-"), "{text}");
    let again = json!({ "name": "贼", "password": PASSWORD, "again": PASSWORD, "station": "b", "kind": "shop", "output": "default" });
    assert_eq!(stranger.post("/first-run", &again).status, 409, "only once");
    assert_eq!(stranger.get("/settings").status, 303, "and from then on people sign in");

    no_quiet(&admin);
    village.schedule("daily", &announce(soon(10))).planned("one");
    assert_eq!(fate(&village.entries("one", 1)[0]), "played");
    assert_eq!(village.entries("one", 1)[0]["device"], "pulse:village");
}

#[test]
fn an_output_a_volume_and_a_ceiling_changed_on_the_page_are_those_of_the_next_announcement() {
    let mut village = bare();
    let admin = first_run(&village, "pulse:village");
    no_quiet(&admin);
    village.server.control(&["load-module", "module-null-sink", "sink_name=hall"]);
    let sound = json!({
        "output_1": "pulse:hall", "output_2": "pulse:village", "volume": 70, "ceiling": 60, "latency_ms": 0, "keep_audible": true
    });
    assert_eq!(admin.post("/settings/sound", &sound).status, 200);
    village.wait("the other output is open", |_| admin.json("/settings").json()["open"] == "pulse:hall");
    village.schedule("daily", &announce(soon(10))).planned("one");
    let entry = village.entries("one", 1).remove(0);
    assert_eq!((&entry["device"], &entry["volume"]), (&json!("pulse:hall"), &json!(60)), "{entry:#}");
    let refused = admin.post("/volume", &json!({ "percent": 80 }));
    assert_eq!(refused.status, 409, "nothing gets past the ceiling: {}", refused.text());
    let wrong = json!({ "output_1": "null", "volume": 70, "ceiling": 60, "latency_ms": 0 });
    assert_eq!(admin.post("/settings/sound", &wrong).status, 422);
    assert_eq!(admin.json("/settings").json()["chosen"], json!(["pulse:hall", "pulse:village"]), "nothing was written");
}

#[test]
fn a_test_tone_sounds_and_is_bound_by_the_last_gate() {
    let mut village = bare();
    village.ready();
    let admin = first_run(&village, "pulse:village");
    no_quiet(&admin);
    let recording = village.server.record();
    let played = admin.post("/settings/tone", &json!({ "output": "pulse:village" }));
    assert_eq!(played.status, 200, "{}", played.text());
    assert_eq!(played.json()["tone"]["name"], "pulse:village");
    assert!(peak(&recording.samples()) > 0.01, "it was heard");
    admin.post("/stop", &json!({}));
    let refused = admin.post("/settings/tone", &json!({ "output": "pulse:village" }));
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.json()["error"].as_str().expect("a sentence").contains("停播"), "{}", refused.text());
}

#[test]
fn people_come_change_and_go_and_everybody_changes_their_own_password() {
    let village = bare();
    let admin = first_run(&village, "default");
    let added = json!({ "name": "李雷", "password": "password-1", "role": "viewer" });
    assert_eq!(admin.post("/settings/people", &added).status, 200);
    assert_eq!(admin.post("/settings/people", &added).status, 422, "a name is taken once");
    let mut viewer = Client { cookie: None, ..admin.clone() };
    let signed = viewer.post("/sign-in", &json!({ "name": "李雷", "password": "password-1" }));
    viewer.cookie = signed.cookie();
    assert_eq!(viewer.json("/settings").status, 403);
    let wrong = json!({ "old": "password-2", "password": "password-3", "again": "password-3" });
    assert_eq!(viewer.post("/password", &wrong).status, 422);
    let right = json!({ "old": "password-1", "password": "password-3", "again": "password-3" });
    assert_eq!(viewer.post("/password", &right).status, 200);
    assert_eq!(viewer.json("/password").status, 401, "the old session is over");
    assert_eq!(admin.post("/settings/people/role", &json!({ "name": "王芳", "role": "viewer" })).status, 422);
    assert_eq!(admin.post("/settings/people/remove", &json!({ "name": "李雷" })).status, 200);
    assert_eq!(admin.json("/settings").json()["people"], json!([["王芳", "admin"]]));
}

/// Every file of a home but those of the running daemon, with its bytes.
fn files(home: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in [".", "schedules", "audio"] {
        for entry in fs::read_dir(home.join(folder)).expect("a folder").flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_file() && !name.contains("daemon.log") {
                found.insert(name, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn a_backup_restored_into_an_empty_home_gives_the_same_schedules_and_a_record_that_verifies() {
    let mut village = bare();
    let admin = first_run(&village, "pulse:village");
    no_quiet(&admin);
    village.schedule("daily", &announce(soon(10))).planned("one");
    let entry = village.entries("one", 1).remove(0);
    let backup = admin.json("/settings/backup");
    assert_eq!((backup.status, backup.header("content-type").as_deref()), (200, Some("application/zip")));

    let mut other = bare();
    let newcomer = first_run(&other, "default");
    let restored = newcomer.send_file("/settings/restore", &backup.body);
    assert_eq!((restored.status, &restored.json()["journal"]), (200, &Value::from(true)), "{}", restored.text());
    assert_eq!(files(other.home()), files(village.home()));
    assert_eq!(other.journal()[0]["hash"], entry["hash"], "the record came too");
    other.dalaba(["journal", "--verify"]).ok();

    // From now on it is the other station's own record, and goes on.
    other.schedule("daily", &announce(soon(10))).planned("one");
    other.entries("one", 2);
    other.dalaba(["journal", "--verify"]).ok();
    let again = newcomer.send_file("/settings/restore", &backup.body);
    assert_eq!((again.status, &again.json()["journal"]), (200, &Value::from(false)), "{}", again.text());
    assert_eq!(other.journal().len(), 2, "a record is never overwritten");
}

#[test]
fn an_evil_archive_is_refused_and_nothing_is_touched() {
    let village = bare();
    let admin = first_run(&village, "default");
    let before = files(village.home());
    let archive = |name: &str, bytes: &[u8]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in [("station.toml", &b"[station]\nid = \"a\"\nname = \"b\"\n"[..]), (name, bytes)] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file of the archive");
            zip.write_all(bytes).expect("its bytes");
        }
        zip.finish().expect("an archive").into_inner()
    };
    for (what, archive) in [
        ("no archive", b"nonsense".to_vec()),
        ("a way out", archive("audio/../../evil.wav", b"a")),
        ("another folder", archive("data/control.json", b"{}")),
        ("a bomb", archive("schedules/a.toml", &vec![b' '; 8 << 20])),
        ("a broken schedule", archive("schedules/a.toml", b"title = ")),
        ("a record of nobody", archive("data/journal.db", b"x")),
    ] {
        let refused = admin.send_file("/settings/restore", &archive);
        assert_eq!(refused.status, 422, "{what}: {}", refused.text());
        assert_eq!(files(village.home()), before, "{what}");
    }
    assert!(!village.home().join("data/restore").exists());
}

#[test]
fn the_screen_shows_the_words_while_they_sound_and_nothing_else_of_the_station() {
    let mut village = bare();
    let admin = first_run(&village, "pulse:village");
    no_quiet(&admin);
    let stranger = Client { cookie: None, ..admin.clone() };
    village.schedule("daily", &announce(soon(10))).planned("one");
    let view = stranger.json("/screen").json();
    assert!(view["text"] == "" && view["next"].as_str().is_some_and(|next| next.ends_with("一")), "{view:#}");
    village.wait("the words", |_| stranger.json("/screen").json()["text"] == "不转账");
    assert_ne!(stranger.json("/").json()["playing"], json!([]), "they are there while it sounds");
    village.wait("the words are gone", |_| stranger.json("/screen").json()["text"] == "");
    assert!(!stranger.get("/screen").text().contains("北庄村"));
    let page = json!({ "reach": "machine", "port": 0, "hosts": "", "screen": "off" });
    assert_eq!(admin.post("/settings/page", &page).status, 200);
    assert_eq!(stranger.json("/screen").status, 404);
}
