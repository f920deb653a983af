//! What the hostile requester does.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::{Hostile, some_ledger};
use crate::{
    Message,
    chaos::{
        plan::{self, FORBIDDEN, FORGED, Hub, Ledger},
        record::Reuse,
    },
};

/// A kind of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chaos) enum Act {
    Presence,
    Acknowledgement,
    Junk,
    Status,
    Reuse,
    Long,
    Retained,
    ForbiddenResponse,
    Burst,
    Request,
    Clear,
}

impl Act {
    pub(in crate::chaos) const ALL: [Self; 11] = [
        Self::Presence,
        Self::Acknowledgement,
        Self::Junk,
        Self::Status,
        Self::Reuse,
        Self::Long,
        Self::Retained,
        Self::ForbiddenResponse,
        Self::Burst,
        Self::Request,
        Self::Clear,
    ];

    /// Returns its name in the report.
    pub(in crate::chaos) fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Acknowledgement => "acknowledgement",
            Self::Junk => "junk to a hub itself",
            Self::Status => "status of a device",
            Self::Reuse => "other's Correlation Data",
            Self::Long => "60 kB Correlation Data",
            Self::Retained => "retained request",
            Self::ForbiddenResponse => "forbidden Response Topic",
            Self::Burst => "burst at QoS 0",
            Self::Request => "request of its own",
            Self::Clear => "clears what it left",
        }
    }
}

/// Draws what is done next.
pub(super) fn draw(rng: &mut Rng) -> Act {
    let all: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.u32(..all);
    for (act, weight) in WEIGHTS {
        match at.checked_sub(weight) {
            Some(left) => at = left,
            None => return act,
        }
    }
    Act::Request
}

impl Hostile {
    /// Makes what an act publishes.
    pub(super) fn perform(&mut self, act: Act) -> Vec<Message> {
        let one = match act {
            Act::Presence => self.presence(),
            Act::Acknowledgement => return self.acknowledgements(),
            Act::Junk => self.junk(),
            Act::Status => self.status(),
            Act::Reuse => return self.reuse().into_iter().collect(),
            Act::Long => return self.long(),
            Act::Retained => {
                let line = self.line("retained");
                let topic = plan::request(some_ledger(&mut self.rng).id(), "line");
                self.seen.littered.insert(topic.clone());
                Message { retain: true, ..Message::new(topic, line) }
            }
            Act::ForbiddenResponse => self.forbidden_response(),
            Act::Burst => return (0..BURST).map(|n| self.fleeting(n)).collect(),
            Act::Request => {
                let (line, data) = (self.line("own"), self.random());
                let topic = plan::request(some_ledger(&mut self.rng).id(), "line");
                Message::new(topic, line).respond_to(plan::response(super::NAME), data)
            }
            Act::Clear => return Vec::new(),
        };
        vec![one]
    }

    fn presence(&mut self) -> Message {
        let hub = self.hub();
        let payload = *self.rng.choice(&PRESENCES).expect("there are some");
        let retain = self.rng.bool();
        let mut message = Message { retain, ..Message::new(hub.presence(), payload) };
        message = message.with_property("hub", hub.client_id());
        match self.rng.u8(..5) {
            0 => {}
            1 => message.correlation_data = Some(self.random()),
            // A guard takes this for a will, and may: nobody else has a word for it.
            2 => message = message.respond_to(hub.response("will"), self.random()),
            3 => message.correlation_data = self.last_token(),
            // What the broker has published before, as nothing that a guard acts on.
            _ => {
                let will = self.seen.wills.iter().rfind(|(of, _)| *of == hub);
                message.correlation_data = will.map(|(_, data)| data.clone());
            }
        }
        message
    }

    /// Acknowledges with all that it has seen of hubs, some of the rest, and what nobody has ever said.
    fn acknowledgements(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        if let Some((hub, data)) = self.seen.tempting.pop_front() {
            let generation = String::from_utf8_lossy(&data).into_owned();
            self.notebook.open().wills.entry(generation).or_default().impostor = true;
            all.push(self.acknowledgement(hub, data));
        }
        while let Some(token) = self.seen.fresh.pop_front().filter(|_| all.len() < ACKNOWLEDGED) {
            let guessed = self.guess(&token);
            for (hub, data) in
                Hub::BOTH.into_iter().flat_map(|hub| [(hub, &token), (hub, &guessed)])
            {
                all.push(self.acknowledgement(hub, data.clone()));
            }
        }
        let index = self.rng.usize(..self.seen.others.len().max(1));
        let other = self.seen.others.get(index).cloned();
        for data in [other, Some(self.random())].into_iter().flatten() {
            let hub = self.hub();
            all.push(self.acknowledgement(hub, data));
        }
        // To the hub that it is not of.
        if let Some((hub, data)) = self.seen.wills.back().cloned() {
            all.push(self.acknowledgement(hub.other(), data));
        }
        all
    }

    fn acknowledgement(&mut self, hub: Hub, data: Bytes) -> Message {
        let who = *self.rng.choice(&NAMES).expect("there are some");
        let message = Message::new(hub.response("will"), self.line("acknowledged"));
        let message = message.with_property("client_id", who).with_property("__stat", "200");
        Message { correlation_data: Some(data), ..message }
    }

    fn junk(&mut self) -> Message {
        let hub = self.hub();
        let purpose = *self.rng.choice(&["will", "fence", "session", "retained"]).expect("some");
        let payload = if self.rng.bool() { self.line("junk") } else { FORGED.repeat(300) };
        let mut message = Message::new(hub.response(purpose), payload);
        message.correlation_data = match self.rng.u8(..3) {
            0 => None,
            1 => self.last_token(),
            _ => Some(self.random()),
        };
        message
    }

    fn status(&mut self) -> Message {
        let topic = plan::under(&format!("state/{}/status", some_ledger(&mut self.rng).id()));
        let payload = *self.rng.choice(&["ready", "failed", "\0junk", ""]).expect("there are some");
        self.seen.littered.insert(topic.clone());
        let message = Message { retain: true, ..Message::new(topic, payload) };
        message.with_property("hub", "hearthd-nowhere")
    }

    /// Makes a request in another requester's name, which has its answer already.
    fn reuse(&mut self) -> Option<Message> {
        let keys = self.notebook.lately_answered(LATELY);
        let key = self.rng.choice(&keys)?.clone();
        let (same, retry) = (self.rng.bool(), self.rng.bool());
        let number = self.count;
        let mut record = self.notebook.open();
        let asked = record.requests.get_mut(&key)?;
        let done = asked.answers.iter().any(|said| (200..300).contains(&said.status));
        let free = asked.reuse.is_none() && asked.acknowledged.is_some();
        if asked.ledger == Ledger::Moving || !free || !done || (asked.insisted && !same) {
            return None;
        }
        if self.vouched && same && asked.line {
            // Where the broker tells who it is, this is a request of its own, and the line is written again.
            return None;
        }
        let is_repeat = same && (asked.line || retry) && !self.vouched;
        asked.reuse = Some(if is_repeat { Reuse::Repeat } else { Reuse::Other });
        let (requester, _) = key.rsplit_once('-')?;
        let property = if asked.line { "line" } else { "level" };
        let payload = match (same, asked.line) {
            (true, _) => asked.value.clone(),
            (false, true) => format!("{FORGED}-reused-{number}"),
            (false, false) => format!("-{number}"),
        };
        let request = Message::new(plan::request(asked.ledger.id(), property), payload)
            .respond_to(plan::response(requester), key.clone());
        Some(if retry { request.with_property("retry", "1") } else { request })
    }

    /// Makes requests to a device that takes its time: a few, or more than a hub has room for.
    fn long(&mut self) -> Vec<Message> {
        let many = if self.rng.u8(..4) == 0 { 18 } else { 2 };
        let topic = plan::request(plan::SLOW, "say");
        let one = |n: u32| {
            let mut data = vec![b'x'; 60_000];
            data.extend(format!("{}-{n}", self.count).bytes());
            Message::new(topic.clone(), "hm").respond_to(plan::response(super::NAME), data)
        };
        (0..many).map(one).collect()
    }

    fn forbidden_response(&mut self) -> Message {
        let ledger = some_ledger(&mut self.rng);
        let (hub, other) = (self.hub(), some_ledger(&mut self.rng));
        let topic = match self.rng.u8(..6) {
            0 => hub.response("will"),
            1 => hub.response("fence"),
            2 => plan::request(other.id(), "line"),
            3 => plan::under(&format!("state/{}/level", other.id())),
            4 => hub.presence(),
            _ => hub.absence(),
        };
        let (line, data) = (format!("{FORBIDDEN}-{}", self.count), self.random());
        Message::new(plan::request(ledger.id(), "line"), line).respond_to(topic, data)
    }

    fn fleeting(&mut self, n: u32) -> Message {
        let line = format!("{}-{n}", self.line("burst"));
        let ledger = some_ledger(&mut self.rng);
        Message { at_least_once: false, ..Message::new(plan::request(ledger.id(), "line"), line) }
    }

    fn line(&self, what: &str) -> String {
        format!("{FORGED}-{what}-{}", self.count)
    }

    fn hub(&mut self) -> Hub {
        if self.rng.bool() { Hub::Cellar } else { Hub::Attic }
    }

    fn last_token(&self) -> Option<Bytes> {
        self.seen.tokens.back().cloned()
    }

    /// Makes what looks like a generation.
    fn random(&mut self) -> Bytes {
        (0..16).map(|_| *self.rng.choice(ALPHABET).expect("it has letters")).collect()
    }

    /// Makes what begins like a token of a connection, as its will does.
    fn guess(&mut self, token: &Bytes) -> Bytes {
        let half = token.len() / 2;
        let random = self.random();
        token[..half].iter().chain(&random[..random.len().min(half)]).copied().collect()
    }
}

const WEIGHTS: [(Act, u32); 10] = [
    (Act::Presence, 8),
    (Act::Acknowledgement, 6),
    (Act::Junk, 4),
    (Act::Status, 4),
    (Act::Reuse, 12),
    (Act::Long, 1),
    (Act::Retained, 2),
    (Act::ForbiddenResponse, 4),
    (Act::Burst, 1),
    (Act::Request, 6),
];
const PRESENCES: [&str; 6] = ["offline", "offline", "online", "\u{0}junk", "{}", ""];
/// Whom it says that it is.
const NAMES: [&str; 4] =
    ["chaos-watcher-cellar", "hearthd-demo-attic", "guardian", "chaos-hostile"];
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How many messages a burst has.
const BURST: u32 = 15;
/// How many acknowledgements it sends at once, about.
const ACKNOWLEDGED: usize = 8;
/// What was answered longer ago it does not ask for again: then a hub may have forgotten it.
const LATELY: Duration = Duration::from_secs(5);
