//! Plugin folders with files that are no plugins.

use std::{fs, os::unix::fs::PermissionsExt};

use hearthd::{
    device::{self, Checked},
    plugin::{Plugins, identity::Identity},
};

use crate::{
    built::{find, plugin},
    test_devices::{config, launcher},
};

#[test]
fn every_file_that_is_no_plugin_is_named_and_the_rest_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("plugins").join(name);
    fs::create_dir(folder.path().join("plugins")).unwrap();
    let light = fs::read(plugin("light")).unwrap();
    fs::write(at("a-light.so"), &light).unwrap();
    fs::write(at("b-light.so"), &light).unwrap();
    fs::write(at("cut.so"), &light[..light.len() / 2]).unwrap();
    let magic = find(&light, b"HEARTHP\0");
    let patched = |offset: usize, value: u8| {
        let mut other = light.clone();
        other[magic + offset] = value;
        other
    };
    fs::write(at("d-major.so"), patched(12, 2)).unwrap();
    fs::write(at("e-new.so"), patched(16, 9)).unwrap();
    fs::write(at("f-magic.so"), patched(0, b'h')).unwrap();
    fs::write(at("g-other.so"), of_another_machine(&light)).unwrap();
    fs::write(at("h-open.so"), &light).unwrap();
    fs::set_permissions(at("h-open.so"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(at("notes.txt"), "no plugin, and none by its name").unwrap();
    fs::write(at("x.so"), "some text").unwrap();
    let missing = folder.path().join("missing");

    let path = [folder.path().join("plugins"), missing.clone()];
    let (plugins, errors) = Plugins::load(&path, &folder.path().join("staging"), &launcher());

    assert_eq!(plugins.kinds().collect::<Vec<_>>(), ["light"]);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 9, "{errors:#?}");
    let load = |name: &str| format!("load plugin {}: ", at(name).display());
    let already = format!("kind `light` is already provided by {}", at("a-light.so").display());
    assert_eq!(errors[0], load("b-light.so") + &already);
    let start_with = |index: usize, name: &str, why: &str| {
        let error: &String = &errors[index];
        assert!(error.starts_with(&(load(name) + why)), "{error}");
    };
    start_with(1, "cut.so", "truncated: a part of it ends at byte ");
    start_with(2, "d-major.so", "built for plugin ABI 2, and this hub has 1");
    start_with(3, "e-new.so", "needs plugin ABI 1.9, and this hub has 1.3");
    start_with(4, "f-magic.so", "not a plugin: `hearth_plugin_entry_v1` does not start with the");
    start_with(5, "g-other.so", "built for ");
    start_with(6, "h-open.so", "it is writable by everybody; run `chmod o-w ");
    start_with(7, "x.so", "not an ELF shared object: it does not start with the ELF magic");
    let folder = format!("read the plugin folder {}: ", missing.display());
    assert!(errors[8].starts_with(&folder), "{}", errors[8]);
}

#[test]
fn a_folder_that_everybody_may_write_to_holds_no_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(plugin("light"), plugins.join("light.so")).unwrap();
    fs::set_permissions(&plugins, fs::Permissions::from_mode(0o1777)).unwrap();
    let staging = folder.path().join("staging");
    let (found, errors) = Plugins::load(std::slice::from_ref(&plugins), &staging, &launcher());
    assert_eq!(found.kinds().count(), 0);
    let expected = format!(
        "load plugin {}/light.so: its folder is writable by everybody; run `chmod o-w {}`",
        plugins.display(),
        plugins.display()
    );
    assert_eq!(errors[0].to_string(), expected);
}

#[test]
fn a_file_that_is_refused_runs_no_constructor() {
    let folder = tempfile::tempdir().unwrap();
    let (file, staging) = (folder.path().join("rogue.so"), folder.path().join("staging"));
    fs::create_dir(&staging).unwrap();
    let constructed = || {
        let names = [folder.path(), &staging].map(|folder| fs::read_dir(folder).unwrap());
        names.into_iter().flatten().any(|entry| {
            entry.unwrap().path().extension().is_some_and(|extension| extension == "constructed")
        })
    };
    let rogue = fs::read(plugin("rogue")).unwrap();
    let magic = find(&rogue, b"HEARTHP\0");
    for (offset, value) in [(0, b'h'), (12, 2), (16, 9), (8, 1)] {
        let mut other = rogue.clone();
        other[magic + offset] = value;
        fs::write(&file, other).unwrap();
        Plugins::load_file(&file, &staging, &launcher()).unwrap_err();
        assert!(!constructed(), "offset {offset}");
    }
    fs::write(&file, &rogue).unwrap();
    Plugins::load_file(&file, &staging, &launcher()).unwrap();
    assert!(constructed(), "a file that is good does run it");
}

#[test]
fn a_plugin_that_aborts_on_panic_runs_only_in_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (plugins, staging) = (folder.path().join("plugins"), folder.path().join("staging"));
    fs::create_dir(&plugins).unwrap();
    let mut rogue = fs::read(plugin("rogue")).unwrap();
    let flags = find(&rogue, b"HEARTHP\0") + 20;
    rogue[flags] |= 1;
    fs::write(plugins.join("rogue.so"), rogue).unwrap();
    let (plugins, errors) = Plugins::load(&[plugins], &staging, &launcher());
    assert!(errors.is_empty(), "{errors:?}");
    let check = |isolation: &str| {
        let text = format!("[devices.a]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\n");
        device::check(&config(&text), &plugins, &Checked::default())
    };
    let complaints = check("none").unwrap_err();
    assert!(complaints[0].2.contains("built with panic=abort"), "{complaints:?}");
    check("process").unwrap();
}

#[test]
fn twenty_thousand_corrupted_files_are_read_without_a_crash() {
    let rogue = fs::read(plugin("rogue")).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64: the same files on every run.
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let mut refused = 0;
    let mut copy = rogue.clone();
    for round in 0..20_000 {
        let (mut length, mut kept) = (rogue.len(), Vec::new());
        match round % 4 {
            0 => length = next(rogue.len()),
            1 => kept.push(next(rogue.len())),
            // The ELF header and the table of segments, which decide most.
            2 => kept.extend((0..1 + next(8)).map(|_| next(64))),
            _ => kept.extend((0..1 + next(8)).map(|_| 64 + next(56 * 12))),
        }
        for &at in &kept {
            copy[at] ^= u8::try_from(1 + next(255)).unwrap();
        }
        refused += usize::from(Identity::parse(&copy[..length]).is_err());
        for at in kept {
            copy[at] = rogue[at];
        }
    }
    assert_eq!(copy, rogue);
    assert!(refused > 9000, "{refused} of 20,000 are refused");
}

#[test]
fn a_plugin_cut_at_any_length_is_refused_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let light = fs::read(plugin("light")).unwrap();
    let file = folder.path().join("cut.so");
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    for parts in 0..50 {
        fs::write(&file, &light[..light.len() * parts / 50]).unwrap();
        let error = Plugins::load_file(&file, &staging, &launcher()).unwrap_err().to_string();
        let why = if parts == 0 { "not an ELF shared object: " } else { "truncated: " };
        assert!(error.starts_with(&format!("load plugin {}: {why}", file.display())), "{error}");
    }
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0, "no copy was made to be loaded");
}

/// Makes it a file for MIPS, which no hub runs on.
fn of_another_machine(content: &[u8]) -> Vec<u8> {
    let mut other = content.to_owned();
    other[18..20].copy_from_slice(&[8, 0]);
    other
}
