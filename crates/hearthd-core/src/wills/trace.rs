//! Reads what a message about one of the hub's connections is about.

use super::Wills;
use crate::{Generation, Message, token::Purpose};

/// What a message on the hub's own presence topic, or an answer to one of its wills, tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// It is about a will of the hub whose connection has ended.
    Will(Generation),
    /// The hub's own word: `online`, or the `offline` of an end in order.
    Own(Generation),
    /// The hub was connected, and its memory knows nothing of it.
    Stranger,
    /// It is about the will of the connection in use, which the broker has not published: forged, or mistaken.
    Premature,
    /// It names nothing that the hub has ever said.
    Foreign,
}

impl Wills {
    /// Reads the Correlation Data of a message that tells of a will, or of a connection.
    pub(crate) fn trace(&self, message: &Message, current: Option<Generation>) -> Trace {
        let data = message.correlation_data.as_deref().unwrap_or_default();
        let Some((purpose, generation)) = self.key.read(data) else {
            return self.trace_of_old(data, &message.payload, current);
        };
        match purpose {
            Purpose::Will if current == Some(generation) => Trace::Premature,
            // Whether CONNACK came or not: the broker had it.
            Purpose::Will if self.is_open(generation) => Trace::Will(generation),
            _ if !self.knows(generation) && current != Some(generation) => Trace::Stranger,
            Purpose::Will => Trace::Will(generation),
            Purpose::Online | Purpose::Farewell => Trace::Own(generation),
            Purpose::Fence | Purpose::Session | Purpose::Retained => Trace::Foreign,
        }
    }

    /// Reads what an earlier version made, whose messages had 16 bytes of any value.
    fn trace_of_old(&self, data: &[u8], payload: &[u8], current: Option<Generation>) -> Trace {
        let open = self.memory.open.iter().map(|will| will.generation);
        let decided = self.memory.decided.iter().map(|absence| absence.generation);
        let known = open.clone().chain(decided).find(|known| known.0 == *data);
        match known {
            Some(generation) if current == Some(generation) => Trace::Premature,
            Some(generation) if payload == b"online" => Trace::Own(generation),
            Some(generation) => Trace::Will(generation),
            // Nobody can tell whose it is, as long as a will of that version is open.
            None if open.filter(|open| current != Some(*open)).any(|open| !self.key.made(open)) => {
                Trace::Stranger
            }
            None => Trace::Foreign,
        }
    }
}
