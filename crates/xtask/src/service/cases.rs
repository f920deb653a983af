//! The life of the service: from its installation to its purge.

use hearthd_tests::{Doing, Failure, Result};

use super::{Table, machine::Machine, page, sandbox};
use crate::readme::{self, PASSWORD};

/// Goes through all of it, in order.
pub(super) async fn life(
    machine: &Machine,
    table: &mut Table,
    first: &str,
    second: &str,
) -> Result<()> {
    let title = "apt installs the package; the hub is online when apt is done";
    table.row(title, installs(machine, first)).await?;
    let title = "READY is `online`: without a broker the hub is activating, and says why";
    table.row(title, is_ready_when_online(machine)).await?;
    let title = "both services run as users of their own, and root alone reads their passwords";
    table.row(title, keeps_secrets(machine)).await?;
    table.row("hearthd request gets an answer", answers(machine)).await?;
    let title = "hearthd log prints the lines of a device, and of no other";
    table.row(title, tells_of_a_device(machine)).await?;
    table.row("mosquitto_rr gets the same", answers_mosquitto(machine)).await?;
    let title = "the README's commands lead to the lamp in Home Assistant";
    table.row(title, leads_to_home_assistant(machine, first)).await?;
    page::life(machine, table).await?;
    let title = "a reload moves one device to a process of its own beside one in the daemon";
    table.row(title, reloads(machine)).await?;
    table.row("a reload with a mistake changes nothing", refuses_a_mistake(machine)).await?;
    table.row("the sandbox denies 17 things and permits 5", sandbox::holds(machine)).await?;
    let title = "after SIGKILL the hub is back before its will: not-published";
    table.row(title, comes_back(machine)).await?;
    let title = "a will that is quicker is published: unconsumed";
    table.row(title, comes_back_late(machine)).await?;
    table.row("the watchdog ends a stopped process", is_watched(machine)).await?;
    let title = "an upgrade drains, and keeps configuration, passwords and state";
    table.row(title, upgrades(machine, second)).await?;
    let title = "a downgrade and a reinstallation end with a hub that answers";
    table.row(title, goes_back(machine, first)).await?;
    table.row("a removal keeps configuration and state", is_removed(machine)).await?;
    table.row("a purge leaves no file", is_purged(machine)).await
}

async fn installs(machine: &Machine, package: &str) -> Result<()> {
    let said = machine.done(&format!("apt-get --quiet --quiet install {package} 2>&1")).await?;
    if !said.contains("hearthd: the hub is online. Try: sudo hearthd request") {
        return Err(Failure(format!("the installation did not say what to try: {said}")));
    }
    machine.prints("systemctl is-enabled hearthd hearth-broker", "enabled\nenabled").await?;
    machine.prints(PRESENCE, "online").await?;
    // A key that this systemd does not know would be a hole in the sandbox.
    machine.done("! journalctl --no-pager -o cat _PID=1 | grep -E 'hearth.*Unknown'").await?;
    Ok(())
}

async fn is_ready_when_online(machine: &Machine) -> Result<()> {
    machine
        .done("systemctl stop hearthd hearth-broker && systemctl start --no-block hearthd")
        .await?;
    let status = "systemctl show hearthd -P ActiveState -P StatusText";
    machine.until("a hub that waits", &format!("{status} | grep offline")).await?;
    machine.prints("systemctl is-active hearthd || true", "activating").await?;
    machine.done("systemctl start hearth-broker").await?;
    machine.until("a hub that is ready", ACTIVE).await?;
    machine.prints(PRESENCE, "online").await
}

async fn keeps_secrets(machine: &Machine) -> Result<()> {
    for password in ["mqtt-password", "home-password"] {
        machine.prints(&format!("stat -c '%a %U' /etc/hearthd/{password}"), "600 root").await?;
        machine.done(&format!("grep -qE '^[A-Za-z0-9+/]{{24}}$' /etc/hearthd/{password}")).await?;
    }
    for service in ["hearthd", "hearth-broker"] {
        let user = format!("stat -c %U /proc/$(systemctl show -P MainPID {service})");
        machine.prints(&user, service).await?;
        // Whose the file is differs between systemd 252 and 257; whom it is kept from does not.
        let credential = format!("/run/credentials/{service}.service/mqtt-password");
        machine.done(&format!("test -s {credential}")).await?;
        machine.done(&format!("! runuser -u nobody -- cat {credential} 2>/dev/null")).await?;
    }
    machine.done("! runuser -u hearthd -- cat /etc/hearthd/mqtt-password 2>/dev/null").await?;
    // Nor does anything that everybody may read hold one.
    let words = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'";
    let secrets = "grep -qF -f /etc/hearthd/mqtt-password -f /etc/hearthd/home-password";
    machine.done(&format!("! ({words}; journalctl --no-pager) | {secrets}")).await?;
    Ok(())
}

async fn answers(machine: &Machine) -> Result<()> {
    machine.prints("hearthd request light-in-bedroom power ON", "ON").await?;
    machine.prints("hearthd request light-in-bedroom power", "ON").await?;
    // Whoever asks for what is not there is told by the exit code as well.
    machine.done("! hearthd request light-in-bedroom colour red 2>/dev/null").await?;
    Ok(())
}

/// The request for a property that is not there has left a line.
async fn tells_of_a_device(machine: &Machine) -> Result<()> {
    let log = "hearthd log light-in-bedroom";
    machine.until("its line", &format!("{log} | grep 'request failed'")).await?;
    let all = machine.done(&format!("{log} --json -n 100")).await?;
    for line in all.lines() {
        if !line.contains("\"DEVICE\":\"light-in-bedroom\"") {
            return Err(Failure(format!("{log}: {line}")));
        }
    }
    machine
        .prints("hearthd log heating 2>/dev/null | grep -c 'request failed' || true", "0")
        .await?;
    // It goes on with what log and event topic tell from then on.
    let follow = "timeout 5 hearthd log light-in-bedroom -f -n 0";
    let event = format!(
        "{follow} >/root/followed & for i in 1 2 3 4 5 6 7 8; do \
         mosquitto_pub -V 5 {CLIENT} -q 1 -t home/cmnd/light-in-bedroom/power -m banana; sleep 0.5; done; wait; \
         grep 'event: power.* failed: 400' /root/followed && grep 'hearthd\\[' /root/followed"
    );
    machine.done(&event).await?;
    Ok(())
}

async fn answers_mosquitto(machine: &Machine) -> Result<()> {
    let ask = format!(
        "mosquitto_rr -V 5 {CLIENT} -W 20 -t home/cmnd/light-in-bedroom/power -e home/response/me/1 -m OFF"
    );
    machine.prints(&ask, "OFF").await
}

/// What Home Assistant would do with its account: it is told of the lamp, and switches it.
async fn leads_to_home_assistant(machine: &Machine, package: &str) -> Result<()> {
    readme::lead_to_home_assistant(machine, package).await?;
    let account = format!("-V 5 -h 127.0.0.1 -u home-assistant -P {PASSWORD}");
    let lamp = "homeassistant/device/+/light-in-bedroom/config";
    let told = format!("mosquitto_sub {account} -W 20 -C 1 -t '{lamp}'");
    machine.done(&format!("{told} | grep -F '\"name\":\"Bedroom light\"'")).await?;
    let switched = format!(
        "mosquitto_pub {account} -q 1 -t home/cmnd/light-in-bedroom/set -m '{{\"power\":\"ON\"}}'"
    );
    machine.done(&switched).await?;
    let is_on = "hearthd request light-in-bedroom power | grep -x ON";
    machine.until("a lamp that is on", is_on).await?;
    machine.done("hearthd doctor | grep 'may publish on homeassistant/'").await?;
    Ok(())
}

async fn reloads(machine: &Machine) -> Result<()> {
    let before = pid(machine).await?;
    machine.done("! pgrep -u hearthd -f plugin-host").await?;
    // A device of its own process, and one that takes its time.
    machine
        .done(&format!(
            "sed -i '/^plugin = \"thermostat\"/a isolation = \"process\"' {CONFIG} && \
             printf '%s\\n' '[devices.slow]' 'plugin = \"command\"' \
                 '[devices.slow.config.properties.power]' 'type = \"switch\"' \
                 'set = {{ run = [\"sh\", \"-c\", \"sleep 3\"] }}' >>{CONFIG} && \
             hearthd check >&2"
        ))
        .await?;
    machine.done("systemctl reload hearthd").await?;
    machine.until("the new device", "hearthd request slow status | grep -x ready").await?;
    machine.until("the device's own process", "pgrep -u hearthd -f plugin-host").await?;
    machine.prints("hearthd request heating target_temperature 23.5", "23.5").await?;
    machine.prints("hearthd request light-in-bedroom power ON", "ON").await?;
    machine.done(ACTIVE).await?;
    same(&before, &pid(machine).await?)
}

async fn refuses_a_mistake(machine: &Machine) -> Result<()> {
    let before = pid(machine).await?;
    machine.done(&format!("cp {CONFIG} /root/good && echo 'nonsense = 1' >>{CONFIG}")).await?;
    machine.done("systemctl reload hearthd || true").await?;
    machine.until("a complaint", "journalctl -u hearthd --no-pager | grep nonsense").await?;
    machine
        .prints("hearthd request heating target_temperature --config /root/good", "23.5")
        .await?;
    machine.done(&format!("cp /root/good {CONFIG} && systemctl reload hearthd")).await?;
    machine.until("a hub that is ready", ACTIVE).await?;
    same(&before, &pid(machine).await?)
}

/// The broker publishes the will 10 s after the connection broke, and systemd starts the hub after 3 s.
async fn comes_back(machine: &Machine) -> Result<()> {
    let known = machine.done(NEWEST_ABSENCE).await?;
    restarts_after(machine, "KILL").await?;
    machine.prints(PRESENCE, "online").await?;
    tells(machine, &known, "not-published").await?;
    machine.prints("hearthd request heating target_temperature", "23.5").await
}

async fn comes_back_late(machine: &Machine) -> Result<()> {
    machine.done(&format!("sed -i 's/^# delay = .*/delay = \"1s\"/' {CONFIG}")).await?;
    machine.done("systemctl restart hearthd").await?;
    let known = machine.done(NEWEST_ABSENCE).await?;
    restarts_after(machine, "KILL").await?;
    tells(machine, &known, "unconsumed").await
}

async fn is_watched(machine: &Machine) -> Result<()> {
    restarts_after(machine, "STOP").await?;
    machine.done("journalctl -u hearthd --no-pager | grep -q 'Watchdog timeout'").await?;
    machine.prints("hearthd request heating target_temperature", "23.5").await
}

async fn upgrades(machine: &Machine, package: &str) -> Result<()> {
    let before = pid(machine).await?;
    let kept = format!("sha256sum {CONFIG} /etc/hearthd/*-password");
    let files = machine.done(&kept).await?;
    let known = machine.done(NEWEST_ABSENCE).await?;
    // A request is on its way when the hub is told to end: the device takes three seconds.
    machine.done("systemd-run --quiet sh -c 'hearthd request slow power ON --timeout 20s >/root/slow; echo $? >>/root/slow'").await?;
    machine.until("a request that is carried out", "pgrep -u hearthd -x sleep").await?;
    machine.done(&format!("apt-get --quiet --quiet install {package} 2>&1")).await?;
    machine.prints("dpkg-query -W -f '${Version}' hearthd | sed 's/.*-//'", "2").await?;
    machine.until("the answer of before", "cat /root/slow; grep -x 0 /root/slow").await?;
    machine.prints("head -n 1 /root/slow", "ON").await?;
    machine.until("a hub that is ready", ACTIVE).await?;
    if before == pid(machine).await? {
        return Err(Failure::new("the hub of before is still running"));
    }
    machine.prints(&kept, &files).await?;
    machine.prints(PRESENCE, "online").await?;
    tells(machine, &known, "not-published, after an orderly disconnect").await?;
    machine.prints("hearthd request heating target_temperature", "23.5").await
}

async fn goes_back(machine: &Machine, package: &str) -> Result<()> {
    for arguments in ["--allow-downgrades", "--reinstall"] {
        let install = format!("apt-get --quiet --quiet install {arguments} {package} 2>&1");
        machine.done(&install).await?;
        machine.until("a hub that is ready", ACTIVE).await?;
        machine.prints("hearthd request heating target_temperature", "23.5").await?;
    }
    machine.prints("dpkg-query -W -f '${Version}' hearthd | sed 's/.*-//'", "1").await
}

async fn is_removed(machine: &Machine) -> Result<()> {
    machine.done("apt-get --quiet --quiet --yes remove hearthd").await?;
    machine.done("! systemctl is-active --quiet hearthd hearth-broker hearth-web").await?;
    machine.done("! pgrep -u hearthd,hearth-broker").await?;
    machine.done("test ! -e /usr/bin/hearthd -a ! -e /usr/lib/hearthd").await?;
    machine.done("test ! -e /etc/avahi/services/hearth-web.service").await?;
    machine.done(&format!("test -s {CONFIG} -a -s /etc/hearthd/mqtt-password")).await?;
    machine.done("test -s /var/lib/hearthd/state.redb -a -d /var/lib/hearth-broker").await?;
    Ok(())
}

async fn is_purged(machine: &Machine) -> Result<()> {
    machine.done("apt-get --quiet --quiet --yes purge hearthd").await?;
    let owned = "find / -xdev '(' -user hearthd -o -user hearth-broker ')' -print";
    machine.prints(owned, "").await?;
    let named = "find /etc /var/lib /usr -xdev -iname '*hearth*' -not -path '/var/lib/apt/*'";
    machine.prints(named, "").await
}

/// Sends a signal to the hub and waits for the next one to be ready.
async fn restarts_after(machine: &Machine, signal: &str) -> Result<()> {
    let before = pid(machine).await?;
    machine.done(&format!("kill -s {signal} {before}")).await?;
    // The process first: between the end of one and the start of the next there is none.
    let pid = "pid=$(systemctl show -P MainPID hearthd)";
    let next = format!("{pid}; test $pid != 0 -a $pid != {before} && {ACTIVE}");
    machine.until("the next hub", &next).await?;
    Ok(())
}

/// Waits for an absence that is another than the one known, and has an outcome.
async fn tells(machine: &Machine, known: &str, outcome: &str) -> Result<()> {
    let newest = format!("newest=$({NEWEST_ABSENCE}); echo \"$newest\"");
    let tells =
        format!("test \"$newest\" != '{known}' && echo \"$newest\" | grep -q '  {outcome}$'");
    machine.until(outcome, &format!("{newest}; {tells}")).await?;
    Ok(())
}

async fn pid(machine: &Machine) -> Result<String> {
    machine.done("systemctl show -P MainPID hearthd").await
}

fn same(before: &str, now: &str) -> Result<()> {
    (before == now).then_some(()).doing("it is another process than before")
}

pub(super) const ACTIVE: &str = "systemctl is-active --quiet hearthd";
/// Prints when the outcome of the last will was decided, and the outcome.
const NEWEST_ABSENCE: &str = "hearthd will | grep '^2' | sort | tail -n 1";
const CONFIG: &str = "/etc/hearthd/hearthd.toml";
/// How a client that is not ours gets into the broker.
const CLIENT: &str = "-h 127.0.0.1 -u home -P \"$(cat /etc/hearthd/home-password)\"";
/// Prints what is retained of the hub's presence.
pub(super) const PRESENCE: &str = "mosquitto_sub -V 5 -h 127.0.0.1 -u home -P \"$(cat /etc/hearthd/home-password)\" -W 10 -C 1 -t 'home/hub/+/presence'";
