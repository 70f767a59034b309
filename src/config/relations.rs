//! What settings say together: pairs that belong together, bounds that hold each other, and
//! settings that have no effect beside another.

use std::net::SocketAddr;

use super::Config;
use super::reader::Reader;
use super::value::size_text;

/// The relations that hold for every node.
pub(super) fn check(reader: &mut Reader, config: &Config) {
    let pairs = [
        ("api.tls_cert", "api.tls_key"),
        ("api.tls_key", "api.tls_cert"),
    ];
    for (name, partner) in pairs {
        if reader.is_set(name) && !reader.is_set(partner) {
            reader.complain(name, format!("has no effect without {partner}"));
        }
    }
    if config.api.insecure_no_auth && !config.api.tokens.is_empty() {
        reader.complain(
            "api.insecure_no_auth",
            "has no effect beside api.tokens, remove one of them",
        );
    }
    if config.tools.http.allow_private && !config.tools.http.allow.is_empty() {
        reader.complain(
            "tools.http.allow",
            "has no effect beside tools.http.allow_private, which allows every address",
        );
    }
    let origins = &config.api.cors_origins;
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        reader.complain(
            "api.cors_origins",
            "holds \"*\" and other origins, which have no effect beside it",
        );
    }
    check_limits(reader, config);
}

fn check_limits(reader: &mut Reader, config: &Config) {
    let limits = &config.limits;
    let bytes = |bytes: usize| size_text(bytes as u64);
    let (payload, run) = (limits.payload_bytes, limits.run_bytes);
    if payload > run {
        let (payload, run) = (bytes(payload), bytes(run));
        // The one that was set is the one to point at.
        if reader.is_set("limits.payload_bytes") {
            reader.complain(
                "limits.payload_bytes",
                format!("is {payload}, it must be at most limits.run_bytes, which is {run}"),
            );
        } else {
            reader.complain(
                "limits.run_bytes",
                format!("is {run}, it must be at least limits.payload_bytes, which is {payload}"),
            );
        }
    }
    let (parallel, steps) = (limits.parallel_steps, limits.steps);
    if parallel > steps && reader.is_set("limits.parallel_steps") {
        reader.complain(
            "limits.parallel_steps",
            format!("is {parallel}, what is above limits.steps, which is {steps}, has no effect"),
        );
    }
}

/// Who may come in: beyond loopback only who has a token, unless an operator insists.
pub(super) fn check_exposure(reader: &mut Reader, config: &Config, warnings: &mut Vec<String>) {
    let api = &config.api;
    if is_loopback(api.listen) {
        return;
    }
    let listen = api.listen;
    match (api.tokens.is_empty(), api.insecure_no_auth, &api.tls) {
        (true, false, _) => reader.complain(
            "api.listen",
            format!(
                "is {listen}, which other machines reach, and there are no api.tokens: set one \
                 (`crane config token` makes it), or allow everybody in with --insecure-no-auth"
            ),
        ),
        (true, true, _) => warnings.push(format!(
            "everybody who reaches {listen} may use and drain this node (--insecure-no-auth)"
        )),
        (false, _, None) => warnings.push(format!(
            "tokens travel to {listen} unencrypted; set api.tls_cert and api.tls_key, or put a \
             proxy with TLS in front"
        )),
        (false, _, Some(_)) => {}
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
