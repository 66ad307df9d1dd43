//! `kill -9` at any moment: no row lost, no occurrence twice, and the sound comes back or the reason is on record.
//!
//! `DALABA_KILLS` says how many moments for each of daemon, speaker and both (5 unless told), `DALABA_SEED` which ones.

#![cfg(target_os = "linux")]

mod support;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use support::{
    Village, at, count, is_starved,
    rig::{RATE, peak},
    sleep_until, soon,
    wave::{find, melody, mix},
};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Daemon,
    Speaker,
    Both,
}

/// Length of the announcement that the kill meets.
const LONG: SignedDuration = SignedDuration::from_secs(7);

/// Villages that live at a time: they mostly wait.
const AT_ONCE: u64 = 3;

#[test]
fn a_killed_daemon_loses_nothing_and_repeats_nothing() {
    kill_at_many_moments(Victim::Daemon);
}

#[test]
fn a_killed_speaker_loses_nothing_and_repeats_nothing() {
    kill_at_many_moments(Victim::Speaker);
}

#[test]
fn a_killed_station_loses_nothing_and_repeats_nothing() {
    kill_at_many_moments(Victim::Both);
}

/// Every kill has a village of its own: a station that starts five times in ten minutes enters safe mode.
fn kill_at_many_moments(victim: Victim) {
    let (kills, seed) = (count("DALABA_KILLS", 5), count("DALABA_SEED", 1));
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(kills) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= kills {
                        break;
                    }
                    kill_once(victim, mix(seed ^ (number << 32)));
                }
            });
        }
    });
}

/// A short announcement, a long one two seconds later, and another short one after it; the kill comes somewhere in the
/// long one, a little before it or a little after it.
fn kill_once(victim: Victim, seed: u64) {
    let mut village = Village::new();
    let (long, before, after) = (melody(seed, LONG.as_secs_f64()), melody(seed + 1, 0.8), melody(seed + 2, 0.8));
    village.clip("long.wav", &long).clip("before.wav", &before).clip("after.wav", &after).start();
    let recording = village.server.record();

    let first = soon(4);
    let begin = first + SignedDuration::from_secs(2);
    let last = begin + LONG + SignedDuration::from_secs(3);
    let mut text = String::new();
    for (name, time) in [("before", first), ("long", begin), ("after", last)] {
        text += &format!(
            "[announcement.{name}]\nplay = [\"{name}.wav\"]\n[[rule]]\nplay = \"{name}\"\nat = [\"{}\"]\n",
            at(time)
        );
    }
    village.schedule("daily", &text).planned("before");
    let into = SignedDuration::from_millis(i64::try_from(mix(seed) % 7_600).expect("small") - 300);
    let context = format!("{victim:?}, {into:#} into it, seed {seed}");
    village.entries("before", 1);
    let acked = rows(&village);
    sleep_until(begin + into);
    if victim != Victim::Daemon {
        village.kill_speaker();
    }
    if victim != Victim::Speaker {
        village.kill_daemon();
        village.launch();
    }
    if dalaba::clock::wall() > last - SignedDuration::from_secs(1) {
        eprintln!("{context}: this machine was too busy to strike in time, once more");
        return kill_once(victim, seed);
    }

    let fates: Vec<(Value, Value, Value)> = ["before", "long", "after"]
        .map(|name| {
            let entry = village.entries(name, 1).remove(0);
            // A card that the busy machine starved took too little of it, and the entry says so: no kill did that.
            let outcome = if is_starved(&entry) && name != "long" { "played".into() } else { entry["outcome"].clone() };
            (outcome, entry["reason"].clone(), entry["heard_ms"].clone())
        })
        .into();
    let lines = rows(&village);
    assert!(lines.starts_with(&acked), "{context}: an acknowledged row is gone");
    assert_eq!(lines.len(), 3, "{context}: {lines:#?}");
    assert_eq!(fates[0].0, "played", "{context}");
    assert_eq!(fates[2].0, "played", "{context}: {fates:?}");
    village.dalaba(["journal", "--verify"]).ok();

    let heard = recording.wait(RATE);
    let end_is_heard = is_heard(&long[long.len() - 2 * RATE..], &heard);
    let reason = fates[1].1.as_str().unwrap_or_default();
    match fates[1].0.as_str() {
        Some("played") => assert!(end_is_heard, "{context}: played and its end was not heard"),
        Some("partial") => {
            assert!(["crash", "power-loss", "device-lost"].contains(&reason), "{context}: {reason}");
            // With seconds left the sound comes back, where the wall clock says it should be.
            if into < SignedDuration::from_secs(2) {
                assert!(end_is_heard, "{context}: the sound did not come back");
            }
        }
        fate => panic!("{context}: {fate:?} {reason}"),
    }
    // That each sounds is held in tests/station.rs; several villages at once can starve the sound server of this machine.
    for (name, sound) in [("before", &before), ("after", &after)] {
        let hits = find(sound, &heard);
        assert!(hits.len() <= 1, "{context}: {name} sounded twice: {hits:?}");
    }
    for piece in long.chunks(RATE / 2) {
        let hits = find(piece, &heard);
        assert!(hits.len() <= 1, "{context}: half a second of it sounded twice: {hits:?}");
    }
}

/// The rows as they stand in the journal; what proves an export is of the export, and differs each time.
fn rows(village: &Village) -> Vec<Value> {
    let mut rows = village.journal();
    for row in &mut rows {
        let fields = row.as_object_mut().expect("a row is an object");
        fields.remove("export");
        fields.remove("signed");
    }
    rows
}

/// Whether a sound is in a recording, holes left aside: a machine that is too busy starves its sound server, which is not
/// what this is about. Three fifths of a second of it are enough, in pieces too short to fall into every hole.
fn is_heard(sound: &[f32], recording: &[f32]) -> bool {
    sound.chunks(RATE / 5).filter(|piece| !find(piece, recording).is_empty()).count() >= 3
}

#[test]
fn a_speaker_whose_daemon_is_gone_falls_silent_and_starts_nothing() {
    let mut village = Village::new();
    let (long, bell) = (melody(78, 6.0), melody(79, 1.0));
    village.clip("long.wav", &long).clip("bell.wav", &bell).start();
    let recording = village.server.record();
    let begin = soon(4);
    let rule = |name: &str, time| {
        format!(
            "[announcement.{name}]\nplay = [\"{name}.wav\"]\n[[rule]]\nplay = \"{name}\"\nat = [\"{}\"]\n",
            at(time)
        )
    };
    let next = begin + SignedDuration::from_secs(8);
    village.schedule("daily", &(rule("long", begin) + &rule("bell", next)));
    sleep_until(begin + SignedDuration::from_secs(1));
    village.kill_daemon();
    sleep_until(next + SignedDuration::from_secs(2));
    let heard = recording.samples();
    assert!(is_heard(&long[..RATE], &heard), "its beginning is heard");
    let loud = heard.iter().position(|sample| sample.abs() > 0.02).expect("it is heard");
    // Killed a second into it; silence is due half a second later, and a busy machine gets two.
    let silent = &heard[loud + 3 * RATE..];
    assert!(peak(silent) < 0.001, "sound goes on after the daemon: {}", peak(silent));
}

#[test]
fn the_sound_comes_back_where_the_wall_clock_says() {
    let mut village = Village::new();
    let long = melody(77, 8.0);
    village.clip("long.wav", &long).start();
    let recording = village.server.record();
    let begin: Timestamp = soon(4);
    village.schedule(
        "daily",
        &format!("[announcement.long]\nplay = [\"long.wav\"]\n[[rule]]\nplay = \"long\"\nat = [\"{}\"]\n", at(begin)),
    );
    sleep_until(begin + SignedDuration::from_secs(2));
    assert!(village.kill_speaker(), "a speaker to kill");
    let entry = village.entries("long", 1).remove(0);
    let heard = recording.wait(RATE);
    // Piece by piece, the sound is as far into the recording as into the clip: nothing was drawn out by the gap.
    let place = |from: usize| find(&long[from..from + RATE / 5], &heard).first().map(|hit| hit.at as f64 - from as f64);
    let places =
        |range: std::ops::Range<usize>| -> Vec<f64> { range.filter_map(|fifth| place(fifth * RATE / 5)).collect() };
    let (before, after) = (places(0..8), places(25..40));
    assert!(!before.is_empty() && !after.is_empty(), "{before:?} {after:?} {entry:#}");
    let shift = (after[0] - before[0]) / RATE as f64;
    assert!(shift.abs() < 0.25, "{shift} s later than the clock says: {entry:#}");
    assert_eq!((&entry["outcome"], &entry["reason"]), (&Value::from("partial"), &Value::from("crash")), "{entry:#}");
    let missing = 8_000 - entry["heard_ms"].as_i64().unwrap();
    assert!(missing > 40, "{entry:#}");
}
