//! Sessions and retained messages: who gets what.

use std::{collections::BTreeMap, time::Duration};

use rumqttc::v5::mqttbytes::{
    QoS, matches,
    v5::{
        ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Filter, LastWill, Login, Packet,
        PingResp, PubAck, PubAckReason, Publish, RetainForwardRule, SubAck, SubscribeReasonCode,
        UnsubAck, UnsubAckReason,
    },
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    oddities::{Oddities, Subacks, lower},
    session::{Outgoing, Session},
    stored::{Stored, encode},
};

/// All that the broker knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) oddities: Oddities,
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Stored>,
    /// Each packet that came, and when.
    received: Vec<(String, Packet, Instant)>,
    last_connection: u64,
    /// The reason code of each DISCONNECT that came.
    disconnects: Vec<(String, u8)>,
}

/// One connection to a session.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The key of its session.
    session: String,
    /// Which connection to the session it is.
    connection: u64,
    /// How long the client may be silent.
    pub(super) patience: Duration,
}

impl State {
    pub(super) fn connections(&self, client_id: &str) -> Vec<Instant> {
        let connect = |(id, packet, at): &(String, Packet, Instant)| {
            (id == client_id && matches!(packet, Packet::Connect(..))).then_some(*at)
        };
        self.received.iter().filter_map(connect).collect()
    }

    pub(super) fn packets(&self, client_id: &str) -> Vec<Packet> {
        let of_client = self.received.iter().filter(|(id, ..)| id == client_id);
        of_client.map(|(_, packet, _)| packet.clone()).collect()
    }

    pub(super) fn unacknowledged(&self, client_id: &str) -> usize {
        let sessions = self.sessions.values().filter(|session| session.client_id == client_id);
        sessions.map(|session| session.in_flight.len() + session.waiting.len()).sum()
    }

    pub(super) fn disconnects(&self, client_id: &str) -> Vec<u8> {
        let of_client = self.disconnects.iter().filter(|(id, _)| id == client_id);
        of_client.map(|(_, reason_code)| *reason_code).collect()
    }

    pub(super) fn note_disconnect(&mut self, member: &Member, reason_code: u8) {
        if let Some(session) = self.sessions.get(&member.session) {
            self.disconnects.push((session.client_id.clone(), reason_code));
        }
    }

    pub(super) fn has_session(&mut self, client_id: &str) -> bool {
        self.expire();
        self.sessions.values().any(|session| session.client_id == client_id)
    }

    /// Answers CONNECT; none where it is refused.
    pub(super) fn connect(
        &mut self,
        connect: Connect,
        will: Option<LastWill>,
        login: Option<Login>,
        size: usize,
        client: mpsc::UnboundedSender<Outgoing>,
    ) -> Option<Member> {
        self.expire();
        let packet = Packet::Connect(connect.clone(), will.clone(), login.clone());
        self.received.push((connect.client_id.clone(), packet, Instant::now()));
        let oddities = self.oddities.towards(&connect.client_id);
        if oddities.speaks_3_1_1 {
            let _ = client.send(Outgoing::Packet(CONNACK_OF_3_1_1.into()));
            let _ = client.send(Outgoing::Close);
            return None;
        }
        let asked = connect.properties.unwrap_or_default();
        let mut properties = oddities.connack.clone();
        if asked.request_response_info != Some(1) {
            properties.response_information = None;
        }
        if oddities.vouches {
            properties.user_properties.push((VOUCHES.into(), "1".into()));
        }
        if let Some(code) = refusal(&oddities, will.as_ref(), size) {
            let properties = ConnAckProperties {
                reason_string: properties.reason_string,
                server_reference: properties.server_reference,
                ..Oddities::default().connack
            };
            let connack = ConnAck { session_present: false, code, properties: Some(properties) };
            let _ = client.send(Outgoing::Packet(encode(&Packet::ConnAck(connack))));
            let _ = client.send(Outgoing::Close);
            return None;
        }
        if oddities.assigns_each {
            properties.assigned_client_identifier = Some(format!("auto-{}", self.last_connection));
        }
        let key = properties.assigned_client_identifier.as_ref().unwrap_or(&connect.client_id);
        let key = key.clone();
        let old = self.sessions.remove(&key).and_then(|mut old| {
            old.end(SESSION_TAKEN_OVER);
            (!connect.clean_start).then_some(old)
        });
        let connack = ConnAck {
            session_present: old.is_some(),
            code: ConnectReturnCode::Success,
            properties: Some(properties.clone()),
        };
        let _ = client.send(Outgoing::Packet(encode(&Packet::ConnAck(connack))));
        let expiry = properties.session_expiry_interval.or(asked.session_expiry_interval);
        self.last_connection += 1;
        let mut session = old.unwrap_or_else(|| Session::new(connect.client_id));
        session.account = login.map(|login| login.username).unwrap_or_default();
        session.window = asked.receive_maximum.unwrap_or(u16::MAX).into();
        session.will = will;
        session.connection = self.last_connection;
        session.client = Some(client);
        session.expiry = Duration::from_secs(expiry.unwrap_or(0).into());
        session.until = None;
        session.send_again(&oddities);
        self.sessions.insert(key.clone(), session);
        let keep_alive = properties.server_keep_alive.unwrap_or(connect.keep_alive);
        let patience = Duration::from_secs(keep_alive.into()).mul_f32(1.5);
        let patience = if keep_alive == 0 { FOREVER } else { patience };
        Some(Member { session: key, connection: self.last_connection, patience })
    }

    /// The connection is over; returns when its will is due, where it has one.
    pub(super) fn disconnected(&mut self, member: &Member, in_order: bool) -> Option<Duration> {
        let session = self.sessions.get_mut(&member.session)?;
        if session.connection != member.connection {
            return None;
        }
        session.client = None;
        session.until = Some(Instant::now() + session.expiry);
        // What is at most once is not kept.
        session.waiting.retain(|stored| stored.publish.qos != QoS::AtMostOnce);
        if in_order {
            session.will = None;
        }
        let expiry = session.expiry;
        let will = session.will.clone();
        let properties = will.as_ref()?.properties.as_ref();
        let delay = properties.and_then(|properties| properties.delay_interval).unwrap_or(0);
        let delay = Duration::from_secs(delay.into()).min(expiry);
        if delay.is_zero() {
            self.publish_will(member);
            return None;
        }
        Some(delay)
    }

    /// Publishes the will of a connection, unless its client has come back.
    pub(super) fn publish_will(&mut self, member: &Member) {
        let Some(session) = self.sessions.get_mut(&member.session) else { return };
        if session.connection != member.connection {
            return;
        }
        let Some(mut will) = session.will.take() else { return };
        if self.oddities.wills_lose_response_topic
            && let Some(properties) = &mut will.properties
        {
            properties.response_topic = None;
        }
        let sender = (session.account.clone(), session.client_id.clone());
        let stored = Stored::of_will(will, self.oddities.wills_keep_delay);
        self.expire();
        self.route(stored, &sender, None);
    }

    /// Ends a connection with a reason code.
    pub(super) fn end(&mut self, member: &Member, reason_code: u8) {
        if let Some(session) = self.sessions.get_mut(&member.session)
            && session.connection == member.connection
        {
            session.end(reason_code);
        }
    }

    pub(super) fn on_packet(&mut self, member: &Member, packet: Packet, size: usize) {
        self.expire();
        let Some(session) = self.sessions.get_mut(&member.session) else { return };
        if session.connection != member.connection || session.client.is_none() {
            return;
        }
        self.received.push((session.client_id.clone(), packet.clone(), Instant::now()));
        let oddities = self.oddities.towards(&session.client_id);
        if oddities.connack.max_packet_size.is_some_and(|most| size > most as usize) {
            return session.end(PACKET_TOO_LARGE);
        }
        match packet {
            Packet::Publish(publish) => self.on_publish(member, publish, &oddities),
            Packet::Subscribe(subscribe) => {
                let answered = match oddities.subacks {
                    Subacks::All => true,
                    Subacks::OneFilter => subscribe.filters.len() == 1,
                    Subacks::Never => false,
                };
                if answered {
                    self.on_subscribe(member, subscribe.pkid, subscribe.filters, &oddities);
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let is_there = |path: &String| match session.filters.remove(path) {
                    Some(_) => UnsubAckReason::Success,
                    None => UnsubAckReason::NoSubscriptionExisted,
                };
                let reasons = unsubscribe.filters.iter().map(is_there).collect();
                let unsuback = UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None };
                session.send(encode(&Packet::UnsubAck(unsuback)));
            }
            Packet::PubAck(puback) => {
                session.in_flight.retain(|(packet_id, _)| *packet_id != puback.pkid);
                session.deliver_waiting(&oddities);
            }
            Packet::PingReq(_) => session.send(encode(&Packet::PingResp(PingResp))),
            _ => session.end(PROTOCOL_ERROR),
        }
    }

    fn on_publish(&mut self, member: &Member, publish: Publish, oddities: &Oddities) {
        let Some(session) = self.sessions.get_mut(&member.session) else { return };
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        if publish.qos as u8 > oddities.highest_qos() as u8 {
            return session.end(QOS_NOT_SUPPORTED);
        }
        if publish.retain && !oddities.retains() {
            return session.end(RETAIN_NOT_SUPPORTED);
        }
        if oddities.denied.is_some_and(|filter| matches(&topic, filter)) {
            return session.end(NOT_AUTHORIZED);
        }
        // Only a client that finds the broker odd uses up what it is odd about.
        let is_odd = !oddities.pubacks.is_empty();
        let odd = is_odd.then(|| self.oddities.take_puback(&topic)).flatten();
        let sender = (session.account.clone(), session.client_id.clone());
        let (packet_id, qos) = (publish.pkid, publish.qos);
        let refused = odd.flatten().is_some_and(|code| code >= 0x80);
        let receivers = if refused {
            0
        } else {
            self.route(Stored::new(publish), &sender, Some(&member.session))
        };
        let Some(session) = self.sessions.get_mut(&member.session) else { return };
        if qos == QoS::AtMostOnce {
            return;
        }
        match odd {
            Some(None) => {}
            Some(Some(code)) => {
                let [high, low] = packet_id.to_be_bytes();
                session.send(vec![0x40, 4, high, low, code, 0]);
            }
            None => {
                let mut puback = PubAck::new(packet_id, None);
                if receivers == 0 {
                    puback.reason = PubAckReason::NoMatchingSubscribers;
                }
                session.send(encode(&Packet::PubAck(puback)));
            }
        }
    }

    fn on_subscribe(
        &mut self,
        member: &Member,
        pkid: u16,
        filters: Vec<Filter>,
        oddities: &Oddities,
    ) {
        let Some(session) = self.sessions.get_mut(&member.session) else { return };
        let mut return_codes = Vec::new();
        let mut retained = Vec::new();
        for mut filter in filters {
            let is_new = !session.filters.contains_key(&filter.path);
            let others = session.filters.len() - usize::from(!is_new);
            let code = oddities.judge(&filter, others);
            return_codes.push(code);
            let SubscribeReasonCode::Success(granted) = code else { continue };
            filter.qos = granted;
            let wanted = match filter.retain_forward_rule {
                RetainForwardRule::OnEverySubscribe => true,
                RetainForwardRule::OnNewSubscribe => is_new,
                RetainForwardRule::Never => false,
            };
            if wanted {
                let fits = |(topic, _): &(&String, &Stored)| matches(topic, &filter.path);
                let fitting = self.retained.iter().filter(fits);
                retained.extend(fitting.map(|(_, stored)| stored.clone().at_most(granted)));
            }
            session.filters.insert(filter.path.clone(), filter);
        }
        let suback = SubAck { pkid, return_codes, properties: None };
        session.send(encode(&Packet::SubAck(suback)));
        session.waiting.extend(retained);
        session.deliver_waiting(oddities);
    }

    /// Gives a message to all that want it; returns how many those are.
    fn route(
        &mut self,
        mut stored: Stored,
        sender: &(String, String),
        from: Option<&str>,
    ) -> usize {
        if self.oddities.vouches {
            stored.stamp(sender);
        }
        if let Some(seconds) = self.oddities.added_expiry {
            stored.expire_by_default(seconds);
        }
        let topic = String::from_utf8_lossy(&stored.publish.topic).into_owned();
        if stored.publish.retain {
            if stored.publish.payload.is_empty() {
                self.retained.remove(&topic);
            } else {
                self.retained.insert(topic.clone(), stored.clone());
            }
        }
        let mut receivers = 0;
        for (key, session) in &mut self.sessions {
            let own = from == Some(key.as_str());
            let wants =
                |filter: &&Filter| matches(&topic, &filter.path) && !(own && filter.nolocal);
            let wanting: Vec<&Filter> = session.filters.values().filter(wants).collect();
            let Some(granted) = wanting.iter().map(|filter| filter.qos).max_by_key(|q| *q as u8)
            else {
                continue;
            };
            receivers += 1;
            let mut copy = stored.clone().at_most(granted);
            copy.publish.retain &= wanting.iter().any(|filter| filter.preserve_retain);
            if session.client.is_none() && copy.publish.qos == QoS::AtMostOnce {
                continue;
            }
            session.waiting.push_back(copy);
            session.deliver_waiting(&self.oddities.towards(&session.client_id));
        }
        receivers
    }

    /// Forgets the sessions and the retained messages whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        // A will that is due with the end of its session is published by whoever waits for that.
        self.sessions.retain(|_, session| {
            session.will.is_some() || session.until.is_none_or(|until| until > now)
        });
        self.retained.retain(|_, stored| stored.until.is_none_or(|until| until > now));
    }
}

/// Returns why CONNECT is refused.
fn refusal(oddities: &Oddities, will: Option<&LastWill>, size: usize) -> Option<ConnectReturnCode> {
    if oddities.connack.max_packet_size.is_some_and(|most| size > most as usize) {
        return Some(ConnectReturnCode::PacketTooLarge);
    }
    if let Some(code) = oddities.refuses {
        return Some(code);
    }
    let will = will?;
    if lower(will.qos, oddities.highest_qos()) != will.qos {
        return Some(ConnectReturnCode::QoSNotSupported);
    }
    (will.retain && !oddities.retains()).then_some(ConnectReturnCode::RetainNotSupported)
}

/// The user property of CONNACK of a broker that vouches for senders.
const VOUCHES: &str = "vouches-for-senders";
/// What a broker of MQTT 3.1.1 says to a version that it does not know (MQTT 3.1.1, 3.2).
const CONNACK_OF_3_1_1: [u8; 4] = [0x20, 2, 0, 1];
/// Reason codes of DISCONNECT (MQTT 3.14.2.1).
const PROTOCOL_ERROR: u8 = 0x82;
const NOT_AUTHORIZED: u8 = 0x87;
const SESSION_TAKEN_OVER: u8 = 0x8E;
const PACKET_TOO_LARGE: u8 = 0x95;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
const QOS_NOT_SUPPORTED: u8 = 0x9B;
const FOREVER: Duration = Duration::from_secs(24 * 3600);
