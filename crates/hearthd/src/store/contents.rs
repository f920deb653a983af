//! Reads the store's file at the start.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::{JournalRecord, Kept, Served};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    TableHandle as _,
};
use tracing::warn;

use super::{
    ANNOUNCED, BOOT, CHILDREN, Cause, DEVICES, FILTERS, FORMAT, HUB, JOURNAL, MEMORY, SERVED,
    TODAY, before, file::is_damage, rows::Rows,
};

/// What the store held at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contents {
    /// What the hub remembers.
    pub kept: Kept,
    /// The saved states of devices.
    pub devices: BTreeMap<String, Vec<u8>>,
    /// What is remembered of the devices that a device has added.
    pub children: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    /// Takes out the states of devices that are not configured, and of which nothing is left at the broker.
    pub(super) fn take_forgotten(&mut self, is_configured: impl Fn(&str) -> bool) -> Vec<String> {
        let is_served = |id: &str| self.kept.served.iter().any(|served| &*served.device == id);
        let is_forgotten = |id: &&String| !is_configured(id) && !is_served(id);
        let forgotten: Vec<_> = self.devices.keys().filter(is_forgotten).cloned().collect();
        self.devices.retain(|id, _| !forgotten.contains(id));
        forgotten
    }
}

/// A store that was read.
pub(super) struct Read {
    pub(super) contents: Contents,
    pub(super) rows: Rows,
    /// Its journal is of an earlier version.
    pub(super) is_of_before: bool,
}

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// What is in it makes no sense.
    #[error("{0}")]
    Broken(Cause),
    /// A newer version has written it, in a form that this one would misread.
    #[error("a newer version of hearthd has written it: {0}")]
    Newer(String),
    /// It cannot be got at, which says nothing about what is in it.
    #[error("{0}")]
    OutOfReach(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Unreadable {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(cause) if !is_damage(&cause) => {
                Self::OutOfReach(redb::Error::Io(cause))
            }
            error @ redb::Error::TableTypeMismatch { .. } => Self::Newer(error.to_string()),
            error => Self::Broken(error.into()),
        }
    }
}

/// Reads all that the hub needs.
pub(super) fn read(database: &Database, boot: Option<&str>) -> Result<Read, Unreadable> {
    let broken = |error: serde_json::Error| Unreadable::Broken(error.into());
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    refuse_newer(&transaction)?;
    let mut same_boot = false;
    if let Some(table) = open_table(&transaction, HUB)? {
        if let Some(value) = table.get(MEMORY)? {
            contents.kept.memory = serde_json::from_slice(value.value()).map_err(broken)?;
        }
        let written_in = table.get(BOOT)?;
        same_boot = written_in.is_some_and(|value| Some(value.value()) == boot.map(str::as_bytes));
    }
    if let Some(table) = open_table(&transaction, DEVICES)? {
        for row in table.iter()? {
            let (id, state) = row?;
            contents.devices.insert(id.value().to_owned(), state.value().to_owned());
        }
    }
    if let Some(table) = open_table(&transaction, CHILDREN)? {
        for row in table.iter()? {
            let (id, children) = row?;
            contents.children.insert(id.value().to_owned(), children.value().to_owned());
        }
    }
    if let Some(table) = open_table(&transaction, SERVED)? {
        for row in table.iter()? {
            let (device, properties) = row?;
            let properties = serde_json::from_slice(properties.value()).map_err(broken)?;
            let device = device.value().into();
            contents.kept.served.push(Served { device, properties, ..Served::default() });
        }
    }
    if let Some(table) = open_table(&transaction, FILTERS)? {
        for row in table.iter()? {
            let (device, filters) = row?;
            let filters = serde_json::from_slice(filters.value()).map_err(broken)?;
            let served = &mut contents.kept.served;
            match served.iter_mut().find(|served| *served.device == *device.value()) {
                Some(served) => served.filters = filters,
                None => {
                    let device = device.value().into();
                    served.push(Served { device, filters, ..Served::default() });
                }
            }
        }
    }
    if let Some(table) = open_table(&transaction, ANNOUNCED)? {
        for row in table.iter()? {
            let (_, announced) = row?;
            let announced = serde_json::from_slice(announced.value()).map_err(broken)?;
            contents.kept.announced.push(announced);
        }
    }
    let journal = read_journal(&transaction)?;
    let rows = rows_of(&journal);
    let earlier = before::read_journal(&transaction)?;
    let is_of_before = !earlier.is_empty();
    let records = earlier.into_iter().chain(journal.into_iter().map(|(_, record)| record));
    contents.kept.journal = records.map(|record| of_this_boot(record, same_boot)).collect();
    Ok(Read { contents, rows, is_of_before })
}

/// Reads which row holds which request.
pub(super) fn read_rows(database: &Database) -> Result<Rows, Unreadable> {
    Ok(rows_of(&read_journal(&database.begin_read()?)?))
}

/// Refuses what this version does not know: another format, or a table whose meaning only a newer one knows.
fn refuse_newer(transaction: &ReadTransaction) -> Result<(), Unreadable> {
    if let Some(table) = open_table(transaction, HUB)?
        && let Some(format) = table.get(FORMAT)?
        && format.value() != TODAY
    {
        let format = String::from_utf8_lossy(format.value()).into_owned();
        let today = String::from_utf8_lossy(TODAY);
        return Err(Unreadable::Newer(format!(
            "its format is {format:?}, and this one's {today:?}"
        )));
    }
    let known = [
        HUB.name(),
        DEVICES.name(),
        JOURNAL.name(),
        SERVED.name(),
        FILTERS.name(),
        ANNOUNCED.name(),
        CHILDREN.name(),
        before::JOURNAL_2.name(),
    ];
    match transaction.list_tables()?.find(|table| !known.contains(&table.name())) {
        Some(table) => Err(Unreadable::Newer(format!("it has a table {:?}", table.name()))),
        None => Ok(()),
    }
}

fn rows_of(journal: &[(u64, JournalRecord)]) -> Rows {
    Rows::holding(journal.iter().map(|(row, record)| (*row, record.key.clone())))
}

fn read_journal(transaction: &ReadTransaction) -> Result<Vec<(u64, JournalRecord)>, Unreadable> {
    let mut journal = Vec::new();
    let Some(table) = open_table(transaction, JOURNAL)? else { return Ok(journal) };
    for entry in table.iter()? {
        let (row, record) = entry?;
        match postcard::from_bytes::<JournalRecord>(record.value()) {
            Ok(record) => journal.push((row.value(), record)),
            Err(cause) => warn!(%cause, "a request of the journal cannot be read"),
        }
    }
    Ok(journal)
}

/// Opens a table; `None` if it was never written.
pub(super) fn open_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, TableError> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Marks a requester of an earlier boot as gone, because it is unknown how long the system was off.
fn of_this_boot(mut record: JournalRecord, same_boot: bool) -> JournalRecord {
    if !same_boot && record.reply.expires.is_some() {
        record.reply.expires = Some(Duration::ZERO);
    }
    record
}
