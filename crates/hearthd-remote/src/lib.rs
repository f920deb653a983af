//! Drives an MQTT device from a plugin: what the plugin is asked for is answered once the device has confirmed it.
//!
//! A [`Remote`] joins a [`Confirmer`], which decides, to the [`Context`] of a device, which acts. The plugin passes on
//! what its device is told ([`link`](Remote::link), [`message`](Remote::message), [`outcome`](Remote::outcome) and its
//! [`timer`](Remote::timer)), and gets back what is to be published as state.
//!
//! The devices of one plugin that are behind the same bridge are read in turn, so that together they do not keep its
//! radio from commands. A device that runs in a process of its own takes turns with none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use hearthd_confirm::{
    Availability, Backend, Command, CommandId, Confirmer, Doubt, Event, Evidence, Output,
    Publication, PublishError, Radio, Readings, Token, Verdict, Wanted,
};
use hearthd_sdk::{Context, Deferred, Failure, mqtt};

/// An MQTT device, and the answers that are owed for it.
#[derive(Debug)]
pub struct Remote {
    confirmer: Confirmer,
    context: Context,
    timer: u32,
    owed: BTreeMap<CommandId, Owed>,
    commands: u64,
    availability: Availability,
    /// Whether it is the whole device, whose reach the hub is told.
    whole: bool,
}

/// What a device has told, or what became of a command; in order.
#[derive(Debug)]
pub enum News {
    /// The device is as it says.
    State(Readings),
    /// A command is decided. The state that it has led to comes with it, and is published before the answer is given.
    Decided(Decided),
}

/// A command that is decided, and not answered yet.
#[derive(Debug)]
pub struct Decided {
    /// What was wanted.
    pub wanted: Wanted,
    /// What the device confirmed; none where it did not.
    pub confirmed: Option<Readings>,
    /// Why nobody knows what became of it, where that is so: a newer command may have replaced it, or the device sleeps.
    pub doubt: Option<Doubt>,
    answer: Result<(), Failure>,
    deferred: Option<Deferred>,
}

#[derive(Debug)]
struct Owed {
    wanted: Wanted,
    deferred: Option<Deferred>,
}

impl Remote {
    /// Makes the driver of a device; `timer` is the one that it may use.
    ///
    /// The device is unreachable until something was heard of it.
    pub fn new(backend: Backend, context: Context, timer: u32) -> Self {
        context.unreachable("no connection to the broker yet");
        Self { whole: true, ..Self::part(backend, context, timer) }
    }

    /// Makes the driver of an MQTT device that is one part of a device: the hub is not told whether it can be reached.
    pub fn part(backend: Backend, context: Context, timer: u32) -> Self {
        // It differs from start to start, as the clock runs on.
        let salt = u64::try_from(context.now().as_nanos()).unwrap_or(u64::MAX);
        let radio = backend.bridge().map(radio);
        let confirmer = Confirmer::new(backend, salt);
        Self {
            confirmer: match radio {
                Some(radio) => confirmer.sharing(radio),
                None => confirmer,
            },
            context,
            timer,
            owed: BTreeMap::new(),
            commands: 0,
            availability: Availability::Unknown,
            whole: false,
        }
    }

    /// Returns whether the device can be reached, as far as anybody has said.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    /// Tells the device what is wanted of it, by the time that the answer is due.
    ///
    /// Where nobody waits for an answer, `deferred` is none.
    pub fn command(
        &mut self,
        wanted: Wanted,
        due: Option<Duration>,
        deferred: Option<Deferred>,
    ) -> Vec<News> {
        self.commands += 1;
        let id = CommandId(self.commands);
        let now = self.context.now();
        let due = due.unwrap_or(now + PATIENCE);
        // The hub gives up at the same moment: the verdict must be there a little before.
        let margin = (due.saturating_sub(now) / 4).min(MARGIN);
        let command = Command { id, wanted: wanted.clone(), deadline: due.saturating_sub(margin) };
        self.owed.insert(id, Owed { wanted, deferred });
        self.handle(Event::Command(command))
    }

    /// Takes in that there is a connection to the broker, or none any more.
    pub fn link(&mut self, up: bool) -> Vec<News> {
        let mut news = self.handle(Event::Link { up });
        if up {
            news.extend(self.handle(Event::Refresh));
        }
        news
    }

    /// Takes in a message on one of the device's topics.
    pub fn message(&mut self, message: &mqtt::Message) -> Vec<News> {
        let mqtt::Message { topic, payload, retained } = message.clone();
        self.handle(Event::Message(hearthd_confirm::Message { topic, payload, retained }))
    }

    /// Takes in what became of a message that was sent.
    pub fn outcome(&mut self, token: u64, result: Result<&[u8], mqtt::PublishError>) -> Vec<News> {
        let token = Token(token);
        match result {
            // That the broker has it says nothing of the device.
            Ok([]) => Vec::new(),
            Ok(payload) => self.handle(Event::Reply { token, payload: payload.to_vec() }),
            // The confirmer knows by its own clock that no reply came.
            Err(mqtt::PublishError::Late) => Vec::new(),
            Err(error) => self.handle(Event::NotPublished { token, error: not_published(error) }),
        }
    }

    /// Takes in that the driver's timer has run out.
    pub fn timer(&mut self) -> Vec<News> {
        self.handle(Event::Elapsed)
    }

    fn handle(&mut self, event: Event) -> Vec<News> {
        self.confirmer.handle(self.context.now(), event);
        let mut news = Vec::new();
        loop {
            let outputs: Vec<Output> =
                std::iter::from_fn(|| self.confirmer.poll_output()).collect();
            if outputs.is_empty() {
                break;
            }
            let decided: Vec<CommandId> = outputs
                .iter()
                .filter_map(|output| match output {
                    Output::Verdict { command, .. } => Some(*command),
                    _ => None,
                })
                .collect();
            for output in outputs {
                self.perform(output, &decided, &mut news);
            }
        }
        match self.confirmer.poll_timeout() {
            Some(due) => {
                self.context.set_timer(self.timer, due.saturating_sub(self.context.now()));
            }
            None => self.context.cancel_timer(self.timer),
        }
        news
    }

    fn perform(&mut self, output: Output, decided: &[CommandId], news: &mut Vec<News>) {
        match output {
            Output::Publish(publication) => self.publish(publication, decided),
            Output::Observed { readings, evidence } => {
                // What is retained, or replayed, is no claim that a state may rest on.
                if evidence >= Some(Evidence::ReadBack) {
                    news.push(News::State(readings));
                }
            }
            Output::Availability(availability) => self.tell(availability),
            Output::Verdict { command, verdict } => {
                let Some(owed) = self.owed.remove(&command) else { return };
                let answer = judge(&verdict);
                let (confirmed, doubt) = match verdict.worst() {
                    Verdict::Confirmed { readings, .. } => (Some(readings.clone()), None),
                    Verdict::Indeterminate { doubt, .. } => (None, Some(*doubt)),
                    Verdict::Unreachable { .. }
                    | Verdict::Refused { .. }
                    | Verdict::Unsupported { .. }
                    | Verdict::Members(_) => (None, None),
                };
                let Owed { wanted, deferred } = owed;
                news.push(News::Decided(Decided { wanted, confirmed, doubt, answer, deferred }));
            }
            Output::Queued { queued, .. } => {
                tracing::info!(?queued, "a command waits for the device to wake");
            }
        }
    }

    fn publish(&mut self, publication: Publication, decided: &[CommandId]) {
        let Publication { token, command, topic, payload, qos, expiry, reply } = publication;
        let qos = match qos {
            hearthd_confirm::QoS::AtMostOnce => mqtt::QoS::AtMostOnce,
            hearthd_confirm::QoS::AtLeastOnce => mqtt::QoS::AtLeastOnce,
        };
        let mut message =
            mqtt::Publication::new(topic, payload).token(token.0).qos(qos).expiry(expiry);
        if reply {
            message = message.expect_reply();
        }
        // What is answered at once has to leave all the same.
        let owed = command.filter(|command| !decided.contains(command));
        let owed = owed.and_then(|command| self.owed.get(&command));
        if let Some(deferred) = owed.and_then(|owed| owed.deferred.as_ref()) {
            message = message.belonging_to(deferred);
        }
        if let Err(error) = self.context.send(&message) {
            let event = Event::NotPublished { token, error: not_published(error) };
            self.confirmer.handle(self.context.now(), event);
        }
    }

    fn tell(&mut self, availability: Availability) {
        match &availability {
            Availability::Online if self.whole => self.context.reachable(),
            Availability::Offline { reason, .. } if self.whole => self.context.unreachable(reason),
            Availability::Unknown | Availability::Online | Availability::Offline { .. } => {}
        }
        self.availability = availability;
    }
}

impl Decided {
    /// Returns why the device did not confirm it; none where it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.answer.as_ref().err()
    }

    /// Answers whoever asked; publish what was confirmed before.
    pub fn answer(self) {
        match (self.deferred, self.answer) {
            (Some(deferred), Ok(())) => deferred.done(),
            (Some(deferred), Err(failure)) => deferred.fail(&failure),
            (None, Ok(())) => {}
            (None, Err(failure)) => {
                tracing::warn!(%failure, "the device did not do what it was told");
            }
        }
    }
}

/// Returns the topics that a device uses.
///
/// What several devices may be told by one topic is shared: the outputs of one device, what a bridge is asked, and the
/// reads of a device that is a member of a group as well.
pub fn topics(backend: &Backend) -> mqtt::Topics {
    let declared = backend.declared_topics();
    let (of_several, reads) = match backend {
        Backend::Zigbee2Mqtt(table) => (table.suffix.is_some(), true),
        Backend::Shelly(_) => (true, false),
        Backend::Tasmota(_) | Backend::Esphome(_) | Backend::Wled(_) | Backend::Topics(_) => {
            (false, false)
        }
    };
    let topics = mqtt::Topics::none();
    let topics = declared.subscribe.into_iter().fold(topics, mqtt::Topics::subscribe);
    declared.publish.into_iter().fold(topics, |topics, topic| {
        let is_read = reads && topic.ends_with("/get");
        if of_several || is_read || topic.contains("/bridge/") {
            topics.share(topic)
        } else {
            topics.publish(topic)
        }
    })
}

/// Returns the radio behind a bridge, which the devices in this process share.
fn radio(bridge: &str) -> Arc<Radio> {
    static RADIOS: Mutex<BTreeMap<String, Weak<Radio>>> = Mutex::new(BTreeMap::new());
    let mut radios = RADIOS.lock().unwrap_or_else(PoisonError::into_inner);
    radios.retain(|_, radio| radio.strong_count() > 0);
    if let Some(radio) = radios.get(bridge).and_then(Weak::upgrade) {
        return radio;
    }
    let radio = Arc::new(Radio::default());
    radios.insert(bridge.to_owned(), Arc::downgrade(&radio));
    radio
}

/// Returns the answer that a verdict is.
fn judge(verdict: &Verdict) -> Result<(), Failure> {
    match verdict {
        Verdict::Confirmed { .. } => Ok(()),
        Verdict::Unreachable { reason, .. } => Err(Failure::unreachable(reason)),
        Verdict::Refused { .. } => Err(Failure::failed(verdict.to_string())),
        Verdict::Indeterminate { doubt, last } if last.is_empty() => {
            Err(Failure::indeterminate(doubt.to_string()))
        }
        Verdict::Indeterminate { doubt, last } => {
            Err(Failure::indeterminate(format!("{doubt}; last known {last}")))
        }
        Verdict::Unsupported { reason } => Err(Failure::invalid(reason)),
        Verdict::Members(_) => {
            let told = verdict.to_string();
            Err(match verdict.worst() {
                Verdict::Unreachable { .. } => Failure::unreachable(told),
                Verdict::Refused { .. } => Failure::failed(told),
                Verdict::Unsupported { .. } => Failure::invalid(told),
                Verdict::Indeterminate { .. } | Verdict::Confirmed { .. } | Verdict::Members(_) => {
                    Failure::indeterminate(told)
                }
            })
        }
    }
}

fn not_published(error: mqtt::PublishError) -> PublishError {
    match error {
        mqtt::PublishError::Gone | mqtt::PublishError::Late => PublishError::Gone,
        mqtt::PublishError::Busy => PublishError::Busy,
        mqtt::PublishError::Refused => PublishError::Refused,
        mqtt::PublishError::TooLarge => PublishError::TooLarge,
    }
}

/// How long a command may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long before the hub gives up the verdict must be there.
const MARGIN: Duration = Duration::from_millis(200);
