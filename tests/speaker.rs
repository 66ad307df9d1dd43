//! The child `dalaba speaker` with a real sound server: orders in, sound out.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "support/child.rs"]
mod child;
#[path = "support/rig.rs"]
mod sound;

use child::{Speaker, playout, prepared};
use dalaba::{
    clock,
    outcome::Evidence,
    speaker::protocol::{End, Level, Order, Playout, Word},
};
use jiff::{SignedDuration, Timestamp};
use sound::{RATE, SoundServer, find, noise, peak};
use std::process::Command;

fn soon() -> Timestamp {
    clock::wall() + SignedDuration::from_millis(2500)
}

#[test]
fn an_announcement_sounds_complete_in_order_at_its_level_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let (chime, voice) = (noise(1, RATE / 2), noise(2, 2 * RATE + 123));
    let segments =
        vec![prepared(folder.path(), "chime.flac", &chime, 1.0), prepared(folder.path(), "voice.flac", &voice, 0.5)];
    let mut speaker = Speaker::ready(&server);
    let recording = server.record();
    let playout = Playout { gain: 0.5, ..playout(segments, soon()) };
    let (id, frames) = (playout.occurrence.clone(), playout.frames());
    speaker.order(Order::Play(playout));
    let Word::Started { occurrence, error_us, .. } = speaker.news() else { panic!("starts") };
    assert_eq!(occurrence, id);
    assert!(error_us.abs() <= 30, "{error_us} µs");
    let ended = speaker.news();
    let Word::Ended { frames: accepted, end, level: Level { peak_dbfs, rms_dbfs }, .. } = &ended else {
        panic!("{ended:?}")
    };
    assert_eq!((*accepted, *end), (frames, End::Finished));
    assert!((-30.0..-6.0).contains(peak_dbfs), "{peak_dbfs}");
    let energy = |samples: &[f32], gain: f32| samples.iter().map(|sample| (sample * gain).powi(2)).sum::<f32>();
    let mean = (energy(&chime, 0.5) + energy(&voice, 0.25)) / (chime.len() + voice.len()) as f32;
    assert!((rms_dbfs - 10.0 * mean.log10()).abs() < 0.1, "{rms_dbfs}, not {}", 10.0 * mean.log10());

    let heard = recording.wait(RATE / 2);
    let (first, second) = (find(&heard, &chime), find(&heard, &voice));
    for (name, part, gain_db) in [("chime", first, -6.02), ("voice", second, -12.04)] {
        assert!(part.correlation > 0.9, "{name}: {part:?}");
        assert!((part.gain_db - gain_db).abs() < 0.5, "{name}: {part:?}");
    }
    // Holding it to the clock may put a frame in or leave one out.
    assert!((second.at - first.at).abs_diff(chime.len()) <= 3, "no gap between chime and voice");
    let (before, after) = (first.at - 3, second.at + voice.len() + 3);
    assert!(peak(&heard[..before]) == 0.0 && peak(&heard[after..]) == 0.0, "and nothing else");
}

#[test]
fn a_stop_silences() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let voice = noise(3, 20 * RATE);
    let segments = vec![prepared(folder.path(), "voice.flac", &voice, 1.0)];
    let mut speaker = Speaker::ready(&server);
    let recording = server.record();
    speaker.order(Order::Play(playout(segments, clock::wall())));
    assert!(matches!(speaker.news(), Word::Started { .. }));
    recording.wait(RATE / 2);
    assert!(peak(&recording.samples()) > 0.1);
    let since = recording.samples().len();
    speaker.order(Order::StopAll);
    let Word::Ended { end, frames, .. } = speaker.news() else { panic!("ends") };
    assert_eq!(end, End::Stopped);
    assert!(frames > 0 && frames < voice.len() as u64);
    let heard = recording.wait(RATE);
    let last = heard.iter().rposition(|sample| *sample != 0.0).unwrap();
    assert!(last - since < RATE / 2, "silent {} ms after the order", (last - since) / 48);
}

#[test]
fn when_the_daemon_is_gone_it_falls_silent_and_exits() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let segments = vec![prepared(folder.path(), "voice.flac", &noise(4, 20 * RATE), 1.0)];
    let mut speaker = Speaker::ready(&server);
    let recording = server.record();
    speaker.order(Order::Play(playout(segments, clock::wall())));
    assert!(matches!(speaker.news(), Word::Started { .. }));
    recording.wait(RATE / 4);
    drop(speaker.stdin.take());
    let since = recording.samples().len();
    assert_eq!(speaker.child.wait().unwrap().code(), Some(0));
    let heard = recording.wait(RATE);
    let last = heard.iter().rposition(|sample| *sample != 0.0).unwrap();
    assert!(last < since + RATE / 2, "silent after {} ms", (last - since) / 48);
}

#[test]
fn it_waits_for_a_sound_server_and_takes_it_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = SoundServer::absent(folder.path());
    let mut speaker = Speaker::start(&server);
    assert!(matches!(speaker.word(), Word::NoDevice { .. }));
    speaker.order(Order::Ping);
    assert_eq!(speaker.word(), Word::Pong, "told once, and still there");
    server.appear();
    assert!(matches!(speaker.word(), Word::Ready { .. }));
}

#[test]
fn after_the_death_of_the_server_it_re_enters_where_the_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = SoundServer::start(folder.path());
    let voice = noise(5, 12 * RATE);
    let segments = vec![prepared(folder.path(), "voice.flac", &voice, 1.0)];
    let mut speaker = Speaker::ready(&server);
    let start = soon();
    speaker.order(Order::Play(playout(segments, start)));
    assert!(matches!(speaker.news(), Word::Started { .. }));
    assert!(matches!(speaker.word(), Word::Progress { .. }));
    server.vanish();
    assert!(matches!(speaker.news(), Word::NoDevice { .. }));
    server.appear();
    let recording = server.record();
    assert!(matches!(speaker.news(), Word::Ready { .. }));
    let Word::Started { error_us, .. } = speaker.news() else { panic!("re-enters") };
    assert!(error_us.abs() < 3000, "{error_us} µs");
    let Word::Ended { frames, end, at, .. } = speaker.news() else { panic!("ends") };
    assert_eq!(end, End::DeviceLost);
    assert!(frames > 0 && frames < voice.len() as u64);
    let late = at.duration_since(start + SignedDuration::from_secs(12));
    assert!(late.abs() < SignedDuration::from_millis(5), "{late}");
    // Holding it to the clock may put a frame in or leave one out between two pieces, seldom within one.
    let heard = recording.wait(RATE / 4);
    let pieces: Vec<_> = voice[11 * RATE..].chunks(RATE / 10).map(|piece| find(&heard, piece)).collect();
    let alike = pieces.iter().filter(|piece| piece.correlation > 0.9).count();
    assert!(alike >= 7, "{alike} of 10: {pieces:?}");
}

#[test]
fn the_outputs_are_listed_by_name_and_a_test_tone_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let devices = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dalaba"));
        command.arg("devices").args(arguments).envs(server.env()).output().unwrap()
    };
    let listed = devices(&["--json"]);
    let line = r#"{"name":"pulse:village","title":"#;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|found| found.starts_with(line) && found.ends_with(r#""default":true}"#)), "{listed}");

    let recording = server.record();
    assert!(devices(&["--test", "default"]).status.success());
    let heard = recording.wait(RATE / 4);
    let sounding = heard.iter().filter(|sample| sample.abs() > 0.05).count();
    assert!(sounding > RATE, "{sounding} samples of tone");
    for wrong in ["pulse:no-such-sink", "alsa:null", "nonsense"] {
        let refused = devices(&["--test", wrong]);
        assert!(!refused.status.success(), "{wrong}");
        assert!(String::from_utf8(refused.stderr).unwrap().contains(wrong), "{wrong}");
    }
}

#[test]
fn a_sink_that_goes_and_comes_back_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let segments = vec![prepared(folder.path(), "voice.flac", &noise(6, 3 * RATE), 1.0)];
    for round in 0..2 {
        server.unplug();
        assert!(matches!(speaker.news(), Word::NoDevice { .. }), "{round}");
        server.plug();
        assert!(matches!(speaker.news(), Word::Ready { .. }), "{round}");
    }
    speaker.order(Order::Play(playout(segments, soon())));
    assert!(matches!(speaker.news(), Word::Started { .. }));
    assert!(matches!(speaker.news(), Word::Ended { end: End::Finished, .. }));
}

#[test]
fn a_muted_output_is_noticed_put_right_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let recording = server.record();
    let mut id = 0;
    let mut play = |speaker: &mut Speaker, spoil: &[&str]| {
        id += 1;
        let name = format!("voice-{id}.flac");
        let segments = vec![prepared(folder.path(), &name, &noise(id, 6 * RATE), 1.0)];
        speaker.order(Order::Play(playout(segments, clock::wall() + SignedDuration::from_millis(500))));
        let mut faults = Vec::new();
        loop {
            match speaker.news() {
                Word::Started { .. } => server.control(spoil),
                Word::Output { fault } => faults.extend(fault),
                Word::Ended { end, evidence, note, .. } => return (end, evidence, note, faults),
                _ => {}
            }
        }
    };
    let fine = play(&mut speaker, &["set-sink-mute", sound::SINK, "0"]);
    assert_eq!(fine, (End::Finished, Evidence::Monitor, None, Vec::new()), "nothing is wrong");
    for (spoil, words, ends) in [
        (["set-sink-mute", sound::SINK, "1"], "静音", End::Finished),
        (["set-sink-volume", sound::SINK, "0"], "音量", End::Finished),
        // No frame flows while it is suspended.
        (["suspend-sink", sound::SINK, "1"], "挂起", End::DeviceLost),
    ] {
        let (end, evidence, note, faults) = play(&mut speaker, &spoil);
        assert_eq!((end, evidence), (ends, Evidence::Monitor), "{words}: most of it was heard");
        assert!(note.as_ref().is_some_and(|note| note.contains(words) && note.ends_with("（后已恢复）")), "{note:?}");
        assert!(faults.len() == 1 && faults[0].zh.contains(words), "{words}: {faults:?}");
        let heard = recording.samples();
        assert!(peak(&heard[heard.len() - 2 * RATE..]) > 0.1, "{words}: put right");
    }
}

#[test]
fn a_self_test_opens_the_output_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let recording = server.record();
    speaker.order(Order::Test);
    let device = Some(format!("pulse:{}", sound::SINK));
    assert_eq!(speaker.news(), Word::Tested { device, fault: None });
    assert!(peak(&recording.samples()) == 0.0, "nobody is woken");
    server.vanish();
    assert!(matches!(speaker.news(), Word::NoDevice { .. }));
    speaker.order(Order::Test);
    let told = speaker.news();
    assert!(
        matches!(&told, Word::Tested { device: None, fault: Some(fault) } if fault.zh.contains("声音服务")),
        "{told:?}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn opening_and_losing_an_output_again_and_again_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = SoundServer::start(folder.path());
    let mut speaker = Speaker::ready(&server);
    let cycles = if std::env::var_os("DALABA_PROVE").is_some() { 500 } else { 12 };
    let id = speaker.child.id();
    let count = |what: &str| std::fs::read_dir(format!("/proc/{id}/{what}")).unwrap().count();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let mut early = None;
    for cycle in 0..cycles {
        // Another list is another opening; the output stays the same.
        speaker.order(Order::Open {
            outputs: vec![format!("pulse:{}", sound::SINK); 2 - cycle % 2],
            latency_offset_us: 0,
            learned: std::collections::BTreeMap::new(),
            keep_audible: true,
        });
        assert!(matches!(speaker.news(), Word::Ready { .. }), "{cycle}");
        if cycle == (cycles / 2).min(50) {
            early = Some((count("task"), count("fd"), memory()));
        }
    }
    // What was given up is dropped by a thread that ends.
    let (threads, files, kib) = early.unwrap();
    let since = clock::monotonic();
    while (count("task") > threads || count("fd") > files) && since.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("after {cycles} openings: {} threads, {} files, {} KiB", count("task"), count("fd"), memory());
    println!("early on: {threads} threads, {files} files, {kib} KiB");
    assert!(count("task") <= threads && count("fd") <= files, "{} threads, {} files", count("task"), count("fd"));
    // The allocator keeps a pool for each of its first threads, which few openings have not all met yet.
    assert!(memory() < kib + 4096, "{} KiB after {kib}", memory());
}
