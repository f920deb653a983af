//! A broker that vouches for who has sent a message.

use hearthd_tests::{Client, Message, Result, client::PATIENCE};

use super::Home;

#[tokio::test]
async fn whoever_acknowledges_a_will_is_called_by_its_account() -> Result<()> {
    let mut home = Home::start(|odd| odd.vouches = true).await?;
    // An answer is out, so the store knows of the connection.
    home.switch("light-in-bedroom/power", "ON").await?;
    home.daemon.kill9()?;
    let offline = |message: &Message| message.text() == "offline";
    let will = home.phone.expect("the will", PATIENCE, offline).await?;
    let mut guardian = Client::connect(&home.broker.access("guardian"), "tablet-7").await?;
    let acknowledgement = Message {
        correlation_data: will.correlation_data,
        ..Message::new(will.response_topic.expect("a will is a request"), "boiler off")
    };
    let forged = [
        ("client_id", "the fire brigade"),
        ("sender-account", "the fire brigade"),
        ("sender-client-id", "the fire brigade"),
    ];
    let forge = |message: Message, (name, value): (&str, &str)| message.with_property(name, value);
    guardian.publish(forged.into_iter().fold(acknowledgement, forge)).await?;
    let absence = home.absence_after_restart().await?;
    assert_eq!(absence["outcome"], "consumed", "{absence}");
    let acknowledgement = &absence["acknowledgements"][0];
    assert_eq!(acknowledgement["responder"], "guardian (tablet-7)", "{absence}");
    assert_eq!(acknowledgement["vouched"], true, "{absence}");
    Ok(())
}

#[tokio::test]
async fn two_accounts_with_equal_requests_are_two_senders() -> Result<()> {
    let mut home = Home::start(|odd| odd.vouches = true).await?;
    let toggle = Home::ask("light-in-bedroom/power", "TOGGLE");
    assert_eq!(home.phone.request(toggle.clone()).await?.text(), "ON");
    let mut tablet = Client::connect(&home.broker.access("tablet"), "tablet").await?;
    tablet.subscribe("response/phone/+").await?;
    // Whoever it says it is.
    let forged = toggle.clone().with_property("sender-account", "phone");
    assert_eq!(tablet.request(forged).await?.text(), "OFF");
    // Both hear every answer.
    home.phone.expect_on("response/phone/e2e").await?;
    let repeated = home.phone.request(toggle).await?;
    assert_eq!(repeated.status(), Some(409), "{}", repeated.text());
    assert_eq!(repeated.property("reason"), Some("superseded"), "{}", repeated.text());
    Ok(())
}

#[tokio::test]
async fn what_a_message_says_of_its_sender_is_just_text_where_nobody_vouches() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    let toggle = Home::ask("light-in-bedroom/power", "TOGGLE");
    assert_eq!(home.phone.request(toggle.clone()).await?.text(), "ON");
    let mut tablet = Client::connect(&home.broker.access("tablet"), "tablet").await?;
    tablet.subscribe("response/phone/+").await?;
    let forged = toggle.with_property("sender-account", "tablet");
    let repeated = tablet.request(forged).await?;
    assert_eq!((repeated.status(), repeated.text().as_str()), (Some(200), "ON"));
    assert!(repeated.property("repeated").is_some(), "{repeated:?}");
    Ok(())
}
