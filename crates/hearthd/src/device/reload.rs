//! Brings the devices from one configuration to another, each without losing a request.

use std::{mem, sync::Arc};

use hearthd_core::{Answer, Status};
use serde::Serialize;

use super::{
    Checked, CheckedDevice, Device, Devices, bounds, children::ChildOf, health::Condition,
    mailbox::Change, worker::Successor,
};
use crate::{config::Config, plugin::Launcher};

/// What a reload does to the devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Devices that were not there.
    pub added: Vec<String>,
    /// Devices that are there no more.
    pub removed: Vec<String>,
    /// Devices whose table or plugin is another.
    pub changed: Vec<String>,
    /// Devices that were out of order and are created anew.
    pub restarted: Vec<String>,
}

impl Devices {
    /// Returns what the devices' plugins have accepted so far.
    pub fn checked(&self) -> Arc<Checked> {
        Arc::clone(&self.checked)
    }

    /// Changes the devices to those of another configuration; never blocks.
    ///
    /// A device that changes saves and ends once no command is pending, and its successor answers the requests that
    /// have waited in the mailbox.
    pub fn apply(&mut self, config: &Config, checked: Checked, launcher: &Launcher) -> Difference {
        let bounds = bounds(config);
        let bounds_differ = bounds != self.bounds;
        let limits_differ = launcher.limits() != self.launcher.limits();
        (self.bounds, self.launcher) = (bounds, launcher.clone());
        let checked = Arc::new(checked);
        let before = mem::replace(&mut self.checked, Arc::clone(&checked));
        let mut difference = Difference::default();
        self.remove_all_but(&checked, &mut difference);
        self.configure_ids(&checked);
        for (id, device) in &checked.devices {
            let isolated = !device.config.isolation.is_here();
            let change = match before.devices.get(id) {
                None => {
                    self.add(id, device);
                    difference.added.push(id.clone());
                    continue;
                }
                Some(known) if known.config != device.config || known.table != device.table => true,
                Some(known) => {
                    !known.kind.is_same(&device.kind)
                        || bounds_differ
                        || (limits_differ && isolated)
                }
            };
            if change {
                self.replace(id, device);
                difference.changed.push(id.clone());
            } else if self.is_out_of_order(id) {
                self.restart_device(id);
                difference.restarted.push(id.clone());
            }
        }
        difference
    }

    /// Creates a device's instance anew, as a person has asked for; the answer is for that person.
    pub fn restart(&mut self, id: &str) -> Answer {
        if !self.by_id.contains_key(id) {
            let text = format!("there is no device `{id}`; the payload names one");
            return Answer::failure(Status::NotFound, text);
        }
        let device = self.by_id.get(id).and_then(|device| device.shared.child.as_ref());
        if let Some(ChildOf { parent, .. }) = device {
            let text = format!("`{id}` is a device of `{parent}`, and restarts with that");
            return Answer::failure(Status::Unprocessable, text);
        }
        self.restart_device(id);
        Answer::no_content()
    }

    fn add(&mut self, id: &str, device: &CheckedDevice) {
        // One of this name that has not ended yet may save no more: this one begins with what was saved so far.
        let leaving = self.leaving.iter().filter(|(leaving, _)| leaving == id);
        leaving.for_each(|(_, device)| device.shared.disown());
        let saved = self.saved.get(id).cloned();
        let started = self.begin(device, self.handles(id), saved, None, &[]);
        self.by_id.insert(id.to_owned(), started);
    }

    fn remove_all_but(&mut self, checked: &Checked, difference: &mut Difference) {
        self.leaving.retain(|(_, device)| !device.shared.mailbox.has_stopped());
        let is_gone = |(id, device): &(&String, &Device)| {
            device.shared.child.is_none() && !checked.devices.contains_key(*id)
        };
        let gone = self.by_id.iter().filter(is_gone);
        let removed: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
        for id in &removed {
            if let Some(device) = self.by_id.get(id) {
                device.shared.silence();
                device.shared.children.iter().for_each(|children| children.leave());
            }
            self.leave(id);
            self.take_up_children(id);
        }
        difference.removed = removed;
    }

    /// Lets a device end.
    fn leave(&mut self, id: &str) {
        if let Some(device) = self.by_id.remove(id) {
            device.shared.mailbox.stop();
            self.leaving.push((id.to_owned(), device));
        }
    }

    fn replace(&mut self, id: &str, device: &CheckedDevice) {
        if self.is_stuck(id) {
            return self.abandon(id, device);
        }
        let Some(Device { shared }) = self.by_id.get(id) else { return };
        let handles = shared.handles();
        let successor = Arc::new(self.shared(device, handles, shared.saved()));
        let change = Change::Replace(Box::new(Successor {
            kind: device.kind.clone(),
            launcher: self.launcher.clone(),
            shared: Arc::clone(&successor),
        }));
        shared.mailbox.push_change(change);
        if let Some(device) = self.by_id.get_mut(id) {
            device.shared = successor;
        }
    }

    fn restart_device(&mut self, id: &str) {
        let checked = self.checked();
        match checked.devices.get(id) {
            Some(device) if self.is_stuck(id) => self.abandon(id, device),
            _ => {
                if let Some(device) = self.by_id.get(id) {
                    device.shared.mailbox.push_change(Change::Restart);
                }
            }
        }
    }

    /// Leaves a thread behind that does not come back from its plugin, and starts another.
    fn abandon(&mut self, id: &str, device: &CheckedDevice) {
        let saved = self.by_id.get(id).and_then(|device| device.shared.saved());
        let children = self.by_id.get(id).and_then(|device| device.shared.children.as_ref());
        let remembered = children.map(|children| children.disown());
        if let Some(stuck) = self.by_id.get(id) {
            stuck.shared.disown();
            for request in stuck.shared.mailbox.drain() {
                let text = format!("`{id}` was stalled and is created anew");
                self.events.answer(request.id, Answer::failure(Status::Unavailable, text));
            }
        }
        self.leave(id);
        let remembered = remembered.filter(|records| !records.is_empty());
        let started = self.begin(device, self.handles(id), saved, remembered.as_deref(), &[]);
        self.by_id.insert(id.to_owned(), started);
        self.take_up_children(id);
    }

    /// Returns whether a device's thread is in a call that does not end; a process of its own is killed instead.
    fn is_stuck(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|device| {
            device.shared.is_stalled() && device.shared.config.isolation.is_here()
        })
    }

    fn is_out_of_order(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|device| {
            device.shared.is_stalled() || device.shared.condition() != Condition::Ready
        })
    }
}
