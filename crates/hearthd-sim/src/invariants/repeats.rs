//! Only who repeats a request is given its first answer again, and a read never is.
//!
//! A repeat is what the broker delivers again (DUP), what its requester marks as one (`retry`), and a request without a
//! mark that could not be carried out again. Where the broker vouches for senders, each repeats only what it has sent
//! itself. One answer is marked without any of these: a hub that comes back tells of what it could not tell before, and
//! that is not so any more.

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

    /// A hub publishes an answer that it calls a repeated one.
    pub(crate) fn check_repeated(&mut self, hub: HubId, message: &Message) {
        if message.user_property("repeated").is_none() {
            return;
        }
        let Some(root) = self.ledger.answered_by(message) else { return };
        let link = self.connection(hub).map(|connection| connection.id);
        let course = &self.ledger.asked[root].course;
        let reads = !course.sets;
        let superseded = message.user_property("reason") == Some("superseded");
        let repeated = course.repeated || superseded && course.first_link != link;
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
