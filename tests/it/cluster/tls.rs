//! Mutual TLS between nodes: who has no certificate of the cluster's authority is heard in gossip,
//! which the secret guards, and gets no session.

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// Says why connections come to nothing.
const LOG: &str = "[log]\nfilter = \"warn,crane_cluster=debug\"";
/// What a node with certificates is told.
const FILES: &str = "tls_cert = \"node.pem\"\ntls_key = \"node.key\"\ntls_ca = \"ca.pem\"\n";

/// Who signs the certificates of nodes. All have the same name, and keys of their own.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: parameters.self_signed(&key).unwrap(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Writes a certificate and its key to where a node looks for them.
    fn certify(&self, home: &Home) {
        let parameters = CertificateParams::new(vec!["crane".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        home.file("node.pem", certificate.pem());
        home.file("node.key", key.serialize_pem());
    }
}

/// Starts a node whose certificate is one of `signed_by`, if it has one; it trusts `authority`.
fn start(
    name: &'static str,
    (port, seed): (u16, u16),
    authority: &Authority,
    signed_by: Option<&Authority>,
) -> Node {
    let home = Home::new();
    home.file("ca.pem", authority.certificate.pem());
    let files = match signed_by {
        Some(signed_by) => {
            signed_by.certify(&home);
            FILES
        }
        None => "",
    };
    let serving = Node::serve_with(&home, name, port, seed, LOG, files);
    Node {
        name,
        home,
        serving,
    }
}

/// Whether a node finds another one alive, and whether it is connected with it.
fn sees(node: &Node, name: &str) -> (bool, bool) {
    let cluster = node.cluster();
    let mut members = cluster["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["node"] == name);
    member.map_or((false, false), |member| {
        (member["state"] == "alive", member["connected"] == true)
    })
}

/// Submits runs at all nodes until each of them has one: what is asked where must travel.
fn runs_everywhere(nodes: &[Node], allowed: &[&str]) -> Vec<String> {
    let mut homes = std::collections::BTreeMap::new();
    for number in 0..20 {
        let body = json!({ "prompt": "calculate 6 * 7" });
        let node = &nodes[number % nodes.len()];
        let answer = node.serving.post("/runs?wait=30s", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let run = answer.json();
        assert_eq!(run["result"], 42.0, "{run}");
        let home = run["node"].as_str().unwrap().to_owned();
        assert!(allowed.contains(&&*home), "{run}");
        homes.insert(home, run["run_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(homes.len(), nodes.len(), "{homes:?}");
    homes.into_values().collect()
}

#[test]
fn nodes_with_certificates_of_one_authority_connect_and_no_others() {
    let (authority, other) = (Authority::new(), Authority::new());
    let seed = free_port();
    let own = [("a", seed), ("b", free_port())];
    let nodes = own.map(|(name, port)| start(name, (port, seed), &authority, Some(&authority)));
    for node in &nodes {
        eventually("both are connected", || node.company() == 1);
    }
    for id in runs_everywhere(&nodes, &["a", "b"]) {
        alike(&nodes, "GET", &format!("/runs/{id}"), "", "", 200);
    }
    // They would take the others for members of the cluster; the others do not.
    let forged = start("c", (free_port(), seed), &authority, Some(&other));
    let bare = start("d", (free_port(), seed), &authority, None);
    for (stranger, why) in [(&forged, "BadSignature"), (&bare, "InvalidContentType")] {
        for node in &nodes {
            eventually("gossip is heard", || {
                sees(node, stranger.name).0 && sees(stranger, node.name).0
            });
            // Both sides have dialed.
            eventually(why, || {
                let said = node.serving.said();
                said.contains(why) && said.contains("a node was not reached")
            });
        }
    }
    for id in runs_everywhere(&nodes, &["a", "b"]) {
        alike(&nodes, "GET", &format!("/runs/{id}"), "", "", 200);
        for stranger in [&forged, &bare] {
            let answer = stranger.serving.get(&format!("/runs/{id}"));
            assert_ne!(answer.status, 200, "{}: {}", stranger.name, answer.text());
        }
    }
    for node in &nodes {
        assert_eq!(node.company(), 1, "{}", node.cluster());
        let list = node.serving.get("/runs");
        assert_eq!(list.header("x-crane-unreachable"), "c,d");
        for stranger in [&forged, &bare] {
            assert_eq!(sees(node, stranger.name), (true, false));
            assert_eq!(sees(stranger, node.name), (true, false));
        }
    }
}
