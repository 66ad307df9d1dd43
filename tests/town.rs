//! A town, end to end on one machine: the real office, three real stations with sound, lines that fail between them.
//!
//! What a village hears is recorded at the monitor of its sink; what the office knows is read from its pages. Everything
//! that is waited for is an event.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/line.rs"]
mod line;
#[path = "support/office.rs"]
mod office;
mod support;

use dalaba::clock;
use jiff::Timestamp;
use line::{Line, Weather};
use office::Office;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    PATIENCE, Setup, Village, at,
    monitor::Monitor,
    rig::{RATE, SINK},
    soon,
    wave::wav,
};

/// A village that belongs to the town, and the line between them.
struct Member {
    village: Village,
    line: Line,
    id: String,
}

impl Member {
    /// A village with a line to the office, which runs and has been taken in.
    fn joins(town: &Office, number: usize) -> Self {
        let id = format!("village-{number}");
        let mut village = Village::with(Setup::default());
        let station = std::fs::read_to_string(village.home().join("station.toml")).unwrap();
        let station = station.replace("id = \"test\"", &format!("id = \"{id}\""));
        let station = station.replace("测试村", &format!("{number}号村"));
        village.file("station.toml", station).start();
        let line = Line::to(town.address());
        let division = format!("3301271042{number:02}");
        let made = town.post("/enrol/code", json!({ "name": format!("{number}号村"), "division": division }));
        let code = made["made"]["code"].as_str().unwrap().to_owned();
        let office = format!("https://{}", line.address());
        village.dalaba(["enrol", &code, "--office", &office, "--yes"]).ok();
        town.post(&format!("/enrol/{id}/confirm"), json!({ "same": true }));
        let member = Self { village, line, id };
        member.until(town, "it is taken in and heard", |station| station["up"] == true);
        member
    }

    /// Waits until the office says this of the station.
    fn until(&self, town: &Office, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let page = format!("/stations/{}", self.id);
        until(town, &format!("{}: {what}", self.id), &page, &mut is_so)
    }

    fn listen(&self) -> Monitor {
        Monitor::start(&self.village.server.socket(), SINK)
    }
}

/// Waits until a page of the office says what is waited for, and returns the page.
fn until(town: &Office, what: &str, page: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let since = clock::monotonic();
    loop {
        let shown = town.get(page);
        if is_so(&shown) {
            return shown;
        }
        assert!(since.elapsed() < PATIENCE, "in vain: {what}: {shown:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A sound that is loud from its first sample on.
fn beat() -> Vec<u8> {
    let samples: Vec<f32> = (0..RATE).map(|at| if at / 24 % 2 == 0 { 0.5 } else { -0.5 }).collect();
    wav(&samples)
}

/// Gives the office a sound, and returns what it is known by.
fn brings(town: &Office, name: &str) -> String {
    let brought = town.send_file("/sounds", name, beat());
    let sha256 = brought["sounds"][0].as_str();
    sha256.unwrap_or_else(|| panic!("not taken: {brought}")).to_owned()
}

/// Writes a campaign that plays the sound at these moments of each day, for every village.
fn writes(town: &Office, title: &str, sound: &str, moments: &[Timestamp]) -> String {
    let moments: Vec<_> = moments.iter().map(|moment| format!("\"{}\"", at(*moment))).collect();
    let text = format!(
        "title = \"{title}\"\n[announcement.beat]\ntitle = \"{title}\"\nplay = [\"beat.wav\"]\n[[rule]]\nplay = \"beat\"\nat = [{}]\n",
        moments.join(", ")
    );
    let mut draft = json!({ "do": "save", "kind": "campaign", "title": title, "text": text, "everybody": "on" });
    draft[format!("sound.{sound}")] = "on".into();
    draft[format!("path.{sound}")] = "beat.wav".into();
    let saved = town.post("/campaigns/draft", draft);
    saved["campaign"]["id"].as_str().unwrap().to_owned()
}

/// What the office holds of one campaign at every village.
fn records(town: &Office, title: &str) -> Vec<Value> {
    let page = town.get("/journal");
    let rows = page["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["title"] == title).cloned().collect()
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap()
}

#[test]
fn a_campaign_is_heard_in_every_village_at_once_and_on_record_at_the_office() {
    let town = Office::new();
    let mut members = Vec::new();
    for number in 1..=3 {
        members.push(Member::joins(&town, number));
    }
    let monitors: Vec<_> = members.iter().map(Member::listen).collect();
    let sound = brings(&town, "beat.wav");
    let start = soon(30);
    let campaign = writes(&town, "反诈宣传周", &sound, &[start]);
    town.post(&format!("/campaigns/{campaign}/step"), json!({ "step": "publish" }));
    for member in &members {
        member.village.planned("beat");
    }
    for member in &members {
        let entry = member.village.entries("beat", 1).remove(0);
        assert_eq!((entry["outcome"].as_str(), entry["source"].as_str()), (Some("played"), Some("town")), "{entry}");
    }
    let onsets: Vec<_> =
        monitors.iter().map(|monitor| monitor.heard().onset(nanos(start), 0.05).expect("it is heard")).collect();
    let apart = onsets.iter().max().unwrap() - onsets.iter().min().unwrap();
    println!("three villages apart: {:.3} ms; off their moment: {onsets:?} ns", apart as f64 / 1e6);
    assert!(apart <= 1_000_000, "{onsets:?}");
    until(&town, "three rows", "/journal", |page| {
        page["rows"].as_array().unwrap().iter().filter(|row| row["title"] == "反诈宣传周").count() >= 3
    });
    assert_eq!(records(&town, "反诈宣传周").len(), 3, "each once");
}

#[test]
fn what_an_office_misses_while_it_is_dead_or_cut_off_arrives_later_and_once() {
    let mut town = Office::new();
    let member = Member::joins(&town, 1);
    let sound = brings(&town, "beat.wav");
    let moments = [soon(30), soon(40), soon(50)];
    let campaign = writes(&town, "每日提醒", &sound, &moments);
    town.post(&format!("/campaigns/{campaign}/step"), json!({ "step": "publish" }));
    member.village.planned("beat");
    // The office is dead while the first plays, the line is cut while the second does, and says nothing during the third.
    town.kill();
    member.village.entries("beat", 1);
    member.line.set(Weather::Cut);
    town.start();
    member.village.entries("beat", 2);
    member.line.set(Weather::Silent);
    member.village.entries("beat", 3);
    member.line.set(Weather::Fair);
    until(&town, "three rows", "/journal", |page| {
        page["rows"].as_array().unwrap().iter().filter(|row| row["title"] == "每日提醒").count() >= 3
    });
    let rows = records(&town, "每日提醒");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows.iter().all(|row| row["outcome"] == "played"), "{rows:#?}");
}
