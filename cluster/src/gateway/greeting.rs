//! How two nodes prove to each other that they know a secret of the cluster, before anything else is
//! said.
//!
//! ```text
//!   who dials                                              who is dialed
//!      ── hello: version, nonce, names of its keys ──────────>
//!      <───────────────────────── hello: the same ────────────
//!      ── proof: HMAC-SHA256 of both hellos ─────────────────>
//!      <───────────────────────── proof: the same ────────────
//! ```
//!
//! The key is the first one of who is dialed that both have, so that secrets can be changed one node
//! after the other: nodes that have one in common understand each other, whichever each has first.
//! What is proved holds for the hellos of this connection and for one side of it alone. What is said
//! later is neither sealed nor bound to this; TLS is for that.

use std::io::{Error, ErrorKind, Result};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The version of all this.
const VERSION: u8 = 1;
const NONCE: usize = 32;
/// Bytes of the name of a key.
const NAME: usize = 8;
const PROOF: usize = 32;
/// Version, number of keys, nonce.
const HEAD: usize = 2 + NONCE;

/// A key of the cluster's, derived from a secret.
pub(super) type Key = [u8; 32];

/// The side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who dials.
    Dials = 1,
    /// Who is dialed.
    IsDialed = 2,
}

/// Proves to the other side of `stream` that one of `keys` is known, and has that proved; reads no
/// byte beyond.
///
/// # Errors
/// The other side is of no such cluster, or the connection ends.
pub(super) async fn greet<S>(stream: &mut S, side: Side, keys: &[Key]) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mine = hello(keys)?;
    let theirs = match side {
        Side::Dials => {
            stream.write_all(&mine).await?;
            stream.flush().await?;
            hear(stream).await?
        }
        Side::IsDialed => {
            let theirs = hear(stream).await?;
            stream.write_all(&mine).await?;
            stream.flush().await?;
            theirs
        }
    };
    let (dialing, dialed, other) = match side {
        Side::Dials => (&mine, &theirs, Side::IsDialed),
        Side::IsDialed => (&theirs, &mine, Side::Dials),
    };
    let key = common(dialing, dialed, keys).ok_or_else(|| refused("has no secret of this one"))?;
    let proof = |side| proof(key, side, dialing, dialed);
    if side == Side::Dials {
        say(stream, proof(side)).await?;
    }
    let mut told = [0; PROOF];
    stream.read_exact(&mut told).await?;
    let wrong = |_| refused("has not proved that it knows a secret of this one");
    proof(other).verify_slice(&told).map_err(wrong)?;
    if side == Side::IsDialed {
        say(stream, proof(side)).await?;
    }
    Ok(())
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, proof: Hmac<Sha256>) -> Result<()> {
    stream.write_all(&proof.finalize().into_bytes()).await?;
    stream.flush().await
}

fn hello(keys: &[Key]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| Error::other(error.to_string()))?;
    let count = u8::try_from(keys.len()).unwrap_or(u8::MAX);
    let mut hello = vec![VERSION, count];
    hello.extend(nonce);
    hello.extend(keys.iter().take(count.into()).flat_map(name));
    Ok(hello)
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>> {
    let mut hello = vec![0; HEAD];
    stream.read_exact(&mut hello).await?;
    if hello[0] != VERSION {
        return Err(refused("speaks another version"));
    }
    let names = usize::from(hello[1]) * NAME;
    hello.resize(HEAD + names, 0);
    stream.read_exact(&mut hello[HEAD..]).await?;
    Ok(hello)
}

fn names(hello: &[u8]) -> impl Iterator<Item = &[u8]> {
    hello[HEAD..].chunks_exact(NAME)
}

/// The first key of who is dialed that who dials has as well; known to both sides.
fn common<'a>(dialing: &[u8], dialed: &[u8], keys: &'a [Key]) -> Option<&'a Key> {
    let mut shared = names(dialed).filter(|name| names(dialing).any(|other| other == *name));
    let chosen = shared.next()?;
    keys.iter().find(|key| name(key) == chosen)
}

/// What a key is called; it says nothing about the key.
fn name(key: &Key) -> [u8; NAME] {
    let named = mac(key, b"crane key").finalize().into_bytes();
    let mut name = [0; NAME];
    name.copy_from_slice(&named[..NAME]);
    name
}

fn proof(key: &Key, side: Side, dialing: &[u8], dialed: &[u8]) -> Hmac<Sha256> {
    // The length of a hello is in it, so that the two cannot be read in another way.
    let mut mac = mac(key, b"crane proof");
    mac.update(&[side as u8]);
    mac.update(dialing);
    mac.update(dialed);
    mac
}

fn mac(key: &Key, purpose: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    // A key as long as a block is taken as it is (RFC 2104), so that this cannot fail.
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(purpose);
    mac
}

fn refused(what: &str) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!("who is at the other end of the connection {what}"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secrets;

    fn keys(cluster: &str, secrets: &[&str]) -> Vec<Key> {
        let secrets = secrets
            .iter()
            .map(|secret| format!("{secret}, long enough"));
        let secrets = Secrets::new(secrets.collect()).expect("they are long enough");
        secrets.session_keys(cluster)
    }

    /// Whether each side is content with the other.
    async fn meet(dials: &[Key], dialed: &[Key]) -> (bool, bool) {
        let (mut one, mut other) = tokio::io::duplex(4_096);
        let dialing = async {
            let greeted = greet(&mut one, Side::Dials, dials).await;
            if greeted.is_ok() {
                one.write_all(b"first").await.expect("it is read");
            }
            drop(one);
            greeted.is_ok()
        };
        let welcoming = async {
            let greeted = greet(&mut other, Side::IsDialed, dialed).await;
            if greeted.is_ok() {
                let mut first = String::new();
                let read = other.read_to_string(&mut first).await;
                read.expect("it is text");
                assert_eq!(first, "first", "nothing of it was taken");
            }
            drop(other);
            greeted.is_ok()
        };
        tokio::join!(dialing, welcoming)
    }

    #[tokio::test]
    async fn nodes_with_a_secret_in_common_understand_each_other_in_any_order() {
        let steps = [&["old"][..], &["old", "new"], &["new", "old"], &["new"]];
        for (at, one) in steps.iter().enumerate() {
            for (other_at, other) in steps.iter().enumerate() {
                let fit = (at, other_at) != (0, 3) && (at, other_at) != (3, 0);
                let met = meet(&keys("c", one), &keys("c", other)).await;
                assert_eq!(met, (fit, fit), "{one:?} {other:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_node_of_another_cluster_or_without_a_key_is_refused() {
        let ours = keys("c", &["secret"]);
        assert_eq!(meet(&ours, &keys("d", &["secret"])).await, (false, false));
        assert_eq!(meet(&ours, &[]).await, (false, false));
        assert_eq!(meet(&[], &[]).await, (false, false));
    }

    /// What comes of a node that meets somebody who knows the names of its keys, and no key.
    async fn met_by(side: Side, play: impl AsyncFn(&mut tokio::io::DuplexStream)) -> Result<()> {
        let (mut one, mut other) = tokio::io::duplex(4_096);
        let keys = keys("c", &["secret"]);
        let met = async {
            let limit = Duration::from_secs(5);
            let greeted = tokio::time::timeout(limit, greet(&mut one, side, &keys)).await;
            drop(one);
            greeted.expect("it ends")
        };
        let playing = async {
            play(&mut other).await;
            drop(other);
        };
        tokio::join!(met, playing).0
    }

    #[tokio::test]
    async fn who_says_back_what_he_hears_is_refused() {
        let echo = async |stream: &mut tokio::io::DuplexStream| {
            let mut heard = [0; 256];
            while let Ok(length @ 1..) = stream.read(&mut heard).await {
                if stream.write_all(&heard[..length]).await.is_err() {
                    break;
                }
            }
        };
        let met = met_by(Side::Dials, echo).await;
        assert_eq!(met.expect_err("it is").kind(), ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn who_says_again_what_was_said_on_another_connection_is_refused() {
        let hello = hello(&keys("c", &["secret"])).expect("random numbers");
        let again = async |stream: &mut tokio::io::DuplexStream| {
            let _ = stream.write_all(&hello).await;
            let _ = stream.write_all(&[7; PROOF]).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert_eq!(rest.len(), hello.len(), "nothing is proved to a stranger");
        };
        let met = met_by(Side::IsDialed, again).await;
        assert_eq!(met.expect_err("it is").kind(), ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn who_says_something_else_or_too_little_is_refused() {
        for said in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            &[VERSION],
            &[VERSION, 255],
        ] {
            for side in [Side::Dials, Side::IsDialed] {
                let met = met_by(side, async |stream: &mut tokio::io::DuplexStream| {
                    let _ = stream.write_all(said).await;
                });
                assert!(met.await.is_err(), "{said:?}");
            }
        }
    }
}
