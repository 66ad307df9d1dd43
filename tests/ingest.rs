//! The ingest child from outside: whatever a file holds, the answer is a clip or a sentence, and nothing else happens.
//!
//! All sound is made here; nothing binary is kept. `DALABA_PROVE=1` cuts at every hundredth instead of every tenth.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use dalaba::ingest::{Prepared, Refused, run_child};
use std::{
    io::Cursor,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const EXE: &str = env!("CARGO_BIN_EXE_dalaba");
const RATE: u32 = 44_100;

/// A tone of `seconds`, with a pause at both ends.
fn tone(seconds: f32) -> Vec<i16> {
    let frames = (seconds * RATE as f32) as usize;
    let pause = RATE as usize / 4;
    let sound = (0..frames).map(|i| (8000.0 * (i as f32 * std::f32::consts::TAU * 440.0 / RATE as f32).sin()) as i16);
    std::iter::repeat_n(0, pause).chain(sound).chain(std::iter::repeat_n(0, pause)).collect()
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).unwrap();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn flac(samples: &[i16]) -> Vec<u8> {
    use flac_codec::encode::{FlacSampleWriter, Options};
    let mut file = Cursor::new(Vec::new());
    let mut writer = FlacSampleWriter::new(&mut file, Options::default(), RATE, 16, 1, None).unwrap();
    let samples: Vec<i32> = samples.iter().map(|sample| i32::from(*sample)).collect();
    writer.write(&samples).unwrap();
    writer.finalize().unwrap();
    file.into_inner()
}

/// A folder for the files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// Ingests these bytes; the daemon's way.
    fn ingest(&self, name: &str, bytes: &[u8]) -> Result<Prepared, Refused> {
        ingest(&self.write(name, bytes), None)
    }
}

fn ingest(file: &Path, out: Option<&Path>) -> Result<Prepared, Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run_child(Path::new(EXE), file, out))
}

fn command(args: &[&Path]) -> Output {
    Command::new(EXE).arg("ingest").args(args).output().unwrap()
}

/// A sentence for a clerk ends with what to do.
fn is_sentence(refused: &Refused) -> bool {
    refused.to_string().contains("；请")
}

/// Asked to try everything, however long it takes.
fn proves() -> bool {
    std::env::var_os("DALABA_PROVE").is_some()
}

/// Numbers that look random and are the same each time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|x| x >> 33)
}

#[test]
fn a_sound_becomes_a_prepared_clip_without_the_silence_at_its_ends() {
    let folder = Folder::new();
    for (name, bytes) in
        [("村.wav", wav(&tone(2.0))), ("tone.flac", flac(&tone(2.0))), ("wrong-name.mp3", wav(&tone(2.0)))]
    {
        let file = folder.write(name, &bytes);
        let out = folder.0.path().join(format!("{name}.ready"));
        let clip = ingest(&file, Some(&out)).unwrap();
        assert_eq!((clip.duration_ms, clip.title.as_str()), (2500, name.rsplit_once('.').unwrap().0));
        assert!((clip.frames as i64 - 96_000).abs() < 48 * 30, "{} frames", clip.frames);
        // A sine of amplitude 8000 peaks at −12.25 dBFS. Of ffmpeg, for this very sound: −16.4 LUFS.
        assert!((clip.true_peak_dbtp + 12.25).abs() < 0.1, "{}", clip.true_peak_dbtp);
        assert!((clip.loudness_lufs.unwrap() + 16.4).abs() < 0.1, "{:?}", clip.loudness_lufs);
        let samples = prepared_samples(&out);
        assert_eq!(samples.len() as u64, clip.frames);
        let first = samples.iter().position(|sample| sample.abs() > 1000).unwrap();
        assert!(first < 48 * 2, "the attack begins at frame {first}");
    }
}

/// Reads a prepared file back: 48 kHz, mono, 16 bit.
fn prepared_samples(file: &Path) -> Vec<i32> {
    use flac_codec::{decode::FlacSampleReader, metadata::Metadata};
    let mut reader = FlacSampleReader::open(file).unwrap();
    assert_eq!((reader.sample_rate(), reader.channel_count(), reader.bits_per_sample()), (48_000, 1, 16));
    let mut samples = Vec::new();
    reader.read_to_end(&mut samples).unwrap();
    samples
}

#[test]
fn what_is_no_sound_is_refused_with_a_sentence() {
    let folder = Folder::new();
    let huge = |head: &[u8]| head.iter().copied().chain(std::iter::repeat(0xff)).take(33).collect::<Vec<u8>>();
    let random: Vec<u8> = noise(7).map(|x| x as u8).take(300_000).collect();
    let quiet: Vec<i16> = noise(3).map(|x| (x % 40) as i16 - 20).take(RATE as usize).collect();
    for (name, bytes) in [
        ("empty.mp3", Vec::new()),
        ("page.mp3", b"<!DOCTYPE html><html><body>404 Not Found</body></html>".to_vec()),
        ("notice.wav", "村委会通知：明天停水".repeat(50).into_bytes()),
        ("random.mp3", random),
        ("zeros.wav", vec![0; 100_000]),
        ("voice.amr", b"#!AMR\n\x3c\x91\x17\x16".repeat(100)),
        ("music.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa".repeat(100)),
        ("huge.wav", huge(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0")),
        ("huge-fmt.wav", huge(b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff\x01\0")),
        ("huge-list.wav", huge(b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\xffINFOINAM")),
        ("huge.aiff", huge(b"FORM\xff\xff\xff\xffAIFFCOMM\xff\xff\xff\xff\0\x01")),
        ("huge.caf", huge(b"caff\0\x01\0\0desc\xff\xff\xff\xff")),
        ("huge.flac", huge(b"fLaC\x04\xff\xff\xff\xff\xff")),
        ("huge-picture.flac", huge(b"fLaC\x06\xff\xff\xff\0\0\0\x03\xff\xff\xff\xff")),
        ("huge.m4a", huge(b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x01moov")),
        ("huge.ogg", huge(b"OggS\0\x02")),
        ("huge-tag.mp3", huge(b"ID3\x04\0\0\x7f\x7f\x7f\x7fAPIC")),
        ("silence.wav", wav(&vec![0; RATE as usize])),
        ("hiss.wav", wav(&quiet)),
    ] {
        let refused = folder.ingest(name, &bytes).expect_err(name);
        assert!(is_sentence(&refused), "{name}: {refused}");
        assert!(!matches!(refused, Refused::TooSlow | Refused::NoChild { .. }), "{name}: {refused}");
    }
    for missing in [folder.0.path().to_owned(), folder.0.path().join("none.mp3")] {
        assert!(is_sentence(&ingest(&missing, None).expect_err("no file")), "{}", missing.display());
    }
}

#[test]
fn ten_hours_of_silence_are_refused_whether_the_header_says_so_or_not() {
    let folder = Folder::new();
    // Bytes 21 to 25 of a FLAC hold its length, in 36 bits.
    let say = |file: &mut [u8], frames: u64| {
        file[21] = (file[21] & 0xf0) | (frames >> 32) as u8;
        file[22..26].copy_from_slice(&(frames as u32).to_be_bytes());
    };
    let mut told = flac(&vec![0; 4096 * 2]);
    say(&mut told, u64::from(RATE) * 36_000);
    assert_eq!(folder.ingest("told.flac", &told), Err(Refused::TooLong { minutes: 600 }));
    if proves() {
        let mut untold = flac(&vec![0; RATE as usize * 7300]);
        say(&mut untold, 0);
        assert_eq!(folder.ingest("untold.flac", &untold), Err(Refused::Endless));
    }
}

#[test]
fn a_library_prepares_each_file_once() {
    use dalaba::{library::Library, plan::ClipState};
    let folder = Folder::new();
    let home = folder.0.path();
    std::fs::create_dir_all(home.join("audio/fraud")).unwrap();
    std::fs::write(home.join("audio/fraud/a.wav"), wav(&tone(1.0))).unwrap();
    std::fs::write(home.join("audio/b.flac"), flac(&tone(1.0))).unwrap();
    std::fs::write(home.join("audio/page.mp3"), b"<html></html>").unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options().write(true).open(home.join("audio/page.mp3")).unwrap().set_modified(long_ago).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let states = |exe: &str, prepares: bool| {
        let open = if prepares { Library::open } else { Library::look };
        let mut library = open(home.join("audio"), home.join("data"), exe.into(), -16.0);
        let mut changes = 0;
        let settled = runtime.block_on(library.scan(&[], |_| changes += 1));
        assert!(settled, "something is not settled");
        (library.clips().clone(), changes)
    };
    let (looked, changes) = states(EXE, false);
    assert_eq!(changes, 4, "one for the survey, one for each file");
    assert!(!home.join("data/ready/index.json").exists(), "a look wrote the daemon's cache");
    let (clips, changes) = states(EXE, true);
    assert_eq!(changes, 4);
    assert_eq!(looked, clips, "a look sees what the daemon makes");
    let mut ready = 0;
    for (path, clip) in &clips.0 {
        match &clip.state {
            ClipState::Ready { file, frames, .. } => {
                assert_eq!(prepared_samples(file).len() as u64, *frames, "{path}");
                ready += 1;
            }
            ClipState::Refused(why) => assert!(path.as_str() == "page.mp3" && why.contains("网页"), "{path}: {why}"),
            ClipState::Pending => panic!("{path} is pending"),
        }
    }
    assert_eq!(ready, 2);
    // Without any child there is nothing left to do.
    assert_eq!(states("/no/such/program", true), (clips, 1));
}

#[test]
fn a_file_cut_short_is_refused_and_a_cut_tail_is_not() {
    let folder = Folder::new();
    let step = if proves() { 1 } else { 10 };
    for (kind, bytes) in [("wav", wav(&tone(3.0))), ("flac", flac(&tone(3.0)))] {
        for percent in (step..100).step_by(step) {
            let cut = &bytes[..bytes.len() * percent / 100];
            match folder.ingest(&format!("cut.{kind}"), cut) {
                // The pauses at the ends take few bytes of a FLAC.
                Ok(_) => assert!(percent >= 80, "{kind} cut at {percent} %"),
                Err(refused) => assert!(is_sentence(&refused), "{kind} at {percent} %: {refused}"),
            }
        }
        assert!(matches!(
            folder.ingest(&format!("half.{kind}"), &bytes[..bytes.len() / 2]),
            Err(Refused::Truncated { promised_seconds: 3, heard_seconds: 0..=2 })
        ));
        let mut tail = bytes;
        tail.extend(noise(5).map(|x| x as u8).take(5000));
        // The last frame of a FLAC, 93 ms, may be taken for part of the garbage.
        let clip = folder.ingest(&format!("tail.{kind}"), &tail).unwrap();
        assert!((3400..=3500).contains(&clip.duration_ms), "{kind}: {} ms", clip.duration_ms);
    }
}

#[test]
fn flipped_bits_never_get_past_the_child() {
    let folder = Folder::new();
    let rounds = if proves() { 200 } else { 20 };
    for (kind, bytes) in [("wav", wav(&tone(0.6))), ("flac", flac(&tone(0.6)))] {
        for round in 0..rounds {
            let mut flipped = bytes.clone();
            // Half of them in the header, where they do most harm.
            for (i, x) in noise(round).take(8).enumerate() {
                let within = if i % 2 == 0 { 64 } else { flipped.len() };
                let at = x as usize % within;
                flipped[at] ^= 1 << (x >> 20 & 7);
            }
            if let Err(refused) = folder.ingest(&format!("flip.{kind}"), &flipped) {
                assert!(is_sentence(&refused), "{kind} round {round}: {refused}");
                assert!(!matches!(refused, Refused::NoChild { .. }), "{kind} round {round}: {refused}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_child_that_dies_or_says_too_much_is_a_sentence() {
    let folder = Folder::new();
    let file = folder.write("a.wav", &wav(&tone(0.5)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Programs that are not ours, as a child that has gone wrong.
    for program in ["/bin/false", "/bin/true", "/bin/echo", "/no/such/program"] {
        let refused = runtime.block_on(run_child(Path::new(program), &file, None)).expect_err(program);
        assert!(is_sentence(&refused), "{program}: {refused}");
    }
}

#[test]
fn the_command_says_of_each_file_what_import_would_say() {
    let folder = Folder::new();
    let good = folder.write("good.wav", &wav(&tone(1.0)));
    let bad = folder.write("bad.mp3", b"<html></html>");
    let all = command(&[Path::new("--json"), &good, &bad]);
    assert_eq!(all.status.code(), Some(1));
    let lines: Vec<serde_json::Value> =
        String::from_utf8(all.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [facts] = lines.as_slice() else { panic!("{lines:?}") };
    let keys: Vec<_> = facts.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["title", "sha256", "duration_ms", "loudness_lufs", "true_peak_dbtp", "codec"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(facts["duration_ms"], 1500);
    let words = String::from_utf8(all.stderr).unwrap();
    assert!(words.contains("bad.mp3") && words.contains("网页"), "{words}");
    assert_eq!(command(&[&good]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 2, "something was written");
}

#[test]
fn every_clip_we_ship_decodes() {
    fn walk(folder: &Path, clips: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let file = entry.path();
            let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if file.is_dir() {
                walk(&file, clips);
            } else if ["mp3", "ogg", "flac", "wav"].contains(&extension) {
                clips.push(file);
            }
        }
    }
    let mut clips = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("audio"), &mut clips);
    for clip in clips {
        assert!(ingest(&clip, None).is_ok(), "{}", clip.display());
    }
}
