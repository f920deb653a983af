//! Converts what earlier versions have written into today's form.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hearthd_core::{Answer, ContentType, JournalRecord, QoS, Reply, RequestKey, Status};
use redb::{ReadTransaction, ReadableTable, TableDefinition};
use serde::Deserialize;
use tracing::warn;

use super::contents::{Unreadable, open_table};

/// Records of version 0.1.0, in postcard's form.
pub(super) const JOURNAL_2: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal-2");

/// Reads the requests of version 0.1.0, in the order in which they came.
pub(super) fn read_journal(
    transaction: &ReadTransaction,
) -> Result<Vec<JournalRecord>, Unreadable> {
    let mut journal = Vec::new();
    let Some(table) = open_table(transaction, JOURNAL_2)? else { return Ok(journal) };
    for entry in table.iter()? {
        let (_, record) = entry?;
        match postcard::from_bytes::<Record2>(record.value()) {
            Ok(record) => journal.push(record.into()),
            Err(cause) => warn!(%cause, "a request of the journal cannot be read"),
        }
    }
    Ok(journal)
}

/// A request of the journal as it was.
#[derive(Deserialize)]
struct Record2 {
    key: Key2,
    content: u64,
    device: Arc<str>,
    property: Arc<str>,
    reply: Reply2,
    answer: Option<Answer2>,
    delivered: bool,
}

/// What names a request, as it was.
#[derive(Deserialize)]
enum Key2 {
    Correlated { response_topic: Arc<str>, correlation_data: Bytes },
    Guard { guard: Arc<str>, correlation_data: Bytes },
    Packet(u16),
}

/// How a request is answered, as it was.
#[derive(Deserialize)]
struct Reply2 {
    response_topic: Option<Arc<str>>,
    correlation_data: Option<Bytes>,
    qos: QoS,
    expires: Option<Duration>,
}

/// An answer, as it was.
#[derive(Deserialize)]
struct Answer2 {
    status: Status,
    payload: Bytes,
    content_type: ContentType,
    message: Option<String>,
    property: Option<String>,
    value: Option<String>,
}

impl From<Record2> for JournalRecord {
    fn from(record: Record2) -> Self {
        let Record2 { key, content, device, property, reply, answer, delivered } = record;
        let Reply2 { response_topic, correlation_data, qos, expires } = reply;
        Self {
            key: match key {
                Key2::Correlated { response_topic, correlation_data } => RequestKey::Correlated {
                    account: None,
                    response_topic,
                    correlation_data,
                    content,
                },
                Key2::Guard { guard, correlation_data } => {
                    RequestKey::Guard { guard, correlation_data }
                }
                Key2::Packet(id) => RequestKey::Packet(id),
            },
            content,
            device,
            property,
            reply: Reply { response_topic, correlation_data, qos, expires },
            answer: answer.map(|answer| Answer {
                status: answer.status,
                payload: answer.payload,
                content_type: answer.content_type,
                message: answer.message,
                property: answer.property,
                value: answer.value,
                reason: None,
                last_known: None,
            }),
            delivered,
            answered_at: None,
            names: Vec::new(),
        }
    }
}
