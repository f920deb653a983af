//! Logs what clients did: each kind of event once a minute for each client.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use crate::core::{Notice, NoticeKind};

/// Writes notices, and counts those that it leaves out.
#[derive(Debug, Default)]
pub(super) struct NoticeLog {
    told: HashMap<(NoticeKind, Arc<str>), (Instant, u64)>,
    minute: Option<Instant>,
    lines: u32,
}

impl NoticeLog {
    pub(super) fn write(&mut self, notice: &Notice) {
        // Of an account all clients that may not connect count as one: their IDs are free.
        let whose = match notice.kind {
            NoticeKind::ConnectRefused => notice.account.clone(),
            _ => notice.client_id.clone(),
        };
        self.write_as(notice, whose);
    }

    /// Writes a notice about a client whose names are not known to be true.
    pub(super) fn write_of_stranger(&mut self, notice: &Notice, address: IpAddr) {
        self.write_as(notice, address.to_string().into());
    }

    fn write_as(&mut self, notice: &Notice, whose: Arc<str>) {
        if notice.kind == NoticeKind::Ended {
            let (client_id, why) = (&*notice.client_id, notice.why.as_str());
            return debug!(client_id, why, "connection ended");
        }
        let Some(left_out) = self.is_due(notice.kind, whose) else { return };
        let Notice { client_id, account, why, .. } = notice;
        let (account, client_id) = (&**account, &**client_id);
        match notice.kind {
            NoticeKind::ConnectRefused => {
                warn!(account, client_id, why, left_out, "login refused");
            }
            NoticeKind::PublishRefused => {
                warn!(account, client_id, why, left_out, "message refused");
            }
            NoticeKind::SubscribeRefused => {
                warn!(account, client_id, why, left_out, "subscription refused");
            }
            NoticeKind::Dropped => warn!(account, client_id, why, left_out, "message dropped"),
            NoticeKind::SessionFull => warn!(account, client_id, why, left_out, "session ended"),
            NoticeKind::WillRefused => {
                warn!(account, client_id, why, left_out, "will not published");
            }
            NoticeKind::StoreDamaged => error!(why, "store damaged"),
            NoticeKind::Ended => info!(client_id, why, "connection ended"),
        }
    }

    /// Returns how many similar lines were left out, if it is time for a line again.
    fn is_due(&mut self, kind: NoticeKind, whose: Arc<str>) -> Option<u64> {
        let now = Instant::now();
        if self.minute.is_none_or(|minute| now - minute >= PAUSE) {
            (self.minute, self.lines) = (Some(now), 0);
            self.told.retain(|_, (last, left_out)| now - *last < PAUSE || *left_out > 0);
        }
        let known = self.told.len();
        let key = (kind, whose);
        if !self.told.contains_key(&key) && known >= MAX_KNOWN {
            self.told.clear();
        }
        let (last, left_out) = self.told.entry(key).or_insert((now - 2 * PAUSE, 0));
        if now - *last < PAUSE || self.lines >= MAX_LINES {
            *left_out += 1;
            return None;
        }
        self.lines += 1;
        *last = now;
        Some(std::mem::take(left_out))
    }
}

/// How long a kind of notice of one client is silent after a line.
const PAUSE: Duration = Duration::from_secs(60);
/// Lines in a minute.
const MAX_LINES: u32 = 60;
/// Clients and kinds that are remembered.
const MAX_KNOWN: usize = 1_000;
