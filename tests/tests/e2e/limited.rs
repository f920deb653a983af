//! Brokers that offer less than the hub wants: it works with that, and says so.

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Message, Mosquitto, Result, client::PATIENCE,
};

/// Mosquitto without QoS 1 and retained messages, which ends a connection over either, and with a keep alive of its own.
const POOR: &str = "listener 1883 127.0.0.1\nallow_anonymous true\nmax_qos 0\n\
                    retain_available false\nmax_keepalive 10\n";

#[tokio::test]
async fn a_broker_without_qos_1_and_retained_messages_serves_and_it_is_told_what_that_costs()
-> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Mosquitto::start_configured(POOR).await?;
    let config = DaemonConfig::new(broker.access(None));
    let mut daemon = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    let mut phone = Client::connect(&broker.access(None), "phone").await?;
    phone.subscribe("response/phone/+").await?;
    phone.subscribe("hub/+/presence").await?;
    daemon.start(&mut phone).await?;
    let request = Message::new("cmnd/light-in-bedroom/power", "ON");
    let request = Message { at_least_once: false, ..request.respond_to("response/phone/1", "1") };
    phone.publish(request).await?;
    let answer = phone.expect_on("response/phone/1").await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));
    let status = daemon.command(&["status"]).await?;
    for lack in ["QoS 1", "retained messages"] {
        daemon.logged(&format!("the broker lacks a feature lack=\"{lack}\"")).await?;
        assert!(status.stdout.contains(&format!("does not offer {lack}")), "{status:?}");
    }
    let examined = daemon.command(&["doctor", "--timeout", "2s"]).await?;
    for told in ["not QoS 1", "not retained messages", "10 s, as the broker requires"] {
        assert!(examined.stdout.contains(told), "{told}: {examined:?}");
    }
    // Nothing of what it says has the broker end the connection.
    daemon.kill9()?;
    let offline = |m: &Message| m.topic == "hub/hearthd-demo/presence" && m.text() == "offline";
    phone.expect("the will, which is neither QoS 1 nor retained", PATIENCE, offline).await?;
    assert_eq!(daemon.log().matches("no connection").count(), 0, "{}", daemon.log());
    Ok(())
}
