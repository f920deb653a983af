//! The tables of the page are tables that the thermostat takes.

use hearthd_sdk::harness::TestDevice;
use hearthd_thermostat::Thermostat;

#[test]
fn every_table_of_the_readme_is_taken() {
    let readme = include_str!("../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 6);
    for snippet in snippets {
        let whole: serde_json::Value = toml::from_str(snippet).expect("TOML");
        let config = &whole["devices"]["living-room"]["config"];
        assert_eq!(TestDevice::<Thermostat>::problems(config), [], "{snippet}");
    }
    // The tables of other actuators.
    let actuators: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(table, _)| table)
        .filter(|table| table.ends_with(" }"))
        .collect();
    assert_eq!(actuators.len(), 4);
    for table in actuators {
        let actuator: serde_json::Value = toml::from_str(table).expect("TOML");
        let config = serde_json::json!({
            "backend": "hardware", "sensors": [{"w1": "28-0000075a9f3c"}], "actuator": actuator,
        });
        assert_eq!(TestDevice::<Thermostat>::problems(&config), [], "{table}");
    }
}
