//! Decides what the station does next.
//!
//! [`Conductor::handle`] takes the time and one [`Event`] and returns the [`Action`]s to carry out. It reads no clock and
//! opens no file or device, so a test can live through a year in a second.
//!
//! Always true, and checked in `tests/year.rs`: at most one announcement above `background` sounds at a time; every
//! occurrence owed gets exactly one final entry; a clock set back repeats nothing.
//!
//! Not here: what falls due ([`crate::plan`]), how it sounds ([`crate::speaker`]).

mod action;
mod event;

pub use action::{Action, Alarm, Done, Refusal, Tick};
pub use event::{Command, Event, Limits, Memory, Playable};

use crate::{
    plan::Occurrence,
    plan::Program,
    trust::{ClockState, Reading},
};
use jiff::Timestamp;
use std::sync::Arc;

/// The state machine: [`Event`] in, [`Action`]s out.
#[derive(Debug)]
pub struct Conductor {}

/// What the pages and commands may see.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// How far the clock is believed.
    pub clock: ClockState,
    /// What sounds, with the frames' length heard so far.
    pub playing: Vec<(Occurrence, jiff::SignedDuration)>,
    /// The next to play, at most three.
    pub next: Vec<Occurrence>,
    /// Silent until then.
    pub stopped_until: Option<Timestamp>,
    /// Silent until then.
    pub hushed_until: Option<Timestamp>,
    /// Nothing scheduled sounds until then.
    pub safe_mode_until: Option<Timestamp>,
    /// The output that is open.
    pub device: Option<String>,
    /// In percent.
    pub volume: u8,
}

impl Conductor {
    /// Returns a conductor that takes over from what is on record, and its first actions.
    pub fn new(
        now: Reading,
        memory: Memory,
        limits: Limits,
        program: Arc<Program>,
        revision: String,
    ) -> (Self, Vec<Action>) {
        todo!("{now:?} {memory:?} {limits:?} {program:?} {revision}")
    }

    /// Returns the actions that `event` asks for, in the order in which they must be carried out.
    pub fn handle(&mut self, now: Reading, event: Event) -> Vec<Action> {
        todo!("{now:?} {event:?}")
    }

    /// Returns the wall time at which to hand in [`Event::Woke`] next.
    pub fn next_wake(&self) -> Timestamp {
        todo!()
    }

    /// Returns what the pages and commands may see.
    pub fn status(&self, now: Reading) -> Status {
        todo!("{now:?}")
    }
}
