//! Trace ids: what comes in as W3C Trace Context goes on with the run to the tools it calls.

use axum::http::HeaderMap;

/// The trace id of a request's `traceparent`; a malformed header counts as none, as its
/// specification (W3C Trace Context, level 1) has it.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all("traceparent").iter();
    let (Some(only), None) = (given.next(), given.next()) else {
        return None;
    };
    parse(only.to_str().ok()?).map(str::to_owned)
}

fn parse(header: &str) -> Option<&str> {
    let header = header.trim();
    let version = header.get(..2)?;
    let (trace, span, flags) = (header.get(3..35)?, header.get(36..52)?, header.get(53..55)?);
    let dashes = [2, 35, 52].iter().all(|at| header.as_bytes()[*at] == b'-');
    let hex = [version, trace, span, flags]
        .iter()
        .all(|part| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    let named = [trace, span]
        .iter()
        .all(|part| part.bytes().any(|byte| byte != b'0'));
    // A later version may say more behind what this one knows.
    let ends = match (version, &header[55..]) {
        ("ff", _) => false,
        (_, "") => true,
        ("00", _) => false,
        (_, rest) => rest.starts_with('-'),
    };
    (dashes && hex && named && ends).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_trace_id_is_taken_from_a_well_formed_header_alone() {
        let good = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(parse(&good), Some(TRACE));
        assert_eq!(parse(&good.replace("00-", "cc-")), Some(TRACE));
        assert_eq!(parse(&format!("cc{}-more", &good[2..])), Some(TRACE));
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            "00".to_owned(),
            good.to_uppercase(),
            good.replace("00-", "ff-"),
            format!("{good}-more"),
            format!("cc{}more", &good[2..]),
            good.replace('-', "_"),
            good.replace(TRACE, &zeros),
            good.replace("b7ad6b7169203331", "0000000000000000"),
            good[..54].to_owned(),
            "ü".repeat(40),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }
}
