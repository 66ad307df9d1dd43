//! A town, end to end on one machine: the real office, three real stations with sound, lines that fail between them.
//!
//! What a village hears is recorded at the monitor of its sink; what the office knows is read from its pages. Everything
//! that is waited for is an event.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use jiff::Timestamp;
use support::{
    at, fate,
    line::Weather,
    monitor::Monitor,
    rig::{RATE, SINK},
    soon,
    town::{Member, Town},
    wave::wav,
};

/// A sound that is loud from its first sample on.
fn beat() -> Vec<u8> {
    let samples: Vec<f32> = (0..RATE).map(|at| if at / 24 % 2 == 0 { 0.5 } else { -0.5 }).collect();
    wav(&samples)
}

/// A schedule that plays `beat.wav` at these moments of each day.
fn beats(title: &str, moments: &[Timestamp]) -> String {
    let moments: Vec<_> = moments.iter().map(|moment| format!("\"{}\"", at(*moment))).collect();
    format!(
        "title = \"{title}\"\n[announcement.beat]\ntitle = \"{title}\"\nplay = [\"beat.wav\"]\n[[rule]]\nplay = \"beat\"\nat = [{}]\n",
        moments.join(", ")
    )
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap()
}

#[test]
fn a_campaign_is_heard_in_every_village_at_once_and_on_record_at_the_office() {
    let town = Town::new();
    let members: Vec<_> = (1..=3).map(|number| Member::joins(&town, number)).collect();
    let listen = |member: &Member| Monitor::start(&member.village.server.socket(), SINK);
    let monitors: Vec<_> = members.iter().map(listen).collect();
    let sound = town.sound("beat.wav", &beat());
    let start = soon(30);
    town.publish("反诈宣传周", &beats("反诈宣传周", &[start]), (&sound, "beat.wav"));
    for member in &members {
        member.village.planned("beat");
    }
    for member in &members {
        let entry = member.village.entries("beat", 1).remove(0);
        assert_eq!((fate(&entry).as_str(), entry["source"].as_str()), ("played", Some("town")), "{entry}");
    }
    let onsets: Vec<_> =
        monitors.iter().map(|monitor| monitor.heard().onset(nanos(start), 0.05).expect("it is heard")).collect();
    let apart = onsets.iter().max().unwrap() - onsets.iter().min().unwrap();
    println!("three villages apart: {:.3} ms; off their moment: {onsets:?} ns", apart as f64 / 1e6);
    assert!(apart <= 1_000_000, "{onsets:?}");
    members.iter().for_each(Member::is_acknowledged);
    assert_eq!(town.records("反诈宣传周").len(), 3, "each once");
}

#[test]
fn what_an_office_misses_while_it_is_dead_or_cut_off_arrives_later_and_once() {
    let mut town = Town::new();
    let member = Member::joins(&town, 1);
    let sound = town.sound("beat.wav", &beat());
    let moments = [soon(30), soon(40), soon(50)];
    town.publish("每日提醒", &beats("每日提醒", &moments), (&sound, "beat.wav"));
    member.village.planned("beat");
    // The office is dead while the first plays, the line is cut while the second does, and says nothing during the third.
    town.kill();
    member.village.entries("beat", 1);
    member.line.set(Weather::Cut);
    town.start();
    member.village.entries("beat", 2);
    member.line.set(Weather::Silent);
    let own = member.village.entries("beat", 3);
    member.line.set(Weather::Fair);
    member.is_acknowledged();
    let rows = town.records("每日提醒");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(own.iter().all(|entry| fate(entry) == "played"), "{own:#?}");
    let played = |entries: &[serde_json::Value]| entries.iter().filter(|one| one["outcome"] == "played").count();
    assert_eq!(played(&rows), played(&own), "{rows:#?}");
}
