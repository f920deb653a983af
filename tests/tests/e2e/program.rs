//! Devices that programs in other languages serve, in the daemon: what `plugins/program/README.md` promises.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use hearthd_tests::{
    Built, Doing, Failure, Result,
    built::workspace,
    client::PATIENCE,
    process::{Signal, eventually, run},
};
use serde_json::json;

use crate::home::{Home, Setup};

const GUIDE: &str = include_str!("../../../plugins/program/README.md");

#[tokio::test]
async fn the_guide_s_devices_in_python_and_javascript_answer() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let mut home = start(setup, &tables(&["desk-lamp", "stairs"])?).await?;
        let events = home.topic("event/stairs");
        home.phone.subscribe(&events).await?;
        for (payload, state) in [("ON", "ON"), ("TOGGLE", "OFF"), ("on", "ON")] {
            let answer = home.answer("desk-lamp/power", payload).await?;
            assert_eq!((answer.status(), answer.text().as_str()), (Some(200), state));
        }
        let both = home.answer("desk-lamp/set", r#"{"power": "OFF", "level": 40}"#).await?;
        assert_eq!(
            (both.status(), both.json()?),
            (Some(200), json!({"level": 40, "power": "OFF"}))
        );
        let dark = home.answer("desk-lamp/level", "101").await?;
        assert_eq!(dark.status(), Some(422), "the hub refuses it: {}", dark.text());
        let on = home.answer("stairs/power", "ON").await?;
        assert_eq!((on.status(), on.text().as_str()), (Some(200), "ON"));
        let ended = home.phone.expect_on(&events).await?;
        assert_eq!(ended.json()?, json!({"event": "timeout", "property": "ended"}));
        assert_eq!(home.answer("stairs/power", "").await?.text(), "OFF");
        // What it has saved was in the store before its answer was given.
        home.daemon.kill9()?;
        home.daemon.start(&mut home.phone).await?;
        ready(&mut home, "desk-lamp").await?;
        assert_eq!(home.answer("desk-lamp/level", "").await?.text(), "40");
    }
    Ok(())
}

#[test]
fn the_guide_shows_the_lamp_that_the_package_installs() {
    let shown = GUIDE.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let lamp = include_str!("../../../plugins/program/examples/lamp.py");
    assert_eq!(shown, Some(lamp));
}

#[tokio::test]
async fn what_plugin_new_writes_in_python_passes_its_test_and_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lamp = folder.path().join("porch");
    let hearthd = Built::for_this_test()?.binary("hearthd");
    let language = ["--language", "python", "--path"].map(OsString::from);
    let arguments = ["plugin", "new", "porch"].map(OsString::from).into_iter().chain(language);
    let written = run(hearthd, arguments.chain([lamp.clone().into()]), PATIENCE).await?;
    assert_eq!(written.code, Some(0), "{written:?}");
    let tested = run("python3", [lamp.join("test_porch.py")], 4 * PATIENCE).await?;
    assert!(tested.code == Some(0) && tested.stderr.contains("Ran 3 tests"), "{tested:?}");
    let (_, table) = written.stdout.split_once("hearthd.toml:").doing("it has a table")?;
    let mut home = start(Setup::Bundled, &table.replace("3600", "1")).await?;
    let on = home.answer("porch/power", "ON").await?;
    assert_eq!((on.status(), on.text().as_str()), (Some(200), "ON"));
    let begin = Instant::now();
    while home.answer("porch/power", "").await?.text() != "OFF" {
        assert!(begin.elapsed() < PATIENCE, "it does not switch off by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn one_program_serves_the_lamps_of_a_gateway_through_a_reload() -> Result<()> {
    let mut devices = tables(&["lamp-1", "lamp-2"])?;
    devices += &tables(&["lamp-2"])?
        .replace("lamp-2", "lamp-9")
        .replace("channel = 2", "channel = 9")
        .replace("30s", "200ms");
    let devices = devices.replacen("poll = \"30s\"", "poll = \"200ms\"", 1);
    let mut home = start(Setup::Bundled, &devices).await?;
    // Of another `poll`, and still of the same program.
    for device in ["lamp-1", "lamp-2"] {
        let answer = home.answer(&format!("{device}/power"), "ON").await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"), "{device}");
    }
    let refused = home.answer("lamp-9/power", "ON").await?;
    let why = refused.property("__stMsg").unwrap_or_default().to_owned();
    assert_eq!((refused.status(), &*why), (Some(503), "the gateway has no channel 9"));
    let before = programs(&mut home, "bridge.py")?;
    assert_eq!(before.len(), 1, "one for all: {before:?}");
    let file = home.daemon.config().to_owned();
    let text = fs::read_to_string(&file).doing(file.display())?;
    let begin = text.find("[devices.lamp-1]").doing("lamp-1 is there")?;
    let end = text.find("[devices.lamp-2]").doing("lamp-2 is there")?;
    fs::write(&file, format!("{}{}", &text[..begin], &text[end..])).doing(file.display())?;
    let reloaded = home.answer("hearthd-demo/reload", "").await?;
    assert_eq!(reloaded.json()?["devices"]["removed"], json!(["lamp-1"]));
    assert_eq!(programs(&mut home, "bridge.py")?, before, "it goes on");
    assert_eq!(home.answer("lamp-2/power", "").await?.text(), "ON");
    Ok(())
}

#[tokio::test]
async fn what_misbehaves_costs_its_own_device_and_each_request_is_answered() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut devices = tables(&["desk-lamp"])?;
    for (name, script) in MISBEHAVING {
        let file = folder.path().join(format!("{name}.py"));
        fs::write(&file, format!("{PRELUDE}{script}")).doing(file.display())?;
        let deadline = if ["slow", "silent", "chatty"].contains(&name) { "1s" } else { "5s" };
        devices += &format!(
            "[devices.{name}]\nplugin = \"program\"\ndeadline = \"{deadline}\"\n[devices.{name}.config]\n\
             command = [\"python3\", {:?}]\nstart = \"5s\"\n\
             properties = {{ level = {{ type = \"integer\", min = 0, max = 100 }} }}\n",
            file.display()
        );
    }
    // In a process of its own, all is the same.
    devices += &tables(&["desk-lamp"])?
        .replace("desk-lamp", "apart")
        .replace("plugin = \"program\"\n", "plugin = \"program\"\nisolation = \"process\"\n");
    let mut home = start(Setup::Bundled, &devices).await?;
    for name in ["desk-lamp", "apart", "liar", "slow", "twice"] {
        ready(&mut home, name).await?;
    }
    let expected: [(&str, &[u16], &str); 7] = [
        ("crash", &[503], "the bulb burst"),
        ("absent", &[503], "No module named 'no_such_module'"),
        ("slow", &[408], "did not answer"),
        ("silent", &[408, 503], ""),
        ("liar", &[500], "it tells 900 of `level`, which the declaration does not allow"),
        ("chatty", &[200, 408, 503], ""),
        ("twice", &[200], ""),
    ];
    unreachable(&mut home, "absent").await?;
    for (name, statuses, says) in expected {
        if name == "crash" {
            ready(&mut home, name).await?;
        }
        let answer = home.answer(&format!("{name}/level"), "7").await?;
        let why = answer.property("__stMsg").unwrap_or_default().to_owned();
        let status = answer.status().unwrap_or_default();
        assert!(statuses.contains(&status), "{name}: {status} {why}");
        assert!(why.contains(says), "{name}: {why}");
        for honest in ["desk-lamp", "apart"] {
            let start = Instant::now();
            let answer = home.answer(&format!("{honest}/power"), "TOGGLE").await?;
            assert_eq!(answer.status(), Some(200), "{honest} beside {name}");
            assert!(start.elapsed() < PATIENCE, "{honest} beside {name}");
        }
    }
    // The one that crashed is back, the one that is slow says so, and nobody was told what is no level.
    ready(&mut home, "crash").await?;
    let slow = home.answer("slow/status", "").await?;
    assert_eq!(slow.text(), "unreachable");
    let why = slow.property("reason").or(slow.property("__stMsg")).unwrap_or_default().to_owned();
    assert!(why.contains("has not answered `set` within"), "{why}");
    assert_eq!(home.answer("liar/level", "").await?.status(), Some(204), "it never told one");
    home.daemon.logged("it answers 2, which it was not asked or has answered").await?;
    Ok(())
}

#[tokio::test]
async fn no_program_outlives_its_hub() -> Result<()> {
    let mut home = start(Setup::Bundled, &tables(&["desk-lamp", "lamp-1"])?).await?;
    for how in ["in order", "killed"] {
        let mut left = BTreeSet::new();
        for (device, script) in [("desk-lamp", "lamp.py"), ("lamp-1", "bridge.py")] {
            ready(&mut home, device).await?;
            left.extend(programs(&mut home, script)?);
        }
        assert_eq!(left.len(), 2, "{left:?}");
        if how == "killed" {
            home.daemon.kill9()?;
        } else {
            home.daemon.process()?.signal(Signal::TERM)?;
            home.daemon.terminate().await?;
        }
        eventually(how, PATIENCE, || Ok(left.iter().all(|it| !is_running(*it)).then_some(())))
            .await?;
        if how == "in order" {
            home.daemon.start(&mut home.phone).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_checks_name_a_program_that_does_not_exist() -> Result<()> {
    let devices = tables(&["desk-lamp"])?.replace("lamp.py", "lump.py");
    let home = prepare(Setup::Bundled, &devices).await?;
    let checked = home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let says = "devices.desk-lamp.config.command[1]";
    assert!(
        checked.stderr.contains(says) && checked.stderr.contains("lump.py does not exist"),
        "{checked:?}"
    );

    let folder = tempfile::tempdir()?;
    let table = folder.path().join("table.toml");
    fs::write(
        &table,
        "command = [\"no-such-lamp\"]\nproperties = { power = { type = \"switch\" } }\n",
    )?;
    let plugin = Built::for_this_test()?.plugin("plugin_program");
    let arguments =
        ["plugin".as_ref(), "check".as_ref(), plugin.as_path(), "--config".as_ref(), &table];
    let checked = run(home.daemon.program(), arguments, PATIENCE).await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let all = checked.stdout + &checked.stderr;
    assert!(all.contains("command[0]") && all.contains("no program `no-such-lamp`"), "{all}");
    Ok(())
}

/// What each script begins with: the functions that an honest program has as well.
const PRELUDE: &str = r#"import json, os, subprocess, sys, time
def say(**message):
    print(json.dumps(message), flush=True)
def next_message():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)
def answer(message, **more):
    say(type="answer", id=message["id"], **more)
"#;

/// Programs that do what no program should.
const MISBEHAVING: [(&str, &str); 7] = [
    ("crash", "answer(next_message()); next_message(); raise RuntimeError('the bulb burst')\n"),
    ("absent", "import no_such_module\n"),
    (
        "slow",
        "answer(next_message())\nnext_message()\nwhile True: say(type='log', level='debug', message='...'); time.sleep(0.5)\n",
    ),
    ("silent", "subprocess.Popen(['sleep', '1000'])\nwhile True: next_message()\n"),
    (
        "liar",
        "answer(next_message())\nwhile True:\n    m = next_message()\n    say(type='state', values={'level': -1}); answer(m, values={'level': 900})\n",
    ),
    ("chatty", "answer(next_message())\nwhile True: sys.stdout.write('x' * 1000 + '{\\n')\n"),
    (
        "twice",
        "answer(next_message())\nwhile True:\n    m = next_message(); answer(m); answer(m)\n",
    ),
];

/// Returns the tables of devices from the guide, with the scripts of the checkout.
fn tables(devices: &[&str]) -> Result<String> {
    let examples = workspace().join("plugins/program/examples").canonicalize()?;
    let mut text = String::new();
    for device in devices {
        let header = format!("[devices.{device}]\n");
        let rest = GUIDE.split(&header).nth(1).doing(format!("the guide has `{device}`"))?;
        let table = rest.split("```").next().unwrap_or(rest).split("\n\n").next().unwrap_or(rest);
        for line in header.lines().chain(table.lines()) {
            text += line.trim_start();
            text += "\n";
        }
    }
    let text = text.replace("seconds = 90", "seconds = 0.2");
    Ok(text.replace("/etc/hearthd", &examples.display().to_string()))
}

async fn prepare(setup: Setup, devices: &str) -> Result<Home> {
    Home::prepare(setup, |config| {
        config.plugins = &["light", "thermostat", "plugin_program"];
        config.devices += devices;
    })
    .await
}

async fn start(setup: Setup, devices: &str) -> Result<Home> {
    let mut home = prepare(setup, devices).await?;
    home.daemon.start(&mut home.phone).await?;
    Ok(home)
}

async fn ready(home: &mut Home, device: &str) -> Result<()> {
    has_status(home, device, "ready").await
}

async fn unreachable(home: &mut Home, device: &str) -> Result<()> {
    has_status(home, device, "unreachable").await
}

/// Waits until a device has a status.
async fn has_status(home: &mut Home, device: &str, status: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = home.answer(&format!("{device}/status"), "").await?;
        if answer.text() == status {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure(format!("{device} is not {status}: {answer:?}")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the programs of a hub that run a script: those whose ancestor is the hub.
fn programs(home: &mut Home, script: &str) -> Result<BTreeSet<u32>> {
    let hub = home.daemon.process()?.id();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(line) = fs::read_to_string(format!("/proc/{number}/cmdline")) else { continue };
        if line.contains(script) && parent(number) == Some(hub) {
            found.insert(number);
        }
    }
    Ok(found)
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn is_running(process: u32) -> bool {
    let stat = PathBuf::from(format!("/proc/{process}/stat"));
    fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z "))
}
