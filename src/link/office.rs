//! The office's end of the link, as far as it is pure: who still has to hear what, who is there, and what became of it.
//!
//! The rest is the store and the server: they hold envelopes as they came from whoever signed them, and give each station
//! what is meant for it. What comes in is taken by [`super::journal::take`] and [`Receipts::take`].
//!
//! Not here: who may give orders, what is on the pages.

mod presence;
mod receipts;
#[cfg(test)]
mod tests;

pub use presence::{Presence, Turned};
pub use receipts::{Issued, Receipts, Tally};

use super::{
    Envelope, Kind, Place, Signer,
    journal::{Acked, Cursor},
    protocol::{Revision, WatchEvent},
    time::{Nonce, TimeDocument},
};
use jiff::Timestamp;

/// How often a watch says that it is alive, in seconds.
pub const HEARTBEAT: u32 = 25;

/// Signs the time for a station that asked at `received` and is answered at `sent`.
pub fn time_proof(
    nonce: &Nonce,
    received: Timestamp,
    sent: Timestamp,
    signer: &Signer,
) -> serde_json::Result<Envelope> {
    let document = TimeDocument { nonce: nonce.clone(), received, sent };
    Envelope::of(Kind::Time, &document, std::slice::from_ref(signer))
}

/// Returns what a watch says first: hello, with the root in force, the plans that the station should have, and the rows of
/// its journal that are here; and every command that it has not acknowledged. So a command is no message that could be lost, but a state that holds until
/// its deadline.
pub fn greeting<'a>(
    desired: Revision,
    root: u64,
    time: &Envelope,
    journal: Option<&Cursor>,
    place: &Place,
    commands: impl IntoIterator<Item = (&'a Issued, &'a Receipts)>,
    now: Timestamp,
) -> Vec<WatchEvent> {
    let nothing = Cursor::new("");
    let Cursor { epoch, acked, .. } = journal.unwrap_or(&nothing).clone();
    let (time, journal) = (time.text().to_owned(), Acked { epoch, acked });
    let hello = WatchEvent::Hello { desired, root, time, journal, heartbeat_s: HEARTBEAT };
    let owed = commands.into_iter().filter(|(issued, receipts)| receipts.owes(issued, place, now));
    let command = |(issued, _): (&Issued, _)| WatchEvent::Command { envelope: issued.envelope.clone() };
    std::iter::once(hello).chain(owed.map(command)).collect()
}

/// Returns how long a station should stay away when the office restarts with so many of them: they come back at 500 a
/// second.
pub fn come_back_within(stations: u64, random: u64) -> WatchEvent {
    WatchEvent::Bye { retry_after_ms: random % (stations * 2).max(1) }
}
