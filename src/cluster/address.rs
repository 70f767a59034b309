//! Where a node listens for others, and where they reach it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crane_core::limits;
use tokio::net::lookup_host;
use tokio::time::Instant;

use super::StartError;
use crate::config::ClusterConfig;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Where gossip (UDP) and the gateway (TCP) listen.
    pub(super) listen: SocketAddr,
    /// Where others reach both.
    pub(super) advertise: SocketAddr,
    /// The same as others are told, which may be a name.
    pub(super) told: String,
}

/// The addresses that the configuration means.
pub(super) async fn find(config: &ClusterConfig) -> Result<Addresses, StartError> {
    let Some(listen) = config.listen else {
        let listen = free_port().map_err(StartError::Port)?;
        return Ok(Addresses {
            listen,
            advertise: listen,
            told: listen.to_string(),
        });
    };
    let told = config.advertise.clone();
    let told = told.unwrap_or_else(|| listen.to_string());
    let advertise = resolve(&told, listen).await?;
    Ok(Addresses {
        listen,
        advertise,
        told,
    })
}

/// A port of this machine that is free for both.
fn free_port() -> std::io::Result<SocketAddr> {
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if tries >= limits::PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// An address behind `name`, of the family of `listen` if there is one.
async fn resolve(name: &str, listen: SocketAddr) -> Result<SocketAddr, StartError> {
    let begun = Instant::now();
    loop {
        let error = match lookup_host(name).await {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                let fits = |address: &&SocketAddr| address.is_ipv4() == listen.is_ipv4();
                match found.iter().find(fits).or(found.first()) {
                    Some(address) => return Ok(*address),
                    None => "it has no address".to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        if begun.elapsed() >= limits::START_WAIT {
            let name = name.to_owned();
            return Err(StartError::Advertise { name, error });
        }
        tracing::warn!(name, error, "where others reach this node is not known yet");
        tokio::time::sleep(limits::START_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn others_reach_a_node_where_it_listens_unless_it_says_otherwise() {
        let mut config = Config::default().cluster;
        let nowhere = find(&config).await.unwrap();
        assert!(nowhere.listen.ip().is_loopback() && nowhere.listen.port() > 0);
        assert_eq!(nowhere.advertise, nowhere.listen);
        config.listen = Some("127.0.0.1:7".parse().unwrap());
        assert_eq!(find(&config).await.unwrap().told, "127.0.0.1:7");
        config.listen = Some("0.0.0.0:7".parse().unwrap());
        config.advertise = Some("localhost:9".to_owned());
        let named = find(&config).await.unwrap();
        assert_eq!(named.told, "localhost:9");
        assert_eq!(named.advertise, "127.0.0.1:9".parse().unwrap());
    }
}
