//! Devices that a program adds and removes while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_sdk::{ChildDeclaration, Failure, Property};
use serde_json::{Map, Value as Json};

use super::served::{Greeting, Parent, Phase, Served};
use super::{Conversation, Output, REMEMBERED};
use crate::declaration::Declaration;
use crate::protocol::{Add, Level, ToProgram};

impl Conversation {
    /// Takes a device that the program adds.
    pub(super) fn add(&mut self, now: Duration, add: Add) -> Result<(), String> {
        let Some(parent) = self.parent_named(add.device)? else { return Ok(()) };
        let Add { name, properties, kind, title, room, values, .. } = add;
        let device = format!("{parent}-{name}");
        let known = self.devices.get(&device);
        let is_known = known.is_some_and(|known| known.is_child_of(&parent));
        let read = match known {
            Some(_) if !is_known => Err(format!("the program serves another `{device}`")),
            _ => read_all(&properties),
        };
        let properties = match read {
            Ok(properties) => properties,
            Err(reason) => {
                self.refused(&parent, &name, &reason);
                if is_known {
                    // The hub has it as it was before.
                    self.outputs.push_back(Output::Remove { parent, name, device });
                }
                return Ok(());
            }
        };
        let Some(served) = self.devices.get_mut(&parent) else { return Ok(()) };
        served.greeting.children.insert(name.clone());
        let poll = served.greeting.poll;
        let declared = properties.values().map(|(_, property)| property.clone()).collect();
        let mut declaration = ChildDeclaration::new(declared);
        for (text, set) in [
            (kind, ChildDeclaration::kind as fn(ChildDeclaration, String) -> ChildDeclaration),
            (title, ChildDeclaration::title),
            (room, ChildDeclaration::room),
        ] {
            declaration = text.into_iter().fold(declaration, set);
        }
        let of = Parent { device: parent.clone(), name: name.clone() };
        let mut child = Served::new(Greeting::of_child(properties, poll), Some(of));
        child.accept(now);
        if let Some(before) = self.devices.get_mut(&device) {
            child.waiting = std::mem::take(&mut before.waiting);
        }
        self.gone.remove(&device);
        self.devices.insert(device.clone(), child);
        let added = device.clone();
        self.outputs.push_back(Output::Add { parent, name, device: added, declaration });
        let told = self.take_values(&device, &values);
        self.tell_reach();
        let waiting = self.devices.get_mut(&device).map(|served| served.take_waiting(now));
        for asked in waiting.unwrap_or_default() {
            self.ask_to_set(now, &device, asked);
        }
        told
    }

    /// Takes that the program removes a device that it has added, or that an earlier life of it had.
    pub(super) fn remove(&mut self, device: Option<String>, name: &str) -> Result<(), String> {
        let Some(parent) = self.parent_named(device)? else { return Ok(()) };
        let Some(served) = self.devices.get_mut(&parent) else { return Ok(()) };
        if !served.greeting.children.remove(name) {
            return Err(format!("it removes `{name}`, which it has not added"));
        }
        let device = format!("{parent}-{name}");
        self.give_up_device(&device, "the device is removed");
        self.outputs.push_back(Output::Remove { parent, name: name.to_owned(), device });
        Ok(())
    }

    /// The hub does not take a device that the program has added: the program is told why.
    pub(crate) fn refused(&mut self, parent: &str, name: &str, reason: &str) {
        let Some(served) = self.devices.get_mut(parent) else { return };
        served.greeting.children.remove(name);
        let device = format!("{parent}-{name}");
        if self.devices.get(&device).is_some_and(|known| known.is_child_of(parent)) {
            self.give_up_device(&device, reason);
        }
        self.log(parent.to_owned(), Level::Warn, format!("`{name}` is not added: {reason}"));
        self.write(&ToProgram::Refused { device: parent, name, reason });
    }

    /// Serves a device no longer; its requests are answered.
    pub(super) fn give_up_device(&mut self, device: &str, reason: &str) {
        let Some(served) = self.devices.remove(device) else { return };
        for (asked, _) in served.waiting {
            self.answer(asked.request, Err(Failure::unreachable(reason)));
        }
        for open in self.take_all(|open| open.device == device) {
            self.give_up(open, reason);
        }
        if self.gone.len() < REMEMBERED {
            self.gone.insert(device.to_owned());
        }
    }

    /// Returns the devices that a device has added.
    pub(super) fn children_of(&self, parent: &str) -> Vec<String> {
        let children = self.devices.iter().filter(|(_, served)| served.is_child_of(parent));
        children.map(|(device, _)| device.clone()).collect()
    }

    /// Finds the device that adds or removes others.
    fn parent_named(&self, device: Option<String>) -> Result<Option<String>, String> {
        let Some(device) = self.named(device)? else { return Ok(None) };
        match self.devices.get(&device) {
            Some(served) if served.greeting.adds => Ok(Some(device)),
            Some(_) => Err(format!("`{device}` adds no devices; its table needs `adds = true`")),
            None => Ok(None),
        }
    }
}

impl Served {
    /// Returns whether the program adds it, and is not greeted for it.
    pub(super) fn is_child(&self) -> bool {
        self.parent.is_some()
    }

    /// Returns whether the program has added it to this device.
    pub(super) fn is_child_of(&self, parent: &str) -> bool {
        self.parent.as_ref().is_some_and(|it| it.device == parent)
    }

    /// Returns whether it is known to the program that runs.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_child() && matches!(self.phase, Phase::Unknown)
    }
}

type Properties = BTreeMap<String, (Declaration, Property)>;

fn read_all(declarations: &Map<String, Json>) -> Result<Properties, String> {
    let read = |(name, json): (&String, &Json)| {
        let declaration = Declaration::read(json).map_err(|error| format!("`{name}`: {error}"))?;
        match declaration.mistake(name) {
            Some(mistake) => Err(format!("`{name}`: {mistake}")),
            None => {
                let property = declaration.property(name);
                Ok((name.clone(), (declaration, property)))
            }
        }
    };
    if declarations.is_empty() {
        return Err("it has no properties".into());
    }
    declarations.iter().map(read).collect()
}
