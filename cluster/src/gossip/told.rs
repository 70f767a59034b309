//! What a node says of itself: about a kilobyte of soft state, as keys and values.
//!
//! | key | value |
//! |---|---|
//! | `rpc`, `http` | where its gateway and its API listen |
//! | `zone`, `ver`, `boot` | its zone, its version, the id of its process |
//! | `state`, `lease` | joining, up, draining, left; the generation of its lease |
//! | `looks` | there while it looks around: it is no member yet, and may have the name of one |
//! | `load` | runs, queued runs, CPU percent, rounded so that small changes tell nothing |
//! | `brk.TOOL` | `open`, and until when (milliseconds since the epoch): a breaker that is open |
//! | `shards.v` | the newest version of the shard table it has seen |
//! | `store.ok` | whether it reaches its store |
//!
//! Whatever a peer says is a hint: what cannot be read is left at its default.

use std::collections::BTreeMap;

use crane_core::{Generation, limits};

use crate::ownership::words::Phase;

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Runs under way.
    pub runs: u32,
    /// Runs that wait for a slot.
    pub queued: u32,
    /// CPU, in percent of all cores.
    pub cpu: u32,
}

impl Load {
    /// To five percent: a load that hardly changes is not told again.
    fn rounded(self) -> Self {
        Self {
            runs: round(self.runs),
            queued: round(self.queued),
            cpu: self.cpu.saturating_add(2) / 5 * 5,
        }
    }
}

/// To a twentieth of the largest power of ten in `number`.
fn round(number: u32) -> u32 {
    let power = number
        .checked_ilog10()
        .map_or(1, |digits| 10_u32.pow(digits));
    let step = (power / 20).max(1);
    number.saturating_add(step / 2) / step * step
}

/// An open breaker of a peer: advice to try carefully, never a reason to refuse for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerBreaker {
    /// It is open until then, in milliseconds since the Unix epoch.
    pub until: i64,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Address of its gateway, host and port.
    pub rpc: String,
    /// Address of its API, host and port.
    pub http: String,
    /// Where it stands, for whoever spreads nodes.
    pub zone: String,
    /// Its version.
    pub version: String,
    /// Id of its process, new at each start.
    pub boot: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it looks around before it joins: until then nobody takes it for a member.
    pub looks: bool,
    /// The generation of its lease, once it has one.
    pub lease: Option<Generation>,
    /// How busy it is.
    pub load: Load,
    /// Its breakers that are open, by tool.
    pub breakers: BTreeMap<String, PeerBreaker>,
    /// The newest version of the shard table it has seen.
    pub table_version: u64,
    /// Whether it reaches its store.
    pub store_ok: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            rpc: String::new(),
            http: String::new(),
            zone: String::new(),
            version: String::new(),
            boot: String::new(),
            phase: Phase::Joining,
            looks: false,
            lease: None,
            load: Load::default(),
            breakers: BTreeMap::new(),
            table_version: 0,
            store_ok: true,
        }
    }
}

impl Told {
    pub(crate) fn to_keys(&self) -> BTreeMap<String, String> {
        let load = self.load.rounded();
        let lease = self
            .lease
            .map(|lease| lease.to_string())
            .unwrap_or_default();
        let fixed = [
            ("rpc", self.rpc.clone()),
            ("http", self.http.clone()),
            ("zone", self.zone.clone()),
            ("ver", self.version.clone()),
            ("boot", self.boot.clone()),
            ("state", self.phase.as_str().to_owned()),
            ("lease", lease),
            (
                "load",
                format!("{},{},{}", load.runs, load.queued, load.cpu),
            ),
            ("shards.v", self.table_version.to_string()),
            ("store.ok", u8::from(self.store_ok).to_string()),
        ];
        let fixed = fixed.map(|(key, value)| (key.to_owned(), value));
        let breakers = self
            .breakers
            .iter()
            .take(limits::TOLD_BREAKERS)
            .map(|(tool, breaker)| (format!("brk.{tool}"), format!("open {}", breaker.until)));
        let looks = self.looks.then(|| ("looks".to_owned(), "1".to_owned()));
        fixed.into_iter().chain(looks).chain(breakers).collect()
    }

    pub(crate) fn from_keys<'a>(keys: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut told = Self::default();
        for (key, value) in keys {
            told.take_in(key, value);
        }
        told
    }

    fn take_in(&mut self, key: &str, value: &str) {
        match key {
            "rpc" => value.clone_into(&mut self.rpc),
            "http" => value.clone_into(&mut self.http),
            "zone" => value.clone_into(&mut self.zone),
            "ver" => value.clone_into(&mut self.version),
            "boot" => value.clone_into(&mut self.boot),
            "state" => self.phase = Phase::parse(value).unwrap_or(Phase::Joining),
            "looks" => self.looks = value == "1",
            "lease" => self.lease = value.parse().ok().map(Generation),
            "load" => self.load = parse_load(value).unwrap_or_default(),
            "shards.v" => self.table_version = value.parse().unwrap_or(0),
            "store.ok" => self.store_ok = value != "0",
            _ => {
                let tool = key.strip_prefix("brk.");
                if let (Some(tool), Some(breaker)) = (tool, parse_breaker(value))
                    && self.breakers.len() < limits::TOLD_BREAKERS
                {
                    self.breakers.insert(tool.to_owned(), breaker);
                }
            }
        }
    }
}

fn parse_load(text: &str) -> Option<Load> {
    let mut numbers = text.split(',').map(|number| number.parse().ok());
    Some(Load {
        runs: numbers.next()??,
        queued: numbers.next()??,
        cpu: numbers.next()??,
    })
}

fn parse_breaker(text: &str) -> Option<PeerBreaker> {
    let until = text.strip_prefix("open ")?.parse().ok()?;
    Some(PeerBreaker { until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(keys: &BTreeMap<String, String>) -> Told {
        Told::from_keys(
            keys.iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    #[test]
    fn what_is_told_is_understood() {
        let told = Told {
            rpc: "10.0.0.1:7281".into(),
            phase: Phase::Draining,
            looks: true,
            lease: Some(Generation(9)),
            load: Load {
                runs: 1_200,
                queued: 3,
                cpu: 85,
            },
            breakers: [("http".into(), PeerBreaker { until: 17 })].into(),
            table_version: 77,
            store_ok: false,
            ..Told::default()
        };
        assert_eq!(read(&told.to_keys()), told);
    }

    #[test]
    fn a_load_is_rounded_to_five_percent() {
        let numbers = [0, 7, 19, 104, 1_234, 98_765].map(round);
        assert_eq!(numbers, [0, 7, 19, 105, 1_250, 99_000]);
        let load = Load {
            runs: 0,
            queued: 0,
            cpu: 13,
        };
        assert_eq!(load.rounded().cpu, 15);
    }

    proptest! {
        #[test]
        fn whatever_a_peer_says_is_read_without_harm(
            keys in prop::collection::btree_map("(brk\\.)?[a-z.]{0,8}", ".{0,20}", 0..100),
        ) {
            let told = read(&keys);
            prop_assert!(told.breakers.len() <= limits::TOLD_BREAKERS);
        }
    }
}
