//! Bytes from page to broker and back, over every kind of connection.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    },
};

use crate::site::{CONNACK, FakeBroker, PATIENCE, Site, WRONG_PASSWORD, connect};

#[tokio::test]
async fn bytes_go_both_ways_whatever_the_frames_are() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "").await;
    let mut page = site.page().await;
    // The CONNECT in three frames, and more behind it in the last one.
    let mut bytes = connect("anna");
    bytes.extend([0xC0, 0]);
    page.send(&bytes[..1]).await;
    page.send(&bytes[1..20]).await;
    page.send(&bytes[20..]).await;
    let mut link = broker.accept().await;
    let mut read = vec![0; bytes.len()];
    link.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
    // The CONNACK in two pieces, and more behind it.
    link.write_all(&CONNACK[..2]).await.unwrap();
    link.write_all(&CONNACK[2..]).await.unwrap();
    link.write_all(&[0xD0, 0]).await.unwrap();
    assert_eq!(page.read(7).await, [0x20, 3, 0, 0, 0, 0xD0, 0]);

    let large: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    page.send(&large).await;
    let mut read = vec![0; large.len()];
    link.read_exact(&mut read).await.unwrap();
    assert_eq!(read, large);
    link.write_all(&large).await.unwrap();
    assert_eq!(page.read(large.len()).await, large);

    drop(link);
    let (code, reason, _) = page.end().await;
    assert_eq!((code, reason.as_str()), (1013, "the broker has closed the connection"));
}

#[tokio::test]
async fn the_brokers_refusal_reaches_the_page_before_the_end() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "").await;
    let mut page = site.page().await;
    page.send(&connect("anna")).await;
    let mut link = broker.accept().await;
    link.write_all(&WRONG_PASSWORD).await.unwrap();
    let (code, _, bytes) = page.end().await;
    assert_eq!((code, bytes.as_slice()), (1000, &WRONG_PASSWORD[..]));
}

#[tokio::test]
async fn a_page_that_goes_takes_its_connection_with_it() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "").await;
    let mut page = site.page().await;
    let mut link = page.log_in(&broker).await;
    drop(page);
    let mut rest = Vec::new();
    link.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told_of() {
    let broker = FakeBroker::start().await;
    let url = broker.url();
    drop(broker);
    let site = Site::start(&url, "").await;
    let mut page = site.page().await;
    page.send(&connect("anna")).await;
    let (code, reason, _) = page.end().await;
    assert_eq!((code, reason.as_str()), (1013, "the broker cannot be reached"));
}

#[tokio::test]
async fn the_brokers_socket_is_told_the_phones_address() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("b.sock");
    let broker = UnixListener::bind(&socket).unwrap();
    let site = Site::start_in(folder, &format!("unix:{}", socket.display()), "").await;
    let mut page = site.page().await;
    page.send(&connect("anna")).await;
    let (mut link, _) = broker.accept().await.unwrap();
    let mut header = [0; 28];
    link.read_exact(&mut header).await.unwrap();
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C");
    assert_eq!(header[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    assert_eq!(header[26..], site.port.to_be_bytes());
    let mut read = vec![0; connect("anna").len()];
    link.read_exact(&mut read).await.unwrap();
    assert_eq!(read, connect("anna"));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_after_sighup_and_a_broken_one_is_not() {
    let (first, second) = (certificate(), certificate());
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path(), &first);
    let more = "[tls]\ncertificate_file = \"c.pem\"\nkey_file = \"k.pem\"\n";
    let mut site = Site::start_in(folder, "mqtt://127.0.0.1:1", more).await;
    assert!(trusts(&site, &first).await && !trusts(&site, &second).await);

    write_certificate(site.folder.path(), &second);
    site.hang_up().await;
    tokio::time::timeout(PATIENCE, async {
        while !trusts(&site, &second).await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    std::fs::write(site.folder.path().join("c.pem"), "no certificate").unwrap();
    site.hang_up().await;
    // The line about it, on standard error, says that the signal has been heard.
    site.until_logged("the certificate of before stays in use").await;
    assert!(trusts(&site, &second).await);
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn write_certificate(folder: &std::path::Path, made: &CertifiedKey<rcgen::KeyPair>) {
    std::fs::write(folder.join("c.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
}

/// Returns whether the page can be reached by somebody who trusts this certificate alone.
async fn trusts(site: &Site, made: &CertifiedKey<rcgen::KeyPair>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    connector.connect(name, site.connect().await).await.is_ok()
}

#[tokio::test]
async fn tls_is_spoken_on_both_sides() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("k.pem"), signing_key.serialize_pem()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let broker = FakeBroker::start().await;
    let url = broker.url().replace("mqtt://127.0.0.1", "mqtts://localhost");
    let more = "ca_file = \"c.pem\"\n[tls]\ncertificate_file = \"c.pem\"\nkey_file = \"k.pem\"\n";
    let site = Site::start_in(folder, &url, more).await;
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, site.connect().await).await.unwrap();
    let mut page = site.page_over(stream, "https").await;
    page.send(&connect("anna")).await;
    let mut link = TlsAcceptor::from(Arc::new(server)).accept(broker.accept().await).await.unwrap();
    let mut read = vec![0; connect("anna").len()];
    link.read_exact(&mut read).await.unwrap();
    assert_eq!(read, connect("anna"));
    link.write_all(&CONNACK).await.unwrap();
    assert_eq!(page.read(5).await, CONNACK);
}
