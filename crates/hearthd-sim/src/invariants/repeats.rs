//! Only a repeated request gets the first answer again, and a read never does.
//!
//! A repeat is a request that the broker delivers again (DUP), that its requester marks (`retry`), or that has no mark
//! but could not be carried out again. Where the broker vouches for senders, each sender repeats only its own requests.
//! One answer is marked without any of these: after a restart, a hub sends an answer that it could not send before and
//! that is not true any more, or that may not be.

use hearthd_core::Message;

use super::Invariant;
use crate::{
    broker::Letter,
    ledger::RETRY,
    link::{HubId, LinkId},
    world::{World, network::show_message},
};

impl World {
    /// A hub is given a copy of a request.
    pub(super) fn note_copy(&mut self, index: usize, letter: &Letter, link: LinkId, dup: bool) {
        let (account, _) = letter.source.sender();
        let sender = if self.setup.habits.vouches { account } else { ANYBODY };
        let asked = &self.ledger.asked[index];
        let once = asked.sets && !asked.idempotent;
        let repeats = dup || once || letter.message.user_property(RETRY).is_some();
        let root = self.ledger.root_of(index);
        let course = &mut self.ledger.asked[root].course;
        course.first_link.get_or_insert(link);
        course.repeated |= !course.senders.insert(sender) && repeats;
    }

    /// A hub publishes an answer that a request is under way.
    pub(crate) fn check_under_way(&mut self, hub: HubId, message: &Message) {
        if message.user_property("__stat") != Some("202") {
            return;
        }
        let Some(root) = self.ledger.answered_by(message) else { return };
        let asked = &self.ledger.asked[root];
        let course = &asked.course;
        let of_this_life = course.number.is_some_and(|(life, _)| life == self.hub(hub).life);
        // What the journal has forgotten is told no end: it is full, or a Packet Identifier has gone with its session.
        let is_named = message.correlation_data.is_some();
        let known = asked.is_strict() && is_named && !asked.hostile && !self.setup.flooded;
        let ended = course.ended && of_this_life && known;
        self.require(!ended, Invariant::EndTold, || {
            format!("request {root} has ended: {}", show_message(message))
        });
    }

    /// A hub publishes an answer that it calls a repeated one.
    pub(crate) fn check_repeated(&mut self, hub: HubId, message: &Message) {
        if message.user_property("repeated").is_none() {
            return;
        }
        let Some(root) = self.ledger.answered_by(message) else { return };
        let link = self.connection(hub).map(|connection| connection.id);
        let course = &self.ledger.asked[root].course;
        let reads = !course.sets;
        let in_doubt =
            matches!(message.user_property("reason"), Some("superseded" | "indeterminate"));
        let repeated = course.repeated || in_doubt && course.first_link != link;
        self.require(repeated, Invariant::Repeated, || {
            format!("nobody has repeated request {root}: {}", show_message(message))
        });
        self.require(!reads, Invariant::ReadAnew, || {
            format!("request {root} only reads: {}", show_message(message))
        });
    }
}

/// The sender of everything, where the broker vouches for nobody.
const ANYBODY: &str = "anybody";
