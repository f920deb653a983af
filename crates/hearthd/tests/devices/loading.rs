//! Plugin folders with files that are no plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use hearthd::plugin::Plugins;

use crate::bench::launcher;

#[test]
fn every_file_that_is_no_plugin_is_named_and_the_rest_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("plugins").join(name);
    fs::create_dir(folder.path().join("plugins")).unwrap();
    let light = fs::read(light()).unwrap();
    fs::write(at("a-light.so"), &light).unwrap();
    fs::write(at("b-light.so"), &light).unwrap();
    fs::write(at("cut.so"), &light[..light.len() / 2]).unwrap();
    fs::write(at("notes.txt"), "no plugin, and none by its name").unwrap();
    fs::write(at("x.so"), "some text").unwrap();
    let missing = folder.path().join("missing");

    let path = [folder.path().join("plugins"), missing.clone()];
    let (plugins, errors) = Plugins::load(&path, &folder.path().join("staging"), &launcher());

    assert_eq!(plugins.kinds().collect::<Vec<_>>(), ["light"]);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 4, "{errors:#?}");
    let load = |name: &str| format!("load plugin {}: ", at(name).display());
    let already = format!("kind `light` is already provided by {}", at("a-light.so").display());
    assert_eq!(errors[0], load("b-light.so") + &already);
    assert!(errors[1].starts_with(&load("cut.so")), "{}", errors[1]);
    assert_eq!(
        errors[2],
        load("x.so") + "not an ELF shared object: it does not start with the ELF magic"
    );
    let folder = format!("read the plugin folder {}: ", missing.display());
    assert!(errors[3].starts_with(&folder), "{}", errors[3]);
}

#[test]
fn a_plugin_cut_at_any_length_is_refused_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let light = fs::read(light()).unwrap();
    let file = folder.path().join("cut.so");
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    for parts in 0..50 {
        fs::write(&file, &light[..light.len() * parts / 50]).unwrap();
        let error = Plugins::load_file(&file, &staging, &launcher()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("load plugin {}: ", file.display())), "{error}");
    }
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0, "no copy was made to be loaded");
}

/// Returns the light plugin of this build, and builds it where it is not there.
fn light() -> &'static Path {
    static LIGHT: OnceLock<PathBuf> = OnceLock::new();
    LIGHT.get_or_init(|| {
        let own = std::env::current_exe().expect("the system knows this binary");
        let profile = own.ancestors().nth(2).expect("the binary is in PROFILE/deps");
        let light = profile.join("libhearth_light.so");
        if !light.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--package", "hearth-light", "--target-dir"]);
            build.arg(profile.parent().expect("the profile is in the target folder"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().expect("cargo runs").success(), "hearth-light is not built");
        }
        light
    })
}
