//! The commands of `hearthd`, as a person or a script uses them.

use std::path::Path;

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Message, Result, process::Ran, process::run,
};

use crate::home::{Broker, Home, Setup};

#[tokio::test]
async fn a_request_from_the_command_line_is_answered_under_every_broker() -> Result<()> {
    for setup in Setup::ALL {
        let home = Home::start(setup).await?;
        let ran = home.daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
        assert_eq!(ran.code, Some(0), "{setup:?} {ran:?}");
        assert!(ran.stdout.contains("ON"), "{setup:?} {ran:?}");
        let refused = ["request", "living-room", "target_temperature", "99"];
        let refused = home.daemon.command(&refused).await?;
        assert!(refused.code.is_some_and(|code| code != 0), "{setup:?} {refused:?}");
        let json = ["request", "light-in-bedroom", "power", "--json"];
        let json = home.daemon.command(&json).await?;
        let value: serde_json::Value = serde_json::from_str(&json.stdout)?;
        assert!(value.to_string().contains("ON"), "{setup:?} {value}");
    }
    Ok(())
}

#[tokio::test]
async fn devices_and_describe_say_what_is_there() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let devices = home.daemon.command(&["devices"]).await?;
    assert_eq!(devices.code, Some(0), "{devices:?}");
    assert!(devices.stdout.contains("light-in-bedroom"), "{devices:?}");
    assert!(devices.stdout.contains("living-room"), "{devices:?}");
    let described = home.daemon.command(&["describe", "living-room"]).await?;
    assert_eq!(described.code, Some(0), "{described:?}");
    assert!(described.stdout.contains("    target_temperature     number, 5 to "), "{described:?}");
    Ok(())
}

#[tokio::test]
async fn the_configuration_of_these_tests_passes_the_check() -> Result<()> {
    let checked = check(|_| Ok(())).await?;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_with_five_mistakes_gets_five_lines_and_exit_78() -> Result<()> {
    let checked = check(|folder| {
        let text = r#"[broker]
url = "http://127.0.0.1:1883"
client_id = "Not A Topic Level"
keep_alive = "soon"

[plugins]
path = "plugins"

[devices.light-in-bedroom]
plugin = "light"
colour = "red"
"#;
        std::fs::write(folder.join("hearthd.toml"), text).doing("write")
    })
    .await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    for place in ["toml:2:", "toml:3:", "toml:4:", "toml:7:", "toml:11:"] {
        assert_eq!(said.matches(place).count(), 1, "{place} in\n{said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_check_asks_the_plugin_about_its_table() -> Result<()> {
    let checked = check(|folder| {
        let file = folder.join("hearthd.toml");
        let text = std::fs::read_to_string(&file)?;
        let text = text.replace("backend = \"simulated\"", "backend = \"steam\"");
        std::fs::write(file, text).doing("write")
    })
    .await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("light-in-bedroom") && said.contains("steam"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_truncated_plugin_is_named_and_exit_is_78() -> Result<()> {
    let checked = check(|folder| {
        let file = folder.join("plugins/light.so");
        let whole = std::fs::read(&file)?;
        std::fs::write(file, &whole[..whole.len() / 2]).doing("write")
    })
    .await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    assert!(format!("{}{}", checked.stdout, checked.stderr).contains("light.so"), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn a_shared_object_that_is_no_plugin_is_named_and_exit_is_78() -> Result<()> {
    let foreign = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
    let foreign = foreign.iter().find(|path| Path::new(path).exists());
    for content in [foreign.map(std::fs::read).transpose()?, Some(b"no ELF file".to_vec())] {
        let Some(content) = content else { continue };
        let checked = check(|folder| {
            std::fs::write(folder.join("plugins/foreign.so"), content).doing("write")
        })
        .await?;
        assert_eq!(checked.code, Some(78), "{checked:?}");
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(said.contains("foreign.so"), "{said}");
    }
    Ok(())
}

/// Checks a good configuration after `change` has had its way with its folder.
async fn check(change: impl FnOnce(&Path) -> Result<()>) -> Result<Ran> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let config = DaemonConfig::new(Access { port: 1883, login: None });
    let daemon = Daemon::prepare(&built, folder.path(), &config)?;
    change(folder.path())?;
    let file = daemon.config().display().to_string();
    let arguments = ["check".to_owned(), "--config".to_owned(), file];
    run(built.binary("hearthd"), arguments, std::time::Duration::from_secs(30)).await
}

#[tokio::test]
async fn the_doctor_finds_what_every_broker_does_and_leaves_nothing_behind() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start(setup).await?;
        let examined = home.daemon.command(&["doctor", "--json"]).await?;
        assert_eq!(examined.code, Some(0), "{setup:?} {examined:?}");
        let findings: Vec<serde_json::Value> = serde_json::from_str(&examined.stdout)?;
        let verdict = |subject: &str| {
            let finding = findings.iter().find(|finding| finding["subject"] == subject);
            finding.map(|finding| finding["verdict"].as_str().unwrap_or_default().to_owned())
        };
        for subject in ["connection", "requests", "states", "answers", "session", "will"] {
            assert_eq!(verdict(subject).as_deref(), Some("ok"), "{setup:?} {findings:?}");
        }
        let information = if setup == Setup::Mosquitto { "note" } else { "ok" };
        assert_eq!(verdict("Response Information").as_deref(), Some(information), "{setup:?}");
        let answer = home.answer("light-in-bedroom/power", "ON").await?;
        assert_eq!(answer.text(), "ON", "{setup:?}: the daemon goes on");
        let everything = home.topic("#");
        let mut latecomer = Client::connect(&home.broker.access("phone"), "latecomer").await?;
        latecomer.subscribe(&everything).await?;
        let seen = latecomer.drain(&home.topic("response/latecomer/marker")).await?;
        assert!(seen.iter().any(|message| message.retain), "{setup:?} {seen:?}");
        let left = seen.iter().find(|message| message.topic.contains("doctor"));
        assert!(left.is_none(), "{setup:?} {left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_lists_what_bridges_keep_at_the_broker() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    let exposes = serde_json::json!([{"type": "light", "features": [{"name": "brightness"}]}]);
    let definition = serde_json::json!({"vendor": "IKEA", "model": "L1", "exposes": exposes});
    let lamp =
        serde_json::json!({"friendly_name": "Desk", "type": "Router", "definition": definition});
    let list = serde_json::json!([lamp]).to_string();
    let list = Message { retain: true, ..Message::new("zigbee2mqtt/bridge/devices", list) };
    home.phone.publish(list).await?;
    let listed = home.daemon.command(&["doctor", "--devices"]).await?;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let table = "[devices.desk.config]\nbackend = \"zigbee2mqtt\"\nbrightness = true\n\
                 zigbee2mqtt = { topic = \"zigbee2mqtt/Desk\" }\n";
    assert!(listed.stdout.contains(table), "{listed:?}");
    let json = home.daemon.command(&["doctor", "--devices", "--json"]).await?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout)?;
    assert_eq!(json["broker"]["devices"][0]["allow"][0], "zigbee2mqtt/#", "{json}");
    home.light_is_off().await
}

#[tokio::test]
async fn the_doctor_lists_the_machine_also_where_no_broker_answers() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let listed = home.daemon.command(&["doctor", "--devices"]).await?;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let Broker::Bundled(broker) = &mut home.broker else { unreachable!("that is its set-up") };
    broker.stop()?;
    let listed = home.daemon.command(&["doctor", "--devices", "--timeout", "1s"]).await?;
    assert_eq!(listed.code, Some(69), "{listed:?}");
    assert!(listed.stdout.contains("[devices.my-light]"), "{listed:?}");
    Ok(())
}
