//! What the words of a program mean.

use std::time::Duration;

use hearthd_sdk::Failure;
use serde_json::{Map, Value as Json};

use super::{About, Conversation, LATER, Open, Output};
use crate::declaration::Declaration;
use crate::protocol::{Answer, FromProgram, Level};

impl Conversation {
    /// Takes a message; an error is what no program should say.
    pub(super) fn hear(&mut self, now: Duration, message: FromProgram) -> Result<(), String> {
        match message {
            FromProgram::Answer(answer) => self.hear_answer(now, &answer),
            FromProgram::State { device, values } => {
                let Some(device) = self.named(device)? else { return Ok(()) };
                self.heard_of(&device);
                self.take_values(&device, &values)
            }
            FromProgram::Event { device, property, kind } => {
                let Some(device) = self.named(device)? else { return Ok(()) };
                let served = &self.devices[&device];
                let declared = served.greeting.properties.get(&property);
                if !declared.is_some_and(|(_, property)| property.has_event(&kind)) {
                    return Err(format!("`{property}` has no event `{kind}`"));
                }
                self.outputs.push_back(Output::Event { device, property, kind });
                Ok(())
            }
            FromProgram::Unreachable { device, reason } => {
                self.set_trouble(device, Some(hearthd_program::excerpt(&reason)))
            }
            FromProgram::Reachable { device } => self.set_trouble(device, None),
            FromProgram::Timer { device, name, after } => {
                let Some(device) = self.named(device)? else { return Ok(()) };
                if name.len() > LONGEST_NAME {
                    return Err(format!("the name of a timer is longer than {LONGEST_NAME} bytes"));
                }
                let after = after.map(Duration::try_from_secs_f64).transpose();
                let after = after.map_err(|error| format!("the time of a timer: {error}"))?;
                let due = after.map(|after| now.saturating_add(after));
                self.served(&device).map_or(Ok(()), |served| served.set_timer(name, due))
            }
            FromProgram::Log { device, level, message } => {
                let device = match device {
                    Some(device) => self.named(Some(device))?,
                    None => self.devices.keys().next().cloned(),
                };
                if let Some(device) = device {
                    self.log(device, level, message);
                }
                Ok(())
            }
            FromProgram::Save { device, state } => {
                let Some(device) = self.named(device)? else { return Ok(()) };
                if self.devices.get(&device).is_some_and(super::Served::is_child) {
                    return Err(format!("it saves for `{device}`, which it has added itself"));
                }
                let bytes = state.to_string().into_bytes();
                if let Some(served) = self.served(&device) {
                    served.greeting.saved = Some(state);
                }
                self.outputs.push_back(Output::Save { device, state: bytes });
                Ok(())
            }
            FromProgram::Add(add) => self.add(now, add),
            FromProgram::Remove { device, name } => self.remove(device, &name),
            FromProgram::Unknown => Ok(()),
        }
    }

    fn hear_answer(&mut self, now: Duration, answer: &Answer) -> Result<(), String> {
        let id = answer.id;
        let is_accepted = self.under_way.contains_key(&id);
        let Some(open) = self.open.remove(&id).or_else(|| self.under_way.remove(&id)) else {
            let Some(at) = self.late.iter().position(|(late, _)| *late == id) else {
                return Err(format!("it answers {id}, which it was not asked or has answered"));
            };
            if let Some((_, device)) = self.late.remove(at) {
                self.heard_of(&device);
            }
            return Ok(());
        };
        self.silent_since = self.silent_since.filter(|_| !self.open.is_empty());
        self.heard_of(&open.device);
        if answer.status() == ACCEPTED && matches!(open.about, About::Set { .. }) {
            return self.accept(now, id, open, is_accepted, answer);
        }
        let Open { device, about, .. } = open;
        let done = (200..300).contains(&answer.status());
        match about {
            About::Hello if done => self.hear_hello(now, &device, answer),
            About::Hello => {
                let reason = answer.reason_or("its program does not serve it");
                if let Some(served) = self.served(&device) {
                    served.refuse(now, reason.clone());
                }
                self.refuse_waiting(now, &device, &reason);
                Ok(())
            }
            About::Get => {
                let untold = (!done).then(|| answer.reason_or("its program cannot tell its state"));
                if let Some(served) = self.served(&device) {
                    served.untold = untold;
                }
                self.take_values(&device, &answer.values)
            }
            About::Set { request, untold, .. } if done => {
                let told = self.take_values(&device, &answer.values);
                let result = match &told {
                    Ok(()) => {
                        for (property, value) in untold {
                            let is_told = answer.values.contains_key(&property);
                            if !is_told && self.is_readable(&device, &property) {
                                let device = device.clone();
                                self.outputs.push_back(Output::Publish { device, property, value });
                            }
                        }
                        Ok(())
                    }
                    Err(fault) => Err(Failure::failed(format!("the program misbehaves: {fault}"))),
                };
                self.answer(request, result);
                told
            }
            About::Set { request, .. } => {
                // What it could do of it, it may tell.
                let told = self.take_values(&device, &answer.values);
                let (failure, known) = answer.failure();
                self.answer(request, Err(failure));
                told.and(known)
            }
        }
    }

    /// A request is under way; its end follows.
    fn accept(
        &mut self,
        now: Duration,
        id: u64,
        open: Open,
        is_accepted: bool,
        answer: &Answer,
    ) -> Result<(), String> {
        let device = open.device.clone();
        if is_accepted {
            self.under_way.insert(id, open);
            self.take_values(&device, &answer.values)?;
            return Err(format!("it answers {id} with {ACCEPTED} twice"));
        }
        let within = answer.within.map_or(Ok(USUAL_MOVE), Duration::try_from_secs_f64);
        let usable = within.ok().filter(|within| (SHORTEST_MOVE..=LONGEST_MOVE).contains(within));
        let within = usable.unwrap_or(USUAL_MOVE);
        if let About::Set { request, .. } = open.about {
            self.outputs.push_back(Output::Accept { request, within });
        }
        // The hub's own clock decides when it is too late, so this one is a little behind.
        self.under_way.insert(id, Open { until: now + within + LATER, within, ..open });
        // The states after the answer: it says what was so before.
        self.take_values(&device, &answer.values)?;
        match usable {
            Some(_) => Ok(()),
            None => Err("the time of an answer with 202 is not from 1 ms to 24 h".to_owned()),
        }
    }

    fn hear_hello(&mut self, now: Duration, device: &str, answer: &Answer) -> Result<(), String> {
        let told = answer.properties.as_ref();
        if let Some(difference) = told.and_then(|told| self.difference(device, told)) {
            let reason = format!("its program takes it for another device: {difference}");
            if let Some(served) = self.served(device) {
                served.refuse(now, reason.clone());
            }
            self.log(device.to_owned(), Level::Error, reason.clone());
            self.refuse_waiting(now, device, &reason);
            return Ok(());
        }
        let Some(served) = self.served(device) else { return Ok(()) };
        served.accept(now);
        let told = self.take_values(device, &answer.values);
        // After the states, so that whoever finds it reachable finds them.
        self.tell_reach();
        let waiting = self.served(device).map(|served| served.take_waiting(now));
        for asked in waiting.unwrap_or_default() {
            self.ask_to_set(now, device, asked);
        }
        told
    }

    /// Says where the properties that a program declares are not those of the table.
    fn difference(&self, device: &str, told: &Map<String, Json>) -> Option<String> {
        let properties = &self.devices.get(device)?.greeting.properties;
        for (name, (declaration, _)) in properties {
            let Some(json) = told.get(name) else {
                return Some(format!("the table has `{name}`, and the program does not"));
            };
            let difference = match Declaration::read(json) {
                Ok(told) => declaration.difference(&told),
                Err(error) => Some(error),
            };
            if let Some(difference) = difference {
                return Some(format!("`{name}`: {difference}"));
            }
        }
        let unknown = told.keys().find(|name| !properties.contains_key(*name));
        unknown.map(|name| format!("the program has `{name}`, and the table does not"))
    }

    fn refuse_waiting(&mut self, now: Duration, device: &str, reason: &str) {
        let waiting = self.served(device).map(|served| served.take_waiting(now));
        for asked in waiting.unwrap_or_default() {
            self.answer(asked.request, Err(Failure::unreachable(reason)));
        }
    }

    /// Publishes states; says which of them the declarations do not allow, and publishes the others all the same.
    pub(super) fn take_values(
        &mut self,
        device: &str,
        values: &Map<String, Json>,
    ) -> Result<(), String> {
        let mut refused = None;
        for (name, json) in values {
            let Some(served) = self.devices.get(device) else { break };
            let declared = served.greeting.properties.get(name);
            let value = match declared {
                None => Err(format!("it tells `{name}`, which is not declared")),
                Some((_, property)) if property.is_event() || !property.readable() => {
                    Err(format!("it tells `{name}`, which has no state"))
                }
                Some((_, property)) => property.read_value(json).ok_or_else(|| {
                    let json = hearthd_program::excerpt(&json.to_string());
                    format!("it tells {json} of `{name}`, which the declaration does not allow")
                }),
            };
            match value {
                Ok(value) => {
                    self.note_told(device, name);
                    let (device, property) = (device.to_owned(), name.clone());
                    self.outputs.push_back(Output::Publish { device, property, value });
                }
                Err(fault) => refused = Some(fault),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Takes note that a state was told, so that what was set does not replace it.
    fn note_told(&mut self, device: &str, property: &str) {
        let all = self.open.values_mut().chain(self.under_way.values_mut());
        for open in all.filter(|open| open.device == device) {
            if let About::Set { untold, .. } = &mut open.about {
                untold.remove(property);
            }
        }
    }

    fn is_readable(&self, device: &str, property: &str) -> bool {
        let served = self.devices.get(device);
        let declared = served.and_then(|served| served.greeting.properties.get(property));
        declared.is_some_and(|(_, property)| property.readable())
    }

    /// Takes note of whether devices can be reached: of one, or of all that the program serves.
    fn set_trouble(
        &mut self,
        device: Option<String>,
        trouble: Option<String>,
    ) -> Result<(), String> {
        let devices = match device {
            Some(device) => self.named(Some(device))?.into_iter().collect(),
            None => self.names(),
        };
        for device in devices {
            if let Some(served) = self.served(&device) {
                served.overdue = None;
                served.trouble.clone_from(&trouble);
            }
        }
        Ok(())
    }

    /// The program has said something of a device: it is not silent about it.
    fn heard_of(&mut self, device: &str) {
        if let Some(served) = self.served(device) {
            served.overdue = None;
        }
    }

    /// Finds the device that a message is about; none where it has gone.
    pub(super) fn named(&self, device: Option<String>) -> Result<Option<String>, String> {
        match device {
            Some(device) if self.devices.contains_key(&device) => Ok(Some(device)),
            Some(device) if self.gone.contains(&device) => Ok(None),
            Some(device) => Err(format!("it speaks of `{device}`, which it does not serve")),
            // Those that it has added are named in any case.
            None => {
                let mut own = self.devices.iter().filter(|(_, served)| !served.is_child());
                match (own.next(), own.next()) {
                    (Some(_), Some(_)) => Err("it names no device, and serves several".to_owned()),
                    (first, _) => Ok(first.map(|(device, _)| device.clone())),
                }
            }
        }
    }

    fn served(&mut self, device: &str) -> Option<&mut super::Served> {
        self.devices.get_mut(device)
    }
}

impl Answer {
    fn reason_or(&self, otherwise: &str) -> String {
        match &self.reason {
            Some(reason) if !reason.trim().is_empty() => hearthd_program::excerpt(reason),
            Some(_) | None => otherwise.to_owned(),
        }
    }

    /// Returns the failure that the requester gets, and whether the status is one that a program may give.
    fn failure(&self) -> (Failure, Result<(), String>) {
        let reason = self.reason_or("the program gives no reason");
        let failure = match self.status() {
            400 | 404 | 422 => Failure::invalid(reason),
            409 => Failure::indeterminate(reason),
            429 => Failure::busy(reason),
            500 => Failure::failed(reason),
            503 | 504 => Failure::unreachable(reason),
            other => {
                let fault = format!("it answers with the status {other}, which has no meaning");
                return (Failure::failed(reason), Err(fault));
            }
        };
        (failure, Ok(()))
    }
}

/// The status of what is under way, and how long that may take.
const ACCEPTED: u16 = 202;
const SHORTEST_MOVE: Duration = Duration::from_millis(1);
const USUAL_MOVE: Duration = Duration::from_secs(60);
const LONGEST_MOVE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest name of a timer, in bytes.
const LONGEST_NAME: usize = 64;
