//! Which stations are there.
//!
//! A station is there while a watch of it is open. The server closes a watch whose writes go unacknowledged for a minute,
//! so a line that was cut without a word counts as there for that long, and no longer. Only changes are worth storing.

use jiff::Timestamp;
use std::collections::BTreeSet;

/// One station's presence, as one office process sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Its open watches: a station that reconnects may have two for a while.
    watches: BTreeSet<u64>,
    /// When it was last known to be there.
    heard: Option<Timestamp>,
}

/// A change that is worth storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It came.
    Up,
    /// It went.
    Down,
}

impl Presence {
    /// A watch was opened.
    pub fn opened(&mut self, watch: u64, now: Timestamp) -> Option<Turned> {
        let was_up = self.is_up();
        self.watches.insert(watch);
        self.heard(now);
        (!was_up).then_some(Turned::Up)
    }

    /// A watch was closed, by whichever side.
    pub fn closed(&mut self, watch: u64) -> Option<Turned> {
        let was_there = self.watches.remove(&watch);
        (was_there && !self.is_up()).then_some(Turned::Down)
    }

    /// Anything came from it.
    pub fn heard(&mut self, now: Timestamp) {
        self.heard = self.heard.max(Some(now));
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        !self.watches.is_empty()
    }

    /// When anything last came from it.
    pub fn last_heard(&self) -> Option<Timestamp> {
        self.heard
    }
}
