//! The list of trusted keys, and how one list follows another.
//!
//! A station pins a root when it enrols, and takes another only from the keys it trusts already: the next root is signed
//! by a threshold of the root keys of the one in force, and by a threshold of its own, so that nobody locks himself out.
//! Numbers may be skipped: whoever holds enough of the keys in force can say everything that a chain of roots could. When
//! root keys themselves change, the office serves the roots in between.
//!
//! `generation` numbers the office's memory. After the restore of an old backup revisions and counters start again below
//! what stations have seen; the remedy is a root with a higher generation, under which the stations' high-water marks
//! start again. It is also the way back from a revision that a stolen key drove to its end.
//!
//! Both are best taken from the time in seconds, where that is more than the last plus one: so a restored office gives no
//! number again that it gave before the restore and that only a station, or an eavesdropper, still knows of.
//!
//! Not here: what a key may do with a document ([`super::accept`]).

use super::{
    Division, Envelope, KeyId, Kind, Refused,
    envelope::{ED25519, Signature},
    refused,
    words::Words,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// As many root keys, and other keys, as a root may list.
const MOST_ROOTS: usize = 16;
const MOST_KEYS: usize = 256;
/// As many revoked keys as a root may list.
const MOST_REVOKED: usize = 1024;
/// Above this a number cannot be written in JavaScript, where an operator's browser may sign one day.
pub(super) const MOST_NUMBER: u64 = (1 << 53) - 1;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Places, plans, and commands below an emergency.
    Content,
    /// Emergencies, and commands about them.
    Emergency,
    /// What time it is, and nothing else: such a key stays on the server when the other two leave it.
    Time,
    /// A role that only a newer program knows: such a key may sign nothing here.
    #[serde(other)]
    Other,
}

/// A public key with its name and algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Never used again for another key.
    pub kid: KeyId,
    /// `ed25519`. A root may list others, which only a newer program can check.
    pub alg: String,
    /// Base64; for `ed25519`, of 32 bytes.
    pub key: String,
}

/// A key and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The key itself.
    #[serde(flatten)]
    pub public: PublicKey,
    /// What it may sign.
    pub role: Role,
    /// Whom it may speak to.
    pub scope: Division,
    /// From here on it signs nothing new.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub not_after: Timestamp,
}

/// The list of trusted keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Higher than every one before it.
    pub version: u64,
    /// Numbers the office's memory; never falls.
    pub generation: u64,
    /// The office, as people call it.
    pub office: String,
    /// How many of `roots` must sign the next one.
    pub threshold: u8,
    /// Keys that sign roots, and nothing else.
    pub roots: Vec<PublicKey>,
    /// Keys that sign everything else.
    pub keys: Vec<Key>,
    /// Keys that count for nothing any more, whatever they signed and wherever they are listed.
    pub revoked: BTreeSet<KeyId>,
}

impl PublicKey {
    /// Names an ed25519 key.
    pub fn ed25519(kid: KeyId, key: &VerifyingKey) -> Self {
        Self { kid, alg: ED25519.to_owned(), key: BASE64.encode(key.as_bytes()) }
    }

    fn verifying(&self) -> Result<VerifyingKey, Refused> {
        if self.alg != ED25519 {
            return Err(Refused::Algorithm { alg: self.alg.chars().take(32).collect() });
        }
        let bytes = BASE64.decode(&self.key).ok().and_then(|bytes| bytes.try_into().ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        key.ok_or_else(|| Refused::malformed(format!("key {}", self.kid)))
    }

    /// Returns whether this key made `signature`, or why not.
    fn check(&self, envelope: &Envelope, signature: &Signature) -> Result<(), Refused> {
        if signature.alg != self.alg {
            return Err(Refused::Algorithm { alg: signature.alg.clone() });
        }
        let key = self.verifying()?;
        let forged = || Refused::Forged { kid: self.kid.to_string() };
        envelope.is_by(signature, &key).then_some(()).ok_or_else(forged)
    }
}

impl Root {
    /// Returns the key that signed `envelope`, whatever its role: the first that is listed, not revoked, and whose
    /// signature holds. Signatures that mean nothing here are passed over, so that an envelope can be signed by an old and
    /// a new key while roots change; where none holds, the reason is the one that came closest.
    pub fn signer(&self, envelope: &Envelope) -> Result<&Key, Refused> {
        let mut closest = (0, Refused::malformed("no signature"));
        for signature in envelope.signatures() {
            let why = match self.keys.iter().find(|key| key.public.kid == signature.kid) {
                _ if self.revoked.contains(&signature.kid) => (2, Refused::Revoked { kid: signature.kid.to_string() }),
                None => (1, Refused::UnknownKey { kid: signature.kid.to_string() }),
                Some(key) => match key.public.check(envelope, signature) {
                    Ok(()) => return Ok(key),
                    Err(why) => (3, why),
                },
            };
            if why.0 > closest.0 {
                closest = why;
            }
        }
        Err(closest.1)
    }

    /// Holds the signatures against a threshold of the root keys. A key that is listed twice under two names counts once.
    fn counts(&self, envelope: &Envelope) -> Result<(), Refused> {
        let mut signed = BTreeSet::new();
        let mut why = None;
        for signature in envelope.signatures() {
            let root = self.roots.iter().find(|root| root.kid == signature.kid);
            let Some(root) = root.filter(|root| !self.revoked.contains(&root.kid)) else { continue };
            match root.check(envelope, signature) {
                Ok(()) => drop(signed.insert(&root.key)),
                Err(refused) => why = Some(refused),
            }
        }
        if signed.len() >= usize::from(self.threshold) {
            return Ok(());
        }
        let have = u8::try_from(signed.len()).unwrap_or(u8::MAX);
        Err(why.unwrap_or(Refused::TooFewSignatures { have, need: self.threshold }))
    }

    fn read(envelope: &Envelope) -> Result<Self, Refused> {
        envelope.must_be(Kind::Root)?;
        let root: Self = envelope.document()?;
        let names: BTreeSet<_> =
            root.roots.iter().chain(root.keys.iter().map(|key| &key.public)).map(|key| &key.kid).collect();
        refused::unless([
            (root.version >= 1 && root.version <= MOST_NUMBER, "version"),
            (root.generation <= MOST_NUMBER, "generation"),
            ((1..=64).contains(&root.office.chars().count()), "office"),
            (root.threshold >= 1 && usize::from(root.threshold) <= root.roots.len(), "threshold"),
            (root.roots.len() <= MOST_ROOTS, "roots"),
            (root.keys.len() <= MOST_KEYS, "keys"),
            (root.revoked.len() <= MOST_REVOKED, "revoked"),
            (names.len() == root.roots.len() + root.keys.len(), "two keys under one name"),
        ])?;
        Ok(root)
    }
}

/// The root in force, with the envelope it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    root: Root,
    envelope: Envelope,
}

impl Pinned {
    /// Reads the first root, at enrolment. It is signed by its own keys, which proves nothing about whose it is: that
    /// two people compare its [`words`](Self::words) does.
    pub fn first(bytes: &[u8]) -> Result<Self, Refused> {
        let envelope = Envelope::read(bytes)?;
        let root = Root::read(&envelope)?;
        root.counts(&envelope)?;
        Ok(Self { root, envelope })
    }

    /// Returns the root that follows this one.
    pub fn follow(&self, envelope: Envelope) -> Result<Self, Refused> {
        // Before its contents are looked at: the keys in force are what they are believed by.
        self.root.counts(&envelope)?;
        let root = Root::read(&envelope)?;
        if root.version <= self.root.version {
            return Err(match root.version == self.root.version && envelope.payload() != self.envelope.payload() {
                true => Refused::SameRevision { revision: root.version },
                false => Refused::OldRevision { ours: self.root.version, theirs: root.version },
            });
        }
        if root.generation < self.root.generation {
            return Err(Refused::OldGeneration { ours: self.root.generation, theirs: root.generation });
        }
        root.counts(&envelope)?;
        Ok(Self { root, envelope })
    }

    /// What is trusted.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The envelope, as it came.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The words that both sides show.
    pub fn words(&self) -> Words {
        Words::of(&Sha256::digest(self.envelope.payload()).into())
    }
}
