//! Heaters and valves on MQTT that do not do what they are told, played by chance on a virtual clock.

mod heater;
mod valve;
