//! What a person does to `audio/`: names for what comes in, what is written in `clips.toml`, files moved and put in place.
//!
//! Always true: nothing is overwritten unless that was asked for, no file outside `audio/` is touched, and what a person
//! wrote in `clips.toml` keeps its order and its comments.
//!
//! Not here: what the files hold ([`crate::ingest`]), who may do this (the pages).

use crate::{disk::write_whole, schedule::ClipPath, text::Language};
use jiff::civil::Date;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use toml_edit::{DocumentMut, Item, Table, value};

/// The longest name of a file or folder, in bytes: room for what other systems add.
const LONGEST: usize = 120;

/// The endings that import takes.
pub const ENDINGS: [&str; 12] = ["mp3", "wav", "flac", "m4a", "aac", "ogg", "oga", "opus", "mp4", "mp2", "aif", "aiff"];

/// Why something was not done to `audio/`.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`said` spells each out")]
pub enum ShelfError {
    #[error("no name")]
    NoName,
    #[error("the name is too long")]
    LongName,
    #[error("the name has characters that do not do")]
    BadName,
    #[error("the name is one that Windows keeps for itself")]
    Reserved,
    #[error("this ending is not taken")]
    Ending,
    #[error("there is one of this name")]
    Exists,
    #[error("it is gone")]
    Gone,
    #[error("it leads out of audio/")]
    Outside,
    #[error("clips.toml is not well written")]
    BadNotes,
    #[error("the disk")]
    Disk(#[from] io::Error),
}

impl ShelfError {
    /// What went wrong and what to do, for whoever reads.
    pub fn said(&self, language: Language) -> String {
        let (chinese, english) = match self {
            Self::NoName => ("没有名字；请起一个名字", "there is no name; give one"),
            Self::LongName => ("名字太长；请缩短到 40 个汉字以内", "the name is too long; shorten it to 120 letters"),
            Self::BadName => (
                "名字里有不能用的字符，或以点开头；请只用汉字、字母、数字、空格、“-”和“_”",
                "the name has characters that do not do, or begins with a dot; use letters, digits, spaces, “-” and “_”",
            ),
            Self::Reserved => {
                ("这个名字在 Windows 上不能用；请换一个", "Windows keeps this name for itself; take another")
            }
            Self::Ending => (
                "不收这种文件；请用 MP3、WAV、FLAC、M4A、AAC、OGG、OPUS 或 AIFF 文件",
                "this kind of file is not taken; use MP3, WAV, FLAC, M4A, AAC, OGG, OPUS or AIFF",
            ),
            Self::Exists => (
                "这个文件夹里已有同名音频，没有覆盖；请改名再传，或到那个音频的页面上“替换”",
                "this folder has a clip of this name, which was not overwritten; take another name, or replace the clip on its page",
            ),
            Self::Gone => ("这个文件不见了；请刷新页面再看", "the file is gone; look at the page again"),
            Self::Outside => {
                ("这个文件夹不在 audio 里，不能用；请换一个", "this folder lies outside audio/; take another")
            }
            Self::BadNotes => (
                "audio/clips.toml 写法有误，改不了；请先照首页上的提示改正它",
                "audio/clips.toml is not well written and cannot be changed; put it right first, as the first page says",
            ),
            Self::Disk(error) => {
                return language.pick(
                    format!("写不进磁盘（{error}）；请检查磁盘空间和 audio 文件夹的权限"),
                    format!("the disk takes nothing ({error}); check its space and the permissions of audio/"),
                );
            }
        };
        language.pick(chinese, english).to_owned()
    }
}

/// Names that mean devices on Windows, whatever ending they have.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Returns the name that a file or folder may have, from what somebody sent: without the folders in it.
fn name(sent: &str) -> Result<&str, ShelfError> {
    let name = sent.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if name.is_empty() {
        return Err(ShelfError::NoName);
    }
    if name.len() > LONGEST {
        return Err(ShelfError::LongName);
    }
    let turns_text =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let is_bad = |c: char| c.is_control() || turns_text(c) || "<>:\"|?*".contains(c);
    if name.contains(is_bad) || name.starts_with(['.', '~']) || name.ends_with(['.', '~']) {
        return Err(ShelfError::BadName);
    }
    let stem = name.split('.').next().unwrap_or_default().trim().to_ascii_lowercase();
    let numbered = |device: &str| {
        let number = stem.strip_prefix(device).unwrap_or_default();
        let mut digits = number.chars();
        matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        return Err(ShelfError::Reserved);
    }
    Ok(name)
}

/// Returns the ending of a name, in small letters.
pub fn ending(name: &str) -> Option<String> {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, ending)| ending.to_ascii_lowercase())
}

/// Returns the name that a sound may have in its folder, from what somebody sent.
pub fn sound_name(sent: &str) -> Result<&str, ShelfError> {
    let name = name(sent)?;
    if ending(name).is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
        Ok(name)
    } else {
        Err(ShelfError::Ending)
    }
}

/// Returns the name of a new folder: one level, so that what lies in it is found at a glance.
pub fn folder_name(sent: &str) -> Result<&str, ShelfError> {
    if sent.contains(['/', '\\']) { Err(ShelfError::BadName) } else { name(sent) }
}

/// Returns the path of `name` in `folder`, which is empty for `audio/` itself.
pub fn path(folder: &str, name: &str) -> Result<ClipPath, ShelfError> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    ClipPath::try_from(path).map_err(|_| ShelfError::BadName)
}

/// Returns where a clip lies, its folder made if need be; refuses what a link has put elsewhere.
fn place(audio: &Path, path: &ClipPath) -> Result<PathBuf, ShelfError> {
    let file = audio.join(path.as_str());
    let folder = file.parent().ok_or(ShelfError::Outside)?;
    // What exists of the way there must lie within before anything is made.
    let there = folder.ancestors().find(|folder| folder.exists()).ok_or(ShelfError::Gone)?;
    let root = audio.canonicalize()?;
    if !there.canonicalize()?.starts_with(&root) {
        return Err(ShelfError::Outside);
    }
    fs::create_dir_all(folder)?;
    Ok(file)
}

/// Returns where an existing clip lies, which is a file within `audio/`.
pub fn existing(audio: &Path, path: &ClipPath) -> Result<PathBuf, ShelfError> {
    let file = audio.join(path.as_str());
    let real = file.canonicalize().map_err(|_| ShelfError::Gone)?;
    if !real.starts_with(audio.canonicalize()?) {
        return Err(ShelfError::Outside);
    }
    if real.is_file() { Ok(file) } else { Err(ShelfError::Gone) }
}

/// Puts a file that came in to where it belongs, whole or not at all. Without `replace` nothing is overwritten.
pub fn put(audio: &Path, path: &ClipPath, piece: tempfile::TempPath, replace: bool) -> Result<(), ShelfError> {
    let file = if replace { existing(audio, path)? } else { place(audio, path)? };
    readable(&piece)?;
    let put = if replace { piece.persist(&file) } else { piece.persist_noclobber(&file) };
    put.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => ShelfError::Exists,
        _ => ShelfError::Disk(error.error),
    })?;
    Ok(crate::disk::sync_folder(&file)?)
}

/// A clip is no secret: whoever may look into the home may copy it.
#[cfg(unix)]
fn readable(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives a clip another path; what is written about it goes along.
pub fn rename(audio: &Path, from: &ClipPath, to: &ClipPath) -> Result<(), ShelfError> {
    let old = existing(audio, from)?;
    let new = place(audio, to)?;
    let notes = read_notes(audio)?;
    // A second name first, then away with the old one: so nothing is overwritten, and nothing is ever without a name.
    match fs::hard_link(&old, &new) {
        Ok(()) => fs::remove_file(&old)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(ShelfError::Exists),
        // A file system without second names.
        Err(_) if new.symlink_metadata().is_ok() => return Err(ShelfError::Exists),
        Err(_) => fs::rename(&old, &new)?,
    }
    crate::disk::sync_folder(&new)?;
    if let Some(text) = renamed(&notes, from, to)? {
        write_whole(&audio.join(NOTES), text.as_bytes())?;
    }
    Ok(())
}

const NOTES: &str = "clips.toml";

/// What is to be written about a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Title and validity; what is none is taken away.
    About {
        /// What people call it.
        title: Option<String>,
        /// First day on which it may play.
        valid_from: Option<Date>,
        /// Last day on which it may play.
        valid_until: Option<Date>,
    },
    /// Whether it never plays again.
    Retired(bool),
}

/// Writes about a clip in `audio/clips.toml`.
pub fn note(audio: &Path, path: &ClipPath, note: &Note) -> Result<(), ShelfError> {
    let text = noted(&read_notes(audio)?, path, note)?;
    Ok(write_whole(&audio.join(NOTES), text.as_bytes())?)
}

fn read_notes(audio: &Path) -> Result<String, ShelfError> {
    match fs::read_to_string(audio.join(NOTES)) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ShelfError::BadNotes),
        Err(error) => Err(error.into()),
    }
}

fn noted(text: &str, path: &ClipPath, note: &Note) -> Result<String, ShelfError> {
    let mut notes: DocumentMut = text.parse().map_err(|_| ShelfError::BadNotes)?;
    let entry = notes.entry(path.as_str()).or_insert_with(|| {
        let mut fresh = Table::new();
        if !text.is_empty() {
            fresh.decor_mut().set_prefix("\n");
        }
        Item::Table(fresh)
    });
    let about = entry.as_table_like_mut().ok_or(ShelfError::BadNotes)?;
    let mut set = |key: &str, written: Option<toml_edit::Value>| match (about.get_mut(key), written) {
        (Some(item), Some(mut written)) => {
            // A comment behind the old value stays behind the new one.
            if let Some(old) = item.as_value() {
                *written.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(written);
        }
        (None, Some(written)) => drop(about.insert(key, value(written))),
        (_, None) => drop(about.remove(key)),
    };
    let day = |day: Option<Date>| {
        day.and_then(|day| day.to_string().parse::<toml_edit::Datetime>().ok()).map(toml_edit::Value::from)
    };
    match note {
        Note::About { title, valid_from, valid_until } => {
            set("title", title.as_deref().map(toml_edit::Value::from));
            set("valid-from", day(*valid_from));
            set("valid-until", day(*valid_until));
        }
        Note::Retired(retired) => set("retired", retired.then(|| toml_edit::Value::from(true))),
    }
    Ok(notes.to_string())
}

/// Returns the notes with what is said of `from` said of `to`; none where nothing is.
fn renamed(text: &str, from: &ClipPath, to: &ClipPath) -> Result<Option<String>, ShelfError> {
    let mut notes: DocumentMut = text.parse().map_err(|_| ShelfError::BadNotes)?;
    // What was said of an earlier file of that name says nothing of this one.
    let old = notes.remove(to.as_str());
    let Some(about) = notes.remove(from.as_str()) else {
        return Ok(old.is_some().then(|| notes.to_string()));
    };
    notes.insert(to.as_str(), about);
    Ok(Some(notes.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn clip(path: &str) -> ClipPath {
        ClipPath::try_from(path.to_owned()).unwrap()
    }

    #[test]
    fn a_name_loses_its_folders_and_is_one_that_every_system_can_have() {
        let long = format!("{}.wav", "长".repeat(40));
        let just = format!("{}.wav", "x".repeat(116));
        for (sent, expected) in [
            ("冒充 领导(2).MP3", "冒充 领导(2).MP3"),
            ("../../x.wav", "x.wav"),
            ("..\\x.wav", "x.wav"),
            ("C:\\Users\\王\\x.wav", "x.wav"),
            ("/etc/passwd.wav", "passwd.wav"),
            (&just, &just),
            ("", "NoName"),
            ("audio/", "NoName"),
            (&long, "LongName"),
            (".hidden.wav", "BadName"),
            ("..", "BadName"),
            ("~x.wav", "BadName"),
            ("<script>.wav", "BadName"),
            ("a\u{202e}vaw.wav", "BadName"),
            ("a\nb.wav", "BadName"),
            ("x:y.wav", "BadName"),
            ("con.wav", "Reserved"),
            ("CoM7.tar.wav", "Reserved"),
            ("lpt1 .wav", "Reserved"),
            ("com10.wav", "com10.wav"),
            ("console.wav", "console.wav"),
            ("x.exe", "Ending"),
            ("x", "Ending"),
            ("wav", "Ending"),
        ] {
            let said = sound_name(sent).map_or_else(|error| format!("{error:?}"), str::to_owned);
            assert_eq!(said, expected, "{sent}");
        }
        for (sent, expected) in
            [("案情", "案情"), ("a/b", "BadName"), ("..", "BadName"), ("nul", "Reserved"), (" ", "NoName")]
        {
            let said = folder_name(sent).map_or_else(|error| format!("{error:?}"), str::to_owned);
            assert_eq!(said, expected, "{sent}");
        }
    }

    #[test]
    fn what_is_written_keeps_order_and_comments_and_reads_back() {
        let before = "# 开头\n\n[\"b.mp3\"]\ntitle = \"乙\" # 名字\nretired = true\n\n[\"a.mp3\"]\ntitle = \"甲\"\n";
        let about =
            Note::About { title: Some("新 \"乙\"".into()), valid_from: Some(date(2026, 11, 1)), valid_until: None };
        let after = noted(before, &clip("b.mp3"), &about).unwrap();
        assert_eq!(
            after,
            "# 开头\n\n[\"b.mp3\"]\ntitle = '新 \"乙\"' # 名字\nretired = true\nvalid-from = 2026-11-01\n\n[\"a.mp3\"]\ntitle = \"甲\"\n"
        );
        let after = noted(&after, &clip("b.mp3"), &Note::Retired(false)).unwrap();
        assert!(!after.contains("retired"));
        let after = noted(before, &clip("警示/c.mp3"), &Note::Retired(true)).unwrap();
        assert_eq!(after, format!("{before}\n[\"警示/c.mp3\"]\nretired = true\n"));
        let none = Note::About { title: None, valid_from: None, valid_until: None };
        assert_eq!(noted("[\"a.mp3\"]\ntitle = \"x\"\n", &clip("a.mp3"), &none).unwrap(), "[\"a.mp3\"]\n");
    }

    #[test]
    fn notes_that_cannot_be_read_are_left_as_they_are() {
        for text in ["[", "\"a.mp3\" = 3"] {
            assert!(matches!(noted(text, &clip("a.mp3"), &Note::Retired(true)), Err(ShelfError::BadNotes)), "{text}");
        }
    }

    #[test]
    fn a_clip_takes_its_notes_along_and_overwrites_nothing() {
        let home = tempfile::tempdir().unwrap();
        let audio = home.path();
        fs::create_dir(audio.join("a")).unwrap();
        fs::write(audio.join("a/x.wav"), "x").unwrap();
        fs::write(audio.join("y.wav"), "y").unwrap();
        fs::write(audio.join(NOTES), "[\"a/x.wav\"]\ntitle = \"甲\"\n").unwrap();
        assert!(matches!(rename(audio, &clip("a/x.wav"), &clip("y.wav")), Err(ShelfError::Exists)));
        assert_eq!(fs::read_to_string(audio.join("y.wav")).unwrap(), "y");
        rename(audio, &clip("a/x.wav"), &clip("b/z.wav")).unwrap();
        assert!(!audio.join("a/x.wav").exists());
        assert_eq!(fs::read_to_string(audio.join("b/z.wav")).unwrap(), "x");
        assert_eq!(fs::read_to_string(audio.join(NOTES)).unwrap(), "[\"b/z.wav\"]\ntitle = \"甲\"\n");
        assert!(matches!(rename(audio, &clip("a/x.wav"), &clip("c.wav")), Err(ShelfError::Gone)));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_leads_nowhere() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let audio = home.path();
        std::os::unix::fs::symlink(other.path(), audio.join("out")).unwrap();
        fs::write(other.path().join("x.wav"), "x").unwrap();
        fs::write(audio.join("y.wav"), "y").unwrap();
        let piece = || {
            let mut piece = tempfile::NamedTempFile::new_in(audio).unwrap();
            io::Write::write_all(&mut piece, b"new").unwrap();
            piece.into_temp_path()
        };
        for path in ["out/y.wav", "out/deep/y.wav"] {
            assert!(matches!(put(audio, &clip(path), piece(), false), Err(ShelfError::Outside)), "{path}");
        }
        assert!(matches!(existing(audio, &clip("out/x.wav")), Err(ShelfError::Outside)));
        assert!(matches!(put(audio, &clip("out/x.wav"), piece(), true), Err(ShelfError::Outside)));
        assert!(matches!(put(audio, &clip("y.wav"), piece(), false), Err(ShelfError::Exists)));
        assert_eq!(fs::read_to_string(audio.join("y.wav")).unwrap(), "y");
        put(audio, &clip("y.wav"), piece(), true).unwrap();
        assert_eq!(fs::read_to_string(audio.join("y.wav")).unwrap(), "new");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }
}
