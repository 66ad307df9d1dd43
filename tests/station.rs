//! The real daemon, a null sink, real children: text in, sound and journal out.

#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use std::net::TcpListener;
use support::{
    Setup, Village, around_now, at, fate, is_starved,
    rig::{RATE, peak},
    soon,
    wave::{find, header, melody, wav},
};

/// An announcement of one clip and the rule that plays it at `times`.
fn announce(name: &str, clip: &str, times: &[jiff::Timestamp], more: &str) -> String {
    let times: Vec<String> = times.iter().map(|time| format!("\"{}\"", at(*time))).collect();
    format!(
        "[announcement.{name}]\ntitle = \"{name}\"\nplay = [\"{clip}\"]\n{more}\n\
         [[rule]]\nplay = \"{name}\"\nat = [{}]\n\n",
        times.join(", ")
    )
}

#[test]
fn each_occurrence_sounds_once_and_has_one_entry_with_what_was_measured() {
    let mut village = Village::new();
    let clips = [melody(1, 1.2), melody(2, 1.6), melody(3, 2.0)];
    let gong = melody(9, 0.6);
    village.clip("one.wav", &clips[0]).clip("two.wav", &clips[1]).clip("three.wav", &clips[2]).clip("gong.wav", &gong);
    village.start();
    let recording = village.server.record();
    let first = soon(5);
    let times: Vec<_> = [0, 4, 8].map(|later| first + jiff::SignedDuration::from_secs(later)).into();
    let mut text = announce("one", "one.wav", &times[..1], "");
    text += &announce("two", "two.wav", &times[1..2], "chime = \"gong.wav\"");
    text += &announce("three", "three.wav", &times[2..], "");
    village.schedule("daily", &text).planned("one");

    for (name, time, length) in [("one", times[0], 1_200), ("two", times[1], 2_200), ("three", times[2], 2_000)] {
        let entry = village.entries(name, 1).remove(0);
        assert_eq!(fate(&entry), "played", "{entry:#}");
        assert_eq!(entry["due"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(), time, "{entry:#}");
        let started: jiff::Timestamp = entry["started"].as_str().unwrap().parse().unwrap();
        let late = started.duration_since(time).as_micros();
        assert!(late.abs() < 1_000_000, "{name} started {late} µs late");
        assert!(entry["start_error_us"].as_i64().unwrap().abs() < 1_000_000, "{entry:#}");
        let (expected, heard) = (entry["expected_ms"].as_i64().unwrap(), entry["heard_ms"].as_i64().unwrap());
        assert!((expected - length).abs() <= 5, "{entry:#}");
        assert!(is_starved(&entry) || heard * 1_000 >= expected * 995, "{entry:#}");
        assert!(heard <= expected + 5, "{entry:#}");
        assert_eq!(entry["evidence"], "monitor", "{entry:#}");
        assert_eq!(entry["device"], "pulse:village", "{entry:#}");
    }
    let heard = recording.wait(RATE);
    let places: Vec<usize> = [&clips[0], &gong, &clips[1], &clips[2]]
        .map(|sound| {
            let hits = find(sound, &heard);
            assert_eq!(hits.len(), 1, "{hits:?}");
            hits[0].at
        })
        .into();
    assert!(places.is_sorted(), "{places:?}");
    let apart = (places[3] - places[0]) as f64 / RATE as f64;
    assert!((apart - 8.0).abs() < 0.5, "eight seconds apart in the plan, {apart} in the air");
    village.dalaba(["journal", "--verify"]).ok();
}

#[test]
fn without_a_device_nothing_is_played_and_the_reason_is_on_record_until_one_comes() {
    let mut village = Village::with(Setup { server: false, ..Setup::default() });
    let clip = melody(4, 1.0);
    village.clip("a.wav", &clip).launch();
    village.schedule("daily", &announce("lost", "a.wav", &[soon(4)], "").replace("at =", "grace = \"1s\"\nat ="));
    let entry = village.entries("lost", 1).remove(0);
    assert_eq!(fate(&entry), "missed device-unavailable", "{entry:#}");
    assert_eq!((&entry["started"], &entry["heard_ms"]), (&Value::Null, &Value::from(0)), "{entry:#}");

    village.server.appear();
    let recording = village.server.record();
    village.ready();
    village.schedule("daily", &announce("found", "a.wav", &[soon(4)], ""));
    assert_eq!(fate(&village.entries("found", 1)[0]), "played");
    assert_eq!(find(&clip, &recording.wait(RATE)).len(), 1);
}

#[test]
fn a_sound_card_pulled_out_and_put_back_goes_on_where_the_clock_is() {
    let mut village = Village::new();
    let clip = melody(14, 9.0);
    village.clip("a.wav", &clip).clip("b.wav", &melody(15, 1.0)).start();
    let first = village.server.record();
    village.schedule("daily", &announce("cut", "a.wav", &[soon(4)], "")).planned("cut");
    village.wait("sound flows", |_| peak(&first.samples()) > 0.02);
    village.server.unplug();
    // With the sink its monitor is gone; the new one begins with the new sink.
    village.server.plug();
    let second = village.server.record();
    let entry = village.entries("cut", 1).remove(0);
    assert_eq!(fate(&entry), "partial device-lost", "{entry:#}");
    let heard = second.wait(RATE);
    assert_eq!(find(&clip[8 * RATE..], &heard).len(), 1, "its end is heard: {entry:#}");
    assert!(find(&clip[..RATE], &heard).is_empty(), "its beginning is not repeated: {entry:#}");
    village.schedule("daily", &announce("next", "b.wav", &[soon(4)], ""));
    assert_eq!(fate(&village.entries("next", 1)[0]), "played", "the one after it plays");
}

#[test]
fn a_stop_ends_what_sounds_and_holds_until_released() {
    let mut village = Village::new();
    let (long, short) = (melody(5, 8.0), melody(6, 1.0));
    village.clip("long.wav", &long).clip("short.wav", &short).start();
    let recording = village.server.record();
    let first = soon(4);
    let text = announce("long", "long.wav", &[first], "") + &announce("short", "short.wav", &[first + second(4)], "");
    village.schedule("daily", &text).planned("long");
    village.wait("sound flows", |_| peak(&recording.samples()) > 0.02);
    village.dalaba(["stop"]).ok();
    assert_eq!(fate(&village.entries("long", 1)[0]), "partial stopped");
    assert_eq!(fate(&village.entries("short", 1)[0]), "skipped stopped");
    let refused = village.dalaba(["play", "short.wav"]);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(!refused.err.is_empty(), "a refusal says why");
    let heard = recording.wait(RATE);
    assert!(peak(&heard[heard.len() - RATE / 2..]) < 0.001, "silence after a stop");
    assert!(find(&long, &heard).is_empty() && find(&short, &heard).is_empty());

    village.dalaba(["release"]).ok();
    village.dalaba(["play", "short.wav"]).ok();
    let entry = village.entries("short.wav", 1).remove(0);
    assert_eq!(fate(&entry), "played", "{entry:#}");
    assert_eq!((&entry["schedule"], &entry["band"]), (&Value::from("manual"), &Value::from("urgent")), "{entry:#}");
    assert!(entry["occurrence"].as_str().unwrap().starts_with("manual/"), "{entry:#}");
    assert_eq!(find(&short, &recording.wait(RATE)).len(), 1);
}

#[test]
fn a_hush_silences_what_falls_due_in_it() {
    let mut village = Village::new();
    village.clip("a.wav", &melody(7, 1.0)).start();
    let until = soon(3_600).to_string();
    village.dalaba(["hush", "--until", &until]).ok();
    village.schedule("daily", &announce("quiet", "a.wav", &[soon(4)], ""));
    assert_eq!(fate(&village.entries("quiet", 1)[0]), "skipped hushed");
    let too_long = soon(25 * 3_600).to_string();
    assert_eq!(village.dalaba(["hush", "--until", &too_long]).code, 1);
}

#[test]
fn the_volume_is_heard() {
    let mut village = Village::new();
    let clip = melody(8, 1.0);
    village.clip("a.wav", &clip).start();
    let recording = village.server.record();
    village.dalaba(["play", "a.wav"]).ok();
    village.entries("a.wav", 1);
    village.dalaba(["volume", "50"]).ok();
    village.dalaba(["play", "a.wav"]).ok();
    let volumes: Vec<_> = village.entries("a.wav", 2).iter().map(|entry| entry["volume"].clone()).collect();
    assert_eq!(volumes, [100, 50]);
    let hits = find(&clip, &recording.wait(RATE));
    let [full, half] = hits[..] else { panic!("{hits:?}") };
    // The gain is the cube of the percentage.
    let ratio = half.gain / full.gain;
    assert!((ratio - 0.125).abs() < 0.01, "{ratio}");
}

#[test]
fn quiet_hours_refuse_all_but_an_emergency() {
    let mut village = Village::with(Setup { quiet: format!("[\"{}\"]", around_now()), ..Setup::default() });
    let clip = melody(10, 1.0);
    village.clip("a.wav", &clip).start();
    let recording = village.server.record();
    village.schedule("daily", &announce("late", "a.wav", &[soon(4)], ""));
    assert_eq!(fate(&village.entries("late", 1)[0]), "skipped quiet-hours");
    let refused = village.dalaba(["play", "late"]);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.err.contains("静音时段"), "{refused:#?}");
    assert_eq!(village.dalaba(["play", "late", "--emergency"]).code, 2, "an emergency needs a note");
    assert!(find(&clip, &recording.wait(RATE)).is_empty());

    village.dalaba(["play", "late", "--emergency", "--note", "洪水"]).ok();
    village.wait("the emergency's entry", |village| village.journal().len() == 2);
    let entry = village.journal().remove(1);
    assert_eq!(fate(&entry), "played", "{entry:#}");
    assert_eq!((&entry["band"], &entry["note"]), (&Value::from("emergency"), &Value::from("洪水")), "{entry:#}");
    assert_eq!(find(&clip, &recording.wait(RATE)).len(), 1);
}

#[test]
fn a_taken_port_does_not_end_the_broadcast() {
    let mut village = Village::new();
    let clip = melody(11, 1.0);
    village.clip("a.wav", &clip);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let recording = village.server.record();
    village.schedule("daily", &announce("anyway", "a.wav", &[soon(8)], ""));
    village.launch_at(&taken.local_addr().unwrap().to_string());
    assert_eq!(fate(&village.entries("anyway", 1)[0]), "played");
    assert_eq!(find(&clip, &recording.wait(RATE)).len(), 1);
}

#[test]
fn a_second_daemon_on_one_home_ends_at_once_and_the_first_goes_on() {
    let mut village = Village::new();
    village.start();
    let second = village.dalaba(["run", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1, "{second:#?}");
    assert!(!second.err.is_empty(), "it says why");
    assert!(village.is_up());
    village.ready();
}

#[test]
fn a_bad_edit_leaves_the_version_in_force_in_force() {
    let mut village = Village::new();
    village.clip("a.wav", &melody(12, 1.0)).start();
    let due = soon(8);
    village.schedule("daily", &announce("kept", "a.wav", &[due], "")).planned("kept");
    village.schedule("daily", "[announcement.kept\nthis is no TOML");
    assert_eq!(village.dalaba(["check"]).code, 1, "the mistake is a finding");
    assert_eq!(fate(&village.entries("kept", 1)[0]), "played");

    // The version in force outlives the daemon while the file is bad.
    village.shut_down();
    village.start();
    let next = village.dalaba(["next", "--json"]).ok().json();
    assert_eq!(next[0]["announcement"], "kept", "{next:?}");
}

#[test]
fn a_missing_clip_and_every_bad_file_is_missed_with_its_reason_and_the_daemon_does_not_grow() {
    let mut village = Village::new();
    village.clip("good.wav", &melody(13, 1.0)).start();
    let before = village.memory("VmRSS");

    let (whole, hours) = (wav(&melody(13, 1.0)), 36_000 * 4_000);
    let mut huge = whole.clone();
    huge[16..20].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    village.file("audio/truncated.wav", &whole[..30]).file("audio/empty.wav", "");
    village
        .file("audio/page.wav", "<!DOCTYPE html><html><title>404</title></html>")
        .file("audio/huge-header.wav", huge);
    let long = village.file("audio/ten-hours.wav", header(4_000, 8, hours)).home().join("audio/ten-hours.wav");
    // The samples are a hole in the file: the disk holds none of them.
    std::fs::File::options().write(true).open(long).unwrap().set_len(44 + u64::from(hours)).unwrap();

    let names = ["missing", "truncated", "empty", "page", "huge-header", "ten-hours"];
    let due = soon(6);
    let text: String = names.map(|name| announce(name, &format!("{name}.wav"), &[due], "")).concat();
    village.schedule("daily", &text);
    for name in names {
        let reason = if name == "missing" { "missed clip-missing" } else { "missed clip-corrupt" };
        let entry = village.entries(name, 1).remove(0);
        assert_eq!(fate(&entry), reason, "{entry:#}");
    }
    let grown = village.memory("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

fn second(count: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(count)
}

#[test]
fn the_rig_finds_a_sound_where_it_is_and_nowhere_else() {
    let (wanted, other) = (melody(1, 1.5), melody(2, 1.5));
    let mut recording = vec![0.0; 30_011];
    recording.extend(wanted.iter().map(|sample| sample / 4.0));
    recording.extend_from_slice(&other);
    recording.extend_from_slice(&wanted);
    let hits = find(&wanted, &recording);
    let places: Vec<usize> = hits.iter().map(|hit| hit.at).collect();
    assert_eq!(places, [30_011, 30_011 + 2 * wanted.len()]);
    assert!((hits[0].gain - 0.25).abs() < 0.01 && (hits[1].gain - 1.0).abs() < 0.01, "{hits:?}");
}

#[test]
fn the_rig_hears_what_is_played() {
    let mut village = Village::new();
    let clip = melody(99, 1.0);
    let file = village.clip("a.wav", &clip).home().join("audio/a.wav");
    let recording = village.server.record();
    let played = std::process::Command::new("paplay").arg(file).envs(village.server.env()).status();
    assert!(played.unwrap().success());
    assert_eq!(find(&clip, &recording.wait(RATE)).len(), 1);
    assert!(find(&melody(98, 1.0), &recording.samples()).is_empty());
}

#[test]
fn at_night_the_sound_card_is_tested_and_the_result_kept() {
    let mut village = Village::with(Setup { quiet: format!("[\"{}\"]", around_now()), ..Setup::default() });
    village.start();
    village.wait("a self-test", |village| {
        village.dalaba(["journal", "--self-tests", "--json"]).out.contains("pulse:village")
    });
    let tests = village.dalaba(["journal", "--self-tests", "--json"]).ok().json();
    assert_eq!((tests.len(), &tests[0]["fault"]), (1, &Value::Null), "{tests:?}");
    assert!(village.dalaba(["journal", "--self-tests"]).ok().out.contains("正常"));
}
