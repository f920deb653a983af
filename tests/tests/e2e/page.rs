//! The way of a phone's browser to the broker, without a browser: hearth-web, and hearth-broker behind it.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use hearthd_tests::{Built, Doing, HearthBroker, HearthWeb, Memory, Result, client::PATIENCE};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

#[tokio::test]
async fn wrong_passwords_from_one_address_keep_another_phone_from_nothing() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("clients.sock");
    let password = folder.path().join("password");
    std::fs::write(&password, "secret")?;
    let config = format!(
        "home = \"alice\"\n[unix]\nsocket = {socket:?}\n[storage]\ndirectory = {:?}\n\
         [[account]]\nname = \"anna\"\nrole = \"resident\"\npassword_file = {password:?}\n",
        folder.path().join("storage"),
    );
    let broker = HearthBroker::start_configured(&built, folder.path(), &config).await?;
    let text = format!("[broker]\nurl = \"unix:{}\"\n", socket.display());
    let web = HearthWeb::start(&built, &folder.path().join("web"), &text).await?;

    let mut loops = tokio::task::JoinSet::new();
    let (tried, mut tries) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..4 {
        let (address, tried) = (web.address(), tried.clone());
        loops.spawn(async move {
            loop {
                let code = log_in(address, "127.0.0.2:0", "anna", "wrong").await;
                if tried.send(code).is_err() {
                    break;
                }
            }
        });
    }
    for _ in 0..8 {
        let code = timeout(PATIENCE, tries.recv()).await.doing("a refusal")?;
        assert_eq!(code.doing("a refusal")??, BAD_USER_NAME_OR_PASSWORD);
    }
    // The loop goes on while another phone logs in to the same account.
    assert_eq!(log_in(web.address(), "127.0.0.3:0", "anna", "secret").await?, SUCCESS);
    assert_eq!(
        log_in(web.address(), "127.0.0.3:0", "anna", "wrong").await?,
        BAD_USER_NAME_OR_PASSWORD
    );
    assert!(broker.log().contains("(from 127.0.0.2)"), "{}", broker.log());
    loops.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn thirty_two_phones_are_served_in_little_memory() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, folder.path()).await?;
    let text = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port());
    let mut web = HearthWeb::start(&built, &folder.path().join("web"), &text).await?;
    let idle = Memory::of(web.process().id())?.anonymous;
    let mut phones = Vec::new();
    for _ in 0..32 {
        let (phone, code) =
            page(web.address(), "127.0.0.1:0", "phone", "password-of-phone").await?;
        assert_eq!(code, SUCCESS);
        phones.push(phone);
    }
    // Each still is answered: PINGREQ, PINGRESP.
    for phone in &mut phones {
        phone.send(Message::binary(vec![0xC0, 0])).await.doing("send PINGREQ")?;
        let answer = timeout(PATIENCE, phone.next()).await.doing("wait for PINGRESP")?;
        let answer = answer.doing("there is no PINGRESP")?.doing("read PINGRESP")?;
        assert_eq!(&answer.as_payload()[..], [0xD0, 0]);
    }
    let busy = Memory::of(web.process().id())?.anonymous;
    println!("hearth-web has {idle} kB of its own when idle, {busy} kB with 32 phones");
    assert!(idle <= 3 * 1024, "idle: {idle} kB");
    assert!(busy <= idle + 32 * 64, "32 phones: {busy} kB, idle: {idle} kB");
    Ok(())
}

/// Logs in as a page does, from an address of this machine; returns CONNACK's reason code.
async fn log_in(web: SocketAddr, from: &str, account: &str, password: &str) -> Result<u8> {
    Ok(page(web, from, account, password).await?.1)
}

/// Logs in as a page does, from an address of this machine; returns its connection, and CONNACK's reason code.
async fn page(
    web: SocketAddr,
    from: &str,
    account: &str,
    password: &str,
) -> Result<(WebSocketStream<TcpStream>, u8)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from.parse().doing(from)?)?;
    let stream = socket.connect(web).await?;
    let builder = ClientBuilder::new()
        .uri(&format!("ws://{web}/mqtt"))
        .doing("the address")?
        .add_header(
            "Origin".parse().doing("a name")?,
            format!("http://{web}").parse().doing("a value")?,
        )
        .doing("Origin")?
        .add_header(
            "Sec-WebSocket-Protocol".parse().doing("a name")?,
            "mqtt".parse().doing("a value")?,
        )
        .doing("the subprotocol")?;
    let (mut page, _) = builder.connect_on(stream).await.doing("open a WebSocket")?;
    let mut body = b"\0\x04MQTT\x05\xC2\0\x1E\0\0\0".to_vec();
    for field in [account, password] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.bytes());
    }
    let mut packet = vec![CONNECT, body.len() as u8];
    packet.extend(body);
    page.send(Message::binary(packet)).await.doing("send CONNECT")?;
    let answer = timeout(PATIENCE, page.next()).await.doing("wait for CONNACK")?;
    let answer = answer.doing("there is no CONNACK")?.doing("read CONNACK")?;
    let bytes = answer.as_payload();
    (bytes.first() == Some(&CONNACK)).then_some(()).doing(format!("no CONNACK: {answer:?}"))?;
    let code = bytes.get(3).copied().doing("CONNACK is too short")?;
    Ok((page, code))
}

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const SUCCESS: u8 = 0;
const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
