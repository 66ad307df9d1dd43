//! What others may ask of the running daemon, and what they may see of it.

use super::Health;
use crate::{
    conductor::{Command, Done, Refusal, Status},
    config::Config,
    home::Texts,
    journal::SelfTest,
    link::shell,
    plan::{Clips, OccurrenceId, Program},
    schedule::{ClipPath, Finding},
    text::Said,
};
use jiff::{Timestamp, tz::TimeZone};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::{mpsc, oneshot, watch};

/// The daemon as a view sees it at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Timestamp,
    /// What people call the station.
    pub name: String,
    /// The station's zone.
    pub zone: TimeZone,
    /// What the conductor knows.
    pub status: Status,
    /// Schedules loaded, clips of the next 24 h prepared, speaker answering.
    pub ready: bool,
    /// Faults in plain words, each with its remedy.
    pub faults: Vec<Said>,
    /// What is wrong in the files of the home.
    pub findings: Arc<Vec<Finding>>,
    /// What the last self-test of the sound card found.
    pub self_test: Option<SelfTest>,
    /// Where the journal is.
    pub journal: PathBuf,
    /// What is in force.
    pub program: Arc<Program>,
    /// Names it: 16 hex digits.
    pub revision: String,
    /// The station file in force, or what stands in for it.
    pub config: Arc<Config>,
    /// How the daemon does.
    pub health: Health,
    /// What was changed in it and takes effect at the next start only, as `panel.listen`.
    pub at_next_start: Vec<&'static str>,
    /// Bytes free where the journal grows; none where the system does not tell.
    pub disk_free: Option<u64>,
}

/// One question to the daemon's loop.
#[derive(Debug)]
pub(super) enum Ask {
    Command(Command, oneshot::Sender<Result<Done, Refusal>>),
    Snapshot(oneshot::Sender<Snapshot>),
    ClipNamed(String, oneshot::Sender<Option<ClipPath>>),
    Reread(oneshot::Sender<()>),
    Texts(oneshot::Sender<Texts>),
    Adopt { journal: PathBuf, key: PathBuf, answer: oneshot::Sender<bool> },
}

/// The daemon has ended while it was asked.
#[derive(Debug, thiserror::Error)]
#[error("程序正在退出")]
pub struct Gone;

/// Sends commands to the daemon and reads its state.
#[derive(Debug, Clone)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
    config: watch::Receiver<Arc<Config>>,
    office: shell::Handle,
}

impl Handle {
    pub(super) fn new(config: watch::Receiver<Arc<Config>>, office: shell::Handle) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(64);
        (Self { asks, config, office }, receiver)
    }

    /// Returns the way to the station's office.
    pub fn office(&self) -> &shell::Handle {
        &self.office
    }

    /// Returns the station file in force, and every one that comes after it.
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.clone()
    }

    /// Has a command carried out.
    pub async fn command(&self, command: Command) -> Result<Result<Done, Refusal>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Command(command, answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Returns the clip of `audio/` that `text` names, if there is one.
    pub async fn clip_named(&self, text: &str) -> Result<Option<ClipPath>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::ClipNamed(text.to_owned(), answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Has the texts and sounds of the home looked at now, after a change of ours; returns when texts that are good are in
    /// force.
    pub async fn reread(&self) -> Result<(), Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Reread(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Returns the texts in force, which are not those in the home where one of them is bad or could not be kept.
    pub async fn texts(&self) -> Result<Texts, Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Texts(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Puts a journal that was examined, and its key, in the place of the station's own, and returns whether that was
    /// done: a station with anything on record keeps its journal.
    pub async fn adopt_journal(&self, journal: PathBuf, key: PathBuf) -> Result<bool, Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Adopt { journal, key, answer }).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Looks at the daemon.
    pub async fn snapshot(&self) -> Result<Snapshot, Gone> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Snapshot(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

/// Returns a fresh id for a play asked for by a person.
pub fn manual_id() -> OccurrenceId {
    OccurrenceId::manual(uuid::Uuid::now_v7())
}

/// Returns what `text` names: a clip of `audio/`, else an announcement.
pub(super) fn clip_named(clips: &Clips, text: &str) -> Option<ClipPath> {
    let path = ClipPath::try_from(text.strip_prefix("audio/").unwrap_or(text).to_owned()).ok()?;
    clips.get(&path).is_some().then_some(path)
}

/// Returns whether every clip that `occurrences` of the next day need is through import.
pub(super) fn is_prepared(program: &Program, now: Timestamp) -> bool {
    use crate::plan::{ClipState, Verdict, plan};
    let day = jiff::SignedDuration::from_hours(24);
    let pending = |path: &ClipPath| matches!(program.clips.get(path).map(|clip| &clip.state), Some(ClipState::Pending));
    !plan(program, now..now + day)
        .occurrences
        .iter()
        .filter(|occurrence| occurrence.verdict == Verdict::Play)
        .any(|occurrence| occurrence.clips.iter().chain(&occurrence.chime).any(pending))
}
