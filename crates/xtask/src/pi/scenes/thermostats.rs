//! Thermostats on a sensor that is set from outside, and on a 1-wire bus without one.

use std::time::Duration;

use hearthd_tests::Result;

use super::SOON;
use crate::pi::{hub::Hub, outside::Pin, verdicts::Verdicts};

/// Plays the living room and the cellar.
pub(crate) async fn play(hub: &mut Hub, verdicts: &mut Verdicts) -> Result<()> {
    verdicts.heading("Thermostat on a TMP105 (driver lm75) set from outside, its relay on GPIO24");
    verdicts.enter("19 °C, target 21 °C: the relay's pin goes High", heats(hub).await);
    verdicts.enter("25 °C: Low within a period", stops(hub).await);
    let seen = room(hub, 19.0, Pin::High).await;
    verdicts.enter("19 °C again: High, once three readings agree", seen);
    let seen = goes_away(hub).await;
    verdicts.enter_said("the sensor goes away: Low within a period, `alert` says why", seen);
    let seen = comes_back(hub).await;
    verdicts.enter("it comes back: High without anybody's help, `alert` is none", seen);
    let seen = absurd(hub).await;
    verdicts.enter_said("120 °C: Low within a period, `alert` says why", seen);
    verdicts.enter("19.5 °C: High again", room(hub, 19.5, Pin::High).await);

    verdicts
        .heading("Thermostat on a DS18B20 that is not there (driver w1_therm), relay on GPIO25");
    verdicts.enter_said("nobody announced it: `alert` says so", absent(hub).await);
    let seen = dead_bus(hub).await;
    verdicts.enter_said("a dead bus, zeros with a good check sum: refused, the relay is Low", seen);
    Ok(())
}

async fn heats(hub: &mut Hub) -> Result<()> {
    hub.answers("living-room", "current_temperature", SOON, |said| said == "19").await?;
    hub.set("living-room", "set", r#"{"mode": "heat", "target_temperature": 21}"#).await?;
    hub.machine.watch(LIVING_ROOM, Pin::High, PERIOD).await.map(drop)
}

async fn stops(hub: &mut Hub) -> Result<()> {
    room(hub, 25.0, Pin::Low).await?;
    hub.answers("living-room", "current_temperature", SOON * 2, |said| said == "25").await?;
    hub.answers("living-room", "action", SOON, |said| said == "idle").await.map(drop)
}

/// Sets the temperature and waits for the relay.
async fn room(hub: &mut Hub, celsius: f64, pin: Pin) -> Result<()> {
    hub.machine.outside.set_room(celsius).await?;
    let within = if pin == Pin::Low { PERIOD } else { PERIOD * 3 };
    hub.machine.watch(LIVING_ROOM, pin, within).await
}

async fn goes_away(hub: &mut Hub) -> Result<String> {
    hub.machine.done("echo 1-0048 >/sys/bus/i2c/drivers/lm75/unbind").await?;
    hub.machine.watch(LIVING_ROOM, Pin::Low, PERIOD).await?;
    hub.answers("living-room", "alert", SOON, |alert| alert.contains("tmp105")).await
}

async fn comes_back(hub: &mut Hub) -> Result<()> {
    hub.machine.done("echo 1-0048 >/sys/bus/i2c/drivers/lm75/bind").await?;
    hub.machine.watch(LIVING_ROOM, Pin::High, PERIOD * 2).await?;
    hub.answers("living-room", "alert", SOON, |alert| alert == "none").await.map(drop)
}

async fn absurd(hub: &mut Hub) -> Result<String> {
    room(hub, 120.0, Pin::Low).await?;
    hub.answers("living-room", "alert", SOON, |alert| alert.contains("not a room's")).await
}

async fn absent(hub: &mut Hub) -> Result<String> {
    hub.set("cellar", "mode", "heat").await?;
    let alert = hub.answers("cellar", "alert", SOON, |alert| alert.contains(SENSOR)).await?;
    hub.machine.watch(CELLAR, Pin::Low, SOON).await?;
    Ok(alert)
}

async fn dead_bus(hub: &mut Hub) -> Result<String> {
    let add = format!("echo {SENSOR} >/sys/bus/w1/devices/w1_bus_master1/w1_master_add");
    hub.machine.done(&add).await?;
    let read = format!("grep crc= /sys/bus/w1/devices/{SENSOR}/w1_slave");
    let kernel = hub.machine.done(&read).await?;
    let alert =
        hub.answers("cellar", "alert", SOON * 3, |alert| alert.contains("all zero")).await?;
    hub.machine.watch(CELLAR, Pin::Low, Duration::ZERO).await?;
    Ok(kernel + &alert)
}

const LIVING_ROOM: u32 = 24;
const CELLAR: u32 = 25;
const SENSOR: &str = "28-0000075a9f3c";

/// The period of `guest/hearthd.toml`, and a second for a slow machine.
const PERIOD: Duration = Duration::from_secs(3);
