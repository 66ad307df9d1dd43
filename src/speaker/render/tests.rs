//! A simulated sound card: it plays at its own pace, says when a frame will be heard with some jitter, loses frames,
//! and hands every frame that was heard back.

use super::*;
use proptest::prelude::*;
use rtrb::RingBuffer;

const PERIOD: u64 = 2048;
/// Of the wall clock at monotonic 0.
const EPOCH: i64 = 1_800_000_000_000_000_000;

struct Card {
    renderer: Renderer,
    commands: Producer<Command>,
    reports: Consumer<Report>,
    heard: Vec<f32>,
    /// Monotonic time at which frame 0 was heard.
    zero: i64,
    /// Wall clock less monotonic clock.
    offset: i64,
    jitter: i64,
    seed: u64,
}

impl Card {
    fn new() -> Self {
        let (commands, command_out) = RingBuffer::new(16);
        let (report_in, reports) = RingBuffer::new(16);
        let renderer = Renderer::new(0, command_out, report_in);
        Self { renderer, commands, reports, heard: Vec::new(), zero: 123_456_789, offset: EPOCH, jitter: 0, seed: 7 }
    }

    /// Runs so many callbacks and returns what they reported.
    fn run(&mut self, callbacks: usize) -> Vec<Report> {
        for _ in 0..callbacks {
            let written = self.heard.len() as u64;
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = if self.jitter == 0 { 0 } else { (self.seed >> 33) as i64 % (2 * self.jitter) - self.jitter };
            // The callback comes two periods before its first frame is heard, and the delay says so.
            let delay = nanos(2 * PERIOD);
            let steady = self.zero + nanos(written) - delay;
            // PulseAudio's first callback says nothing of its delay.
            let told = if written == 0 { 0 } else { delay + noise };
            let mut out = vec![0.0; PERIOD as usize];
            let reading = Reading { wall: steady + self.offset, steady, delay: told };
            self.renderer.render(&mut out, written, reading);
            self.heard.extend(out);
        }
        let mut reports = Vec::new();
        while let Ok(report) = self.reports.pop() {
            reports.push(report);
        }
        reports
    }

    /// Arms a voice of constant samples.
    fn arm(&mut self, id: u64, frames: usize, start: Moment, late: Late, change: impl FnOnce(Voice) -> Voice) {
        let (mut producer, samples) = RingBuffer::new(frames.max(1));
        for _ in 0..frames {
            producer.push(0.5).unwrap();
        }
        let voice = change(Voice::new(id, samples, frames as u64, start, late, 1.0));
        assert!(self.commands.push(Command::Arm(Box::new(voice))).is_ok());
    }

    /// Wall time at which a frame is heard.
    fn wall(&self, frame: u64) -> i64 {
        self.zero + nanos(frame) + self.offset
    }

    fn first(&self) -> Option<usize> {
        self.heard.iter().position(|sample| *sample != 0.0)
    }

    fn last(&self) -> Option<usize> {
        self.heard.iter().rposition(|sample| *sample != 0.0)
    }
}

proptest! {
    #[test]
    fn the_first_sample_is_heard_in_its_frame(
        callback in 20u64..60,
        // At the edges of a callback is where off-by-one lives.
        nudge in prop_oneof![Just(0), Just(1), Just(PERIOD - 1), 0..PERIOD],
        jitter in 0i64..300_000,
        seed: u64,
    ) {
        let mut card = Card { jitter, seed, ..Card::new() };
        card.run(10);
        let frame = callback * PERIOD + nudge;
        card.arm(1, 1000, Moment::Wall(card.wall(frame)), Late::FromStart, |voice| voice);
        let reports = card.run(70);
        let first = card.first().unwrap() as i64;
        // The median of jittered delays is off by a share of the jitter; without any it is exact.
        let allowed = 1 + jitter * 48 / 1_000_000 / 2;
        prop_assert!((first - frame as i64).abs() <= allowed, "{first} for {frame}");
        prop_assert_eq!(card.last().unwrap() as i64 - first, 999);
        // Half a frame; and where the estimate moves back over the edge of a callback, what it moved by.
        let started = matches!(reports[0], Report::Started { error, .. } if error.abs() <= 10_417 + jitter / 2);
        prop_assert!(started, "{:?}", reports[0]);
        let finished = matches!(reports[1], Report::Done { close: Close::Finished, .. });
        prop_assert!(finished, "{:?}", reports[1]);
    }
}

#[test]
fn a_step_of_the_wall_clock_moves_what_waits_and_leaves_what_sounds() {
    let mut card = Card::new();
    card.run(10);
    card.arm(1, 40_000, Moment::Wall(card.wall(30_000)), Late::FromStart, |voice| voice);
    card.arm(2, 1_000, Moment::Wall(card.wall(100_000)), Late::FromStart, |voice| voice);
    card.run(10);
    card.offset += nanos(10_000);
    card.run(60);
    let loud: Vec<usize> = (1..card.heard.len()).filter(|at| card.heard[*at] != card.heard[at - 1]).collect();
    assert_eq!(loud, [30_000, 70_000, 90_000, 91_000]);
}

#[test]
fn who_comes_late_begins_or_joins() {
    for (late, by, heard) in [(Late::FromStart, 5_000, 9_000), (Late::Join, 5_000, 4_000), (Late::Join, 9_000, 0)] {
        let mut card = Card::new();
        card.run(10);
        let start = card.wall(card.heard.len() as u64 - by);
        card.arm(1, 9_000, Moment::Wall(start), late, |voice| voice);
        let reports = card.run(10);
        assert_eq!(card.heard.iter().filter(|sample| **sample != 0.0).count(), heard, "{late:?} {by}");
        let close = reports.iter().find_map(|report| match report {
            Report::Done { close, .. } => Some(*close),
            _ => None,
        });
        assert_eq!(close, Some(if heard == 0 { Close::TooLate } else { Close::Finished }));
    }
}

#[test]
fn a_stop_and_the_gate_fade_out_in_their_time() {
    let mut card = Card::new();
    card.run(20);
    card.arm(1, 200_000, Moment::Wall(0), Late::FromStart, |voice| voice);
    card.run(2);
    let stop = card.heard.len();
    assert!(card.commands.push(Command::Stop { voice: 1 }).is_ok());
    card.run(10);
    assert_eq!(card.last(), Some(stop + STOP_FADE as usize - 2), "the last frame of the fade is silence");
    let middle = card.heard[stop + STOP_FADE as usize / 2];
    assert!((middle / 0.5 - DEPTH.sqrt()).abs() < 0.001, "linear in decibels: {middle}");

    let mut card = Card::new();
    card.run(20);
    let gate = 50_001;
    let until = card.wall(gate);
    card.arm(1, 200_000, Moment::Wall(0), Late::FromStart, |voice| voice.not_after(Some(until)));
    let reports = card.run(30);
    assert!(card.heard[gate as usize - 1] == 0.5 && card.heard[gate as usize] < 0.5);
    assert_eq!(card.last(), Some(gate as usize + GAIN_FADE as usize - 2));
    assert!(matches!(reports[1], Report::Done { close: Close::Gate, .. }), "{reports:?}");

    // Past its gate it does not begin.
    card.arm(2, 100, Moment::Wall(0), Late::FromStart, |voice| voice.not_after(Some(until)));
    assert!(matches!(card.run(1)[..], [Report::Done { close: Close::Gate, .. }]));
}

#[test]
fn lost_frames_are_told_and_noise_is_not() {
    let mut card = Card { jitter: 1_000_000, ..Card::new() };
    assert!(card.run(200).is_empty());
    card.jitter = 0;
    card.zero += 20_000_000;
    let jump = card.run(4).pop();
    assert!(matches!(jump, Some(Report::Jump(nanos)) if (nanos - 20_000_000).abs() < 1_000_000), "{jump:?}");
    assert!(card.run(100).is_empty(), "told once");
    let frame = card.heard.len() as u64 + 10_000;
    card.arm(1, 100, Moment::Wall(card.wall(frame)), Late::FromStart, |voice| voice);
    card.run(10);
    assert_eq!(card.first(), Some(frame as usize), "and what follows starts by the new timeline");
}

#[test]
fn a_missing_sample_is_silence_and_not_counted() {
    let mut card = Card::new();
    card.run(20);
    let (mut producer, samples) = RingBuffer::new(10);
    for sample in [0.5, f32::NAN, f32::NAN, 0.5] {
        producer.push(sample).unwrap();
    }
    drop(producer);
    let voice = Voice::new(1, samples, 6, Moment::Wall(0), Late::FromStart, 1.0);
    let meter = voice.meter();
    assert!(card.commands.push(Command::Arm(Box::new(voice))).is_ok());
    let reports = card.run(1);
    assert!(matches!(reports[1], Report::Done { close: Close::Short, .. }), "{reports:?}");
    assert_eq!((meter.frames(), meter.missing(), meter.peak()), (2, 2, 0.5));
    let first = card.first().unwrap();
    assert_eq!(card.heard[first..first + 4], [0.5, 0.0, 0.0, 0.5]);
}

#[test]
fn nothing_reaches_full_scale_and_a_clip_at_its_level_is_left_alone() {
    for (sample, expected) in [(0.89, 0.89), (-0.89, -0.89), (0.0, 0.0)] {
        assert_eq!(limit(sample), expected);
    }
    let mut last = 0.0;
    for step in 0..400 {
        let out = limit(step as f32 / 100.0);
        assert!((last..=1.0).contains(&out), "{step}");
        last = out;
    }
    assert_eq!(limit(-8.0), -limit(8.0));
}

#[test]
fn gain_moves_over_its_fade_and_a_re_entry_fades_in() {
    let mut card = Card::new();
    card.run(20);
    let start = Moment::Steady(card.zero + nanos(45_000));
    card.arm(1, 100_000, start, Late::Join, |voice| voice);
    card.run(10);
    let entry = card.first().unwrap();
    assert_eq!(entry, 45_000);
    assert!(card.heard[entry] < 0.001 && card.heard[entry + ENTRY_FADE as usize] == 0.5);
    let turn = card.heard.len();
    assert!(card.commands.push(Command::Gain { voice: 1, gain: 0.25 }).is_ok());
    card.run(10);
    assert!((card.heard[turn + GAIN_FADE as usize / 2] - 0.5 * 0.5).abs() < 0.001, "half way in decibels");
    assert_eq!(card.heard[turn + GAIN_FADE as usize], 0.125);
}
