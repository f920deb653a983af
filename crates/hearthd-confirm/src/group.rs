//! A group of devices that one message tells, and that nobody acknowledges: each of its members is read.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    Availability, Command, CommandId, Doubt, Event, Evidence, Output, Part, Property, Publication,
    Radio, Readings, Switch, Value, Verdict, Wanted, Zigbee2Mqtt,
    device::{Device, RETRY},
    family::Dialect,
};

/// A group, as its members are.
#[derive(Debug)]
pub(crate) struct Group {
    /// The topic of its commands, which all members publish on.
    set: String,
    members: Vec<Member>,
    /// The commands without a verdict.
    open: Vec<Open>,
    /// The command that the group was last told, and when.
    told: Option<(CommandId, Duration)>,
    now: Duration,
    availability: Availability,
    outputs: VecDeque<Output>,
}

/// One device of a group.
#[derive(Debug)]
struct Member {
    device: Device,
    /// What it was last read to be.
    known: Readings,
}

/// A command, and what has become of it at each member.
#[derive(Debug)]
struct Open {
    command: Command,
    verdicts: Vec<Option<Verdict>>,
}

impl Group {
    pub(crate) fn new(table: &Zigbee2Mqtt, salt: u64) -> Self {
        let member = |(place, topic): (u64, &String)| Member {
            device: Device::with_dialect(Dialect::member(table, topic), salt.wrapping_add(place)),
            known: Readings::default(),
        };
        Self {
            set: format!("{}/set", table.topic),
            members: (0..).zip(&table.members).map(member).collect(),
            open: Vec::new(),
            told: None,
            now: Duration::ZERO,
            availability: Availability::Unknown,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn sharing(mut self, radio: &Arc<Radio>) -> Self {
        let share =
            |Member { device, known }| Member { device: device.sharing(radio.clone()), known };
        self.members = self.members.into_iter().map(share).collect();
        self
    }

    pub(crate) fn handle(&mut self, now: Duration, event: &Event) {
        self.now = self.now.max(now);
        match event {
            Event::Command(command) => self.command(command),
            Event::NotPublished { .. } => {
                self.told = None;
                self.tell_members(event);
            }
            Event::Message(_)
            | Event::Reply { .. }
            | Event::Link { .. }
            | Event::Refresh
            | Event::Elapsed => self.tell_members(event),
        }
        self.collect();
        self.conclude();
        self.tell_availability();
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.members.iter().filter_map(|member| member.device.poll_timeout()).min()
    }

    pub(crate) fn availability(&self) -> &Availability {
        &self.availability
    }

    fn tell_members(&mut self, event: &Event) {
        for member in &mut self.members {
            member.device.handle(self.now, event.clone());
        }
    }

    fn command(&mut self, Command { id, wanted, deadline }: &Command) {
        let wanted = match self.turn_over(wanted) {
            Ok(wanted) => wanted,
            Err(verdict) => return self.answer(*id, verdict),
        };
        let objection = self.members.iter().find_map(|Member { device, .. }| {
            Some(format!("{}: {}", device.name(), device.objection(&wanted)?))
        });
        if let Some(reason) = objection {
            return self.answer(*id, Verdict::Unsupported { reason });
        }
        let command = Command { id: *id, wanted, deadline: *deadline };
        let verdicts = vec![None; self.members.len()];
        self.open.push(Open { command: command.clone(), verdicts });
        self.tell_members(&Event::Command(command));
    }

    /// Makes a toggle explicit: a group is on where any of its members is.
    fn turn_over(&self, wanted: &Wanted) -> Result<Wanted, Verdict> {
        let mut wanted = wanted.clone();
        if wanted.power != Some(Switch::Toggle) || wanted.brightness.is_some() {
            return Ok(wanted);
        }
        let mut known = self.members.iter().filter_map(|member| member.known.power()).peekable();
        if known.peek().is_none() {
            let away = self.members.iter().find_map(|member| member.device.unreachable());
            return Err(match away {
                Some((reason, since)) => Verdict::Unreachable { reason, since },
                None => {
                    let last = Readings::default();
                    Verdict::Indeterminate { doubt: Doubt::Unknown, last }
                }
            });
        }
        let is_on = known.any(|on| on);
        wanted.power = Some((!is_on).into());
        Ok(wanted)
    }

    /// Takes what the members want done, and what they have learned.
    fn collect(&mut self) {
        let mut learned: Option<Evidence> = None;
        let mut note = |evidence: Evidence| {
            learned = Some(learned.map_or(evidence, |before| before.min(evidence)));
        };
        for place in 0..self.members.len() {
            while let Some(output) = self.members[place].device.poll_output() {
                match output {
                    Output::Publish(publication) => self.publish(place, publication),
                    Output::Verdict { command, verdict } => {
                        if let Verdict::Confirmed { readings, evidence } = &verdict {
                            self.members[place].known.merge(readings);
                            note(*evidence);
                        }
                        if let Some(open) =
                            self.open.iter_mut().find(|open| open.command.id == command)
                        {
                            open.verdicts[place] = Some(verdict);
                        }
                    }
                    Output::Observed { readings, evidence: Some(evidence) } => {
                        self.members[place].known.merge(&readings);
                        for open in &mut self.open {
                            if open.is_taken_back(place, &readings) {
                                // It has changed while others have not confirmed yet, and is read on.
                                open.verdicts[place] = None;
                                self.members[place].device.follow(self.now, open.command.clone());
                            }
                        }
                        note(evidence);
                    }
                    // What a member claims is read back; the rest is told of the group as a whole.
                    Output::Observed { evidence: None, .. }
                    | Output::Availability(_)
                    | Output::Queued { .. } => {}
                }
            }
        }
        if let Some(evidence) = learned {
            let readings = self.readings();
            if !readings.is_empty() {
                self.outputs.push_back(Output::Observed { readings, evidence: Some(evidence) });
            }
        }
    }

    /// Publishes something of a member, unless the group was told the same just before.
    fn publish(&mut self, place: usize, publication: Publication) {
        if publication.topic == self.set
            && let Some(command) = publication.command
        {
            let is_told =
                self.told.is_some_and(|(last, at)| last == command && self.now < at + RETRY);
            if is_told {
                return;
            }
            self.told = Some((command, self.now));
            // The bridge reports all of them once more as if they had done it.
            for (other, member) in self.members.iter_mut().enumerate() {
                if other != place {
                    member.device.note_told_again(self.now, command);
                }
            }
        }
        self.outputs.push_back(Output::Publish(publication));
    }

    /// Answers the commands that every member has decided.
    fn conclude(&mut self) {
        for Open { command, verdicts } in std::mem::take(&mut self.open) {
            if verdicts.iter().any(Option::is_none) {
                self.open.push(Open { command, verdicts });
                continue;
            }
            let names = self.members.iter().map(|member| member.device.name().to_owned());
            let verdicts = names.zip(verdicts.into_iter().flatten()).collect();
            self.answer(command.id, verdict(verdicts));
        }
    }

    fn answer(&mut self, command: CommandId, verdict: Verdict) {
        self.outputs.push_back(Output::Verdict { command, verdict });
    }

    /// Returns what the group is: off once all members that can be reached are known to be off.
    fn readings(&self) -> Readings {
        let counts = |member: &&Member| {
            let is_away = matches!(member.device.availability(), Availability::Offline { .. });
            !is_away || !member.known.is_empty()
        };
        let members: Vec<&Readings> =
            self.members.iter().filter(counts).map(|member| &member.known).collect();
        let mut readings = together(&members);
        let is_open = members.iter().any(|known| known.power().is_none());
        if is_open && readings.power() == Some(false) {
            readings = readings.values().filter(|value| *value != Value::Power(false)).collect();
        }
        readings
    }

    fn tell_availability(&mut self) {
        let availability = self.reach();
        if availability != self.availability {
            self.availability = availability.clone();
            self.outputs.push_back(Output::Availability(availability));
        }
    }

    /// Returns whether any member can be reached.
    fn reach(&self) -> Availability {
        let mut gone: Option<(String, Duration)> = None;
        let mut is_unknown = false;
        for Member { device, .. } in &self.members {
            match device.availability() {
                // All are behind one bridge.
                away @ Availability::Offline { part: Part::Link | Part::Bridge, .. } => {
                    return away.clone();
                }
                Availability::Online => return Availability::Online,
                Availability::Unknown => is_unknown = true,
                Availability::Offline { reason, since, .. } => {
                    let (told, before) = gone.take().unwrap_or_default();
                    let and = if told.is_empty() { "" } else { "; " };
                    let told = format!("{told}{and}{}: {reason}", device.name());
                    gone = Some((told, before.max(*since)));
                }
            }
        }
        match gone {
            Some((reason, since)) if !is_unknown => {
                Availability::Offline { part: Part::Device, reason, since }
            }
            Some(_) | None => Availability::Unknown,
        }
    }
}

impl Open {
    /// Returns whether a member that had confirmed the command was read again, and has changed since.
    fn is_taken_back(&self, place: usize, read: &Readings) -> bool {
        let Some(Verdict::Confirmed { readings: confirmed, .. }) = &self.verdicts[place] else {
            return false;
        };
        let again = read.of_properties(confirmed);
        !confirmed.of_properties(&again).are_met_by(&again)
    }
}

/// Returns the verdict on a group of what became of a command at each member.
fn verdict(members: Vec<(String, Verdict)>) -> Verdict {
    let superseded = |verdict: &Verdict| {
        matches!(verdict, Verdict::Indeterminate { doubt: Doubt::Superseded, .. })
    };
    if members.iter().any(|(_, verdict)| superseded(verdict)) {
        let last: Vec<&Readings> = members
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Indeterminate { last, .. } => Some(last),
                Verdict::Confirmed { readings, .. } => Some(readings),
                _ => None,
            })
            .collect();
        return Verdict::Indeterminate { doubt: Doubt::Superseded, last: together(&last) };
    }
    let confirmed = members.iter().map(|(_, verdict)| match verdict {
        Verdict::Confirmed { readings, evidence } => Some((readings, *evidence)),
        _ => None,
    });
    if let Some(confirmed) = confirmed.collect::<Option<Vec<(&Readings, Evidence)>>>()
        && let Some(evidence) = confirmed.iter().map(|(_, evidence)| *evidence).min()
    {
        let all: Vec<&Readings> = confirmed.into_iter().map(|(readings, _)| readings).collect();
        return Verdict::Confirmed { readings: together(&all), evidence };
    }
    match members.split_first() {
        Some(((_, first), others)) if others.iter().all(|(_, other)| other == first) => {
            first.clone()
        }
        Some(_) | None => Verdict::Members(members),
    }
}

/// Returns one value for each property of several devices: on where any is on, and otherwise the mean of those that
/// are on, or of all where none is. Colors have no mean: the first one counts.
fn together(members: &[&Readings]) -> Readings {
    let is_on = members.iter().any(|readings| readings.power() == Some(true));
    let shines = |readings: &&&Readings| !is_on || readings.power() != Some(false);
    let values = |property: Property| {
        members.iter().filter(shines).filter_map(move |readings| readings.get(property))
    };
    let mean = |property: Property, number: fn(Value) -> Option<f64>| {
        let numbers: Vec<f64> = values(property).filter_map(number).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
    };
    let power = members.iter().any(|readings| readings.power().is_some());
    [
        power.then_some(Value::Power(is_on)),
        mean(Property::Brightness, |value| match value {
            Value::Brightness(percent) => Some(percent),
            _ => None,
        })
        .map(Value::Brightness),
        mean(Property::ColorTemperature, |value| match value {
            Value::ColorTemperature(kelvin) => Some(kelvin),
            _ => None,
        })
        .map(Value::ColorTemperature),
        values(Property::Color).next(),
        mean(Property::Setpoint, |value| match value {
            Value::Setpoint(celsius) => Some(celsius),
            _ => None,
        })
        .map(Value::Setpoint),
    ]
    .into_iter()
    .flatten()
    .collect()
}
