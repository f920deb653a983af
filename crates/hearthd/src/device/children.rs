//! The devices that a device has added: which there are, what is remembered of them, and who has an ID.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hearthd_sdk::abi::{self, children::MOST_CHILDREN};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{
    crashes::calls::Slot, events::EventQueue, health::Calling, health::Condition, mailbox::Mailbox,
    shared::Shared,
};
use crate::{
    boundary::{
        call::{ChildRefusal, NewChild},
        rate_limit::{Bucket, Rate},
    },
    config::DeviceConfig,
    plugin::children::{read, too_many},
    sync::lock,
};

/// The devices that one device has added; a reload that changes the device keeps them.
#[derive(Debug)]
pub(crate) struct Children {
    /// The device that adds them.
    parent: String,
    mailbox: Arc<Mailbox>,
    events: Arc<EventQueue>,
    pub(super) slot: Arc<Slot>,
    pub(super) calling: Calling,
    ids: Arc<Ids>,
    queue: usize,
    inner: Mutex<Inner>,
    /// Counts the changes that the parent's worker takes up.
    version: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    by_name: BTreeMap<Arc<str>, Arc<Shared>>,
    /// Those that are none after all, and why; the plugin has not been told.
    refused: Vec<(String, String)>,
    /// Those whose ID another device has; people have been told.
    told: BTreeSet<String>,
    changes: Bucket,
    /// Another has taken the parent's place, and has its children.
    disowned: bool,
}

/// What makes a device the child of another one.
#[derive(Debug)]
pub(crate) struct ChildOf {
    /// The ID of the device that has added it.
    pub(crate) parent: String,
    pub(crate) name: Arc<str>,
    record: ChildRecord,
    /// The present instance of the parent has added it.
    there: AtomicBool,
}

/// What is remembered of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChildRecord {
    name: String,
    kind: String,
    title: String,
    room: String,
    /// The declarations as JSON.
    properties: String,
}

impl Children {
    /// Makes the children of a device that has none.
    pub(super) fn new(
        parent: &str,
        mailbox: &Arc<Mailbox>,
        events: &Arc<EventQueue>,
        (slot, calling): (&Arc<Slot>, &Calling),
        ids: &Arc<Ids>,
        queue: usize,
    ) -> Self {
        Self {
            parent: parent.to_owned(),
            mailbox: Arc::clone(mailbox),
            events: Arc::clone(events),
            slot: Arc::clone(slot),
            calling: calling.clone(),
            ids: Arc::clone(ids),
            queue,
            inner: Mutex::new(Inner {
                by_name: BTreeMap::new(),
                refused: Vec::new(),
                told: BTreeSet::new(),
                changes: Bucket::new(CHANGES, mailbox.clock.now()),
                disowned: false,
            }),
            version: AtomicU64::new(0),
        }
    }

    /// Adds a child, or replaces what it declares.
    pub(super) fn add(
        &self,
        parent: &Shared,
        child: &NewChild<'_>,
    ) -> Result<Arc<Shared>, ChildRefusal> {
        let (id, declarations) = read(&self.parent, child)?;
        let record = ChildRecord::of(child);
        let config = record.config(id, &parent.config);
        let mut inner = lock(&self.inner);
        if inner.disowned {
            let message = "the device has ended".into();
            return Err(ChildRefusal { status: abi::ERR_GONE, path: "", message });
        }
        let before = inner.by_name.get(child.name).cloned();
        let shared = match &before {
            Some(known) if known.is_child_as(&record, &config) => Arc::clone(known),
            known => {
                if known.is_none() && inner.by_name.len() >= MOST_CHILDREN {
                    return Err(too_many());
                }
                if !inner.changes.take(self.mailbox.clock.now()) {
                    let message = "the children change too fast".into();
                    return Err(ChildRefusal { status: abi::ERR_BUSY, path: "", message });
                }
                if known.is_none() {
                    self.claim(&mut inner, child.name, &config.id)?;
                }
                let handles = match known {
                    Some(known) => known.handles(),
                    None => parent.handles_of_child(self, &config.id),
                };
                let of = record.of_parent(&self.parent);
                Arc::new(Shared::of_child(parent, of, config, declarations, handles))
            }
        };
        shared.begin_instance();
        shared.set_there(true);
        if before.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &shared)) {
            match before {
                Some(before) => shared.take_over(&before),
                None => info!(device = shared.config.id, parent = self.parent, "device added"),
            }
            inner.by_name.insert(child.name.into(), Arc::clone(&shared));
            // Ahead of all that is told of it.
            self.events.children(&self.parent);
        }
        shared.set_condition(Condition::Ready);
        drop(inner);
        self.changed();
        Ok(shared)
    }

    fn claim(&self, inner: &mut Inner, name: &str, id: &str) -> Result<(), ChildRefusal> {
        let Err(message) = self.ids.claim(id, &self.parent) else { return Ok(()) };
        if inner.told.len() < MOST_CHILDREN && inner.told.insert(name.to_owned()) {
            warn!(device = self.parent, child = name, reason = message, "child refused");
        }
        Err(ChildRefusal { status: abi::ERR_INVALID, path: "name", message })
    }

    /// Takes up what the store has kept: the children are served, and wait until they are added again.
    pub(super) fn restore(&self, parent: &Shared, records: &[u8]) {
        let records: Vec<ChildRecord> = match serde_json::from_slice(records) {
            Ok(records) => records,
            Err(error) => {
                warn!(device = self.parent, %error, "what is stored of its children cannot be read");
                Vec::new()
            }
        };
        let mut inner = lock(&self.inner);
        for record in records.into_iter().take(MOST_CHILDREN) {
            let child = record.as_new();
            let claimed = read(&self.parent, &child).and_then(|(id, declarations)| {
                self.claim(&mut inner, &record.name, &id)?;
                Ok((id, declarations))
            });
            let Ok((id, declarations)) = claimed else {
                // The store forgets it.
                self.events.children(&self.parent);
                continue;
            };
            let config = record.config(id, &parent.config);
            let handles = parent.handles_of_child(self, &config.id);
            let name: Arc<str> = record.name.as_str().into();
            let of = record.of_parent(&self.parent);
            let shared = Arc::new(Shared::of_child(parent, of, config, declarations, handles));
            inner.by_name.insert(name, shared);
        }
        drop(inner);
        self.changed();
    }

    /// Removes a child; returns the status for the plugin.
    pub(super) fn remove(&self, name: &str) -> i32 {
        if !self.take_out(name, None) {
            return abi::ERR_INVALID;
        }
        info!(parent = self.parent, child = name, "device removed");
        abi::OK
    }

    /// Takes a child from its parent, and has the plugin told why.
    pub(super) fn refuse(&self, name: &str, reason: &str) {
        self.take_out(name, Some(reason));
    }

    /// Notes that a child which the plugin takes for one is none, and has the plugin told why.
    pub(super) fn refuse_new(&self, name: &str, reason: String) {
        let mut inner = lock(&self.inner);
        // A plugin that goes on and on hears of some.
        if inner.refused.len() < MOST_CHILDREN {
            inner.refused.push((name.to_owned(), reason));
        }
        drop(inner);
        self.changed();
    }

    fn take_out(&self, name: &str, reason: Option<&str>) -> bool {
        let mut inner = lock(&self.inner);
        let Some(shared) = inner.by_name.remove(name) else { return false };
        shared.silence();
        self.ids.release(&shared.config.id, &self.parent);
        if let Some(reason) = reason {
            warn!(device = self.parent, child = name, reason, "child refused");
            inner.refused.push((name.to_owned(), reason.to_owned()));
        }
        drop(inner);
        self.events.children(&self.parent);
        self.changed();
        true
    }

    /// Ends all, because the parent has left the configuration.
    pub(super) fn leave(&self) {
        lock(&self.inner).disowned = true;
        self.clear();
    }

    /// Ends all, because the parent's table says that it may add none any more.
    pub(super) fn clear(&self) {
        let mut inner = lock(&self.inner);
        if inner.by_name.is_empty() {
            return;
        }
        for (_, shared) in mem::take(&mut inner.by_name) {
            shared.silence();
            self.ids.release(&shared.config.id, &self.parent);
        }
        drop(inner);
        self.events.children(&self.parent);
        self.changed();
    }

    /// Gives all up, because another has taken the parent's place; returns what is remembered of them.
    pub(super) fn disown(&self) -> Vec<u8> {
        let records = self.records();
        let mut inner = lock(&self.inner);
        inner.disowned = true;
        for (_, shared) in mem::take(&mut inner.by_name) {
            shared.disown();
            shared.drain(&format!("`{}` was stalled and is created anew", self.parent));
            self.ids.release(&shared.config.id, &self.parent);
        }
        drop(inner);
        self.changed();
        records
    }

    /// Returns what is to be remembered: a JSON list, or nothing where there are none.
    pub(super) fn records(&self) -> Vec<u8> {
        let inner = lock(&self.inner);
        let of = |shared: &'_ Arc<Shared>| Some(shared.child.as_ref()?.record.clone());
        let records: Vec<ChildRecord> = inner.by_name.values().filter_map(of).collect();
        if records.is_empty() {
            return Vec::new();
        }
        serde_json::to_vec(&records).expect("a record has only text")
    }

    /// Returns the child of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Shared>> {
        lock(&self.inner).by_name.get(name).cloned()
    }

    /// Returns all children.
    pub(super) fn all(&self) -> Vec<Arc<Shared>> {
        lock(&self.inner).by_name.values().cloned().collect()
    }

    /// Returns the names of all children.
    pub(super) fn names(&self) -> Vec<String> {
        lock(&self.inner).by_name.keys().map(|name| name.to_string()).collect()
    }

    /// Takes those that the plugin is to be told are none.
    pub(super) fn take_refused(&self) -> Vec<(String, String)> {
        mem::take(&mut lock(&self.inner).refused)
    }

    /// Returns how often something has changed.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The parent has another instance: those that it has not added are waited for.
    pub(super) fn await_all(&self) {
        for shared in self.all().iter().filter(|shared| !shared.is_there()) {
            let text = format!("`{}` has not added it yet", self.parent);
            shared.set_condition(Condition::Restarting(text));
        }
    }

    /// The parent's instance is gone: so are those that it has added, until the next one adds them.
    pub(super) fn lose(&self, condition: Option<&Condition>) {
        for shared in self.all() {
            shared.set_there(false);
            if let Some(condition) = condition {
                shared.set_condition(condition.clone());
            }
        }
    }

    /// Makes the mailbox of a child, which its parent's worker looks into.
    pub(super) fn mailbox(&self) -> Mailbox {
        let clock = Arc::clone(&self.mailbox.clock);
        Mailbox::of_child(self.queue, clock, Arc::clone(&self.mailbox))
    }

    /// Returns where the children report.
    pub(super) fn events(&self) -> Arc<EventQueue> {
        Arc::clone(&self.events)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.mailbox.nudge();
    }
}

impl ChildOf {
    /// Returns whether the present instance of the parent has added it.
    pub(super) fn is_there(&self) -> bool {
        self.there.load(Ordering::Acquire)
    }

    /// Notes whether the present instance of the parent has added it.
    pub(super) fn set_there(&self, there: bool) {
        self.there.store(there, Ordering::Release);
    }

    /// Returns whether it was added with these words.
    pub(super) fn is_as(&self, record: &ChildRecord) -> bool {
        self.record == *record
    }
}

impl ChildRecord {
    fn of(child: &NewChild<'_>) -> Self {
        let NewChild { name, kind, title, room, properties } = child;
        let [name, kind, title, room, properties] =
            [name, kind, title, room, properties].map(|text| (*text).to_owned());
        Self { name, kind, title, room, properties }
    }

    fn as_new(&self) -> NewChild<'_> {
        let Self { name, kind, title, room, properties } = self;
        NewChild { name, kind, title, room, properties }
    }

    /// Returns the child's configuration: what it does not say itself is the parent's.
    fn config(&self, id: String, parent: &DeviceConfig) -> DeviceConfig {
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        DeviceConfig {
            id,
            kind: said(&self.kind).unwrap_or_else(|| parent.kind.clone()),
            name: said(&self.title),
            room: said(&self.room).or_else(|| parent.room.clone()),
            config: serde_json::Value::Null,
            ..parent.clone()
        }
    }

    fn of_parent(self, parent: &str) -> ChildOf {
        let name = self.name.as_str().into();
        let there = AtomicBool::new(false);
        ChildOf { parent: parent.to_owned(), name, record: self, there }
    }
}

/// Who has an ID: a device of the configuration, the hub, or the child of a device.
#[derive(Debug, Default)]
pub(crate) struct Ids(Mutex<BTreeMap<String, Option<String>>>);

impl Ids {
    /// Notes the IDs of the configuration; returns the children that have one of them, each with its parent.
    pub(super) fn configure<'i>(
        &self,
        ids: impl Iterator<Item = &'i str>,
    ) -> Vec<(String, String)> {
        let mut owners = lock(&self.0);
        owners.retain(|_, owner| owner.is_some());
        let mut evicted = Vec::new();
        for id in ids {
            if let Some(Some(parent)) = owners.insert(id.to_owned(), None) {
                evicted.push((parent, id.to_owned()));
            }
        }
        evicted
    }

    fn claim(&self, id: &str, parent: &str) -> Result<(), String> {
        let mut owners = lock(&self.0);
        match owners.get(id) {
            None => {
                owners.insert(id.to_owned(), Some(parent.to_owned()));
                Ok(())
            }
            Some(None) => Err(format!("`{id}` is the ID of something in the configuration")),
            Some(Some(other)) => Err(format!("`{id}` is a device that `{other}` has added")),
        }
    }

    fn release(&self, id: &str, parent: &str) {
        let mut owners = lock(&self.0);
        if owners.get(id).is_some_and(|owner| owner.as_deref() == Some(parent)) {
            owners.remove(id);
        }
    }
}

/// How often the children of one device may change.
const CHANGES: Rate = Rate { per_second: 1, burst: 512 };
