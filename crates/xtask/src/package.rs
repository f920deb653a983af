//! `cargo xtask package`: a Debian package of the hub, its broker, its page and its plugins, also for other processors.
//!
//! The tree is assembled here and packed by `dpkg-deb`, which is on every Debian: nothing has to be built to build it.

mod binaries;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Built, Doing, Failure, Result, built::workspace, sdk::write_sdk};

pub(crate) use binaries::{Architecture, Profile, build, target_folder};
use tree::Tree;

use crate::provision::{Need, provide, stdout_of, succeed};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The processor that it is for, by Debian's name.
    #[arg(long, value_enum)]
    target: Architecture,
    /// A dev build is there sooner and larger.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Which package of the same version it is.
    #[arg(long, default_value_t = 1)]
    revision: u32,
    /// Have lintian look at it, and fail on its errors.
    #[arg(long)]
    lint: bool,
}

/// Builds the package, says where it is, and what it weighs.
pub(crate) fn package(options: &Options) -> Result<()> {
    let package = make(options.target, options.profile, options.revision)?;
    if options.lint {
        lint(&package)?;
    }
    println!("{}", package.display());
    Ok(())
}

/// Builds the package and returns its file.
pub(crate) fn make(target: Architecture, profile: Profile, revision: u32) -> Result<PathBuf> {
    provide("packing", PACKING)?;
    let built = build(target, profile)?;
    let version = format!("{}-{revision}", env!("CARGO_PKG_VERSION"));
    let name = format!("hearthd_{version}_{}", target.name());
    let folder = target_folder()?.join("package");
    let mut tree = Tree::create(folder.join(&name))?;

    put_binaries(&mut tree, target, &built)?;
    put_services(&mut tree)?;
    put_manual(&mut tree, &folder.join("manual"))?;
    put_documents(&mut tree, &version)?;
    put_control(&mut tree, target, &version)?;
    let package = folder.join(name + ".deb");
    let mut pack = Command::new("dpkg-deb");
    let level = match profile {
        Profile::Release => "-z9",
        Profile::Dev => "-z1",
    };
    pack.args(["--build", "--root-owner-group", "-Zxz", level]).arg(tree.root()).arg(&package);
    pack.stdout(std::process::Stdio::null());
    if let Some(time) = time_of_the_sources() {
        pack.env("SOURCE_DATE_EPOCH", time);
    }
    succeed(&mut pack)?;
    Ok(package)
}

fn put_binaries(tree: &mut Tree, target: Architecture, built: &Path) -> Result<()> {
    let mut put = |from: &str, to: &str, mode| {
        let to = tree.put(&built.join(from), to, mode)?;
        succeed(target.tool("strip").arg("--strip-unneeded").arg(&to))?;
        require_old_libraries(target, &to)
    };
    for program in ["hearthd", "hearth-broker", "hearth-web"] {
        put(program, &format!("usr/bin/{program}"), 0o755)?;
    }
    for (plugin, library) in [
        ("command", "command"),
        ("group", "group"),
        ("light", "light"),
        ("program", "plugin_program"),
        ("sensor", "sensor"),
        ("thermostat", "thermostat"),
    ] {
        let to = format!("usr/lib/hearthd/plugins/{plugin}.so");
        put(&format!("libhearthd_{library}.so"), &to, 0o644)?;
    }
    for header in ["hearth_plugin.h", "hearth_mqtt.h", "hearth_children.h"] {
        let from = workspace().join("crates/hearthd-sdk/include").join(header);
        tree.put(&from, &format!("usr/include/{header}"), 0o644)?;
    }
    // Where `hearthd plugin new` looks for it.
    write_sdk(&tree.root().join("usr/share/hearthd/sdk"))
}

/// Refuses a file that needs more than the libraries in `Depends`, which are written by hand: a build on a newer system
/// would install where it cannot run.
fn require_old_libraries(target: Architecture, file: &Path) -> Result<()> {
    let mut readelf = target.tool("readelf");
    let said = stdout_of(readelf.args(["--dynamic", "--version-info", "--wide"]).arg(file))?;
    for line in said.lines().filter(|line| line.contains("(NEEDED)")) {
        let library = line.split(['[', ']']).nth(1).unwrap_or(line);
        if !LIBRARIES.iter().any(|known| library.starts_with(known)) {
            let file = file.display();
            return Err(Failure(format!(
                "{file} needs {library}, which no package in Depends has"
            )));
        }
    }
    let versions = said.split("GLIBC_2.").skip(1).filter_map(|rest| {
        let digits = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse::<u32>().ok()
    });
    let newest = versions.max().doing(format!("{} names no GLIBC", file.display()))?;
    if newest > GLIBC_MINOR {
        let file = file.display();
        return Err(Failure(format!(
            "{file} needs glibc 2.{newest}, and Depends says 2.{GLIBC_MINOR}"
        )));
    }
    Ok(())
}

fn put_services(tree: &mut Tree) -> Result<()> {
    for (from, to) in [
        ("systemd/hearthd.service", "usr/lib/systemd/system/hearthd.service"),
        ("systemd/hearth-broker.service", "usr/lib/systemd/system/hearth-broker.service"),
        ("systemd/hearth-web.service", "usr/lib/systemd/system/hearth-web.service"),
        ("systemd/hearthd.sysusers", "usr/lib/sysusers.d/hearthd.conf"),
        ("systemd/hearthd.tmpfiles", "usr/lib/tmpfiles.d/hearthd.conf"),
        ("systemd/60-hearthd.rules", "usr/lib/udev/rules.d/60-hearthd.rules"),
        ("config/hearthd.toml", "etc/hearthd/hearthd.toml"),
        ("config/hearth-broker.toml", "etc/hearthd/hearth-broker.toml"),
        ("config/hearth-web.toml", "etc/hearthd/hearth-web.toml"),
    ] {
        tree.put(&workspace().join(from), to, 0o644)?;
    }
    Ok(())
}

/// Adds the manual pages and the shells' completions, written by a program of this machine.
fn put_manual(tree: &mut Tree, folder: &Path) -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).doing(folder.display())?;
    succeed(Command::new(built.binary("hearthd-manual")).arg(folder))?;
    for entry in std::fs::read_dir(folder).doing(folder.display())? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(section) = ["1", "5"].iter().find(|it| name.ends_with(&format!(".{it}"))) {
            let to = format!("usr/share/man/man{section}/{name}.gz");
            tree.put_compressed(&std::fs::read(&file)?, &to)?;
        } else if let Some(program) = name.strip_suffix(".bash") {
            let to = format!("usr/share/bash-completion/completions/{program}");
            tree.put(&file, &to, 0o644)?;
        } else if name.ends_with(".fish") {
            tree.put(&file, &format!("usr/share/fish/vendor_completions.d/{name}"), 0o644)?;
        } else {
            tree.put(&file, &format!("usr/share/zsh/vendor-completions/{name}"), 0o644)?;
        }
    }
    Ok(())
}

fn put_documents(tree: &mut Tree, version: &str) -> Result<()> {
    let documents = "usr/share/doc/hearthd";
    tree.put(&workspace().join("README.md"), &format!("{documents}/README.md"), 0o644)?;
    tree.put(&debian("copyright"), &format!("{documents}/copyright"), 0o644)?;
    let changelog = read(&debian("changelog"))?.replace("@version@", version);
    tree.put_compressed(changelog.as_bytes(), &format!("{documents}/changelog.Debian.gz"))?;
    let changes = read(&workspace().join(".github/CHANGELOG.md"))?;
    tree.put_compressed(changes.as_bytes(), &format!("{documents}/changelog.gz"))?;
    for example in [
        "fleet/hearthd.toml",
        "grafana/hearthd.json",
        "hearthd-cloud.toml",
        "hearthd-mosquitto.toml",
        "mosquitto/hearthd.acl",
        "mosquitto/hearthd.conf",
    ] {
        let to = format!("{documents}/examples/{example}");
        tree.put(&workspace().join("config").join(example), &to, 0o644)?;
    }
    for (from, to) in [
        ("README.md", "README.md"),
        ("protocol.schema.json", "protocol.schema.json"),
        ("transcript.txt", "transcript.txt"),
        ("examples/bridge.py", "bridge.py"),
        ("examples/lamp.py", "lamp.py"),
        ("examples/radio.py", "radio.py"),
        ("examples/stairs.mjs", "stairs.mjs"),
    ] {
        let to = format!("{documents}/examples/program/{to}");
        tree.put(&workspace().join("plugins/program").join(from), &to, 0o644)?;
    }
    Ok(())
}

fn put_control(tree: &mut Tree, target: Architecture, version: &str) -> Result<()> {
    let control = read(&debian("control"))?
        .replace("@version@", version)
        .replace("@architecture@", target.name())
        .replace("@installed_size@", &tree.kilobytes().to_string());
    let configuration = tree.files().filter(|file| file.starts_with("etc/"));
    let configuration: String = configuration.map(|file| format!("/{file}\n")).collect();
    let sums = tree.md5sums()?;
    tree.write(control.as_bytes(), "DEBIAN/control", 0o644)?;
    tree.write(configuration.as_bytes(), "DEBIAN/conffiles", 0o644)?;
    tree.write(sums.as_bytes(), "DEBIAN/md5sums", 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        tree.put(&debian(script), &format!("DEBIAN/{script}"), 0o755)?;
    }
    Ok(())
}

/// Prints what lintian finds; errors are failures.
pub(crate) fn lint(package: &Path) -> Result<()> {
    provide("looking for mistakes in the package", &[("lintian", "lintian")])?;
    let mut lintian = Command::new("lintian");
    // It need not be somebody else's to be looked at.
    succeed(lintian.args(["--allow-root", "--fail-on", "error"]).arg(package))
}

fn debian(file: &str) -> PathBuf {
    workspace().join("crates/hearthd/debian").join(file)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).doing(file.display())
}

/// Returns when the last change was committed, so that the same sources make the same package.
fn time_of_the_sources() -> Option<String> {
    let mut log = Command::new("git");
    let time = stdout_of(log.args(["log", "-1", "--format=%ct"]).current_dir(workspace())).ok()?;
    Some(time.trim().to_owned())
}

/// The libraries of the packages in `Depends`.
const LIBRARIES: [&str; 5] = ["libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux", "libdl.so."];

/// The `libc6 (>= 2.34)` of `Depends`.
const GLIBC_MINOR: u32 = 34;

const PACKING: &[Need] =
    &[("dpkg-deb", "dpkg"), ("readelf", "binutils"), ("gzip", "gzip"), ("md5sum", "coreutils")];
