//! A real office and a real station with sound: taken in, delivered to, ordered, and left alone.

#![cfg(target_os = "linux")]

mod support;

use jiff::SignedDuration;
use serde_json::json;
use support::{
    Setup, around_now, at, fate,
    http::Client,
    rig::RATE,
    soon,
    town::{Member, Town},
    wave::{find, melody, wav},
};

/// A schedule of one announcement that plays `clip` every so often from `first` seconds from now on.
fn often(name: &str, clip: &str, first: i64) -> String {
    let times = (0..10).map(|turn| format!("\"{}\"", at(soon(first) + SignedDuration::from_secs(12 * turn))));
    let times: Vec<_> = times.collect();
    format!(
        "[announcement.{name}]\ntitle = \"{name}\"\nplay = [\"{clip}\"]\n\n[[rule]]\nplay = \"{name}\"\nat = [{}]\n",
        times.join(", ")
    )
}

#[test]
fn a_village_is_taken_in_plays_what_the_town_delivers_and_sends_what_it_played() {
    let town = Town::new();
    let mut member = Member::joins(&town, 1);
    let (own, delivered) = (melody(1, 1.0), melody(2, 1.5));
    // The same path on both sides: neither takes the place of the other.
    member.village.clip("a.wav", &own);

    let sound = town.sound("a.wav", &wav(&delivered));
    let recording = member.village.server.record();
    town.publish("反诈", &often("town", "a.wav", 15), (&sound, "a.wav"));
    member.village.wait("the plan is in force", |village| {
        let said = village.dalaba(["plan", "--days", "1", "--json"]);
        said.json().iter().any(|line| line["announcement"] == "town")
    });
    assert_eq!(member.office()["plans"][0][0], "town");
    member.village.wait("the town is heard", |_| member.town_entries().iter().any(|entry| fate(entry) == "played"));
    let entry = member.town_entries().into_iter().find(|entry| fate(entry) == "played").expect("just seen");
    assert_eq!(entry["clips"][0]["sha256"], *sound);
    let heard = recording.wait(RATE);
    assert!(!find(&delivered, &heard).is_empty(), "what the town delivered was heard");
    assert!(find(&own, &heard).is_empty(), "and not the village's own sound of that name");

    member.is_acknowledged();
}

#[test]
fn an_emergency_is_heard_at_night_and_the_town_learns_what_became_of_it() {
    let town = Town::new();
    let setup = Setup { quiet: format!("[\"{}\"]", around_now()), ..Setup::default() };
    let member = Member::with(&town, 1, setup);
    let alarm = melody(3, 2.0);
    let sound = town.sound("alarm.wav", &wav(&alarm));
    let recording = member.village.server.record();
    let id = town.emergency("山洪转移", &sound);
    member.village.wait("it is over", |_| !member.town_entries().is_empty());
    let entry = &member.town_entries()[0];
    assert_eq!((fate(entry).as_str(), &entry["band"]), ("played", &json!("emergency")), "{entry}");
    assert_eq!(entry["occurrence"], format!("command/{id}"));
    assert_eq!(entry["operator"], "镇中心·local");
    assert_eq!(find(&alarm, &recording.wait(RATE)).len(), 1, "once");
    town.finished(&id, 1);
    member.is_acknowledged();
}

#[test]
fn without_its_office_a_village_goes_on_and_what_it_played_arrives_later() {
    let mut town = Town::new();
    let mut member = Member::joins(&town, 1);
    let delivered = melody(4, 1.0);
    let sound = town.sound("b.wav", &wav(&delivered));
    town.publish("防火", &often("fire", "fire/b.wav", 15), (&sound, "fire/b.wav"));
    member.village.planned("fire");
    town.kill();
    member.village.kill_daemon();
    member.village.start();
    let before = member.town_entries().len();
    member.village.wait("the town's plan plays on", |_| {
        member.town_entries().iter().skip(before).any(|entry| fate(entry) == "played")
    });
    assert_eq!(member.office()["up"], false);
    town.start();
    member.is_acknowledged();
    // What the village leaves, it does not play.
    assert_eq!(Client::owner(&member.village).post("/settings/office/leave", &json!({})).status, 200);
    member.village.wait("nothing of the town is planned", |village| {
        let said = village.dalaba(["plan", "--days", "2", "--json"]);
        said.json().iter().all(|line| line["announcement"] != "fire")
    });
}

#[test]
fn a_kill_in_the_middle_of_an_emergency_leaves_one_entry_and_one_answer() {
    let town = Town::new();
    let mut member = Member::joins(&town, 1);
    let sound = town.sound("alarm.wav", &wav(&melody(5, 8.0)));
    let id = town.emergency("山洪转移", &sound);
    member.village.wait("it sounds", |village| {
        let playing = Client::owner(village).json("/").json()["playing"].clone();
        playing.as_array().is_some_and(|playing| !playing.is_empty())
    });
    member.village.kill_daemon();
    member.village.start();
    member.village.wait("it is over", |_| !member.town_entries().is_empty());
    let entries = member.town_entries();
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(entries[0]["occurrence"], format!("command/{id}"));
    town.finished(&id, 1);
    member.is_acknowledged();
    assert_eq!(member.town_entries().len(), 1);
}
