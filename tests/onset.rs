//! When sound is in the air, by the wall clock, at the monitor of a null sink: starts, clicks, stops, emergencies.
//!
//! What is held here are moments of samples against a schedule, not how fast anything runs. A figure during which the
//! sound card of this machine ran dry proves nothing and is taken again, once. `DALABA_PROVE=1` takes the full counts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/child.rs"]
mod child;
mod support;

use child::{Speaker, playout, prepared};
use dalaba::{
    clock,
    plan::OccurrenceId,
    schedule::Band,
    speaker::protocol::{Order, Playout, Word},
};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use support::{
    Village,
    monitor::{Heard, Monitor},
    rig as sound,
    rig::{RATE, SINK, SoundServer},
    soon,
    wave::{melody, mix},
};

const MILLI: i64 = 1_000_000;

fn is_proof() -> bool {
    std::env::var_os("DALABA_PROVE").is_some()
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap()
}

fn ahead(millis: i64, nanos: u64) -> Timestamp {
    clock::wall() + SignedDuration::from_millis(millis) + SignedDuration::from_nanos(nanos as i64)
}

fn named(name: usize, playout: Playout) -> Playout {
    Playout { occurrence: OccurrenceId::from(format!("manual/{name}")), ..playout }
}

/// A beat that is loud from its first sample on.
fn beat() -> Vec<f32> {
    (0..RATE / 5).map(|at| if at / 24 % 2 == 0 { 0.5 } else { -0.5 }).collect()
}

/// The figures of a measurement, in nanoseconds: median, second worst, worst, each by its size.
fn figures(what: &str, errors: &[i64]) -> (i64, i64, i64) {
    let mut sizes: Vec<i64> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_unstable();
    let (median, second, worst) =
        (sizes[sizes.len() / 2], sizes[sizes.len().saturating_sub(2)], sizes[sizes.len() - 1]);
    let millis = |nanos: i64| nanos as f64 / 1e6;
    println!(
        "{what}: n {}, |error| p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        errors.len(),
        millis(median),
        millis(second),
        millis(worst)
    );
    (median, second, worst)
}

/// Waits until an announcement has ended; returns whether the sound card ran dry meanwhile.
fn plays_out(speaker: &mut Speaker) -> bool {
    let mut ran_dry = false;
    loop {
        match speaker.word() {
            Word::Ended { .. } => return ran_dry,
            Word::Underrun { .. } => ran_dry = true,
            _ => {}
        }
    }
}

/// A server that has played silence for so long that its latency has settled.
fn settled(folder: &Path, speakers: &mut [&mut Speaker], monitor: &Monitor) {
    let silence = vec![0.0; RATE / 10];
    for (name, speaker) in speakers.iter_mut().enumerate() {
        let segments = vec![prepared(folder, &format!("silence-{name}.flac"), &silence, 1.0)];
        speaker.order(Order::Play(playout(segments, ahead(500, 0))));
        plays_out(speaker);
    }
    monitor.wait(RATE * 3);
}

#[test]
fn a_start_is_in_the_air_at_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let monitor = Monitor::start(&server.socket(), SINK);
    settled(folder.path(), &mut [&mut speaker], &monitor);
    let beat = prepared(folder.path(), "beat.flac", &beat(), 1.0);
    let mut errors = Vec::new();
    let mut again = 0;
    let count = if is_proof() { 60 } else { 8 };
    while errors.len() < count {
        let start = ahead(1000, mix(errors.len() as u64 + 100 * again) % 50_000_000);
        speaker.order(Order::Play(named(errors.len(), playout(vec![beat.clone()], start))));
        let ran_dry = plays_out(&mut speaker);
        monitor.wait(RATE / 5);
        let error = monitor.heard().onset(nanos(start), 0.2).expect("it is heard");
        if ran_dry && again < count as u64 {
            again += 1;
            continue;
        }
        errors.push(error);
    }
    println!("{again} taken again: the sound card ran dry");
    let (_, second, worst) = figures("start", &errors);
    assert!(second <= MILLI && worst <= 2 * MILLI, "{errors:?}");
}

#[test]
fn two_stations_with_one_schedule_start_together() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    server.control(&["load-module", "module-null-sink", "sink_name=other", "rate=48000", "channels=2"]);
    let (mut one, mut other) = (Speaker::on(&server, SINK), Speaker::on(&server, "other"));
    let monitors = [Monitor::start(&server.socket(), SINK), Monitor::start(&server.socket(), "other")];
    settled(folder.path(), &mut [&mut one, &mut other], &monitors[0]);
    let beat = prepared(folder.path(), "beat.flac", &beat(), 1.0);
    let mut apart = Vec::new();
    for round in 0..if is_proof() { 30 } else { 4 } {
        for attempt in 0..2 {
            let start = ahead(1500, mix(round) % 50_000_000);
            for speaker in [&mut one, &mut other] {
                speaker.order(Order::Play(playout(vec![beat.clone()], start)));
            }
            let ran_dry = plays_out(&mut one) | plays_out(&mut other);
            let onset = |monitor: &Monitor| {
                monitor.wait(RATE / 5);
                monitor.heard().onset(nanos(start), 0.2).expect("it is heard")
            };
            let difference = onset(&monitors[0]) - onset(&monitors[1]);
            if !ran_dry || attempt == 1 {
                apart.push(difference);
                break;
            }
        }
    }
    let (.., worst) = figures("two stations apart", &apart);
    assert!(worst <= MILLI, "{apart:?}");
}

#[test]
fn a_stop_is_silence_and_what_presses_more_is_heard_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let monitor = Monitor::start(&server.socket(), SINK);
    settled(folder.path(), &mut [&mut speaker], &monitor);
    let long = prepared(folder.path(), "long.flac", &melody(5, 20.0), 1.0);
    let urgent = prepared(folder.path(), "urgent.flac", &vec![0.95; RATE / 4], 1.0);
    let (mut stops, mut starts) = (Vec::new(), Vec::new());
    for round in 0..if is_proof() { 40 } else { 6 } {
        let start = ahead(600, 0);
        speaker.order(Order::Play(named(round, playout(vec![long.clone()], start))));
        while !matches!(speaker.word(), Word::Progress { .. }) {}
        monitor.wait(RATE / 10 + mix(round as u64) as usize % 4800);
        let asked = clock::wall();
        speaker.order(Order::Stop { occurrence: OccurrenceId::from(format!("manual/{round}")) });
        plays_out(&mut speaker);
        monitor.wait(RATE / 2);
        let heard = monitor.heard();
        let last = heard.samples.iter().rposition(|sample| sample.abs() > 0.001).unwrap();
        stops.push(heard.wall(last) - nanos(asked));

        // As the daemon does for an emergency: the one is stopped and the other begins now.
        speaker.order(Order::Play(named(1000 + round, playout(vec![long.clone()], ahead(600, 0)))));
        while !matches!(speaker.word(), Word::Progress { .. }) {}
        let asked = clock::wall();
        speaker.order(Order::StopAll);
        let emergency = Playout { band: Band::Emergency, ..playout(vec![urgent.clone()], asked) };
        speaker.order(Order::Play(named(2000 + round, emergency)));
        plays_out(&mut speaker);
        plays_out(&mut speaker);
        monitor.wait(RATE / 2);
        let heard = monitor.heard();
        let from = heard.at(nanos(asked));
        let first = heard.samples[from..].iter().position(|sample| *sample > 0.8).expect("it is heard");
        starts.push(heard.wall(from + first) - nanos(asked));
    }
    let (.., slowest) = figures("stop to silence", &stops);
    assert!(slowest <= 150 * MILLI, "{stops:?}");
    let (.., slowest) = figures("order to the first sample of what presses more", &starts);
    assert!(slowest <= 300 * MILLI, "{starts:?}");
}

#[test]
fn an_emergency_by_command_is_heard_over_what_sounds() {
    let mut village = Village::new();
    village.clip("long.wav", &melody(3, 30.0)).clip("alarm.wav", &vec![0.95; RATE]).start();
    let monitor = Monitor::start(&village.server.socket(), SINK);
    let begin = soon(4);
    let rule = "[announcement.long]\nplay = [\"long.wav\"]\n[[rule]]\nplay = \"long\"\nat = ";
    village.schedule("daily", &format!("{rule}[\"{}\"]\n", support::at(begin)));
    support::sleep_until(begin + SignedDuration::from_secs(3));
    let asked = clock::wall();
    village.dalaba(["play", "alarm.wav", "--emergency", "--note", "山洪"]).ok();
    village.entries("alarm.wav", 1);
    let heard = monitor.heard();
    let from = heard.at(nanos(asked));
    let first = heard.samples[from..].iter().position(|sample| *sample > 0.7).expect("it is heard");
    let (.., took) = figures("command to the first sample", &[heard.wall(from + first) - nanos(asked)]);
    assert!(took <= 300 * MILLI, "with the start of the command's own process");
}

#[test]
fn a_long_clip_is_held_to_the_clock_on_a_sink_that_runs_fast() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::fast(folder.path(), 200);
    let mut speaker = Speaker::ready(&server);
    let monitor = Monitor::start(&server.socket(), SINK);
    settled(folder.path(), &mut [&mut speaker], &monitor);
    let seconds = if is_proof() { 600 } else { 40 };
    let click = |at: usize| if at % RATE < 48 { 0.5 } else { 0.0 };
    let clicks: Vec<f32> = (0..seconds * RATE).map(click).collect();
    let segment = prepared(folder.path(), "clicks.flac", &clicks, 1.0);
    let start = ahead(1000, 0);
    speaker.order(Order::Play(playout(vec![segment], start)));
    let mut dry = Vec::new();
    loop {
        match speaker.word() {
            Word::Ended { .. } => break,
            Word::Underrun { .. } => dry.push(nanos(clock::wall())),
            _ => {}
        }
    }
    monitor.wait(RATE / 2);
    let heard = monitor.heard();
    println!("the sink ran {:.0} ppm fast; {} times it ran dry", drift(&heard), dry.len());
    let moment = |second: usize| nanos(start) + second as i64 * 1000 * MILLI;
    // Two seconds after frames went missing a click must be in its place again.
    let is_disturbed = |at: i64| dry.iter().any(|dry| (dry - 1000 * MILLI..dry + 3000 * MILLI).contains(&at));
    let settled: Vec<usize> = (10..seconds).filter(|second| !is_disturbed(moment(*second))).collect();
    let errors: Vec<i64> =
        settled.iter().map(|second| heard.onset(moment(*second), 0.1).expect("every click is heard")).collect();
    assert!(errors.len() >= seconds / 2, "this machine is too busy: {} clicks undisturbed", errors.len());
    let (.., worst) = figures("clicks", &errors);
    assert!(worst <= MILLI, "{errors:?}");
}

/// How fast a sink runs, in millionths: its samples against the wall clock.
fn drift(heard: &Heard) -> f64 {
    let (first, last) = (RATE * 3, heard.samples.len() - RATE);
    let took = (heard.wall(last) - heard.wall(first)) as f64;
    ((last - first) as f64 * 1e9 / RATE as f64 / took - 1.0) * 1e6
}
