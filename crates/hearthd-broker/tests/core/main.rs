//! The core driven by hand: traces of inputs and outputs.

mod bounds;
mod connecting;
mod harness;
mod messages;
mod recovery;
mod retained;
mod rights;
mod sessions;
mod sharing;
mod standard;
mod wills;
