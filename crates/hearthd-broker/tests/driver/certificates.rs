//! `hearth-broker certificate`, from the command to a TLS connection.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    broker::{Broker, eventually, mode, program},
    raw::{Raw, connect, publish},
    transports::{free_port, tls_as},
};

/// Returns the keys of a configuration whose certificates are below a folder.
fn keys(folder: &Path, port: u16) -> String {
    let at = |name: &str| folder.join(name);
    format!(
        "[tls]\nlisten = [\"127.0.0.1:{port}\"]\ncertificate_file = {:?}\nkey_file = {:?}",
        at("broker-certificate.pem"),
        at("broker-key.pem")
    )
}

fn run(config: &Path, arguments: &[&str]) -> std::process::Output {
    program().arg("certificate").args(arguments).arg("--config").arg(config).output().unwrap()
}

fn make(config: &Path, names: &[&str]) -> String {
    let names = names.iter().flat_map(|name| ["--name", name]);
    let made = run(config, &["make"].into_iter().chain(names).collect::<Vec<_>>());
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap()
}

fn exchange(port: u16, authority: &CertificateDer<'static>, name: &str) -> std::io::Result<()> {
    let mut raw = Raw { stream: tls_as(port, authority, name) };
    raw.try_send(&connect("phone", "old", "secret", 0))?;
    raw.receive()?;
    raw.subscribe("home/x");
    raw.try_send(&publish("home/x", b"hello", 0, false))?;
    assert_eq!(raw.message().1, b"hello");
    Ok(())
}

#[test]
fn a_client_that_has_the_authority_connects_before_and_after_a_renewal() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let config = folder.path().join("before.toml");
    std::fs::write(&config, format!("home = \"home\"\n{}\n", keys(folder.path(), port))).unwrap();
    let said = make(&config, &["broker.test", "10.1.2.3"]);
    assert!(said.contains("10.1.2.3") && said.contains("localhost"), "{said}");
    let at = |name: &str| folder.path().join(name);
    for (name, expected) in [
        ("authority-key.pem", 0o600),
        ("authority.pem", 0o644),
        ("broker-key.pem", 0o640),
        ("broker-certificate.pem", 0o644),
    ] {
        assert_eq!(mode(&at(name)), expected, "{name}");
    }
    let printed = run(&config, &["authority"]).stdout;
    assert_eq!(printed, std::fs::read(at("authority.pem")).unwrap());
    let authority = CertificateDer::from_pem_slice(&printed).unwrap();

    let broker = Broker::start_with(&keys(folder.path(), port));
    for name in ["localhost", "127.0.0.1", "::1", "broker.test", "10.1.2.3"] {
        exchange(port, &authority, name).unwrap();
    }
    assert!(exchange(port, &authority, "another.test").is_err());
    let read = |name: &str| std::fs::read(at(name)).unwrap();
    let before = [read("authority.pem"), read("authority-key.pem"), read("broker-certificate.pem")];

    // A renewal knows the names that were given, and keeps the authority.
    make(&config, &["more.test"]);
    assert_eq!([read("authority.pem"), read("authority-key.pem")], before[..2]);
    assert_ne!(read("broker-certificate.pem"), before[2]);
    assert!(exchange(port, &authority, "more.test").is_err(), "it serves what it read");
    broker.signal(rustix::process::Signal::HUP);
    eventually("the new certificate is served", || exchange(port, &authority, "more.test").is_ok());
    exchange(port, &authority, "broker.test").unwrap();

    // The same key gives the authority's certificate again, and those that were signed go on.
    std::fs::remove_file(at("authority.pem")).unwrap();
    make(&config, &[]);
    let again = CertificateDer::from_pem_slice(&read("authority.pem")).unwrap();
    exchange(port, &again, "more.test").unwrap();
}

#[test]
fn what_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.toml");
    std::fs::write(&config, "home = \"home\"\n").unwrap();
    let failed = |arguments: &[&str], code: i32, expected: &str| {
        let ran = run(&config, arguments);
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains(expected), "{said}");
    };
    failed(&["make"], 78, "[tls] is missing");
    std::fs::write(&config, format!("home = \"home\"\n{}\n", keys(folder.path(), 1))).unwrap();
    failed(&["authority"], 73, "authority.pem");
    failed(&["make", "--name", "not a name"], 64, "neither a name nor an address");
    std::fs::write(folder.path().join("authority-key.pem"), "nonsense").unwrap();
    failed(&["make"], 65, "authority-key.pem");
    // The broker and its check say where a certificate comes from.
    let account = "[[account]]\nname = \"old\"\npassword_file = \"password\"\n";
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    std::fs::write(&config, format!("home = \"home\"\n{}\n{account}", keys(folder.path(), 1)))
        .unwrap();
    let refused = |expected: &str| {
        for command in [&["check"][..], &["--listen", "127.0.0.1:0"]] {
            let ran = program().args(command).arg("--config").arg(&config).output().unwrap();
            assert_eq!(ran.status.code(), Some(78), "{ran:?}");
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(said.contains(expected), "{said}");
        }
    };
    refused("broker-certificate.pem: there is no such file; `hearth-broker certificate make`");
    std::fs::write(folder.path().join("broker-certificate.pem"), "nonsense").unwrap();
    refused("broker-certificate.pem: has no certificate in PEM form");
    std::fs::remove_file(folder.path().join("broker-certificate.pem")).unwrap();
    // Nothing was made where the authority cannot be used.
    assert!(!folder.path().join("broker-key.pem").exists());
}
