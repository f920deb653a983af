//! What the guide of `plugins/README.md` promises to whoever writes a plugin.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearthd_tests::{
    Built, Doing, Failure, Process, Result,
    built::workspace,
    process::{Ran, eventually, run},
    sdk::write_sdk,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::home::{Home, Setup};

const GUIDE: &str = include_str!("../../../plugins/README.md");

/// The longest step is a release build of the SDK.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_guide_leads_from_nothing_to_an_answering_device() -> Result<()> {
    let guide = Walk::begin()?;
    let steps = blocks(GUIDE, "sh");
    let [new, build, home, start, request] = &steps[..] else {
        return Err(Failure(format!("five steps are expected: {steps:#?}")));
    };
    guide.run(new).await?;
    guide.share_target("my-lamp")?;
    let built = guide.run(build).await?;
    assert!(built.stdout.contains("test result: ok. 3 passed"), "{built:?}");
    assert!(built.stdout.contains("loads here: yes\nruns in "), "{built:?}");
    // Any free port instead of the guide's.
    guide.run(&home.replace("127.0.0.1:1883\"]", "127.0.0.1:0\"]")).await?;
    let processes = guide.start(start).await?;
    let answered = eventually("the lamp's answer", Duration::from_secs(30), || {
        let output = guide.shell(request).output()?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    });
    assert_eq!(answered.await.doing(processes[1].log())?, "ON\n");
    Ok(())
}

#[tokio::test]
async fn a_plugin_is_written_with_what_the_package_installs_and_no_checkout() -> Result<()> {
    let walk = Walk::begin()?;
    let sdk = walk.outside.path().join("sdk");
    write_sdk(&sdk)?;
    let mut devices = String::new();
    for template in ["minimal", "http", "serial", "mqtt", "sensor"] {
        let new = format!("hearthd plugin new {template}-pump --from {template}");
        let printed = walk.run(&format!("{new} --sdk '{}'", sdk.display())).await?;
        devices += table_of(&printed)?;
        walk.share_target(&format!("{template}-pump"))?;
        // `ureq` comes from the crates registry; what the others need is there, as this workspace needs it too.
        let offline = template != "http";
        let build = format!("export CARGO_NET_OFFLINE={offline} && cargo test && cargo build");
        let built = walk.run(&format!("cd {template}-pump && {build}")).await?;
        assert!(!built.stderr.contains("warning"), "{built:?}");
        let passed = built.stdout.split("test result: ok. ").nth(1).doing(template)?;
        assert!(!passed.starts_with('0'), "{built:?}");
        let object = format!("{template}-pump/target/debug/lib{template}_pump.so");
        let checked = walk.run(&format!("hearthd plugin check {object}")).await?;
        // It is not of the hub's own build, so a process of its own contains it.
        assert!(checked.stdout.contains("runs in a separate process"), "{checked:?}");
        walk.run(&format!("mkdir -p plugins && cp {object} plugins/")).await?;
    }
    walk.check(&devices).await
}

#[tokio::test]
async fn each_template_in_c_and_in_python_passes_its_own_test() -> Result<()> {
    let walk = Walk::begin()?;
    let sdk = walk.outside.path().join("sdk");
    write_sdk(&sdk)?;
    let mut devices = String::new();
    for template in ["minimal", "http", "serial", "mqtt", "sensor"] {
        let new = format!("hearthd plugin new {template}-c --language c --from {template}");
        let printed = walk.run(&format!("{new} --sdk '{}'", sdk.display())).await?;
        devices += table_of(&printed)?;
        let make = format!("make -C {template}-c test CFLAGS='-Werror -pedantic'");
        let tested = walk.run(&make).await?;
        assert!(tested.stdout.contains("passed: "), "{tested:?}");
        let object = format!("{template}-c/{template}-c.so");
        walk.run(&format!("mkdir -p plugins && cp {object} plugins/")).await?;
    }
    for template in ["minimal", "http", "serial", "sensor"] {
        let new = "hearthd plugin new";
        let new = format!("{new} {template}-py --language python --from {template}");
        devices += table_of(&walk.run(&new).await?)?;
        let tested = walk.run(&format!("python3 {template}-py/test_{template}_py.py")).await?;
        assert!(tested.stderr.ends_with("\nOK\n"), "{tested:?}");
    }
    std::fs::copy(walk.built.plugin("plugin_program"), walk.folder().join("plugins/program.so"))?;
    walk.check(&devices).await
}

#[tokio::test]
async fn a_wrong_table_of_a_template_in_c_is_refused_with_the_key() -> Result<()> {
    let walk = Walk::begin()?;
    for (template, table, problem) in [
        ("http", "url = 'http://plug.local/relay/0'", "url: http://ADDRESS/PATH is expected"),
        ("http", "url = 'http://192.168.1.40:70000/'", "url: http://ADDRESS/PATH is expected"),
        ("serial", "port = '/dev/ttyUSB0'", "speed: "),
        ("serial", "port = '/dev/ttyUSB0'\nspeed = 'fast'", "speed: "),
        ("serial", "prot = '/dev/ttyUSB0'\nspeed = 9600", "port: "),
        ("sensor", "flie = '/tmp/temperature'", "file: the path of a file is expected"),
    ] {
        let folder = walk.folder().join(template);
        if !folder.exists() {
            let new = format!("hearthd plugin new {template} --language c --from {template}");
            walk.run(&format!("{new} && make -C {template}")).await?;
        }
        std::fs::write(folder.join("wrong.toml"), table)?;
        let wrong = "--config wrong.toml </dev/null 2>&1";
        let step = format!("set +e; hearthd plugin try ./{template}.so {wrong}; test $? = 78");
        let refused = walk.run(&format!("cd {template}; {step}")).await?;
        assert!(refused.stdout.contains(problem), "{table}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_template_that_a_language_has_not_is_refused_with_those_that_it_has() -> Result<()> {
    let walk = Walk::begin()?;
    let new = "hearthd plugin new pump --language python --from mqtt";
    let step = format!("set +e; {new}; test $? = 64 && ! test -e pump");
    let refused = walk.run(&step).await?;
    let there = "--language python: minimal, http, serial, sensor";
    assert!(refused.stderr.contains(there), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_script_of_the_guide_is_a_test_of_its_plugin_in_c() -> Result<()> {
    let walk = Walk::begin()?;
    let object = walk.folder().join("c-lamp.so");
    compile_c(&blocks(GUIDE, "c")[0], &walk.folder(), &object).await?;
    std::fs::write(walk.folder().join("steps.txt"), &blocks(GUIDE, "text")[0])?;
    let command = "hearthd plugin try plugins/c-lamp.so --script steps.txt";
    assert!(GUIDE.contains(&format!("    {command}\n")), "the guide shows the command");
    std::fs::create_dir(walk.folder().join("plugins"))?;
    std::fs::rename(object, walk.folder().join("plugins/c-lamp.so"))?;
    let tried = walk.run(&format!("{command} --patience 60s")).await?;
    assert!(tried.stdout.ends_with("passed: 8 lines\n"), "{tried:?}");
    Ok(())
}

#[test]
fn the_guide_shows_the_plugin_in_c_that_plugin_new_writes() {
    let template = include_str!("../../../crates/hearthd/src/cli/plugin_template/c/minimal.c");
    assert_eq!(template.replace("my-lamp", "c-lamp"), blocks(GUIDE, "c")[0]);
}

#[test]
fn the_guide_shows_what_plugin_new_writes() {
    let template = include_str!("../../../crates/hearthd/src/cli/plugin_template/rust/minimal.rs");
    let shown = &blocks(GUIDE, "rust")[0];
    assert_eq!(template.split_once("\n#[cfg(test)]").map(|(code, _)| code), Some(&**shown));
    // The guide's example of a test is one of those that it writes.
    for line in blocks(GUIDE, "rust")[1].lines() {
        let line = line.replace("hearthd_sdk::harness::", "").replace("serde_json::", "");
        assert!(template.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn the_c_plugin_of_the_guide_answers() -> Result<()> {
    let device = "[devices.c-lamp]\nplugin = \"c-lamp\"\n";
    let mut home = Home::prepare(Setup::Bundled, |config| config.devices += device).await?;
    let folder = home.daemon.config().parent().doing("the hub has a folder")?.to_owned();
    let object = folder.join("plugins/c-lamp.so");
    compile_c(&blocks(GUIDE, "c")[0], &folder, &object).await?;
    home.daemon.start(&mut home.phone).await?;
    for payload in ["OFF", "ON"] {
        let answer = home.answer("c-lamp/power", payload).await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), payload));
    }
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    assert_eq!(home.answer("c-lamp/power", "").await?.text(), "ON", "as it was");
    let refused = home.answer("c-lamp/power", "DIM").await?;
    assert_eq!(refused.status(), Some(400), "{}", refused.text());
    let checked = check(&object, &[]).await?;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("power                  switch\n"), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn the_check_of_a_plugin_file_tells_what_is_in_it() -> Result<()> {
    let light = Built::for_this_test()?.plugin("light");
    let plain = check(&light, &["--json"]).await?;
    let plain: Value = serde_json::from_str(&plain.stdout)?;
    assert_eq!((&plain["loads"], &plain["reason"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(plain["identity"]["name"], "light");
    let toolchain = plain["identity"]["toolchain"].as_str();
    assert!(toolchain.is_some_and(|toolchain| toolchain.starts_with("rustc 1.")), "{plain}");
    let properties = |report: &Value| report["kinds"][0]["properties"].clone();
    assert_eq!(properties(&plain).as_object().map(serde_json::Map::len), Some(1));

    let folder = tempfile::tempdir()?;
    let table = folder.path().join("table.toml");
    let with_table = async |text: &str| {
        std::fs::write(&table, text)?;
        check(&light, &["--json", "--config", &table.display().to_string()]).await
    };
    let dimmed = with_table("brightness = true").await?;
    let dimmed: Value = serde_json::from_str(&dimmed.stdout)?;
    assert_eq!(properties(&dimmed)["brightness"]["unit"], "%");
    let wrong = with_table("brightness = 7").await?;
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
    let wrong: Value = serde_json::from_str(&wrong.stdout)?;
    assert_eq!(wrong["kinds"][0]["problems"][0]["path"], "brightness");
    assert_eq!(with_table("brightness =").await?.code, Some(78));
    Ok(())
}

#[tokio::test]
async fn the_check_says_why_a_file_would_not_load() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let light = std::fs::read(Built::for_this_test()?.plugin("light"))?;
    let prefix = prefix_of(&light)?;
    let with_byte = |at: usize, byte: u8| {
        let mut light = light.clone();
        light[at] = byte;
        light
    };
    let file = folder.path().join("bad.so");
    for (content, reason) in [
        (b"hello".to_vec(), "not an ELF shared object"),
        (light[..light.len() / 2].to_vec(), "truncated"),
        (with_byte(18, 8), "built for Mips"),
        (with_byte(prefix, b'X'), "does not start with the plugin magic"),
        (with_byte(prefix + 12, 9), "built for plugin ABI 9, and this hub has 1"),
        (with_byte(prefix + 16, 7), "needs plugin ABI 1.7, and this hub has 1.3"),
    ] {
        std::fs::write(&file, content)?;
        refused(&file, reason).await?;
    }
    let gone = check(&folder.path().join("gone.so"), &[]).await?;
    assert_eq!(gone.code, Some(66), "{gone:?}");
    let entry = "const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX(\"bad\", \"1\"),";
    for (code, reason) in [
        ("int plugin;".to_owned(), "does not export `hearth_plugin_entry_v1`"),
        (
            format!("int32_t gone(const hearth_host *);\n{entry} gone, NULL }};"),
            "undefined symbol: gone",
        ),
        (format!("{entry} NULL, NULL }};"), "its list of kinds is missing"),
        (
            format!(
                "static int32_t no(const hearth_host *h) {{ return h ? -1 : 0; }}\n{entry} no, NULL }};"
            ),
            "its init failed (status -1)",
        ),
        (
            format!(
                "__attribute__((constructor)) static void f(void) {{ *(volatile int *)0 = 1; }}\n{entry} NULL, NULL }};"
            ),
            "its code ends the process",
        ),
    ] {
        compile_c(&format!("#include \"hearth_plugin.h\"\n{code}\n"), folder.path(), &file).await?;
        refused(&file, reason).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_crashes_or_hangs_when_it_is_asked_for_its_properties_does_not_load()
-> Result<()> {
    let rogue = Built::for_this_test()?.plugin("rogue");
    let folder = tempfile::tempdir()?;
    let verdict = async |describe: &str| {
        let table = folder.path().join(describe);
        std::fs::write(&table, format!("describe = {describe:?}"))?;
        let checked = check(&rogue, &["--config", &table.display().to_string()]).await?;
        assert_eq!(checked.code, Some(65), "{checked:?}");
        Result::Ok(checked.stdout.lines().last().unwrap_or_default().to_owned())
    };
    // At the same time, as both take all the time that there is.
    let (abort, hang, chatter) =
        tokio::try_join!(verdict("abort"), verdict("hang"), verdict("chatter"))?;
    let start = "loads here: no: asked about this table for kind `rogue`, its code";
    let end = "ends the process: signal: 6 (SIGABRT)";
    assert!(abort.starts_with(&format!("{start} {end}")), "{abort}");
    assert_eq!(hang, format!("{start} does not return within 10s"));
    assert_eq!(chatter, hang);
    Ok(())
}

#[tokio::test]
async fn a_constructor_that_kills_whoever_loads_it_kills_nobody_else() -> Result<()> {
    let code = blocks(GUIDE, "c")[0].clone();
    let constructor = "#include <signal.h>\n#include <unistd.h>\n\
        __attribute__((constructor)) static void f(void) { kill(getppid(), SIGKILL); }\n";
    let folder = tempfile::tempdir()?;
    let object = folder.path().join("killer.so");
    let code = format!("#define _POSIX_C_SOURCE 200809L\n{code}\n{constructor}");
    compile_c(&code, folder.path(), &object).await?;
    let checked = check(&object, &[]).await?;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    Ok(())
}

/// Requires that a file would not load, for this reason.
async fn refused(file: &Path, reason: &str) -> Result<()> {
    let checked = check(file, &[]).await?;
    assert_eq!(checked.code, Some(65), "{reason}: {checked:?}");
    let last = checked.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("loads here: no: ") && last.contains(reason), "{reason}: {checked:?}");
    Ok(())
}

async fn check(file: &Path, more: &[&str]) -> Result<Ran> {
    let hearthd = Built::for_this_test()?.binary("hearthd");
    let mut arguments = vec![OsString::from("plugin"), "check".into(), file.into()];
    arguments.extend(more.iter().map(OsString::from));
    run(hearthd, arguments, Duration::from_secs(30)).await
}

/// Finds the entry of a plugin in its file: the magic, a size, the ABI's major version.
fn prefix_of(plugin: &[u8]) -> Result<usize> {
    let is_entry = |bytes: &[u8]| bytes.starts_with(b"HEARTHP\0") && bytes.ends_with(&[1, 0]);
    plugin.windows(14).position(is_entry).doing("no plugin prefix")
}

pub(crate) async fn compile_c(code: &str, folder: &Path, object: &Path) -> Result<()> {
    let source = folder.join("plugin.c");
    std::fs::write(&source, code)?;
    let include = workspace().join("crates/hearthd-sdk/include");
    let options = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC"];
    let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
    arguments.extend(["-I".into(), include.into(), "-o".into(), object.into(), source.into()]);
    let compiled = run("cc", arguments, Duration::from_secs(60)).await;
    let compiled = compiled.doing("this test needs the C compiler `cc` (Debian: gcc)")?;
    if compiled.code == Some(0) { Ok(()) } else { Err(Failure(compiled.stderr)) }
}

/// Returns what `plugin new` says to add to the hub's configuration.
fn table_of(printed: &Ran) -> Result<&str> {
    let (_, table) = printed.stdout.split_once("add to hearthd.toml:\n\n").doing("no table")?;
    Ok(table)
}

/// Returns the fenced blocks of one language.
fn blocks(guide: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = guide.split(&fence).skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// Somebody who follows the guide, in an empty folder beside the checkout.
struct Walk {
    built: Built,
    outside: TempDir,
}

impl Walk {
    fn begin() -> Result<Self> {
        let walk = Self { built: Built::for_this_test()?, outside: tempfile::tempdir()? };
        std::fs::create_dir(walk.folder())?;
        std::os::unix::fs::symlink(
            workspace().canonicalize()?,
            walk.outside.path().join("hearthd"),
        )?;
        Ok(walk)
    }

    fn folder(&self) -> PathBuf {
        self.outside.path().join("my-home")
    }

    /// Has a crate built into a folder that stays, so that its dependencies are built once.
    fn share_target(&self, name: &str) -> Result<()> {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authoring");
        std::fs::create_dir_all(&shared)?;
        std::os::unix::fs::symlink(shared, self.folder().join(name).join("target"))?;
        Ok(())
    }

    /// Makes a command of one step; the binaries under test come first.
    fn shell(&self, step: &str) -> Command {
        let mut path = OsString::from(self.built.binary(""));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        // The dependencies are those of this workspace, and so are there already.
        shell.args(["-ec", step]).env("PATH", path).env("CARGO_NET_OFFLINE", "true");
        // It is set for what is built in the workspace.
        shell.env_remove("HEARTHD_WORKSPACE");
        shell.current_dir(self.folder());
        shell
    }

    /// Takes one step to its end.
    async fn run(&self, step: &str) -> Result<Ran> {
        let mut process = Process::start(&mut self.shell(step), &self.folder().join("step.log"))?;
        let ended = eventually(step, PATIENCE, || process.ended()).await?;
        let ran = Ran { code: ended.code(), stdout: process.stdout(), stderr: process.log() };
        if ran.code == Some(0) { Ok(ran) } else { Err(Failure(format!("{step}: {ran:#?}"))) }
    }

    /// Requires that a hub accepts these devices, whose plugins are in the folder `plugins`.
    async fn check(&self, devices: &str) -> Result<()> {
        let config = "[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n[plugins]\npath = [\"plugins\"]\n\
            [bridges]\nallow = [\"bulbs/#\"]\n";
        std::fs::write(self.folder().join("hearthd.toml"), format!("{config}{devices}"))?;
        self.run("hearthd check --config hearthd.toml").await.map(drop)
    }

    /// Starts the broker and the hub, which the guide puts into the background.
    async fn start(&self, step: &str) -> Result<Vec<Process>> {
        let mut processes = Vec::new();
        for (number, line) in step.lines().enumerate() {
            let line = line.strip_suffix(" &").doing(line)?;
            let log = self.folder().join(format!("{number}.log"));
            let process = Process::start(&mut self.shell(&format!("exec {line}")), &log)?;
            if number == 0 {
                let port = eventually("the broker's port", Duration::from_secs(30), || {
                    let said = process.stdout();
                    let port = said.lines().find_map(|line| line.rsplit_once("127.0.0.1:"));
                    Ok(port.map(|(_, port)| port.to_owned()))
                });
                let config = self.folder().join("hearthd.toml");
                let text = std::fs::read_to_string(&config)?.replace("1883", &port.await?);
                std::fs::write(config, text)?;
            }
            processes.push(process);
        }
        Ok(processes)
    }
}
