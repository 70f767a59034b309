//! TLS: from two files to what answers handshakes. The files may be read again while it runs.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// The setting of the certificates.
pub(crate) const CERT: &str = "api.tls_cert";
/// The setting of the key.
pub(crate) const KEY: &str = "api.tls_key";

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {file} {problem}")]
pub struct Error {
    /// The setting to look at.
    pub setting: &'static str,
    /// The file it names.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Error {
    fn new(setting: &'static str, file: &Path, problem: impl fmt::Display) -> Self {
        Self {
            setting,
            file: file.display().to_string(),
            problem: problem.to_string(),
        }
    }
}

/// Makes the process use one implementation of cryptography for all its TLS. To be called once, at
/// the start; a second call changes nothing.
pub fn install_provider() {
    // It fails only where a provider is installed already.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// Reads the files and checks that they belong together.
///
/// # Errors
/// A file that cannot be read or holds something else, or a key of another certificate.
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, Error> {
    let (cert, key) = (files.cert.as_path(), files.key.as_path());
    let mut config = fitting(KEY, (cert, key), chain(CERT, cert)?, private_key(KEY, key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in the file that a setting names; at least one.
pub(crate) fn chain(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = CertificateDer::pem_slice_iter(&read(setting, file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::new(setting, file, format!("is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(Error::new(setting, file, "holds no certificate in PEM"));
    }
    Ok(chain)
}

/// The private key in the file that a setting names.
pub(crate) fn private_key(
    setting: &'static str,
    file: &Path,
) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(setting, file)?).map_err(|error| {
        let problem = format!("holds no private key in PEM: {error}");
        Error::new(setting, file, problem)
    })
}

/// What a server makes of a chain and the key of its first certificate, which a setting names.
pub(crate) fn fitting(
    setting: &'static str,
    (cert, key): (&Path, &Path),
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let provider = match CryptoProvider::get_default() {
        Some(installed) => Arc::clone(installed),
        None => Arc::new(aws_lc_rs::default_provider()),
    };
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::new(setting, key, format!("cannot be used: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            let problem = format!(
                "does not fit the certificate in {}: {error}",
                cert.display()
            );
            Error::new(setting, key, problem)
        })
}

/// Whether the file that a setting names holds certificates of authorities.
pub(crate) fn authority(setting: &'static str, file: &Path) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(setting, file)? {
        roots.add(certificate).map_err(|error| {
            let problem = format!("holds a certificate that cannot be used: {error}");
            Error::new(setting, file, problem)
        })?;
    }
    Ok(())
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file)
        .map_err(|error| Error::new(setting, file, format!("cannot be read: {error}")))
}

/// What handshakes are answered with, until it is replaced. Clones share it.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Tls {
    /// From the files.
    ///
    /// # Errors
    /// As [`load`].
    pub fn new(files: TlsFiles) -> Result<Self, Error> {
        let acceptor = TlsAcceptor::from(load(&files)?);
        Ok(Self {
            files,
            acceptor: Arc::new(RwLock::new(acceptor)),
        })
    }

    /// Reads the files again; connections that are open keep what they have.
    ///
    /// # Errors
    /// As [`load`]; what was read before stays in use then.
    pub fn reload(&self) -> Result<(), Error> {
        let acceptor = TlsAcceptor::from(load(&self.files)?);
        *self
            .acceptor
            .write()
            .unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let acceptor = self.acceptor.read();
        acceptor.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    fn identity() -> (String, String) {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (signed.cert.pem(), signed.signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_setting_and_file() {
        let files = Files::new();
        let (cert, key) = identity();
        let (_, other) = identity();
        let good = (files.write("cert.pem", &cert), files.write("key.pem", &key));
        let load = |cert: &Path, key: &Path| {
            load(&TlsFiles {
                cert: cert.to_owned(),
                key: key.to_owned(),
            })
        };
        assert!(load(&good.0, &good.1).is_ok());
        let empty = files.write("empty.pem", "nothing\n");
        let broken = files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n");
        let other = files.write("other.pem", &other);
        let missing = files.dir.path().join("missing.pem");
        let refused = [
            (&missing, &good.1, CERT, "cannot be read"),
            (&empty, &good.1, CERT, "holds no certificate"),
            (&broken, &good.1, CERT, "is not PEM"),
            (&good.0, &missing, KEY, "cannot be read"),
            (&good.0, &good.0, KEY, "holds no private key"),
            (&good.0, &other, KEY, "does not fit"),
        ];
        for (cert, key, setting, problem) in refused {
            let error = load(cert, key).unwrap_err();
            assert_eq!(error.setting, setting, "{error}");
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.to_string().contains(".pem"), "{error}");
        }
    }

    #[test]
    fn a_failed_reload_leaves_what_was_there() {
        let files = Files::new();
        let (cert, key) = identity();
        let paths = TlsFiles {
            cert: files.write("cert.pem", &cert),
            key: files.write("key.pem", &key),
        };
        let tls = Tls::new(paths).unwrap();
        let before = Arc::as_ptr(tls.acceptor().config());
        files.write("cert.pem", "gone\n");
        assert!(tls.reload().is_err());
        assert_eq!(Arc::as_ptr(tls.acceptor().config()), before);
        files.write("cert.pem", &cert);
        assert!(tls.reload().is_ok());
        assert_ne!(Arc::as_ptr(tls.acceptor().config()), before);
    }
}
