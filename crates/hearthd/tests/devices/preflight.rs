//! What `hearthd check` finds in one run: in the file, in the plugins' folders, and in each device's own table.

use std::{fs, path::Path};

use hearthd::{
    device::Checked,
    plugin::Plugins,
    preflight::{self, Accepted},
};
use tempfile::TempDir;

use crate::{built::plugin, test_devices::launcher};

/// Checks a configuration whose plugin folder has the rogue one; lines begin after the folder's name.
fn check(text: &str) -> Result<Accepted, Vec<String>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    fs::copy(plugin("rogue"), folder.path().join("plugins/rogue.so")).expect("the plugin is built");
    check_in(&folder, text)
}

fn check_in(folder: &TempDir, text: &str) -> Result<Accepted, Vec<String>> {
    let file = folder.path().join("c.toml");
    fs::write(&file, text).expect("the folder can be written to");
    let known = Plugins::none(&launcher());
    let staging = tempfile::tempdir().expect("a temporary folder");
    let accepted = preflight::check(&file, &known, &Checked::default(), staging.path());
    let before = folder.path().display().to_string() + "/";
    accepted.map_err(|problems| {
        problems.to_string().lines().map(|line| line.replace(&before, "")).collect()
    })
}

#[test]
fn every_mistake_is_told_in_one_run() {
    let problems = check(
        r#"[plugins]
path = ["plugins"]
[devices.a]
plugin = "rouge"
deadline = 5
[devices.b]
plugin = "rogue"
config = { mrak = 1 }
[devices.c]
plugin = "rogue"
config = { mark = "5s" }
[devices.d]
plugin = "toaster"
[devices.e]
plugin = "rogue"
config = { mark = nan }
[devices.f]
plugin = "rogue"
name = bare
config = { mrak = 1 }
[requests]
queue = 0
"#,
    );
    assert_eq!(
        problems.unwrap_err(),
        [
            "c.toml:4:10: devices.a.plugin: no plugin provides `rouge`; did you mean `rogue`?",
            "c.toml:5:12: devices.a.deadline: must be a duration in quotes such as \"10s\", \"500ms\" \
             or \"7d\", not a whole number",
            "c.toml:8:19: devices.b.config.mrak: unknown field `mrak`; did you mean `mark`?",
            "c.toml:11:19: devices.c.config.mark: must be a whole number, not the text \"5s\"",
            "c.toml:13:10: devices.d.plugin: no plugin provides `toaster`; the kinds present are: \
             rogue",
            "c.toml:16:19: devices.e.config.mark: must be a finite number",
            "c.toml:19:8: not TOML: string values must be quoted, expected literal string",
            "c.toml:22:9: requests.queue: 0 is out of range; write 1 to 65535",
        ]
    );
}

#[test]
fn what_is_no_plugin_is_told_where_its_folder_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    fs::write(folder.path().join("plugins/text.so"), "text").expect("a file");
    let problems = check_in(&folder, "will.delay = 1\nplugins.path = [\"plugins\", \"none\"]\n");
    let problems = problems.unwrap_err();
    assert!(problems[0].starts_with("c.toml:1:14: will.delay: "), "{problems:#?}");
    let start = "c.toml:2:9: plugins.path: load plugin plugins/text.so: ";
    assert!(problems[1].starts_with(start), "{problems:#?}");
    let start = "c.toml:2:9: plugins.path: read the plugin folder none: ";
    assert!(problems[2].starts_with(start), "{problems:#?}");
    assert_eq!(problems.len(), 3);
}

#[test]
fn where_the_plugins_are_is_not_known_no_device_is_called_unknown() {
    for (text, start) in [
        ("plugins.path = \"plugins\"\n", "c.toml:1:16: plugins.path: must be an array"),
        ("plugins.path = [plugins]\n", "c.toml:1:17: not TOML: "),
        ("[plugins\npath = [\"plugins\"]\n", "c.toml:1:9: not TOML: "),
    ] {
        let problems = check(&format!("{text}[devices.a]\nplugin = \"rogue\"\n")).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(start), "{problems:#?}");
    }
}

#[test]
fn a_good_configuration_is_accepted_with_its_devices() {
    let text = "plugins.path = [\"plugins\"]\n[devices.a]\nplugin = \"rogue\"\n";
    let accepted = check(text).expect("nothing is wrong");
    assert_eq!(accepted.config.devices.keys().collect::<Vec<_>>(), ["a"]);
    assert!(accepted.plugins.kind("rogue").is_some());
    assert!(Path::new(accepted.config.source.path()).ends_with("c.toml"));
}
