//! What browsers and strangers cannot use up.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_websockets::Message;

use crate::site::{FakeBroker, PATIENCE, Site, WRONG_PASSWORD, connect};

#[tokio::test]
async fn text_frames_large_messages_and_what_is_no_mqtt_end_the_connection() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "").await;
    for (message, code) in [
        (Message::text("hello"), 1003),
        (Message::binary(vec![0; 1024 * 1024]), 1009),
        (Message::binary(b"GET / HTTP/1.1\r\n".to_vec()), 1002),
        (Message::binary(vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F]), 1009),
        (Message::binary(vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF]), 1002),
    ] {
        let mut page = site.page().await;
        page.try_send(message).await;
        let (ended, reason, _) = page.end().await;
        assert_eq!(ended, code, "{reason}");
    }
    // The same where it is logged in.
    for (message, code) in
        [(Message::text("hello"), 1003), (Message::binary(vec![0; 1024 * 1024]), 1009)]
    {
        let mut page = site.page().await;
        let _link = page.log_in(&broker).await;
        page.try_send(message).await;
        assert_eq!(page.end().await.0, code);
    }
}

#[tokio::test]
async fn whoever_sends_no_connect_or_nothing_at_all_is_shown_out() {
    let broker = FakeBroker::start().await;
    let more = "[limits]\nlogin_time = \"1s\"\nsilence = \"2s\"\n";
    let site = Site::start(&broker.url(), more).await;
    let mut idle = site.page().await;
    let mut slow = site.page().await;
    let mut quiet = site.page().await;
    slow.send(&connect("anna")[..3]).await;
    let link = quiet.log_in(&broker).await;
    for page in [&mut idle, &mut slow] {
        let (code, reason, _) = page.end().await;
        assert_eq!((code, reason.as_str()), (1008, "no CONNECT came in time"));
    }
    let (code, reason, _) = quiet.end().await;
    assert_eq!((code, reason.as_str()), (1008, "nothing came from the page for too long"));
    drop(link);
    // A broker that takes the connection and says nothing.
    let mut page = site.page().await;
    page.send(&connect("anna")).await;
    let _silent = broker.accept().await;
    assert_eq!(page.end().await.1, "the broker does not answer");
}

#[tokio::test]
async fn a_page_that_reads_nothing_holds_up_its_own_messages_and_is_ended() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "[limits]\nstall = \"1s\"\n").await;
    let mut deaf = site.page().await;
    let mut link = deaf.log_in(&broker).await;
    // The broker is not read from any more either: what waits is bounded.
    let chunk = vec![0; 64 * 1024];
    let mut sent = 0;
    while link.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 64 * 1024 * 1024, "it takes everything");
    }
    let mut other = site.page().await;
    other.log_in(&broker).await;
}

#[tokio::test]
async fn a_thousand_idle_sockets_keep_nobody_out() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "").await;
    let mut member = site.page().await;
    let mut link = member.log_in(&broker).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(site.connect().await);
    }
    let answer = site.ask("GET / HTTP/1.1\nHost: localhost").await;
    assert_eq!(answer.status(), 200);
    let mut page = site.page().await;
    page.log_in(&broker).await;
    // Those that had to go are gone.
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, idle[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the oldest one is still there");
    // Whoever was logged in notices nothing.
    member.send(&[0xC0, 0]).await;
    let mut ping = [0; 2];
    link.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0xC0, 0]);
}

#[tokio::test]
async fn no_more_pages_are_logged_in_than_there_is_room_for() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "[limits]\nconnections = 2\n").await;
    let (mut one, mut two, mut three) = (site.page().await, site.page().await, site.page().await);
    let _links =
        (one.log_in(&broker).await, two.log_in(&broker).await, three.log_in(&broker).await);
    let (code, reason, _) = three.end().await;
    assert_eq!((code, reason.as_str()), (1013, "too many pages are connected"));
}

#[tokio::test]
async fn a_wrong_password_in_a_loop_is_turned_away_before_the_broker_hears_of_it() {
    let broker = FakeBroker::start().await;
    let site = Site::start(&broker.url(), "[limits]\nwrong_passwords = 3\n").await;
    for _ in 0..3 {
        let mut page = site.page().await;
        page.send(&connect("anna")).await;
        let mut link = broker.accept().await;
        link.write_all(&WRONG_PASSWORD).await.unwrap();
        page.end().await;
    }
    let mut page = site.page().await;
    page.send(&connect("anna")).await;
    let (code, _, bytes) = page.end().await;
    assert_eq!((code, bytes[0], bytes[3]), (1008, 0x20, 0x9F));
    // Another account of the same address is asked about, and the broker has heard nothing in between.
    let mut page = site.page().await;
    page.send(&connect("bert")).await;
    let mut link = broker.accept().await;
    let mut packet = vec![0; connect("bert").len()];
    link.read_exact(&mut packet).await.unwrap();
    assert_eq!(packet, connect("bert"));
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let site = Site::start(&FakeBroker::start().await.url(), "").await;
    let mut endless = site.connect().await;
    endless.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let line = format!("X: {}\r\n", "x".repeat(1_000));
    let mut sent = 0;
    while endless.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
        if sent > 8 * 1024 * 1024 {
            panic!("it takes everything");
        }
    }
}
