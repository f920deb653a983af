//! Devices that ask other devices, through their hubs.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hearthd_core::{
    BridgeInput, Expects, Input, Message, Publication, PublishError, QoS, Request, RequestId,
    topic::Prefix,
};

use super::{World, home::topics, network::show_message};
use crate::{
    devices::{HEATER, LAMP, asked_by},
    invariants::Invariant,
    ledger::{Asked, VIA},
    link::{HubId, Life},
    report::Reached,
};

/// What devices have asked, by the number of the message.
#[derive(Debug)]
pub(crate) struct Questions {
    /// Apart from the world's, so that nothing else is drawn otherwise.
    rng: fastrand::Rng,
    all: BTreeMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    life: Life,
    device: &'static str,
    /// The request, in the ledger.
    index: usize,
    /// The request that waits for it, if one does.
    request: Option<RequestId>,
    /// Until when the device waits.
    until: Duration,
    has_left: bool,
    is_over: bool,
}

impl Questions {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed ^ APART), all: BTreeMap::new() }
    }

    /// A device begins anew, and waits for nothing.
    pub(super) fn forget(&mut self, hub: HubId, device: &str) {
        let its = |question: &&mut Question| question.life.hub == hub && question.device == device;
        self.all.values_mut().filter(its).for_each(|question| question.is_over = true);
    }

    /// A device has answered a request: it waits no more for what belongs to that.
    pub(super) fn answered(&mut self, life: Life, request: RequestId) {
        let its =
            |question: &&mut Question| question.life == life && question.request == Some(request);
        self.all.values_mut().filter(its).for_each(|question| question.until = Duration::ZERO);
    }
}

impl World {
    /// Devices ask others, so many times each.
    pub(super) fn devices_ask(&mut self, times: usize) {
        for hub in self.hub_ids() {
            for device in [LAMP, HEATER].into_iter().cycle().take(2 * times) {
                if self.hub(hub).devices.contains(device)
                    && let Some(question) = self.question(hub, device, None)
                {
                    self.feed(hub, question);
                }
            }
        }
    }

    /// A device that carries a request out asks another one for it, now and then.
    pub(super) fn ask_for(&mut self, hub: HubId, request: &Request) {
        let device = [LAMP, HEATER].into_iter().find(|device| **device == *request.device);
        if let Some(device) = device
            && self.questions.rng.u8(..3) == 0
            && let Some(question) = self.question(hub, device, Some(request))
        {
            self.queue(hub, question);
        }
    }

    /// Has a device ask the one that it may ask; returns what its hub is given.
    fn question(
        &mut self,
        hub: HubId,
        device: &'static str,
        request: Option<&Request>,
    ) -> Option<Input> {
        let (other, property) = asked_by(device, self.setup.asking)?;
        self.hub(hub).daemon.as_ref()?;
        let expiry = Duration::from_secs(self.questions.rng.u64(1..=10));
        let within = request.map_or(expiry, |request| expiry.min(request.remaining));
        let index = self.ledger.asked.len();
        let payload = Bytes::from(format!("v#{index}"));
        self.ledger.add(Asked {
            device: other,
            property,
            sender: hub.client_id(),
            by_device: true,
            sets: true,
            idempotent: true,
            first_sent: self.now,
            ..Asked::new(Message { payload: payload.clone(), ..Message::default() })
        });
        let number = self.bridges.begin(hub, device);
        let question = Question {
            life: self.hub(hub).life,
            device,
            index,
            request: request.map(|request| request.id),
            until: self.now + within,
            has_left: false,
            is_over: false,
        };
        self.questions.all.insert(number, question);
        let publication = Publication {
            number,
            topic: format!("{other}/{property}"),
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            expiry,
            expects: Expects::Answer,
            request: request.map(|request| request.id),
        };
        let input = BridgeInput::Publish(publication);
        Some(Input::Bridge { device: device.to_owned(), input })
    }

    /// Whether a hub's message is a request of one of its devices.
    pub(crate) fn is_question(&self, prefix: Option<&Prefix>, message: &Message) -> bool {
        self.ledger.question(message).is_some_and(|index| {
            let Asked { device, property, .. } = self.ledger.asked[index];
            let values = [("device", device), ("property", property)];
            message.topic == topics().request.build(prefix, &values)
        })
    }

    /// A device's request leaves its hub.
    pub(super) fn check_asked(&mut self, hub: HubId, message: &Message) {
        let Some(index) = self.ledger.question(message) else { return };
        self.reach(Reached::DeviceAsks);
        let (life, now) = (self.hub(hub).life, self.now);
        let mut all = self.questions.all.values_mut();
        let Some(question) = all.find(|question| question.index == index) else { return };
        let left = question.until.saturating_sub(now).as_secs() + 1;
        let in_time = question.life == life
            && !question.is_over
            && question.until >= now
            && message.expiry.is_some_and(|expiry| u64::from(expiry) <= left);
        let is_first = !std::mem::replace(&mut question.has_left, true);
        let mut waits = message.user_property(VIA).unwrap_or_default().rsplit(',');
        let names = waits.next() == Some(question.device);
        let prefix = self.connection_prefix(hub).map(|prefix| prefix.as_str().to_owned());
        self.ledger.leaves(index, message, prefix);
        self.require(in_time && is_first && names, Invariant::AskedOnce, || show_message(message));
    }

    /// A device is told what became of its message: if that was a request, what it was answered.
    pub(super) fn check_told_in_time(&mut self, number: u64, result: &Result<Bytes, PublishError>) {
        let (now, tells_of_nobody) = (self.now, self.setup.habits.tells_of_nobody);
        let Some(question) = self.questions.all.get_mut(&number) else { return };
        question.is_over = true;
        let (index, until, waits) = (question.index, question.until, question.request.is_none());
        let in_time = !waits || now <= until + LATE;
        self.require(in_time, Invariant::AskAnswered, || {
            format!("request {index} of a device has its outcome {:?} late", now - until)
        });
        let answer = match result {
            Ok(answer) => answer,
            Err(PublishError::Late) => return self.reach(Reached::DeviceToldTooLate),
            Err(_) => return,
        };
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let status = answer["status"].as_u64();
        let given = &self.ledger.asked[index].answers;
        let is_given = given.iter().any(|given| Some(u64::from(given.status)) == status);
        let nobody = status == Some(404) && tells_of_nobody;
        self.reach(match (status, answer["reason"].as_str()) {
            (Some(404), _) => Reached::DeviceToldOfNobody,
            (_, Some("loop")) => Reached::DeviceToldOfCircle,
            _ => Reached::DeviceToldAnswer,
        });
        self.require(is_given || nobody, Invariant::AskAnswered, || {
            format!("request {index} of a device is said to have the answer {answer}")
        });
    }

    /// At rest: no device of a hub waits for an answer whose time is over.
    pub(crate) fn check_told(&mut self, hub: HubId) {
        let (life, now) = (self.hub(hub).life, self.now);
        let waits = |question: &&Question| {
            question.life == life && !question.is_over && question.until + LATE < now
        };
        let waits = self.questions.all.values().find(waits);
        let waits = waits.filter(|question| self.hub(hub).devices.contains(question.device));
        let index = waits.map(|question| question.index);
        self.require(index.is_none(), Invariant::AskAnswered, || {
            format!("request {} of a device has no outcome", index.unwrap_or_default())
        });
    }
}

/// What is drawn here is drawn apart from what else is drawn for the seed.
const APART: u64 = 0x0A5C_0A5C;
/// How late an outcome may be.
const LATE: Duration = Duration::from_secs(1);
