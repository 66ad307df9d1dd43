//! What playing costs: the sound callback with none, one and two voices, and reading a prepared clip ahead of it.
//!
//! An element is a frame of 48,000 a second: 48 Melem/s is a thousandth of one core while it sounds.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dalaba::{
    plan::{OccurrenceId, RATE},
    schedule::Band,
    speaker::{
        chain::Chain,
        protocol::{Playout, Segment},
        render::{Command, Drift, Late, Moment, Reading, Renderer, Voice, nanos},
    },
};
use flac_codec::encode::{FlacSampleWriter, Options};
use rtrb::RingBuffer;
use std::hint::black_box;

/// Frames of one callback, as a PulseAudio server asks for them.
const PERIOD: usize = 2048;
/// Callbacks of one run: four seconds of sound.
const CALLBACKS: usize = 100;
/// Of the wall clock as the card starts.
const EPOCH: i64 = 1_800_000_000_000_000_000;

/// A card on time, with so many voices that have sounded for a while.
struct Card {
    renderer: Renderer,
    written: u64,
    out: Vec<f32>,
}

impl Card {
    fn with(voices: u64) -> Self {
        let (mut commands, command_out) = RingBuffer::new(8);
        let (report_in, _) = RingBuffer::new(64);
        let renderer = Renderer::new(0, Drift::default(), command_out, report_in);
        let mut card = Self { renderer, written: 0, out: vec![0.0; PERIOD] };
        let frames = PERIOD * (2 * CALLBACKS);
        for id in 0..voices {
            let (mut producer, samples) = RingBuffer::new(frames);
            for at in 0..frames {
                producer.push((at as f32 * 0.05).sin() * 0.4).expect("room for all");
            }
            let start = Moment::Wall(EPOCH + nanos(PERIOD as u64 * 40));
            let voice = Voice::new(id, samples, frames as u64, start, Late::FromStart, 0.7);
            commands.push(Command::Arm(Box::new(voice))).expect("room for two");
        }
        for _ in 0..60 {
            card.call();
        }
        card
    }

    fn call(&mut self) {
        let steady = nanos(self.written);
        let reading = Reading { wall: EPOCH + steady, steady, delay: nanos(2 * PERIOD as u64) };
        self.renderer.render(&mut self.out, self.written, reading);
        self.written += PERIOD as u64;
    }
}

fn callback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements((PERIOD * CALLBACKS) as u64));
    for voices in [0, 1, 2] {
        group.bench_function(BenchmarkId::new("voices", voices), |bencher| {
            bencher.iter_batched_ref(
                || Card::with(voices),
                |card| {
                    for _ in 0..CALLBACKS {
                        card.call();
                    }
                    black_box(card.out[0])
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("minute.flac");
    let frames = u64::from(RATE) * 60;
    let mut noise = 1_u32;
    let samples: Vec<i32> = (0..frames)
        .map(|at| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((at as f32 * 0.02).sin() * 9_000.0) as i32 + (noise >> 23) as i32
        })
        .collect();
    let mut writer =
        FlacSampleWriter::create(&file, Options::default(), RATE, 16, 1, Some(frames)).expect("a new file");
    writer.write(&samples).expect("room for a minute");
    writer.finalize().expect("room for a minute");
    let playout = Playout {
        occurrence: OccurrenceId::from("manual/1".to_owned()),
        band: Band::Normal,
        segments: vec![Segment { file, frames, gain: 0.8 }],
        start: jiff::Timestamp::UNIX_EPOCH,
        skip_frames: 0,
        gain: 1.0,
        not_after: None,
    };
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(frames)).sample_size(20);
    group.bench_function("prepared", |bencher| bencher.iter(|| black_box(Chain::new(&playout, 0).sum::<f32>())));
    group.finish();
}

criterion_group!(benches, callback, decode);
criterion_main!(benches);
