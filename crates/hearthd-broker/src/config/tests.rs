use super::*;
use crate::{accounts::Secret, rights::Role};

const CREDENTIALS: &str = "/run/credentials/hearth-broker.service/";

fn problems(text: &str) -> Vec<String> {
    Config::parse(Path::new("b.toml"), text).unwrap_err().0
}

#[test]
fn the_shipped_file_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth-broker.toml");
    let shipped = include_str!("../../../../config/hearth-broker.toml");
    std::fs::write(&path, shipped.replace(CREDENTIALS, "")).unwrap();
    for credential in ["mqtt-password", "home-password"] {
        assert!(shipped.contains(&format!("{CREDENTIALS}{credential}")), "{credential}");
        std::fs::write(folder.path().join(credential), "secret\n").unwrap();
    }
    let config = Config::load(&path).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1883".parse().unwrap()]);
    assert_eq!(&*config.credentials.home, "home");
    assert_eq!(config.storage_directory, Path::new("/var/lib/hearth-broker"));
    assert_eq!(config.credentials.accounts.len(), 2);
}

#[test]
fn the_keys_of_the_shipped_file_are_all_keys_with_their_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth-broker.toml");
    let shipped = include_str!("../../../../config/hearth-broker.toml");
    // Every key that is commented out is written as it would be without the mark.
    let mut text = String::new();
    for line in shipped.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare.split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        let is_table = bare.starts_with('[') && bare.ends_with(']');
        text += if is_key || is_table { bare } else { line };
        text.push('\n');
    }
    std::fs::write(&path, text.replace(CREDENTIALS, "")).unwrap();
    for credential in ["mqtt-password", "home-password"] {
        std::fs::write(folder.path().join(credential), "secret\n").unwrap();
    }
    let config = Config::load(&path).unwrap();
    assert_eq!(format!("{:?}", config.limits), format!("{:?}", crate::core::Limits::default()));
    let driver = format!("{:?}", config.driver_limits);
    assert_eq!(driver, format!("{:?}", DriverLimits::default()));
    assert!(config.tls.is_some() && config.socket.is_some());
}

#[test]
fn an_account_without_a_role_is_what_it_was() {
    let text = "home = \"alice\"\n[[account]]\nname = \"x\"\npassword_file = \"p\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p"), "secret\n").unwrap();
    let config = Config::parse(&folder.path().join("b.toml"), text).unwrap();
    let credential = &config.credentials.accounts["x"];
    assert_eq!(credential.account.role, Role::Everything);
    assert_eq!(credential.secret, Secret::Plain("secret".into()));
}

#[test]
fn accounts_of_both_files_are_taken_and_no_name_twice() {
    let folder = tempfile::tempdir().unwrap();
    let hash = crate::accounts::PasswordHash::of("secret").unwrap();
    let account = |name: &str| {
        format!(
            "[[account]]\nname = \"{name}\"\nrole = \"guest\"\npassword_hash = \"{}\"\n",
            hash.as_str()
        )
    };
    let text = format!("home = \"alice\"\n{}", account("one"));
    let path = folder.path().join("b.toml");
    let made = folder.path().join("hearth-broker-accounts.toml");
    std::fs::write(&made, account("two")).unwrap();
    let config = Config::parse(&path, &text).unwrap();
    assert_eq!(config.credentials.accounts.len(), 2);
    std::fs::write(&made, account("one")).unwrap();
    let found = Config::parse(&path, &text).unwrap_err().0;
    assert!(found[0].contains("hearth-broker-accounts.toml:2:8: account.name: `one`"), "{found:?}");
}

#[test]
fn every_problem_is_told_with_its_line() {
    let found = problems(
        "listen = [\"1883\"]\nhome = \"a+b\"\n[[account]]\nname = \"x\"\n\
         password_hash = \"secret\"\n[[account]]\nname = \"y\"\nclient_ids = [\"*\"]\nrole = \"king\"\n",
    );
    let places: Vec<&str> = found.iter().map(|p| p.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["b.toml:1:11", "b.toml:2:8", "b.toml:5:17", "b.toml:9:8"], "{found:#?}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let found = problems("home = \"alice\"\npasword = 1\n");
    assert!(found[0].starts_with("b.toml:2:1: unknown field `pasword`"), "{found:?}");
}

#[test]
fn a_file_without_accounts_is_refused() {
    assert!(problems("home = \"alice\"\n")[0].contains("nobody could log in"));
}

#[test]
fn a_size_has_a_unit() {
    let found = problems("home = \"a\"\n[limits]\nretained = \"12\"\nqueues = \"1GiB\"\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("b.toml:3:12: limits.retained: must be a size"), "{found:?}");
}

#[test]
fn two_hubs_without_devices_are_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p"), "secret\n").unwrap();
    let hub = |name: &str, more: &str| {
        format!("[[account]]\nname = \"{name}\"\nrole = \"hub\"\npassword_file = \"p\"\n{more}\n")
    };
    let parse = |text: &str| Config::parse(&folder.path().join("b.toml"), text);
    let first = "home = \"a\"\n".to_owned() + &hub("one", "");
    parse(&(first.clone() + &hub("two", "devices = [\"boiler\"]"))).unwrap();
    let found = parse(&(first.clone() + &hub("two", ""))).unwrap_err().0;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("b.toml:8:8: account.devices: hub `one`"), "{found:?}");
    // The accounts file counts as well.
    std::fs::write(folder.path().join("hearth-broker-accounts.toml"), hub("two", "")).unwrap();
    let found = parse(&first).unwrap_err().0;
    assert!(found[0].contains("accounts.toml:2:8: account.devices: hub `one`"), "{found:?}");
}
