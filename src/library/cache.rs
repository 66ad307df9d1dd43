//! What is remembered of files, by path, size and time: `data/ready/index.json`.

use crate::{
    disk::write_whole,
    ingest::{Prepared, Refused},
    schedule::ClipPath,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// A file unchanged has an unchanged stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    /// None where files have no number.
    inode: Option<u64>,
}

impl Stamp {
    pub fn of(file: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(file)?))
    }

    /// Returns whether the file changed within `age` before `now`, or after it: then it may still be growing.
    pub fn is_younger(&self, now: Timestamp, age: Duration) -> bool {
        let now = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        // A time far ahead is a wrong clock's, and no sign of change.
        (now.saturating_sub(self.modified)).abs() < age
    }
}

impl From<&std::fs::Metadata> for Stamp {
    fn from(about: &std::fs::Metadata) -> Self {
        let since = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Self { size: about.len(), modified: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), inode: inode(about) }
    }
}

#[cfg(unix)]
fn inode(about: &std::fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(about))
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> Option<u64> {
    None
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Known {
    /// It can play.
    Prepared {
        /// What was learned.
        prepared: Prepared,
        /// Size of the prepared file; none where it was only measured.
        bytes: Option<u64>,
    },
    /// It cannot.
    Refused {
        /// Why.
        refused: Refused,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    stamp: Stamp,
    known: Known,
}

/// Counts up when what is measured changes: older caches are forgotten.
const VERSION: u32 = 1;

/// A bigger cache is none of ours.
const BIGGEST: u64 = 64 << 20;

/// Everything remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Cache {
    version: u32,
    files: BTreeMap<ClipPath, Row>,
}

impl Cache {
    /// Reads a cache; an empty one where there is none that can be read.
    pub fn load(file: &Path) -> Self {
        let read = || -> Option<Self> {
            let mut text = String::new();
            std::fs::File::open(file).ok()?.take(BIGGEST).read_to_string(&mut text).ok()?;
            serde_json::from_str::<Self>(&text).ok().filter(|cache| cache.version == VERSION)
        };
        read().unwrap_or_default()
    }

    /// Takes in what `other` knows beside.
    pub fn add(&mut self, other: Self) {
        for (path, row) in other.files {
            let newer = self.files.get(&path).is_none_or(|own| own.stamp.modified < row.stamp.modified);
            if newer {
                self.files.insert(path, row);
            }
        }
    }

    pub fn get(&self, path: &ClipPath, stamp: Stamp) -> Option<&Known> {
        self.files.get(path).filter(|row| row.stamp == stamp).map(|row| &row.known)
    }

    pub fn put(&mut self, path: ClipPath, stamp: Stamp, known: Known) {
        self.files.insert(path, Row { stamp, known });
    }

    /// Returns what is known of the files that can play.
    pub fn prepared(self) -> BTreeMap<ClipPath, Prepared> {
        let rows = self.files.into_iter();
        rows.filter_map(|(path, row)| match row.known {
            Known::Prepared { prepared, .. } => Some((path, prepared)),
            Known::Refused { .. } => None,
        })
        .collect()
    }

    /// Forgets files that are gone.
    pub fn retain(&mut self, files: &BTreeMap<ClipPath, (PathBuf, Stamp)>) {
        self.files.retain(|path, _| files.contains_key(path));
    }

    /// Writes the cache, whole or not at all.
    pub fn save(&mut self, file: &Path) -> io::Result<()> {
        self.version = VERSION;
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        write_whole(file, &serde_json::to_vec(self)?)
    }
}
