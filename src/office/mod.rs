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
pub mod intake;
pub mod keys;
pub mod orders;
mod pages;
pub mod preview;
pub mod store;
pub mod watches;

use crate::web::People;
use jiff::tz::TimeZone;
use keys::Keys;
use std::{path::PathBuf, sync::Arc};
use store::Store;
use watches::Watches;

/// What every part of one office process shares; cheap to clone.
#[derive(Debug, Clone)]
pub struct Office {
    pub(in crate::office) store: Store,
    pub(in crate::office) blobs: blobs::Blobs,
    pub(in crate::office) keys: Arc<Keys>,
    pub(in crate::office) watches: Watches,
    pub(in crate::office) people: Arc<People>,
    pub(in crate::office) zone: TimeZone,
    pub(in crate::office) home: PathBuf,
}
