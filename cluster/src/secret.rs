//! What is derived from the one secret of a cluster.

use std::fmt;
use std::net::IpAddr;

use hkdf::Hkdf;
use sha2::Sha256;

/// Shortest secret, in bytes; a secret can be tried offline by whoever has seen how two nodes greet
/// each other, so that a short one is none.
pub const SECRET_BYTES: usize = 16;

/// The secrets of a cluster: all of them are accepted, the first is used.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Why secrets or addresses are refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No secret, and an address that others reach.
    #[error(
        "listening on {0} without a cluster secret would let anybody join: set CRANE_CLUSTER_SECRET, \
         or listen on 127.0.0.1"
    )]
    Open(IpAddr),
    /// A secret that can be guessed.
    #[error("a cluster secret of {0} bytes is too short, the least is {SECRET_BYTES}")]
    Short(usize),
}

impl Secrets {
    /// Takes the secrets, the one to use first; more than one while they are being changed.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn new(secrets: Vec<String>) -> Result<Self, Error> {
        match secrets
            .iter()
            .map(String::len)
            .find(|len| *len < SECRET_BYTES)
        {
            Some(len) => Err(Error::Short(len)),
            None => Ok(Self(secrets)),
        }
    }

    /// Secrets of a node that only its own machine reaches.
    ///
    /// # Errors
    /// [`Error::Open`] if one of `addresses` is not a loopback address.
    pub fn none(addresses: &[IpAddr]) -> Result<Self, Error> {
        match addresses.iter().find(|address| !address.is_loopback()) {
            Some(address) => Err(Error::Open(*address)),
            None => Ok(Self(vec!["only this machine".into()])),
        }
    }

    /// A key for each secret, for datagrams of gossip in the cluster `id`.
    pub(crate) fn gossip_keys(&self, id: &str) -> Vec<[u8; 32]> {
        self.keys("crane gossip v1", id)
    }

    /// A key for each secret; nodes of the cluster `id` prove to each other that they know one.
    pub(crate) fn session_keys(&self, id: &str) -> Vec<[u8; 32]> {
        self.keys("crane session v1", id)
    }

    fn keys(&self, purpose: &str, id: &str) -> Vec<[u8; 32]> {
        let derived = self.0.iter().map(|secret| derive(secret, purpose, id));
        derived.collect()
    }
}

/// HKDF-SHA256 (RFC 5869) without salt; the purpose and the cluster are the info.
fn derive(secret: &str, purpose: &str, id: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let info = [purpose.as_bytes(), b"\0", id.as_bytes()].concat();
    // Fails only for more than 255 blocks.
    let _ = Hkdf::<Sha256>::new(None, secret.as_bytes()).expand(&info, &mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_secret_purpose_and_cluster() {
        let secrets = |text: &str| Secrets::new(vec![text.into()]).expect("it is long enough");
        let one = secrets("correct horse battery");
        let other = secrets("incorrect horse battery");
        assert_ne!(one.gossip_keys("a"), other.gossip_keys("a"));
        assert_ne!(one.gossip_keys("a"), one.gossip_keys("b"));
        assert_ne!(one.session_keys("a"), one.session_keys("b"));
        assert_ne!(one.session_keys("a"), one.gossip_keys("a"));
        assert_eq!(
            one.session_keys("a"),
            secrets("correct horse battery").session_keys("a")
        );
    }

    #[test]
    fn nobody_listens_beyond_this_machine_without_a_secret() {
        let local: IpAddr = [127, 0, 0, 1].into();
        let open: IpAddr = [0, 0, 0, 0].into();
        assert!(Secrets::none(&[local]).is_ok());
        assert_eq!(Secrets::none(&[local, open]).err(), Some(Error::Open(open)));
        assert_eq!(
            Secrets::new(vec!["short".into()]).err(),
            Some(Error::Short(5))
        );
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secrets = Secrets::new(vec!["correct horse battery".into()]);
        assert!(!format!("{secrets:?}").contains("horse"));
    }
}
