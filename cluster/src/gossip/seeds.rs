//! Looking seeds up: a name may have several addresses, and other ones later.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::debug;

/// Longest time for one name.
const LOOKUP: Duration = Duration::from_secs(2);

/// Those that are addresses already.
pub(crate) fn addresses(seeds: &[String]) -> Vec<String> {
    let is_address = |seed: &&String| seed.parse::<SocketAddr>().is_ok();
    seeds.iter().filter(is_address).cloned().collect()
}

/// All addresses of all seeds, but `own`.
pub(crate) async fn look_up(seeds: &[String], own: SocketAddr) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for seed in seeds {
        match tokio::time::timeout(LOOKUP, tokio::net::lookup_host(seed.as_str())).await {
            Ok(Ok(addresses)) => found.extend(addresses),
            Ok(Err(error)) => debug!(%seed, %error, "a seed is not found"),
            Err(_) => debug!(%seed, "looking a seed up takes too long"),
        }
    }
    found.remove(&own);
    found
}
