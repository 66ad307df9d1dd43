//! Files made to do harm, or harmed: whatever they hold, the answer is bounded sound or a sentence.

use super::{Folder, RATE, encoded, flac, ingest, is_sentence, noise, prepared_samples, proves, wav};
use dalaba::ingest::{Prepared, Refused};
use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A rising tone: no two moments of it are alike.
fn rising(seconds: f32) -> Vec<i16> {
    let frames = (seconds * RATE as f32) as usize;
    let at = |frame: usize| frame as f32 / RATE as f32;
    (0..frames)
        .map(|frame| (8000.0 * ((200.0 + 400.0 * at(frame)) * at(frame) * std::f32::consts::TAU).sin()) as i16)
        .collect()
}

fn aiff(samples: &[i16]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).unwrap();
    let mut file = b"FORM".to_vec();
    file.extend((46 + bytes).to_be_bytes());
    file.extend(b"AIFFCOMM\0\0\0\x12\0\x01");
    file.extend((bytes / 2).to_be_bytes());
    // 44,100 as a number of 80 bits.
    file.extend(b"\0\x10\x40\x0e\xac\x44\0\0\0\0\0\0SSND");
    file.extend((8 + bytes).to_be_bytes());
    file.extend([0; 8]);
    file.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
    file
}

/// The same sound in each format; those that give it back to the sample first.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let sound = rising(2.0);
    let own = [("wav", wav(&sound)), ("flac", flac(&sound)), ("aiff", aiff(&sound))];
    let others: [(&str, &[&str]); 6] = [
        ("mp3", &["-b:a", "64k"]),
        ("m4a", &["-b:a", "64k"]),
        ("aac", &["-b:a", "64k"]),
        ("ogg", &["-c:a", "libvorbis"]),
        ("opus", &["-c:a", "libopus", "-b:a", "32k"]),
        ("mp2", &["-b:a", "96k"]),
    ];
    let made = others.into_iter().map(|(kind, options)| (kind, encoded(&own[0].1, kind, options)));
    own.clone().into_iter().chain(made).collect()
}

/// Judges every case, two at a time.
fn each<T: Sync>(cases: &[T], judge: impl Fn(&Folder, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let folder = Folder::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    judge(&folder, case);
                }
            });
        }
    });
}

/// Returns the samples prepared of these bytes, after a look at everything that is said of them; or the sentence.
fn prepared(folder: &Folder, name: &str, bytes: &[u8]) -> Result<(Prepared, Vec<i32>), Refused> {
    let (file, out) = (folder.write(name, bytes), folder.0.path().join("ready"));
    let _ = std::fs::remove_file(&out);
    match ingest(&file, Some(&out)) {
        Ok(clip) => {
            let samples = prepared_samples(&out);
            assert_eq!(samples.len() as u64, clip.frames, "{name}");
            assert!(clip.frames > 0, "{name}");
            let measured =
                [clip.true_peak_dbtp, clip.mix_dbtp, clip.loudness_lufs.unwrap_or(0.0), clip.mix_lufs.unwrap_or(0.0)];
            assert!(measured.iter().all(|decibels| (-130.0..40.0).contains(decibels)), "{name}: {clip:?}");
            assert!((0.0..1e7).contains(&clip.gain(-16.0)), "{name}: {clip:?}");
            Ok((clip, samples))
        }
        Err(refused) => {
            assert!(is_sentence(&refused), "{name}: {refused}");
            assert!(!matches!(refused, Refused::NoChild { .. } | Refused::NoRoom { .. }), "{name}: {refused}");
            Err(refused)
        }
    }
}

#[test]
fn a_file_cut_short_is_refused_or_is_its_beginning() {
    let step = if proves() { 1 } else { 7 };
    let corpus = corpus();
    let whole: Vec<_> = corpus
        .iter()
        .map(|(kind, bytes)| prepared(&Folder::new(), &format!("whole.{kind}"), bytes).unwrap().1)
        .collect();
    let cases: Vec<(usize, usize)> =
        (0..corpus.len()).flat_map(|file| (step..100).step_by(step).map(move |percent| (file, percent))).collect();
    each(&cases, |folder, (file, percent)| {
        let ((kind, bytes), whole) = (&corpus[*file], &whole[*file]);
        let name = format!("cut-at-{percent}.{kind}");
        let Ok((_, samples)) = prepared(folder, &name, &bytes[..bytes.len() * percent / 100]) else { return };
        assert!(samples.len() <= whole.len(), "{name}");
        if ["wav", "flac", "aiff"].contains(kind) {
            assert!(*percent >= 90, "{name}: accepted");
            // At the cut the resampler meets an edge that the whole does not have.
            let kept = samples.len().saturating_sub(48 * 30);
            let differ = samples.iter().zip(whole).take(kept).position(|(cut, whole)| (cut - whole).abs() > 1);
            assert_eq!(differ, None, "{name} differs from the whole");
        }
    });
}

#[test]
fn what_is_missing_is_said_in_seconds() {
    let folder = Folder::new();
    for (kind, bytes) in [("wav", wav(&rising(3.0))), ("flac", flac(&rising(3.0)))] {
        let half = folder.ingest(&format!("half.{kind}"), &bytes[..bytes.len() / 2]);
        assert_eq!(half, Err(Refused::Truncated { promised_seconds: 3, heard_seconds: 1 }), "{kind}");
    }
}

#[test]
fn garbage_behind_the_sound_does_no_harm() {
    let folder = Folder::new();
    for (kind, mut bytes) in corpus() {
        let whole = folder.ingest(&format!("whole.{kind}"), &bytes).unwrap().duration_ms;
        bytes.extend(noise(5).map(|x| x as u8).take(5000));
        match prepared(&folder, &format!("tail.{kind}"), &bytes) {
            // The last frame may be taken for part of the garbage.
            Ok((clip, _)) => assert!(clip.duration_ms.abs_diff(whole) <= 100, "{kind}: {} ms", clip.duration_ms),
            // A page of Ogg that was cut off and one that never began look alike.
            Err(refused) => assert!(["ogg", "opus"].contains(&kind), "{kind}: {refused}"),
        }
    }
}

#[test]
fn flipped_bits_never_get_past_the_child() {
    let rounds = if proves() { 500 } else { 30 };
    let corpus = corpus();
    let cases: Vec<(usize, u64)> =
        (0..corpus.len()).flat_map(|file| (0..rounds).map(move |round| (file, round))).collect();
    each(&cases, |folder, (file, round)| {
        let (kind, bytes) = &corpus[*file];
        let mut flipped = bytes.clone();
        // Half of them in the header, where they do most harm; one round in three leaves the header alone.
        for (i, x) in noise(*round).take(8).enumerate() {
            let within = if i % 2 == 0 { 0..200 } else { 200..flipped.len() };
            let within = if round % 3 == 0 { 200..flipped.len() } else { within };
            let at = within.start + x as usize % within.len();
            flipped[at] ^= 1 << (x >> 20 & 7);
        }
        let name = format!("flip-{round}.{kind}");
        let Ok((_, samples)) = prepared(folder, &name, &flipped) else { return };
        if *kind == "flac" && round % 3 == 0 {
            // Every frame carries a checksum: one that is damaged is left out, not heard.
            let loudest = samples.iter().map(|sample| sample.abs()).max().unwrap_or(0);
            assert!(loudest < 13_000, "{name}: noise of {loudest}");
        }
    });
}

#[test]
fn numbers_that_are_no_sound_are_not_heard() {
    let folder = Folder::new();
    let floats = |at: &dyn Fn(usize) -> f32| {
        let mut file = wav(&[]);
        let bytes = 4 * RATE;
        file[4..8].copy_from_slice(&(36 + bytes).to_le_bytes());
        file[20] = 3;
        file[28..36].copy_from_slice(b"\x10\xb1\x02\0\x04\0\x20\0");
        file[40..44].copy_from_slice(&bytes.to_le_bytes());
        file.extend((0..RATE as usize).flat_map(|frame| at(frame).to_le_bytes()));
        file
    };
    let tone = |frame: usize| 0.25 * (frame as f32 * 0.06).sin();
    let some = |what: f32| move |frame: usize| if frame == 20_000 { what } else { tone(frame) };
    for what in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e9, -17.0] {
        let (clip, samples) = prepared(&folder, "one.wav", &floats(&some(what))).unwrap();
        assert!(samples.iter().all(|sample| sample.abs() < 10_000), "{what} was heard");
        assert!((clip.true_peak_dbtp + 12.0).abs() < 1.0, "{what}: {clip:?}");
        assert_eq!(prepared(&folder, "all.wav", &floats(&|_| what)).map(|_| ()), Err(Refused::Corrupt), "{what}");
    }
}

/// A FLAC of one channel, 4 kHz, that holds silence of this length; `told` in its header or not.
fn silent_flac(seconds: u64, told: bool) -> Vec<u8> {
    let blocks = (seconds * 4000).div_ceil(4096);
    let frames = if told { blocks * 4096 } else { 0 };
    let mut file = b"fLaC\x80\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".to_vec();
    file.extend((4000 << 44 | 15 << 36 | frames).to_be_bytes());
    file.extend([0; 16]);
    for block in 0..blocks {
        // 4,096 samples at the header's rate, one channel of 16 bit, all the same.
        let mut frame = vec![0xff, 0xf8, 0xc0, 0x08];
        let number = char::from_u32(block as u32).unwrap_or('\u{1_0000}');
        frame.extend(number.encode_utf8(&mut [0; 4]).as_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        frame.extend([0, 0, 0]);
        frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
        file.extend(frame);
    }
    file
}

fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    bits.fold(0, |crc, bit| {
        let out = crc >> (width - 1) & 1 ^ bit;
        (crc << 1 ^ if out == 1 { polynomial } else { 0 }) & ((1 << width) - 1)
    })
}

#[test]
fn hours_in_a_few_bytes_are_refused_whether_the_header_says_so_or_not() {
    let folder = Folder::new();
    assert_eq!(folder.ingest("told.flac", &silent_flac(36_000, true)), Err(Refused::TooLong { minutes: 600 }));
    assert_eq!(folder.ingest("untold.flac", &silent_flac(7300, false)), Err(Refused::Endless));
    if proves() {
        // Every frame of this MP3, 72 bytes and 72 ms, is silence.
        let frame: Vec<u8> = b"\xff\xe3\x18\xc4".iter().copied().chain(std::iter::repeat(0)).take(72).collect();
        assert_eq!(folder.ingest("untold.mp3", &frame.repeat(7300 * 1000 / 72)), Err(Refused::Endless));
    }
    assert_eq!(folder.ingest("short.flac", &silent_flac(600, true)), Err(Refused::Silent));
}

#[test]
fn an_archive_is_an_archive_whatever_its_name() {
    let folder = Folder::new();
    // What a megabyte of zeros, packed, begins with; and a ZIP of 42 such.
    let gzip =
        [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xec\xc1\x01\x01\0\0\0\x80\x90\xfe\xaf\xee\x08\x0a".as_slice(), &[0; 1000]]
            .concat();
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x05\0\0\0bomb1".repeat(42);
    for (name, bytes) in [("bomb.mp3", gzip), ("42.mp3", zip)] {
        let refused = folder.ingest(name, &bytes).expect_err(name);
        assert!(matches!(&refused, Refused::NotAudio { what } if what.zh.contains("压缩包")), "{name}: {refused}");
    }
}

#[test]
fn a_name_is_only_a_name() {
    let folder = Folder::new();
    let sound = wav(&rising(0.5));
    let long = format!("{}.wav", "长".repeat(83));
    for (name, title) in [
        ("--out", "--out"),
        ("-.wav", "-"),
        ("a\nb\t\u{1b}[31m.wav", "ab[31m"),
        ("'; rm -rf $HOME \"`.wav", "'; rm -rf $HOME \"`"),
        ("%s%n{}.wav", "%s%n{}"),
        ("\u{202e}3pm.wav", "3pm"),
        ("📢 通知.wav", "📢 通知"),
        ("\u{200b}\u{feff}.wav", "\u{200b}"),
        ("\u{7}.wav", "未命名"),
        (&long, &"长".repeat(83)),
    ] {
        let clip = folder.ingest(name, &sound).unwrap_or_else(|refused| panic!("{name:?}: {refused}"));
        assert_eq!(clip.title, title, "{name:?}");
    }
    #[cfg(unix)]
    {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        // A name of another encoding: GBK for 通知.
        let file = folder.0.path().join(OsStr::from_bytes(b"\xcd\xa8\xd6\xaa.wav"));
        std::fs::write(&file, &sound).unwrap();
        assert!(ingest(&file, None).is_ok());
        let nul = ingest(Path::new(OsStr::from_bytes(b"a\0b.wav")), None);
        assert!(is_sentence(&nul.expect_err("no such name")));
    }
}
