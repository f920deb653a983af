//! The page's own tests, in the JavaScript that they test, and a second opinion about its packets.

use std::process::Command;

use mqtt_protocol_core::mqtt::packet::v5_0;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");

/// Runs Node.js, from version 18 on.
fn node(arguments: &[&str]) -> String {
    let ran = Command::new("node").args(arguments).current_dir(FOLDER).output();
    let ran = ran.unwrap_or_else(|error| {
        panic!("start node: {error}; the tests of the page need Debian's package nodejs")
    });
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "node {arguments:?}: {}\n{said}\n{errors}", ran.status);
    said
}

#[test]
fn the_pages_tests_pass() {
    let said = node(&[
        "--test",
        "--test-reporter=tap",
        "mqtt.test.mjs",
        "home.test.mjs",
        "login.test.mjs",
        "topics.test.mjs",
        "words.test.mjs",
        "connection.test.mjs",
    ]);
    let passed = said.lines().find_map(|line| line.strip_prefix("# pass ")?.parse().ok());
    assert!(passed.is_some_and(|passed: usize| passed >= 40), "{said}");
}

#[test]
fn a_library_reads_the_packets_that_the_page_writes() {
    let script = "
        const m = await import('../../page/mqtt.mjs');
        const hex = (bytes) => Buffer.from(bytes).toString('hex');
        console.log(hex(m.connect({ clientId: 'web-1', username: 'anna', password: 'ü', keepAlive: 30 })));
        console.log(hex(m.publish({ topic: 'a/b', id: 7, payload: 'x'.repeat(300), properties: {
            payloadFormat: 1, expiry: 10, responseTopic: 'r/1', correlation: Uint8Array.of(1, 2), user: { retry: '1' } } })));
        console.log(hex(m.subscribe(9, ['a/#', 'b/+'])));
        console.log(hex(m.puback(3)));";
    let said = node(&["--input-type=module", "--eval", script]);
    let packets: Vec<Vec<u8>> = said.lines().map(bytes).collect();
    let body = |packet: &'_ [u8]| packet[if packet[1] < 0x80 { 2 } else { 3 }..].to_vec();

    let (connect, used) = v5_0::Connect::parse(&body(&packets[0])).unwrap();
    assert_eq!(used, body(&packets[0]).len());
    assert_eq!((connect.client_id(), connect.user_name()), ("web-1", Some("anna")));
    assert!(connect.clean_start());
    let asked = format!("{:?}", connect.props());
    assert!(asked.contains("RequestResponseInformation"), "{asked}");

    let content = std::sync::Arc::from(body(&packets[1]));
    let (publish, _) = v5_0::Publish::parse(packets[1][0] & 0x0F, content).unwrap();
    assert_eq!((publish.topic_name(), publish.packet_id()), ("a/b", Some(7)));
    assert_eq!(publish.payload().len(), 300);
    let properties = format!("{:?}", publish.props());
    for part in ["MessageExpiryInterval", "r/1", "CorrelationData", "retry"] {
        assert!(properties.contains(part), "{part}: {properties}");
    }

    let (subscribe, _) = v5_0::Subscribe::parse(&body(&packets[2])).unwrap();
    assert_eq!(subscribe.entries().len(), 2);
    let (puback, _) = v5_0::Puback::parse(&body(&packets[3])).unwrap();
    assert_eq!(puback.packet_id(), 3);
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
