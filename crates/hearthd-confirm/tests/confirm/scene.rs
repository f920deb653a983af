//! A confirmer, a clock, and what came out.

use std::time::Duration;

use hearthd_confirm::{
    Availability, Backend, Command, CommandId, Confirmer, Event, Message, Output, Publication,
    PublishError, Queued, Verdict, Wanted,
};

/// A confirmer that is driven by hand.
pub(crate) struct Scene {
    pub(crate) confirmer: Confirmer,
    pub(crate) now: u64,
    pub(crate) published: Vec<Publication>,
    pub(crate) verdicts: Vec<(u64, u64, Verdict)>,
    pub(crate) observed: Vec<String>,
    pub(crate) availability: Vec<Availability>,
    pub(crate) queued: Vec<(u64, Queued)>,
    next: u64,
}

/// The deadline of a request, after it.
pub(crate) const PATIENCE: u64 = 5_000;

impl Scene {
    /// Makes a confirmer that is connected.
    pub(crate) fn new(backend: Backend) -> Self {
        assert_eq!(backend.problems(), [], "a table for a test is right");
        let mut scene = Self {
            confirmer: Confirmer::new(backend, 1),
            now: 1_000,
            published: Vec::new(),
            verdicts: Vec::new(),
            observed: Vec::new(),
            availability: Vec::new(),
            queued: Vec::new(),
            next: 0,
        };
        scene.handle(Event::Link { up: true });
        scene
    }

    /// Makes one for a family's table in TOML.
    pub(crate) fn of(table: &str) -> Self {
        Self::new(backend(table))
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.confirmer.handle(Duration::from_millis(self.now), event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.confirmer.poll_output() {
            match output {
                Output::Publish(publication) => self.published.push(publication),
                Output::Verdict { command: CommandId(id), verdict } => {
                    self.verdicts.push((id, self.now, verdict));
                }
                Output::Observed { readings, evidence } => {
                    let worth = evidence.map_or("claim".to_owned(), |e| format!("{e:?}"));
                    self.observed.push(format!("{worth}: {readings}"));
                }
                Output::Availability(availability) => self.availability.push(availability),
                Output::Queued { command: CommandId(id), queued } => self.queued.push((id, queued)),
            }
        }
    }

    /// Lets time pass, and does what falls due on the way.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        let mut turns = 0;
        while let Some(due) = self.confirmer.poll_timeout() {
            // Time is whole milliseconds here: what is due within one is due at its end.
            let due = due.as_nanos().div_ceil(1_000_000) as u64;
            if due > end {
                break;
            }
            turns = if due > self.now { 0 } else { turns + 1 };
            assert!(turns < 10, "the timeout stands still at {due}");
            self.now = self.now.max(due);
            self.handle(Event::Elapsed);
        }
        self.now = end;
    }

    pub(crate) fn command(&mut self, wanted: Wanted) -> u64 {
        self.next += 1;
        let deadline = Duration::from_millis(self.now + PATIENCE);
        self.handle(Event::Command(Command { id: CommandId(self.next), wanted, deadline }));
        self.next
    }

    pub(crate) fn switch(&mut self, on: bool) -> u64 {
        self.command(Wanted { power: Some(on.into()), ..Wanted::default() })
    }

    pub(crate) fn live(&mut self, topic: &str, payload: &str) {
        self.handle(Event::Message(Message::live(topic, payload.as_bytes())));
    }

    pub(crate) fn retained(&mut self, topic: &str, payload: &str) {
        self.handle(Event::Message(Message::retained(topic, payload.as_bytes())));
    }

    /// Takes what was published, as topic and payload.
    pub(crate) fn sent(&mut self) -> Vec<(String, String)> {
        self.take().into_iter().map(|p| (p.topic, String::from_utf8(p.payload).unwrap())).collect()
    }

    pub(crate) fn take(&mut self) -> Vec<Publication> {
        std::mem::take(&mut self.published)
    }

    /// Checks that exactly this was published since the last time.
    #[track_caller]
    pub(crate) fn expect_sent(&mut self, expected: &[(&str, &str)]) {
        let sent = self.sent();
        let sent: Vec<(&str, &str)> = sent.iter().map(|(t, p)| (t.as_str(), p.as_str())).collect();
        assert_eq!(sent, expected);
    }

    /// Answers the last publication by its Correlation Data.
    pub(crate) fn reply(&mut self, publication: &Publication, payload: &str) {
        let payload = payload.as_bytes().to_vec();
        self.handle(Event::Reply { token: publication.token, payload });
    }

    pub(crate) fn fail(&mut self, publication: &Publication, error: PublishError) {
        self.handle(Event::NotPublished { token: publication.token, error });
    }

    /// Checks that a command has no verdict yet.
    #[track_caller]
    pub(crate) fn expect_open(&self, id: u64) {
        assert!(self.verdicts.iter().all(|(of, ..)| *of != id), "{:?}", self.verdicts);
    }

    /// Checks a command's one verdict.
    #[track_caller]
    pub(crate) fn expect_verdict(&self, id: u64, status: u16, text: &str) {
        let verdicts: Vec<&Verdict> = self
            .verdicts
            .iter()
            .filter(|(of, ..)| *of == id)
            .map(|(.., verdict)| verdict)
            .collect();
        let [verdict] = verdicts[..] else { panic!("{id} has {verdicts:?}") };
        assert_eq!((verdict.status(), verdict.to_string().as_str()), (status, text));
    }
}

/// Reads a table as it stands in a configuration: `zigbee2mqtt = { .. }`.
pub(crate) fn backend(table: &str) -> Backend {
    let whole: toml::Table = table.parse().expect("TOML");
    let (family, value) = whole.into_iter().next().expect("a table");
    let problem = format!("{family}: {value}");
    match family.as_str() {
        "zigbee2mqtt" => Backend::Zigbee2Mqtt(value.try_into().expect(&problem)),
        "tasmota" => Backend::Tasmota(value.try_into().expect(&problem)),
        "shelly" => Backend::Shelly(value.try_into().expect(&problem)),
        "esphome" => Backend::Esphome(value.try_into().expect(&problem)),
        "wled" => Backend::Wled(value.try_into().expect(&problem)),
        "topics" => Backend::Topics(Box::new(value.try_into().expect(&problem))),
        other => panic!("{other} is no family"),
    }
}
