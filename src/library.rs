//! What is in `audio/`, and what offices delivered, and what became of it.
//!
//! [`Library::survey`] walks the folder and knows every file it has met before by path, size and time, so that an
//! unchanged file is not read again. [`Library::scan`] sends the others through the ingest child, two at a time and the
//! needed ones first. A prepared sound is `data/ready/SHA256.flac`, whole or not there at all.
//!
//! [`Library::look`] is for commands beside a daemon: it measures and writes nothing but its own cache.
//!
//! Not here: what decoding and measuring are ([`crate::ingest`]), when to scan again (the daemon).

mod cache;
mod notes;
pub mod shelf;
mod walk;

use crate::{
    clock,
    disk::{PIECE, sync_folder},
    ingest::{Prepared, Refused, run_child},
    link::shell::FOLDER,
    plan::{Clip, ClipState, Clips},
    schedule::{ClipPath, Finding, Severity},
};
use cache::{Cache, Known, Stamp};
use notes::Notes;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinSet;

/// A file changed this recently may still be on its way here: a refusal is not believed yet.
const STILL_COPYING: Duration = Duration::from_secs(5);

/// How many children at once, at most.
const CHILDREN: usize = 2;

/// A file that takes too long may do so because the machine is busy: so often it is tried.
const PATIENCE: u8 = 3;

/// The sounds of a station.
#[derive(Debug)]
pub struct Library {
    audio: PathBuf,
    /// Sounds that offices delivered, each under its sha256.
    delivered: PathBuf,
    ready: PathBuf,
    exe: PathBuf,
    target_lufs: f64,
    /// Prepares, not only measures.
    prepares: bool,
    cache: Cache,
    /// Every file met by the last survey.
    files: BTreeMap<ClipPath, (PathBuf, Stamp)>,
    clips: Clips,
    findings: Vec<Finding>,
    /// How often each file took too long.
    slow: BTreeMap<ClipPath, u8>,
}

impl Library {
    /// Opens the library of the daemon: `audio` and `data` are folders of the home, `exe` is our own executable, whose
    /// child decodes. Sweeps what an interrupted run left behind.
    pub fn open(audio: PathBuf, data: PathBuf, exe: PathBuf, target_lufs: f64) -> Self {
        let library = Self::new(audio, data, exe, target_lufs, true);
        for entry in std::fs::read_dir(&library.ready).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PIECE) {
                // What cannot be removed now can be at the next start.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        library
    }

    /// Opens the library for looking, beside a daemon or without one.
    pub fn look(audio: PathBuf, data: PathBuf, exe: PathBuf, target_lufs: f64) -> Self {
        Self::new(audio, data, exe, target_lufs, false)
    }

    fn new(audio: PathBuf, data: PathBuf, exe: PathBuf, target_lufs: f64, prepares: bool) -> Self {
        let ready = data.join("ready");
        let mut cache = Cache::load(&ready.join("index.json"));
        if !prepares {
            cache.add(Cache::load(&ready.join("looked.json")));
        }
        Self {
            audio,
            delivered: data.join(FOLDER),
            ready,
            exe,
            target_lufs,
            prepares,
            cache,
            files: BTreeMap::new(),
            clips: Clips::default(),
            findings: Vec::new(),
            slow: BTreeMap::new(),
        }
    }

    /// Returns the clips as the last survey or scan found them.
    pub fn clips(&self) -> &Clips {
        &self.clips
    }

    /// Returns what is wrong with `clips.toml`, file names and refused clips. A refused clip is a warning: whether it
    /// will be missed is for who knows the schedules.
    pub fn findings(&self) -> Vec<Finding> {
        let refused = self.clips.0.iter().filter_map(|(path, clip)| match &clip.state {
            ClipState::Refused(why) => Some(Finding {
                file: path.file(),
                line: None,
                column: None,
                severity: Severity::Warning,
                code: "clip-refused",
                message: why.zh.clone(),
            }),
            ClipState::Ready { .. } | ClipState::Pending => None,
        });
        self.findings.iter().cloned().chain(refused).collect()
    }

    /// Walks `audio/` and takes in what is known of its files; the others are [`ClipState::Pending`].
    pub fn survey(&mut self) {
        let (mut files, mut findings) = walk::walk(&self.audio);
        let notes = Notes::read(&self.audio.join("clips.toml"), &files, &mut findings);
        files.extend(walk::delivered(&self.delivered));
        self.clips =
            Clips(files.iter().map(|(path, (_, stamp))| (path.clone(), self.clip(path, *stamp, &notes))).collect());
        self.files = files;
        self.findings = findings;
    }

    fn clip(&self, path: &ClipPath, stamp: Stamp, notes: &Notes) -> Clip {
        let known = self.cache.get(path, stamp);
        let note = notes.get(path);
        let title = note.title.clone().or_else(|| match known {
            Some(Known::Prepared { prepared, .. }) => Some(prepared.title.clone()),
            _ => None,
        });
        Clip {
            title: title.unwrap_or_else(|| path.stem().to_owned()),
            valid_from: note.valid_from,
            valid_until: note.valid_until,
            retired: note.retired,
            state: known.map_or(ClipState::Pending, |known| self.state(known)),
        }
    }

    fn state(&self, known: &Known) -> ClipState {
        match known {
            Known::Prepared { prepared, bytes } => {
                let file = self.file(&prepared.sha256);
                let there = || std::fs::metadata(&file).is_ok_and(|about| Some(about.len()) == *bytes);
                if self.prepares && !there() {
                    return ClipState::Pending;
                }
                ClipState::Ready {
                    gain: prepared.gain(self.target_lufs),
                    sha256: prepared.sha256.clone(),
                    frames: prepared.frames,
                    file,
                }
            }
            Known::Refused { refused } => ClipState::Refused(refused.said()),
        }
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.ready.join(format!("{sha256}.flac"))
    }

    /// Surveys, then prepares what is pending, the clips in `first` before all others. Calls `on_change` after the
    /// survey and whenever a clip's state is settled. Returns whether everything is settled: if not, a file is still
    /// being copied or could not be read, and the caller scans again in a few seconds.
    pub async fn scan(&mut self, first: &[ClipPath], mut on_change: impl FnMut(&Clips)) -> bool {
        self.survey();
        on_change(&self.clips);
        let mut waiting = self.pending(first);
        let most = std::thread::available_parallelism().map_or(1, usize::from).min(CHILDREN);
        let mut children = JoinSet::new();
        let mut settled = true;
        loop {
            while children.len() < most
                && let Some(path) = waiting.pop_front()
            {
                let Some((file, stamp)) = self.files.get(&path).cloned() else { continue };
                let (exe, ready) = (self.exe.clone(), self.prepares.then(|| self.ready.clone()));
                children.spawn(async move {
                    let verdict = prepare(&exe, &file, ready.as_deref()).await;
                    (path, file, stamp, verdict)
                });
            }
            match children.join_next().await {
                None => break,
                Some(Ok((path, file, stamp, verdict))) => {
                    settled &= self.settle(&path, &file, stamp, verdict);
                    on_change(&self.clips);
                }
                // A task that panicked left its clip pending.
                Some(Err(_)) => settled = false,
            }
        }
        settled
    }

    /// Returns the paths that are pending, the needed ones first.
    fn pending(&self, first: &[ClipPath]) -> VecDeque<ClipPath> {
        let is_pending = |path: &&ClipPath| self.clips.get(path).is_some_and(|clip| clip.state == ClipState::Pending);
        let mut waiting: VecDeque<ClipPath> = VecDeque::new();
        let mut taken = std::collections::BTreeSet::new();
        for path in first.iter().chain(self.clips.0.keys()).filter(is_pending) {
            if taken.insert(path) {
                waiting.push_back(path.clone());
            }
        }
        waiting
    }

    /// Takes in what became of a file; returns false if that is not the last word.
    fn settle(
        &mut self,
        path: &ClipPath,
        file: &Path,
        stamp: Stamp,
        verdict: Result<(Prepared, Option<u64>), Refused>,
    ) -> bool {
        if Stamp::of(file).ok() != Some(stamp) {
            return false;
        }
        let known = match verdict {
            Ok((prepared, bytes)) => Known::Prepared { prepared, bytes },
            Err(_) if self.prepares && stamp.is_younger(clock::wall(), STILL_COPYING) => return false,
            Err(refused) => Known::Refused { refused },
        };
        let state = self.state(&known);
        if let Some(clip) = self.clips.0.get_mut(path) {
            clip.state = state;
            if let Known::Prepared { prepared, .. } = &known
                && clip.title == path.stem()
            {
                clip.title.clone_from(&prepared.title);
            }
        }
        let last_word = match &known {
            Known::Refused { refused: Refused::TooSlow } => {
                let tries = self.slow.entry(path.clone()).or_default();
                *tries += 1;
                *tries >= PATIENCE
            }
            Known::Refused { refused } => refused.is_final(),
            Known::Prepared { .. } => true,
        };
        if last_word {
            self.cache.put(path.clone(), stamp, known);
            self.cache.retain(&self.files);
            let name = if self.prepares { "index.json" } else { "looked.json" };
            // Without a cache the next start measures again; nothing else is lost.
            let _ = self.cache.save(&self.ready.join(name));
        }
        last_word
    }
}

/// Prepares one delivered sound now, past everything that waits for import: an emergency is on the air before the rest of a
/// plan. Writes what import would write, and finds it where import was first.
pub async fn prepare_now(exe: &Path, data: &Path, sha256: &str, target_lufs: f64) -> ClipState {
    let ready = data.join("ready");
    match prepare(exe, &data.join(FOLDER).join(sha256), Some(&ready)).await {
        Ok((prepared, _)) => ClipState::Ready {
            gain: prepared.gain(target_lufs),
            frames: prepared.frames,
            file: ready.join(format!("{}.flac", prepared.sha256)),
            sha256: prepared.sha256,
        },
        Err(refused) => ClipState::Refused(refused.said()),
    }
}

/// Returns what import learned of the files of a station, by path; nothing before there is a cache.
pub fn learned(data: &Path) -> BTreeMap<ClipPath, Prepared> {
    Cache::load(&data.join("ready/index.json")).prepared()
}

/// Sends one file through the child. With `ready`, leaves the prepared sound there under its hash and returns its size.
async fn prepare(exe: &Path, file: &Path, ready: Option<&Path>) -> Result<(Prepared, Option<u64>), Refused> {
    let Some(ready) = ready else { return Ok((run_child(exe, file, None).await?, None)) };
    let no_room = |error: io::Error| Refused::NoRoom { why: error.to_string() };
    tokio::fs::create_dir_all(ready).await.map_err(no_room)?;
    let piece = ready.join(format!("{PIECE}{}.flac", uuid::Uuid::now_v7()));
    let kept = match run_child(exe, file, Some(&piece)).await {
        Ok(prepared) => {
            let whole = ready.join(format!("{}.flac", prepared.sha256));
            keep(&piece, &whole).map(|bytes| (prepared, Some(bytes))).map_err(no_room)
        }
        Err(refused) => Err(refused),
    };
    if kept.is_err() {
        // Where it was never made there is nothing to remove.
        let _ = tokio::fs::remove_file(&piece).await;
    }
    kept
}

/// Gives a piece, which the child has made durable, its name. Returns its size.
fn keep(piece: &Path, whole: &Path) -> io::Result<u64> {
    let bytes = std::fs::metadata(piece)?.len();
    std::fs::rename(piece, whole)?;
    sync_folder(whole)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
