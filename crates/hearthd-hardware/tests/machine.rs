//! Machines made of files.

use std::path::Path;

use hearthd_hardware::{
    GpioChip, LedFound, PwmChip, Root, Thermometer, gpio_chips, leds, pwm_chips, thermometers,
};
use hearthd_machine::Machine;
use serde_json::json;

fn thermometer(json: serde_json::Value) -> Thermometer {
    serde_json::from_value(json).expect("a thermometer")
}

fn read(root: &Root, json: serde_json::Value) -> Result<f64, String> {
    thermometer(json).read(root).map_err(|error| error.to_string())
}

const W1_SLAVE: &str =
    "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";

#[test]
fn every_kind_of_thermometer_is_read() {
    let machine = Machine::new().with(&[
        ("sys/bus/w1/devices/28-01/w1_slave", W1_SLAVE),
        ("sys/bus/w1/devices/28-02/temperature", "-1250\n"),
        ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "47774\n"),
        ("sys/class/hwmon/hwmon1/name", "tmp105\n"),
        ("sys/class/hwmon/hwmon1/temp2_input", "20500\n"),
        ("sys/bus/iio/devices/iio:device0/name", "bme280\n"),
        ("sys/bus/iio/devices/iio:device0/in_temp_input", "21730\n"),
        ("sys/bus/iio/devices/iio:device1/name", "sht\n"),
        ("sys/bus/iio/devices/iio:device1/in_temp_raw", "26000\n"),
        ("sys/bus/iio/devices/iio:device1/in_temp_offset", "-16852.233\n"),
        ("sys/bus/iio/devices/iio:device1/in_temp_scale", "2.670288\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48000\n"),
        ("run/room", "  19.25\n"),
    ]);
    let root = machine.root();
    assert_eq!(read(&root, json!({"w1": "28-01"})), Ok(23.125));
    assert_eq!(read(&root, json!({"w1": "28-02", "offset": -0.5})), Ok(-1.75));
    assert_eq!(read(&root, json!({"hwmon": {"name": "cpu_thermal"}})), Ok(47.774));
    assert_eq!(read(&root, json!({"hwmon": {"name": "hwmon1", "input": "temp2"}})), Ok(20.5));
    assert_eq!(read(&root, json!({"iio": {"name": "bme280"}})), Ok(21.73));
    let sht = read(&root, json!({"iio": {"name": "sht"}})).expect("a reading");
    assert!((sht - 24.427).abs() < 0.001, "{sht}");
    assert_eq!(read(&root, json!({"thermal_zone": "cpu-thermal"})), Ok(48.0));
    assert_eq!(read(&root, json!({"file": {"path": "/run/room"}})), Ok(19.25));
    let found = thermometers(&root);
    assert_eq!(found.len(), 7);
    assert!(found.iter().all(|found| found.reading.is_ok()), "{found:?}");
}

#[test]
fn what_is_absent_or_broken_says_where_and_what_is_there() {
    let machine = Machine::new().with(&[
        ("sys/bus/w1/devices/28-01/w1_slave", &W1_SLAVE.replace("YES", "NO")),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "warm\n"),
    ]);
    let root = machine.root();
    let place = machine.folder().display();
    let error = read(&root, json!({"w1": "28-02"})).unwrap_err();
    let expected = format!("no such sensor `28-02` in {place}/sys/bus/w1/devices; present: 28-01");
    assert_eq!(error, expected);
    let error = read(&root, json!({"hwmon": {"name": "x"}})).unwrap_err();
    assert!(error.ends_with("; there is none"), "{error}");
    assert!(read(&root, json!({"w1": "28-01"})).unwrap_err().contains("check sum"));
    let error = read(&root, json!({"thermal_zone": "cpu-thermal"})).unwrap_err();
    assert!(error.ends_with("`warm` is not a number"), "{error}");
    let error = read(&root, json!({"file": {"path": "/run/none"}})).unwrap_err();
    assert_eq!(error, format!("{place}/run/none: no such file"));
    assert_eq!(thermometers(&root).len(), 2, "a broken thermometer is listed");
}

#[test]
fn a_table_names_exactly_one_source() {
    let places = |json: serde_json::Value| -> Vec<&str> {
        thermometer(json).problems().into_iter().map(|(place, _)| place).collect()
    };
    assert_eq!(places(json!({"w1": "28-01"})), [""; 0]);
    assert_eq!(places(json!({})), [""]);
    assert_eq!(places(json!({"w1": "28-01", "thermal_zone": "x"})), [""]);
    assert_eq!(places(json!({"w1": "../x", "offset": 99})), ["offset", "w1"]);
    assert_eq!(places(json!({"hwmon": {"name": "x", "input": "a/b"}})), ["hwmon.input"]);
    assert_eq!(places(json!({"iio": {"name": ""}})), ["iio.name"]);
    let file = json!({"file": {"path": "run/x", "scale": 0}});
    assert_eq!(places(file), ["file.path", "file.scale"]);
}

#[test]
fn leds_pwm_and_gpio_chips_are_listed() {
    let machine = Machine::new().with(&[
        ("sys/class/leds/ACT/max_brightness", "255\n"),
        ("sys/class/leds/ACT/trigger", "none timer [mmc0] panic\n"),
        ("sys/class/pwm/pwmchip0/npwm", "4\n"),
        ("sys/devices/soc/fe200000.gpio/of_node/gpio-line-names", "ID_SDA\0ID_SCL\0\0GPIO3\0"),
        ("sys/devices/soc/fe200000.gpio/gpiochip0/uevent", ""),
        ("sys/devices/soc/fe200000.gpio/gpio/gpiochip512/label", "pinctrl-bcm2711\n"),
        ("sys/devices/soc/fe200000.gpio/gpio/gpiochip512/ngpio", "58\n"),
        ("sys/devices/soc/fe20c000.pwm/uevent", ""),
        ("dev/gpiochip0", ""),
        ("dev/gpiochip1", ""),
    ]);
    let root = machine.root();
    machine.link("sys/devices/soc/fe20c000.pwm", "sys/class/pwm/pwmchip0/device");
    machine.link("sys/devices/soc/fe200000.gpio/gpiochip0", "sys/bus/gpio/devices/gpiochip0");
    machine.link("sys/devices/soc/fe200000.gpio/gpio/gpiochip512", "sys/class/gpio/gpiochip512");
    let device = "sys/devices/soc/fe200000.gpio/gpio/gpiochip512/device";
    machine.link("sys/devices/soc/fe200000.gpio", device);
    let led = LedFound { name: "ACT".into(), max_brightness: 255, trigger: Some("mmc0".into()) };
    assert_eq!(leds(&root), [led]);
    let pwm = PwmChip { name: "pwmchip0".into(), device: Some("fe20c000.pwm".into()), channels: 4 };
    assert_eq!(pwm_chips(&root), [pwm]);
    let names = [(0, "ID_SDA"), (1, "ID_SCL"), (3, "GPIO3")];
    let named_lines = names.map(|(line, name)| (line, name.to_owned())).into();
    let first = GpioChip {
        name: "gpiochip0".into(),
        label: Some("pinctrl-bcm2711".into()),
        lines: Some(58),
        named_lines,
    };
    let second =
        GpioChip { name: "gpiochip1".into(), label: None, lines: None, named_lines: vec![] };
    assert_eq!(gpio_chips(&root), [first, second]);
}

#[test]
fn an_empty_machine_offers_nothing() {
    let root = Root::new(Path::new("/nonexistent"));
    assert!(thermometers(&root).is_empty() && leds(&root).is_empty());
    assert!(pwm_chips(&root).is_empty() && gpio_chips(&root).is_empty());
}
