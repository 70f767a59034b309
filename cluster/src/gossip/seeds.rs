//! Looking seeds up: a name may have several addresses, and other ones later.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::debug;

/// Longest time for one name.
const LOOKUP: Duration = Duration::from_secs(2);

/// Those that are addresses already.
pub(crate) fn addresses(seeds: &[String]) -> Vec<String> {
    let is_address = |seed: &&String| seed.parse::<SocketAddr>().is_ok();
    seeds.iter().filter(is_address).cloned().collect()
}

/// All addresses of all seeds, but `own`; and whether every seed was found. All are looked up at once.
pub(crate) async fn look_up(seeds: Vec<String>, own: SocketAddr) -> (BTreeSet<SocketAddr>, bool) {
    let looked_up = seeds.iter().map(async |seed| {
        let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host(seed.as_str())).await;
        match found {
            Ok(Ok(addresses)) => Some(addresses.collect::<Vec<_>>()),
            Ok(Err(error)) => {
                debug!(%seed, %error, "a seed is not found");
                None
            }
            Err(_) => {
                debug!(%seed, "looking a seed up takes too long");
                None
            }
        }
    });
    let looked_up = join_all(looked_up).await;
    let all = looked_up.iter().all(Option::is_some);
    let mut found: BTreeSet<SocketAddr> = looked_up.into_iter().flatten().flatten().collect();
    found.remove(&own);
    (found, all)
}
