//! Writes the manual pages and the shells' completions of `hearthd` and `hearth-broker` into a folder.
//!
//! A program of its own, so that the daemon does not carry what only a package needs.

use std::{io, path::Path, process::ExitCode};

use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("hearthd-manual: name the folder to write into");
        return ExitCode::from(hearthd::exit::USAGE);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearthd-manual: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    for command in [hearthd::cli::command(), hearthd_broker::cli::command()] {
        let mut command = without_help(command);
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            clap_complete::generate_to(shell, &mut command, &name, folder)?;
        }
        clap_mangen::generate_to(command, folder)?;
    }
    Ok(())
}

/// Leaves out the subcommands `help`, each of which would get a page of its own that says nothing.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
