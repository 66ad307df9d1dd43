//! The same sound in every format begins on the same moment, and what cannot be decoded says what to do.

use super::{Folder, encoded, flac, ingest, is_sentence, prepared_samples, tone, wav};
use dalaba::ingest::Refused;

/// Where the clicks are, in milliseconds.
const CLICKS: [u64; 3] = [100, 1000, 1900];

/// The click track, in milliseconds.
const LENGTH: u64 = 2000;

/// Clicks over a faint tone: with silence before the first click, an encoder's delay would be trimmed as silence.
fn clicks() -> Vec<i16> {
    let rate = u64::from(super::RATE);
    let sound = |frame: u64| {
        let faint = 600.0 * (frame as f32 * 0.043).sin();
        let since =
            CLICKS.iter().find_map(|click| frame.checked_sub(click * rate / 1000).filter(|since| *since < rate / 100));
        faint + since.map_or(0.0, |since| 25_000.0 * (since as f32 * 0.142).cos())
    };
    (0..LENGTH * rate / 1000).map(|frame| sound(frame) as i16).collect()
}

/// Returns the frames at which a click begins.
fn onsets(samples: &[i32]) -> Vec<u64> {
    let mut onsets: Vec<u64> = Vec::new();
    for frame in (0..).zip(samples).filter(|(_, sample)| sample.abs() > 8000).map(|(frame, _)| frame) {
        if onsets.last().is_none_or(|last| frame > last + 4800) {
            onsets.push(frame);
        }
    }
    onsets
}

#[test]
fn every_format_begins_where_the_sound_did() {
    let folder = Folder::new();
    let original = wav(&clicks());
    // Whether the file says how long the sound is, or holds whole packets of it.
    let made: [(&str, &[&str], bool); 20] = [
        ("mp3", &["-b:a", "128k"], true),
        ("mp3", &["-q:a", "4", "-ac", "2"], true),
        ("mp3", &["-b:a", "64k", "-write_xing", "0"], false),
        ("mp2", &["-b:a", "128k"], false),
        ("m4a", &["-b:a", "128k"], true),
        ("m4a", &["-b:a", "128k", "-ar", "48000", "-movflags", "+faststart"], true),
        ("m4a", &["-b:a", "64k", "-ar", "22050", "-ac", "2"], true),
        ("m4a", &["-b:a", "128k", "-movflags", "frag_keyframe+empty_moov"], false),
        ("3gp", &["-c:a", "aac"], true),
        ("aac", &["-b:a", "128k"], false),
        ("ogg", &["-c:a", "libvorbis"], true),
        ("ogg", &["-c:a", "flac"], true),
        ("opus", &["-c:a", "libopus"], true),
        ("opus", &["-c:a", "libopus", "-application", "voip", "-frame_duration", "60", "-b:a", "16k"], true),
        ("flac", &["-ac", "2", "-sample_fmt", "s32"], true),
        ("aiff", &[], true),
        ("wav", &["-c:a", "pcm_u8"], true),
        ("wav", &["-c:a", "pcm_f32le", "-ar", "96000"], true),
        ("wav", &["-c:a", "pcm_alaw", "-ar", "8000"], true),
        ("wav", &["-c:a", "adpcm_ima_wav"], false),
    ];
    let made = made
        .into_iter()
        .map(|(kind, options, says)| (format!("{kind} {options:?}"), kind, encoded(&original, kind, options), says));
    let own = [("wav", original.clone()), ("flac", flac(&clicks()))];
    for (name, kind, bytes, says) in own.into_iter().map(|(kind, bytes)| (kind.into(), kind, bytes, true)).chain(made) {
        let out = folder.0.path().join("ready");
        let _ = std::fs::remove_file(&out);
        let clip = ingest(&folder.write(&format!("clicks.{kind}"), &bytes), Some(&out))
            .unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let samples = prepared_samples(&out);
        let onsets = onsets(&samples);
        let expected = CLICKS.map(|click| click * 48);
        assert!(
            onsets.len() == expected.len()
                && onsets.iter().zip(expected).all(|(onset, expected)| onset.abs_diff(expected) <= 48),
            "{name}: clicks at {:?} ms",
            onsets.iter().map(|onset| *onset as f64 / 48.0).collect::<Vec<_>>()
        );
        // What carries no length is as long as its last packet.
        let most = if says { 2 } else { 70 };
        assert!(
            clip.duration_ms.abs_diff(LENGTH) <= most && clip.frames.abs_diff(LENGTH * 48) <= most * 48,
            "{name}: {} ms, {} frames",
            clip.duration_ms,
            clip.frames
        );
    }
}

#[test]
fn a_short_clip_is_brought_to_a_fixed_level() {
    let folder = Folder::new();
    for milliseconds in [5, 50, 200, 390] {
        let mut sound = tone(0.0);
        sound.extend(tone(1.0)[11_025..].iter().take(milliseconds * 44_100 / 1000));
        let clip = folder.ingest("short.wav", &wav(&sound[22_050..])).unwrap();
        assert_eq!((clip.loudness_lufs, clip.mix_lufs), (None, None), "{milliseconds} ms");
        // A peak of −12.25 dBFS, brought to −6.
        let decibels = 20.0 * clip.gain(-16.0).log10();
        assert!((decibels - 6.25).abs() < 0.3, "{milliseconds} ms: {decibels} dB");
    }
}

#[test]
fn what_cannot_be_decoded_says_what_to_do() {
    let folder = Folder::new();
    let original = wav(&tone(0.5));
    let made: [(&str, &[&str], &str); 6] = [
        ("wma", &["-c:a", "wmav2"], "WMA"),
        ("m4a", &["-c:a", "alac"], "ALAC"),
        ("webm", &["-c:a", "libopus"], "WebM"),
        ("ac3", &["-c:a", "ac3"], "认不出"),
        ("wav", &["-c:a", "libmp3lame"], "编码"),
        ("caf", &["-c:a", "pcm_s16be"], "CAF"),
    ];
    let mut files: Vec<(&str, Vec<u8>, &str)> =
        made.into_iter().map(|(kind, options, word)| (kind, encoded(&original, kind, options), word)).collect();
    files.push(("amr", b"#!AMR\n\x3c\x91\x17\x16".repeat(100), "AMR"));
    files.push(("amr", b"#!AMR-WB\n\x04\x91\x17\x16".repeat(100), "AMR"));
    let mut he = encoded(&original, "m4a", &["-b:a", "64k"]);
    // What the decoder is told: AAC-LC at 44.1 kHz, and instead HE-AAC of 22.05 kHz.
    let told = he.windows(5).position(|bytes| bytes == b"\x12\x08\x56\xe5\0").unwrap();
    he[told..told + 5].copy_from_slice(b"\x2b\x8a\x08\0\0");
    files.push(("m4a", he, "HE-AAC"));
    for (kind, bytes, word) in files {
        let refused = folder.ingest(&format!("sound.{kind}"), &bytes).expect_err(word);
        assert!(is_sentence(&refused) && refused.to_string().contains(word), "{kind}, {word}: {refused}");
        assert!(matches!(refused, Refused::Unsupported { .. } | Refused::Unknown), "{kind}, {word}: {refused}");
    }
}
