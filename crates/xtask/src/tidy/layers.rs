//! The edges of the picture in the architecture: an arrow never points up, and leaves never see
//! each other.

use crate::packages::{Dependency, Package};

/// What each crate may depend on within the workspace.
const LAYERS: [(&str, &[&str]); 13] = [
    ("daybook-events", &[]),
    ("daybook-vault", &["daybook-events"]),
    ("daybook-engine", &["daybook-events", "daybook-vault"]),
    // Log and store carry out what the engine asks for, in its terms.
    ("daybook-log", &["daybook-engine", "daybook-events"]),
    ("daybook-store", &["daybook-engine", "daybook-events", "daybook-vault"]),
    ("daybook-service", &["daybook-vault"]),
    ("daybook-driver", &["daybook-engine", "daybook-events", "daybook-log", "daybook-service", "daybook-store"]),
    ("daybook-consumer", &["daybook-engine", "daybook-events", "daybook-vault"]),
    ("daybook-saga", &["daybook-engine", "daybook-events"]),
    (
        "daybook-facade",
        // It mounts the read routes that projections declare, in the words of the consumer kit.
        &[
            "daybook-consumer",
            "daybook-engine",
            "daybook-events",
            "daybook-log",
            "daybook-service",
            "daybook-store",
            "daybook-vault",
        ],
    ),
    ("daybook-stack", &[]),
    ("daybook-sandbox", &[]),
    ("xtask", &[]),
];

/// What each leaf may depend on within the workspace, by the folder that it is in.
const LEAVES: [(&str, &[&str]); 3] = [
    // People and notifications seal and open contact data, erasure destroys its keys.
    ("consumers", &["daybook-consumer", "daybook-events", "daybook-vault"]),
    ("sagas", &["daybook-saga", "daybook-events"]),
    ("producers", &["daybook-facade", "daybook-events"]),
];

/// Stand above everything: the binary, the benchmarks, the simulator and the end-to-end tests.
const ABOVE_ALL: [&str; 6] = ["daybook", "daybook-bench", "daybook-sim", "e2e", "faults", "foreign"];

/// What any crate's tests may use: the simulator, real servers, the payment provider.
const FOR_TESTS: [&str; 3] = ["daybook-sandbox", "daybook-sim", "daybook-stack"];

/// Libraries that one crate has to itself. The benchmarks compare log and store with what they are made of.
const SOLE_USERS: [(&str, &[&str]); 3] = [
    ("rdkafka", &["daybook-log", "daybook-bench"]),
    ("kafka-protocol", &["daybook-log"]),
    ("sqlx", &["daybook-store", "daybook-bench"]),
];

/// What the simulator must never drag in: it has to build fast and run without a machine.
const NOT_SIMULATED: [&str; 4] = ["daybook-log", "daybook-store", "daybook-driver", "daybook-facade"];

/// Every edge that the picture does not have.
pub fn check(packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let is_ours = packages.iter().any(|other| other.name == dependency.name);
            let is_allowed = if is_ours {
                may_use(package, dependency)
            } else {
                SOLE_USERS
                    .iter()
                    .all(|(library, users)| *library != dependency.name || users.contains(&package.name.as_str()))
            };
            if !is_allowed {
                breaches.push(format!(
                    "{} may not depend on {}: see the layers in crates/xtask/src/tidy/layers.rs",
                    package.name, dependency.name
                ));
            }
        }
    }
    breaches
}

fn may_use(package: &Package, dependency: &Dependency) -> bool {
    let used = dependency.name.as_str();
    if dependency.kind.as_deref() == Some("dev") && (FOR_TESTS.contains(&used) || used == package.name) {
        return true;
    }
    if ABOVE_ALL.contains(&package.name.as_str()) {
        return package.name != "daybook-sim" || !NOT_SIMULATED.contains(&used);
    }
    let by_name = LAYERS.iter().find(|(name, _)| *name == package.name);
    let by_shelf = LEAVES.iter().find(|(shelf, _)| *shelf == package.shelf());
    by_name.or(by_shelf).is_some_and(|(_, allowed)| allowed.contains(&used))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn package(shelf: &str, name: &str, uses: &[&str]) -> Package {
        Package {
            name: name.into(),
            manifest_path: Path::new("/w").join(shelf).join(name).join("Cargo.toml"),
            dependencies: uses.iter().map(|name| Dependency { name: (*name).into(), kind: None }).collect(),
        }
    }

    #[test]
    fn an_arrow_up_or_between_leaves_is_told() {
        let packages = [
            package("crates", "daybook-events", &["daybook-engine", "serde"]),
            package("crates", "daybook-engine", &["daybook-events", "sqlx"]),
            package("crates", "daybook-consumer", &["daybook-engine"]),
            package("consumers", "courses", &["daybook-consumer", "ledger"]),
            package("consumers", "ledger", &["daybook-consumer"]),
        ];
        let breaches = check(&packages).join("\n");
        assert_eq!(breaches.lines().count(), 3, "{breaches}");
        for breach in [
            "events may not depend on daybook-engine",
            "engine may not depend on sqlx",
            "courses may not depend on ledger",
        ] {
            assert!(breaches.contains(breach), "{breaches}");
        }
    }
}
