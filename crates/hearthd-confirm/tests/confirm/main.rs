//! One device of each family on a virtual clock: what it says, and what verdict that comes to.

mod esphome;
mod generic;
mod group;
mod queueing;
mod radio;
mod scene;
mod sensor;
mod shelly;
mod tables;
mod tasmota;
mod wanted;
mod wled;
mod zigbee2mqtt;
