//! `cargo xtask test-arm`: the hub of another processor answers, emulated process by process.

use std::{path::Path, process::Command};

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Message, Result,
};

use crate::{
    package::{Architecture, Profile, build},
    provision::{Need, provide, succeed},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The processor, by Debian's name; may be given several times.
    #[arg(long, value_enum, default_values_t = [Architecture::Arm64, Architecture::Armhf])]
    target: Vec<Architecture>,
    /// A dev build is there sooner.
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    profile: Profile,
    /// Internal: play the scene with the binaries in this folder; it starts this program again, in a namespace.
    #[arg(long, hide = true)]
    emulated: Option<std::path::PathBuf>,
}

/// Builds for each processor and has this program play the scene where the kernel hands such binaries to qemu.
pub(crate) async fn test_arm(options: &Options) -> Result<()> {
    if let ([target], Some(folder)) = (&options.target[..], &options.emulated) {
        return play(*target, folder).await;
    }
    provide("emulating another processor", EMULATORS)?;
    for target in &options.target {
        let folder = build(*target, options.profile)?;
        println!();
        // A namespace of users has a list of its own of what runs which binary, and may mount it.
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "--"]);
        unshare.arg(std::env::current_exe()?);
        unshare.args(["test-arm", "--target", target.name(), "--emulated"]).arg(folder);
        succeed(&mut unshare)?;
    }
    println!("\nxtask: the hub answered on every processor");
    Ok(())
}

/// Asks a device in the daemon and one in a process of its own, both as if on the other processor.
async fn play(target: Architecture, folder: &Path) -> Result<()> {
    let scene = tempfile::tempdir()?;
    emulate(target, scene.path())?;
    let built = Built::in_folder(folder);
    let name = target.name();
    let version = Command::new(built.binary("hearthd")).arg("--version").output();
    let version = version.doing("start hearthd")?;
    if !version.status.success() {
        return Err(Failure(String::from_utf8_lossy(&version.stderr).into_owned()));
    }
    println!("{name}: {} starts", String::from_utf8_lossy(&version.stdout).trim_end());

    let broker = HearthBroker::start(&built, &scene.path().join("broker")).await?;
    println!("{name}: hearth-broker listens");
    let mut config = DaemonConfig::new(broker.access("hub"));
    config.plugins = &["command", "group", "light", "sensor", "thermostat"];
    config.devices = DEVICES.into();
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    phone.subscribe("alice/response/phone/+").await?;
    let mut hub = Daemon::prepare(&built, &scene.path().join("hub"), &config)?;
    hub.start(&mut phone).await?;
    println!("{name}: the hub is online");
    for (request, payload, expected) in [
        ("lamp/power", "ON", "ON"),
        ("lamp/brightness", "40", "40"),
        ("heating/target_temperature", "22.5", "22.5"),
        ("heating/mode", "heat", "heat"),
        ("program/power", "OFF", "OFF"),
    ] {
        let topic = format!("alice/cmnd/{request}");
        let message = Message::new(topic, payload);
        let message = message.respond_to("alice/response/phone/1", request.to_owned());
        let answer = phone.request(message).await.doing(hub.log())?;
        let status = answer.status().unwrap_or_default();
        println!("{name}: {request} {payload} -> {status} {}", answer.text());
        if (status, answer.text().as_str()) != (200, expected) {
            return Err(Failure(hub.log()));
        }
    }
    hub.terminate().await?;
    println!("{name}: the hub ends in order");
    Ok(())
}

/// Has the kernel hand the processor's binaries to qemu, in this namespace alone.
fn emulate(target: Architecture, scene: &Path) -> Result<()> {
    let (processor, class, machine) = match target {
        Architecture::Amd64 => ("x86_64", r"\x02", r"\x3e"),
        Architecture::Arm64 => ("aarch64", r"\x02", r"\xb7"),
        Architecture::Armhf => ("arm", r"\x01", r"\x28"),
    };
    let list = "/proc/sys/fs/binfmt_misc";
    succeed(Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", list]))
        .doing("this kernel has no list of binaries for each namespace (it is there since 6.7)")?;
    // The interpreter names where the other processor's libraries are; none is needed for what is native.
    let interpreter = scene.join("emulator");
    let script =
        format!("#!/bin/sh\nexec qemu-{processor}-static -L /usr/{} \"$@\"\n", target.gnu());
    std::fs::write(&interpreter, script).doing(interpreter.display())?;
    succeed(Command::new("chmod").arg("755").arg(&interpreter))?;
    let zeros = r"\x00".repeat(9);
    let magic = format!(r"\x7fELF{class}\x01\x01{zeros}\x02\x00{machine}\x00");
    // Any system's, position-independent or not.
    let mask = format!(r"{}\x00{}\xfe\xff\xff\xff", r"\xff".repeat(7), r"\xff".repeat(8));
    let line = format!(":hearth:M::{magic}:{mask}:{}:", interpreter.display());
    let register = format!("{list}/register");
    std::fs::write(&register, line).doing(register)
}

const DEVICES: &str = r#"
[devices.lamp]
plugin = "light"
config = { backend = "simulated", brightness = true }
[devices.heating]
plugin = "thermostat"
isolation = "process"
config = { backend = "simulated" }
[devices.program]
plugin = "command"
[devices.program.config.properties.power]
type = "switch"
set = { run = ["true", "{value}"] }
"#;

const EMULATORS: &[Need] = &[
    ("qemu-aarch64-static", "qemu-user-static"),
    ("qemu-arm-static", "qemu-user-static"),
    ("unshare", "util-linux"),
];
