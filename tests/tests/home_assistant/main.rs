//! A home as a real Home Assistant shows it: `cargo xtask nightly ha`.

mod assistant;

use std::fs;

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, HearthBroker, Mosquitto, Result, mosquitto::Kind,
    process::Signal,
};
use serde_json::json;
use tempfile::TempDir;

use assistant::Assistant;

#[tokio::test]
async fn a_home_at_the_bundled_broker_is_shown_and_obeys() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let password = folder.path().join("password");
    fs::write(&password, "password-of-hub")?;
    let others = folder.path().join("password-of-others");
    fs::write(&others, "password-of-assistant")?;
    // What `hearth-broker account add assistant --for home-assistant` writes.
    let text = format!(
        "home = \"home\"\n[storage]\ndirectory = {:?}\n[[account]]\nname = \"hub\"\nrole = \"hub\"\n\
         password_file = {password:?}\nclient_ids = [\"hearthd-*\"]\n\
         rights = [{{ filter = \"homeassistant/#\" }}]\n[[account]]\nname = \"assistant\"\n\
         role = \"resident\"\npassword_file = {others:?}\nrights = [{{ filter = \"homeassistant/#\" }}]\n",
        folder.path().join("storage")
    );
    let broker = HearthBroker::start_configured(&built, folder.path(), &text).await?;
    let access = [broker.access("hub"), broker.access("assistant")];
    evening(&built, &folder, "bundled", access).await
}

#[tokio::test]
async fn a_home_at_mosquitto_is_shown_and_obeys() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Mosquitto::start(Kind::Open).await?;
    let access = [broker.access(None), broker.access(None)];
    evening(&built, &folder, "mosquitto", access).await
}

async fn evening(
    built: &Built,
    folder: &TempDir,
    name: &str,
    [hub, other]: [Access; 2],
) -> Result<()> {
    let mut config = DaemonConfig::new(hub);
    config.tables = "[home_assistant]\ndiscovery = true\n".into();
    config.plugins = &["light", "thermostat", "command"];
    config.devices = DEVICES.into();
    let mut daemon = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
    let mut observer = Client::connect(&other, "observer").await?;
    daemon.start(&mut observer).await?;
    let mut home = Assistant::start(name, &other).await?;
    shown(&home).await?;
    light_obeys(&home).await?;
    climate_obeys(&home).await?;
    failure_shows(&home).await?;

    // SIGKILL: the will says so. Then all is as it was.
    daemon.kill9()?;
    for entity in [LIGHT, "climate.living_room", "switch.relay_power"] {
        home.until(&format!("{{{{ states('{entity}') }}}}"), "unavailable").await?;
    }
    home.until("{{ states('binary_sensor.hearthd_demo_connected') }}", "off").await?;
    daemon.start(&mut observer).await?;
    home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
    home.until("{{ states('sensor.hearthd_demo_absence') }}", "unconsumed").await?;

    // A reload that removes one device, and a property of another.
    let file = daemon.config().to_owned();
    let text = fs::read_to_string(&file)?;
    let (before, _) = text.split_once("[devices.relay]").expect("it is there");
    fs::write(&file, before.replace("color_temperature = { min = 2200, max = 6500 }", ""))?;
    daemon.process()?.signal(Signal::HUP)?;
    daemon.logged("reloaded").await?;
    home.until("{{ states.switch.relay_power is none }}", "True").await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'min_color_temp_kelvin') }}", "None")
        .await?;

    home.restart().await?;
    home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
    home.until("{{ states.switch.relay_power is none }}", "True").await?;
    light_obeys_again(&home).await?;

    // What is announced no more goes, and leaves nothing.
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text.replace("discovery = true", "discovery = false"))?;
    daemon.process()?.signal(Signal::HUP)?;
    home.until("{{ states.light.light_in_bedroom is none }}", "True").await?;
    home.until("{{ states.climate.living_room is none }}", "True").await?;
    home.until("{{ states.binary_sensor.hearthd_demo_connected is none }}", "True").await?;
    assert_eq!(home.troubles(), [""; 0]);
    Ok(())
}

/// Every device is there, with names and IDs that a person would give, where the configuration says.
async fn shown(home: &Assistant) -> Result<()> {
    home.until("{{ states('light.light_in_bedroom') }}", "off").await?;
    home.until("{{ states('switch.relay_power') }}", "off").await?;
    home.until("{{ states('climate.living_room') }}", "off").await?;
    for (template, expected) in [
        ("{{ area_name('light.light_in_bedroom') }}", "Bedroom"),
        ("{{ state_attr('light.light_in_bedroom', 'friendly_name') }}", "Bedroom light"),
        (
            "{{ state_attr('number.light_in_bedroom_transition', 'friendly_name') }}",
            "Bedroom light Transition",
        ),
        ("{{ device_attr('light.light_in_bedroom', 'model') }}", "light"),
        (
            "{{ device_attr(device_attr('light.light_in_bedroom', 'via_device_id'), 'name') }}",
            "hearthd-demo",
        ),
        ("{{ state_attr('climate.living_room', 'hvac_modes') | join(' ') }}", "off heat"),
        (
            "{{ state_attr('climate.living_room', 'preset_modes') | join(' ') }}",
            "none comfort eco away boost",
        ),
        (
            "{{ state_attr('light.light_in_bedroom', 'supported_color_modes') | join(' ') }}",
            "color_temp",
        ),
        ("{{ states('binary_sensor.hearthd_demo_connected') }}", "on"),
        ("{{ states('sensor.hearthd_demo_not_ready') }}", "0"),
        ("{{ states('sensor.relay_status') }}", "ready"),
        ("{{ states('binary_sensor.relay_problem') }}", "off"),
    ] {
        home.until(template, expected).await?;
    }
    Ok(())
}

async fn light_obeys(home: &Assistant) -> Result<()> {
    let on = json!({ "entity_id": LIGHT, "brightness": 107, "color_temp_kelvin": 3000, "transition": 0 });
    home.call("light", "turn_on", on).await?;
    home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'brightness') }}", "107").await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'color_temp_kelvin') }}", "3000").await?;
    home.call("light", "turn_off", json!({ "entity_id": LIGHT })).await?;
    home.until("{{ states('light.light_in_bedroom') }}", "off").await?;
    home.call("light", "toggle", json!({ "entity_id": LIGHT })).await?;
    home.until("{{ states('light.light_in_bedroom') }}", "on").await
}

async fn light_obeys_again(home: &Assistant) -> Result<()> {
    home.call("light", "turn_on", json!({ "entity_id": LIGHT, "brightness_pct": 80 })).await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'brightness') }}", "204").await
}

async fn climate_obeys(home: &Assistant) -> Result<()> {
    let entity = "climate.living_room";
    let mode = json!({ "entity_id": entity, "hvac_mode": "heat" });
    home.call("climate", "set_hvac_mode", mode).await?;
    home.until("{{ states('climate.living_room') }}", "heat").await?;
    let temperature = json!({ "entity_id": entity, "temperature": 22.5 });
    home.call("climate", "set_temperature", temperature).await?;
    home.until("{{ state_attr('climate.living_room', 'temperature') }}", "22.5").await?;
    home.until("{{ state_attr('climate.living_room', 'hvac_action') }}", "heating").await?;
    for preset in ["eco", "none"] {
        let preset_mode = json!({ "entity_id": entity, "preset_mode": preset });
        home.call("climate", "set_preset_mode", preset_mode).await?;
        home.until("{{ state_attr('climate.living_room', 'preset_mode') }}", preset).await?;
    }
    let off = json!({ "entity_id": entity });
    home.call("climate", "turn_off", off).await?;
    home.until("{{ states('climate.living_room') }}", "off").await
}

/// A command that comes to nothing is told, and the entity shows what is so.
async fn failure_shows(home: &Assistant) -> Result<()> {
    let relay = json!({ "entity_id": "switch.relay_power" });
    home.call("switch", "turn_on", relay).await?;
    home.until("{{ states('binary_sensor.relay_problem') }}", "on").await?;
    let event = "{{ state_attr('event.relay_command_failed', 'event_type') }}";
    home.until(event, "failed").await?;
    let said = "{{ state_attr('event.relay_command_failed', 'property') }} \
                {{ state_attr('event.relay_command_failed', 'payload') }} \
                {{ state_attr('event.relay_command_failed', 'status') }}";
    home.until(said, "power ON 500").await?;
    home.until("{{ states('switch.relay_power') }}", "off").await?;
    let fan = json!({ "entity_id": "switch.relay_fan" });
    home.call("switch", "turn_on", fan).await?;
    home.until("{{ states('switch.relay_fan') }}", "on").await?;
    home.until("{{ states('binary_sensor.relay_problem') }}", "off").await
}

const LIGHT: &str = "light.light_in_bedroom";

/// The relay's power cannot be switched on; its fan can.
const DEVICES: &str = r#"
[devices.light-in-bedroom]
plugin = "light"
name = "Bedroom light"
room = "Bedroom"
[devices.light-in-bedroom.config]
backend = "simulated"
brightness = true
color_temperature = { min = 2200, max = 6500 }

[devices.living-room]
plugin = "thermostat"
name = "Living room"
[devices.living-room.config]
backend = "simulated"
period = 1
simulated = { start = 18.0, outside = 5.0, heating_rate = 0.5, loss = 0.001 }

[devices.relay]
plugin = "command"
[devices.relay.config.properties.power]
type = "switch"
set = { run = ["false"] }
get = { run = ["echo", "OFF"] }
[devices.relay.config.properties.fan]
type = "switch"
set = { run = ["true"] }
"#;
