use super::*;
use crate::{
    accounts::{PasswordHash, Secret},
    rights::Role,
};

const CREDENTIALS: &str = "/run/credentials/hearth-broker.service/";

fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    Config::check(&Source::new(path, text), Passwords::Read)
}

fn problems(text: &str) -> Vec<String> {
    told(&parse(Path::new("b.toml"), text).unwrap_err())
}

fn told(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
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
fn the_shipped_file_is_checked_by_hand_without_the_services_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth-broker.toml");
    // No unit of this name runs anywhere.
    let shipped = include_str!("../../../../config/hearth-broker.toml")
        .replace("hearth-broker.service/", "hearth-broker-of-no-test.service/");
    std::fs::write(&path, &shipped).unwrap();
    assert_eq!(Config::load(&path).unwrap_err().iter().count(), 2, "the service needs both");
    let config = Config::load_without_credentials(&path).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("mqtt-password is not looked at: systemd makes it"),
        "{warnings:?}"
    );
    // A file of one's own that is not there stays a mistake.
    let wrong = shipped.replacen("/run/credentials/hearth-broker-of-no-test.service/", "", 1);
    std::fs::write(&path, wrong).unwrap();
    let found = told(&Config::load_without_credentials(&path).unwrap_err());
    assert!(found.len() == 1 && found[0].contains("mqtt-password: No such file"), "{found:?}");
}

#[test]
fn a_hash_that_takes_too_much_to_check_is_refused_with_the_bound() {
    let account = |hash: &str| {
        problems(&format!(
            "home = \"alice\"\n[[account]]\nname = \"x\"\npassword_hash = \"{hash}\"\n"
        ))
    };
    let found = account(
        "$argon2id$v=19$m=4194304,t=2,p=1$bm9ib2R5cyBoYXNo$uAC5bTzDXcmT2zk2GzYnX3u1xbhLZhZc1l8n1W0n1kE",
    );
    assert!(
        found[0]
            .starts_with("b.toml:4:17: account[0].password_hash: takes 4194304 KiB to check (m)"),
        "{found:?}"
    );
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
    let config = parse(&folder.path().join("b.toml"), text).unwrap();
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
    let config = parse(&path, &text).unwrap();
    assert_eq!(config.credentials.accounts.len(), 2);
    std::fs::write(&made, account("one")).unwrap();
    let found = told(&parse(&path, &text).unwrap_err());
    assert!(
        found[0].contains("hearth-broker-accounts.toml:2:8: account[0].name: `one`"),
        "{found:?}"
    );
}

#[test]
fn every_problem_is_told_with_its_line() {
    let found = problems(
        "listen = [\"1883\"]\nhome = \"a+b\"\n[[account]]\nname = \"x\"\n\
         password_hash = \"secret\"\n[[account]]\nname = \"y\"\nclient_ids = [\"*\"]\nrole = \"king\"\n",
    );
    let places: Vec<&str> = found.iter().map(|p| p.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["b.toml:1:11", "b.toml:2:8", "b.toml:5:17", "b.toml:6:1", "b.toml:8:15", "b.toml:9:8"],
        "{found:#?}"
    );
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let found = problems("home = \"alice\"\npasword = 1\n");
    assert!(found[0].starts_with("b.toml:2:1: pasword: unknown key; known here"), "{found:?}");
}

#[test]
fn a_file_without_accounts_is_refused() {
    assert!(problems("home = \"alice\"\n")[0].contains("nobody could log in"));
}

#[test]
fn a_size_or_a_time_out_of_range_is_refused() {
    let found = problems(
        "home = \"a\"\n[limits]\nretained = 12\nqueues = \"3GiB\"\nsession_expiry = \"1 week ago\"\n",
    );
    let size = |key: &str| {
        format!("limits.{key}: is no size from 1KiB to 2GiB; write one such as \"64KiB\"")
    };
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "b.toml:3:12: limits.retained: 12 is out of range; write 1024 to 2147483648"
    );
    assert_eq!(found[1], format!("b.toml:4:10: {}", size("queues")));
    assert!(found[2].starts_with("b.toml:5:18: limits.session_expiry: "), "{found:?}");
}

#[test]
fn a_misspelled_key_gets_the_one_that_was_meant_beside_all_else_that_is_wrong() {
    let found = problems("home = \"a\"\n[tls]\ncertfile = \"x\"\n[storge]\n[limits]\nqeues = 1\n");
    let wanted = [
        "b.toml:2:2: tls: listen is missing",
        "b.toml:2:2: tls: certificate_file is missing",
        "b.toml:2:2: tls: key_file is missing",
        "b.toml:3:1: tls.certfile: unknown key; write certificate_file = \"FILE\"",
        "b.toml:4:2: storge: unknown key; did you mean `storage`?",
        "b.toml:6:1: limits.qeues: unknown key; did you mean `queues`?",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn two_hubs_without_devices_are_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p"), "secret\n").unwrap();
    let hub = |name: &str, more: &str| {
        format!("[[account]]\nname = \"{name}\"\nrole = \"hub\"\npassword_file = \"p\"\n{more}\n")
    };
    let parse = |text: &str| parse(&folder.path().join("b.toml"), text);
    let first = "home = \"a\"\n".to_owned() + &hub("one", "");
    parse(&(first.clone() + &hub("two", "devices = [\"boiler\"]"))).unwrap();
    let found = told(&parse(&(first.clone() + &hub("two", ""))).unwrap_err());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("b.toml:8:8: account[1].devices: hub `one`"), "{found:?}");
    // The accounts file counts as well.
    std::fs::write(folder.path().join("hearth-broker-accounts.toml"), hub("two", "")).unwrap();
    let found = told(&parse(&first).unwrap_err());
    assert!(found[0].contains("accounts.toml:2:8: account[0].devices: hub `one`"), "{found:?}");
}

#[test]
fn codes_are_read_from_the_accounts_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("b.toml");
    std::fs::write(folder.path().join("password"), "secret").unwrap();
    let hash = PasswordHash::of("ABCDEFGH").unwrap();
    let text = "home = \"home\"\n[[account]]\nname = \"anna\"\npassword_file = \"password\"\n";
    let code = format!("[[code]]\naccount = \"anna\"\nhash = {:?}\nuntil = 1000\n", hash.as_str());
    assert!(parse(&config, &format!("{text}{code}")).is_err());

    let accounts = folder.path().join("hearth-broker-accounts.toml");
    // Beside one of an account that is gone, which keeps no broker from its start.
    std::fs::write(&accounts, code.replace("anna", "gone") + &code).unwrap();
    let codes = parse(&config, text).unwrap().credentials.codes;
    assert_eq!(codes["anna"].until, 1000);
    assert!(codes["anna"].hash.verify(b"ABCDEFGH"));

    std::fs::write(&accounts, "[[code]]\nhash = \"ABCDEFGH\"\nuntil = \"soon\"\n").unwrap();
    let found = told(&parse(&config, text).unwrap_err());
    for expected in ["is no argon2 hash", "until", "account"] {
        assert!(found.iter().any(|it| it.contains(expected)), "{expected}: {found:?}");
    }
}
