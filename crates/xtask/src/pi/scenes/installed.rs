//! The package installed on a whole Debian: systemd, udev's rules, the sandbox and its limits, and real devices.

use std::time::Duration;

use hearthd_tests::{Doing, Failure, Result};
use tokio::time::Instant;

use super::{SOON, lights, thermostats};
use crate::pi::{hub::Hub, outside::Pin, verdicts::Verdicts};

/// Installs the package, plays the devices through the service, and measures it.
pub(crate) async fn play(hub: &mut Hub, verdicts: &mut Verdicts) -> Result<()> {
    verdicts.heading("The package on a Debian with systemd");
    let installed = install(hub).await;
    let failed = installed.is_err();
    verdicts.enter_said("the package installs and its hub goes online", installed);
    if failed {
        return Ok(());
    }
    let power = hub.set("light-in-bedroom", "power", "ON").await;
    verdicts.enter_said("a request is answered", power);
    verdicts.enter_said("`hearthd doctor --devices` lists what is wired", listed(hub).await);
    verdicts.enter("the hub starts with ten devices", configure(hub).await);

    lights::play(hub, verdicts).await?;
    thermostats::play(hub, verdicts).await?;

    verdicts.heading("The service");
    verdicts.enter_said("runs as the user hearthd, which udev's rules let in", rights(hub).await);
    verdicts.enter_said(
        "no process is large, with ten devices after all these requests",
        figures(hub).await,
    );
    let seen = out_of_memory(hub).await;
    verdicts.enter_said("a process that passes MemoryMax is killed, and the hub goes on", seen);
    verdicts.enter("a killed hub: GPIO17 is released, systemd starts it again", killed(hub).await);
    Ok(())
}

async fn install(hub: &mut Hub) -> Result<String> {
    hub.machine
        .until("systemctl is-system-running", SETTLED, |said| {
            said.text.contains("running") || said.text.contains("degraded")
        })
        .await?;
    let start = Instant::now();
    let said = hub.machine.done("dpkg --install /root/hearthd.deb").await?;
    let took = start.elapsed().as_secs();
    hub.machine.done("systemctl is-active hearthd hearth-broker").await?;
    let greeting: Vec<_> = said.lines().filter(|line| line.starts_with("hearthd:")).collect();
    Ok(format!("{}\nafter {took} s", greeting.join("\n")))
}

async fn listed(hub: &mut Hub) -> Result<String> {
    let said = hub.machine.done("hearthd doctor --devices").await?;
    let wired = ["name = \"tmp105\"", "GPIO17", "name = \"lamp\"", "chip = \"3f20c000.pwm\""];
    match wired.iter().find(|part| !said.contains(**part)) {
        None => Ok(said),
        Some(part) => Err(Failure(format!("{part} is missing in\n{said}"))),
    }
}

async fn configure(hub: &mut Hub) -> Result<()> {
    hub.machine.done("cp /root/hearthd.toml /etc/hearthd/ && hearthd check").await?;
    hub.machine.done("systemctl restart hearthd").await?;
    hub.online().await
}

async fn rights(hub: &mut Hub) -> Result<String> {
    let files =
        "/dev/gpiochip0 /sys/class/leds/lamp/brightness /sys/class/pwm/pwmchip0/pwm0/duty_cycle";
    let said = hub.machine.done(&format!("ls -lL {files}")).await?;
    let process = "ps -o user=,group=,supgrp=,args= -p $(systemctl show -P MainPID hearthd)";
    let process = hub.machine.done(process).await?;
    if said.lines().all(|line| line.contains(" root gpio ")) && process.starts_with("hearthd ") {
        Ok(said + &process)
    } else {
        Err(Failure(said + &process))
    }
}

/// Measures, and has no process be large: that is what the limits of the services rest on.
async fn figures(hub: &mut Hub) -> Result<String> {
    let mut figures = String::new();
    for line in FIGURES {
        figures += &hub.machine.run(line).await?.text;
    }
    let resident = figures.split("VmRSS: ").skip(1).map(|rest| {
        let digits = rest.split_whitespace().next().unwrap_or_default();
        digits.parse::<u32>().doing(rest)
    });
    let resident = resident.collect::<Result<Vec<u32>>>()?;
    // Broker, hub, and the process of the isolated light.
    if resident.len() == 3 && resident.iter().all(|kilobytes| *kilobytes < LARGEST) {
        Ok(figures)
    } else {
        Err(Failure(figures))
    }
}

/// Has a process of the hub's own control group take more than all of it may, in one stride, so that MemoryHigh does not
/// slow it down on its way.
async fn out_of_memory(hub: &mut Hub) -> Result<String> {
    let main = hub.machine.done("systemctl show -P MainPID hearthd").await?;
    let group = "/sys/fs/cgroup/system.slice/hearthd.service";
    let take = format!("echo $$ >{group}/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=300M");
    let said = hub.machine.run(&format!("sh -c '{take}'")).await?;
    let answer = hub.answers("by-name", "power", SOON * 3, |_| true).await?;
    let now = hub.machine.done("systemctl show -P MainPID hearthd").await?;
    let told = format!("dd ends with {} {}; power is {answer}", said.status, said.text.trim());
    if now == main && said.status == KILLED {
        Ok(told)
    } else {
        Err(Failure(format!("{told}\nthe hub's process was {main}it is {now}")))
    }
}

async fn killed(hub: &mut Hub) -> Result<()> {
    hub.set("by-name", "power", "ON").await?;
    hub.machine.watch(17, Pin::High, SOON).await?;
    hub.machine.done("systemctl kill --signal KILL --kill-whom main hearthd").await?;
    hub.machine.watch(17, Pin::Released, SOON).await?;
    hub.machine.watch(17, Pin::High, SOON * 5).await?;
    hub.online().await
}

const FIGURES: [&str; 3] = [
    "systemctl show -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic \
     -p MemoryCurrent -p MemoryPeak -p MemoryMax -p TasksCurrent hearthd",
    "for pid in $(cat /sys/fs/cgroup/system.slice/hearth*.service/cgroup.procs); do \
     echo $(tr '\\0' ' ' </proc/$pid/cmdline) $(grep -E 'VmRSS|RssAnon' /proc/$pid/status); done",
    "systemd-analyze security --no-pager hearthd hearth-broker | grep exposure",
];
/// What a shell says of a process that SIGKILL has ended.
const KILLED: i32 = 128 + 9;
/// In kB, of a single process.
const LARGEST: u32 = 32 * 1024;
const SETTLED: Duration = Duration::from_secs(180);
