//! What station and office say to each other: the bodies of requests and answers, whatever carries them.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/enrol` | [`Enrol`] | [`Enrolled`] |
//! | `GET /v1/watch?root=…&nonce=…[&wait=25]` | | [`WatchEvent`]s, one after the other |
//! | `GET /v1/desired` | | [`Envelopes`]: the place, and the plan of each source |
//! | `GET /v1/trust?from=VERSION` | | [`Envelopes`]: the roots after that one, in order |
//! | `GET /v1/blobs/{sha256}`, `Range` | | bytes |
//! | `PUT /v1/reported` | [`Reported`] | |
//! | `POST /v1/journal` | [`Batch`](super::journal::Batch) | [`Acked`], or 409 with [`Turned`](super::journal::Turned) |
//! | `POST /v1/commands/{id}/status` | [`Status`] | |
//! | `GET /v1/time?nonce=…` | | [`Envelopes`]: one |
//!
//! Unknown fields are ignored, and an unknown event is passed over: within v1 things are only added. Envelopes travel as
//! texts inside the bodies, so that they stay what they are byte for byte.

use super::{CommandId, Division, Refused, State, StationId, journal::Acked, time::Nonce};
use crate::{schedule::Source, trust::ClockState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Signed documents, as they came from whoever signed them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelopes {
    /// The text of each.
    pub envelopes: Vec<String>,
}

/// Which state of the office a station has, or the office is in. Every change of what some station should have raises it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision {
    /// The root's.
    pub generation: u64,
    /// Within it.
    pub revision: u64,
}

/// What comes down a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum WatchEvent {
    /// The first.
    Hello {
        /// Which plans this station should have.
        desired: Revision,
        /// The root in force.
        root: u64,
        /// The time, signed over the nonce of this watch.
        time: String,
        /// How far the office holds this station's journal. An office that was restored from a backup lost rows, and a
        /// station that has nothing new would never learn it.
        journal: Acked,
        /// How often a heartbeat comes, in seconds.
        heartbeat_s: u32,
    },
    /// Other plans: go and get them.
    Revision {
        /// Which.
        desired: Revision,
    },
    /// A command for this station.
    Command {
        /// Its envelope.
        envelope: String,
    },
    /// Another root: go and get it.
    Trust {
        /// Its version.
        root: u64,
    },
    /// The office wants something again.
    Want {
        /// What.
        what: Wanted,
    },
    /// Nothing happened; the line is alive.
    Heartbeat,
    /// The office ends this watch.
    Bye {
        /// How long to stay away, in milliseconds.
        retry_after_ms: u64,
    },
    /// An event that only a newer program knows.
    #[serde(other)]
    Other,
}

/// What an office may want again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// What the station reported last.
    Reported,
    /// The journal, from where the office holds it.
    Journal,
    /// Something that only a newer program knows.
    #[serde(other)]
    Other,
}

/// What has become of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which.
    pub command: CommandId,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// Since when, by the station's best clock.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
}

/// A plan that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// Whose.
    pub source: Source,
    /// Which.
    pub revision: u64,
}

/// A document that was not accepted: every one is on the office's page with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// What it claimed to be: a media type.
    pub kind: Option<String>,
    /// The sha256 of its text.
    pub sha256: super::BlobId,
    /// When, by the station's best clock.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// Why.
    pub why: Refused,
}

/// The clock as the station judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// How far the machine's own is believed.
    pub state: ClockState,
    /// The machine's own less the office's, in milliseconds; none before the office said.
    pub offset_ms: Option<i64>,
}

/// A station's whole state as the office should know it; a later one takes the place of an earlier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// Higher than every one before it.
    pub sequence: u64,
    /// The root in force.
    pub root: u64,
    /// Its generation.
    pub generation: u64,
    /// The plans in force.
    pub in_force: Vec<InForce>,
    /// Plans that wait for their sounds, and how many are missing.
    pub fetching: Vec<(InForce, usize)>,
    /// The journal's last row.
    pub journal: Option<(String, i64)>,
    /// How far it was acknowledged.
    pub acked: i64,
    /// The clock.
    pub clock: ClockReport,
    /// The last documents that were refused, newest last.
    pub rejected: Vec<Rejected>,
    /// What the rest of the station has to say: playing, next, faults, disk, version.
    pub facts: Value,
}

/// A station asks to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The code that was read off the office's page.
    pub code: String,
    /// Which station.
    pub station: StationId,
    /// What people call it.
    pub name: String,
    /// Its public key, 64 hexadecimal digits.
    pub key: String,
    /// By that key, hex, over [`enrol_text`]: whoever asks has the key.
    pub signature: String,
}

/// The text that is signed to be taken in; its first line separates it from everything else the key may ever sign.
pub fn enrol_text(code: &str, station: &StationId, key: &str) -> String {
    format!("dalaba/enrol/v1\n{code}\n{station}\n{key}\n")
}

/// What a station that was taken in pins, once a person has compared the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The root's envelope.
    pub root: String,
    /// The place's, which names the station's key as the office has it; none until a clerk has confirmed.
    pub place: Option<String>,
    /// Where the office thinks that the station is, before it is confirmed.
    pub division: Division,
}

/// A station signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Which.
    pub station: StationId,
    /// The office's, drawn anew for each.
    pub nonce: Nonce,
    /// By the station's key, hex, over [`sign_in_text`].
    pub signature: String,
}

/// The text that is signed to sign in. It names the office's root, so that an office in between cannot pass it on.
pub fn sign_in_text(station: &StationId, nonce: &Nonce, office: &super::BlobId) -> String {
    format!("dalaba/sign-in/v1\n{station}\n{}\n{office}\n", nonce.as_str())
}
