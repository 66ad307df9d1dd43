//! The ingest child from outside: whatever a file holds, the answer is a clip or a sentence, and nothing else happens.
//!
//! All sound is made here; nothing binary is kept. Formats that this crate writes none of are made by ffmpeg and left
//! out where there is none. `DALABA_PROVE=1` cuts at every hundredth and flips thousands of bits.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod formats;
mod hostile;

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

/// Makes `kind` of a WAV with ffmpeg, its options between.
fn encoded(wav: &[u8], kind: &str, options: &[&str]) -> Vec<u8> {
    let folder = Folder::new();
    let (from, to) = (folder.write("from.wav", wav), folder.0.path().join("to").with_extension(kind));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(from).args(options).arg(&to);
    let output = ffmpeg.output().expect("ffmpeg is there: scripts/test installs it");
    assert!(output.status.success(), "{kind} {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(to).unwrap()
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
            ClipState::Refused(why) => {
                assert!(path.as_str() == "page.mp3" && why.zh.contains("网页"), "{path}: {why:?}")
            }
            ClipState::Pending => panic!("{path} is pending"),
        }
    }
    assert_eq!(ready, 2);
    // Without any child there is nothing left to do.
    assert_eq!(states("/no/such/program", true), (clips, 1));
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
