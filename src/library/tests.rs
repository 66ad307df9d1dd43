use super::*;

fn path(path: &str) -> ClipPath {
    ClipPath::try_from(path.to_owned()).unwrap()
}

fn library(home: &Path) -> Library {
    std::fs::create_dir_all(home.join("audio")).unwrap();
    Library::open(home.join("audio"), home.join("data"), home.join("no-such-program"), -16.0)
}

fn write(home: &Path, name: &str, bytes: &[u8]) {
    let file = home.join("audio").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

fn prepared(sha256: &str) -> Prepared {
    Prepared {
        title: "标题".into(),
        sha256: sha256.into(),
        duration_ms: 1000,
        frames: 48_000,
        loudness_lufs: Some(-20.0),
        true_peak_dbtp: -10.0,
        mix_lufs: Some(-20.0),
        mix_dbtp: -10.0,
        codec: "mp3".into(),
    }
}

#[test]
fn only_what_may_be_sound_is_a_clip() {
    let home = tempfile::tempdir().unwrap();
    for name in [
        "a.mp3",
        "fraud/b.WAV",
        "fraud/村.ogg",
        "no-extension",
        ".hidden.mp3",
        "clips.toml",
        "x.MD",
        "a.mp3.part",
        "~a.mp3",
    ] {
        write(home.path(), name, b"x");
    }
    write(home.path(), "1/2/3/4/5/6/7/8/deep.mp3", b"x");
    write(home.path(), "1/2/3/4/5/6/7/8/9/deeper.mp3", b"x");
    let mut library = library(home.path());
    library.survey();
    let names: Vec<_> = library.clips().0.keys().map(ClipPath::as_str).collect();
    assert_eq!(names, ["1/2/3/4/5/6/7/8/deep.mp3", "a.mp3", "fraud/b.WAV", "fraud/村.ogg", "no-extension"]);
    assert!(library.clips().0.values().all(|clip| clip.state == ClipState::Pending));
}

#[cfg(unix)]
#[test]
fn a_link_does_not_lead_out() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "in/a.mp3", b"x");
    std::fs::write(home.path().join("secret.mp3"), b"x").unwrap();
    let audio = home.path().join("audio");
    std::os::unix::fs::symlink(home.path().join("secret.mp3"), audio.join("out.mp3")).unwrap();
    std::os::unix::fs::symlink(home.path(), audio.join("outside")).unwrap();
    std::os::unix::fs::symlink(audio.join("in/a.mp3"), audio.join("link.mp3")).unwrap();
    let mut library = library(home.path());
    library.survey();
    let names: Vec<_> = library.clips().0.keys().map(ClipPath::as_str).collect();
    assert_eq!(names, ["in/a.mp3", "link.mp3"]);
}

#[test]
fn an_unchanged_file_is_known_again_and_a_changed_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "a.mp3", b"x");
    let ready = home.path().join("data/ready");
    std::fs::create_dir_all(&ready).unwrap();
    std::fs::write(ready.join("ab.flac"), b"flac").unwrap();
    let mut first = library(home.path());
    first.survey();
    let (file, stamp) = first.files[&path("a.mp3")].clone();
    assert!(first.settle(&path("a.mp3"), &file, stamp, Ok((prepared("ab"), Some(4)))));

    let mut second = library(home.path());
    second.survey();
    let clip = second.clips().get(&path("a.mp3")).unwrap();
    let ClipState::Ready { frames, gain, .. } = clip.state else { panic!("{clip:?}") };
    assert_eq!((clip.title.as_str(), frames), ("标题", 48_000));
    assert!((gain - 10f32.powf(4.0 / 20.0)).abs() < 1e-6, "{gain}");

    std::fs::write(ready.join("ab.flac"), b"cut").unwrap();
    second.survey();
    assert_eq!(second.clips().get(&path("a.mp3")).unwrap().state, ClipState::Pending, "a prepared file was cut");

    std::fs::write(ready.join("ab.flac"), b"flac").unwrap();
    write(home.path(), "a.mp3", b"longer");
    second.survey();
    assert_eq!(second.clips().get(&path("a.mp3")).unwrap().state, ClipState::Pending, "the file changed");
}

#[test]
fn a_file_still_being_copied_is_not_refused() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "a.mp3", b"half");
    let mut library = library(home.path());
    library.survey();
    let (file, stamp) = library.files[&path("a.mp3")].clone();
    assert!(!library.settle(&path("a.mp3"), &file, stamp, Err(Refused::CutOff)), "changed just now");
    assert_eq!(library.clips().get(&path("a.mp3")).unwrap().state, ClipState::Pending);

    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
    library.survey();
    let (_, stamp) = library.files[&path("a.mp3")].clone();
    assert!(library.settle(&path("a.mp3"), &file, stamp, Err(Refused::CutOff)));
    assert!(matches!(library.clips().get(&path("a.mp3")).unwrap().state, ClipState::Refused(_)));
    assert_eq!(
        library.findings().iter().map(|f| (f.file.as_str(), f.code)).collect::<Vec<_>>(),
        [("audio/a.mp3", "clip-refused")]
    );
}

#[test]
fn the_needed_clips_come_first() {
    let home = tempfile::tempdir().unwrap();
    for name in ["a.mp3", "b.mp3", "c.mp3"] {
        write(home.path(), name, b"x");
    }
    let mut library = library(home.path());
    library.survey();
    let order = library.pending(&[path("c.mp3"), path("gone.mp3"), path("c.mp3")]);
    assert_eq!(order, [path("c.mp3"), path("a.mp3"), path("b.mp3")]);
}

#[test]
fn pieces_of_an_interrupted_run_are_swept_by_the_daemon_alone() {
    let home = tempfile::tempdir().unwrap();
    let ready = home.path().join("data/ready");
    std::fs::create_dir_all(&ready).unwrap();
    let piece = ready.join(".part-1.flac");
    std::fs::write(&piece, b"x").unwrap();
    Library::look(home.path().join("audio"), home.path().join("data"), PathBuf::new(), -16.0);
    assert!(piece.exists());
    library(home.path());
    assert!(!piece.exists());
}
