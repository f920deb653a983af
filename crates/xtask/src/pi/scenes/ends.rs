//! What the pins do when whoever drives them is killed.

use hearthd_tests::Result;

use super::SOON;
use crate::pi::{hub::Hub, outside::Pin, small, verdicts::Verdicts};

/// Kills a device's process, then the hub.
pub(crate) async fn play(hub: &mut Hub, verdicts: &mut Verdicts) -> Result<()> {
    verdicts.heading("Ends");
    verdicts.enter(
        "a killed process of one device: GPIO26 is released, then driven again as before",
        child(hub).await,
    );
    verdicts.enter(
        "a killed hub: GPIO17 and the relay on GPIO24 are released, the LED on GPIO22 and the PWM stay",
        killed(hub).await,
    );
    verdicts.enter(
        "the hub starts again: the lights are as before, the heating heats again",
        started_again(hub).await,
    );
    Ok(())
}

async fn child(hub: &mut Hub) -> Result<()> {
    hub.set("isolated", "power", "ON").await?;
    hub.machine.watch(26, Pin::High, SOON).await?;
    // The brackets keep the line from finding itself.
    let child = "grep -l 'plugin-hos[t]' /proc/[0-9]*/cmdline | cut -d/ -f3";
    hub.machine.done(&format!("kill -9 $({child})")).await?;
    hub.machine.watch(26, Pin::Released, SOON).await?;
    hub.machine.watch(26, Pin::High, SOON * 2).await
}

async fn killed(hub: &mut Hub) -> Result<()> {
    hub.machine.outside.set_room(18.0).await?;
    hub.machine.watch(24, Pin::High, SOON * 2).await?;
    for device in ["by-name", "led"] {
        hub.set(device, "power", "ON").await?;
    }
    let strip = hub.machine.outside.pwm(0).await?;
    small::kill(hub).await?;
    for (line, pin) in [(17, Pin::Released), (24, Pin::Released), (22, Pin::High)] {
        hub.machine.watch(line, pin, SOON).await?;
    }
    let now = hub.machine.outside.pwm(0).await?;
    if now == strip { Ok(()) } else { Err(hearthd_tests::Failure(format!("{now:?}"))) }
}

async fn started_again(hub: &mut Hub) -> Result<()> {
    small::spawn(hub).await?;
    for (line, pin) in [(17, Pin::High), (24, Pin::High), (22, Pin::High)] {
        hub.machine.watch(line, pin, SOON * 3).await?;
    }
    hub.answers("by-name", "power", SOON * 2, |power| power == "ON").await.map(drop)
}
