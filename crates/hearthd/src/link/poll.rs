//! The task that polls rumqttc, and reports how a connection ended.

use std::{io::ErrorKind, pin::pin, time::Duration};

use hearthd_core::Disconnection;
use hearthd_packets::{connect_code, disconnect_code};
use rumqttc::{
    Outgoing, TlsConfiguration,
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
    CONNECT_TIMEOUT,
    relay::{Refusal, Relay},
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
pub(super) enum QueuedPacket {
    Acknowledge(Receipt),
    Disconnect,
    /// Ends the connection because the broker breaks the standard.
    Protest,
}

/// What the poller tells the link.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and a box for each costs more"
)]
/// What the task of a connection reports.
pub(super) enum Polled {
    Event(Event),
    /// A PUBLISH that the relay could not read, and has refused.
    Unreadable {
        topic: String,
        error: String,
    },
    /// Nothing follows.
    Ended(Ended),
}

/// Why the connection is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) cause: Disconnection,
    /// Whether a relay makes something of the next connection that rumqttc alone does not.
    pub(super) wants_relay: bool,
}

/// What a relay needs.
#[derive(Debug)]
pub(super) struct Relaying {
    pub(super) name: String,
    pub(super) tls: Option<TlsConfiguration>,
}

/// What waits to be handed over, in order.
pub(super) struct Waiting {
    pub(super) client: AsyncClient,
    pub(super) packets: mpsc::UnboundedReceiver<QueuedPacket>,
}

impl Waiting {
    /// Hands over the next, if there is one.
    fn try_next(&mut self) -> Result<(), HandOverError> {
        self.packets.try_recv().map_or(Ok(()), |packet| self.hand_over(packet))
    }

    /// Waits for the next, and hands it over.
    async fn next(&mut self) -> Result<(), HandOverError> {
        match self.packets.recv().await {
            Some(packet) => self.hand_over(packet),
            None => std::future::pending().await,
        }
    }

    fn hand_over(&self, packet: QueuedPacket) -> Result<(), HandOverError> {
        let handed = match packet {
            QueuedPacket::Acknowledge(Receipt { qos, packet_id: pkid }) => {
                self.client.try_ack(&Publish { qos, pkid, ..Publish::default() })
            }
            QueuedPacket::Disconnect => self.client.try_disconnect(),
            QueuedPacket::Protest => return Err(HandOverError::Protest),
        };
        handed.map_err(|_| HandOverError::Full)
    }
}

/// Why a packet was not handed over.
enum HandOverError {
    /// rumqttc takes no more: it is over.
    Full,
    /// rumqttc cannot write it.
    Protest,
}

/// The task that polls rumqttc until the connection ends.
pub(super) struct Poller {
    pub(super) event_loop: EventLoop,
    pub(super) waiting: Waiting,
    pub(super) broker: Broker,
    /// None where rumqttc connects to the broker itself.
    pub(super) relaying: Option<Relaying>,
    pub(super) events: mpsc::Sender<Polled>,
}

impl Poller {
    /// Runs the connection until it ends, through a relay where that is wanted.
    pub(super) async fn run(mut self) {
        let mut relay = None;
        if let Some(Relaying { name, tls }) = self.relaying.take() {
            match Relay::start(&name, &self.broker, tls, self.events.clone()).await {
                Ok(started) => relay = Some(started),
                Err(error) => return self.end(&error, false, None).await,
            }
        }
        self.poll(relay.as_ref()).await;
    }

    /// Polls rumqttc until the connection ends.
    ///
    /// A peer that says nothing for one and a half keep alive intervals is given up, as a broker does (MQTT 3.1.2.10):
    /// rumqttc sends one PINGREQ in each interval, so a living peer always sends something.
    async fn poll(&mut self, relay: Option<&Relay>) {
        let keep_alive = self.broker.keep_alive;
        let mut patience = CONNECT_TIMEOUT;
        let mut last_inbound = Instant::now();
        let mut silence = pin!(sleep_until(last_inbound + patience));
        let mut connected = false;
        loop {
            if let Err(why) = self.waiting.try_next() {
                return self.stop(why, relay).await;
            }
            if self.event_loop.options.keep_alive().is_zero() {
                // The broker wants none, and rumqttc would send PINGREQ without end: the hub goes on with its own, by
                // which it notices a peer that is gone.
                self.event_loop.options.set_keep_alive(keep_alive);
            }
            let polled = {
                // In its place from the beginning: this future is large, and moving it takes longer than polling it.
                let mut next = pin!(self.event_loop.poll());
                loop {
                    select! {
                        biased;
                        polled = &mut next => break Ok(polled),
                        handed = self.waiting.next() => {
                            if let Err(why) = handed {
                                break Err(Some(why));
                            }
                        }
                        () = &mut silence => {
                            let end = last_inbound + patience;
                            if end <= Instant::now() {
                                break Err(None);
                            }
                            silence.as_mut().reset(end);
                        }
                    }
                }
            };
            let event = match polled {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return self.end(&error, connected, relay).await,
                Err(Some(why)) => return self.stop(why, relay).await,
                Err(None) => {
                    let cause = Disconnection::Lost { error: "the broker does not answer".into() };
                    return self.tell_end(cause, false).await;
                }
            };
            if let Event::Incoming(packet) = &event {
                last_inbound = Instant::now();
                if let Packet::ConnAck(connack) = packet {
                    connected = true;
                    patience = agreed_keep_alive(connack).unwrap_or(keep_alive).mul_f32(1.5);
                    silence.as_mut().reset(last_inbound + patience);
                }
            }
            if is_of_no_use(&event) {
                continue;
            }
            let last = matches!(event, Event::Outgoing(Outgoing::Disconnect));
            if let Some(relay) = relay.filter(|_| last) {
                // The will is deleted only where the broker has it.
                relay.farewell().await;
            }
            if self.events.send(Polled::Event(event)).await.is_err() || last {
                return;
            }
        }
    }

    /// rumqttc reports an error.
    async fn end(&mut self, error: &ConnectionError, connected: bool, relay: Option<&Relay>) {
        let mut server_reference = None;
        // What came with the end came before it: rumqttc reads several packets at once, and would forget these.
        let drained: Vec<Event> = self.event_loop.state.events.drain(..).collect();
        for event in drained {
            if let Event::Incoming(Packet::Disconnect(disconnect)) = &event {
                let properties = disconnect.properties.as_ref();
                server_reference = properties.and_then(|all| all.server_reference.clone());
            }
            if !is_of_no_use(&event) && self.events.send(Polled::Event(event)).await.is_err() {
                return;
            }
        }
        let who = match error {
            error if !connected && is_odd(error) => who_answers(&self.broker).await,
            _ => None,
        };
        let refusal = relay.map(Relay::refusal).unwrap_or_default();
        let cause = if !connected && (never_left(error) || who.is_some()) {
            let error = describe(error);
            let error = who.map(|who| format!("{who} ({error})")).unwrap_or(error);
            Disconnection::Unreachable { error }
        } else {
            disconnection(error, refusal, server_reference)
        };
        self.tell_end(cause, wants_relay(error)).await;
    }

    /// Stops polling.
    async fn stop(&mut self, why: HandOverError, relay: Option<&Relay>) {
        let HandOverError::Protest = why else { return };
        if let Some(relay) = relay {
            relay.disconnect(PROTOCOL_ERROR).await;
        }
        let error = "the broker breaks the MQTT 5 standard".into();
        self.tell_end(Disconnection::Lost { error }, true).await;
    }

    async fn tell_end(&mut self, cause: Disconnection, wants_relay: bool) {
        // The link may be gone already.
        let _ = self.events.send(Polled::Ended(Ended { cause, wants_relay })).await;
    }
}

/// Returns whether the relay would have made more of this.
fn wants_relay(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ConnectionRefused(_)
            | ConnectionError::MqttState(
                StateError::ConnFail { .. } | StateError::Deserialization(_)
            )
    )
}

/// Returns whether an event reports a written packet that the driver does not track.
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

/// Returns whether a failed attempt ended before CONNECT was written: no name, no route, no listener, no TLS.
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

fn disconnection(
    error: &ConnectionError,
    refusal: Refusal,
    server_reference: Option<String>,
) -> Disconnection {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            let Refusal { reason_string, server_reference } = refusal;
            Disconnection::Refused {
                reason_code: connect_code(*code),
                reason_string,
                server_reference,
            }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let (reason_code, reason_string) =
                (disconnect_code(*reason_code), reason_string.clone());
            Disconnection::ByBroker { reason_code, reason_string, server_reference }
        }
        other => Disconnection::Lost { error: describe(other) },
    }
}

/// DISCONNECT reason code (MQTT 3.14.2.1).
const PROTOCOL_ERROR: u8 = 0x82;
