//! The sound system breaks while an announcement sounds: it comes back where the wall clock says, the daemon neither
//! burns the processor nor floods its log meanwhile, and the entry tells the truth.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use dalaba::clock;
use jiff::SignedDuration;
use rustix::process::{Signal, kill_process};
use std::fs;
use support::{
    Setup, Village,
    monitor::Monitor,
    rig::{RATE, SINK},
    sleep_until, soon,
    wave::{find, melody},
};

/// How long the announcement is, and when the fault strikes and ends, in seconds from its start.
const LONG: usize = 22;
const STRIKES: i64 = 4;
const HEALS: i64 = 8;

/// Back so long after the fault ended, in seconds.
const BACK: f64 = 3.0;

/// What happened around one fault.
struct Told {
    outcome: String,
    reason: String,
    note: String,
    heard_ms: i64,
}

/// Plays, strikes, heals, and holds what must be true of every fault.
fn around(name: &str, setup: Setup<'_>, strike: impl FnOnce(&mut Village), heal: impl FnOnce(&mut Village)) -> Told {
    let mut village = Village::with(setup);
    let clip = melody(name.len() as u64, LONG as f64);
    village.clip("long.wav", &clip).start();
    let begin = soon(12);
    let at = support::at(begin);
    let text = format!("[announcement.long]\nplay = [\"long.wav\"]\n[[rule]]\nplay = \"long\"\nat = [\"{at}\"]\n");
    village.schedule("daily", &text).planned("long");
    sleep_until(begin + SignedDuration::from_secs(STRIKES));
    let (lines, busy) = (village.log_lines(), busy(&village));
    strike(&mut village);
    sleep_until(begin + SignedDuration::from_secs(HEALS));
    let share = (busy_since(&village, busy)) / (HEALS - STRIKES) as f64;
    let lines = village.log_lines() - lines;
    heal(&mut village);
    let healed = clock::wall();
    let monitor = Monitor::start(&village.server.socket(), SINK);
    let entry = village.entries("long", 1).remove(0);
    village.dalaba(["journal", "--verify"]).ok();
    let heard = monitor.heard();

    // Piece by piece: when each fifth of a second was in the air, against when it should have been.
    let fifth = RATE / 5;
    let from = usize::try_from(healed.duration_since(begin).as_millis()).unwrap() / 200 + 1;
    let moment = |piece: usize| begin + SignedDuration::from_millis(200 * piece as i64);
    let late = |piece: usize| {
        let hit = *find(&clip[piece * fifth..(piece + 1) * fifth], &heard.samples).first()?;
        Some((heard.wall(hit.at) - i64::try_from(moment(piece).as_nanosecond()).unwrap()) as f64 / 1e6)
    };
    let places: Vec<(usize, f64)> =
        (from..LONG * 5 - 1).filter_map(|piece| late(piece).map(|late| (piece, late))).collect();
    let first = places.first().unwrap_or_else(|| panic!("{name}: it did not come back: {entry:#}"));
    let back = moment(first.0).duration_since(healed).as_secs_f64();
    let mut off: Vec<f64> = places.iter().map(|(_, late)| late.abs()).collect();
    off.sort_by(f64::total_cmp);
    let off = off[off.len() / 2];
    println!(
        "{name}: back after {back:.1} s, {off:.2} ms from its place, {:.1} % of a core, {lines} lines",
        share * 100.0
    );
    assert!(back <= BACK, "{name}: back after {back} s");
    assert!(places.len() * 5 >= (LONG * 5 - first.0) * 3, "{name}: it stays: {places:?}");
    assert!(off < 4.0, "{name}: where the clock says: {places:?}");
    assert!(lines < 50, "{name}: {lines} lines");
    assert!(share < 0.05, "{name}: {share} of a core");
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    Told {
        outcome: text("outcome"),
        reason: text("reason"),
        note: text("note"),
        heard_ms: entry["heard_ms"].as_i64().unwrap(),
    }
}

/// Seconds of processor time that daemon and speaker have used, by process.
fn busy(village: &Village) -> Vec<(u32, f64)> {
    let speaker = village.speaker().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    [Some(village.daemon()), speaker].into_iter().flatten().map(|pid| (pid, used(pid))).collect()
}

fn busy_since(village: &Village, before: Vec<(u32, f64)>) -> f64 {
    let was = |pid| before.iter().find(|(other, _)| *other == pid).map_or(0.0, |(_, used)| *used);
    busy(village).into_iter().map(|(pid, used)| used - was(pid)).sum()
}

fn used(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // Ticks of a hundredth of a second, in user and in kernel mode.
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn lost_seconds(told: &Told) -> f64 {
    LONG as f64 - told.heard_ms as f64 / 1000.0
}

#[test]
fn a_sound_server_that_is_killed() {
    let told =
        around("server killed", Setup::default(), |village| village.server.vanish(), |village| village.server.appear());
    assert_eq!((told.outcome.as_str(), told.reason.as_str()), ("partial", "device-lost"));
    assert!((3.0..8.0).contains(&lost_seconds(&told)), "{} ms heard", told.heard_ms);
}

#[test]
fn a_sound_server_that_stands_still() {
    let signal = |village: &Village, signal| kill_process(village.server.pid(), signal).unwrap();
    let told = around(
        "server stopped",
        Setup::default(),
        |village| signal(village, Signal::STOP),
        |village| signal(village, Signal::CONT),
    );
    assert_eq!((told.outcome.as_str(), told.reason.as_str()), ("partial", "device-lost"));
    assert!((3.0..8.0).contains(&lost_seconds(&told)), "{} ms heard", told.heard_ms);
}

#[test]
fn a_sink_that_is_taken_away() {
    let told =
        around("sink removed", Setup::default(), |village| village.server.unplug(), |village| village.server.plug());
    assert_eq!((told.outcome.as_str(), told.reason.as_str()), ("partial", "device-lost"));
    assert!((3.0..8.0).contains(&lost_seconds(&told)), "{} ms heard", told.heard_ms);
}

#[test]
fn a_sink_that_is_suspended() {
    let control = |village: &mut Village, to| village.server.control(&["suspend-sink", SINK, to]);
    let told =
        around("sink suspended", Setup::default(), |village| control(village, "1"), |village| control(village, "0"));
    // It is woken at the next look of the witness.
    assert!(lost_seconds(&told) < 3.0, "{} ms heard", told.heard_ms);
    assert!(told.note.contains("挂起"), "{}", told.note);
}

#[test]
fn a_client_that_is_muted() {
    let mute = |village: &mut Village| {
        let inputs = village.server.ask(&["list", "short", "sink-inputs"]);
        let input = inputs.split_whitespace().next().expect("our stream").to_owned();
        village.server.control(&["set-sink-input-mute", &input, "1"]);
    };
    let told = around("client muted", Setup::default(), mute, |_| {});
    assert_eq!(told.outcome, "played");
    assert!(told.note.contains("静音") && told.note.contains("后已恢复"), "{}", told.note);
}

#[test]
fn another_default() {
    let setup = Setup { output: r#"["default"]"#, ..Setup::default() };
    let switch = |village: &mut Village| {
        village.server.control(&["load-module", "module-null-sink", "sink_name=other"]);
        village.server.control(&["set-default-sink", "other"]);
    };
    let back = |village: &mut Village| village.server.control(&["set-default-sink", SINK]);
    let told = around("default switched", setup, switch, back);
    assert_eq!(told.outcome, "played", "{}", told.reason);
}

#[test]
fn a_speaker_that_gets_no_processor() {
    let freeze = |village: &mut Village| kill_process(village.speaker().expect("a speaker"), Signal::STOP).unwrap();
    // Long before it would be thawed the daemon has replaced it.
    let told = around("speaker frozen", Setup::default(), freeze, |_| {});
    assert_eq!(told.outcome, "partial");
    assert!(["device-lost", "crash"].contains(&told.reason.as_str()), "{}", told.reason);
    assert!(lost_seconds(&told) < 8.0, "{} ms heard", told.heard_ms);
}
