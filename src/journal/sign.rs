//! The station's ed25519 key and what it signs.

use super::JournalError;
use crate::{
    disk::write_whole,
    text::{hex, unhex},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{fmt, fs, io, path::Path, str::FromStr};

/// Reads `data/station.key`, or makes it: 32 random bytes that only the owner can read.
pub(super) fn station_key(data: &Path) -> Result<SigningKey, JournalError> {
    if let Some(key) = existing_key(data)? {
        return Ok(key);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| JournalError::Io(io::Error::other(error)))?;
    write_whole(&data.join("station.key"), &seed)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Reads `data/station.key`, if there is one.
pub(super) fn existing_key(data: &Path) -> Result<Option<SigningKey>, JournalError> {
    let path = data.join("station.key");
    match fs::read(&path) {
        Ok(bytes) => {
            let seed: [u8; 32] = bytes.try_into().map_err(|_| JournalError::Key { file: path })?;
            Ok(Some(SigningKey::from_bytes(&seed)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The text that is signed for a head; its first line separates it from everything else the key may ever sign.
pub fn head_text(seq: i64, hash: &str, at: Timestamp) -> String {
    format!("dalaba/head/v1\n{seq}\n{hash}\n{}\n", at.as_millisecond())
}

/// The text that is signed for an exported file: how many rows, and the sha256 of their hashes one after the other.
pub(super) fn export_text(rows: i64, digest: &str, at: Timestamp) -> String {
    format!("dalaba/export/v1\n{rows}\n{digest}\n{}\n", at.as_millisecond())
}

/// The text that is signed for rows on their way to an office: which journal, from which row to which, and the hash of the
/// last, to which the chain binds all those before it.
pub fn batch_text(epoch: &str, from: i64, to: i64, head: &str) -> String {
    format!("dalaba/batch/v1\n{epoch}\n{from}\n{to}\n{head}\n")
}

/// Signs a text; hex.
pub(super) fn sign(key: &SigningKey, text: &str) -> String {
    hex(&key.sign(text.as_bytes()).to_bytes())
}

/// What proves a station's signatures. As text: 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("不是站点公钥（应为 64 位十六进制数）")]
pub struct NoKey;

impl PublicKey {
    /// Returns a short name of the key that two people can compare by telephone: sixteen digits of its sha256.
    pub fn fingerprint(&self) -> String {
        let digits = hex(&Sha256::digest(self.0.as_bytes()));
        format!("{}-{}-{}-{}", &digits[..4], &digits[4..8], &digits[8..12], &digits[12..16])
    }

    /// Returns whether `signature` (hex) is this key's over `text`.
    pub(super) fn has_signed(&self, text: &str, signature: &str) -> bool {
        let Some(bytes) = unhex(signature) else { return false };
        let Ok(signature) = Signature::from_slice(&bytes) else { return false };
        self.0.verify(text.as_bytes(), &signature).is_ok()
    }
}

impl From<&SigningKey> for PublicKey {
    fn from(key: &SigningKey) -> Self {
        Self(key.verifying_key())
    }
}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = unhex(text.trim()).and_then(|bytes| bytes.try_into().ok()).ok_or(NoKey)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| NoKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}
