//! The direction of the crates, read from `cargo metadata`; and the bounds of queues (`bounds.rs`).

mod bounds;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate of the workspace with those below it.
const BELOW: &[(&str, &[&str])] = &[
    ("crane-core", &[]),
    ("crane-store", &["crane-core"]),
    ("crane-actors", &["crane-core", "crane-store"]),
    (
        "crane-tools",
        &["crane-core", "crane-store", "crane-actors"],
    ),
    ("crane-cluster", &["crane-core", "crane-store"]),
    (
        "crane",
        &[
            "crane-core",
            "crane-store",
            "crane-actors",
            "crane-tools",
            "crane-cluster",
        ],
    ),
];

/// Crates that only one crate of the workspace may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("sled", &["crane-store"]),
    ("bincode", &["crane-store"]),
    ("tokio-postgres", &["crane-store"]),
    ("ractor", &["crane-actors", "crane-cluster", "crane"]),
    ("ractor_cluster", &["crane-cluster"]),
    ("chitchat", &["crane-cluster"]),
    ("reqwest", &["crane-tools"]),
    ("jsonschema", &["crane-actors"]),
];

/// All that the pure domain may depend on: libraries without a runtime, clock, random source, file
/// system or environment.
const PURE: &[&str] = &[
    "jiff",
    "minijinja",
    "petgraph",
    "serde",
    "serde_json",
    "thiserror",
    "uuid",
    "xxhash-rust",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs")
}

fn dependencies(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

/// Every arrow that points up or aside, as a sentence.
fn wrong_arrows(manifests: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, below) in BELOW {
        let Some(dependencies) = manifests.get(name) else {
            wrong.push(format!("{name} is missing from the workspace"));
            continue;
        };
        for (other, _) in BELOW {
            if dependencies.contains(other) && !below.contains(other) {
                wrong.push(format!("{name} depends on {other}, which is not below it"));
            }
        }
    }
    for (library, crates) in ONLY_IN {
        for (name, dependencies) in manifests {
            if dependencies.contains(library) && !crates.contains(name) {
                wrong.push(format!("{name} names {library}"));
            }
        }
    }
    for dependency in manifests.get("crane-core").into_iter().flatten() {
        if !PURE.contains(dependency) {
            wrong.push(format!("crane-core depends on {dependency}"));
        }
    }
    wrong
}

#[test]
fn dependencies_point_downward_only() {
    let metadata = metadata();
    let manifests: BTreeMap<&str, BTreeSet<&str>> = metadata
        .packages
        .iter()
        .map(|package| (package.name.as_str(), dependencies(package)))
        .collect();
    assert_eq!(wrong_arrows(&manifests), Vec::<String>::new());
    let listed: BTreeSet<&str> = BELOW.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = manifests.keys().copied().collect();
    assert_eq!(
        found, listed,
        "a new crate must be given its place in this test"
    );
}

#[test]
fn the_check_of_the_direction_can_fail() {
    let mut manifests: BTreeMap<&str, BTreeSet<&str>> = BELOW
        .iter()
        .map(|(name, below)| (*name, below.iter().copied().collect()))
        .collect();
    assert_eq!(wrong_arrows(&manifests), Vec::<String>::new());
    manifests
        .get_mut("crane-core")
        .expect("core is there")
        .extend(["tokio", "crane-store"]);
    manifests
        .get_mut("crane-tools")
        .expect("tools is there")
        .insert("sled");
    assert_eq!(wrong_arrows(&manifests).len(), 4);
}
