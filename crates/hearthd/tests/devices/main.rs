//! The devices of the hub, driven as its driver does: requests in, events out, real threads between.

mod bench;
mod failing;
mod life;
mod loading;
mod probe;
mod values;

hearth_sdk::export!(probe::Probe, probe::Misdeclared);
