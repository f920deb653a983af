//! Shows that the simulation bites: it takes the core's protections away one by one, and each must be missed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Plays against every mutant of the core, and prints what caught it.
pub(crate) fn hunt(steps: usize) -> ExitCode {
    match hunt_all(steps) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survivors) => {
            println!("{survivors} mutants survive: a hole in the simulation, or in the core");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hearthd-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hunt_all(steps: usize) -> Result<usize, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).ok_or("the crate is not in a workspace")?;
    let patches = list(&here.join("mutants")).map_err(|e| format!("read mutants: {e}"))?;
    let mut survivors = 0;
    println!("{:<34} {:>6}  caught by", "mutant", "seeds");
    for patch in patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = root.join("target/mutants");
        lay_out(root, &folder).map_err(|e| format!("copy the core: {e}"))?;
        apply(&patch, &folder)?;
        build(&folder).map_err(|e| format!("{name}: {e}"))?;
        match play(&folder, steps)? {
            Some((seed, invariant)) => println!("{name:<34} {:>6}  {invariant}", seed + 1),
            None => {
                survivors += 1;
                println!("{name:<34} {SEEDS:>6}  NOTHING");
            }
        }
    }
    Ok(survivors)
}

/// Makes a workspace of the core and the simulation alone.
fn lay_out(root: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("crates"))?;
    for name in ["hearthd-core", "hearthd-sim"] {
        let copy = folder.join("crates").join(name);
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        copy_folder(&root.join("crates").join(name), &copy)?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let lines = manifest
        .lines()
        .map(|line| if line.starts_with("members") { "members = [\"crates/*\"]" } else { line });
    fs::write(folder.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n"))?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// Copies files with the time of now, so that cargo sees every change.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::write(copy, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn apply(patch: &Path, folder: &Path) -> Result<(), String> {
    let mut command = Command::new("patch");
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
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("RUSTFLAGS", "--cap-lints=allow")
        .current_dir(folder)
        .output()
        .map_err(|e| format!("run cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("does not build:\n{text}"))
}

/// Plays until a seed fails; returns it and the invariant.
fn play(folder: &Path, steps: usize) -> Result<Option<(u64, String)>, String> {
    let output = Command::new(folder.join("target/release/hearthd-sim"))
        .args(["--brief", "--seeds", SEEDS, "--steps", &steps.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("play: {e}"))?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.trim().splitn(3, ": ");
    let seed = parts.next().and_then(|seed| seed.strip_prefix("seed ")?.parse().ok());
    match (seed, parts.next()) {
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

/// How many seeds a mutant may survive at most.
const SEEDS: &str = "30000";
