//! The station's ed25519 key and what it signs.

use super::JournalError;
use crate::{
    disk::write_whole,
    text::{hex, unhex},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use jiff::Timestamp;
use std::{fs, io, path::Path};

/// Reads `data/station.key`, or makes it: 32 random bytes that only the owner can read.
pub(super) fn station_key(data: &Path) -> Result<SigningKey, JournalError> {
    let path = data.join("station.key");
    match fs::read(&path) {
        Ok(bytes) => {
            let seed: [u8; 32] = bytes.try_into().map_err(|_| JournalError::Key { file: path })?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| JournalError::Io(io::Error::other(error)))?;
            write_whole(&path, &seed)?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) => Err(error.into()),
    }
}

/// The text that is signed; its first line separates it from everything else the key may ever sign.
fn head_text(seq: i64, hash: &str, at: Timestamp) -> String {
    format!("dalaba/head/v1\n{seq}\n{hash}\n{}\n", at.as_millisecond())
}

/// Signs a head; hex.
pub(super) fn sign(key: &SigningKey, seq: i64, hash: &str, at: Timestamp) -> String {
    hex(&key.sign(head_text(seq, hash, at).as_bytes()).to_bytes())
}

/// Returns whether `signature` is the station's over this head.
pub(super) fn is_signed(key: &VerifyingKey, seq: i64, hash: &str, at: Timestamp, signature: &str) -> bool {
    let Some(bytes) = unhex(signature) else { return false };
    let Ok(signature) = Signature::from_slice(&bytes) else { return false };
    key.verify(head_text(seq, hash, at).as_bytes(), &signature).is_ok()
}

/// Reads a public key from hex.
pub(super) fn public_key(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&unhex(text)?.try_into().ok()?).ok()
}
