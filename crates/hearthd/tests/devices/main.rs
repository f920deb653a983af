//! The devices of the hub, driven as its driver does: requests in, events out, real threads between.

mod built;
mod children;
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
mod reach;
mod reloading;
mod rogue;
mod saving;
mod secrets;
mod test_devices;
mod trying;
mod under_way;
mod values;

hearthd_sdk::export!(probe::Probe, probe::Misdeclared);
