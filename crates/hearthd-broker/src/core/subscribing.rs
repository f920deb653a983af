//! Subscriptions (MQTT 3.8, 3.10).

use std::sync::Arc;

use super::{
    Broker, LinkId, NoticeKind, Now,
    journal::Key,
    link::PendingReply,
    session::{RetainedCursor, SessionId, Subscription},
    tree::Subscriber,
};
use crate::{
    packet::{Answers, QoS, Reason, Reply, Subscribe, SubscriptionOptions, Unsubscribe},
    rights::{Action, Refused, filter_fault},
};

impl Broker {
    pub(super) fn subscribe(&mut self, now: Now, link: LinkId, subscribe: Subscribe) {
        let Some(id) = self.links.get(&link).map(|state| state.session) else { return };
        let local_share = |(filter, options): &(String, SubscriptionOptions)| {
            options.no_local && filter.starts_with(SHARE)
        };
        if subscribe.filters.iter().any(local_share) {
            let why = "No Local on a shared subscription";
            return self.fail(now, link, Reason::ProtocolError, why);
        }
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let (mut faults, mut retained, mut batch) = (Vec::new(), Vec::new(), 0);
        for (filter, options) in subscribe.filters {
            let subscription = Subscription { options, identifier: subscribe.identifier };
            match self.check_subscription(id, &filter) {
                Ok(()) => {
                    let filter: Arc<str> = filter.into();
                    let is_new = self.add_subscription(id, &filter, subscription);
                    let durable = self.sessions[&id].is_durable();
                    if durable {
                        batch = self.mark(now, Key::Subscription(id, filter.clone()));
                    }
                    let wanted =
                        options.retain_handling == 0 || (options.retain_handling == 1 && is_new);
                    if wanted && !filter.starts_with(SHARE) && self.start_retained(id, &filter) {
                        if durable {
                            self.mark(now, Key::Cursor(id, filter.clone()));
                        }
                        retained.push(filter);
                    }
                    let qos = QoS::from_bits(options.qos).unwrap_or(QoS::AtMostOnce);
                    reasons.push(Reason::granted(qos));
                }
                Err((reason, why)) => {
                    self.notice(id, NoticeKind::SubscribeRefused, why.clone());
                    reasons.push(reason);
                    faults.push(why);
                }
            }
        }
        let text = (!faults.is_empty()).then(|| shortened(&faults.join("; ")));
        let answers = Answers { packet_id: subscribe.packet_id, reasons, text };
        let mut reply = PendingReply::after(Reply::Suback(answers), batch);
        reply.retained = retained;
        self.reply(now, link, reply);
    }

    /// Has the retained messages of a subscription handed out from the start, after its SUBACK; returns whether there
    /// are any.
    fn start_retained(&mut self, id: SessionId, filter: &Arc<str>) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if self.retained.next_matching(filter, None).is_none() {
            return false;
        }
        session.retained.retain(|other| other.filter != *filter);
        let filter = filter.clone();
        session.retained.push_back(RetainedCursor { filter, after: None, ready: false });
        true
    }

    fn check_subscription(&self, id: SessionId, filter: &str) -> Result<(), (Reason, String)> {
        let session = &self.sessions[&id];
        let invalid = |why: &str| Err((Reason::TopicFilterInvalid, format!("`{filter}`: {why}")));
        let wanted = match unshared(filter) {
            Ok(wanted) => wanted,
            Err(why) => return invalid(why),
        };
        if let Some(why) = filter_fault(wanted) {
            return invalid(why);
        }
        if !session.grant.may_subscribe(wanted) {
            let refused = Refused { wanted: "subscribe to", action: Action::Read, topic: wanted };
            let why = self.accounts.refusal(&session.account, &session.client_id, refused);
            return Err((Reason::NotAuthorized, why));
        }
        if session.subscriptions.contains_key(filter) {
            return Ok(());
        }
        if session.subscriptions.len() >= self.limits.subscriptions {
            return Err((Reason::QuotaExceeded, "the session has too many subscriptions".into()));
        }
        if self.subscription_memory + memory_of(filter) > self.limits.subscription_memory {
            return Err((Reason::QuotaExceeded, "the broker has too many subscriptions".into()));
        }
        Ok(())
    }

    /// Adds a subscription, or takes the place of the one to the same filter; returns whether there was none.
    pub(super) fn add_subscription(
        &mut self,
        id: SessionId,
        filter: &Arc<str>,
        subscription: Subscription,
    ) -> bool {
        let share = filter.starts_with(SHARE).then(|| filter.clone());
        let wanted = unshared(filter).unwrap_or(filter);
        self.tree.insert(wanted, Subscriber { session: id, share, subscription });
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let is_new = session.subscriptions.insert(filter.clone(), subscription).is_none();
        if is_new {
            self.subscription_memory += memory_of(filter);
        }
        is_new
    }

    pub(super) fn unsubscribe(&mut self, now: Now, link: LinkId, unsubscribe: Unsubscribe) {
        let Some(id) = self.links.get(&link).map(|state| state.session) else { return };
        let (mut reasons, mut batch) = (Vec::with_capacity(unsubscribe.filters.len()), 0);
        for filter in unsubscribe.filters {
            let filter: Arc<str> = filter.into();
            if !self.remove_subscription(id, &filter) {
                reasons.push(Reason::NoSubscriptionExisted);
                continue;
            }
            reasons.push(Reason::Success);
            if self.sessions[&id].is_durable() {
                self.mark(now, Key::Cursor(id, filter.clone()));
                batch = self.mark(now, Key::Subscription(id, filter));
            }
        }
        let answers = Answers { packet_id: unsubscribe.packet_id, reasons, text: None };
        self.reply(now, link, PendingReply::after(Reply::Unsuback(answers), batch));
    }

    /// Removes a subscription; returns whether there was one.
    pub(super) fn remove_subscription(&mut self, id: SessionId, filter: &str) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.subscriptions.remove(filter).is_none() {
            return false;
        }
        session.retained.retain(|cursor| *cursor.filter != *filter);
        self.subscription_memory -= memory_of(filter);
        let share = filter.starts_with(SHARE).then_some(filter);
        self.tree.remove(unshared(filter).unwrap_or(filter), id, share);
        if share.is_some()
            && !self.sessions.values().any(|it| it.subscriptions.contains_key(filter))
        {
            self.shares.remove(filter);
        }
        true
    }
}

/// Returns the filter of a subscription without `$share/NAME/` (MQTT 4.8.2).
fn unshared(filter: &str) -> Result<&str, &'static str> {
    let Some(rest) = filter.strip_prefix(SHARE) else { return Ok(filter) };
    match rest.split_once('/') {
        Some((name, wanted)) if !name.is_empty() && !name.contains(['+', '#']) => Ok(wanted),
        _ => Err("a shared subscription is `$share/NAME/FILTER`"),
    }
}

/// Returns a Reason String that fits into a packet.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_REASON).collect()
}

/// Returns the memory that a subscription takes, about.
fn memory_of(filter: &str) -> usize {
    SUBSCRIPTION + 2 * filter.len()
}

const SHARE: &str = "$share/";
/// Memory of a subscription without its filter, about.
const SUBSCRIPTION: usize = 240;
const LONGEST_REASON: usize = 400;
