//! Programs behind properties, in the daemon.

use hearthd_tests::{Message, Result, client::PATIENCE};

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_program_answers_with_its_state_or_with_what_went_wrong() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |config| {
        config.plugins = &["light", "thermostat", "command"];
        config.devices += r#"
[devices.desk]
plugin = "command"
[devices.desk.config.properties.height]
type = "integer"
min = 60
max = 130
unit = "cm"
set = { run = ["sh", "-c", "echo \"now at $0 cm\"", "{value}"], state = "output" }
read = { after = "now at ", before = " cm" }
[devices.desk.config.properties.lock]
type = "switch"
set = { run = ["sh", "-c", "echo 'the motor is hot' >&2; exit 1"] }
[devices.desk.config.properties.bell]
type = "event"
values = ["press", "long"]
listen = { run = ["sh", "-c", "while sleep 0.1; do echo long; done"] }
"#;
    })
    .await?;
    let events = home.topic("event/desk");
    home.phone.subscribe(&events).await?;
    home.daemon.start(&mut home.phone).await?;
    let raised = home.answer("desk/height", "110").await?;
    assert_eq!((raised.status(), raised.text().as_str()), (Some(200), "110"));
    let locked = home.answer("desk/lock", "ON").await?;
    assert_eq!(locked.status(), Some(500), "{}", locked.text());
    let message = locked.property("__stMsg").unwrap_or_default();
    assert!(message.contains("the motor is hot"), "{message}");
    let told = |m: &Message| m.topic == events && m.text().contains("long");
    let rung = home.phone.expect("the bell", PATIENCE, told).await?;
    assert_eq!(rung.json()?["property"], "bell", "{rung:?}");
    assert!(!rung.retain, "{rung:?}");
    assert_eq!(home.answer("desk/bell", "").await?.status(), Some(422));
    Ok(())
}

#[tokio::test]
async fn the_check_names_a_program_that_does_not_exist_and_a_name_that_nothing_replaces()
-> Result<()> {
    let home = Home::prepare(Setup::Bundled, |config| {
        config.plugins = &["light", "thermostat", "command"];
        config.devices += r#"
[devices.desk]
plugin = "command"
[devices.desk.config.properties.height]
type = "integer"
set = { run = ["no-such-desk", "--to={value}"] }
[devices.desk.config.properties.lock]
type = "switch"
set = { run = ["true", "{vlaue}"] }
"#;
    })
    .await?;
    let checked = home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    for says in [
        "devices.desk.config.properties.height.set.run: no program `no-such-desk` in /",
        "devices.desk.config.properties.lock.set.run: `{vlaue}` is unknown: only `{value}` is replaced",
    ] {
        assert!(checked.stderr.contains(says), "{says}: {checked:?}");
    }
    Ok(())
}
