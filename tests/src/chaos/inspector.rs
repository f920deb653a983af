//! One who comes when all is over: whether the broker has retained what is so.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    plan::{self, Hub, Ledger},
    record::Notebook,
};
use crate::{Access, Client, Message, Result};

/// Looks until everything is as it should be, or has had time to be; returns what is not.
pub(super) async fn inspect(access: &Access, notebook: &Notebook) -> Result<Vec<String>> {
    let Some(moving_at) = notebook.open().moving_at else {
        return Ok(vec!["the moving ledger is nowhere".into()]);
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(access, NAME).await?;
        let marker = plan::response(NAME);
        for filter in [&marker, &plan::under("hub/+/presence"), &plan::under("state/#")] {
            client.subscribe(filter).await?;
        }
        // A marker comes after what was retained, at these brokers.
        let retained = client.drain(&marker).await?;
        let unrest = judge(&retained, moving_at);
        if unrest.is_empty() || Instant::now() >= end {
            return Ok(unrest);
        }
        sleep(PAUSE).await;
    }
}

fn judge(retained: &[Message], moving_at: Hub) -> Vec<String> {
    let mut unrest = Vec::new();
    let on = |topic: &str| retained.iter().find(|message| message.topic == topic);
    let is = |topic: &str, text: &str, hub: Hub| {
        on(topic).is_some_and(|message| {
            message.text() == text && message.property("hub") == Some(hub.client_id())
        })
    };
    for hub in Hub::BOTH {
        let topic = hub.presence();
        if !is(&topic, "online", hub) {
            unrest.push(format!("{topic}: {}", shown(on(&topic))));
        }
    }
    let homes = Ledger::ALL.map(|ledger| (ledger.id(), ledger.fixed_at().unwrap_or(moving_at)));
    let others = [(plan::RELAY, Hub::Attic), (plan::SLOW, Hub::Cellar)];
    let mut homes: Vec<_> = homes.into_iter().chain(others).collect();
    for (device, hub) in &homes {
        let topic = plan::under(&format!("state/{device}/status"));
        if !is(&topic, "ready", *hub) {
            unrest.push(format!("{topic}: {}", shown(on(&topic))));
        }
    }
    // A lamp whose bridge was just killed may still be unreachable.
    homes.push((plan::LAMP, Hub::Attic));
    for message in
        retained.iter().filter(|message| message.topic.starts_with(&plan::under("state/")))
    {
        let device = message.topic.split('/').nth(2).unwrap_or_default();
        let home = homes.iter().find(|(id, _)| *id == device).map(|(_, hub)| hub.client_id());
        if message.property("hub") != home && !message.topic.ends_with("/status") {
            unrest.push(format!("{}: {}", message.topic, shown(Some(message))));
        }
    }
    unrest
}

fn shown(message: Option<&Message>) -> String {
    message.map_or_else(
        || "nothing".into(),
        |message| format!("`{}` of {:?}", message.text(), message.property("hub")),
    )
}

const NAME: &str = "chaos-inspector";
/// How long it takes at most until what is left somewhere is taken back.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hub_is_online_and_each_state_is_of_the_hub_that_has_the_device() {
        let mut all: Vec<Message> = Hub::BOTH.map(|hub| of(hub.presence(), "online", hub)).into();
        for (device, hub) in [
            ("cellar-ledger", Hub::Cellar),
            ("attic-ledger", Hub::Attic),
            ("moving-ledger", Hub::Attic),
            ("relay", Hub::Attic),
            ("slow", Hub::Cellar),
        ] {
            all.push(of(plan::under(&format!("state/{device}/status")), "ready", hub));
        }
        assert_eq!(judge(&all, Hub::Attic), [""; 0]);
        let elsewhere = judge(&all, Hub::Cellar);
        assert_eq!(elsewhere.len(), 1, "{elsewhere:?}");
        all.push(of(plan::under("state/lamp/power"), "OFF", Hub::Attic));
        assert_eq!(judge(&all, Hub::Attic), [""; 0]);
        all[0] = of(Hub::Cellar.presence(), "offline", Hub::Cellar);
        all.push(of(plan::under("state/moving-ledger/line"), "a", Hub::Cellar));
        assert_eq!(judge(&all, Hub::Attic).len(), 2);
    }

    fn of(topic: String, text: &'static str, hub: Hub) -> Message {
        Message::new(topic, text).with_property("hub", hub.client_id())
    }
}
