//! Writes down what stations say, many sayings in one transaction: how they are, what became of commands; and who is there.
//!
//! An answer comes after the commit. What waits is bounded: a saying that finds no room is told to come back. A saying that
//! the database refuses does not spoil those that it shares a transaction with.
//!
//! Not here: journals ([`super::intake`]), the SQL ([`super::store`]).

use super::{
    store::{Engine, Saying, Store, StoreError},
    watches::Watches,
};
use crate::clock;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// Sayings that wait for a transaction.
const WAITING: usize = 4096;
/// Sayings of one transaction.
const GROUP: usize = 512;
/// How often comings and goings are put on the disk.
const PRESENCE: Duration = Duration::from_secs(1);
/// How often other processes are looked at.
const OTHERS: u32 = 10;

/// Why a saying was not written down.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ScribeError {
    /// Too many at once.
    #[error("同时上报的站点太多；稍后会自动重试 too many stations speak at once; come back later")]
    Full,
    /// The store did not take it.
    #[error("没有存下来 it was not stored")]
    Store(#[source] Arc<StoreError>),
}

type Waiting = (Saying, oneshot::Sender<Result<(), ScribeError>>);

/// Writes down; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Scribe {
    queue: mpsc::Sender<Waiting>,
}

impl Scribe {
    /// Begins to write.
    pub(super) fn new(store: Store) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(store, waiting));
        Self { queue }
    }

    /// Has a saying written down; returns when it is on the disk.
    pub(super) async fn write(&self, saying: Saying) -> Result<(), ScribeError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send((saying, answer)).map_err(|_| ScribeError::Full)?;
        // Without an answer the office is ending.
        answered.await.unwrap_or(Err(ScribeError::Full))
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<Waiting>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        // In this order no two processes wait for each other; sayings of one station stay in theirs.
        group.sort_by(|(one, _), (other, _)| one.station().cmp(other.station()));
        let sayings: Vec<_> = group.iter().map(|(saying, _)| saying).collect();
        let written = store.write_down(&sayings).await;
        match written {
            Err(StoreError::Database(_) | StoreError::Unreadable(_)) if group.len() > 1 => {
                for (saying, answer) in group.drain(..) {
                    let _ = answer.send(store.write_down(&[&saying]).await.map_err(refused));
                }
            }
            written => {
                let written = written.map_err(refused);
                for (_, answer) in group.drain(..) {
                    // Whoever no longer waits says it again.
                    let _ = answer.send(written.clone());
                }
            }
        }
    }
}

fn refused(error: StoreError) -> ScribeError {
    ScribeError::Store(Arc::new(error))
}

/// Keeps the record of who is there, for as long as the process lives; at the end nobody is.
pub(super) async fn keep_presence(store: Store, watches: Watches, node: String, mut stop: watch::Receiver<bool>) {
    // With a file, this process is the only one.
    let alone = store.engine() == Engine::Sqlite;
    let mut reachable = true;
    for turn in 0_u32.. {
        let now = clock::wall();
        let notes = watches.take_notes(now);
        let is_due = turn % OTHERS == 0;
        if is_due || !notes.turned.is_empty() || !notes.heard.is_empty() {
            let noted = store.note_presence(&node, now, &notes.turned, &notes.heard).await;
            let noted = if is_due && noted.is_ok() { store.bury(&node, now, alone).await } else { noted };
            match noted {
                Ok(()) => reachable = true,
                Err(error) => {
                    if std::mem::replace(&mut reachable, false) {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "presence is not stored; trying again"
                        );
                    }
                    watches.put_back(notes);
                }
            }
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(PRESENCE) => {}
        }
    }
    if let Err(error) = store.leave(&node, clock::wall()).await {
        tracing::error!(error = &error as &dyn std::error::Error, "that this process ends is not on record");
    }
}
