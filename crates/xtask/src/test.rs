//! Runs the tests of some packages out of one build of the whole workspace. Asked for a package alone, cargo chooses the features of
//! its dependencies anew and builds hundreds of crates again; asked for everything it always chooses the same.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::packages::{Package, packages};

/// Which packages' tests.
pub struct Selection {
    /// These, or all when there are none.
    pub packages: BTreeSet<String>,
    /// But not these.
    pub excluded: BTreeSet<String>,
}

/// Runs them one after the other, all of them even when some fail.
///
/// # Errors
/// A build that failed, a package that does not exist, tests that failed.
pub fn run(root: &Path, selection: &Selection, arguments: &[String]) -> Result<()> {
    let mut failed = Vec::new();
    for binary in selection.choose(binaries(root)?)? {
        let status = Command::new(&binary.executable)
            .args(arguments)
            .current_dir(&binary.folder)
            .env("CARGO_MANIFEST_DIR", &binary.folder)
            .status()
            .with_context(|| format!("cannot start the tests of {}", binary.package))?;
        if !status.success() {
            failed.push(binary.title());
        }
    }
    ensure!(failed.is_empty(), "tests failed: {}", failed.join(", "));
    Ok(())
}

/// One executable full of tests.
#[derive(Clone, Debug)]
struct Binary {
    package: String,
    target: String,
    folder: PathBuf,
    executable: PathBuf,
}

impl Binary {
    fn title(&self) -> String {
        format!("{} ({})", self.package, self.target)
    }
}

impl Selection {
    fn choose(&self, binaries: Vec<Binary>) -> Result<Vec<Binary>> {
        let known: BTreeSet<&String> = binaries.iter().map(|binary| &binary.package).collect();
        for name in self.packages.union(&self.excluded) {
            ensure!(known.contains(name), "there are no tests of a package named {name}");
        }
        let is_chosen = |binary: &Binary| {
            let is_named = self.packages.is_empty() || self.packages.contains(&binary.package);
            is_named && !self.excluded.contains(&binary.package)
        };
        let mut chosen: Vec<_> = binaries.into_iter().filter(is_chosen).collect();
        chosen.sort_by_key(Binary::title);
        Ok(chosen)
    }
}

/// What cargo tells of each thing that it built: one line of JSON.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn binaries(root: &Path) -> Result<Vec<Binary>> {
    let output = Command::new("cargo")
        .args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let packages = packages(root)?;
    let lines = String::from_utf8(output.stdout).context("cargo's messages are not text")?;
    lines.lines().filter_map(|line| binary_in(line, &packages).transpose()).collect()
}

/// The tests that a message of cargo's is about, if it is about any.
fn binary_in(line: &str, packages: &[Package]) -> Result<Option<Binary>> {
    let artifact: Artifact = serde_json::from_str(line).context("cargo's message is of another form")?;
    let is_test = artifact.profile.is_some_and(|profile| profile.test);
    let (Some(executable), Some(manifest), Some(target)) =
        (artifact.executable, artifact.manifest_path, artifact.target)
    else {
        return Ok(None);
    };
    if !is_test {
        return Ok(None);
    }
    let package = packages.iter().find(|package| package.manifest_path == manifest);
    let package = package.with_context(|| format!("{} is of no package here", manifest.display()))?;
    Ok(Some(Binary {
        package: package.name.clone(),
        target: target.name,
        folder: package.folder().to_path_buf(),
        executable,
    }))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn binary(package: &str) -> Binary {
        let nowhere = PathBuf::new();
        Binary { package: package.into(), target: "it".into(), folder: nowhere.clone(), executable: nowhere }
    }

    fn chosen(packages: &[&str], excluded: &[&str]) -> Result<Vec<String>> {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let selection = Selection { packages: set(packages), excluded: set(excluded) };
        let chosen = selection.choose(["b", "a", "c"].map(binary).to_vec())?;
        Ok(chosen.into_iter().map(|binary| binary.package).collect())
    }

    #[test]
    fn packages_are_chosen_by_name() {
        assert_eq!(chosen(&[], &[]).unwrap(), ["a", "b", "c"]);
        assert_eq!(chosen(&["c", "a"], &[]).unwrap(), ["a", "c"]);
        assert_eq!(chosen(&[], &["a"]).unwrap(), ["b", "c"]);
        assert!(chosen(&["d"], &[]).unwrap_err().to_string().contains("named d"));
    }

    #[test]
    fn only_tests_count_among_what_was_built() {
        let package =
            Package { name: "xtask".into(), manifest_path: "/w/xtask/Cargo.toml".into(), dependencies: Vec::new() };
        let line = |test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/w/xtask/Cargo.toml", "target": { "name": "xtask" },
                "profile": { "test": test }, "executable": "/somewhere",
            })
            .to_string()
        };
        assert_eq!(binary_in(&line(true), from_ref(&package)).unwrap().unwrap().title(), "xtask (xtask)");
        assert!(binary_in(&line(false), from_ref(&package)).unwrap().is_none());
        assert!(binary_in(r#"{"reason":"build-finished","success":true}"#, &[]).unwrap().is_none());
    }
}
