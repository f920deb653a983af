//! The tables of the page are tables that the group and the scene take.

use hearthd_group::{Group, Scene};
use hearthd_sdk::harness::TestDevice;

#[test]
fn every_table_of_the_readme_is_taken() {
    let readme = include_str!("../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 3);
    for snippet in snippets {
        let whole: serde_json::Value = toml::from_str(snippet).expect("TOML");
        let devices = whole["devices"].as_object().expect("a table of devices");
        for device in devices.values() {
            let problems = match device["plugin"].as_str() {
                Some("group") => TestDevice::<Group>::problems(&device["config"]),
                Some("scene") => TestDevice::<Scene>::problems(&device["config"]),
                other => panic!("{other:?}"),
            };
            assert_eq!(problems, [], "{snippet}");
        }
    }
}
