//! The tables of the page are tables that the sensor takes.

use hearthd_sdk::harness::TestDevice;
use hearthd_sensor::Sensor;

#[test]
fn every_table_of_the_readme_is_taken() {
    let readme = include_str!("../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 6);
    for snippet in snippets {
        let whole: serde_json::Value = toml::from_str(snippet).expect("TOML");
        let devices = whole["devices"].as_object().expect("a table of devices");
        let device = devices.values().next().expect("a device");
        assert_eq!(device["plugin"], "sensor");
        assert_eq!(TestDevice::<Sensor>::problems(&device["config"]), [], "{snippet}");
    }
}
