//! `POST /settings/restore`: a backup back into a station. The archive is checked whole before anything is touched: its
//! names lie inside the known folders, nothing in it is a link, sizes are bounded, texts have no errors, the journal
//! proves itself. Files of the archive are unpacked under numbers, so that no name of it is a path before it is checked.
//!
//! The journal and the key come back only where nothing is on record: a record is never overwritten. People are added;
//! those who are here keep their passwords and roles. Schedules become those of the archive; sounds are added.

use super::{
    Panel, Words,
    backup::{JOURNAL, KEY, PEOPLE},
};
use crate::{
    calendar::YearFile,
    config::{self, Config},
    journal,
    panel::{
        frame::{Frame, Place},
        station_file::unwritable,
        words,
    },
    schedule::{self, ClipPath, Severity, Source},
    text::Language,
    web::{Asked, People, Problem},
};
use askama::Template;
use axum::{
    extract::{Multipart, State},
    response::Response,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Seek, Write as _},
    path::{Path, PathBuf},
};
use zip::ZipArchive;

/// The largest archive, in bytes.
const ARCHIVE: u64 = 8 << 30;
/// The most files in it.
const MEMBERS: usize = 25_000;
/// The largest text, clip and journal, and all together.
const TEXT: u64 = 1 << 20;
const CLIP: u64 = 200 << 20;
const DATABASE: u64 = 4 << 30;
const ALL: u64 = 16 << 30;
/// What stays free of the disk.
const SPARE: u64 = 256 << 20;

/// Why an archive is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unfit {
    /// It is no .zip, or a damaged one.
    NoArchive,
    /// It has no `station.toml`.
    NoStation,
    /// A name that belongs nowhere, or twice.
    Name(String),
    /// More than a station holds.
    TooLarge(String),
    /// A text with errors.
    Text(String),
    /// The journal or its key.
    Journal(String),
    /// Something in the home is in the way of a file.
    InTheWay(String),
    /// The disk has no room for it, or takes nothing.
    Disk(String),
}

impl Unfit {
    fn said(&self, language: Language) -> String {
        let (zh, en) = match self {
            Self::NoArchive => (
                "文件不是完整的备份（.zip）；请重新下载备份再试".to_owned(),
                "the file is no whole backup (.zip); download it again".to_owned(),
            ),
            Self::NoStation => (
                "里面没有 station.toml，不是大喇叭的备份".to_owned(),
                "it has no station.toml and is no backup of dalaba".to_owned(),
            ),
            Self::Name(name) => (
                format!("里面有不该有的文件“{name}”；请只用大喇叭自己做的备份"),
                format!("it holds `{name}`, which belongs to no backup; use one that dalaba made"),
            ),
            Self::TooLarge(name) => (
                format!("里面的“{name}”太大或者文件太多；请检查备份"),
                format!("`{name}` in it is too large, or there are too many files"),
            ),
            Self::Text(why) => (format!("里面的文字有错误：{why}"), format!("a text in it has errors: {why}")),
            Self::Journal(why) => {
                (format!("里面的播出记录不能用：{why}"), format!("the journal in it cannot be used: {why}"))
            }
            Self::InTheWay(name) => (
                format!("站点文件夹里的“{name}”挡住了同名文件；请先移走"),
                format!("`{name}` in the station's folder is in the way; move it first"),
            ),
            Self::Disk(why) => (
                format!("磁盘放不下或写不进去（{why}）；请先腾出空间"),
                format!("the disk has no room or takes nothing ({why}); make room first"),
            ),
        };
        language.pick(format!("没有恢复，什么都没有改动：{zh}"), format!("Nothing was restored or touched: {en}."))
    }
}

/// What a name in an archive stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Station,
    Schedule,
    Calendar,
    Notes,
    Clip,
    People,
    Key,
    Journal,
}

impl Part {
    /// Returns what a name stands for; none for one that belongs to no backup.
    fn of(name: &str) -> Option<Self> {
        // As safe a path as a clip's, on every system.
        ClipPath::try_from(name.to_owned()).ok()?;
        if name.split('/').any(|part| part.ends_with(['.', ' ']) || part.starts_with('.')) {
            return None;
        }
        let toml = |rest: &str| rest.ends_with(".toml") && !rest.contains('/');
        Some(match name {
            config::FILE => Self::Station,
            PEOPLE => Self::People,
            KEY => Self::Key,
            JOURNAL => Self::Journal,
            "audio/clips.toml" => Self::Notes,
            _ => match name.split_once('/')? {
                ("audio", _) => Self::Clip,
                ("schedules", rest) if toml(rest) => Self::Schedule,
                ("schedules", rest) if rest.strip_prefix("calendar/").is_some_and(toml) => Self::Calendar,
                _ => return None,
            },
        })
    }

    fn largest(self) -> u64 {
        match self {
            Self::Clip => CLIP,
            Self::Journal => DATABASE,
            Self::Station | Self::Schedule | Self::Calendar | Self::Notes | Self::People | Self::Key => TEXT,
        }
    }
}

/// One file of an archive, unpacked.
#[derive(Debug)]
struct Member {
    name: String,
    part: Part,
    unpacked: PathBuf,
}

/// Unpacks every file of an archive into `folder`, under numbers. Nothing else is touched.
fn unpack(archive: impl Read + Seek, folder: &Path, free: u64) -> Result<Vec<Member>, Unfit> {
    let mut archive = ZipArchive::new(archive).map_err(|_| Unfit::NoArchive)?;
    if archive.len() > MEMBERS {
        return Err(Unfit::TooLarge(format!("{} 个文件", archive.len())));
    }
    let (mut members, mut names, mut total) = (Vec::new(), BTreeSet::new(), 0_u64);
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(|_| Unfit::NoArchive)?;
        let name = std::str::from_utf8(file.name_raw())
            .map_err(|_| Unfit::Name(String::from_utf8_lossy(file.name_raw()).into_owned()))?
            .to_owned();
        let is_file = file.unix_mode().is_none_or(|mode| matches!(mode & 0o170_000, 0 | 0o100_000));
        let part = Part::of(&name).filter(|_| is_file && !file.is_dir()).ok_or_else(|| Unfit::Name(name.clone()))?;
        // Two names that one file system takes for the same would overwrite each other.
        if !names.insert(name.to_lowercase()) {
            return Err(Unfit::Name(name));
        }
        let unpacked = folder.join(index.to_string());
        let mut to = File::create(&unpacked).map_err(disk)?;
        // What an archive says of its sizes is not believed.
        let room = part.largest().min(free.saturating_sub(total));
        let wrote = io::copy(&mut (&mut file).take(room.saturating_add(1)), &mut to)
            .map_err(|error| if error.kind() == io::ErrorKind::StorageFull { disk(error) } else { Unfit::NoArchive })?;
        if wrote > room {
            return Err(if room < part.largest() { Unfit::Disk(name) } else { Unfit::TooLarge(name) });
        }
        total = total.saturating_add(wrote);
        if total > ALL {
            return Err(Unfit::TooLarge(name));
        }
        members.push(Member { name, part, unpacked });
    }
    // A file where another has its folder.
    let is_folder =
        |name: &str| names.range(format!("{name}/")..).next().is_some_and(|next| next.starts_with(&format!("{name}/")));
    if let Some(name) = names.iter().find(|name| is_folder(name)) {
        return Err(Unfit::Name(name.clone()));
    }
    Ok(members)
}

fn disk(error: io::Error) -> Unfit {
    Unfit::Disk(error.to_string())
}

/// What was checked, in the order in which it is applied.
struct Checked {
    members: Vec<Member>,
    people: Option<Vec<u8>>,
    has_journal: bool,
}

/// Checks everything that was unpacked, against the home into which it is to go.
async fn check(members: Vec<Member>, home: &Path) -> Result<Checked, Unfit> {
    let find = |place| members.iter().find(|member| member.part == place);
    if find(Part::Station).is_none() {
        return Err(Unfit::NoStation);
    }
    for member in &members {
        let read = || {
            let text = fs::read_to_string(&member.unpacked).map_err(|_| Unfit::Text(member.name.clone()))?;
            Ok(text)
        };
        match member.part {
            Part::Station => {
                Config::parse(&read()?).map_err(|findings| Unfit::Text(first(&findings)))?;
            }
            Part::Schedule => {
                let mut findings = schedule::file::parse(Source::Station, &member.name, &read()?).findings;
                findings.retain(|finding| finding.severity == Severity::Error);
                if !findings.is_empty() {
                    return Err(Unfit::Text(first(&findings)));
                }
            }
            Part::Calendar => {
                let stem = member.name.rsplit('/').next().unwrap_or_default().trim_end_matches(".toml");
                let year = stem.parse().map_err(|_| Unfit::Name(member.name.clone()))?;
                if YearFile::parse(year, &read()?).is_err() {
                    return Err(Unfit::Text(member.name.clone()));
                }
            }
            Part::Notes => {
                read()?.parse::<toml_edit::DocumentMut>().map_err(|_| Unfit::Text(member.name.clone()))?;
            }
            Part::Clip | Part::People | Part::Key | Part::Journal => {}
        }
        if matches!(member.part, Part::Station | Part::Schedule | Part::Calendar | Part::Notes | Part::Clip) {
            clear_way(home, &member.name)?;
        }
    }
    let people = match find(Part::People) {
        Some(member) => {
            let bytes = fs::read(&member.unpacked).map_err(disk)?;
            if !People::is_readable(&bytes) {
                return Err(Unfit::Text(member.name.clone()));
            }
            Some(bytes)
        }
        None => None,
    };
    let has_journal = match (find(Part::Journal), find(Part::Key)) {
        (Some(journal), Some(key)) => {
            journal::examine(&journal.unpacked, &key.unpacked).await.map_err(|why| Unfit::Journal(why.to_string()))?;
            true
        }
        (None, _) => false,
        (Some(_), None) => return Err(Unfit::Journal("没有密钥 station.key".into())),
    };
    Ok(Checked { members, people, has_journal })
}

fn first(findings: &[schedule::Finding]) -> String {
    findings.first().map(ToString::to_string).unwrap_or_default()
}

/// Makes sure that a file can take its place, and that its folders are folders of the home and not links out of it.
fn clear_way(home: &Path, name: &str) -> Result<(), Unfit> {
    let mut path = home.to_owned();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let Ok(about) = fs::symlink_metadata(&path) else { return Ok(()) };
        let fits = if parts.peek().is_some() { about.is_dir() } else { about.is_file() };
        if !fits {
            return Err(Unfit::InTheWay(name.to_owned()));
        }
    }
    Ok(())
}

/// Puts a file into its place whole, also where the place is on another disk.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    let mut piece = tempfile::Builder::new().prefix(crate::disk::PIECE).tempfile_in(folder)?;
    io::copy(&mut File::open(from)?, &mut piece)?;
    piece.as_file().sync_all()?;
    piece.persist(to).map_err(|error| error.error)?;
    Ok(())
}

#[derive(Template)]
#[template(path = "restored.html")]
struct Page<'a> {
    frame: &'a Frame,
    words: &'static Words,
    said: String,
    journal: &'a str,
}

/// `POST /settings/restore`: the archive is the file of the form.
pub(in crate::panel) async fn restore(
    State(panel): State<Panel>,
    asked: Asked,
    form: Multipart,
) -> Result<Response, Problem> {
    // No other change of a file comes between the check and what it was made for.
    let _one = panel.writing.lock().await;
    let folder = panel.home.data().join("restore");
    // What an interrupted restore left behind.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| unwritable(&asked, &error))?;
    let restored = carry_out(&panel, &asked, &folder, form).await;
    let _ = fs::remove_dir_all(&folder);
    let (files, with_journal) = restored?;
    tracing::info!(operator = asked.name(), files, with_journal, "a backup was restored");
    let seen = panel.daemon.snapshot().await?;
    let frame = Frame::new(asked, &seen.name, Place::Settings);
    let words = &frame.words.settings;
    let said = words::fill(&words.restored, &[("files", &files)]);
    let journal = if with_journal { &words.journal_restored } else { &words.journal_kept };
    let facts = json!({ "done": "restored", "files": files, "journal": with_journal });
    Ok(frame.answer(&facts, &Page { frame: &frame, words, said, journal }))
}

async fn carry_out(panel: &Panel, asked: &Asked, folder: &Path, form: Multipart) -> Result<(usize, bool), Problem> {
    let unfit = |unfit: Unfit| Problem::bad(unfit.said(asked.language));
    let archive = folder.join("archive");
    receive(form, &archive, panel.home.data().as_path()).await.map_err(unfit)?;
    let (place, data) = (folder.to_owned(), panel.home.data());
    let unpacked = tokio::task::spawn_blocking(move || {
        let free = fs4::available_space(&data).map_or(ALL, |free| free.saturating_sub(SPARE));
        unpack(File::open(&archive).map_err(disk)?, &place, free)
    });
    let members = unpacked.await.map_err(|_| unfit(Unfit::NoArchive))?.map_err(unfit)?;
    let checked = check(members, &panel.home.dir).await.map_err(unfit)?;
    apply(panel, asked, checked).await
}

/// Receives the file of the form, a piece at a time.
async fn receive(mut form: Multipart, to: &Path, data: &Path) -> Result<(), Unfit> {
    let mut file = File::create(to).map_err(disk)?;
    let free = fs4::available_space(data).map_or(ARCHIVE, |free| free.saturating_sub(SPARE));
    let mut size = 0_u64;
    while let Some(mut field) = form.next_field().await.map_err(|_| Unfit::NoArchive)? {
        if field.name() != Some("file") {
            continue;
        }
        while let Some(chunk) = field.chunk().await.map_err(|_| Unfit::NoArchive)? {
            size = size.saturating_add(chunk.len() as u64);
            if size > ARCHIVE {
                return Err(Unfit::TooLarge("备份".into()));
            }
            if size > free {
                return Err(Unfit::Disk("备份".into()));
            }
            // The page cache takes a piece at once; a disk that is slow delays this upload alone.
            file.write_all(&chunk).map_err(disk)?;
        }
    }
    Ok(())
}

/// Applies what was checked: sounds first, then what plays them, then who may and the record.
async fn apply(panel: &Panel, asked: &Asked, checked: Checked) -> Result<(usize, bool), Problem> {
    let Checked { mut members, people, has_journal } = checked;
    let home = &panel.home;
    let failed = |error: io::Error| unwritable(asked, &error);
    // Texts come after the sounds that they name, the station last.
    members.sort_by_key(|member| (std::cmp::Reverse(member.part == Part::Clip), std::cmp::Reverse(member.part)));
    let (mut files, mut key, mut record) = (0, None, None);
    for member in &members {
        match member.part {
            Part::Clip | Part::Notes => put(&member.unpacked, &home.dir.join(&member.name)).map_err(failed)?,
            Part::Station | Part::Schedule | Part::Calendar => {
                let text = fs::read_to_string(&member.unpacked).map_err(failed)?;
                home.put(&member.name, &text).map_err(failed)?;
            }
            Part::Key => key = Some(member.unpacked.clone()),
            Part::Journal => record = Some(member.unpacked.clone()),
            Part::People => {}
        }
        files += 1;
    }
    // Every version that was in force is kept in data/in-force/, so what goes here is not lost.
    let (texts, _) = home.read();
    for name in texts.schedules.keys().chain(texts.calendar.keys()) {
        if !members.iter().any(|member| member.name == *name) {
            fs::remove_file(home.dir.join(name)).map_err(failed)?;
        }
    }
    if let Some(people) = people {
        panel.people.join(&people).map_err(|_| failed(io::Error::other(PEOPLE)))?;
    }
    panel.daemon.reread().await?;
    let with_journal = match (has_journal, record, key) {
        (true, Some(record), Some(key)) => panel.daemon.adopt_journal(record, key).await?,
        _ => false,
    };
    Ok((files, with_journal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    const STATION: &str = "[station]\nid = \"a\"\nname = \"b\"\n";

    fn archive(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated))
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap()
    }

    #[test]
    fn only_names_of_a_backup_have_a_place() {
        for (name, place) in [
            ("station.toml", Some(Part::Station)),
            ("schedules/village.toml", Some(Part::Schedule)),
            ("schedules/calendar/2026.toml", Some(Part::Calendar)),
            ("audio/fraud/冒充领导.mp3", Some(Part::Clip)),
            ("audio/clips.toml", Some(Part::Notes)),
            ("data/people.json", Some(Part::People)),
            ("data/journal.db", Some(Part::Journal)),
            ("../station.toml", None),
            ("audio/../station.toml", None),
            ("audio/./a.wav", None),
            ("/etc/passwd", None),
            ("audio//a.wav", None),
            ("audio\\a.wav", None),
            ("C:/a.wav", None),
            ("audio/a.wav ", None),
            ("audio/.hidden", None),
            ("schedules/a/b.toml", None),
            ("schedules/a.txt", None),
            ("data/control.json", None),
            ("data/page-key.pem", None),
            ("audio/", None),
            ("", None),
        ] {
            assert_eq!(Part::of(name), place, "{name}");
        }
    }

    #[test]
    fn an_evil_archive_is_refused_while_it_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let bomb = vec![0; 2 << 20];
        let mut linked = ZipWriter::new(Cursor::new(Vec::new()));
        linked.add_symlink("audio/a.wav", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        for (what, archive, why) in [
            ("no archive", Cursor::new(b"PK nonsense".to_vec()), Unfit::NoArchive),
            ("a way out", archive(&[("audio/../../a", b"a")]), Unfit::Name("audio/../../a".into())),
            ("a link", linked.finish().unwrap(), Unfit::Name("audio/a.wav".into())),
            ("a bomb", archive(&[("schedules/a.toml", &bomb)]), Unfit::TooLarge("schedules/a.toml".into())),
            ("twice", archive(&[("audio/A.wav", b"a"), ("audio/a.wav", b"b")]), Unfit::Name("audio/a.wav".into())),
            ("file and folder", archive(&[("audio/a", b"a"), ("audio/a/b.wav", b"b")]), Unfit::Name("audio/a".into())),
        ] {
            assert_eq!(unpack(archive, folder.path(), ALL).unwrap_err(), why, "{what}");
        }
        let large = archive(&[("audio/a.wav", &bomb)]);
        assert_eq!(unpack(large, folder.path(), 1 << 20).unwrap_err(), Unfit::Disk("audio/a.wav".into()));
        let mut cut = archive(&[("audio/a.wav", &bomb)]).into_inner();
        cut.truncate(cut.len() / 2);
        assert_eq!(unpack(Cursor::new(cut), folder.path(), ALL).unwrap_err(), Unfit::NoArchive);
    }

    #[tokio::test]
    async fn what_would_not_run_is_refused_before_anything_is_touched() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("audio/folder")).unwrap();
        for (files, fits) in [
            (vec![("station.toml", STATION)], Ok(())),
            (vec![("audio/a.wav", "")], Err(Unfit::NoStation)),
            (vec![("station.toml", "[station]\nid = \"A\"\nname = \"b\"\n")], Err(Unfit::Text(String::new()))),
            (vec![("station.toml", STATION), ("schedules/a.toml", "title = ")], Err(Unfit::Text(String::new()))),
            (vec![("station.toml", STATION), ("schedules/calendar/x.toml", "")], Err(Unfit::Name(String::new()))),
            (vec![("station.toml", STATION), ("data/people.json", "[]")], Err(Unfit::Text(String::new()))),
            (vec![("station.toml", STATION), ("data/journal.db", "x")], Err(Unfit::Journal(String::new()))),
            (
                vec![("station.toml", STATION), ("data/journal.db", "x"), ("data/station.key", "x")],
                Err(Unfit::Journal(String::new())),
            ),
            (vec![("station.toml", STATION), ("audio/folder", "")], Err(Unfit::InTheWay(String::new()))),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let bytes: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
            let members = unpack(archive(&bytes), folder.path(), ALL).unwrap();
            let found = check(members, home.path()).await.map(|_| ());
            assert_eq!(
                found.as_ref().map_err(std::mem::discriminant),
                fits.as_ref().map_err(std::mem::discriminant),
                "{files:?}: {found:?}"
            );
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_home_leads_nothing_out_of_it() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), home.path().join("audio")).unwrap();
        assert_eq!(clear_way(home.path(), "audio/a.wav"), Err(Unfit::InTheWay("audio/a.wav".into())));
        assert_eq!(clear_way(home.path(), "schedules/a.toml"), Ok(()));
    }
}
