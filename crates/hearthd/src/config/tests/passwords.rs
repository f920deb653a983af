//! User names and passwords: what is sent, what cannot be, and who else can read them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Writes a password's file and a configuration beside it.
fn with_password(content: &[u8]) -> (tempfile::TempDir, Result<Config, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), content).unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "[broker]\nusername = \"hub\"\npassword_file = \"secret\"\n").unwrap();
    let config = Config::load(&path);
    (folder, config)
}

#[test]
fn the_password_comes_from_a_file_without_its_newline() {
    for content in ["pass word\n", "pass word\r\n", "\u{feff}pass word", "pass word"] {
        let (_, config) = with_password(content.as_bytes());
        let password = config.unwrap().broker.password.unwrap();
        assert_eq!(password.expose(), "pass word");
        assert_eq!(format!("{password:?}"), "Secret(..)");
    }
}

#[test]
fn a_password_that_cannot_be_sent_is_refused() {
    let longest = "x".repeat(65_535);
    let (_, config) = with_password((longest.clone() + "\n").as_bytes());
    assert_eq!(config.unwrap().broker.password.unwrap().expose().len(), 65_535);
    for (content, what) in [
        ((longest + "x").as_str(), "has 65536 bytes; MQTT carries 65535 at the most"),
        ("", "is empty"),
        ("\u{feff}\n", "is empty"),
    ] {
        let (folder, config) = with_password(content.as_bytes());
        let at = folder.path().display();
        let expected = format!("{at}/c.toml:3:17: broker.password_file: {at}/secret: {what}");
        assert_eq!(config.unwrap_err().to_string(), expected);
    }
    let user = "[broker]\nusername = ";
    check_problem(
        &format!("{user}\"a\\u0000b\""),
        "c.toml:2:12: broker.username: contains U+0000, which MQTT does not allow",
    );
    let long = format!("{user}{:?}", "x".repeat(65_536));
    check_problem(&long, "c.toml:2:12: broker.username: has 65536 bytes");
    check_problem(&format!("{user}\"\""), "c.toml:2:12: broker.username: is empty");
}

#[test]
fn a_password_has_one_source_and_that_can_be_read() {
    let user = "broker.username = \"hub\"\n";
    for (text, start) in [
        (
            "broker.password_file = \"/nonexistent\"",
            "c.toml:2:24: broker.password_file: /nonexistent: No such file",
        ),
        (
            "broker.password_file = \"/dev/null\"",
            "c.toml:2:24: broker.password_file: /dev/null: is a device or a socket, not a file",
        ),
        (
            "broker.password_file = \"a\"\nbroker.password_env = \"A\"",
            "c.toml:3:23: broker.password_env: password_file is there too",
        ),
        (
            "broker.password_env = \"HEARTHD_NO_SUCH_VARIABLE\"",
            "c.toml:2:23: broker.password_env: HEARTHD_NO_SUCH_VARIABLE: ",
        ),
        // Cargo sets it to what the manifest says, which is nothing.
        (
            "broker.password_env = \"CARGO_PKG_HOMEPAGE\"",
            "c.toml:2:23: broker.password_env: CARGO_PKG_HOMEPAGE: is empty",
        ),
    ] {
        check_problem(&format!("{user}{text}"), start);
    }
    let config = parse(&format!("{user}broker.password_env = \"CARGO_PKG_NAME\"")).unwrap();
    assert_eq!(config.broker.password.unwrap().expose(), "hearthd");
}

#[test]
fn a_password_needs_a_user_name() {
    check_problem(
        "broker.password_env = \"CARGO_PKG_NAME\"",
        "c.toml:1:23: broker.password_env: a password needs a username as well",
    );
    // A user name that is wrong is told as such alone.
    check_problem(
        "[broker]\nusername = 1\npassword_env = \"CARGO_PKG_NAME\"",
        "c.toml:2:12: broker.username: must be a text in quotes, not a whole number",
    );
}

#[test]
fn a_secret_that_everybody_here_can_read_is_warned_of() {
    let (folder, _) = with_password(b"secret");
    let set_mode = |name: &str, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join(name), permissions).unwrap();
    };
    let warnings = || {
        let config = Config::load(&folder.path().join("c.toml")).unwrap();
        config.warnings.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    set_mode("", 0o755);
    set_mode("secret", 0o644);
    let at = folder.path().display();
    let expected = format!(
        "{at}/c.toml:3:17: broker.password_file: {at}/secret is readable by everybody here; run \
         `chmod o-rwx {at}/secret`"
    );
    assert_eq!(warnings(), [expected]);
    set_mode("secret", 0o640);
    assert_eq!(warnings(), [""; 0]);
    // Nobody else gets to it.
    set_mode("secret", 0o644);
    set_mode("", 0o700);
    assert_eq!(warnings(), [""; 0]);
}
