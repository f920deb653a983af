//! A lamp behind the real Zigbee2MQTT, which is killed as well, and one who switches it: whoever is answered 200 must get
//! what the lamp was.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{plan, record::Notebook, say, steady::Steady};
use crate::{
    Access, Doing, Message, Result, Zigbee2Mqtt,
    zigbee2mqtt::{BULB, Mode},
};

/// One who switches the lamp, and breaks its bridge.
pub(super) struct Switcher {
    bridge: Zigbee2Mqtt,
    steady: Steady,
    response_topic: String,
    rng: Rng,
    asked: BTreeMap<String, Asked>,
    answers: Vec<Answered>,
    kills: usize,
}

/// What came of the lamp.
#[derive(Clone, Debug, Default)]
pub struct LampSeen {
    /// How often Zigbee2MQTT was killed.
    pub bridge_kills: usize,
    /// How many requests were answered 200.
    pub confirmed: usize,
    /// How many were answered otherwise.
    pub otherwise: usize,
    /// How many were not answered in the time that their requester had.
    pub silent: usize,
    /// Requests that were answered 200 while the lamp was never as wanted, or 500 while it was so all the time.
    pub false_verdicts: Vec<String>,
}

impl LampSeen {
    /// Returns why the run proves nothing, if so few requests were confirmed.
    pub(super) fn proves_nothing(&self) -> Option<String> {
        let asked = self.confirmed + self.otherwise + self.silent;
        let enough = asked / CONFIRMED_OF;
        (asked > 0 && self.confirmed <= enough)
            .then(|| format!("{} of {asked}, and more than {enough} are needed", self.confirmed))
    }
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    on: bool,
    at: Duration,
}

#[derive(Clone, Debug)]
struct Answered {
    key: String,
    asked: Asked,
    at: Duration,
    status: u16,
}

impl Switcher {
    /// Starts Zigbee2MQTT, and connects.
    pub(super) async fn start(
        bridge: &Access,
        base: &str,
        access: &Access,
        rng: Rng,
    ) -> Result<Self> {
        let bridge = Zigbee2Mqtt::start_below(bridge, base).await?;
        let response_topic = plan::response(NAME);
        let steady = Steady::connect(access, NAME, vec![response_topic.clone()]).await?;
        let (asked, answers) = (BTreeMap::new(), Vec::new());
        Ok(Self { bridge, steady, response_topic, rng, asked, answers, kills: 0 })
    }

    /// Switches the lamp for a time, while the lamp changes its ways and the bridge is killed.
    pub(super) async fn run(mut self, length: Duration, notebook: &Notebook) -> Result<LampSeen> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            if self.rng.u8(..3) == 0 {
                let mode = MODES[self.rng.usize(..MODES.len())];
                say(notebook.now(), &format!("the lamp: {mode:?}"));
                self.bridge.set_mode(BULB, mode)?;
            }
            let key = self.ask().await;
            if self.rng.u8(..6) == 0 {
                let (after, down) = (self.rng.u64(..400), self.rng.u64(100..1_500));
                sleep(Duration::from_millis(after)).await;
                say(notebook.now(), &format!("SIGKILL Zigbee2MQTT, back after {down} ms"));
                self.kills += 1;
                self.bridge.stop()?;
                sleep(Duration::from_millis(down)).await;
                self.bridge.start_again().await?;
            }
            self.listen(&key).await;
        }
        let states = self.states()?;
        Ok(self.judge(&states))
    }

    async fn ask(&mut self) -> String {
        let asked = Asked { on: self.rng.bool(), at: now() };
        let key = format!("{NAME}-{}", self.asked.len());
        self.asked.insert(key.clone(), asked);
        let payload = if asked.on { "ON" } else { "OFF" };
        let request = Message::new(plan::request(plan::LAMP, "power"), payload)
            .respond_to(&self.response_topic, key.clone());
        self.steady.publish(request).await;
        key
    }

    /// Takes answers until this one has come, or does not seem to come any more.
    async fn listen(&mut self, key: &str) {
        let end = Instant::now() + PATIENCE;
        while let Some(message) = self.steady.next_before(end).await {
            let data = message.correlation_data.as_deref().unwrap_or_default();
            let of = String::from_utf8_lossy(data).into_owned();
            let (Some(asked), Some(status)) = (self.asked.get(&of), message.status()) else {
                continue;
            };
            let is_it = of == key;
            self.answers.push(Answered { key: of, asked: *asked, at: now(), status });
            if is_it {
                return;
            }
        }
    }

    /// Returns when the lamp was switched to what.
    fn states(&self) -> Result<Vec<(Duration, bool)>> {
        let file: PathBuf = self.bridge.states();
        let text = std::fs::read_to_string(&file).doing(file.display())?;
        let bulb = BULB.to_string();
        let states = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let at = words.next()?.parse().ok()?;
            (words.next()? == bulb).then_some((Duration::from_millis(at), words.next()? == "1"))
        });
        Ok(states.collect())
    }

    fn judge(&self, states: &[(Duration, bool)]) -> LampSeen {
        let mut seen = LampSeen { bridge_kills: self.kills, ..LampSeen::default() };
        for Answered { key, asked, at, status } in &self.answers {
            if *status == 200 {
                seen.confirmed += 1;
            } else {
                seen.otherwise += 1;
            }
            let could_be = match status {
                200 => was(states, asked.on, asked.at, *at),
                // It was read, and was not as wanted.
                500 => was(states, !asked.on, asked.at, *at),
                _ => true,
            };
            if !could_be {
                let word = if asked.on { "ON" } else { "OFF" };
                seen.false_verdicts.push(format!("{key}: {word} {status}"));
            }
        }
        let answered = |key: &&String| self.answers.iter().any(|answer| &&answer.key == key);
        seen.silent = self.asked.keys().filter(|key| !answered(key)).count();
        seen
    }
}

/// Returns whether the lamp was so at some time within a span; it is off at first.
fn was(states: &[(Duration, bool)], on: bool, from: Duration, until: Duration) -> bool {
    let before = states.iter().rev().find(|(at, _)| *at <= from).is_some_and(|(_, on)| *on);
    let within = states.iter().filter(|(at, _)| *at > from && *at <= until);
    before == on || within.into_iter().any(|(_, state)| *state == on)
}

/// The clock of the radio's file.
fn now() -> Duration {
    // A clock before 1970 would only make every verdict false.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// One of so many requests has to be confirmed, so that a run proves something: the lamp obeys a third of the time.
const CONFIRMED_OF: usize = 10;
const NAME: &str = "chaos-lamp";
/// How long an answer may take: longer than a hub or the broker is away, and than a request may take after that.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most of the time something is wrong with it.
const MODES: [Mode; 6] =
    [Mode::Obeys, Mode::Obeys, Mode::IsSlow, Mode::Lies, Mode::Refuses, Mode::IsDead];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_hardly_any_request_is_confirmed_proves_nothing() {
        let seen = |confirmed, otherwise, silent| LampSeen {
            confirmed,
            otherwise,
            silent,
            ..LampSeen::default()
        };
        assert_eq!(seen(0, 0, 0).proves_nothing(), None, "there is no lamp");
        assert_eq!(seen(30, 60, 10).proves_nothing(), None);
        assert_eq!(
            seen(10, 80, 10).proves_nothing().unwrap(),
            "10 of 100, and more than 10 are needed"
        );
        assert!(seen(0, 1, 0).proves_nothing().is_some());
    }

    #[test]
    fn a_verdict_is_true_only_if_the_lamp_was_so_between_question_and_answer() {
        let at = Duration::from_secs;
        let states = [(at(10), true), (at(20), false)];
        assert!(was(&states, false, at(1), at(2)), "it is off at first");
        assert!(!was(&states, true, at(1), at(9)));
        assert!(was(&states, true, at(9), at(11)));
        assert!(was(&states, true, at(11), at(12)));
        assert!(!was(&states, false, at(11), at(12)));
        assert!(was(&states, true, at(19), at(30)));
        assert!(!was(&states, true, at(20), at(30)));
    }
}
