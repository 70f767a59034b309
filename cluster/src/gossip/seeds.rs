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

/// All addresses of all seeds, but `own`; and whether every seed was found.
pub(crate) async fn look_up(seeds: &[String], own: SocketAddr) -> (BTreeSet<SocketAddr>, bool) {
    let (mut found, mut all) = (BTreeSet::new(), true);
    for seed in seeds {
        match tokio::time::timeout(LOOKUP, tokio::net::lookup_host(seed.as_str())).await {
            Ok(Ok(addresses)) => found.extend(addresses),
            Ok(Err(error)) => {
                all = false;
                debug!(%seed, %error, "a seed is not found");
            }
            Err(_) => {
                all = false;
                debug!(%seed, "looking a seed up takes too long");
            }
        }
    }
    found.remove(&own);
    (found, all)
}
