//! The hub, driven by hand: inputs, outputs and a clock that stands still unless it is moved.

mod bridging;
mod children;
mod connecting;
mod denied;
mod discovery;
mod flood;
mod guards;
mod happenings;
mod journal;
mod limits;
mod repeats;
mod requests;
mod saving;
mod serving;
mod test_hub;
mod under_way;
mod unreachable;
mod wills;
