//! A sender, a reader who sleeps and a thief: what the broker promises to clients that are no hubs.
//!
//! The sender's messages go out at QoS 1 and 2, some with an expiry; others are retained. The reader's session lasts. Both
//! lose nothing themselves. The thief has a hub's account, and tries to write what belongs to another hub.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use hearthd_broker::core::Outgoing;
use hearthd_core::Message;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnAck, ConnectReturnCode, Filter, Packet, PubAckReason, PubComp, PubRec, PubRecReason,
        PubRel, Publish, PublishProperties, RetainForwardRule, Subscribe, SubscribeReasonCode,
    },
};

use super::{Event, Who, World, hub, ms, wire};

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Sender,
    Reader,
    Thief,
}

/// The three, and what became of each message.
#[derive(Debug, Default)]
pub(super) struct Mail {
    ends: BTreeMap<Role, End>,
    reader_asleep_until: Duration,
    reader_is_subscribed: bool,
    letters: BTreeMap<u64, Letter>,
    /// Numbers of the letters that the sender has to finish, in order.
    under_way: VecDeque<u64>,
    last_packet_id: u16,
    /// Packet identifiers of QoS 2 messages that the reader has and that are not released.
    received: BTreeSet<u16>,
    boards: BTreeMap<String, Board>,
}

/// One end's connection.
#[derive(Debug, Default)]
struct End {
    link: Option<u64>,
    is_connected: bool,
    has_session: bool,
}

/// A message of the sender's.
#[derive(Debug)]
struct Letter {
    topic: String,
    qos: QoS,
    expiry: Option<u32>,
    packet_id: u16,
    was_sent: bool,
    /// PUBACK or PUBREC came.
    acknowledged: bool,
    /// When the broker got it first and last.
    at_broker: Option<(Duration, Duration)>,
    /// How often the reader was given it, repeats of QoS 2 aside.
    arrived: usize,
}

/// A retained topic: its messages have rising numbers.
#[derive(Debug, Default)]
struct Board {
    /// What must be there, whatever happens.
    certain: u64,
    /// What was acknowledged since the last end of the broker, and when.
    fresh: Vec<(u64, Duration)>,
}

impl Mail {
    /// What was acknowledged just now and is retained may be lost, and nothing else.
    pub(super) fn broker_ended(&mut self, now: Duration) {
        for board in self.boards.values_mut() {
            for (number, at) in std::mem::take(&mut board.fresh) {
                if at + RETAINED_WRITTEN <= now {
                    board.certain = board.certain.max(number);
                }
            }
        }
    }

    /// Returns what is not as it was promised; `retained` are the messages that a new subscriber got.
    pub(super) fn faults(&self, retained: &[Message]) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, letter) in &self.letters {
            if !letter.acknowledged {
                faults.push(format!("letter {number} was never acknowledged"));
            }
            if letter.topic != TOPIC {
                continue;
            }
            if letter.expiry.is_none() && letter.arrived == 0 {
                faults.push(format!("letter {number} was acknowledged and never arrived"));
            }
            if letter.qos == QoS::ExactlyOnce && letter.arrived > 1 {
                faults.push(format!("letter {number} arrived {} times at QoS 2", letter.arrived));
            }
        }
        for (topic, board) in &self.boards {
            let fresh = board.fresh.iter().map(|(number, _)| *number);
            let least = fresh.chain([board.certain]).max().unwrap_or_default();
            let found = retained.iter().rfind(|message| message.topic == *topic);
            let found = found.and_then(|message| number_of(&message.payload));
            if found.unwrap_or_default() < least {
                faults
                    .push(format!("{topic}: retained is {found:?}, and {least} was acknowledged"));
            }
        }
        faults
    }

    fn end(&mut self, role: Role) -> &mut End {
        self.ends.entry(role).or_default()
    }
}

impl World<'_> {
    /// Connects one end, once it is awake and the broker is up.
    pub(super) fn connect_mail(&mut self, role: Role) {
        let asleep = role == Role::Reader && self.mail.reader_asleep_until > self.now;
        if self.mail.end(role).link.is_some() {
            return;
        }
        if !self.broker.is_up() || (asleep && !self.calm) {
            let pause = ms(self.rng.u64(200..1_000));
            return self.after(pause, Event::MailConnects(role));
        }
        let link = self.open_link(Who::Mail(role));
        self.mail.end(role).link = Some(link);
        self.client_writes(link, &wire::connect(client_id(role), None, 20));
    }

    /// One end notices that its connection has ended; the thief does not come back by itself.
    pub(super) fn mail_loses(&mut self, role: Role, link: u64) {
        let end = self.mail.end(role);
        if end.link.take_if(|it| *it == link).is_none() {
            return;
        }
        end.is_connected = false;
        if role != Role::Thief {
            let pause = ms(self.rng.u64(50..2_000));
            self.after(pause, Event::MailConnects(role));
        }
    }

    /// The reader goes away for a while.
    pub(super) fn reader_sleeps(&mut self) {
        self.mail.reader_asleep_until = self.now + ms(self.rng.u64(..90_000));
        if let Some(link) = self.mail.end(Role::Reader).link {
            self.cut(link, "a reader sleeps");
        }
    }

    /// Takes a packet for one end.
    pub(super) fn mail_receives(&mut self, role: Role, link: u64, packet: Packet) {
        if self.mail.end(role).link != Some(link) {
            return;
        }
        match (role, packet) {
            (_, Packet::ConnAck(connack)) => self.mail_is_connected(role, link, &connack),
            (Role::Reader, Packet::SubAck(suback)) => {
                let granted = suback.return_codes.first();
                if granted != Some(&SubscribeReasonCode::Success(QoS::ExactlyOnce)) {
                    return self.violate(format!("the reader is refused: {suback:?}"));
                }
                if !std::mem::replace(&mut self.mail.reader_is_subscribed, true) {
                    self.after(ms(500), Event::MailSends);
                }
            }
            (Role::Reader, Packet::Publish(publish)) => self.reader_takes(link, &publish),
            (Role::Reader, Packet::PubRel(pubrel)) => {
                self.mail.received.remove(&pubrel.pkid);
                let pubcomp = Packet::PubComp(PubComp::new(pubrel.pkid, None));
                self.after(ms(5), Event::MailAnswers(role, link, Box::new(pubcomp)));
            }
            (Role::Sender, Packet::PubAck(puback)) => {
                let refused = puback.reason != PubAckReason::Success;
                self.letter_is_taken(puback.pkid, QoS::AtLeastOnce, refused, &puback.reason);
            }
            (Role::Sender, Packet::PubRec(pubrec)) => {
                let refused = pubrec.reason != PubRecReason::Success;
                self.letter_is_taken(pubrec.pkid, QoS::ExactlyOnce, refused, &pubrec.reason);
                self.client_writes(link, &Packet::PubRel(PubRel::new(pubrec.pkid, None)));
            }
            (Role::Sender, Packet::PubComp(pubcomp)) => self.letter_is_done(pubcomp.pkid),
            (Role::Thief, Packet::PubAck(puback)) => {
                if puback.reason != PubAckReason::NotAuthorized {
                    self.violate(format!("one hub writes what is another's: {:?}", puback.reason));
                }
                if puback.pkid == 2 {
                    self.mail_loses(role, link);
                    self.close_client_end(link);
                }
            }
            _ => {}
        }
    }

    fn mail_is_connected(&mut self, role: Role, link: u64, connack: &ConnAck) {
        if connack.code != ConnectReturnCode::Success {
            return self.violate(format!("{role:?} is refused: {:?}", connack.code));
        }
        let end = self.mail.end(role);
        end.is_connected = true;
        if std::mem::replace(&mut end.has_session, true) && !connack.session_present {
            return self.violate(format!("the session of {role:?} is lost"));
        }
        match role {
            Role::Sender => {
                for number in self.mail.under_way.clone() {
                    self.write_letter(link, number);
                }
            }
            Role::Reader if !self.mail.reader_is_subscribed => {
                let filter = Filter {
                    path: TOPIC.to_owned(),
                    qos: QoS::ExactlyOnce,
                    nolocal: false,
                    preserve_retain: true,
                    retain_forward_rule: RetainForwardRule::Never,
                };
                let filters = vec![filter];
                let subscribe = Subscribe { pkid: 1, filters, properties: None };
                self.client_writes(link, &Packet::Subscribe(subscribe));
            }
            Role::Reader => {}
            Role::Thief => {
                let topics = [
                    format!("home/state/{}/power", hub::device(1)),
                    "home/hub/hearthd-1/presence".to_owned(),
                ];
                for (topic, packet_id) in topics.iter().zip(1..) {
                    let mut publish = publish(topic, QoS::AtLeastOnce, packet_id, "forged");
                    publish.retain = true;
                    self.client_writes(link, &Packet::Publish(publish));
                }
                self.count("a thief refused");
            }
        }
    }

    /// The sender writes the next letter.
    pub(super) fn send_letter(&mut self) {
        let mail = &mut self.mail;
        if mail.under_way.len() < MOST_UNDER_WAY && !self.calm {
            let number = mail.letters.len() as u64 + 1;
            mail.last_packet_id = mail.last_packet_id.checked_add(1).unwrap_or(1);
            let (packet_id, rng) = (mail.last_packet_id, &mut self.rng);
            let (topic, qos, expiry) = match rng.u8(..4) {
                0 => (format!("home/board/{}", rng.u8(..3)), QoS::AtLeastOnce, None),
                1 => (TOPIC.to_owned(), QoS::AtLeastOnce, None),
                2 => (TOPIC.to_owned(), QoS::ExactlyOnce, None),
                _ => (TOPIC.to_owned(), QoS::ExactlyOnce, Some(rng.u32(5..60))),
            };
            let letter = Letter {
                topic,
                qos,
                expiry,
                packet_id,
                was_sent: false,
                acknowledged: false,
                at_broker: None,
                arrived: 0,
            };
            mail.letters.insert(number, letter);
            mail.under_way.push_back(number);
            let end = mail.end(Role::Sender);
            if let Some(link) = end.link.filter(|_| end.is_connected) {
                self.write_letter(link, number);
            }
        }
        if !self.calm {
            let pause = ms(self.rng.u64(100..4_000));
            self.after(pause, Event::MailSends);
        }
    }

    fn write_letter(&mut self, link: u64, number: u64) {
        let Some(letter) = self.mail.letters.get_mut(&number) else { return };
        let packet = if letter.qos == QoS::ExactlyOnce && letter.acknowledged {
            Packet::PubRel(PubRel::new(letter.packet_id, None))
        } else {
            let mut publish =
                publish(&letter.topic, letter.qos, letter.packet_id, &number.to_string());
            publish.dup = std::mem::replace(&mut letter.was_sent, true);
            publish.retain = letter.topic != TOPIC;
            if let Some(properties) = &mut publish.properties {
                properties.message_expiry_interval = letter.expiry;
            }
            Packet::Publish(publish)
        };
        self.client_writes(link, &packet);
    }

    fn letter_is_taken(
        &mut self,
        packet_id: u16,
        qos: QoS,
        refused: bool,
        reason: &dyn std::fmt::Debug,
    ) {
        let Some(number) = self.letter_of(packet_id) else { return };
        let now = self.now;
        let Some(letter) = self.mail.letters.get_mut(&number) else { return };
        letter.acknowledged = true;
        // Nobody subscribes to the boards.
        if refused && letter.topic == TOPIC {
            return self.violate(format!("letter {number} is answered {reason:?}"));
        }
        if letter.topic != TOPIC {
            let board = self.mail.boards.entry(letter.topic.clone()).or_default();
            board.fresh.push((number, now));
        }
        if qos == QoS::AtLeastOnce {
            self.letter_is_done(packet_id);
        }
    }

    fn letter_is_done(&mut self, packet_id: u16) {
        if let Some(number) = self.letter_of(packet_id) {
            self.mail.under_way.retain(|it| *it != number);
        }
    }

    fn letter_of(&self, packet_id: u16) -> Option<u64> {
        let mut under_way = self.mail.under_way.iter();
        under_way.find(|number| self.mail.letters[number].packet_id == packet_id).copied()
    }

    fn reader_takes(&mut self, link: u64, publish: &Publish) {
        let id = publish.pkid;
        let Some(number) = number_of(&publish.payload) else {
            return self.violate("a letter that nobody wrote");
        };
        let exactly_once = publish.qos == QoS::ExactlyOnce;
        let is_new = !exactly_once || self.mail.received.insert(id);
        let Some(letter) = self.mail.letters.get_mut(&number) else { return };
        letter.arrived += usize::from(is_new);
        self.count("a letter");
        let answer = match exactly_once {
            true => Packet::PubRec(PubRec::new(id, None)),
            false => wire::puback(id),
        };
        self.after(ms(5), Event::MailAnswers(Role::Reader, link, Box::new(answer)));
    }

    /// Sends an acknowledgement, if the connection is still the same.
    pub(super) fn mail_answers(&mut self, role: Role, link: u64, packet: &Packet) {
        if self.mail.end(role).link == Some(link) {
            self.client_writes(link, packet);
        }
    }

    /// The broker gets a letter.
    pub(super) fn letter_at_broker(&mut self, payload: &[u8]) {
        let now = self.now;
        let letter = number_of(payload).and_then(|number| self.mail.letters.get_mut(&number));
        if let Some(letter) = letter {
            letter.at_broker = Some((letter.at_broker.map_or(now, |(first, _)| first), now));
        }
    }

    /// The broker hands a letter out: what remains of its expiry is exact to the second (MQTT 3.3.2.3.3).
    pub(super) fn letter_from_broker(&mut self, packet: &Outgoing) {
        let Outgoing::Publish(delivery) = packet else { return };
        let Some(number) = number_of(&delivery.message.payload) else { return };
        let Some(letter) = self.mail.letters.get(&number) else { return };
        let (Some(interval), Some((first, last))) = (letter.expiry, letter.at_broker) else {
            return;
        };
        let whole = Duration::from_secs(interval.into());
        let least = whole.saturating_sub(self.now - first).as_secs();
        let most = whole.saturating_sub(self.now - last);
        if most.is_zero() && !delivery.dup {
            self.violate(format!("letter {number} is sent after its end"));
        }
        let most = most.as_secs() + 1;
        let left = delivery.expiry.map(u64::from);
        if !left.is_some_and(|left| (least..=most).contains(&left)) {
            let what = format!("letter {number} has {left:?} s left, not {least} to {most}");
            self.violate(what);
        }
    }
}

fn publish(topic: &str, qos: QoS, packet_id: u16, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.to_owned().into(),
        pkid: packet_id,
        payload: payload.to_owned().into(),
        properties: Some(PublishProperties::default()),
    }
}

fn number_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

fn client_id(role: Role) -> &'static str {
    match role {
        Role::Sender => "sender",
        Role::Reader => "reader",
        Role::Thief => "thief",
    }
}

/// The reader's topic.
pub(super) const TOPIC: &str = "home/mail";
/// Letters that the sender has not finished.
const MOST_UNDER_WAY: usize = 50;
/// Until then a retained message is on the disk: a second, and what the disk takes.
const RETAINED_WRITTEN: Duration = Duration::from_millis(2_500);
