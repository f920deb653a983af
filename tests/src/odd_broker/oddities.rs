//! What a broker says and does that others do not.

use rumqttc::v5::mqttbytes::{
    QoS, matches,
    v5::{ConnAckProperties, ConnectReturnCode, Filter, SubscribeReasonCode},
};

/// How a broker differs from an ordinary one, which offers everything up to QoS 1.
///
/// It is odd to the hub and its commands, whose client IDs begin with `hearthd`, and to whoever has none; the other
/// clients of a test find it ordinary. What it does to a message, it does for everybody.
#[derive(Clone, Debug)]
pub struct Oddities {
    /// The properties of CONNACK. The broker keeps to them; Response Information goes to whoever asks for it.
    pub connack: ConnAckProperties,
    /// It refuses CONNECT with this code, and with the reason string and the server reference of `connack`.
    pub refuses: Option<ConnectReturnCode>,
    /// It gives each connection a client identifier that nobody else has.
    pub assigns_each: bool,
    /// It answers whatever comes as a broker of MQTT 3.1.1 does, which refuses the version, and closes.
    pub speaks_3_1_1: bool,
    /// It says so in CONNACK, removes stamps that clients have made, and stamps each message with its sender.
    pub vouches: bool,
    /// Which SUBSCRIBE packets have an answer.
    pub subacks: Subacks,
    /// How many filters a session may have; more are refused with 0x97.
    pub filter_quota: Option<usize>,
    /// The QoS that it grants at most, whatever CONNACK says.
    pub granted: QoS,
    /// What it answers a PUBLISH of certain topics with; the first that fits counts.
    pub pubacks: Vec<OddPuback>,
    /// It ends the connection over a PUBLISH on topics of this filter, with 0x87.
    pub denied: Option<&'static str>,
    /// It adds this Message Expiry Interval, in seconds, to each message that has none.
    pub added_expiry: Option<u32>,
    /// It publishes wills without their Response Topic.
    pub wills_lose_response_topic: bool,
    /// It delivers wills with their Will Delay Interval, which does not belong into PUBLISH.
    pub wills_keep_delay: bool,
    /// It delivers messages on topics of this filter with a Will Delay Interval.
    pub strays: Option<&'static str>,
    /// It delivers messages on topics of this filter with a property that no standard knows.
    pub garbles: Option<&'static str>,
}

/// Which SUBSCRIBE packets are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subacks {
    /// Each.
    #[default]
    All,
    /// Those with one filter; others are ignored.
    OneFilter,
    /// None; they are ignored.
    Never,
}

/// What a PUBLISH is answered with in place of what it should be.
#[derive(Clone, Debug)]
pub struct OddPuback {
    /// The topics.
    pub filter: &'static str,
    /// The reason code; from 0x80 on the message goes nowhere. None for no PUBACK at all.
    pub reason_code: Option<u8>,
    /// How many messages it happens to.
    pub times: usize,
}

impl Default for Oddities {
    fn default() -> Self {
        let connack = ConnAckProperties {
            session_expiry_interval: None,
            receive_max: None,
            max_qos: Some(1),
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: Some(0),
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        };
        Self {
            connack,
            refuses: None,
            assigns_each: false,
            speaks_3_1_1: false,
            vouches: false,
            subacks: Subacks::All,
            filter_quota: None,
            granted: QoS::AtLeastOnce,
            pubacks: Vec::new(),
            denied: None,
            added_expiry: None,
            wills_lose_response_topic: false,
            wills_keep_delay: false,
            strays: None,
            garbles: None,
        }
    }
}

impl Oddities {
    /// Returns what a client experiences.
    pub(super) fn towards(&self, client_id: &str) -> Self {
        if client_id.is_empty() || client_id.starts_with("hearthd") {
            return self.clone();
        }
        let connack = ConnAckProperties {
            response_information: self.connack.response_information.clone(),
            ..Self::default().connack
        };
        Self { connack, ..Self::default() }
    }

    /// Returns the highest QoS of a PUBLISH or a will.
    pub(super) fn highest_qos(&self) -> QoS {
        if self.connack.max_qos == Some(0) { QoS::AtMostOnce } else { QoS::AtLeastOnce }
    }

    /// Returns whether a message may be retained.
    pub(super) fn retains(&self) -> bool {
        self.connack.retain_available != Some(0)
    }

    /// Decides about a filter of a session that has so many others.
    pub(super) fn judge(&self, filter: &Filter, others: usize) -> SubscribeReasonCode {
        let wildcards = self.connack.wildcard_subscription_available != Some(0);
        if !wildcards && filter.path.contains(['+', '#']) {
            return SubscribeReasonCode::WildcardSubscriptionsNotSupported;
        }
        if self.filter_quota.is_some_and(|quota| others >= quota) {
            return SubscribeReasonCode::QuotaExceeded;
        }
        let most = lower(self.granted, self.highest_qos());
        SubscribeReasonCode::Success(lower(filter.qos, most))
    }

    /// Takes the answer to a PUBLISH on this topic, where it is no ordinary one.
    pub(super) fn take_puback(&mut self, topic: &str) -> Option<Option<u8>> {
        let fits = |odd: &&mut OddPuback| odd.times > 0 && matches(topic, odd.filter);
        let odd = self.pubacks.iter_mut().find(fits)?;
        odd.times -= 1;
        Some(odd.reason_code)
    }
}

/// Returns the lower of two.
pub(super) fn lower(one: QoS, other: QoS) -> QoS {
    if (one as u8) < (other as u8) { one } else { other }
}
