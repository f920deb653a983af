//! What a script expects: whether it is so, or becomes so while the trial waits.

use hearthd_core::Publication;
use serde_json::Value as Json;

use super::{
    script::{Expectation, Kind},
    session::{Failed, Session, shown, text_of},
};

impl Session {
    /// Requires that something is so.
    ///
    /// # Errors
    /// How it is instead.
    pub(super) fn expect(&mut self, expectation: &Expectation) -> Result<(), Failed> {
        match expectation {
            Expectation::Answer(status, text) => self.expect_answer(*status, text.as_deref()),
            Expectation::State(property, value) => {
                // What the device adds may still come.
                let is_known = self.trial.declarations().contains_key(property);
                if !is_known && !property.contains('/') {
                    return Err(self.failed(format!("the device has no property `{property}`")));
                }
                let is_so = self.until(|session| {
                    session.trial.state(property).is_some_and(|state| is_same(&state, value))
                });
                let now = self.trial.state(property);
                self.require(is_so, || format!("it is {}", now.as_deref().unwrap_or("unknown")))
            }
            Expectation::Event(property, kind) => {
                let wanted = (property.clone(), kind.clone());
                let is_so = self.until(|session| take_out(&mut session.events, |e| *e == wanted));
                self.require(is_so, || "there is no such event".into())
            }
            Expectation::Status(word, text) => {
                let is_so = self.until(|session| {
                    let status = session.trial.status();
                    let reason = status.text().unwrap_or_default();
                    status.word == word && text.as_ref().is_none_or(|text| reason.contains(text))
                });
                let status = self.trial.status();
                let reason = status.text().map(|reason| format!(": {reason}")).unwrap_or_default();
                self.require(is_so, || format!("it is {}{reason}", status.word))
            }
            Expectation::Sent(topic, payload) => {
                let is_it = |message: &Publication| {
                    let is_so = |wanted: &String| is_same(&text_of(&message.payload), wanted);
                    message.topic == *topic && payload.as_ref().is_none_or(is_so)
                };
                let is_so = self.until(|session| take_out(&mut session.sent, is_it));
                let sent: Vec<_> = self.sent.iter().map(|message| message.topic.as_str()).collect();
                self.require(is_so, || format!("it has sent: {}", list(&sent)))
            }
            Expectation::Saved(text) => {
                let saved = |session: &Self| text_of(&session.trial.saved().unwrap_or_default());
                let is_so = self.until(|session| {
                    let saved = saved(session);
                    is_same(&saved, text) || saved.contains(text)
                });
                let now = saved(self);
                self.require(is_so, || format!("it has saved: {now}"))
            }
            Expectation::Log(text) => {
                let is_it = |line: &String| line.contains(text);
                let is_so = self.until(|session| take_out(&mut session.logged, is_it));
                self.require(is_so, || "no line of the log has it".into())
            }
            Expectation::Crash(text) => {
                self.until(|session| !session.crashes.is_empty());
                let Some((_, reason)) = self.crashes.pop_front() else {
                    return Err(self.failed("the plugin has not crashed".into()));
                };
                let is_so = text.as_ref().is_none_or(|text| reason.contains(text));
                self.require(is_so, || reason)
            }
            Expectation::Refused => {
                let is_so = self.until(|session| session.refused.pop_front().is_some());
                self.refused.clear();
                self.require(is_so, || "nothing was refused".into())
            }
            Expectation::No(kind) => self.expect_nothing(*kind),
        }
    }

    fn expect_answer(&mut self, status: u16, text: Option<&str>) -> Result<(), Failed> {
        self.until(|session| !session.answers.is_empty());
        let Some((_, answer)) = self.answers.pop_front() else {
            return Err(self.failed("there is no answer".into()));
        };
        let is_so = answer.status.code() == status
            && text.is_none_or(|text| match &answer.message {
                Some(message) => message.contains(text),
                None => is_same(&text_of(&answer.payload), text),
            });
        self.require(is_so, || format!("the answer is {}", shown(&answer)))
    }

    fn expect_nothing(&mut self, kind: Kind) -> Result<(), Failed> {
        self.pump();
        match kind {
            Kind::Answer => {
                self.excuse();
                let answer = self.answers.front().map(|(_, answer)| shown(answer));
                self.require(answer.is_none(), || answer.unwrap_or_default())
            }
            Kind::Event => {
                let event =
                    self.events.first().map(|(property, kind)| format!("{property} {kind}"));
                self.require(event.is_none(), || event.unwrap_or_default())
            }
            Kind::Sent => {
                let sent = self.sent.first().map(|message| message.topic.clone());
                self.require(sent.is_none(), || sent.unwrap_or_default())
            }
        }
    }

    fn require(&self, is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
        if is_so { Ok(()) } else { Err(self.failed(otherwise())) }
    }
}

/// Takes the first of these out of a list; false where there is none.
fn take_out<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> bool {
    let at = list.iter().position(is_it);
    at.map(|at| list.remove(at)).is_some()
}

fn list(texts: &[&str]) -> String {
    if texts.is_empty() { "nothing".into() } else { texts.join(", ") }
}

/// Returns whether two texts are the same, or the same JSON.
fn is_same(one: &str, other: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Json>(text).ok();
    one == other || json(one).is_some_and(|one| json(other) == Some(one))
}
