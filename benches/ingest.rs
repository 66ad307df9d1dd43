//! Import as the daemon does it, a child for each file, in every format: with the prepared file, and measured alone.
//!
//! An element is a second of sound: 300 elem/s is 300 times as fast as it sounds. Formats that this crate writes none of
//! are made by ffmpeg and left out where there is none. `scripts/bench-ingest` holds import against ffmpeg.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flac_codec::encode::{FlacSampleWriter, Options};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const RATE: u32 = 44_100;
const SECONDS: u32 = 60;

/// Two channels of something like speech: a low voice in syllables, and breath.
fn speech() -> Vec<i16> {
    let mut noise = 1u32;
    let mut sample = |frame: u32, pitch: f32| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = frame as f32 / RATE as f32;
        let syllable = (at * 4.0 * std::f32::consts::PI).sin().powi(2);
        let voice: f32 = (1..20).map(|n| (at * pitch * n as f32 * std::f32::consts::TAU).sin() / n as f32).sum();
        (syllable * (7000.0 * voice + (noise >> 22) as f32)) as i16
    };
    (0..RATE * SECONDS).flat_map(|frame| [sample(frame, 120.0), sample(frame, 121.0)]).collect()
}

/// Writes the sound as FLAC.
fn flac(file: &Path, samples: &[i16]) {
    let mut writer = FlacSampleWriter::create(file, Options::default(), RATE, 16, 2, None).expect("a new file");
    let samples: Vec<i32> = samples.iter().map(|sample| i32::from(*sample)).collect();
    writer.write(&samples).expect("room for a minute");
    writer.finalize().expect("room for a minute");
}

/// Writes the sound as WAV.
fn wav(file: &Path, samples: &[i16]) {
    let bytes = RATE * SECONDS * 4;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend(RATE.to_le_bytes());
    wav.extend((RATE * 4).to_le_bytes());
    wav.extend(b"\x04\0\x10\0data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(file, wav).expect("room for a minute");
}

/// The same minute in each format.
fn files(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let samples = speech();
    let mut files = vec![("wav", folder.join("a.wav")), ("flac", folder.join("a.flac"))];
    wav(&files[0].1, &samples);
    flac(&files[1].1, &samples);
    for (kind, codec) in [("mp3", "libmp3lame"), ("m4a", "aac"), ("ogg", "libvorbis"), ("opus", "libopus")] {
        let made = folder.join("a").with_extension(kind);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(&files[0].1).args(["-c:a", codec]).arg(&made);
        if ffmpeg.status().is_ok_and(|status| status.success()) {
            files.push((kind, made));
        }
    }
    files
}

fn importing(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ready = folder.path().join("ready");
    let files = files(folder.path());
    for (name, writes) in [("import", true), ("measure", false)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(u64::from(SECONDS))).sample_size(10);
        for (kind, file) in &files {
            group.bench_with_input(BenchmarkId::from_parameter(kind), file, |bencher, file| {
                bencher.iter(|| {
                    let mut child = Command::new(env!("CARGO_BIN_EXE_dalaba"));
                    child.arg("ingest-child").arg(file).stdout(Stdio::null());
                    if writes {
                        // Of the run before; there is none before the first.
                        let _ = std::fs::remove_file(&ready);
                        child.arg("--out").arg(&ready);
                    }
                    assert!(child.status().expect("our own program").success(), "{kind} is refused");
                });
            });
        }
    }
}

criterion_group!(benches, importing);
criterion_main!(benches);
