//! Signed bytes, in the form of DSSE: what is signed is the type and the payload as they are, never a rewriting of them.
//!
//! ```json
//! {"type":"application/vnd.dalaba.plan+json","payload":"<base64>","sigs":[{"kid":"content-1","alg":"ed25519","sig":"<base64>"}]}
//! ```
//!
//! Always true: an envelope keeps its text exactly as it came, so that it can be served again byte for byte and a
//! signature that held here holds everywhere. Nothing inside the payload is read before a signature is checked.
//!
//! Not here: whose signature counts for what ([`super::root`], [`super::accept`]).

use super::{KeyId, Refused};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{fmt, str};

/// As many signatures as an envelope may carry.
const MOST_SIGNATURES: usize = 16;
/// The only algorithm known so far. Another one, as `sm2`, is refused by its name.
pub(super) const ED25519: &str = "ed25519";

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The list of trusted keys: [`super::Root`].
    Root,
    /// Where a station belongs: [`super::Place`].
    Place,
    /// What a station is to play: [`super::Plan`].
    Plan,
    /// Something to do now: [`super::Command`].
    Command,
    /// What time it is: [`super::time::TimeDocument`].
    Time,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Root, Self::Place, Self::Plan, Self::Command, Self::Time];

    /// Its media type, which is signed with the payload: bytes signed as one kind are never read as another.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Root => "application/vnd.dalaba.root+json",
            Self::Place => "application/vnd.dalaba.place+json",
            Self::Plan => "application/vnd.dalaba.plan+json",
            Self::Command => "application/vnd.dalaba.command+json",
            Self::Time => "application/vnd.dalaba.time+json",
        }
    }

    /// The longest envelope of this kind that is read, in bytes.
    pub fn largest(self) -> usize {
        match self {
            Self::Root | Self::Place => 128 << 10,
            // 1,000 stations and 3 MiB of schedules, in base64.
            Self::Plan => 4 << 20,
            // 64 KiB of sound, in base64 twice.
            Self::Command => 192 << 10,
            Self::Time => 4 << 10,
        }
    }
}

/// Who signs: a private key and its name.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The name that the root has for it.
    pub kid: KeyId,
    /// The key.
    pub key: SigningKey,
}

/// One signature as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) kid: KeyId,
    pub(super) alg: String,
    bytes: Vec<u8>,
}

/// Signed bytes. That an envelope could be read says nothing about who signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    text: String,
    kind: Kind,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// The envelope as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: String,
    payload: String,
    sigs: Vec<WrittenSignature>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSignature {
    kid: String,
    alg: String,
    sig: String,
}

impl Envelope {
    /// Reads an envelope; the signatures are not checked.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        let refuse_longer_than = |most: usize| match bytes.len() {
            length if length > most => Err(Refused::TooLarge { bytes: length as u64, most: most as u64 }),
            _ => Ok(()),
        };
        refuse_longer_than(Kind::Plan.largest())?;
        let text = str::from_utf8(bytes).map_err(Refused::malformed)?;
        let written: Written = serde_json::from_str(text).map_err(Refused::malformed)?;
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.media_type() == written.kind) else {
            return Err(Refused::UnknownType { kind: written.kind.chars().take(100).collect() });
        };
        refuse_longer_than(kind.largest())?;
        let payload = BASE64.decode(&written.payload).map_err(Refused::malformed)?;
        if written.sigs.is_empty() || written.sigs.len() > MOST_SIGNATURES {
            return Err(Refused::malformed(format!("{} signatures", written.sigs.len())));
        }
        let signature = |written: WrittenSignature| {
            let kid = KeyId::try_from(written.kid).map_err(Refused::malformed)?;
            let bytes = BASE64.decode(&written.sig).map_err(Refused::malformed)?;
            Ok(Signature { kid, alg: written.alg.chars().take(32).collect(), bytes })
        };
        let signatures = written.sigs.into_iter().map(signature).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), kind, payload, signatures })
    }

    /// Signs a payload.
    pub fn sign(kind: Kind, payload: &[u8], signers: &[Signer]) -> Self {
        let signed = pae(kind.media_type(), payload);
        let signature = |signer: &Signer| Signature {
            kid: signer.kid.clone(),
            alg: ED25519.to_owned(),
            bytes: signer.key.sign(&signed).to_bytes().to_vec(),
        };
        let signatures: Vec<_> = signers.iter().map(signature).collect();
        let written = Written {
            kind: kind.media_type().to_owned(),
            payload: BASE64.encode(payload),
            sigs: signatures
                .iter()
                .map(|signature| WrittenSignature {
                    kid: signature.kid.to_string(),
                    alg: signature.alg.clone(),
                    sig: BASE64.encode(&signature.bytes),
                })
                .collect(),
        };
        let text = serde_json::to_string(&written).expect("three strings and a list of strings are JSON");
        Self { text, kind, payload: payload.to_vec(), signatures }
    }

    /// Writes a document and signs it.
    pub fn of<T: Serialize>(kind: Kind, document: &T, signers: &[Signer]) -> serde_json::Result<Self> {
        Ok(Self::sign(kind, &serde_json::to_vec(document)?, signers))
    }

    /// The text, exactly as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Refuses an envelope of another kind.
    pub(super) fn must_be(&self, kind: Kind) -> Result<(), Refused> {
        if self.kind == kind {
            return Ok(());
        }
        Err(Refused::UnknownType { kind: self.kind.media_type().to_owned() })
    }

    /// The bytes that were signed. Who reads them before a signature was checked reads what anybody may have written.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns whether `key` made this signature over this envelope.
    pub(super) fn is_by(&self, signature: &Signature, key: &VerifyingKey) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(&signature.bytes) else { return false };
        key.verify_strict(&pae(self.kind.media_type(), &self.payload), &signature).is_ok()
    }

    /// Reads the payload as a document; unknown fields are ignored, so that a newer office can say more.
    pub(super) fn document<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.payload).map_err(Refused::malformed)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self.signatures.iter().map(|signature| signature.kid.as_str()).collect();
        write!(f, "Envelope({:?}, {} bytes, by {})", self.kind, self.payload.len(), kids.join(", "))
    }
}

/// DSSE's pre-authentication encoding: lengths before contents, so that no two pairs of type and payload are one text.
fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    signed
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn signer(kid: &str, seed: u8) -> Signer {
        Signer { kid: KeyId::try_from(kid.to_owned()).unwrap(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    #[test]
    fn what_is_signed_is_the_form_that_dsse_describes() {
        // The example of the specification.
        let signed = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn an_envelope_keeps_its_text_byte_for_byte() {
        let sealed = Envelope::sign(Kind::Plan, b"{ }", &[signer("content-1", 1)]);
        let spaced = sealed.text().replace(",\"payload\"", ",\r\n\t\"later\": 1, \"payload\"");
        for text in [sealed.text(), &spaced] {
            let read = Envelope::read(text.as_bytes()).unwrap();
            assert_eq!(read.text(), text);
            assert!(read.is_by(&read.signatures[0], &signer("content-1", 1).key.verifying_key()));
        }
    }

    #[test]
    fn a_signature_holds_for_one_key_one_type_and_one_payload() {
        let sealed = Envelope::sign(Kind::Plan, b"{}", &[signer("content-1", 1)]);
        let holds = |envelope: &Envelope, seed| {
            envelope.is_by(&envelope.signatures[0], &SigningKey::from_bytes(&[seed; 32]).verifying_key())
        };
        assert!(holds(&sealed, 1));
        assert!(!holds(&sealed, 2));
        assert!(!holds(&Envelope { kind: Kind::Command, ..sealed.clone() }, 1));
        assert!(!holds(&Envelope { payload: b"{ }".to_vec(), ..sealed }, 1));
    }
}
