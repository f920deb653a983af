//! Lights on GPIO lines, a kernel LED, and PWM channels.

use hearthd_tests::{Failure, Result};

use super::SOON;
use crate::pi::{
    hub::Hub,
    outside::{Pin, PwmChannel},
    verdicts::Verdicts,
};

/// Plays the lights.
pub(crate) async fn play(hub: &mut Hub, verdicts: &mut Verdicts) -> Result<()> {
    verdicts.heading("Lights, seen at the pins of the machine from outside");
    for (device, wiring, line, on, off) in SWITCHED {
        let what = format!("light on {wiring}: ON drives GPIO{line} {on:?}, OFF {off:?}");
        verdicts.enter(&what, switched(hub, device, line, on, off).await);
    }
    let busy = hub.answers("taken", "alert", SOON, |alert| alert.contains("busy")).await;
    verdicts.enter("light on a line that the kernel's LED has: `alert` says busy", busy.map(drop));
    verdicts.enter(
        "light on PWM at 1000 Hz, perceptual: brightness 100, 50, 10, 1, 0 % is a duty of 100, 18.4, 1.1, 0.1, 0 %",
        dimmed(hub, "strip", 0, &PERCEPTUAL).await,
    );
    verdicts.enter(
        "light on PWM at 500 Hz, inversed, linear: brightness 25 % is a duty of 25 %",
        dimmed(hub, "inversed-strip", 1, &LINEAR).await,
    );
    verdicts.enter("the kernel says the same of both channels", kernel_agrees(hub).await);
    verdicts
        .enter("light on PWM with `transition` 2: the duty rises in many steps", rises(hub).await);
    Ok(())
}

async fn switched(hub: &mut Hub, device: &str, line: u32, on: Pin, off: Pin) -> Result<()> {
    for (value, pin) in [("ON", on), ("OFF", off), ("ON", on)] {
        hub.set(device, "power", value).await?;
        hub.machine.watch(line, pin, SOON).await?;
    }
    Ok(())
}

/// Sets each brightness and compares the registers.
async fn dimmed(
    hub: &mut Hub,
    device: &str,
    channel: u32,
    levels: &[(u32, PwmChannel)],
) -> Result<()> {
    for (brightness, wanted) in levels {
        hub.set(device, "brightness", &brightness.to_string()).await?;
        let seen = hub.machine.outside.pwm(channel).await?;
        if seen != *wanted {
            let what = format!("brightness {brightness}: {seen:?}\ninstead of {wanted:?}");
            return Err(Failure(what));
        }
    }
    Ok(())
}

async fn kernel_agrees(hub: &mut Hub) -> Result<()> {
    hub.set("strip", "brightness", "50").await?;
    let line = "cd /sys/class/pwm/pwmchip0; for n in 0 1; do cat pwm$n/period pwm$n/duty_cycle pwm$n/polarity pwm$n/enable; done";
    let said = hub.machine.done(line).await?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let wanted = ["1000000", "184187", "normal", "1", "2000000", "500000", "inversed", "1"];
    if words == wanted { Ok(()) } else { Err(Failure(format!("{words:?}\ninstead of {wanted:?}"))) }
}

async fn rises(hub: &mut Hub) -> Result<()> {
    hub.set("strip", "brightness", "0").await?;
    let background = "hearthd request strip set '{\"brightness\": 100, \"transition\": 2}' &";
    hub.machine.done(background).await?;
    let mut levels = Vec::new();
    let end = tokio::time::Instant::now() + SOON * 2;
    while levels.last() != Some(&FULL.data) {
        let data = hub.machine.outside.pwm(0).await?.data;
        if levels.last() != Some(&data) {
            levels.push(data);
        }
        if tokio::time::Instant::now() > end {
            return Err(Failure(format!("duties in ticks: {levels:?}")));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    hub.set("strip", "transition", "0").await?;
    if levels.len() >= 10 && levels.is_sorted() {
        Ok(())
    } else {
        Err(Failure(format!("duties in ticks: {levels:?}")))
    }
}

const SWITCHED: [(&str, &str, u32, Pin, Pin); 5] = [
    ("by-name", "gpiochip line `GPIO17`", 17, Pin::High, Pin::Low),
    ("by-offset", "gpiochip `pinctrl-bcm2835` line 27", 27, Pin::High, Pin::Low),
    ("active-low", "gpiochip line `GPIO23`, active low", 23, Pin::Low, Pin::High),
    ("isolated", "gpiochip line `GPIO26`, in a process of its own", 26, Pin::High, Pin::Low),
    ("led", "kernel LED `lamp`", 22, Pin::High, Pin::Low),
];

/// The PWM clock ticks at 10 MHz.
const FULL: PwmChannel = PwmChannel { enabled: true, inversed: false, range: 10_000, data: 10_000 };

const PERCEPTUAL: [(u32, PwmChannel); 5] = [
    (100, FULL),
    (50, PwmChannel { data: 1842, ..FULL }),
    (10, PwmChannel { data: 113, ..FULL }),
    (1, PwmChannel { data: 11, ..FULL }),
    (0, PwmChannel { data: 0, ..FULL }),
];

const LINEAR: [(u32, PwmChannel); 2] = [
    (75, PwmChannel { enabled: true, inversed: true, range: 20_000, data: 15_000 }),
    (25, PwmChannel { enabled: true, inversed: true, range: 20_000, data: 5_000 }),
];
