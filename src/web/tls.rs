//! TLS for those who come over the network, with a certificate that the station makes itself.

use crate::disk::write_whole;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, io, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    LazyConfigAcceptor, StartHandshake, TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::Acceptor,
    },
    server::TlsStream,
};

/// Answers handshakes.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads `page-key.pem` and `page-cert.pem` of `data`, or makes both: whoever trusted the station's page once is not
    /// asked again. A pair of one's own may be put in their place.
    pub fn open(data: &Path, name: &str) -> io::Result<Self> {
        let (key_file, certificate_file) = (data.join("page-key.pem"), data.join("page-cert.pem"));
        if !key_file.exists() || !certificate_file.exists() {
            let key = KeyPair::generate().map_err(io::Error::other)?;
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = params.self_signed(&key).map_err(io::Error::other)?;
            // `write_whole` keeps what it writes to its owner.
            write_whole(&key_file, key.serialize_pem().as_bytes())?;
            write_whole(&certificate_file, certificate.pem().as_bytes())?;
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&fs::read(&certificate_file)?)
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(&fs::read(&key_file)?).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }

    /// Waits for the first word of a handshake, and returns what answers it.
    pub(crate) async fn hear(&self, stream: TcpStream) -> io::Result<Heard> {
        let heard = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        Ok(Heard(heard, Arc::clone(self.0.config())))
    }
}

/// A handshake whose first word is whole.
pub(crate) struct Heard(StartHandshake<TcpStream>, Arc<ServerConfig>);

impl Heard {
    /// Answers, and waits for the rest.
    pub(crate) async fn answer(self) -> io::Result<TlsStream<TcpStream>> {
        self.0.into_stream(self.1).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Tls")
    }
}
