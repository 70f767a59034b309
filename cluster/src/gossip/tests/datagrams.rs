//! What an attacker on the network sends is dropped, counted, and changes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Serializable as _};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::net::UdpSocket;

use crate::gossip::seal::Seal;
use crate::gossip::transport::SealedTransport;
use crate::metrics::GossipMetrics;

const KEY: [u8; 32] = [3; 32];

fn counters(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let rows = snapshotter.snapshot().into_vec().into_iter();
    rows.filter_map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| label.value().to_owned());
        let name = labels.collect::<Vec<_>>().join(",");
        match value {
            DebugValue::Counter(count) => Some((name, count)),
            DebugValue::Gauge(_) | DebugValue::Histogram(_) => None,
        }
    })
    .collect()
}

async fn receive(socket: &mut Box<dyn Socket>) -> ChitchatMessage {
    let received = tokio::time::timeout(Duration::from_secs(10), socket.recv()).await;
    received.expect("it arrives").expect("the socket works").1
}

#[tokio::test]
async fn hostile_datagrams_are_dropped_and_counted_and_gossip_goes_on() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let metrics = metrics::with_local_recorder(&recorder, || Arc::new(GossipMetrics::new()));
    let transport = SealedTransport {
        cluster: "c".into(),
        keys: vec![KEY],
        metrics,
    };
    // The port is free a moment before; nobody else binds on this address.
    let probe = UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address: SocketAddr = probe.local_addr().expect("it is bound");
    drop(probe);
    let mut socket = transport.open(address).await.expect("the port is free");
    let attacker = UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port is free");

    let mut member = Seal::new("c", &[KEY], [1; 12]);
    let mut outsider = Seal::new("c", &[[4; 32]], [2; 12]);
    let mut foreigner = Seal::new("d", &[KEY], [3; 12]);
    let message = ChitchatMessage::BadCluster.serialize_to_vec();
    let good = member.seal(&message).expect("there is a key");
    let hostile = [
        good.clone(),
        good[..20].to_vec(),
        outsider.seal(&message).expect("there is a key"),
        foreigner.seal(&message).expect("there is a key"),
        member.seal(b"not gossip").expect("there is a key"),
        message.clone(),
        member.seal(&message).expect("there is a key"),
    ];
    attacker.send_to(&good, address).await.expect("it is sent");
    assert_eq!(receive(&mut socket).await, ChitchatMessage::BadCluster);
    for datagram in &hostile {
        attacker
            .send_to(datagram, address)
            .await
            .expect("it is sent");
    }
    // The last one is good again.
    assert_eq!(receive(&mut socket).await, ChitchatMessage::BadCluster);

    let counters = counters(&snapshotter);
    for (reason, count) in [
        ("replayed", 1),
        ("truncated", 2),
        ("forged", 1),
        ("foreign", 1),
        ("malformed", 1),
    ] {
        assert_eq!(counters.get(reason), Some(&count), "{reason}: {counters:?}");
    }
    let bytes: usize = hostile.iter().map(Vec::len).sum::<usize>() + good.len();
    assert_eq!(counters.get("received"), Some(&(bytes as u64)));
}
