//! The devices of the hub, driven as its driver does: requests in, events out, real threads between.

mod bench;
mod built;
mod contained;
mod failing;
mod given_up;
mod inspecting;
mod isolated;
mod life;
mod loading;
mod log;
mod preflight;
mod probe;
mod reloading;
mod saving;
mod values;
mod wild;

hearth_sdk::export!(probe::Probe, probe::Misdeclared);
