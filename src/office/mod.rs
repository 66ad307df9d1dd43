//! The office: one town, every village, from one page.
//!
//! It keeps what stations should have as signed documents, hands them out, takes in what really played, and shows people
//! both. Stations come to it; it never goes to them. Everything it knows is in the [`store`] and the blobs, so that any
//! number of office processes may share one database, and any of them may die at any moment.
//!
//! Not here: what is said on the line and who believes it ([`crate::link`]), connections and sessions of people
//! ([`crate::web`]).

pub mod assess;
pub mod blobs;
pub mod campaign;
pub mod compose;
pub mod desk;
mod endless;
pub mod enrol;
pub mod intake;
pub mod keys;
pub mod orders;
mod pages;
pub mod preview;
mod run;
mod scribe;
mod server;
mod sessions;
mod spare;
pub mod store;
pub mod trusted;
pub mod watches;
mod wire;

pub use run::{First, Options, StartError, copy, run};

use crate::{schedule::Source, web::People};
use blobs::Blobs;
use enrol::Guesses;
use intake::Intake;
use jiff::tz::TimeZone;
use keys::{Keys, KeysError};
use scribe::Scribe;
use sessions::Sessions;
use spare::Spare;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use store::{About, Store, StoreError};
use tokio::sync::Semaphore;
use watches::Watches;

/// Bodies of journals that are read and unpacked at a time.
const BODIES: usize = 64;

/// What every part of one office process shares; cheap to clone.
#[derive(Debug, Clone)]
pub struct Office {
    pub(in crate::office) store: Store,
    pub(in crate::office) blobs: Blobs,
    pub(in crate::office) keys: Arc<Keys>,
    pub(in crate::office) watches: Watches,
    pub(in crate::office) intake: Intake,
    pub(in crate::office) people: Arc<People>,
    pub(in crate::office) zone: TimeZone,
    pub(in crate::office) home: PathBuf,
    /// Whose its plans are.
    source: Source,
    /// Of stations.
    sessions: Arc<Sessions>,
    scribe: Scribe,
    spare: Spare,
    guesses: Arc<Guesses>,
    /// A turn for each journal that is read.
    bodies: Arc<Semaphore>,
    /// A turn for each sound that is sent.
    transfers: Arc<Semaphore>,
}

impl Office {
    /// Opens the office that was set up in `store`.
    pub(in crate::office) async fn open(
        home: &Path,
        store: Store,
        blobs: Blobs,
        people: Arc<People>,
        about: &About,
    ) -> Result<Self, KeysError> {
        let keys = Arc::new(Keys::open(home, &store).await?);
        Ok(Self::of(home, store, blobs, keys, people, about)?)
    }

    /// An office that signs with these keys.
    pub(in crate::office) fn of(
        home: &Path,
        store: Store,
        blobs: Blobs,
        keys: Arc<Keys>,
        people: Arc<People>,
        about: &About,
    ) -> Result<Self, StoreError> {
        let zone = about.time_zone()?;
        Ok(Self {
            watches: Watches::default(),
            intake: Intake::new(store.clone(), zone.clone()),
            source: compose::source(&about.division),
            sessions: Arc::new(Sessions::new(Arc::clone(&keys))),
            scribe: Scribe::new(store.clone()),
            spare: Spare::new(home.to_owned(), store.engine()),
            guesses: Arc::default(),
            bodies: Arc::new(Semaphore::new(BODIES)),
            transfers: Arc::new(Semaphore::new(wire::blobs::TRANSFERS)),
            store,
            blobs,
            keys,
            people,
            zone,
            home: home.to_owned(),
        })
    }
}
