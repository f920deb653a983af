//! Secrets of a device's table: the plugin gets the text, and nobody else does.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use hearthd::{
    device::Checked,
    plugin::Plugins,
    preflight::{self, Accepted},
};
use tempfile::TempDir;

use crate::{built::plugin, rogue::House, test_devices::launcher};

fn device(isolation: &str, secret: &str) -> String {
    format!(
        "[devices.a]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\nconfig.secret = {secret}\n"
    )
}

fn folder_with(secret: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_secret(folder.path(), secret);
    folder
}

fn write_secret(folder: &Path, secret: &str) {
    let file = folder.join("secret");
    fs::write(&file, secret).expect("the folder can be written to");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

#[test]
fn a_plugin_gets_the_text_of_a_file_wherever_it_runs() {
    for isolation in ["none", "auto", "process"] {
        let table = device(isolation, "{ file = \"secret\" }");
        let mut house = House::start_in(folder_with("hush hush\n"), &table, &BTreeMap::new());
        house.ask_until("a/secret_length", "", "200 9");
        for property in ["describe", "get"] {
            let answer = house.ask(&format!("a/{property}"), "");
            assert!(!answer.contains("hush"), "{answer}");
        }
        let shown = format!("{house:?}");
        assert!(!shown.contains("hush"), "a debug print shows it: {shown}");
        assert_eq!(house.reload().unwrap().changed, [""; 0], "the file is as it was");
        house.write("secret", "changed");
        assert_eq!(house.reload().unwrap().changed, ["a"]);
        house.ask_until("a/secret_length", "", "200 7");
    }
}

#[test]
fn a_secret_that_cannot_be_read_leaves_the_device_as_it_was() {
    let table = device("none", "{ file = \"secret\" }");
    let mut house = House::start_in(folder_with("hush"), &table, &BTreeMap::new());
    house.ask_until("a/secret_length", "", "200 4");
    for (content, what) in [("", "secret: is empty"), ("\u{feff}\r\n", "secret: is empty")] {
        house.write("secret", content);
        let said = house.reload().unwrap_err();
        assert!(said.contains("devices.a.config.secret.file: ") && said.contains(what), "{said}");
        assert_eq!(house.check().unwrap_err(), said, "hearthd check says the same");
    }
    assert_eq!(house.ask("a/secret_length", ""), "200 4");
}

/// Checks a device with a table; the lines begin after the folder's name.
fn check(folder: &TempDir, secret: &str) -> Result<Accepted, Vec<String>> {
    let plugins = folder.path().join("plugins");
    if !plugins.exists() {
        fs::create_dir(&plugins).expect("a folder");
        fs::copy(plugin("rogue"), plugins.join("rogue.so")).expect("the plugin is built");
    }
    let file = folder.path().join("c.toml");
    let text = "plugins.path = [\"plugins\"]\n".to_owned() + &device("none", secret);
    fs::write(&file, text).expect("the folder can be written to");
    let (none, staging) = (Plugins::none(&launcher()), tempfile::tempdir().expect("a folder"));
    let accepted = preflight::check(&file, &none, &Checked::default(), staging.path());
    accepted.map_err(|problems| problems.to_string().lines().map(|it| within(folder, it)).collect())
}

fn within(folder: &TempDir, text: &str) -> String {
    text.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn each_secret_that_cannot_be_read_is_named_with_its_place() {
    let folder = folder_with("hush");
    let wanted = "must be { file = \"FILE\" } or { credential = \"NAME\" }";
    for (secret, problem) in [
        (
            "{ file = \"none\" }",
            "c.toml:5:26: devices.a.config.secret.file: none: No such file or directory (os error 2)",
        ),
        (
            "{ file = \"plugins\" }",
            "c.toml:5:26: devices.a.config.secret.file: plugins: is a folder, not a file",
        ),
        (
            "{ credential = \"../secret\" }",
            "c.toml:5:32: devices.a.config.secret.credential: `../secret` is no name of a credential",
        ),
        (
            "{ credential = \"boiler\" }",
            "c.toml:5:32: devices.a.config.secret.credential: /run/credentials/hearthd.service/boiler: \
             No such file or directory (os error 2)",
        ),
        (
            "{ file = \"secret\", credential = \"boiler\" }",
            &format!("c.toml:5:8: devices.a.config.secret: {wanted}"),
        ),
        ("{ fil = \"secret\" }", &format!("c.toml:5:8: devices.a.config.secret: {wanted}")),
        (
            "3",
            "c.toml:5:17: devices.a.config.secret: must be { file = \"FILE\" } or { credential = \"NAME\" }, not 3",
        ),
    ] {
        assert_eq!(check(&folder, secret).unwrap_err(), [problem]);
    }
}

#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let folder = folder_with("hush");
    let warnings = |secret: &str| {
        let accepted = check(&folder, secret).expect("nothing is wrong");
        let warnings = accepted.config.warnings.iter();
        warnings.map(|warning| within(&folder, &warning.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(warnings("{ file = \"secret\" }"), [""; 0]);
    let plain = warnings("\"hush\"");
    let start = "c.toml:5:17: devices.a.config.secret: is a secret, and ";
    assert!(plain.len() == 1 && plain[0].starts_with(start), "{plain:?}");
    assert!(!plain[0].contains("hush"), "{plain:?}");
    let permissions = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    permissions(folder.path(), 0o755);
    permissions(&folder.path().join("secret"), 0o644);
    assert_eq!(
        warnings("{ file = \"secret\" }"),
        ["c.toml:5:8: devices.a.config.secret: secret is readable by everybody here; run `chmod \
          o-rwx secret`"]
    );
}
