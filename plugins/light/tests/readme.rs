//! The tables of the wiring page are tables that the light takes.

use hearthd_light::Light;
use hearthd_sdk::harness::TestDevice;

#[test]
fn every_table_of_the_readme_is_taken() {
    let readme = include_str!("../README.md");
    let snippets: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 8);
    for snippet in snippets {
        let whole: serde_json::Value = toml::from_str(snippet).expect("TOML");
        let config = &whole["devices"]["light-in-bedroom"]["config"];
        assert_eq!(TestDevice::<Light>::problems(config), [], "{snippet}");
    }
}
