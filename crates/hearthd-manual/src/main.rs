//! Writes the manual pages and the shells' completions of `hearthd`, `hearth-broker` and `hearth-web` into a folder.
//!
//! A program of its own, so that the daemon does not carry what only a package needs.

mod completion;
mod file_format;
mod sections;

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap_complete::Shell;

use file_format::FileFormat;
use sections::{HEARTH_BROKER, HEARTH_WEB, HEARTHD};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("hearthd-manual: name the folder to write into");
        return ExitCode::from(hearthd_config::exit::USAGE);
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
    let programs = [
        (hearthd::cli::command(), &HEARTHD),
        (hearthd_broker::cli::command(), &HEARTH_BROKER),
        (hearthd_web::cli::command(), &HEARTH_WEB),
    ];
    for (command, sections) in programs {
        let mut command = without_help(command);
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let file = clap_complete::generate_to(shell, &mut command, &name, folder)?;
            if name == "hearthd" {
                let plain = std::fs::read_to_string(&file)?;
                let text = completion::with_device_ids(shell, &plain).map_err(io::Error::other)?;
                std::fs::write(file, text)?;
            }
        }
        clap_mangen::generate_to(command, folder)?;
        let page = folder.join(format!("{name}.1"));
        OpenOptions::new().append(true).open(page)?.write_all(sections.roff().as_bytes())?;
    }
    for file in &FILES {
        std::fs::write(folder.join(format!("{}.5", file.name)), file.page())?;
    }
    Ok(())
}

/// Leaves out the subcommands `help`, each of which would get a page of its own that says nothing.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

const FILES: [FileFormat; 3] = [
    FileFormat {
        name: "hearthd.toml",
        text: include_str!("../../../config/hearthd.toml"),
        summary: "configuration of the smart-home hub hearthd",
        path: "/etc/hearthd/hearthd.toml",
        see_also: "hearthd(1), hearth-broker.toml(5)",
    },
    FileFormat {
        name: "hearth-broker.toml",
        text: include_str!("../../../config/hearth-broker.toml"),
        summary: "configuration of the bundled broker of one home",
        path: "/etc/hearthd/hearth-broker.toml",
        see_also: "hearth-broker(1), hearthd.toml(5)",
    },
    FileFormat {
        name: "hearth-web.toml",
        text: include_str!("../../../config/hearth-web.toml"),
        summary: "configuration of the page for phones",
        path: "/etc/hearthd/hearth-web.toml",
        see_also: "hearth-web(1), hearth-broker.toml(5)",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_tell_every_key_every_exit_code_and_where_the_files_are() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for file in &FILES {
            let page = read(&format!("{}.5", file.name));
            let mut keys = 0;
            for line in file.text.lines() {
                let key = line.strip_prefix("# ").unwrap_or(line);
                if file_format::is_key(key) {
                    let name = key.split(' ').next().unwrap();
                    assert!(page.contains(&format!("\\fB{name} = ")), "{name}:\n{page}");
                    keys += 1;
                }
            }
            assert!(keys > 10, "{}", file.name);
        }
        let readme = include_str!("../../../README.md");
        for (name, sections) in
            [("hearthd", &HEARTHD), ("hearth-broker", &HEARTH_BROKER), ("hearth-web", &HEARTH_WEB)]
        {
            let page = read(&format!("{name}.1"));
            for heading in ["\"EXIT STATUS\"", "FILES", "EXAMPLES", "\"SEE ALSO\""] {
                assert!(page.contains(&format!("\n.SH {heading}\n")), "{name}, {heading}:\n{page}");
            }
            for (code, _) in sections.exit_status {
                let told = |line: &str| {
                    let codes = line.strip_prefix("| ").and_then(|line| line.split(" |").next());
                    codes
                        .is_some_and(|codes| codes.split(", ").any(|told| told == code.to_string()))
                };
                assert!(readme.lines().any(told), "the README says nothing of exit code {code}");
            }
        }
    }
}
