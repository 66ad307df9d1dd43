//! How a station proves who it is: a nonce, a signature over it, and a token for the next day.
//!
//! Nonces and tokens are stamped by a key that every process of an office has, and kept nowhere: what one process gave is
//! good at each. A nonce lives for a minute and signs in once; a token is bound to the station's key, and ends with it.
//!
//! Not here: who the stations are ([`super::watches`]).

use super::keys::Keys;
use crate::link::{BlobId, StationId, protocol, protocol::SignIn, time::Nonce};
use crate::text::unhex;
use ed25519_dalek::{Signature, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// A nonce that was not used by then is none.
const NONCE_LIVES: i64 = 60;
/// How long a token holds.
const TOKEN_LIVES: SignedDuration = SignedDuration::from_hours(24);
/// As many nonces as are remembered as used; more sign-ins than this in a minute have to wait.
const MOST_USED: usize = 100_000;

/// Why a station is not signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The nonce is none of ours, too old, or used.
    #[error("随机数无效或已经用过；请重新连接 the nonce is unknown, too old or used; ask for another")]
    Nonce,
    /// The signature is not that station's.
    #[error("签名与站点的密钥不符 the signature is not by the station's key")]
    Signature,
    /// Too many at once.
    #[error("同时登录的站点太多；请稍后再试 too many stations sign in at once; come back later")]
    Busy,
}

/// The sessions of stations.
#[derive(Debug)]
pub(super) struct Sessions {
    keys: Arc<Keys>,
    used: Mutex<Used>,
}

/// Nonces that have signed somebody in, while they could again.
#[derive(Debug, Default)]
struct Used {
    known: BTreeSet<String>,
    order: VecDeque<(i64, String)>,
}

impl Sessions {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, used: Mutex::default() }
    }

    /// Draws a nonce: when, a random number, and the beginning of a stamp on both.
    pub(super) fn nonce(&self, now: Timestamp) -> Result<Nonce, getrandom::Error> {
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        let second = now.as_second().cast_unsigned() & u64::from(u32::MAX);
        let high = second << 32 | u64::from(u32::from_be_bytes(random));
        Ok(Nonce::new(high, self.seal(high)))
    }

    fn seal(&self, high: u64) -> u64 {
        let stamp = self.keys.stamp(&format!("dalaba/nonce/v1\n{high:016x}\n"));
        u64::from_str_radix(&stamp[..16], 16).unwrap_or_default()
    }

    /// Takes a sign-in of a station with this key, and returns its token and when that ends.
    pub(super) fn sign_in(
        &self,
        asked: &SignIn,
        key: &VerifyingKey,
        key_text: &str,
        now: Timestamp,
    ) -> Result<(String, Timestamp), SignInError> {
        self.is_ours(&asked.nonce, now).then_some(()).ok_or(SignInError::Nonce)?;
        let signature = unhex(&asked.signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or(SignInError::Signature)?;
        // By the root that the station has: it may be behind.
        let is_by = |office: &BlobId| {
            let text = protocol::sign_in_text(&asked.station, &asked.nonce, office);
            key.verify_strict(text.as_bytes(), &signature).is_ok()
        };
        self.keys.names().iter().any(is_by).then_some(()).ok_or(SignInError::Signature)?;
        self.spend(&asked.nonce, now)?;
        let expires = crate::trust::plus(now, TOKEN_LIVES);
        let stamp = self.keys.stamp(&token_text(&asked.station, key_text, expires.as_second()));
        Ok((format!("{}.{}.{stamp}", asked.station, expires.as_second()), expires))
    }

    fn is_ours(&self, nonce: &Nonce, now: Timestamp) -> bool {
        let half = |range| nonce.as_str().get(range).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let (Some(high), Some(low), true) = (half(0..16), half(16..32), nonce.is_sound()) else { return false };
        let age = now.as_second() - (high >> 32).cast_signed();
        // Two processes may differ by a few seconds.
        (-10..=NONCE_LIVES).contains(&age) && low == self.seal(high)
    }

    fn spend(&self, nonce: &Nonce, now: Timestamp) -> Result<(), SignInError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let over = now.as_second() - 2 * NONCE_LIVES;
        while let Some((_, nonce)) = used.order.pop_front_if(|(since, _)| *since < over) {
            used.known.remove(&nonce);
        }
        if used.known.len() >= MOST_USED {
            return Err(SignInError::Busy);
        }
        if !used.known.insert(nonce.as_str().to_owned()) {
            return Err(SignInError::Nonce);
        }
        used.order.push_back((now.as_second(), nonce.as_str().to_owned()));
        Ok(())
    }
}

/// A token as a station sends it: whose it says to be, until when, and the stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) station: StationId,
    expires: i64,
    stamp: &'a str,
}

impl<'a> Token<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let station = StationId::try_from(parts.next()?.to_owned()).ok()?;
        Some(Self { station, expires: parts.next()?.parse().ok()?, stamp: parts.next()? })
    }

    /// Returns whether a process of this office gave it to the station with this key, and it has not ended.
    pub(super) fn holds(&self, keys: &Keys, key: &str, now: Timestamp) -> bool {
        now.as_second() < self.expires && keys.is_stamped(&token_text(&self.station, key, self.expires), self.stamp)
    }
}

fn token_text(station: &StationId, key: &str, expires: i64) -> String {
    format!("dalaba/session/v1\n{station}\n{key}\n{expires}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{link::Division, text::hex};
    use ed25519_dalek::{Signer as _, SigningKey};

    fn now() -> Timestamp {
        "2026-06-17T00:00:00Z".parse().unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    fn keys() -> Arc<Keys> {
        let home = tempfile::tempdir().unwrap();
        let division = Division::try_from("330127104".to_owned()).unwrap();
        Arc::new(Keys::make(home.path(), "青石镇", &division, now()).unwrap())
    }

    fn station() -> (StationId, SigningKey, String) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let text = hex(key.verifying_key().as_bytes());
        (StationId::try_from("beizhuang".to_owned()).unwrap(), key, text)
    }

    fn signed(nonce: &Nonce, office: &BlobId) -> SignIn {
        let (station, key, _) = station();
        let signature = key.sign(protocol::sign_in_text(&station, nonce, office).as_bytes());
        SignIn { station, nonce: nonce.clone(), signature: hex(&signature.to_bytes()) }
    }

    #[test]
    fn a_nonce_signs_in_once_within_its_minute_at_any_process() {
        let keys = keys();
        let (_, key, text) = station();
        let (one, two) = (Sessions::new(keys.clone()), Sessions::new(keys.clone()));
        let (office, key) = (keys.names()[0], key.verifying_key());
        let sign_in = |nonce: &Nonce, after| two.sign_in(&signed(nonce, &office), &key, &text, later(after)).err();
        let nonce = one.nonce(now()).unwrap();
        assert_eq!(sign_in(&nonce, 61), Some(SignInError::Nonce));
        assert_eq!(sign_in(&nonce, 60), None);
        assert_eq!(sign_in(&nonce, 60), Some(SignInError::Nonce));
        for wrong in ["", "0000000000000000", &format!("{}0", &nonce.as_str()[..31]), &"中".repeat(32)] {
            assert_eq!(sign_in(&Nonce::from(wrong.to_owned()), 0), Some(SignInError::Nonce), "{wrong}");
        }
        let nonce = one.nonce(now()).unwrap();
        let other = two.sign_in(&signed(&nonce, &BlobId::of(b"another office")), &key, &text, now());
        assert_eq!(other.err(), Some(SignInError::Signature));
        assert_eq!(sign_in(&nonce, 0), None, "a wrong signature does not use the nonce up");
    }

    #[test]
    fn a_token_is_one_stations_under_one_key_for_a_day() {
        let keys = keys();
        let sessions = Sessions::new(keys.clone());
        let (_, key, text) = station();
        let nonce = sessions.nonce(now()).unwrap();
        let (token, expires) =
            sessions.sign_in(&signed(&nonce, &keys.names()[0]), &key.verifying_key(), &text, now()).unwrap();
        assert_eq!(expires, later(24 * 3600));
        let holds = |token: &str, key: &str, after| {
            Token::read(token).is_some_and(|token| token.holds(&keys, key, later(after)))
        };
        let last = 24 * 3600 - 1;
        for (token, key, after, expected) in [
            (token.clone(), text.as_str(), 0, true),
            (token.clone(), &text, last, true),
            (token.clone(), &text, last + 1, false),
            (token.clone(), &text.replace('a', "b"), 0, false),
            (token.replace("beizhuang", "nanzhuang"), &text, 0, false),
            (token.replace(&expires.as_second().to_string(), "9999999999"), &text, 0, false),
            (token[..token.len() - 1].to_owned(), &text, 0, false),
            ("..".to_owned(), &text, 0, false),
            (String::new(), &text, 0, false),
        ] {
            assert_eq!(holds(&token, key, after), expected, "{token} {after}");
        }
    }
}
