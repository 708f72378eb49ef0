//! Kafka and the schema registry, fetched by Maven into a cache, checked against the hashes in `checksums/`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};
use crate::layout::{lock_file, random_name, remove};
use crate::process::run_to_end;
use crate::{Layout, Progress};

pub(crate) const INSTALL_JAVA: &str = "apt-get install --yes --no-install-recommends openjdk-17-jre-headless";
const INSTALL_MAVEN: &str = "apt-get install --yes --no-install-recommends maven";
const INSTALL_TAR: &str = "apt-get install --yes tar gzip";

/// Networks fail for a moment; Maven goes on where it was.
const ATTEMPTS: usize = 3;
const POLL: Duration = Duration::from_millis(250);
const MAVEN_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// Something that is downloaded once per account and version.
struct Artifact {
    /// Name and version: the folder in the cache, so that another version never meets the files of this one.
    folder: &'static str,
    /// What a person reads while it is fetched.
    title: &'static str,
    /// Lines of `sha256sum`, for every file that there must be, and there must be no other.
    checksums: &'static str,
    /// About what Maven downloads, its own plugins included.
    download_bytes: u64,
    maven_arguments: &'static [&'static str],
    maven_project: Option<&'static str>,
}

const KAFKA: Artifact = Artifact {
    folder: "kafka-4.3.1",
    title: "Kafka 4.3.1",
    checksums: include_str!("../checksums/kafka.sha256"),
    download_bytes: 65_000_000,
    maven_arguments: &["copy-dependencies"],
    maven_project: Some(include_str!("kafka.pom.xml")),
};

const REGISTRY: Artifact = Artifact {
    folder: "apicurio-registry-2.6.13.Final",
    title: "Apicurio registry 2.6.13",
    checksums: include_str!("../checksums/registry.sha256"),
    download_bytes: 157_000_000,
    maven_arguments: &["copy", "-Dartifact=io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"],
    maven_project: None,
};

/// The folder with Kafka's jars.
pub(crate) fn kafka(layout: &Layout, progress: &dyn Progress) -> Result<PathBuf> {
    installed(&KAFKA, layout, progress)
}

/// The folder with the registry's runnable jar.
pub(crate) fn registry(layout: &Layout, progress: &dyn Progress) -> Result<PathBuf> {
    installed(&REGISTRY, layout, progress)
}

/// The artifact's folder in the cache. The folder appears by a rename, after its files were checked: if it is there, it is whole.
fn installed(artifact: &Artifact, layout: &Layout, progress: &dyn Progress) -> Result<PathBuf> {
    let cache = &layout.cache;
    let folder = cache.join(artifact.folder);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(cache).context("make", cache)?;
    let _lock = lock_file(cache, &cache.join("lock"))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    clear_staging(cache)?;
    let staging = cache.join(format!("staging-{}", random_name()?));
    fs::create_dir(&staging).context("make", &staging)?;
    progress.started(artifact.title);
    let fetched = fetch(artifact, &staging, progress).and_then(|files| {
        verify(artifact, &files)?;
        unpack(&files)?;
        fs::rename(&files, &folder).context("put in place", &folder)
    });
    remove(&staging)?;
    fetched?;
    progress.finished(artifact.title, "downloaded and checked");
    Ok(folder)
}

/// Removes what an interrupted download left. Under the lock, so nobody is using it.
fn clear_staging(cache: &Path) -> Result<()> {
    for path in files_in(cache)? {
        let name = path.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with("staging-") {
            remove(&path)?;
        }
    }
    Ok(())
}

fn fetch(artifact: &Artifact, staging: &Path, progress: &dyn Progress) -> Result<PathBuf> {
    let files = staging.join("files");
    let repository = staging.join("repository");
    if let Some(project) = artifact.maven_project {
        let pom = staging.join("pom.xml");
        fs::write(&pom, project).context("write", &pom)?;
    }
    let (goal, options) =
        artifact.maven_arguments.split_first().map_or(("", &[][..]), |(goal, options)| (*goal, options));
    let log = staging.join("maven.log");
    for attempt in 1.. {
        let output = File::create(&log).context("make", &log)?;
        let errors = output.try_clone().context("open", &log)?;
        let mut maven = Command::new("mvn");
        maven
            .args(["--quiet", "--batch-mode"])
            .arg(format!("-Dmaven.repo.local={}", repository.display()))
            .arg(format!("{MAVEN_PLUGIN}:{goal}"))
            .args(options)
            .arg(format!("-DoutputDirectory={}", files.display()))
            .current_dir(staging)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = maven.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { program: "Maven (mvn)".to_owned(), install: INSTALL_MAVEN },
            _ => Error::Spawn { program: "mvn".to_owned(), source },
        })?;
        let status = watch(child, artifact, &repository, progress)?;
        if status.success() {
            break;
        }
        if attempt == ATTEMPTS {
            return Err(Error::Failed {
                program: format!("mvn, which fetches {},", artifact.title),
                status: status.to_string(),
                output: fs::read_to_string(&log).context("read", &log)?,
            });
        }
    }
    Ok(files)
}

/// Waits for Maven, showing how much it has fetched.
fn watch(
    mut maven: Child,
    artifact: &Artifact,
    repository: &Path,
    progress: &dyn Progress,
) -> Result<std::process::ExitStatus> {
    loop {
        let ended = maven.try_wait().map_err(|source| Error::Spawn { program: "mvn".to_owned(), source })?;
        if let Some(status) = ended {
            return Ok(status);
        }
        let done_bytes = size_of(repository);
        progress.advanced(artifact.title, done_bytes, artifact.download_bytes);
        thread::sleep(POLL);
    }
}

/// Bytes in a folder that is being filled; what cannot be read yet counts as nothing.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { size_of(&entry.path()) } else { metadata.len() })
        })
        .sum()
}

/// Every file of the list is there with its hash, and no other file is.
fn verify(artifact: &Artifact, files: &Path) -> Result<()> {
    let mut unlisted = files_in(files)?;
    for line in artifact.checksums.lines() {
        let (expected, name) = line.split_once("  ").unwrap_or((line, ""));
        let path = files.join(name);
        let found = sha256(&path)?;
        if found != expected {
            return Err(Error::Checksum { path, expected: expected.to_owned(), found });
        }
        unlisted.retain(|file| *file != path);
    }
    match unlisted.pop() {
        None => Ok(()),
        Some(path) => Err(Error::Checksum { found: sha256(&path)?, path, expected: "no such file".to_owned() }),
    }
}

/// Unpacks archives in place.
fn unpack(files: &Path) -> Result<()> {
    for archive in files_in(files)? {
        if archive.extension().is_some_and(|extension| extension == "gz") {
            let mut tar = Command::new("tar");
            tar.arg("-xzf").arg(&archive).arg("-C").arg(files);
            run_to_end(&mut tar, INSTALL_TAR)?;
            remove(&archive)?;
        }
    }
    Ok(())
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()).context("list", folder)
}

fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).context("open", path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = io::Read::read(&mut file, &mut buffer).context("read", path)?;
        if length == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Artifact = Artifact {
        folder: "hello-1",
        title: "Hello 1",
        // sha256 of "hello"
        checksums: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  hello.jar\n",
        download_bytes: 5,
        maven_arguments: &[],
        maven_project: None,
    };

    #[test]
    fn only_exactly_the_listed_files_are_accepted() {
        let layout = Layout::temporary().unwrap();
        let jar = layout.root.join("hello.jar");
        fs::write(&jar, "hello").unwrap();
        verify(&HELLO, &layout.root).unwrap();

        fs::write(&jar, "hullo").unwrap();
        assert!(matches!(verify(&HELLO, &layout.root), Err(Error::Checksum { .. })));

        fs::write(&jar, "hello").unwrap();
        fs::write(layout.root.join("stranger.jar"), "hello").unwrap();
        assert!(matches!(verify(&HELLO, &layout.root), Err(Error::Checksum { .. })));
        layout.delete().unwrap();
    }

    #[test]
    fn every_line_of_the_checksum_lists_is_a_hash_and_a_name() {
        for line in [KAFKA.checksums, REGISTRY.checksums].iter().flat_map(|list| list.lines()) {
            let (hash, name) = line.split_once("  ").unwrap();
            assert_eq!(hex::decode(hash).unwrap().len(), 32, "{name}");
            assert!(!name.is_empty());
        }
    }
}
