//! What may be believed about the time, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Every clock of the machine, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock: may step, may lie.
    pub wall: Timestamp,
    /// Since the machine booted, time asleep included; never steps.
    pub since_boot: Duration,
    /// Since the machine booted, time asleep left out; never steps.
    pub awake: Duration,
    /// The kernel says that its clock is synchronised.
    pub synchronised: bool,
}

/// How far the wall clock is believed, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockState {
    /// Nothing scheduled sounds and nothing is decided.
    Untrusted,
    /// Near the newest time seen.
    Plausible,
    /// A person confirmed it this boot.
    Confirmed,
    /// The kernel says synchronised.
    Trusted,
}
