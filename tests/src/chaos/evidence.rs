//! What the proxy sees pass between hub and broker: who had taken over what when something was lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};

use super::record::{Notebook, generation, key};
use crate::{
    Message,
    fault_proxy::{LinkId, Tap, Way},
};

/// Makes the tap that fills the record.
pub(super) fn tap(notebook: Arc<Notebook>) -> Tap {
    let unacknowledged = Mutex::new(Unacknowledged::default());
    Tap::new(move |link, way, bytes: &[u8]| {
        let Ok(packet) = Packet::read(&mut BytesMut::from(bytes), None) else { return };
        let mut unacknowledged = unacknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        unacknowledged.see(&notebook, link, way, packet);
    })
}

/// What waits for a PUBACK: Correlation Data by connection and packet identifier.
#[derive(Debug, Default)]
struct Unacknowledged {
    requests: BTreeMap<(LinkId, u16), String>,
    answers: BTreeMap<(LinkId, u16), String>,
}

impl Unacknowledged {
    fn see(&mut self, notebook: &Notebook, link: LinkId, way: Way, packet: Packet) {
        match (way, packet) {
            (Way::FromBroker, Packet::Publish(publish)) => {
                self.on_delivery(notebook, link, publish)
            }
            (Way::ToBroker, Packet::Publish(publish)) => {
                let packet_id = (link, publish.pkid);
                if let Some(key) = key(&publish.into()) {
                    self.answers.insert(packet_id, key);
                }
            }
            (Way::ToBroker, Packet::Connect(connect, ..)) => {
                notebook.open().clean_starts += usize::from(connect.clean_start);
            }
            (Way::ToBroker, Packet::PubAck(puback)) => {
                let now = notebook.now();
                if let Some(key) = self.requests.remove(&(link, puback.pkid))
                    && let Some(asked) = notebook.open().requests.get_mut(&key)
                {
                    asked.hub_acknowledged.get_or_insert(now);
                }
            }
            (Way::FromBroker, Packet::PubAck(puback)) => {
                let now = notebook.now();
                if let Some(key) = self.answers.remove(&(link, puback.pkid))
                    && let Some(asked) = notebook.open().requests.get_mut(&key)
                {
                    asked.answer_taken = Some(now);
                }
            }
            _ => {}
        }
    }

    fn on_delivery(&mut self, notebook: &Notebook, link: LinkId, publish: Publish) {
        let packet_id = (link, publish.pkid);
        let message = Message::from(publish);
        if message.text() == "offline"
            && let Some(data) = &message.correlation_data
        {
            let mut record = notebook.open();
            record.wills.entry(generation(data)).or_default().reached_hub = true;
        } else if let Some(key) = key(&message)
            && let Some(asked) = notebook.open().requests.get_mut(&key)
        {
            asked.delivered = true;
            self.requests.insert(packet_id, key);
        }
    }
}
