//! A delivered plan: the schedules a station is to play for its office, and the sounds they play.
//!
//! One document is the whole plan of its source: what is not in it is withdrawn. It is put in force whole, once every sound
//! of it is there; it stays in force when it is past its review, with an alarm: silence would be the worse mistake.
//!
//! Not here: how a schedule is read ([`crate::schedule::file`]), what comes of it ([`crate::plan`]).

use super::{Refused, Targets, refused, root::MOST_NUMBER};
use crate::{
    ingest::BIGGEST_BYTES,
    schedule::{ClipPath, Finding, PlayPath, Schedule, Source, file, is_name},
    text::{hex, unhex},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// As many schedules as a plan may hold.
pub const MOST_SCHEDULES: usize = 100;
/// As many sounds.
pub const MOST_SOUNDS: usize = 5_000;

/// The name of a sound: the sha256 of its bytes, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId([u8; 32]);

/// A text that is no sha256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct BadBlobId;

impl BlobId {
    /// Names these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl TryFrom<String> for BlobId {
    type Error = BadBlobId;
    fn try_from(text: String) -> Result<Self, BadBlobId> {
        let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        let bytes = unhex(&text).filter(|_| is_lower).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(BadBlobId)
    }
}

impl From<BlobId> for String {
    fn from(blob: BlobId) -> Self {
        blob.to_string()
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({})", hex(&self.0[..4]))
    }
}

/// A sound of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sound {
    /// What the schedules call it, as a path under `audio/`.
    pub path: ClipPath,
    /// What it is.
    pub sha256: BlobId,
    /// How long the file is.
    pub bytes: u64,
}

/// A delivered plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The root's.
    pub generation: u64,
    /// Higher than every one before it of this source in this generation.
    pub revision: u64,
    /// When it was signed.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub issued: Timestamp,
    /// When somebody must have looked at it again. From then on it is not put in force anew, so that nobody can hold back
    /// what follows it for ever; one in force plays on, and raises an alarm.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub review_by: Timestamp,
    /// Whom it is for.
    pub targets: Targets,
    /// `town` or `county`: at an equal moment the higher goes first.
    pub source: Source,
    /// Schedule texts by name (the stem of a local file), in the form of local ones.
    pub schedules: BTreeMap<String, String>,
    /// Every sound that they play.
    pub audio: Vec<Sound>,
}

/// The schedules of a plan as they were read.
#[derive(Debug)]
pub struct ReadPlan {
    /// In order of name.
    pub schedules: Vec<Schedule>,
    /// What is wrong in them: as in a local file, it costs what it stands in and nothing else.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Holds the plan against everything that needs no key, clock or memory.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let paths: BTreeSet<_> = self.audio.iter().map(|sound| &sound.path).collect();
        refused::unless([
            (self.revision >= 1 && self.revision <= MOST_NUMBER, "revision"),
            (self.source != Source::Station, "source"),
            (self.schedules.len() <= MOST_SCHEDULES, "schedules"),
            (self.schedules.keys().all(|name| is_name(name)), "name of a schedule"),
            (self.audio.len() <= MOST_SOUNDS, "audio"),
            (self.audio.iter().all(|sound| (1..=BIGGEST_BYTES).contains(&sound.bytes)), "length of a sound"),
            (paths.len() == self.audio.len(), "two sounds under one path"),
        ])?;
        let read = self.read()?;
        let announcements = read.schedules.iter().flat_map(|schedule| schedule.announcements.values());
        for announcement in announcements {
            if let Some(chime) = &announcement.chime {
                self.must_hold(chime, |path| path == chime)?;
            }
            for play in &announcement.play {
                match play {
                    PlayPath::Clip(clip) => self.must_hold(clip, |path| path == clip)?,
                    PlayPath::Folder(folder) => self.must_hold(folder, |path| path.is_in(folder))?,
                }
            }
        }
        Ok(())
    }

    fn must_hold(&self, path: &ClipPath, is_it: impl Fn(&ClipPath) -> bool) -> Result<(), Refused> {
        let is_there = self.audio.iter().any(|sound| is_it(&sound.path));
        if is_there { Ok(()) } else { Err(Refused::AudioNotListed { path: path.to_string() }) }
    }

    /// Reads the schedules with the parser of local files. One whose structure cannot be recovered refuses the plan.
    pub fn read(&self) -> Result<ReadPlan, Refused> {
        let mut read = ReadPlan { schedules: Vec::new(), findings: Vec::new() };
        for (name, text) in &self.schedules {
            let parsed = file::parse(self.source, &format!("{name}.toml"), text);
            read.findings.extend(parsed.findings);
            read.schedules.push(parsed.schedule.ok_or_else(|| Refused::Schedule { file: name.clone() })?);
        }
        Ok(read)
    }
}
