//! `cargo xtask toolchains`: one daemon with a plugin of every Rust toolchain that is here.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Message, Result,
    built::workspace,
};

use crate::provision::succeed;

/// Builds a lamp with each toolchain, loads them all into one daemon, and requires that each answers.
pub(crate) async fn toolchains() -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = tempfile::tempdir()?;
    let mut lamps = Vec::new();
    for (version, toolchain) in installed()? {
        let name = format!("lamp-{}", lamps.len() + 1);
        println!("xtask: {version} builds {name}");
        let object = build_lamp(&built, folder.path(), &name, toolchain.as_deref())?;
        lamps.push((version, name, object));
    }
    drive(&built, folder.path(), &lamps).await?;
    if let [(only, ..)] = &lamps[..] {
        println!(
            "\nxtask: {only} is the only compiler here, so no other was tried; \
             `rustup toolchain install nightly` adds one"
        );
    }
    Ok(())
}

/// Returns the toolchains by what their compilers say of themselves, each compiler once; the name is none where
/// there is no rustup.
fn installed() -> Result<BTreeMap<String, Option<String>>> {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    let Ok(list) = list else {
        println!("xtask: there is no rustup here, so no compiler but the one in PATH is tried");
        return Ok(BTreeMap::from([(version(None)?, None)]));
    };
    let mut toolchains = BTreeMap::new();
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let version = version(Some(name))?;
        if minor(&version) < minor(&format!("rustc {}", env!("CARGO_PKG_RUST_VERSION"))) {
            println!("xtask: {name} is passed over: {version} is too old for the SDK");
            continue;
        }
        match toolchains.entry(version) {
            Entry::Vacant(place) => {
                place.insert(Some(name.to_owned()));
            }
            Entry::Occupied(known) => {
                println!("xtask: {name} is passed over: {} is here by another name", known.key());
            }
        }
    }
    if toolchains.is_empty() { Err(Failure::new("no toolchain is here")) } else { Ok(toolchains) }
}

fn program(toolchain: Option<&str>, program: &str) -> Command {
    match toolchain {
        Some(name) => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", name, program]);
            rustup
        }
        None => Command::new(program),
    }
}

fn version(toolchain: Option<&str>) -> Result<String> {
    let output = program(toolchain, "rustc").arg("--version").output().doing("start rustc")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(version) } else { Err(Failure(format!("rustc: {said}"))) }
}

/// Reads the 95 of `rustc 1.95.0 (...)`.
fn minor(version: &str) -> Option<u32> {
    version.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}

/// Writes a crate with a lamp and builds it outside of this workspace.
fn build_lamp(
    built: &Built,
    folder: &Path,
    name: &str,
    toolchain: Option<&str>,
) -> Result<PathBuf> {
    let lamp = folder.join(name);
    let mut new = Command::new(built.binary("hearthd"));
    new.args(["plugin", "new", name, "--path"]).arg(&lamp).stdout(std::process::Stdio::null());
    succeed(&mut new)?;
    // The versions that this workspace was built with are here already.
    let lock = lamp.join("Cargo.lock");
    std::fs::copy(workspace().join("Cargo.lock"), &lock).doing(lock.display())?;
    let target = workspace().canonicalize()?.join("target/toolchains").join(name);
    let mut cargo = program(toolchain, "cargo");
    succeed(cargo.args(["build", "--target-dir"]).arg(&target).current_dir(&lamp))?;
    let object = format!("debug/lib{}.so", name.replace('-', "_"));
    Ok(target.join(object))
}

/// Asks each lamp behind one daemon.
async fn drive(built: &Built, folder: &Path, lamps: &[(String, String, PathBuf)]) -> Result<()> {
    let broker = HearthBroker::start(built, &folder.join("broker")).await?;
    let mut config = DaemonConfig::new(broker.access("hub"));
    for (_, name, _) in lamps {
        config.devices += &format!("[devices.{name}]\nplugin = \"{name}\"\n");
    }
    let hub = folder.join("hub");
    let mut daemon = Daemon::prepare(built, &hub, &config)?;
    for (_, name, object) in lamps {
        let copy = hub.join("plugins").join(name).with_extension("so");
        std::fs::copy(object, copy).doing(object.display())?;
    }
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    phone.subscribe("alice/response/phone/+").await?;
    daemon.start(&mut phone).await?;
    println!();
    for (version, name, _) in lamps {
        let request = Message::new(format!("alice/cmnd/{name}/power"), "ON");
        let request = request.respond_to("alice/response/phone/1", name.clone());
        let answer = phone.request(request).await.doing(daemon.log())?;
        let status = answer.status().unwrap_or_default();
        println!("{version:<48} {name}/power ON -> {status} {}", answer.text());
        if (status, answer.text().as_str()) != (200, "ON") {
            return Err(Failure(daemon.log()));
        }
    }
    daemon.terminate().await?;
    Ok(())
}
