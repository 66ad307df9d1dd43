//! The station's home: its folders, its texts, and the version of them that is in force.
//!
//! A text that cannot be read never silences the village: the version in force keeps its place, and the finding says
//! so. Every accepted version is kept under `data/in-force/` before it takes effect; a restart uses it while a file is
//! bad, and judges the time spent down by it.

use crate::{
    calendar::{Calendar, YearFile},
    config::{self, Config},
    disk::write_whole,
    link::{self, BlobId, shell},
    plan::{Clips, Program},
    schedule::{ClipPath, Finding, Schedule, Severity, Source, file, file_of},
    text::{hex, place},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The largest text that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// Where delivered plans are, as findings name it.
const DELIVERED: &str = "data/office/link.json";
/// How many versions are kept to judge the time spent down.
const KEPT: usize = 50;

/// The folders of a home.
#[derive(Debug, Clone)]
pub struct Home {
    /// Holds `station.toml`.
    pub dir: PathBuf,
}

impl Home {
    /// Returns the home at `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `schedules/`
    pub fn schedules(&self) -> PathBuf {
        self.dir.join("schedules")
    }

    /// `audio/`
    pub fn audio(&self) -> PathBuf {
        self.dir.join("audio")
    }

    /// `data/`
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// `data/control.json`: address, pid and token of the running daemon.
    pub fn control(&self) -> PathBuf {
        self.data().join("control.json")
    }

    /// `data/journal.db`
    pub fn journal(&self) -> PathBuf {
        self.data().join("journal.db")
    }

    fn in_force(&self) -> PathBuf {
        self.data().join("in-force")
    }

    /// Reads every text of the home. What cannot be read is a finding and no text.
    pub fn read(&self) -> (Texts, Vec<Finding>) {
        let mut texts = Texts::default();
        let mut findings = Vec::new();
        match read_text(&self.dir.join(config::FILE)) {
            Ok(text) => texts.station = Some(text),
            Err(Unreadable::Absent) => {}
            Err(why) => {
                findings.push(why.finding(config::FILE));
                texts.unreadable.push(config::FILE.to_owned());
            }
        }
        for (folder, calendar) in [("schedules", false), ("schedules/calendar", true)] {
            for name in toml_files(&self.dir.join(folder)) {
                let file = format!("{folder}/{name}");
                match read_text(&self.dir.join(folder).join(&name)) {
                    Ok(text) if calendar => drop(texts.calendar.insert(file, text)),
                    Ok(text) => drop(texts.schedules.insert(file, text)),
                    Err(Unreadable::Absent) => {}
                    Err(why) => {
                        findings.push(why.finding(&file));
                        texts.unreadable.push(file);
                    }
                }
            }
        }
        match shell::delivered(&self.data()) {
            Ok(plans) => {
                texts.delivered = plans.into_iter().map(|(source, plan)| (source, plan.into())).collect();
            }
            Err(error) => {
                findings.push(Finding {
                    file: DELIVERED.to_owned(),
                    line: None,
                    column: None,
                    severity: Severity::Error,
                    code: "unreadable",
                    message: format!("{error}；在此之前，下发的计划照旧播出"),
                });
                texts.unreadable.push(DELIVERED.to_owned());
            }
        }
        (texts, findings)
    }

    /// Writes a text of the home, whole or not at all; who may read it stays as it was. `file` is relative to the home.
    pub fn put(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let permissions = fs::metadata(&path).map(|about| about.permissions());
        write_whole(&path, text.as_bytes())?;
        // A text of the home is nobody's secret: it is edited by hand too.
        #[cfg(unix)]
        let permissions = permissions.or_else(|_| {
            use std::os::unix::fs::PermissionsExt as _;
            Ok::<_, io::Error>(fs::Permissions::from_mode(0o644))
        });
        permissions.map_or(Ok(()), |permissions| fs::set_permissions(&path, permissions))
    }

    /// Returns the station's zone, for commands that need nothing else of the home.
    pub fn zone(&self) -> TimeZone {
        let text = read_text(&self.dir.join(config::FILE)).ok();
        text.and_then(|text| Config::parse(&text).ok()).unwrap_or_else(Config::first_run).zone
    }

    /// Reads the text of one schedule; none if there is no such file. `name` is the file's stem.
    pub fn schedule(&self, name: &str) -> Result<Option<String>, Finding> {
        let file = format!("schedules/{name}.toml");
        match read_text(&self.dir.join(&file)) {
            Ok(text) => Ok(Some(text)),
            Err(Unreadable::Absent) => Ok(None),
            Err(why) => Err(why.finding(&file)),
        }
    }

    /// Keeps a version before it takes effect.
    pub fn keep(&self, version: &Version) -> io::Result<()> {
        let dir = self.in_force();
        fs::create_dir_all(&dir)?;
        let mut names = version_files(&dir);
        // Numbered in the order in which they came: the clock may be wrong.
        let number = names.last().and_then(|last| number(last)).map_or(0, |last| last + 1);
        let path = dir.join(format!("{number:010}-{}.json", version.revision));
        write_whole(&path, &serde_json::to_vec(version).map_err(io::Error::other)?)?;
        names.push(path);
        names.reverse();
        for old in names.iter().skip(KEPT) {
            // A version that cannot be removed only takes room.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    /// Notes when the last version kept under this name took effect; what is on record only moves back.
    pub fn date(&self, revision: &str, effective: Timestamp) -> io::Result<()> {
        for path in version_files(&self.in_force()).iter().rev() {
            let Ok(mut version) = serde_json::from_slice::<Version>(&fs::read(path)?) else { continue };
            if version.revision == revision {
                if version.effective.is_none_or(|known| effective < known) {
                    version.effective = Some(effective);
                    write_whole(path, &serde_json::to_vec(&version).map_err(io::Error::other)?)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the versions kept, in the order in which they came; unreadable ones are left out.
    pub fn versions(&self) -> Vec<Version> {
        let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        version_files(&self.in_force()).iter().filter_map(read).collect()
    }
}

fn version_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    files
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

fn toml_files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

enum Unreadable {
    Absent,
    TooLarge,
    NotText,
    Refused(io::Error),
}

impl Unreadable {
    fn finding(self, file: &str) -> Finding {
        let (code, message) = match self {
            Self::Absent => ("unreadable", "文件不见了；请放回原处".to_owned()),
            Self::TooLarge => ("file-too-large", "文件超过 1 MB，不像播放计划；请检查是否放错了文件".to_owned()),
            Self::NotText => ("not-utf8", "文件不是 UTF-8 文本；请用记事本另存为 UTF-8 编码".to_owned()),
            Self::Refused(error) => ("unreadable", format!("文件打不开（{error}）；请检查文件权限")),
        };
        Finding { file: file.to_owned(), line: None, column: None, severity: Severity::Error, code, message }
    }
}

fn read_text(path: &Path) -> Result<String, Unreadable> {
    match fs::metadata(path) {
        Ok(facts) if facts.len() > LARGEST => return Err(Unreadable::TooLarge),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unreadable::Absent),
        Err(error) => return Err(Unreadable::Refused(error)),
    }
    let bytes = fs::read(path).map_err(Unreadable::Refused)?;
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

/// The texts of a home, by path relative to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// `station.toml`
    pub station: Option<String>,
    /// `schedules/*.toml`
    pub schedules: BTreeMap<String, String>,
    /// `schedules/calendar/*.toml`
    pub calendar: BTreeMap<String, String>,
    /// What offices delivered, by who issued it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delivered: BTreeMap<Source, Delivered>,
    /// Files that exist and could not be read: the version in force keeps its place for them.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

impl Texts {
    /// Returns the path by which the library knows a clip: what an office delivered goes by what it is there.
    pub fn sound(&self, path: &ClipPath) -> ClipPath {
        let named = |source| {
            let plan = self.delivered.get(&source)?;
            let own = ClipPath::try_from(path.named().to_owned()).ok()?;
            let blob = plan.sounds.get(&own).filter(|_| ClipPath::delivered(source, &own) == *path)?;
            Some(ClipPath::sound(blob))
        };
        [Source::Town, Source::County].into_iter().find_map(named).unwrap_or_else(|| path.clone())
    }
}

/// A delivered plan, as far as it decides what plays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    /// Schedule texts by name, in the form of local ones.
    pub schedules: BTreeMap<String, String>,
    /// Every sound that they play, by the path they have for it.
    pub sounds: BTreeMap<ClipPath, BlobId>,
}

impl From<link::Plan> for Delivered {
    fn from(plan: link::Plan) -> Self {
        let sounds = plan.audio.into_iter().map(|sound| (sound.path, sound.sha256)).collect();
        Self { schedules: plan.schedules, sounds }
    }
}

/// One version of the texts, from the moment it took effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// When it took effect; none until that is known.
    pub effective: Option<Timestamp>,
    /// 16 hex digits: the hash of the texts.
    pub revision: String,
    /// What was in force.
    pub texts: Texts,
}

/// Texts made into values.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// What is in force: where a text was bad, the one before it.
    pub texts: Texts,
    /// 16 hex digits.
    pub revision: String,
    /// From `station.toml`; none where it is bad and none was in force, or there is none at all.
    pub config: Option<Config>,
    /// Everything that decides what plays.
    pub program: Program,
    /// In order of file and place.
    pub findings: Vec<Finding>,
}

impl Assembled {
    /// Puts other sounds in the place of those it has: what the library knows, whoever they came from.
    pub fn supply(&mut self, clips: Clips) {
        self.program.clips = with_delivered(clips, &self.texts.delivered);
    }

    /// Returns what is kept of it before it takes effect.
    pub fn version(&self) -> Version {
        Version { effective: None, revision: self.revision.clone(), texts: self.texts.clone() }
    }

    /// Returns whether the home has a usable `station.toml`, or none at all (first run).
    pub fn is_usable(&self) -> bool {
        self.config.is_some() || self.texts.station.is_none()
    }
}

/// Makes texts into values. A text without a recoverable structure gives its place to the one in `in_force`.
pub fn assemble(texts: &Texts, in_force: Option<&Texts>, clips: Clips) -> Assembled {
    let mut effective = Texts::default();
    let mut findings = Vec::new();

    let before = in_force.and_then(|old| old.station.as_ref());
    let mut config = None;
    match (&texts.station, texts.unreadable.iter().any(|file| file == config::FILE)) {
        (Some(text), _) => match Config::parse(text) {
            Ok(read) => (config, effective.station) = (Some(read), Some(text.clone())),
            Err(faults) => {
                findings.extend(faults);
                config = before.and_then(|text| Config::parse(text).ok());
                effective.station = if config.is_some() { before.cloned() } else { Some(text.clone()) };
            }
        },
        (None, true) => {
            config = before.and_then(|text| Config::parse(text).ok());
            effective.station = before.cloned();
        }
        (None, false) => {}
    }

    let mut calendar = Calendar::shipped();
    for (file, text) in with_unreadable(&texts.calendar, texts, in_force.map(|old| &old.calendar)) {
        let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml");
        let Some(year) = stem.parse::<i16>().ok().filter(|year| (1950..=2199).contains(year)) else {
            findings.push(Finding {
                file: file.clone(),
                line: None,
                column: None,
                severity: Severity::Warning,
                code: "not-a-year",
                message: "日历文件要以年份命名，例如 2027.toml；这个文件没有使用".into(),
            });
            continue;
        };
        match YearFile::parse(year, text) {
            Ok(read) => {
                calendar.replace(read);
                effective.calendar.insert(file.clone(), text.clone());
            }
            Err(faults) => {
                findings.extend(faults.into_iter().map(|fault| {
                    let at = fault.at.map(|at| place(text, at));
                    Finding {
                        file: file.clone(),
                        line: at.map(|(line, _)| line),
                        column: at.map(|(_, column)| column),
                        severity: Severity::Error,
                        code: "bad-calendar",
                        message: fault.message,
                    }
                }));
                if let Some((text, read)) = in_force.and_then(|old| {
                    let text = old.calendar.get(file)?;
                    Some((text, YearFile::parse(year, text).ok()?))
                }) {
                    calendar.replace(read);
                    effective.calendar.insert(file.clone(), text.clone());
                }
            }
        }
    }

    let mut schedules = Vec::new();
    for (file, text) in with_unreadable(&texts.schedules, texts, in_force.map(|old| &old.schedules)) {
        let parsed = file::parse(Source::Station, file, text);
        findings.extend(parsed.findings);
        let mut read = parsed.schedule.map(|schedule| (text, schedule));
        if read.is_none() {
            read = in_force.and_then(|old| {
                let text = old.schedules.get(file)?;
                Some((text, file::parse(Source::Station, file, text).schedule?))
            });
        }
        if let Some((text, schedule)) = read {
            schedules.push(schedule);
            effective.schedules.insert(file.clone(), text.clone());
        }
    }
    let kept = in_force.filter(|_| texts.unreadable.iter().any(|file| file == DELIVERED));
    effective.delivered.clone_from(&kept.unwrap_or(texts).delivered);
    for (source, plan) in &effective.delivered {
        for (name, text) in &plan.schedules {
            let parsed = file::parse(*source, &file_of(*source, name), text);
            findings.extend(parsed.findings);
            schedules.extend(parsed.schedule.map(Schedule::at_station));
        }
    }
    schedules.sort_by(|a, b| (a.source, &a.name).cmp(&(b.source, &b.name)));
    findings.sort();

    let known = config.clone().unwrap_or_else(Config::first_run);
    let clips = with_delivered(clips, &effective.delivered);
    let program = Program { zone: known.zone, schedules, calendar, hours: known.hours, closed: known.closed, clips };
    Assembled { revision: revision(&effective), texts: effective, config, program, findings }
}

/// Gives the sounds that offices delivered the paths by which their schedules know them.
fn with_delivered(mut clips: Clips, delivered: &BTreeMap<Source, Delivered>) -> Clips {
    for (source, plan) in delivered {
        for (path, blob) in &plan.sounds {
            let Some(mut clip) = clips.get(&ClipPath::sound(blob)).cloned() else { continue };
            // A sound without a title of its own was named after its file, whose name says nothing.
            if clip.title == blob.to_string() {
                clip.title = path.stem().to_owned();
            }
            clips.0.insert(ClipPath::delivered(*source, path), clip);
        }
    }
    clips
}

/// Returns the texts at hand and, for files that could not be read, those in force.
fn with_unreadable<'a>(
    at_hand: &'a BTreeMap<String, String>,
    texts: &Texts,
    in_force: Option<&'a BTreeMap<String, String>>,
) -> BTreeMap<&'a String, &'a String> {
    let mut all: BTreeMap<_, _> = at_hand.iter().collect();
    let kept = in_force.into_iter().flatten().filter(|(file, _)| texts.unreadable.contains(file));
    all.extend(kept);
    all
}

fn revision(texts: &Texts) -> String {
    let mut hash = Sha256::new();
    let station = texts.station.iter().map(|text| (config::FILE, text));
    let files = texts.calendar.iter().chain(&texts.schedules).map(|(file, text)| (file.as_str(), text));
    let mut take = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    for (file, text) in station.chain(files) {
        take(file);
        take(text);
    }
    for (source, plan) in &texts.delivered {
        for (name, text) in &plan.schedules {
            take(&file_of(*source, name));
            take(text);
        }
        for (path, blob) in &plan.sounds {
            take(ClipPath::delivered(*source, path).as_str());
            take(&blob.to_string());
        }
    }
    hex(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "title = \"早\"\n[announcement.a]\nplay = [\"a.wav\"]\n[[rule]]\nplay = \"a\"\nat = [\"06:30\"]\n";

    fn texts(schedule: &str) -> Texts {
        Texts { schedules: BTreeMap::from([("schedules/day.toml".into(), schedule.into())]), ..Texts::default() }
    }

    #[test]
    fn a_file_without_structure_leaves_the_version_in_force() {
        let in_force = assemble(&texts(GOOD), None, Clips::default());
        let broken = assemble(&texts("title = \n[[[ ="), Some(&in_force.texts), Clips::default());
        assert!(!broken.findings.is_empty());
        assert_eq!(broken.program.schedules.len(), 1);
    }

    #[test]
    fn a_removed_file_is_gone_and_an_unreadable_one_is_not() {
        let in_force = assemble(&texts(GOOD), None, Clips::default());
        let gone = assemble(&Texts::default(), Some(&in_force.texts), Clips::default());
        assert!(gone.program.schedules.is_empty());
        let locked = Texts { unreadable: vec!["schedules/day.toml".into()], ..Texts::default() };
        assert_eq!(assemble(&locked, Some(&in_force.texts), Clips::default()).program.schedules.len(), 1);
    }

    /// A plan of the town that plays `a.wav`, which is the sound `of`.
    fn town(of: &[u8]) -> BTreeMap<Source, Delivered> {
        let sounds = BTreeMap::from([(ClipPath::try_from("a.wav".to_owned()).expect("a path"), BlobId::of(of))]);
        BTreeMap::from([(Source::Town, Delivered { schedules: BTreeMap::from([("day".into(), GOOD.into())]), sounds })])
    }

    fn clip(title: &str) -> crate::plan::Clip {
        let state = crate::plan::ClipState::Pending;
        crate::plan::Clip { title: title.into(), valid_from: None, valid_until: None, retired: false, state }
    }

    #[test]
    fn a_delivered_schedule_plays_its_own_sounds_beside_local_ones_of_the_same_name() {
        let local = ClipPath::try_from("a.wav".to_owned()).expect("a path");
        let delivered = ClipPath::delivered(Source::Town, &local);
        let sound = ClipPath::sound(BlobId::of(b"town"));
        let name = BlobId::of(b"town").to_string();
        for (sound_title, title) in [(name.as_str(), "a"), ("镇长讲话", "镇长讲话")] {
            let clips = Clips([(local.clone(), clip("本村")), (sound.clone(), clip(sound_title))].into());
            let both = Texts { delivered: town(b"town"), ..texts(GOOD) };
            let assembled = assemble(&both, None, clips);
            let plays: Vec<_> = assembled
                .program
                .schedules
                .iter()
                .map(|schedule| (schedule.source, schedule.announcements["a"].play[0].to_string()))
                .collect();
            assert_eq!(plays, [(Source::Station, "a.wav".into()), (Source::Town, ".town/a.wav".into())]);
            let titles =
                [&local, &delivered].map(|path| assembled.program.clips.get(path).expect("a clip").title.clone());
            assert_eq!(titles, ["本村", title]);
            assert_eq!(assembled.texts.sound(&delivered), sound);
            assert_eq!(assembled.texts.sound(&local), local);
        }
    }

    #[test]
    fn a_delivered_plan_is_part_of_the_version_and_stays_while_it_cannot_be_read() {
        let with = |delivered| assemble(&Texts { delivered, ..texts(GOOD) }, None, Clips::default());
        let (none, one, other) = (with(BTreeMap::new()), with(town(b"1")), with(town(b"2")));
        assert_eq!(none.revision, assemble(&texts(GOOD), None, Clips::default()).revision);
        assert!(none.revision != one.revision && one.revision != other.revision);
        let kept: Version =
            serde_json::from_slice(&serde_json::to_vec(&one.version()).expect("JSON")).expect("a version");
        assert_eq!(kept.texts.delivered, town(b"1"));
        let unreadable = Texts { unreadable: vec![DELIVERED.into()], ..texts(GOOD) };
        assert_eq!(assemble(&unreadable, Some(&one.texts), Clips::default()).revision, one.revision);
        assert_eq!(assemble(&texts(GOOD), Some(&one.texts), Clips::default()).revision, none.revision, "withdrawn");
    }

    #[test]
    fn versions_come_back_in_the_order_they_came_whatever_the_clock_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::new(dir.path());
        for second in [30, 10, 20] {
            let version = Version {
                effective: Timestamp::from_second(second).ok(),
                revision: format!("{second:016x}"),
                texts: texts(GOOD),
            };
            home.keep(&version).expect("kept");
        }
        let seconds = || -> Vec<i64> {
            home.versions().iter().map(|version| version.effective.expect("dated").as_second()).collect()
        };
        assert_eq!(seconds(), [30, 10, 20]);
        for (to, expected) in [(25, [30, 10, 20]), (15, [30, 10, 15])] {
            home.date(&format!("{:016x}", 20), Timestamp::from_second(to).expect("in range")).expect("dated");
            assert_eq!(seconds(), expected, "a moment on record only moves back");
        }
    }
}
