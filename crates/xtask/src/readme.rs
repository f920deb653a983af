//! The README's commands, as a person pastes them.

use std::fs;

use hearthd_tests::{Doing, Result, built::workspace};

use crate::service::Machine;

/// Runs the commands that lead to Home Assistant in a machine, with a package that is there.
///
/// Home Assistant's account is then `home-assistant` with [`PASSWORD`].
pub(crate) async fn lead_to_home_assistant(machine: &Machine, package: &str) -> Result<()> {
    machine.done(&format!("mkdir /root/here && cp {package} /root/here")).await?;
    for command in commands("## In Home Assistant")? {
        // The machine's only user is root, and has no `sudo`.
        let line =
            format!("cd /root/here; sudo() {{ \"$@\"; }}; echo {PASSWORD} | {{ {command}\n}} 2>&1");
        machine.done(&line).await.doing(&command)?;
    }
    Ok(())
}

/// Returns the first block of commands below a heading.
fn commands(heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join("README.md")).doing("README.md")?;
    let below = text.lines().skip_while(|line| *line != heading);
    let block = below.skip_while(|line| !line.starts_with(INDENT));
    let block = block.map_while(|line| line.strip_prefix(INDENT).map(str::to_owned));
    let commands: Vec<_> = block.collect();
    commands.first().doing(heading)?;
    Ok(commands)
}

/// What a person would think of.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

const INDENT: &str = "    ";
