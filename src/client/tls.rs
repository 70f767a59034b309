//! Whom to trust behind `https`: the system's certificate authorities, or those of one file.

mod named;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::error::Error;
use named::Named;

/// A connector that trusts the certificates in `file` and no others, or the authorities of the
/// system.
pub(super) fn connector(file: Option<&Path>) -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Roots(error.to_string()))?;
    let mut config = match file {
        None => builder
            .with_root_certificates(of_the_system()?)
            .with_no_client_auth(),
        Some(file) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(of_file(file, provider)?))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn of_file(file: &Path, provider: Arc<CryptoProvider>) -> Result<Named, Error> {
    let wrong = |error: String| Error::Roots(format!("{}: {error}", file.display()));
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate in PEM form".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| wrong(error.to_string()))?;
    }
    Named::new(certificates, roots, provider).map_err(wrong)
}

fn of_the_system() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry certificates that do not parse any more; the others are what counts.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::Roots(format!(
            "the system has none{why}; install its ca-certificates, or name a file with --ca-cert"
        )));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "nothing").unwrap();
        for path in [file, directory.path().join("none.pem")] {
            let error = connector(Some(&path)).err().unwrap().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
