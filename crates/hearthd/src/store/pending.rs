//! What waits to be written, merged: of each thing only the newest is kept, so it takes no more room however much comes.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hearthd_core::{Announced, Change, JournalRecord, Memory, RequestKey, Served};
use redb::{Database, ReadableTableMetadata as _, TableDefinition, TableHandle, WriteTransaction};

use super::{
    ANNOUNCED, BOOT, CHILDREN, Cause, DEVICES, FILTERS, FORMAT, HUB, JOURNAL, MEMORY, SERVED,
    TODAY, before, rows::Rows,
};

/// What the file does not hold yet; of each thing the newest.
#[derive(Debug, Default)]
pub(super) struct Pending {
    memory: Option<Memory>,
    /// None where the request is forgotten.
    journal: BTreeMap<RequestKey, Option<JournalRecord>>,
    /// None where nothing is left of a device.
    served: BTreeMap<Arc<str>, Option<Served>>,
    /// By topic; none where nothing is retained there.
    announced: BTreeMap<String, Option<Announced>>,
    /// Empty where nothing is remembered.
    children: BTreeMap<String, Bytes>,
    /// The journal is of an earlier version, and is written anew in today's form.
    pub(super) is_of_before: bool,
    /// None where a device's state is forgotten.
    devices: BTreeMap<String, Option<Bytes>>,
    /// The journal was given up while it could not be written: what the file holds of it is of no use.
    pub(super) journal_lost: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_none()
            && self.journal.is_empty()
            && self.devices.is_empty()
            && self.served.is_empty()
            && self.announced.is_empty()
            && self.children.is_empty()
            && !self.is_of_before
            && !self.journal_lost
    }

    /// Notes a change; of each thing the newest counts.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Memory(memory) => self.memory = Some(memory),
            Change::Record(record) | Change::Answer(record) => {
                self.journal.insert(record.key.clone(), Some(record));
            }
            Change::Forget(key) => {
                self.journal.insert(key, None);
            }
            Change::Served(served) => {
                self.served.insert(served.device.clone(), Some(served));
            }
            Change::Unserved(device) => {
                self.served.insert(device, None);
            }
            Change::Announced(announced) => {
                self.announced.insert(announced.topic.clone(), Some(announced));
            }
            Change::Withdrawn(topic) => {
                self.announced.insert(topic, None);
            }
            Change::Device { device, state } => {
                self.devices.insert(device, Some(state));
            }
            Change::Children { device, children } => {
                self.children.insert(device, children);
            }
            Change::Await => {}
        }
    }

    /// Adds the changes that came later; only the writer knows of the file, so nothing in them tells of it.
    pub(super) fn append(&mut self, later: Self) {
        let Self {
            memory,
            mut journal,
            mut served,
            mut announced,
            mut children,
            mut devices,
            is_of_before: _,
            journal_lost: _,
        } = later;
        if memory.is_some() {
            self.memory = memory;
        }
        self.journal.append(&mut journal);
        self.served.append(&mut served);
        self.announced.append(&mut announced);
        self.children.append(&mut children);
        self.devices.append(&mut devices);
    }

    /// Notes that nothing of a device is kept.
    pub(super) fn forget_device(&mut self, device: String) {
        self.devices.insert(device, None);
    }

    /// Keeps a store that cannot be written from filling the memory.
    pub(super) fn bound(&mut self) {
        if self.journal.len() > JOURNAL_BOUND {
            self.journal.clear();
            self.journal_lost = true;
        }
    }

    /// Writes all in one transaction; where that fails, the rows have to be read again.
    pub(super) fn write_to(
        &self,
        database: &Database,
        rows: &mut Rows,
        boot: Option<&str>,
    ) -> Result<(), Cause> {
        let transaction = database.begin_write()?;
        if let Some(memory) = &self.memory {
            let bytes = serde_json::to_vec(memory)?;
            let mut table = transaction.open_table(HUB)?;
            table.insert(MEMORY, bytes.as_slice())?;
            table.insert(BOOT, boot.unwrap_or_default().as_bytes())?;
            table.insert(FORMAT, TODAY)?;
        }
        if self.journal_lost {
            transaction.delete_table(JOURNAL)?;
            *rows = Rows::default();
        }
        if self.is_of_before {
            transaction.delete_table(before::JOURNAL_2)?;
        }
        if !self.journal.is_empty() {
            let mut table = transaction.open_table(JOURNAL)?;
            for (key, record) in &self.journal {
                if let Some(record) = record {
                    table.insert(rows.of(key), postcard::to_allocvec(record)?.as_slice())?;
                } else if let Some(row) = rows.forget(key) {
                    table.remove(row)?;
                }
            }
        }
        if !self.served.is_empty() {
            let mut table = transaction.open_table(SERVED)?;
            for (device, served) in &self.served {
                if let Some(served) = served {
                    let properties = serde_json::to_vec(&served.properties)?;
                    table.insert(&**device, properties.as_slice())?;
                } else {
                    table.remove(&**device)?;
                }
            }
            self.write_filters(&transaction)?;
        }
        if !self.announced.is_empty() {
            let mut table = transaction.open_table(ANNOUNCED)?;
            for (topic, announced) in &self.announced {
                match announced {
                    Some(announced) => {
                        let announced = serde_json::to_vec(announced)?;
                        table.insert(topic.as_str(), announced.as_slice())?;
                    }
                    None => drop(table.remove(topic.as_str())?),
                }
            }
            drop(table);
            delete_if_empty(&transaction, ANNOUNCED)?;
        }
        if !self.children.is_empty() {
            let mut table = transaction.open_table(CHILDREN)?;
            for (id, children) in &self.children {
                match children.is_empty() {
                    true => drop(table.remove(id.as_str())?),
                    false => drop(table.insert(id.as_str(), &**children)?),
                }
            }
            drop(table);
            delete_if_empty(&transaction, CHILDREN)?;
        }
        if !self.devices.is_empty() {
            let mut table = transaction.open_table(DEVICES)?;
            for (id, state) in &self.devices {
                match state {
                    Some(state) => drop(table.insert(id.as_str(), &**state)?),
                    None => drop(table.remove(id.as_str())?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn write_filters(&self, transaction: &WriteTransaction) -> Result<(), Cause> {
        let has_filters = |served: &Served| !served.filters.is_empty();
        let is_there = transaction.list_tables()?.any(|table| table.name() == FILTERS.name());
        if !is_there && !self.served.values().flatten().any(has_filters) {
            return Ok(());
        }
        let mut table = transaction.open_table(FILTERS)?;
        for (device, served) in &self.served {
            match served.as_ref().filter(|served| has_filters(served)) {
                Some(served) => {
                    let filters = serde_json::to_vec(&served.filters)?;
                    table.insert(&**device, filters.as_slice())?;
                }
                None => drop(table.remove(&**device)?),
            }
        }
        drop(table);
        delete_if_empty(transaction, FILTERS)
    }
}

/// Deletes a table that holds nothing: a version that does not know the table reads the file then.
fn delete_if_empty(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, &str, &[u8]>,
) -> Result<(), Cause> {
    if transaction.open_table(definition)?.is_empty()? {
        transaction.delete_table(definition)?;
    }
    Ok(())
}

/// More than the hub's journal can hold, with what it forgets beside.
const JOURNAL_BOUND: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    #[test]
    fn of_each_thing_only_the_newest_is_kept() {
        let device = |state: String| Change::Device { device: "lamp".into(), state: state.into() };
        let mut pending = Pending::default();
        for n in 0..1000 {
            pending.change(device(n.to_string()));
            pending.change(Change::Answer(record(1, None)));
            pending.change(Change::Forget(record(1, None).key));
        }
        assert_eq!((pending.devices.len(), pending.journal.len()), (1, 1));
        let mut later = Pending::default();
        later.change(device("later".into()));
        later.change(Change::Record(record(2, None)));
        pending.append(later);
        assert_eq!(pending.devices["lamp"].as_deref(), Some(&b"later"[..]));
        let forgotten: Vec<_> = pending.journal.values().map(Option::is_none).collect();
        assert_eq!(forgotten, [true, false]);
    }
}
