//! The tables of the wiring page are tables that the thermostat takes.

use hearthd_sdk::harness::TestDevice;
use hearthd_thermostat::Thermostat;

#[test]
fn every_table_of_the_readme_is_taken() {
    let readme = include_str!("../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 4);
    for snippet in snippets {
        let whole: serde_json::Value = toml::from_str(snippet).expect("TOML");
        let config = &whole["devices"]["living-room"]["config"];
        assert_eq!(TestDevice::<Thermostat>::problems(config), [], "{snippet}");
    }
}
