//! What the hub's sandbox denies and permits, tried from inside.

use std::{collections::BTreeMap, path::Path};

use hearthd_tests::{Doing, Failure, Result};

use super::machine::Machine;

/// Puts the programs that try it all, and the page's login, where the machine finds them.
pub(super) fn give(given: &Path) -> Result<()> {
    for (name, text) in
        [("probe.pl", include_str!("probe.pl")), ("page.pl", include_str!("page.pl"))]
    {
        let file = given.join(name);
        std::fs::write(&file, text).doing(file.display())?;
    }
    Ok(())
}

/// Has the same program try the same things in a plain unit, where all succeed, and in one with every line of the
/// hub's but the program.
pub(super) async fn holds(machine: &Machine) -> Result<()> {
    machine.done("mkdir -p /home/someone && echo dear >/home/someone/diary").await?;
    machine.done("printf '[Service]\\nType=oneshot\\n' >/run/systemd/system/plain.service").await?;
    let plain = try_all(machine, "plain").await?;
    let failed: Vec<_> = plain.iter().filter(|(_, said)| *said != "allowed").collect();
    if plain.len() < DENIED + PERMITTED || !failed.is_empty() {
        return Err(Failure(format!("outside of the sandbox this fails as well: {failed:?}")));
    }
    machine
        .done(
            "sed -E -e 's/^Type=.*/Type=oneshot/' -e '/^(ExecStart|ExecReload|Restart|Watchdog)/d' \
             /usr/lib/systemd/system/hearthd.service >/run/systemd/system/sandboxed.service",
        )
        .await?;
    let sandboxed = try_all(machine, "sandboxed").await?;
    let wrong: Vec<_> = sandboxed
        .iter()
        .filter(|(what, said)| (*said == "allowed") != what.starts_with("it may "))
        .map(|(what, said)| format!("{what}: {said}"))
        .collect();
    let denied = sandboxed.keys().filter(|what| !what.starts_with("it may ")).count();
    if denied == DENIED && sandboxed.len() == DENIED + PERMITTED && wrong.is_empty() {
        return Ok(());
    }
    Err(Failure(format!("of {sandboxed:#?} this is wrong: {wrong:?}")))
}

/// Returns what became of each attempt.
async fn try_all(machine: &Machine, unit: &str) -> Result<BTreeMap<String, String>> {
    let program = "/usr/bin/perl /given/probe.pl";
    machine
        .done(&format!(
            "mkdir -p /run/systemd/system/{unit}.service.d && \
             printf '[Service]\\nExecStart={program}\\n' \
                 >/run/systemd/system/{unit}.service.d/program.conf && \
             systemctl daemon-reload && systemctl start {unit}.service || \
             {{ journalctl --no-pager -o cat -u {unit}; false; }}"
        ))
        .await?;
    let output = format!("journalctl --sync; journalctl --no-pager -o cat -u {unit} _COMM=perl");
    let output = machine.done(&output).await?;
    let lines = output.lines().filter_map(|line| line.split_once(": "));
    Ok(lines.map(|(what, said)| (what.to_owned(), said.to_owned())).collect())
}

/// How many things the program tries that the sandbox denies, and that it permits.
const DENIED: usize = 17;
const PERMITTED: usize = 5;
