//! What a station and its office say to each other, and what either makes of it: values and state machines.
//!
//! Pure but for [`shell`]: no network, no file, no clock. Time, randomness and what was heard come in as values; what is
//! to be done goes out as actions. The shells around it (`office`, and the station's [`shell`]) only carry bytes.
//!
//! * What is believed: an [`Envelope`] is signed bytes; the [`root`] says whose signature counts for what; [`words`] are
//!   how two people compare roots by telephone; [`accept`] holds a document against all of it, and says [`Refused`]
//!   with a reason from one closed list.
//! * What is said: a delivered [`plan`], a [`command`], the [`place`] of a station; requests and answers in [`protocol`];
//!   the [`journal`] on its way; [`time`].
//! * The two ends: [`station`], with its [`shell`], and [`office`].
//!
//! Not here: HTTP, SQL, files ([`crate::home`]), sound ([`crate::conductor`]).

pub mod accept;
pub mod command;
mod envelope;
pub mod journal;
pub mod office;
pub mod place;
pub mod plan;
pub mod protocol;
mod refused;
pub mod root;
pub mod shell;
pub mod station;
#[cfg(test)]
mod tests;
pub mod time;
pub mod words;

pub use accept::{Accepted, Document, Judge, Marks, Moment};
pub use command::{Command, CommandId, Op, State};
pub use envelope::{Envelope, Kind, Signer};
pub use place::{Division, GroupName, KeyId, Place, StationId, Targets};
pub use plan::{BlobId, Plan};
pub use refused::Refused;
pub use root::{Pinned, Role, Root};
