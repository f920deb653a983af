//! TLS, and the socket of programs that connect for others.

use std::{
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer,
};

use crate::{
    broker::{Broker, eventually},
    raw::{Raw, connect, packet, publish},
};

#[test]
fn a_program_on_the_socket_tells_for_whom_it_comes() {
    let broker = Broker::start_with("[unix]\nsocket = \"clients.sock\"");
    let path = broker.folder.path().join("clients.sock");
    // Owner and group may connect, and nobody else.
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let open = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Raw { stream }
    };
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\xa8\x01\x07\x0a\0\0\x01\0\x01\0\x02";
    let mut raw = open();
    raw.send(header);
    raw.send(&connect("phone", "anna", "wrong", 0));
    raw.expect_connack(0x86);
    eventually("the log has the address", || broker.log().contains("(from 192.168.1.7)"));
    let mut raw = open();
    raw.send(header);
    raw.send(&connect("phone", "anna", "secret", 0));
    raw.expect_connack(0);
    // Without a header nobody is served.
    let mut raw = open();
    let _ = raw.try_send(&connect("phone", "anna", "secret", 0));
    assert!(raw.receive().is_err());
}

#[test]
fn a_broker_that_may_open_no_more_files_serves_on_and_does_not_spin() {
    let broker = Broker::start();
    let mut anna = broker.client("anna", "anna");
    let before = broker.limit(rustix::process::Resource::Nofile, Some(1));
    // The system takes them, and the broker cannot.
    let waiting: Vec<Raw> = (0..20).map(|_| broker.raw()).collect();
    eventually("the log says so", || broker.log().contains("cannot accept a connection"));
    let (spent, begin) = (broker.processor_time(), Instant::now());
    while begin.elapsed() < Duration::from_secs(1) {
        anna.send(&packet(0xC0, &[]));
        anna.expect(0xD0);
        std::thread::sleep(Duration::from_millis(10));
    }
    let spent = broker.processor_time() - spent;
    assert!(spent < Duration::from_millis(300), "{spent:?}");
    assert_eq!(broker.log().matches("cannot accept a connection").count(), 1);
    broker.limit(rustix::process::Resource::Nofile, before);
    for mut raw in waiting {
        raw.send(&connect("", "anna", "secret", 0));
        raw.expect_connack(0);
    }
}

#[test]
fn tls_is_served_and_its_certificate_read_again() {
    let broker_port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (authority(), authority());
    let write = |authority: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(folder.path().join("c.pem"), authority.cert.pem()).unwrap();
        std::fs::write(folder.path().join("k.pem"), authority.signing_key.serialize_pem()).unwrap();
    };
    write(&first);
    let broker = Broker::start_with(&format!(
        "[tls]\nlisten = [\"127.0.0.1:{broker_port}\"]\ncertificate_file = {:?}\nkey_file = {:?}",
        folder.path().join("c.pem"),
        folder.path().join("k.pem"),
    ));
    let exchange = |trusted: &CertificateDer<'static>| -> std::io::Result<()> {
        let mut raw = Raw { stream: tls(broker_port, trusted) };
        raw.try_send(&connect("phone", "old", "secret", 0))?;
        raw.receive()?;
        raw.subscribe("home/#");
        let large = vec![b'x'; 300_000];
        raw.try_send(&publish("home/large", &large, 0, false))?;
        assert_eq!(raw.message().1, large);
        Ok(())
    };
    exchange(first.cert.der()).unwrap();
    assert!(exchange(second.cert.der()).is_err());
    write(&second);
    broker.signal(rustix::process::Signal::HUP);
    eventually("the new certificate is served", || exchange(second.cert.der()).is_ok());
    assert!(exchange(first.cert.der()).is_err());
}

fn authority() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn tls(
    port: u16,
    trusted: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    tls_as(port, trusted, "localhost")
}

/// Connects and expects the certificate of a name or an address.
pub(crate) fn tls_as(
    port: u16,
    trusted: &CertificateDer<'static>,
    name: &str,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let _ = stream.flush();
    stream
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
