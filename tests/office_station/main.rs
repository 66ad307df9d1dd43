//! A real office and a real station with sound: taken in, delivered to, ordered, and left alone.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;
mod town;

use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fs;
use support::{
    Setup, Village, around_now, at,
    http::Client,
    rig::RATE,
    soon,
    wave::{find, melody, wav},
};
use town::Town;

/// A schedule of one announcement that plays `clip` every so often from `first` seconds from now on.
fn often(name: &str, clip: &str, first: i64) -> String {
    let times = (0..10).map(|turn| format!("\"{}\"", at(soon(first) + SignedDuration::from_secs(12 * turn))));
    let times: Vec<_> = times.collect();
    format!(
        "[announcement.{name}]\ntitle = \"{name}\"\nplay = [\"{clip}\"]\n\n[[rule]]\nplay = \"{name}\"\nat = [{}]\n",
        times.join(", ")
    )
}

/// How the station stands with its office.
fn office_of(village: &Village) -> Value {
    Client::owner(village).json("/settings").json()["office"].clone()
}

/// Takes the village in, as a broadcaster and a clerk do by telephone.
fn enrol(village: &Village, town: &Town) {
    let code = town.code("测试村");
    let address = town.address();
    let said = village.dalaba(["enrol", &code, "--office", &address, "--yes", "--json"]).ok();
    let view = &said.json()[0];
    assert_eq!(view["words"]["zh"], town.page("/enrol")["words"], "both sides show the same words");
    assert_eq!(view["name"], "青石镇");
    town.confirm("test");
    village.wait("the office is heard", |village| {
        let office = office_of(village);
        office["stage"] == "member" && office["up"] == true
    });
}

/// Entries that an office's campaign or order has brought.
fn from_town(village: &Village) -> Vec<Value> {
    let mut entries = village.journal();
    entries.retain(|entry| entry["source"] == "town");
    entries
}

/// Waits until the office has every row of the station's journal.
fn is_acknowledged(village: &Village) -> bool {
    let link: Option<Value> = fs::read(village.home().join("data/office/link.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let rows = village.journal().len();
    link.is_some_and(|link| link["standing"]["member"]["acked"].as_u64() == Some(rows as u64))
}

#[test]
fn a_village_is_taken_in_plays_what_the_town_delivers_and_sends_what_it_played() {
    let (town, mut village) = (Town::open(), Village::new());
    let (own, delivered) = (melody(1, 1.0), melody(2, 1.5));
    // The same path on both sides: neither takes the place of the other.
    village.clip("a.wav", &own).start();
    enrol(&village, &town);

    let sound = town.sound("a.wav", &wav(&delivered));
    let recording = village.server.record();
    town.publish("反诈", &often("town", "a.wav", 15), (&sound, "a.wav"));
    village.wait("the plan is in force", |village| {
        let said = village.dalaba(["plan", "--days", "1", "--json"]);
        said.json().iter().any(|line| line["announcement"] == "town")
    });
    assert_eq!(office_of(&village)["plans"][0][0], "town");
    village.wait("the town is heard", |village| from_town(village).iter().any(|entry| entry["outcome"] == "played"));
    let entry = from_town(&village).into_iter().find(|entry| entry["outcome"] == "played").expect("just seen");
    assert_eq!(entry["clips"][0]["sha256"], *sound);
    let heard = recording.wait(RATE);
    assert!(!find(&delivered, &heard).is_empty(), "what the town delivered was heard");
    assert!(find(&own, &heard).is_empty(), "and not the village's own sound of that name");

    village.wait("the office has the journal", is_acknowledged);
}

#[test]
fn an_emergency_is_heard_at_night_and_the_town_learns_what_became_of_it() {
    let town = Town::open();
    let mut village = Village::with(Setup { quiet: format!("[\"{}\"]", around_now()), ..Setup::default() });
    village.start();
    enrol(&village, &town);
    let alarm = melody(3, 2.0);
    let sound = town.sound("alarm.wav", &wav(&alarm));
    let recording = village.server.record();
    let word = json!({ "word": "立即播出", "subject": "山洪转移", "text": "请立即转移", "sound": sound, "times": "1",
        "volume": "100", "everybody": "on", "note": "" });
    let ordered = town.press("/emergency", &word);
    let id = ordered["command"].as_str().expect("its name").to_owned();
    village.wait("it is over", |village| !from_town(village).is_empty());
    let entry = &from_town(&village)[0];
    assert_eq!((&entry["outcome"], &entry["band"]), (&json!("played"), &json!("emergency")), "{entry}");
    assert_eq!(entry["occurrence"], format!("command/{id}"));
    assert_eq!(entry["operator"], "镇中心·local");
    assert_eq!(find(&alarm, &recording.wait(RATE)).len(), 1, "once");
    town.wait("the page says so", |town| {
        let page = town.page(&format!("/orders/{id}")).to_string();
        page.contains("finished").then_some(())
    });
    village.wait("the office has the journal", is_acknowledged);
}

#[test]
fn without_its_office_a_village_goes_on_and_what_it_played_arrives_later() {
    let (mut town, mut village) = (Town::open(), Village::new());
    village.start();
    enrol(&village, &town);
    let delivered = melody(4, 1.0);
    let sound = town.sound("b.wav", &wav(&delivered));
    town.publish("防火", &often("fire", "fire/b.wav", 15), (&sound, "fire/b.wav"));
    village.planned("fire");
    town.kill();
    village.kill_daemon();
    village.start();
    let before = from_town(&village).len();
    village.wait("the town's plan plays on", |village| {
        from_town(village).iter().skip(before).any(|entry| entry["outcome"] == "played")
    });
    assert_eq!(office_of(&village)["up"], false);
    town.start();
    village.wait("the office has the journal", is_acknowledged);
    // What the village leaves, it does not play.
    assert_eq!(Client::owner(&village).post("/settings/office/leave", &json!({})).status, 200);
    village.wait("nothing of the town is planned", |village| {
        let said = village.dalaba(["plan", "--days", "2", "--json"]);
        said.json().iter().all(|line| line["announcement"] != "fire")
    });
}

#[test]
fn a_kill_in_the_middle_of_an_emergency_leaves_one_entry_and_one_answer() {
    let (town, mut village) = (Town::open(), Village::new());
    village.start();
    enrol(&village, &town);
    let sound = town.sound("alarm.wav", &wav(&melody(5, 8.0)));
    let word = json!({ "word": "立即播出", "subject": "山洪转移", "sound": sound, "times": "1", "volume": "100",
        "everybody": "on" });
    let ordered = town.press("/emergency", &word);
    let id = ordered["command"].as_str().expect("its name").to_owned();
    village.wait("it sounds", |village| {
        let playing = Client::owner(village).json("/").json()["playing"].clone();
        playing.as_array().is_some_and(|playing| !playing.is_empty())
    });
    village.kill_daemon();
    village.start();
    village.wait("it is over", |village| !from_town(village).is_empty());
    let entries = from_town(&village);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["occurrence"], format!("command/{id}"));
    town.wait("the page says so", |town| {
        town.page(&format!("/orders/{id}")).to_string().contains("finished").then_some(())
    });
    village.wait("the office has the journal", is_acknowledged);
    assert_eq!(from_town(&village).len(), 1);
}
