//! Shows that the simulation finds faults: it removes a core's protections one by one, and must fail each time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Whose protections are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prey {
    /// The hub's, which is played against the model broker.
    Hub,
    /// The broker's, which is played together with the hub.
    Broker,
}

impl Prey {
    fn patches(self) -> &'static str {
        match self {
            Self::Hub => "mutants",
            Self::Broker => "mutants/broker",
        }
    }
}

/// Plays against the mutants that are named, or all, and prints what catches each.
///
/// One that survives, does not apply or does not build is no reason to stop: they are listed at the end.
pub(crate) fn hunt(prey: Prey, names: &[String], seeds: u64, steps: usize) -> ExitCode {
    match hunt_all(prey, names, seeds, steps) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            println!("\n{} mutants are not caught:", failures.len());
            for failure in failures {
                println!("  {failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hearthd-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what is wrong with each mutant that is not caught.
fn hunt_all(prey: Prey, names: &[String], seeds: u64, steps: usize) -> Result<Vec<String>, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).ok_or("the crate is not in a workspace")?;
    let patches = list(&here.join(prey.patches())).map_err(|e| format!("read mutants: {e}"))?;
    let patches = select(patches, names)?;
    let folder = root.join("target/mutants");
    let sources = lay_out(root, &folder).map_err(|e| format!("copy the core: {e}"))?;
    let mut failures = Vec::new();
    println!("{:<34} {:>6}  caught by", "mutant", "seeds");
    for (name, patch) in patches {
        restore(&sources).map_err(|e| format!("copy the core: {e}"))?;
        let caught = apply(&patch, &folder)
            .and_then(|()| build(&folder))
            .and_then(|()| play(prey, &folder, seeds, steps));
        match caught {
            Ok(Some((seed, invariant))) => println!("{name:<34} {:>6}  {invariant}", seed + 1),
            Ok(None) => {
                println!("{name:<34} {seeds:>6}  NOTHING");
                let hole = "a hole in the simulation, or a protection that nothing needs";
                failures.push(format!("{name}: survives {seeds} seeds: {hole}"));
            }
            Err(error) => {
                println!("{name:<34} {:>6}  FAILED", "");
                failures.push(format!("{name}: {error}"));
            }
        }
    }
    Ok(failures)
}

/// Keeps the patches that are named, or all where none is; each with its name.
fn select(patches: Vec<PathBuf>, names: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
    let name_of = |patch: &Path| patch.file_stem().unwrap_or_default().display().to_string();
    let mut patches: Vec<_> = patches.into_iter().map(|patch| (name_of(&patch), patch)).collect();
    let unknown = names.iter().find(|name| patches.iter().all(|(other, _)| other != *name));
    if let Some(unknown) = unknown {
        return Err(format!("there is no mutant {unknown}"));
    }
    patches.retain(|(name, _)| names.is_empty() || names.contains(name));
    Ok(patches)
}

/// A source file of the copy, as it is without a mutant.
struct Source {
    path: PathBuf,
    content: Vec<u8>,
}

/// Makes a workspace of the cores, the simulation and what that links alone; returns the sources of both cores.
fn lay_out(root: &Path, folder: &Path) -> io::Result<Vec<Source>> {
    let crates = folder.join("crates");
    if crates.exists() {
        fs::remove_dir_all(&crates)?;
    }
    for linked in LINKED {
        copy_folder(&root.join("crates").join(linked), &crates.join(linked))?;
    }
    let mut sources = Vec::new();
    for core in CORES {
        sources.extend(copy_folder(&root.join("crates").join(core), &crates.join(core))?);
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let lines = manifest
        .lines()
        .map(|line| if line.starts_with("members") { "members = [\"crates/*\"]" } else { line });
    fs::write(folder.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n"))?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(sources)
}

/// Copies files with the time of now, so that cargo sees every change; returns what it has copied.
fn copy_folder(from: &Path, to: &Path) -> io::Result<Vec<Source>> {
    fs::create_dir_all(to)?;
    let mut sources = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            sources.extend(copy_folder(&entry.path(), &path)?);
        } else {
            let content = fs::read(entry.path())?;
            fs::write(&path, &content)?;
            sources.push(Source { path, content });
        }
    }
    Ok(sources)
}

/// Takes the last mutant back; files without a change keep their time, and are not built anew.
fn restore(sources: &[Source]) -> io::Result<()> {
    for source in sources {
        if fs::read(&source.path)? != source.content {
            fs::write(&source.path, &source.content)?;
        }
    }
    Ok(())
}

fn apply(patch: &Path, folder: &Path) -> Result<(), String> {
    let mut command = Command::new("patch");
    // Neither .orig nor .rej files are left beside the sources.
    command.args(["--no-backup-if-mismatch", "--reject-file=-"]);
    command.args(["--batch", "--forward", "--strip=1", "--input"]).arg(patch).current_dir(folder);
    let output = command.output().map_err(|e| format!("run patch: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Err(format!("{} does not apply:\n{text}", patch.display()))
}

fn build(folder: &Path) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "hearthd-sim", "--target-dir", "target"])
        // A mutant is built once and played for seconds: fast to build counts.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
        .env("RUSTFLAGS", "--cap-lints=allow")
        .current_dir(folder)
        .output()
        .map_err(|e| format!("run cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("does not build:\n{text}"))
}

/// Plays until a seed fails; returns it and the invariant.
fn play(
    prey: Prey,
    folder: &Path,
    seeds: u64,
    steps: usize,
) -> Result<Option<(u64, String)>, String> {
    let output = Command::new(folder.join("target/release/hearthd-sim"))
        .args(["--brief", "--seeds", &seeds.to_string(), "--steps", &steps.to_string()])
        .args((prey == Prey::Broker).then_some("--together"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("play: {e}"))?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (seed, what) = text.trim().split_once(": ").unwrap_or_default();
    let seed = seed.strip_prefix("seed ").and_then(|seed| seed.parse().ok());
    // Of the hub's the name of the invariant, of the broker's all that is said: it has no names.
    let what = match prey {
        Prey::Hub => what.split(": ").next(),
        Prey::Broker => Some(what),
    };
    match (seed, what) {
        (Some(seed), Some(invariant)) => Ok(Some((seed, invariant.to_owned()))),
        _ => Err(format!("the mutant ended with {}: {text}", output.status)),
    }
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut patches: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    Ok(patches)
}

/// The crates that mutants change.
const CORES: [&str; 2] = ["hearthd-core", "hearthd-broker"];
/// The others that are built with them.
const LINKED: [&str; 5] =
    ["hearthd-sim", "hearthd-config", "hearthd-packets", "hearthd-program", "hearthd-property"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_of_the_workspace_that_mutants_need_is_laid_out() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in CORES.iter().chain(&LINKED) {
            let manifest = fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
            for needed in manifest.lines().filter_map(|line| line.strip_suffix(".workspace = true"))
            {
                let is_there = CORES.contains(&needed) || LINKED.contains(&needed);
                assert!(is_there || !crates.join(needed).exists(), "{name} needs {needed}");
            }
        }
    }
}
