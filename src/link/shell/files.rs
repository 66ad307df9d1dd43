//! What the link leaves on the disk, all of it under `data/office/`: `link.json` is what it remembers, `*.plan` are the
//! plans in force as they came, and a sound has its sha256 for a name.
//!
//! Always true: a file under its name is whole. `link.json` is small, for every change of a command writes it anew; a plan
//! is on the disk before `link.json` names it.

use super::super::{
    BlobId, Plan, StationId,
    station::{Held, Kept, KeptPlan},
};
use super::{EnrolError, tls::Pin};
use crate::{
    disk::{PIECE, sync_folder, write_whole},
    schedule::Source,
    text::hex,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// The folder's name under `data/`.
pub const FOLDER: &str = "office";
/// What is remembered.
const LINK: &str = "link.json";
/// A larger one is none of ours.
const LARGEST: u64 = 64 << 20;
/// Sounds that nothing plays any more are kept for so long: the plan of last week may come back.
const LINGER: Duration = Duration::from_secs(30 * 24 * 3600);

/// The station and its office.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// Where the office is: `https://…`, without a slash at its end.
    pub office: String,
    /// The key of its certificate at enrolment.
    pub pin: Option<Pin>,
    /// When the office was heard last, as far as that was worth a write.
    #[serde(default)]
    pub heard: Option<Timestamp>,
    /// How far it has come.
    pub standing: Standing,
}

impl Membership {
    /// Somebody has compared the words, and they are the same.
    pub(super) fn compared(&mut self) -> Result<(), EnrolError> {
        let Standing::Asked(asking) = &mut self.standing else { return Err(EnrolError::Nothing) };
        asking.compared = true;
        Ok(())
    }
}

/// How far an enrolment has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The office was asked.
    Asked(Asking),
    /// The office has taken the station in.
    Member(Box<Kept>),
}

/// An enrolment on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asking {
    /// The code that was typed.
    pub code: String,
    /// Under which name.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// The root that the office showed.
    pub root: String,
    /// Somebody here has compared the words.
    pub compared: bool,
}

/// Why what is remembered cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system said no.
    #[error("data/office 读不出来；请检查磁盘和权限")]
    Io(#[from] io::Error),
    /// It is no such file.
    #[error("data/office/link.json 已损坏；请从备份恢复，或在设置里退出后重新加入镇中心")]
    Damaged(#[from] serde_json::Error),
    /// A plan is gone, or is another one.
    #[error("data/office 里的计划文件 {0} 不见了或已损坏；请从备份恢复，或在设置里退出后重新加入镇中心")]
    Plan(BlobId),
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// The files of a station whose `data` folder this is.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join(FOLDER) }
    }

    /// Reads what is remembered; nothing where there never was an office.
    pub fn read(&self) -> Result<Option<Membership>, FilesError> {
        let Some(bytes) = read(&self.folder.join(LINK))? else { return Ok(None) };
        let mut membership: Membership = serde_json::from_slice(&bytes)?;
        if let Standing::Member(kept) = &mut membership.standing {
            for plan in kept.plans.values_mut() {
                plan.envelope = self.plan(&plan.envelope)?;
            }
        }
        Ok(Some(membership))
    }

    fn plan(&self, name: &str) -> Result<String, FilesError> {
        let blob = BlobId::try_from(name.to_owned()).map_err(|_| FilesError::Io(io::ErrorKind::InvalidData.into()))?;
        let bytes = read(&self.plan_file(&blob))?.filter(|bytes| BlobId::of(bytes) == blob);
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(FilesError::Plan(blob))
    }

    /// Writes what is to be remembered; durable when it returns.
    pub fn write(&self, membership: &Membership) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut written = membership.clone();
        if let Standing::Member(kept) = &mut written.standing {
            for plan in kept.plans.values_mut() {
                let blob = BlobId::of(plan.envelope.as_bytes());
                if !self.plan_file(&blob).exists() {
                    write_whole(&self.plan_file(&blob), plan.envelope.as_bytes())?;
                }
                plan.envelope = blob.to_string();
            }
        }
        write_whole(&self.folder.join(LINK), &serde_json::to_vec(&written)?)
    }

    /// Forgets the office, and with it what it delivered.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(LINK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_folder(&self.folder.join(LINK)),
        }
    }

    fn plan_file(&self, blob: &BlobId) -> PathBuf {
        self.folder.join(format!("{blob}.plan"))
    }

    /// Where a whole sound is, if it is there.
    pub fn whole(&self, blob: &BlobId) -> PathBuf {
        self.folder.join(blob.to_string())
    }

    /// Where the beginning of a sound is.
    pub(super) fn part(&self, blob: &BlobId) -> PathBuf {
        self.folder.join(format!("{PIECE}{blob}"))
    }

    /// Returns how much of a sound is here. What has its name was held against its hash when it got it.
    pub(super) fn look(&self, blob: &BlobId, bytes: u64) -> Held {
        let length = |file: PathBuf| fs::metadata(file).ok().filter(fs::Metadata::is_file).map(|about| about.len());
        if length(self.whole(blob)) == Some(bytes) {
            return Held::Whole;
        }
        match length(self.part(blob)) {
            Some(here) if here < bytes => Held::Part(here),
            // All of it came and nobody has looked at it yet, or more than all.
            Some(_) => self.finish(blob, bytes).unwrap_or(Held::Part(0)),
            None => Held::Part(0),
        }
    }

    /// Opens the beginning of a sound to write on behind byte `from`.
    pub(super) fn open_part(&self, blob: &BlobId, from: u64) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let mut file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.part(blob))?;
        file.set_len(from)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(file)
    }

    /// Holds a sound of which all has come against its hash, and gives it its name, or throws it away.
    pub(super) fn finish(&self, blob: &BlobId, bytes: u64) -> io::Result<Held> {
        let part = self.part(blob);
        let file = File::open(&part)?;
        if file.metadata()?.len() != bytes || hash(&file)? != *blob {
            fs::remove_file(&part)?;
            return Ok(Held::Part(0));
        }
        file.sync_all()?;
        fs::rename(&part, self.whole(blob))?;
        sync_folder(&part)?;
        Ok(Held::Whole)
    }

    /// Stores a sound that came whole.
    pub(super) fn store(&self, blob: &BlobId, bytes: &[u8]) -> io::Result<()> {
        if BlobId::of(bytes) != *blob {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fs::create_dir_all(&self.folder)?;
        let file = self.whole(blob);
        if fs::metadata(&file).is_ok_and(|about| about.len() == bytes.len() as u64) {
            return Ok(());
        }
        write_whole(&file, bytes)
    }

    /// Removes the plans and sounds that `kept` and `wanted` do not name: plans at once, sounds and pieces of them when
    /// nobody has touched them for a month.
    pub(super) fn sweep(&self, kept: &Kept, wanted: &BTreeSet<BlobId>, now: Timestamp) {
        let plans: BTreeSet<_> =
            kept.plans.values().map(|plan| format!("{}.plan", BlobId::of(plan.envelope.as_bytes()))).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_old = || {
                let modified = entry.metadata().ok().and_then(|about| about.modified().ok());
                let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
                let now = u64::try_from(now.as_second()).map(Duration::from_secs).unwrap_or_default();
                now.saturating_sub(modified) > LINGER
            };
            let digits = name.strip_prefix(PIECE).unwrap_or(&name);
            let goes = match BlobId::try_from(digits.to_owned()) {
                Ok(blob) => !wanted.contains(&blob) && is_old(),
                Err(_) => name.ends_with(".plan") && !plans.contains(&name),
            };
            if goes {
                // What cannot be removed now can be at the next try.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The plans in force, as they stand on the disk. What cannot be read says so, and is not there.
pub fn delivered(data: &Path) -> Result<BTreeMap<Source, Plan>, FilesError> {
    let Some(Membership { standing: Standing::Member(kept), .. }) = Files::new(data).read()? else {
        return Ok(BTreeMap::new());
    };
    let read = |(source, plan): (&Source, &KeptPlan)| {
        let blob = BlobId::of(plan.envelope.as_bytes());
        Ok((*source, plan.plan().map_err(|_| FilesError::Plan(blob))?))
    };
    kept.plans.iter().map(read).collect()
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn hash(mut file: &File) -> io::Result<BlobId> {
    let (mut hash, mut block) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut block)? {
            0 => return BlobId::try_from(hex(&hash.finalize())).map_err(io::Error::other),
            read => hash.update(&block[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        (dir, files)
    }

    fn come(files: &Files, blob: &BlobId, from: u64, bytes: &[u8]) {
        files.open_part(blob, from).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn a_sound_gets_its_name_when_all_of_it_is_here_and_right() {
        let sound = b"0123456789";
        for (pieces, expected) in [
            (vec![(0, "0123456789")], Held::Whole),
            (vec![(0, "01234"), (5, "56789")], Held::Whole),
            (vec![(0, "01234xxx"), (5, "56789")], Held::Whole),
            (vec![(0, "01234")], Held::Part(5)),
            (vec![(0, "012345678x")], Held::Part(0)),
            (vec![(0, "0123456789 and more")], Held::Part(0)),
            (vec![], Held::Part(0)),
        ] {
            let (_dir, files) = files();
            let blob = BlobId::of(sound);
            for (from, bytes) in &pieces {
                come(&files, &blob, *from, bytes.as_bytes());
            }
            assert_eq!(files.look(&blob, 10), expected, "{pieces:?}");
            assert_eq!(files.look(&blob, 10), expected, "{pieces:?}, again");
            assert_eq!(files.whole(&blob).exists(), expected == Held::Whole);
        }
    }

    #[test]
    fn a_sound_that_came_along_is_stored_only_under_its_own_name() {
        let (_dir, files) = files();
        let blob = BlobId::of(b"abc");
        assert!(files.store(&blob, b"abd").is_err());
        assert_eq!(files.look(&blob, 3), Held::Part(0));
        files.store(&blob, b"abc").unwrap();
        assert_eq!(files.look(&blob, 3), Held::Whole);
    }

    #[test]
    fn what_is_remembered_that_is_damaged_is_said_to_be_and_is_not_taken_for_nothing() {
        let (_dir, files) = files();
        assert!(files.read().unwrap().is_none());
        fs::create_dir_all(&files.folder).unwrap();
        fs::write(files.folder.join(LINK), "{\"office\":").unwrap();
        assert!(matches!(files.read(), Err(FilesError::Damaged(_))));
        files.forget().unwrap();
        files.forget().unwrap();
        assert!(files.read().unwrap().is_none());
    }
}
