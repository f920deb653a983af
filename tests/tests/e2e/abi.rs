//! Plugins of other minor versions of the ABI: those of 1.0 answer for ever, and newer ones that do not need a newer hub.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use hearthd_tests::{Doing, Failure, Message, Result, built::workspace, process::run};

use crate::home::{Home, Setup};

/// Requires that the devices of the frozen plugin do all that they can, in the hub and in a process.
async fn answers(header: &str) -> Result<()> {
    let table = |id: &str, isolation: &str| {
        format!("[devices.{id}]\nplugin = \"frozen\"\nisolation = \"{isolation}\"\n")
    };
    let devices = table("within", "none") + &table("apart", "process");
    let mut home = Home::prepare(Setup::Bundled, |config| config.devices += &devices).await?;
    let folder = home.daemon.config().parent().doing("the hub has a folder")?.to_owned();
    compile(header, &folder, &folder.join("plugins/frozen.so")).await?;
    home.daemon.start(&mut home.phone).await?;
    for device in ["within", "apart"] {
        assert_eq!(home.answer(&format!("{device}/count"), "1").await?.text(), "1");
        let later = home.answer(&format!("{device}/job"), "timer").await?;
        assert_eq!((later.status(), later.text().as_str()), (Some(200), "later"), "{device}");
        assert_eq!(home.answer(&format!("{device}/note"), "").await?.text(), "timer");
        let failed = home.answer(&format!("{device}/job"), "wake").await?;
        let message = failed.property("__stMsg");
        assert_eq!((failed.status(), message), (Some(500), Some("the bulb is broken")), "{device}");
        let refused = home.answer(&format!("{device}/job"), "nonsense").await?;
        assert_eq!(refused.status(), Some(422), "{refused:?}");
        let busy = home.answer(&format!("{device}/set"), "{\"count\": 1, \"job\": \"x\"}").await?;
        assert_eq!(busy.status(), Some(429), "{busy:?}");
    }
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    for device in ["within", "apart"] {
        assert_eq!(home.answer(&format!("{device}/count"), "1").await?.text(), "2", "{device}");
        let note = home.topic(&format!("state/{device}/note"));
        home.phone.subscribe(&note).await?;
        let absence = |m: &Message| m.topic == note && m.text() == "absence";
        home.phone.expect("what became of the will", PATIENCE, absence).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_of_version_1_0_answers() -> Result<()> {
    answers(&std::fs::read_to_string(samples().join("hearth_plugin.h"))?).await
}

#[tokio::test]
async fn a_plugin_of_a_later_minor_version_answers_where_it_needs_no_newer_hub() -> Result<()> {
    let mut header = std::fs::read_to_string(samples().join("hearth_plugin.h"))?;
    for (now, later) in [
        ("#define HEARTH_ABI_MINOR 0", "#define HEARTH_ABI_MINOR 7"),
        ("} hearth_kind;", "  int32_t (*later)(void *instance);\n} hearth_kind;"),
        ("} hearth_ext_state;", "  void *later;\n} hearth_ext_state;"),
        ("} hearth_entry;", "  uint64_t later;\n} hearth_entry;"),
    ] {
        assert!(header.contains(now), "{now}");
        header = header.replace(now, later);
    }
    answers(&header).await
}

async fn compile(header: &str, folder: &Path, object: &Path) -> Result<()> {
    std::fs::write(folder.join("hearth_plugin.h"), header)?;
    // The header beside a source comes first.
    let source = folder.join("frozen.c");
    std::fs::copy(samples().join("frozen.c"), &source)?;
    let mut arguments: Vec<OsString> =
        ["-std=c99", "-Wall", "-Werror", "-shared", "-fPIC", "-o"].map(OsString::from).into();
    arguments.extend([object.into(), source.into()]);
    let compiled = run("cc", arguments, Duration::from_secs(60)).await;
    let compiled = compiled.doing("this test needs the C compiler `cc` (Debian: gcc)")?;
    if compiled.code == Some(0) { Ok(()) } else { Err(Failure(compiled.stderr)) }
}

fn samples() -> PathBuf {
    workspace().join("tests/samples/abi-1.0")
}

const PATIENCE: Duration = Duration::from_secs(60);
