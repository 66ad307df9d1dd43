//! The journal as the daemon uses it: a disk that is full or read-only does not stop the broadcast. What cannot be
//! written waits in memory, at most [`MOST`] lines, and is written late, and marked so, when the disk is back.

use crate::{
    clock,
    conductor::{Memory, Tick},
    disk::sync_folder,
    entry::{Entry, Running},
    journal::{Journal, JournalError, SelfTest},
    plan::OccurrenceId,
    text::Said,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tracing::{error, info};

/// Entries kept in memory while the disk takes none.
const MOST: usize = 4096;
/// Between two tries.
const RETRY: Duration = Duration::from_secs(10);

/// The journal, or what stands in for it while it cannot be written.
pub struct Ledger {
    data: PathBuf,
    station: String,
    journal: Option<Journal>,
    waiting: VecDeque<Entry>,
    tried: Option<Instant>,
    lost: u64,
}

impl Ledger {
    /// Opens the journal, and reads what the conductor must know. Without one, everything is remembered as unknown.
    pub async fn open(data: PathBuf, station: String, now: Timestamp) -> (Self, Memory) {
        let mut ledger = Self { data, station, journal: None, waiting: VecDeque::new(), tried: None, lost: 0 };
        let memory = match ledger.reopen().await {
            Ok(mut journal) => {
                let memory = journal.start(now).await;
                ledger.journal = Some(journal);
                memory
            }
            Err(error) => Err(error),
        };
        let memory = memory.unwrap_or_else(|error| {
            ledger.fail(&error);
            Memory { starts: vec![now], ..Memory::default() }
        });
        (ledger, memory)
    }

    /// Returns the fault to show, if the journal is not being written.
    pub fn fault(&self) -> Option<Said> {
        (self.tried.is_some()).then(|| {
            let (waiting, lost) = (self.waiting.len(), self.lost);
            let more = if lost > 0 { (format!("，另有 {lost} 条放不下"), format!(", {lost} more had no room")) } else { Default::default() };
            Said::new(
                format!("播出记录写不进磁盘，{waiting} 条暂存在内存里{}；请检查磁盘空间和权限", more.0),
                format!("the journal cannot be written, {waiting} entries wait in memory{}; check disk space and permissions", more.1),
            )
        })
    }

    /// Writes a final entry, now or late. Returns once it is durable or waits in memory.
    pub async fn finish(&mut self, entry: Entry) {
        if self.waiting.is_empty() && self.tried.is_none() {
            match self.journal().finish(&entry).await {
                Ok(_) => return,
                Err(error) => self.fail(&error),
            }
        }
        if self.waiting.len() < MOST {
            self.waiting.push_back(entry);
        } else {
            self.lost += 1;
        }
    }

    /// Writes a running announcement. Where that fails, it sounds all the same.
    pub async fn begin(&mut self, running: &Running) {
        if self.tried.is_none()
            && let Err(error) = self.journal().begin(running).await
        {
            self.fail(&error);
        }
    }

    /// Forgets a running announcement that never sounded.
    pub async fn abandon(&mut self, occurrence: &OccurrenceId) {
        if self.tried.is_none()
            && let Err(error) = self.journal().abandon(occurrence).await
        {
            self.fail(&error);
        }
    }

    /// Keeps a tick; never ahead of entries that still wait.
    pub async fn tick(&mut self, tick: &Tick) {
        if self.tried.is_none()
            && let Err(error) = self.journal().tick(tick).await
        {
            self.fail(&error);
        }
    }

    /// Returns what is decided from `since` on, waiting entries included.
    pub async fn decided(&mut self, since: Timestamp) -> BTreeSet<OccurrenceId> {
        let mut decided = BTreeSet::new();
        if let Some(journal) = &mut self.journal {
            match journal.decided(since).await {
                Ok(known) => decided = known,
                Err(error) => self.fail(&error),
            }
        }
        decided.extend(self.waiting.iter().map(|entry| entry.occurrence.clone()));
        decided
    }

    /// Returns the final entry of an occurrence, as far as it can be read; waiting entries included.
    pub async fn entry(&mut self, occurrence: &OccurrenceId) -> Option<Entry> {
        if let Some(entry) = self.waiting.iter().find(|entry| entry.occurrence == *occurrence) {
            return Some(entry.clone());
        }
        match self.journal.as_mut()?.entry(occurrence).await {
            Ok(entry) => entry,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Puts a journal and its key in the place of this one, and returns whether it did: only where nothing is on record.
    pub async fn adopt(&mut self, journal: &Path, key: &Path) -> Result<bool, JournalError> {
        let Some(mut old) = self.journal.take() else { return Ok(false) };
        if !self.waiting.is_empty() || !old.is_empty().await? {
            self.journal = Some(old);
            return Ok(false);
        }
        let adopted = self.exchange(old, journal, key).await;
        if let Err(error) = &adopted {
            // The next try opens whatever is there.
            self.fail(error);
        }
        adopted.map(|()| true)
    }

    async fn exchange(&mut self, old: Journal, journal: &Path, key: &Path) -> Result<(), JournalError> {
        old.close().await?;
        let to = self.data.join("journal.db");
        for rest in ["journal.db-wal", "journal.db-shm"] {
            // Closing has left none, as a rule.
            let _ = fs::remove_file(self.data.join(rest));
        }
        fs::rename(key, self.data.join("station.key"))?;
        fs::rename(journal, &to)?;
        sync_folder(&to)?;
        self.journal = Some(self.reopen().await?);
        Ok(())
    }

    /// Keeps what a self-test found.
    pub async fn tested(&mut self, test: &SelfTest) {
        if self.tried.is_none()
            && let Err(error) = self.journal().tested(test).await
        {
            self.fail(&error);
        }
    }

    /// Returns what the last self-test found, as far as that can be read.
    pub async fn last_test(&mut self) -> Option<SelfTest> {
        match self.journal.as_mut()?.last_test().await {
            Ok(test) => test,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Signs the head of the chain.
    pub async fn sign_head(&mut self, now: Timestamp) {
        if self.tried.is_none()
            && let Err(error) = self.journal().sign_head(now).await
        {
            self.fail(&error);
        }
    }

    /// Tries again, ten seconds after the last failure.
    pub async fn retry(&mut self) {
        if self.tried.is_none_or(|tried| tried.elapsed() < RETRY) {
            return;
        }
        match self.write_waiting().await {
            Ok(()) => {
                info!("the journal takes entries again");
                self.tried = None;
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn write_waiting(&mut self) -> Result<(), JournalError> {
        let mut journal = self.reopen().await?;
        while let Some(entry) = self.waiting.front() {
            let mut late = entry.clone();
            late.note = Some(late.note.map_or_else(|| "late-write".to_owned(), |note| format!("{note}; late-write")));
            journal.finish(&late).await?;
            self.waiting.pop_front();
        }
        self.journal = Some(journal);
        Ok(())
    }

    async fn reopen(&self) -> Result<Journal, JournalError> {
        Journal::open(&self.data, &self.station).await
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("there is a journal whenever nothing failed")
    }

    fn fail(&mut self, error: &JournalError) {
        error!(error = error as &dyn std::error::Error, "the journal takes no entries; they wait in memory");
        self.tried = Some(clock::monotonic());
        self.journal = None;
    }
}
