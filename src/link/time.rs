//! What time it is, as the office says: the exchange, its proof, and the estimate that comes of it.
//!
//! The station asks with a nonce of its own; the office signs that nonce with the moments at which it received the question
//! and sent the answer. So an answer is fresh, or no answer: whoever holds messages back can make it late, which its
//! round trip shows, and cannot make it say another time. Of the last eight exchanges the one with the shortest round trip
//! counts; it errs by at most half of that round trip.
//!
//! The estimate stands against the time since boot, which never steps; it ends with the boot, as every station forgets it.
//!
//! Not here: how far the machine's own clock is believed ([`crate::trust`]).

use super::{Envelope, Kind, Refused, Role, Root};
use crate::trust::plus;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};

/// As many exchanges as count.
const KEPT: usize = 8;
/// An exchange that was longer on the way says too little. How long the office held it is no matter.
const SLOWEST: Duration = Duration::from_secs(10);

/// The office writes whole milliseconds: what it held may look so much longer than it was.
const ROUNDED: Duration = Duration::from_millis(1);

/// A clock that is off by this much more than the exchanges explain has been set.
const SET: Duration = Duration::from_secs(2);

/// What a question is known by: 32 hexadecimal digits, drawn anew for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(String);

impl Nonce {
    /// Makes one from two random numbers.
    pub fn new(high: u64, low: u64) -> Self {
        Self(format!("{high:016x}{low:016x}"))
    }

    /// Returns whether it has the form of one: a server signs nothing else.
    pub fn is_sound(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// As it stands in an address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Nonce {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What the office signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeDocument {
    /// The station's.
    pub nonce: Nonce,
    /// When the question came.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub received: Timestamp,
    /// When the answer left.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub sent: Timestamp,
}

/// One exchange that was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    /// The middle of the exchange, since boot.
    at: Duration,
    /// The office's clock at that moment.
    office: Timestamp,
    trip: Duration,
}

/// The office's clock, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct OfficeClock {
    samples: VecDeque<Sample>,
}

impl OfficeClock {
    /// Takes the answer to the question `nonce`, asked at `asked` and answered at `answered`, both since boot. A key of
    /// the root with the role `time` must have signed it. One that was too long on its way is true and says nothing.
    pub fn take(
        &mut self,
        root: &Root,
        answer: &[u8],
        nonce: &Nonce,
        asked: Duration,
        answered: Duration,
    ) -> Result<(), Refused> {
        let envelope = Envelope::read(answer)?;
        envelope.must_be(Kind::Time)?;
        let key = root.signer(&envelope)?;
        if key.role != Role::Time {
            return Err(Refused::WrongRole { kid: key.public.kid.to_string() });
        }
        let said: TimeDocument = envelope.document()?;
        if said.nonce != *nonce {
            return Err(Refused::NotForThisStation);
        }
        let inside = Duration::try_from(said.sent.duration_since(said.received)).ok();
        let whole = answered.checked_sub(asked);
        let trip = whole.zip(inside).and_then(|(whole, inside)| (whole + ROUNDED).checked_sub(inside));
        let Some((whole, trip)) = whole.zip(trip) else {
            return Err(Refused::malformed("times"));
        };
        let trip = trip.saturating_sub(ROUNDED);
        if trip > SLOWEST {
            return Ok(());
        }
        let between = said.sent.duration_since(said.received) / 2;
        let sample = Sample { at: asked + whole / 2, office: plus(said.received, between), trip };
        // The office's clock was set: what is known of the old one would hide the new one.
        if let Some((expected, error)) = self.at(sample.at)
            && sample.office.duration_since(expected).unsigned_abs() > error + trip / 2 + SET
        {
            self.samples.clear();
        }
        self.samples.push_back(sample);
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
        Ok(())
    }

    /// Returns the office's clock at a moment since boot, and by how much that may be wrong; none before the first answer.
    pub fn at(&self, since_boot: Duration) -> Option<(Timestamp, Duration)> {
        let best = self.samples.iter().min_by_key(|sample| sample.trip)?;
        let passed = SignedDuration::try_from(since_boot).ok()? - SignedDuration::try_from(best.at).ok()?;
        Some((plus(best.office, passed), best.trip / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyId, Signer, envelope::tests::signer};
    use super::*;
    use serde_json::json;

    fn root() -> Root {
        let public = |kid, seed, role| {
            let key = super::super::root::PublicKey::ed25519(
                KeyId::try_from(String::from(kid)).unwrap(),
                &signer(kid, seed).key.verifying_key(),
            );
            let mut key = serde_json::to_value(key).unwrap();
            (key["role"], key["scope"], key["not_after"]) = (json!(role), "330127".into(), 0.into());
            key
        };
        serde_json::from_value(json!({
            "version": 1, "generation": 0, "office": "镇", "threshold": 1, "roots": [], "revoked": [],
            "keys": [public("time", 1, "time"), public("content", 2, "content")],
        }))
        .unwrap()
    }

    /// The answer of an office whose clock stands at `office` ms when the question comes, and which takes `inside` ms.
    fn answer(nonce: &str, office: i64, inside: i64, by: Signer) -> String {
        let said = json!({ "nonce": nonce, "received": office, "sent": office + inside });
        Envelope::of(Kind::Time, &said, &[by]).unwrap().text().to_owned()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_shortest_round_trip_counts_and_bounds_the_error() {
        let (root, nonce, mut clock) = (root(), Nonce::new(1, 2), OfficeClock::default());
        // The office is 1,000,000 ms ahead of the time since boot.
        for (asked, there, inside, back, error) in
            [(1000, 400, 10, 200, 300), (2000, 20, 5, 30, 25), (3000, 500, 0, 90, 25)]
        {
            let office = i64::try_from(1_000_000 + asked + there).unwrap();
            let text = answer(nonce.as_str(), office, inside, signer("time", 1));
            let answered = asked + there + u64::try_from(inside).unwrap() + back;
            clock.take(&root, text.as_bytes(), &nonce, ms(asked), ms(answered)).unwrap();
            let (at, within) = clock.at(ms(60_000)).unwrap();
            assert_eq!(within, ms(error));
            assert!((at.as_millisecond() - 1_060_000).unsigned_abs() <= error, "{at}");
        }
    }

    #[test]
    fn only_a_fresh_answer_of_a_key_for_the_time_counts() {
        let (root, nonce) = (root(), Nonce::new(1, 2));
        let good = answer(nonce.as_str(), 5000, 0, signer("time", 1));
        for (text, answered, expected) in [
            (good.clone(), 1100, None),
            (good.clone(), 900, Some("malformed")),
            (good.replace("\"time\"", "\"content\""), 1100, Some("forged")),
            (answer("0", 5000, 0, signer("time", 1)), 1100, Some("not-for-this-station")),
            (answer(nonce.as_str(), 5000, 0, signer("content", 2)), 1100, Some("wrong-role")),
            (answer(nonce.as_str(), 5000, 0, signer("time", 3)), 1100, Some("forged")),
            (answer(nonce.as_str(), 5000, -1, signer("time", 1)), 1100, Some("malformed")),
            (answer(nonce.as_str(), 5000, 101, signer("time", 1)), 1100, None),
            (answer(nonce.as_str(), 5000, 102, signer("time", 1)), 1100, Some("malformed")),
            (answer(nonce.as_str(), i64::MAX / 2, 0, signer("time", 1)), 1100, Some("malformed")),
        ] {
            let mut clock = OfficeClock::default();
            let why = clock.take(&root, text.as_bytes(), &nonce, ms(1000), ms(answered)).err();
            let why = why.map(|why| serde_json::to_value(why).unwrap()["reason"].as_str().unwrap().to_owned());
            assert_eq!(why.as_deref(), expected, "{text}");
            assert_eq!(clock.at(ms(0)).is_some(), expected.is_none());
        }
        let mut clock = OfficeClock::default();
        clock.take(&root, good.as_bytes(), &nonce, ms(1000), ms(12_000)).unwrap();
        assert_eq!(clock.at(ms(0)), None, "too long on its way");
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let (root, nonce, mut clock) = (root(), Nonce::new(1, 2), OfficeClock::default());
        for (asked, office) in [(1000, 1_000_000), (2000, 9_000_000), (3000, 1_002_000)] {
            let text = answer(nonce.as_str(), office, 0, signer("time", 1));
            clock.take(&root, text.as_bytes(), &nonce, ms(asked), ms(asked + 80)).unwrap();
            let (at, _) = clock.at(ms(asked + 40)).unwrap();
            assert_eq!(at.as_millisecond(), office);
        }
    }

    #[test]
    fn a_nonce_is_thirty_two_digits() {
        assert!(Nonce::new(0, u64::MAX).is_sound());
        for text in ["", "0", "0000000000000000FFFFFFFFFFFFFFFF", "000000000000000000000000000000000"] {
            assert!(!Nonce::from(text.to_owned()).is_sound(), "{text}");
        }
    }
}
