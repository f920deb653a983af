//! Devices that move, and that have secrets: a plugin in C, in the hub and in a process, and a program.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use hearthd_tests::{Doing, Message, Result};
use serde_json::{Value, json};

use crate::{
    home::{Home, Setup},
    in_c::compile,
};

/// The program's shutter, which does what the one in C does.
const PROGRAM: &str = r#"
import json, sys

def say(**message):
    print(json.dumps(message), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        knows = message["secrets"] == {"password": "open sesame"}
        say(type="answer", id=message["id"], values={"position": 0, "knows": knows})
    elif message["type"] == "set":
        position = message["values"]["position"]
        say(type="answer", id=message["id"], status=202, within=0.05 if position == 100 else 60)
        if position == 50:
            say(type="answer", id=message["id"], status=500, reason="it is stuck")
        elif position != 100:
            say(type="answer", id=message["id"])
"#;

const SECRET: &str = "open sesame";

/// A home with the three shutters, whose events the phone hears.
async fn home_of_shutters() -> Result<Home> {
    let in_c = |id: &str, isolation: &str| {
        format!(
            "[devices.{id}]\nplugin = \"shutter\"\nisolation = \"{isolation}\"\n\
             config.password = {{ file = \"shutter.password\" }}\n"
        )
    };
    let mut home = Home::prepare(Setup::Bundled, |config| {
        config.plugins = &["light", "thermostat", "plugin_program"];
        config.devices += &(in_c("within", "none") + &in_c("apart", "process"));
        config.devices += "[devices.program]\nplugin = \"program\"\n[devices.program.config]\n\
             command = [\"python3\", \"shutter.py\"]\nsecrets = { password = { credential = \"shutter\" } }\n\
             [devices.program.config.properties]\nposition = { type = \"integer\", min = 0, max = 100 }\n\
             knows = { type = \"switch\", access = \"r\" }\n";
    })
    .await?;
    let folder = home.daemon.config().parent().doing("the hub has a folder")?.to_owned();
    let script = folder.join("shutter.py");
    fs::write(&script, PROGRAM)?;
    let text = fs::read_to_string(home.daemon.config())?;
    let text = text.replace("\"shutter.py\"", &format!("{:?}", script.display().to_string()));
    fs::write(home.daemon.config(), text)?;
    write_secret(&folder.join("shutter.password"), SECRET)?;
    fs::create_dir(folder.join("credentials"))?;
    write_secret(&folder.join("credentials/shutter"), SECRET)?;
    home.daemon.set_environment("CREDENTIALS_DIRECTORY", folder.join("credentials"));
    home.daemon.set_environment("RUST_LOG", "trace");
    compile("shutter.c", &folder.join("plugins/shutter.so")).await?;
    let events = home.topic("event/+");
    home.phone.subscribe(&events).await?;
    home.daemon.start(&mut home.phone).await?;
    Ok(home)
}

fn write_secret(file: &Path, secret: &str) -> Result<()> {
    fs::write(file, format!("{secret}\n"))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// Waits until a device is there.
async fn expect_there(home: &mut Home, device: &str) -> Result<()> {
    let begin = std::time::Instant::now();
    while home.answer(&format!("{device}/position"), "").await?.status() != Some(200) {
        assert!(begin.elapsed() < PATIENCE, "{device} does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits for the event that tells how a request ended.
async fn expect_end(home: &mut Home, request: &Message) -> Result<Value> {
    let data = request.correlation_data.clone();
    let is_end = |m: &Message| m.topic.contains("/event/") && m.correlation_data == data;
    home.phone.expect("the end", PATIENCE, is_end).await?.json()
}

#[tokio::test]
async fn a_shutter_is_answered_202_and_its_end_is_told_with_the_correlation_data() -> Result<()> {
    let mut home = home_of_shutters().await?;
    for device in ["within", "apart", "program"] {
        expect_there(&mut home, device).await?;
        let position = format!("{device}/position");
        let request = home.ask(&position, "40");
        let accepted = home.phone.request(request.clone()).await?;
        assert_eq!(accepted.status(), Some(202), "{device}");
        // It says what is so, and a shutter may be fast.
        assert!(["0", "40"].contains(&&*accepted.text()), "{device}: {accepted:?}");
        let done = json!({"event": "done", "property": "position", "payload": "40", "status": 200});
        assert_eq!(expect_end(&mut home, &request).await?, done, "{device}");
        assert_eq!(home.answer(&position, "").await?.text(), "40", "{device}");
        let again = home.phone.request(request.with_property("retry", "1")).await?;
        assert_eq!((again.status(), again.text().as_str()), (Some(200), "40"), "{device}");
        assert_eq!(again.property("first_status"), Some("200"), "{device}");

        for (target, status, message) in [
            ("50", 500, "it is stuck".to_owned()),
            ("100", 408, format!("`{device}` has not told in time how it has ended")),
        ] {
            let request = home.ask(&position, target);
            let accepted = home.phone.request(request.clone()).await?;
            assert_eq!(accepted.status(), Some(202), "{device}");
            let failed = json!({
                "event": "failed", "property": "position", "payload": target, "status": status,
                "message": message,
            });
            assert_eq!(expect_end(&mut home, &request).await?, failed, "{device}");
        }
    }
    let asked = home.daemon.command(&["request", "within", "position", "10"]).await?;
    assert_eq!((asked.code, asked.stdout.trim()), (Some(0), "40"), "{asked:?}");
    assert!(asked.stderr.contains("202: under way"), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_movement_that_the_hub_does_not_live_to_see_is_indeterminate() -> Result<()> {
    let mut home = home_of_shutters().await?;
    expect_there(&mut home, "within").await?;
    // The end of this one would come later than the hub's.
    let request = home.ask("within/position", "100");
    assert_eq!(home.phone.request(request.clone()).await?.status(), Some(202));
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    let again = home.phone.request(request.with_property("retry", "1")).await?;
    let said = (again.status(), again.property("reason"));
    // It may have been told in time that there was no end.
    assert!(matches!(said, (Some(409), Some("indeterminate")) | (Some(408), None)), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_reaches_its_plugin_and_nobody_else() -> Result<()> {
    let mut home = home_of_shutters().await?;
    for device in ["within", "apart", "program"] {
        expect_there(&mut home, device).await?;
        assert_eq!(home.answer(&format!("{device}/knows"), "").await?.text(), "ON", "{device}");
        for property in ["describe", "get", "status"] {
            let told = home.answer(&format!("{device}/{property}"), "").await?;
            assert!(!told.text().contains(SECRET), "{told:?}");
        }
    }
    for arguments in [&["devices"][..], &["devices", "--json"], &["describe", "apart"], &["status"]]
    {
        let said = home.daemon.command(arguments).await?;
        assert!(!said.stdout.contains(SECRET) && !said.stderr.contains(SECRET), "{said:?}");
    }
    let file = home.daemon.config().with_file_name("shutter.password");
    fs::rename(&file, file.with_extension("away"))?;
    let reload = home.answer("hearthd-demo/reload", "").await?;
    let why = format!("devices.apart.config.password.file: {}: No such file", file.display());
    assert!(reload.status() == Some(422) && reload.text().contains(&why), "{reload:?}");
    let checked = home.daemon.command(&["check"]).await?;
    assert!(checked.code == Some(78) && checked.stderr.contains(&why), "{checked:?}");
    assert_eq!(home.answer("apart/knows", "").await?.text(), "ON", "it goes on");
    // Nobody but the owner gets into this folder, so only the plain text is a risk.
    fs::rename(file.with_extension("away"), &file)?;
    let text = fs::read_to_string(home.daemon.config())?;
    let plain = text.replacen("{ file = \"shutter.password\" }", &format!("{SECRET:?}"), 1);
    fs::write(home.daemon.config(), plain)?;
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    home.daemon.logged("devices.within.config.password: is a secret").await?;
    expect_there(&mut home, "within").await?;
    assert_eq!(home.answer("within/knows", "").await?.text(), "ON");
    let log = home.daemon.log();
    assert!(!log.contains(SECRET), "the log shows it");
    assert!(log.contains("nothing has changed") || log.contains("not reloaded"), "{log}");
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
