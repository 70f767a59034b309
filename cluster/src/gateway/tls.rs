//! Mutual TLS between nodes: who has no certificate of the cluster's authority gets no further than
//! the handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Certificates for both directions.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
    /// The name that each node's certificate must carry.
    pub(super) name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, or holds something else.
    #[error("{file} is no {what}: {source}")]
    File {
        /// The file.
        file: String,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates that do not fit together.
    #[error("the cluster's certificates cannot be used: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads the node's certificate chain, its key, and the authority that signs all nodes', in
    /// PEM. `name` is the DNS name in each node's certificate.
    ///
    /// # Errors
    /// Files that cannot be read, or do not fit together.
    pub fn read(
        certificate: &Path,
        key: &Path,
        authority: &Path,
        name: &str,
    ) -> Result<Self, Error> {
        let chain = certificates(certificate)?;
        let key_of = PrivateKeyDer::from_pem_file(key);
        let key = key_of.map_err(|source| wrong(key, "private key", source))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate).map_err(unusable)?;
        }
        Self::new(chain, key, roots, name)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: RootCertStore,
        name: &str,
    ) -> Result<Self, Error> {
        let name = ServerName::try_from(name.to_owned()).map_err(unusable)?;
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.build().map_err(unusable)?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self {
            acceptor: Arc::new(server).into(),
            connector: Arc::new(client).into(),
            name,
        })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(file);
    match found.and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>()) {
        Ok(found) if found.is_empty() => Err(Error::Unusable(format!(
            "{} holds no certificate",
            file.display()
        ))),
        Ok(found) => Ok(found),
        Err(source) => Err(wrong(file, "certificate", source)),
    }
}

fn wrong(file: &Path, what: &'static str, source: rustls::pki_types::pem::Error) -> Error {
    let file = file.display().to_string();
    Error::File { file, what, source }
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Unusable(error.to_string())
}
