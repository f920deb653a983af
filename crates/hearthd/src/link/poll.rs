//! The task that polls rumqttc, and what it makes of the end of a connection.

use std::{io::ErrorKind, pin::pin, time::Duration};

use hearth_core::Disconnection;
use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, StateError,
        mqttbytes::{
            QoS as WireQoS,
            v5::{ConnAck, Packet, Publish},
        },
    },
};
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    CONNECT_TIMEOUT, LinkFull,
    wire::{connect_code, disconnect_code},
    words::{describe, who_answers},
};
use crate::config::Broker;

/// What an acknowledgement needs to know of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) qos: WireQoS,
    pub(super) packet_id: u16,
}

/// What is handed to rumqttc one by one, between messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unhurried {
    Acknowledge(Receipt),
    Disconnect,
}

/// What waits to be handed over, in order.
pub(super) struct Waiting {
    pub(super) client: AsyncClient,
    pub(super) packets: mpsc::UnboundedReceiver<Unhurried>,
}

impl Waiting {
    /// Hands over the next, if there is one.
    fn try_next(&mut self) -> Result<(), LinkFull> {
        self.packets.try_recv().map_or(Ok(()), |packet| self.hand_over(packet))
    }

    /// Waits for the next, and hands it over.
    async fn next(&mut self) -> Result<(), LinkFull> {
        match self.packets.recv().await {
            Some(packet) => self.hand_over(packet),
            None => std::future::pending().await,
        }
    }

    fn hand_over(&self, packet: Unhurried) -> Result<(), LinkFull> {
        let handed = match packet {
            Unhurried::Acknowledge(Receipt { qos, packet_id: pkid }) => {
                self.client.try_ack(&Publish { qos, pkid, ..Publish::default() })
            }
            Unhurried::Disconnect => self.client.try_disconnect(),
        };
        handed.map_err(|_| LinkFull)
    }
}

/// Polls rumqttc until the connection ends.
///
/// A peer that says nothing for one and a half keep alive intervals is given up, as a broker does (MQTT 3.1.2.10):
/// rumqttc sends PINGREQ once in an interval, so a peer that is there says something.
pub(super) async fn poll(
    mut event_loop: EventLoop,
    mut waiting: Waiting,
    broker: Broker,
    events: mpsc::Sender<Result<Event, Disconnection>>,
) {
    let keep_alive = broker.keep_alive;
    let mut patience = CONNECT_TIMEOUT;
    let mut last_inbound = Instant::now();
    let mut silence = pin!(sleep_until(last_inbound + patience));
    let mut connected = false;
    loop {
        if waiting.try_next().is_err() {
            return;
        }
        if event_loop.options.keep_alive().is_zero() {
            // The broker wants none, and rumqttc would send PINGREQ without end: the hub goes on with its own, by which
            // it notices a peer that is gone.
            event_loop.options.set_keep_alive(keep_alive);
        }
        let polled = {
            // In its place from the beginning: this future is large, and moving it takes longer than polling it.
            let mut next = pin!(event_loop.poll());
            loop {
                select! {
                    biased;
                    polled = &mut next => break Some(polled),
                    handed = waiting.next() => {
                        if handed.is_err() {
                            return;
                        }
                    }
                    () = &mut silence => {
                        let end = last_inbound + patience;
                        if end <= Instant::now() {
                            break None;
                        }
                        silence.as_mut().reset(end);
                    }
                }
            }
        };
        if matches!(polled, Some(Err(_))) {
            // What came with the end came before it: rumqttc reads several packets at once, and would forget these.
            for event in event_loop.state.events.drain(..) {
                if !is_of_no_use(&event) && events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
        let who = match &polled {
            Some(Err(error)) if !connected && is_odd(error) => who_answers(&broker).await,
            _ => None,
        };
        let event = match polled {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) if !connected && (never_left(&error) || who.is_some()) => {
                let error = describe(&error);
                let error = who.map(|who| format!("{who} ({error})")).unwrap_or(error);
                Err(Disconnection::Unreachable { error })
            }
            Some(Err(error)) => Err(disconnection(error)),
            None => Err(Disconnection::Lost { error: "the broker does not answer".into() }),
        };
        if let Ok(Event::Incoming(packet)) = &event {
            last_inbound = Instant::now();
            if let Packet::ConnAck(connack) = packet {
                connected = true;
                patience = agreed_keep_alive(connack).unwrap_or(keep_alive).mul_f32(1.5);
                silence.as_mut().reset(last_inbound + patience);
            }
        }
        if event.as_ref().is_ok_and(is_of_no_use) {
            continue;
        }
        let last = matches!(event, Err(_) | Ok(Event::Outgoing(Outgoing::Disconnect)));
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

/// Returns whether an event says that a packet was written of which nobody asks when.
fn is_of_no_use(event: &Event) -> bool {
    let Event::Outgoing(packet) = event else { return false };
    !matches!(packet, Outgoing::Publish(_) | Outgoing::Disconnect)
}

/// Returns Server Keep Alive, which overrides the client's (MQTT 3.2.2.3.14).
fn agreed_keep_alive(connack: &ConnAck) -> Option<Duration> {
    let seconds = connack.properties.as_ref()?.server_keep_alive.filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

/// Returns whether something else than a broker of MQTT 5 may have answered.
fn is_odd(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Tls(error) => !error.to_string().contains("certificate"),
        ConnectionError::MqttState(
            StateError::ConnectionAborted | StateError::Deserialization(_),
        )
        | ConnectionError::NotConnAck(_) => true,
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::InvalidData
        ),
        _ => false,
    }
}

/// Returns whether a failed attempt ended before CONNECT was written: no name, no route, nobody listens, no TLS.
fn never_left(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Tls(_) => true,
        ConnectionError::Io(error) => !matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut
        ),
        _ => false,
    }
}

fn disconnection(error: ConnectionError) -> Disconnection {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            Disconnection::Refused { reason_code: connect_code(code) }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            Disconnection::ByBroker { reason_code: disconnect_code(reason_code), reason_string }
        }
        other => Disconnection::Lost { error: describe(&other) },
    }
}
