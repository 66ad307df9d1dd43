//! Whom the station takes for its office on the wire: a certificate with the key that was there at enrolment, or one that a
//! public authority issued for the office's name.
//!
//! What an office may say is decided by signatures inside what it says; this keeps others from listening and from wasting
//! the station's time. So at enrolment any certificate will do: the words that two people compare decide, and the key that
//! was there is remembered.

use crate::text::{hex, unhex};
use rustls_platform_verifier::Verifier as Public;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// The sha256 of the public key in a certificate, so that a renewed certificate over the same key is still known.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin([u8; 32]);

/// A text that is no pin.
#[derive(Debug, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct BadPin;

impl Pin {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self(Sha256::digest(key.as_ref()).into()))
    }
}

impl TryFrom<String> for Pin {
    type Error = BadPin;
    fn try_from(text: String) -> Result<Self, BadPin> {
        unhex(&text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(BadPin)
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        hex(&pin.0)
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pin({})", hex(&self.0[..4]))
    }
}

/// The key that the office showed last.
pub(crate) type Seen = Arc<Mutex<Option<Pin>>>;

/// Returns how to speak to an office with this key; to any, where none is known yet. The key that it shows is put in `seen`.
pub(crate) fn config(pin: Option<Pin>, seen: Seen) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let public = match pin {
        Some(_) => Public::new(Arc::clone(&provider)).ok(),
        None => None,
    };
    let verifier = Verifier { pin, public, seen, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    pin: Option<Pin>,
    /// None where the system has no list of authorities.
    public: Option<Public>,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Pin::of(certificate)?;
        let is_known = self.pin.is_none_or(|pin| pin == shown);
        if !is_known {
            let unknown = || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
            let public = self.public.as_ref().ok_or_else(unknown)?;
            public.verify_server_cert(certificate, between, name, stapled, now)?;
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
