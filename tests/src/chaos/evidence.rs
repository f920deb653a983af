//! What a proxy sees pass between a hub and the broker: who had taken over what when something was lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};

use super::{
    plan::{FORGED, Hub},
    record::{Notebook, Record, Said, key},
    truth::Truth,
};
use crate::{
    Message,
    fault_proxy::{LinkId, Tap, Way},
};

/// Makes the tap that fills the record with what a hub gets and says.
pub(super) fn tap(hub: Hub, notebook: Arc<Notebook>) -> Tap {
    let seen = Mutex::new(Seen {
        hub,
        life: 0,
        requests: BTreeMap::new(),
        published: BTreeMap::new(),
        truth: Truth::default(),
    });
    Tap::new(move |link, way, bytes: &[u8]| {
        let Ok(packet) = Packet::read(&mut BytesMut::from(bytes), None) else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.see(&notebook, link, way, packet);
    })
}

/// What waits for a PUBACK, by connection and packet identifier, and what was said before.
#[derive(Debug)]
struct Seen {
    hub: Hub,
    /// The life of the hub to which its connection belongs.
    life: usize,
    requests: BTreeMap<(LinkId, u16), String>,
    published: BTreeMap<(LinkId, u16), Published>,
    truth: Truth,
}

/// What a hub publishes that somebody waits for.
#[derive(Debug)]
enum Published {
    Answer(String),
    Acknowledgement(String),
}

impl Seen {
    fn see(&mut self, notebook: &Notebook, link: LinkId, way: Way, packet: Packet) {
        let now = notebook.now();
        let mut record = notebook.open();
        match (way, packet) {
            (Way::FromBroker, Packet::Publish(publish)) => {
                self.on_delivery(&mut record, link, publish);
            }
            (Way::ToBroker, Packet::Publish(publish)) => {
                self.on_publish(&mut record, link, publish);
            }
            // A question of the hub's, who answers in place of its broker, has a client ID of its own.
            (Way::ToBroker, Packet::Connect(connect, ..))
                if connect.client_id == self.hub.client_id() =>
            {
                record.clean_starts += usize::from(connect.clean_start);
                self.life = record.lives.get(&self.hub).copied().unwrap_or_default();
            }
            (Way::ToBroker, Packet::PubAck(puback)) => {
                if let Some(key) = self.requests.remove(&(link, puback.pkid))
                    && let Some(asked) = record.requests.get_mut(&key)
                {
                    asked.hub_acknowledged.get_or_insert(now);
                }
            }
            (Way::FromBroker, Packet::PubAck(puback)) => {
                match self.published.remove(&(link, puback.pkid)) {
                    Some(Published::Answer(key)) => {
                        if let Some(asked) = record.requests.get_mut(&key) {
                            asked.answer_taken = Some(now);
                        }
                    }
                    Some(Published::Acknowledgement(generation)) => {
                        record.acknowledged(&generation, now);
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn on_delivery(&mut self, record: &mut Record, link: LinkId, publish: Publish) {
        let packet_id = (link, publish.pkid);
        let message = Message::from(publish);
        let Some(key) = key(&message).filter(|_| message.property(FORGED).is_none()) else {
            return;
        };
        let is_will = message.text() == "offline" && message.response_topic.is_some();
        if is_will && message.topic == self.hub.presence() {
            record.wills.entry(key).or_default().reached_hub = true;
        } else if is_will && message.topic == self.hub.other().presence() {
            record.wills.entry(key).or_default().reached_guard = true;
        } else if let Some(asked) = record.requests.get_mut(&key)
            && asked.owner == self.hub
        {
            asked.delivered_to.get_or_insert(self.life);
            self.requests.insert(packet_id, key);
        }
    }

    fn on_publish(&mut self, record: &mut Record, link: LinkId, publish: Publish) {
        let packet_id = (link, publish.pkid);
        let message = Message::from(publish);
        let (Some(key), Some(said)) = (key(&message), Said::in_message(&message)) else { return };
        if message.topic == self.hub.other().response("will") {
            record.guarded.entry(key.clone()).or_default().statuses.push(said.status);
            // What it takes for a will may be forged, and then nobody tells of it.
            if record.wills.contains_key(&key) {
                record.acknowledges(&key);
                self.published.insert(packet_id, Published::Acknowledgement(key));
            }
            return;
        }
        let Some(asked) = record.requests.get_mut(&key) else { return };
        if asked.owner != self.hub {
            return asked.answered_elsewhere.push(said.status);
        }
        let asked = asked.clone();
        self.published.insert(packet_id, Published::Answer(key.clone()));
        let repeated = message.property("repeated").is_some();
        if (200..300).contains(&said.status) {
            if !repeated {
                self.truth.told(link, self.life, key, &asked, &said.payload);
            } else {
                record.repeats += 1;
                let untrue = self.truth.check(link, self.life, &key, &asked, &said.payload);
                record.untrue_repeats.extend(untrue);
            }
        }
    }
}
