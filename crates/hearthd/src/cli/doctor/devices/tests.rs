//! The doctor on a machine made of files.

use hearthd_hardware::Thermometer;
use hearthd_machine::Machine;

use super::*;

fn machine() -> Machine {
    let machine = Machine::new().with(&[
        (
            "sys/bus/w1/devices/28-01/w1_slave",
            "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n",
        ),
        ("sys/bus/w1/devices/28-02/w1_slave", "00 00 00 00 00 00 00 00 00 : crc=00 YES\n"),
        ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "47774\n"),
        ("sys/class/leds/ACT/max_brightness", "255\n"),
        ("sys/class/leds/ACT/trigger", "none [mmc0]\n"),
        ("sys/devices/fe20c000.pwm/uevent", ""),
        ("sys/class/pwm/pwmchip0/npwm", "2\n"),
        ("sys/bus/gpio/devices/gpiochip0/of_node/gpio-line-names", "\0\0GPIO2\0GPIO3\0"),
        ("dev/gpiochip0", ""),
    ]);
    machine.link("sys/devices/fe20c000.pwm", "sys/class/pwm/pwmchip0/device");
    machine
}

fn config(snippet: &str, device: &str) -> toml::Value {
    let whole: toml::Value = toml::from_str(snippet).expect("TOML");
    whole["devices"][device]["config"].clone()
}

#[test]
fn the_snippet_is_a_configuration_with_the_sensors_of_the_room() {
    let snippet = Offer::of(&machine().root()).to_snippet();
    let thermostat = config(&snippet, "my-thermostat");
    let sensors: Vec<Thermometer> = thermostat["sensors"].clone().try_into().expect("thermometers");
    let expected = Thermometer { w1: Some("28-01".into()), ..Thermometer::default() };
    assert_eq!(sensors, [expected]);
    assert!(snippet.contains("# 23.1 °C"), "{snippet}");
    assert!(
        snippet.contains("# { hwmon = { input = \"temp1\", name = \"cpu_thermal\" } }"),
        "{snippet}"
    );
    assert!(snippet.contains("all zero: the bus is short"), "{snippet}");
    assert_eq!(config(&snippet, "my-light")["backend"].as_str(), Some("simulated"));
}

#[test]
fn each_output_becomes_one_by_taking_its_comment_off() {
    let snippet = Offer::of(&machine().root()).to_snippet();
    let light = snippet.split("[devices.my-light.config]").nth(1).expect("a light");
    let mut outputs = Vec::new();
    for line in light.lines().filter_map(|line| line.strip_prefix("# ")) {
        let table: toml::Table = toml::from_str(line).expect("TOML behind the comment");
        outputs.extend(table.into_iter().filter(|(key, _)| key != "backend"));
    }
    let led: toml::Table = toml::from_str("name = \"ACT\"").expect("TOML");
    let gpio: toml::Table = toml::from_str("chip = \"gpiochip0\"\nline = \"GPIO2\"").expect("TOML");
    let pwm = |channel: i64| {
        let mut pwm = toml::Table::new();
        pwm.insert("chip".into(), "fe20c000.pwm".into());
        pwm.insert("channel".into(), channel.into());
        pwm
    };
    let expected = [("gpio", gpio), ("led", led), ("pwm", pwm(0)), ("pwm", pwm(1))];
    let expected = expected.map(|(key, table)| (key.to_owned(), toml::Value::Table(table)));
    assert_eq!(outputs, expected);
}

#[test]
fn an_empty_machine_gives_a_snippet_too() {
    let offer = Offer::of(&Machine::new().root());
    let thermostat = config(&offer.to_snippet(), "my-thermostat");
    assert_eq!(thermostat["sensors"].as_array().map(Vec::len), Some(0));
    assert_eq!(offer.to_json()["leds"], json!([]));
}

fn retained(topic: &str, bytes: usize) -> Message {
    Message {
        topic: topic.into(),
        payload: vec![b' '; bytes].into(),
        retain: true,
        ..Message::default()
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_named() {
    let mut kept = Kept::default();
    kept.take(retained("zigbee2mqtt/bridge/devices", LARGEST_LIST));
    kept.take(retained("homeassistant/light/small/config", LARGEST));
    assert_eq!(kept.omission(), None);
    kept.take(retained("homeassistant/light/large/config", LARGEST + 1));
    let omission = kept.omission().expect("one was too large");
    assert!(omission.starts_with("homeassistant/light/large/config did not fit"), "{omission}");
    for index in 0..200 {
        kept.take(retained(&format!("homeassistant/light/{index}/config"), LARGEST));
    }
    let bytes = kept.messages.iter().map(|(topic, payload)| topic.len() + payload.len()).sum();
    assert_eq!((kept.bytes, kept.messages.len() + kept.left_out.len()), (bytes, 203));
    assert!(bytes <= MOST, "{bytes}");
    // The same topic again takes the place of what it was.
    kept.take(retained("homeassistant/light/small/config", 1));
    assert_eq!(kept.bytes, bytes - LARGEST + 1);
    assert!(kept.omission().is_some_and(|line| line.contains(" more did not fit")));
}

#[test]
fn json_tells_the_same() {
    let told = Offer::of(&machine().root()).to_json();
    assert_eq!(told["thermometers"][0], json!({"sensor": {"w1": "28-01"}, "celsius": 23.125}));
    let error = told["thermometers"][1]["error"].as_str().expect("an error");
    assert!(error.contains("all zero"), "{error}");
    assert_eq!(told["leds"][0]["trigger"], "mmc0");
    assert_eq!(told["pwm_chips"][0]["device"], "fe20c000.pwm");
    assert_eq!(told["gpio_chips"][0]["named_lines"], json!([[2, "GPIO2"], [3, "GPIO3"]]));
}
