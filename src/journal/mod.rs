//! The record of what played and why the rest did not: one SQLite file, one writer.

use crate::{
    conductor::{Memory, Tick},
    entry::{Entry, Running},
    plan::OccurrenceId,
};
use jiff::Timestamp;
use std::{collections::BTreeSet, path::Path};

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database said no.
    #[error("the journal cannot be used")]
    Database(#[from] sqlx::Error),
}

/// The station's journal, open for writing. Every `Ok` is durable.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Opens or creates `data/journal.db` and the station's key, and brings the schema up to date.
    pub async fn open(data: &Path, station: &str) -> Result<Self, JournalError> {
        todo!("{data:?} {station}")
    }

    /// Notes that a daemon starts at `now`, and returns what the conductor must know (`versions` stays empty: they are
    /// not the journal's).
    pub async fn start(&mut self, now: Timestamp) -> Result<Memory, JournalError> {
        todo!("{now}")
    }

    /// Writes or replaces a running announcement.
    pub async fn begin(&mut self, running: &Running) -> Result<(), JournalError> {
        todo!("{running:?}")
    }

    /// Forgets a running announcement that never sounded.
    pub async fn abandon(&mut self, occurrence: &OccurrenceId) -> Result<(), JournalError> {
        todo!("{occurrence}")
    }

    /// Appends the final entry to the chain and removes its running row, in one transaction. Idempotent: an occurrence
    /// that has its entry keeps it, and `Ok(false)` is returned.
    pub async fn finish(&mut self, entry: &Entry) -> Result<bool, JournalError> {
        todo!("{entry:?}")
    }

    /// Keeps a tick.
    pub async fn tick(&mut self, tick: &Tick) -> Result<(), JournalError> {
        todo!("{tick:?}")
    }

    /// Returns the occurrences with a final entry, due at or after `since`.
    pub async fn decided(&mut self, since: Timestamp) -> Result<BTreeSet<OccurrenceId>, JournalError> {
        todo!("{since}")
    }

    /// Signs the head of the chain, where it has grown since the last signature.
    pub async fn sign_head(&mut self, now: Timestamp) -> Result<(), JournalError> {
        todo!("{now}")
    }
}
