//! What the dependencies say of themselves: their licence, where they come from, and the Rust that they need.
//!
//! It needs nothing but cargo. `cargo xtask deny` asks for more, and for advisories.

use std::{collections::BTreeSet, fs};

use hearthd_tests::{
    Doing, Result,
    built::{cargo, workspace},
};
use serde_json::Value;

use super::licence::is_allowed;
use crate::{deny::CONFIG, provision::stdout_of};

/// Returns what is wrong with the packages that a hub is built of.
pub(super) fn check() -> Result<Vec<String>> {
    let policy = Policy::read()?;
    let mut command = cargo();
    command.args(["metadata", "--format-version=1", "--locked"]);
    for target in &policy.targets {
        command.args(["--filter-platform", target]);
    }
    let metadata: Value = serde_json::from_str(&stdout_of(&mut command)?)?;
    let packages = metadata["packages"].as_array().doing("cargo metadata lists no packages")?;
    Ok(packages.iter().flat_map(|package| policy.problems(package)).collect())
}

/// What the configuration of cargo-deny says of licences and machines.
#[derive(Debug)]
struct Policy {
    targets: BTreeSet<String>,
    allowed: BTreeSet<String>,
    /// What single packages may have beside that.
    exceptions: Vec<(String, BTreeSet<String>)>,
}

impl Policy {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(workspace().join(CONFIG)).doing(CONFIG)?;
        let config: toml::Table = text.parse().doing(CONFIG)?;
        let empty = toml::Value::Array(Vec::new());
        let exceptions = config["licenses"].get("exceptions").unwrap_or(&empty);
        let exceptions = exceptions.as_array().into_iter().flatten().map(|exception| {
            let name = exception["crate"].as_str().unwrap_or_default();
            (name.to_owned(), texts(&exception["allow"]))
        });
        Ok(Self {
            targets: texts(&config["graph"]["targets"]),
            allowed: texts(&config["licenses"]["allow"]),
            exceptions: exceptions.collect(),
        })
    }

    fn problems(&self, package: &Value) -> Vec<String> {
        let text = |key: &str| package[key].as_str();
        let name = text("name").unwrap_or_default();
        let mut problems = Vec::new();
        let mut allowed = self.allowed.clone();
        let own = self.exceptions.iter().filter(|(of, _)| of == name);
        allowed.extend(own.flat_map(|(_, licences)| licences.clone()));
        match text("license").map(|licence| (licence, is_allowed(licence, &allowed))) {
            Some((_, Ok(true))) => {}
            Some((licence, Ok(false))) => {
                problems.push(format!("its licence `{licence}` is not among those of {CONFIG}"));
            }
            Some((_, Err(error))) => problems.push(error),
            None => problems.push("it names no licence".into()),
        }
        if package["source"].is_null() && package["publish"] != Value::Array(Vec::new()) {
            problems.push("its Cargo.toml lacks `publish = false`".into());
        }
        if let Some(source) = text("source").filter(|source| !source.starts_with("registry+")) {
            problems.push(format!("it comes from {source}, which is no registry"));
        }
        if let Some(needs) = text("rust_version").filter(|needs| order(needs) > order(OLDEST)) {
            problems.push(format!("it needs Rust {needs}, and `rust-version` promises {OLDEST}"));
        }
        let version = text("version").unwrap_or_default();
        problems.into_iter().map(|problem| format!("{name} {version}: {problem}")).collect()
    }
}

fn texts(array: &toml::Value) -> BTreeSet<String> {
    let values = array.as_array().into_iter().flatten();
    values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Reads a version of Rust for comparison: `1.90` is `1.90.0`.
fn order(version: &str) -> [u32; 3] {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or_default());
    [(); 3].map(|()| numbers.next().unwrap_or_default())
}

/// The oldest Rust that builds this workspace.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_package(change: Value, expected: &[&str]) {
        let policy = Policy {
            targets: BTreeSet::new(),
            allowed: ["MIT".to_owned()].into(),
            exceptions: vec![("roots".into(), ["CDLA".to_owned()].into())],
        };
        let mut package = json!({
            "name": "one", "version": "1.2.3", "license": "MIT",
            "source": "registry+https://example.org", "rust_version": OLDEST,
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            package[key] = value.clone();
        }
        assert_eq!(policy.problems(&package), expected);
    }

    #[test]
    fn a_package_is_named_with_what_is_wrong_with_it() {
        check_package(json!({}), &[]);
        check_package(json!({"name": "roots", "license": "CDLA"}), &[]);
        check_package(json!({"source": null, "publish": [], "rust_version": null}), &[]);
        let public = "one 1.2.3: its Cargo.toml lacks `publish = false`";
        check_package(json!({"source": null, "publish": null}), &[public]);
        let of_other = "one 1.2.3: its licence `CDLA` is not among those of .cargo/deny.toml";
        check_package(json!({"license": "CDLA"}), &[of_other]);
        check_package(json!({"license": null}), &["one 1.2.3: it names no licence"]);
        let fork = "one 1.2.3: it comes from git+https://example.org, which is no registry";
        check_package(json!({"source": "git+https://example.org"}), &[fork]);
        let newer =
            format!("one 1.2.3: it needs Rust 1.1000, and `rust-version` promises {OLDEST}");
        check_package(json!({"rust_version": "1.1000"}), &[&newer]);
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(order("1.9.1") < order("1.90"));
        assert_eq!(order("1.90"), order("1.90.0"));
    }
}
