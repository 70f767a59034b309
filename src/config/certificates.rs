//! The certificates and keys that settings name: whether each file is there, holds what it should, and
//! fits the other of its pair. Read where they will be used, and nowhere else: a key is for the node
//! alone.

use std::path::Path;

use super::Config;
use super::reader::Reader;
use crate::server::tls;

/// Complains about each file that cannot be used.
pub(super) fn check(reader: &mut Reader, config: &Config) {
    if let Some(files) = &config.api.tls {
        pair(reader, [tls::CERT, tls::KEY], &files.cert, &files.key);
    }
    if let Some(files) = &config.cluster.tls {
        let names = ["cluster.tls_cert", "cluster.tls_key"];
        pair(reader, names, &files.cert, &files.key);
        sound(reader, tls::authority("cluster.tls_ca", &files.ca));
    }
    let postgres = config.store.postgres.as_ref();
    if let Some(file) = postgres.and_then(|postgres| postgres.ca.as_deref()) {
        sound(reader, tls::authority("store.ca", file));
    }
}

fn pair(reader: &mut Reader, [cert, key]: [&'static str; 2], chain: &Path, private: &Path) {
    let read_chain = sound(reader, tls::chain(cert, chain));
    let read_key = sound(reader, tls::private_key(key, private));
    if let (Some(certificates), Some(private_key)) = (read_chain, read_key) {
        let files = (chain, private);
        sound(reader, tls::fitting(key, files, certificates, private_key));
    }
}

/// What was read, or a complaint.
fn sound<T>(reader: &mut Reader, read: Result<T, tls::Error>) -> Option<T> {
    read.map_err(|error| {
        let tls::Error {
            setting,
            file,
            problem,
        } = error;
        reader.complain(setting, format!("is {file:?}, which {problem}"));
    })
    .ok()
}
