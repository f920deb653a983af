//! Devices that share a radio.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hearthd_confirm::{
    Backend, Command, CommandId, Confirmer, Event, Message, Output, Radio, Wanted,
};

use crate::scene::backend;

/// Lamps behind one radio, which takes its time for each read and does one after the other.
struct Home {
    lamps: Vec<Confirmer>,
    now: Duration,
    takes: Duration,
    /// When each read is answered, and of which lamp.
    answers: BTreeMap<(Duration, usize), ()>,
    reads: Vec<(Duration, usize)>,
    known: Vec<bool>,
    sets: Vec<(Duration, usize)>,
}

impl Home {
    fn new(lamps: usize, takes: Duration) -> Self {
        let radio = Arc::new(Radio::default());
        let lamp = |number: usize| {
            let table = format!("zigbee2mqtt = {{ topic = \"zigbee2mqtt/{number}\" }}");
            let backend: Backend = backend(&table);
            assert_eq!(backend.bridge(), Some("zigbee2mqtt"));
            Confirmer::new(backend, number as u64).sharing(radio.clone())
        };
        Self {
            lamps: (0..lamps).map(lamp).collect(),
            now: Duration::from_secs(1),
            takes,
            answers: BTreeMap::new(),
            reads: Vec::new(),
            known: vec![false; lamps],
            sets: Vec::new(),
        }
    }

    fn handle(&mut self, lamp: usize, event: Event) {
        self.lamps[lamp].handle(self.now, event);
        while let Some(output) = self.lamps[lamp].poll_output() {
            match output {
                Output::Publish(publication) if publication.topic.ends_with("/get") => {
                    self.reads.push((self.now, lamp));
                    self.answers.insert((self.now + self.takes, lamp), ());
                }
                Output::Publish(_) => self.sets.push((self.now, lamp)),
                Output::Observed { evidence, .. } => self.known[lamp] |= evidence.is_some(),
                _ => {}
            }
        }
    }

    fn connect(&mut self) {
        for lamp in 0..self.lamps.len() {
            self.handle(lamp, Event::Link { up: true });
            self.handle(lamp, Event::Refresh);
        }
    }

    fn run(&mut self, end: Duration) {
        loop {
            let due =
                |(lamp, confirmer): (usize, &Confirmer)| Some((confirmer.poll_timeout()?, lamp));
            let timer = self.lamps.iter().enumerate().filter_map(due).min();
            let answer = self.answers.keys().next().copied();
            let Some(next) = timer.into_iter().chain(answer).min().filter(|next| next.0 <= end)
            else {
                break;
            };
            self.now = self.now.max(next.0);
            if answer == Some(next) {
                self.answers.remove(&next);
                let topic = format!("zigbee2mqtt/{}", next.1);
                let state = Message::live(&topic, br#"{"state":"ON"}"#);
                self.handle(next.1, Event::Message(state));
            } else {
                self.handle(next.1, Event::Elapsed);
            }
        }
        self.now = end;
    }
}

#[test]
fn forty_lamps_behind_a_slow_radio_are_read_one_at_a_time_and_all_of_them() {
    let takes = Duration::from_millis(800);
    let mut home = Home::new(40, takes);
    home.connect();
    home.run(Duration::from_secs(120));
    assert!(home.known.iter().all(|known| *known), "{:?}", home.known);
    assert_eq!(home.reads.len(), 40, "each once");
    let pairs = home.reads.windows(2);
    let gaps: Vec<Duration> = pairs.map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| *gap >= takes), "two at a time: {gaps:?}");
    // Half of the time is left for commands, once it is known how slow the radio is.
    assert!(gaps[2..].iter().all(|gap| *gap >= takes * 2), "{gaps:?}");
}

#[test]
fn forty_lamps_behind_a_quick_radio_are_read_within_ten_seconds() {
    let mut home = Home::new(40, Duration::from_millis(30));
    home.connect();
    home.run(Duration::from_secs(11));
    assert!(home.known.iter().all(|known| *known), "{:?}", home.known);
}

#[test]
fn a_lamp_that_does_not_answer_keeps_the_others_for_three_seconds() {
    let mut home = Home::new(3, Duration::from_secs(60));
    home.connect();
    home.run(Duration::from_secs(12));
    let order: Vec<usize> = home.reads.iter().map(|(_, lamp)| *lamp).collect();
    assert_eq!(order, [0, 1, 2]);
    let gaps: Vec<Duration> = home.reads.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let longest = Duration::from_millis(3_500);
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_secs(3) && *gap <= longest), "{gaps:?}");
}

#[test]
fn a_command_and_its_reads_wait_for_no_turn() {
    let mut home = Home::new(40, Duration::from_millis(800));
    home.connect();
    home.reads.clear();
    let wanted = Wanted { power: Some(true.into()), ..Wanted::default() };
    let (id, deadline) = (CommandId(1), home.now + Duration::from_secs(5));
    home.handle(39, Event::Command(Command { id, wanted, deadline }));
    assert_eq!(home.sets, [(home.now, 39)]);
    home.run(home.now + Duration::from_millis(1_600));
    assert!(home.reads.iter().any(|(_, lamp)| *lamp == 39), "{:?}", home.reads);
}
