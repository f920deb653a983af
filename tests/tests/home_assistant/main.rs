//! A home as a real Home Assistant shows it: `cargo xtask nightly ha`.

mod assistant;
mod broker;
mod gamut;
mod older;
mod picture;

use std::{fs, path::Path, time::Duration};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing as _, Failure, Message, Result,
    client::PATIENCE,
    daemon::under,
    process::{Signal, eventually},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use assistant::Assistant;
use broker::Broker;
use older::OlderBroker;

#[tokio::test]
async fn a_home_at_the_bundled_broker_is_shown_and_obeys() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Broker::bundled(&built, folder.path()).await?;
    Evening::begin(&built, folder.path(), broker, "5").await?.pass(folder.path()).await
}

#[tokio::test]
async fn a_home_at_mosquitto_is_shown_and_obeys() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Broker::mosquitto().await?;
    Evening::begin(&built, folder.path(), broker, "5").await?.pass(folder.path()).await
}

#[tokio::test]
#[ignore = "`cargo xtask nightly ha` sets a machine up as the README says, and runs this in its network"]
async fn the_lamp_of_the_readme_is_shown_and_obeys() -> Result<()> {
    let password = std::env::var("HEARTH_HA_PASSWORD").doing("run `cargo xtask nightly ha`")?;
    let access = Access { port: 1883, login: Some(("home-assistant".into(), password)) };
    let home = Assistant::start("readme", &access, "5").await?;
    home.until("{{ states('light.light_in_bedroom') }}", "off").await?;
    home.until("{{ area_name('light.light_in_bedroom') }}", "Bedroom").await?;
    light_obeys_again(&home).await?;
    home.until("{{ states('climate.heating') }}", "off").await?;
    assert_eq!(home.troubles(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn one_that_was_set_up_for_mqtt_3_1_1_is_at_5_and_its_commands_are_done() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    for broker in [Broker::bundled(&built, folder.path()).await?, Broker::mosquitto().await?] {
        let hub = folder.path().join(broker.name());
        let evening = Evening::begin(&built, &hub, broker, "3.1.1").await?;
        evening.home.until("{{ states('light.light_in_bedroom') }}", "off").await?;
        light_obeys(&evening.home).await?;
        let is_at_5 = || Ok((evening.home.protocol()? == "5").then_some(()));
        eventually("a connection by MQTT 5", PATIENCE, is_at_5).await?;
        assert_eq!(evening.home.troubles(), [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn one_that_stays_at_3_1_1_shows_the_home_and_its_commands_are_done() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    for broker in [Broker::bundled(&built, folder.path()).await?, Broker::mosquitto().await?] {
        let hub = folder.path().join(broker.name());
        let older = OlderBroker::start(broker.assistant().port).await?;
        let access = Access { port: older.port(), ..broker.assistant() };
        let mut evening = Evening::begin_at(&built, &hub, broker, &access, "3.1.1").await?;
        shown(&evening.home).await?;
        // It says itself that it cannot send what expires.
        let on = json!({ "entity_id": LIGHT });
        let refused = evening.home.call("light", "turn_on", on).await;
        assert!(refused.is_err_and(|Failure(why)| why.contains(": 400: ")));
        evening
            .edit(|text| text.replace("discovery = true", "discovery = true\nexpiry = false"))?;
        evening.reload().await?;
        evening.takes_commands().await?;
        gamut::shown(&evening.home).await?;
        gamut::obeys(&evening.home).await?;
        light_obeys(&evening.home).await?;
        colors(&evening.home).await?;
        evening.the_lamp_gets_what_is_called().await?;
        climate_obeys(&evening.home).await?;
        failure_shows(&evening.home).await?;
        evening.kill_the_hub().await?;
        assert_eq!(evening.home.protocol()?, "3.1.1");
        assert_eq!(evening.home.troubles(), [""; 0]);
    }
    Ok(())
}

/// A home, and a Home Assistant that shows it.
struct Evening {
    broker: Broker,
    daemon: Daemon,
    observer: Client,
    home: Assistant,
}

impl Evening {
    async fn begin(built: &Built, folder: &Path, broker: Broker, protocol: &str) -> Result<Self> {
        let access = broker.assistant();
        Self::begin_at(built, folder, broker, &access, protocol).await
    }

    /// Begins with a Home Assistant that reaches the broker in a way of its own.
    async fn begin_at(
        built: &Built,
        folder: &Path,
        broker: Broker,
        access: &Access,
        protocol: &str,
    ) -> Result<Self> {
        let mut config = DaemonConfig::new(broker.hub());
        config.tables = "[home_assistant]\ndiscovery = true\n".into();
        config.plugins = &["light", "thermostat", "command", "gamut"];
        config.devices = format!("{DEVICES}{}", gamut::DEVICE);
        let mut daemon = Daemon::prepare(built, &folder.join("hub"), &config)?;
        let mut observer = Client::connect(&broker.assistant(), "observer").await?;
        daemon.start(&mut observer).await?;
        let home = Assistant::start(broker.name(), access, protocol).await?;
        Ok(Self { broker, daemon, observer, home })
    }

    async fn pass(mut self, folder: &Path) -> Result<()> {
        shown(&self.home).await?;
        gamut::shown(&self.home).await?;
        gamut::obeys(&self.home).await?;
        light_obeys(&self.home).await?;
        colors(&self.home).await?;
        self.the_lamp_gets_what_is_called().await?;
        climate_obeys(&self.home).await?;
        failure_shows(&self.home).await?;
        away_alone(&self.home).await?;
        picture::lamp(&self.home, folder).await?;
        self.kill_the_hub().await?;
        self.restart_the_broker().await?;
        self.reload_with_more().await?;
        self.reload_with_less().await?;
        self.home.restart().await?;
        self.home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
        self.home.until("{{ states.switch.relay_power is none }}", "True").await?;
        light_obeys_again(&self.home).await?;
        self.announce_no_more().await?;
        assert_eq!(self.home.troubles(), [""; 0]);
        Ok(())
    }

    /// Waits until Home Assistant knows that commands do not expire any more.
    async fn takes_commands(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let off = json!({ "entity_id": LIGHT });
        while let Err(failure) = self.home.call("light", "turn_off", off.clone()).await {
            if Instant::now() > end {
                return Err(failure);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What is called through the API is what the device says that it is.
    async fn the_lamp_gets_what_is_called(&mut self) -> Result<()> {
        let prefix = self.observer.response_information().map(str::to_owned);
        let topic = |property: &str| {
            under(prefix.as_deref(), &format!("state/light-in-bedroom/{property}"))
        };
        let all = json!({ "entity_id": LIGHT, "brightness_pct": 60, "rgb_color": [0, 0, 255] });
        self.home.call("light", "turn_on", all).await?;
        self.home.until("{{ state_attr('light.light_in_bedroom', 'brightness') }}", "153").await?;
        for (property, expected) in [("power", "ON"), ("brightness", "60"), ("color", "#0000ff")] {
            self.observer.subscribe(&topic(property)).await?;
            let is = |m: &Message| m.topic == topic(property) && m.text() == expected;
            self.observer.expect(property, PATIENCE, is).await?;
        }
        Ok(())
    }

    /// SIGKILL: the will says so. Then all is as it was.
    async fn kill_the_hub(&mut self) -> Result<()> {
        self.daemon.kill9()?;
        for entity in [LIGHT, "climate.living_room", "switch.relay_power", "switch.pump_pump"] {
            self.home.until(&format!("{{{{ states('{entity}') }}}}"), "unavailable").await?;
        }
        self.home.until("{{ states('binary_sensor.hearthd_demo_connected') }}", "off").await?;
        self.daemon.start(&mut self.observer).await?;
        self.home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
        self.home.until("{{ states('sensor.hearthd_demo_absence') }}", "unconsumed").await
    }

    /// The broker is killed, one of them with all that it had retained.
    async fn restart_the_broker(&mut self) -> Result<()> {
        self.broker.stop()?;
        self.home.until("{{ states('light.light_in_bedroom') }}", "unavailable").await?;
        self.broker.start_again().await?;
        self.observer = Client::connect(&self.broker.assistant(), "observer").await?;
        self.home.until("{{ states('light.light_in_bedroom') }}", "on").await?;
        self.home.until("{{ states('climate.living_room') }}", "off").await?;
        self.home.until("{{ states('switch.pump_pump') }}", "off").await?;
        light_obeys_again(&self.home).await
    }

    /// A reload that adds a device and a property, and changes a name, a room and a range.
    async fn reload_with_more(&mut self) -> Result<()> {
        self.edit(|text| {
            let text = text.replace("name = \"Bedroom light\"", "name = \"Reading lamp\"");
            let text = text.replace("room = \"Bedroom\"", "room = \"Study\"");
            let text = text.replace("max = 6500", "max = 5000");
            let (before, after) = text.split_once("[devices.relay]").expect("it is there");
            format!("{before}{FAN}[devices.relay]{after}{VALVE}")
        })?;
        self.reload().await?;
        let home = &self.home;
        home.until("{{ states('switch.fan_power') }}", "off").await?;
        home.until("{{ area_name('switch.fan_power') }}", "Attic").await?;
        home.until("{{ state_attr('number.relay_valve', 'max') }}", "40.0").await?;
        home.until("{{ device_attr('light.light_in_bedroom', 'name') }}", "Reading lamp").await?;
        let name = "{{ state_attr('number.light_in_bedroom_transition', 'friendly_name') }}";
        home.until(name, "Reading lamp Transition").await?;
        let max = "{{ state_attr('light.light_in_bedroom', 'max_color_temp_kelvin') }}";
        home.until(max, "5000").await?;
        // A room is a suggestion for a new device: where a person has it now is theirs to say.
        home.until("{{ area_name('light.light_in_bedroom') }}", "Bedroom").await
    }

    /// A reload that removes devices, and a property of another.
    async fn reload_with_less(&mut self) -> Result<()> {
        self.edit(|text| {
            let (before, _) = text.split_once("[devices.fan]").expect("it is there");
            before.replace("color_temperature = { min = 2200, max = 5000 }", "")
        })?;
        self.reload().await?;
        let home = &self.home;
        let gone =
            ["switch.relay_power", "switch.fan_power", "switch.shed_power", "switch.pump_pump"];
        for gone in gone {
            home.until(&format!("{{{{ states.{gone} is none }}}}"), "True").await?;
        }
        home.until("{{ states('sensor.hearthd_demo_not_ready') }}", "0").await?;
        let min = "{{ state_attr('light.light_in_bedroom', 'min_color_temp_kelvin') }}";
        home.until(min, "None").await
    }

    /// What is announced no more goes, and leaves nothing.
    async fn announce_no_more(&mut self) -> Result<()> {
        self.edit(|text| text.replace("discovery = true", "discovery = false"))?;
        self.daemon.process()?.signal(Signal::HUP)?;
        let gone = [LIGHT, "climate.living_room", "binary_sensor.hearthd_demo_connected"];
        for gone in gone {
            self.home.until(&format!("{{{{ states.{gone} is none }}}}"), "True").await?;
        }
        Ok(())
    }

    fn edit(&self, change: impl FnOnce(String) -> String) -> Result<()> {
        let file = self.daemon.config();
        Ok(fs::write(file, change(fs::read_to_string(file)?))?)
    }

    async fn reload(&mut self) -> Result<()> {
        self.daemon.process()?.signal(Signal::HUP)?;
        self.daemon.logged("reloaded").await
    }
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
            "{{ state_attr('light.light_in_bedroom', 'supported_color_modes') | sort | join(' ') }}",
            "color_temp hs",
        ),
        ("{{ states('binary_sensor.hearthd_demo_connected') }}", "on"),
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

/// White and colors in one lamp: the last one that was set is shown.
async fn colors(home: &Assistant) -> Result<()> {
    let mode = "{{ state_attr('light.light_in_bedroom', 'color_mode') }}";
    let color = "{{ state_attr('light.light_in_bedroom', 'rgb_color') | join(' ') }}";
    home.until(mode, "color_temp").await?;
    let red = json!({ "entity_id": LIGHT, "rgb_color": [255, 0, 0], "brightness": 107 });
    home.call("light", "turn_on", red).await?;
    home.until(mode, "hs").await?;
    home.until(color, "255 0 0").await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'brightness') }}", "107").await?;
    home.call("light", "turn_on", json!({ "entity_id": LIGHT, "hs_color": [120, 50] })).await?;
    home.until(color, "128 255 128").await?;
    let white = json!({ "entity_id": LIGHT, "color_temp_kelvin": 2700 });
    home.call("light", "turn_on", white).await?;
    home.until(mode, "color_temp").await?;
    home.until("{{ state_attr('light.light_in_bedroom', 'color_temp_kelvin') }}", "2700").await
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

/// A device that is not there is unavailable, and no other; its status says why.
async fn away_alone(home: &Assistant) -> Result<()> {
    home.until("{{ states('switch.shed_power') }}", "unavailable").await?;
    home.until("{{ states('sensor.shed_status') }}", "unreachable").await?;
    home.until("{{ state_attr('sensor.shed_status', 'reason') }}", "sh: exit status: 69").await?;
    home.until("{{ state_attr('sensor.shed_status', 'since') is none }}", "False").await?;
    home.until("{{ states('sensor.hearthd_demo_not_ready') }}", "1").await?;
    home.until("{{ states('switch.relay_power') }}", "off").await?;
    home.until("{{ state_attr('sensor.relay_status', 'reason') is none }}", "True").await
}

const LIGHT: &str = "light.light_in_bedroom";
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The relay's power cannot be switched on, its fan can; the shed is not there.
const DEVICES: &str = r#"
[devices.light-in-bedroom]
plugin = "light"
name = "Bedroom light"
room = "Bedroom"
[devices.light-in-bedroom.config]
backend = "simulated"
brightness = true
color_temperature = { min = 2200, max = 6500 }
color = true

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

[devices.shed]
plugin = "command"
[devices.shed.config.properties.power]
type = "switch"
set = { run = ["true"] }
get = { run = ["sh", "-c", "exit 69"], every = "1s" }
"#;

const FAN: &str = r#"
[devices.fan]
plugin = "command"
name = "Fan"
room = "Attic"
[devices.fan.config.properties.power]
type = "switch"
set = { run = ["true"] }
get = { run = ["echo", "OFF"] }

"#;

/// A property more of the relay.
const VALVE: &str = r#"
[devices.relay.config.properties.valve]
type = "integer"
min = 0
max = 40
set = { run = ["true"] }
get = { run = ["echo", "7"] }
"#;
