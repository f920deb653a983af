//! One session: what it is subscribed to, and what is on its way to its client.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Filter, LastWill},
};
use tokio::{sync::mpsc, time::Instant};

use super::{oddities::Oddities, stored::Stored};

/// What the broker keeps of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: String,
    pub(super) account: String,
    pub(super) filters: BTreeMap<String, Filter>,
    pub(super) waiting: VecDeque<Stored>,
    pub(super) in_flight: VecDeque<(u16, Stored)>,
    pub(super) last_packet_id: u16,
    /// Receive Maximum of the client.
    pub(super) window: usize,
    pub(super) will: Option<LastWill>,
    /// The last connection, and what leads to its client while it lives.
    pub(super) connection: u64,
    pub(super) client: Option<mpsc::UnboundedSender<Outgoing>>,
    /// How long the session outlives its connection, and until when that is.
    pub(super) expiry: Duration,
    pub(super) until: Option<Instant>,
}

/// What goes out to a client.
#[derive(Debug)]
pub(super) enum Outgoing {
    Packet(Vec<u8>),
    /// Nothing follows.
    Close,
}

impl Session {
    pub(super) fn new(client_id: String) -> Self {
        Self {
            client_id,
            account: String::new(),
            filters: BTreeMap::new(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            last_packet_id: 0,
            window: 0,
            will: None,
            connection: 0,
            client: None,
            expiry: Duration::ZERO,
            until: None,
        }
    }

    pub(super) fn send(&self, packet: Vec<u8>) {
        // It fails where the connection is over, which its own task learns.
        let _ = self.client.as_ref().map(|client| client.send(Outgoing::Packet(packet)));
    }

    pub(super) fn end(&mut self, reason_code: u8) {
        self.send(vec![0xE0, 2, reason_code, 0]);
        if let Some(client) = self.client.take() {
            let _ = client.send(Outgoing::Close);
        }
    }

    /// The client is back: what it had not acknowledged goes first (MQTT 4.4).
    pub(super) fn send_again(&mut self, oddities: &Oddities) {
        for (packet_id, stored) in &self.in_flight {
            self.send(stored.packet(*packet_id, true, oddities));
        }
        self.deliver_waiting(oddities);
    }

    pub(super) fn deliver_waiting(&mut self, oddities: &Oddities) {
        if self.client.is_none() {
            return;
        }
        while self.in_flight.len() < self.window
            && let Some(stored) = self.waiting.pop_front()
        {
            if stored.until.is_some_and(|until| until <= Instant::now()) {
                continue;
            }
            if stored.publish.qos == QoS::AtMostOnce {
                self.send(stored.packet(0, false, oddities));
                continue;
            }
            self.last_packet_id = self.last_packet_id % u16::MAX + 1;
            self.send(stored.packet(self.last_packet_id, false, oddities));
            self.in_flight.push_back((self.last_packet_id, stored));
        }
    }
}
