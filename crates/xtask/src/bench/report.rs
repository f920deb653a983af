//! What was measured, on which machine and when: printed, written to `target/bench`, and kept on request.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Result, built::workspace};

use super::Options;

/// The report as it grows.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
}

impl Report {
    /// Begins with the machine and the date.
    pub(crate) fn new(options: &Options) -> Self {
        let command = if options.quick { "cargo xtask bench --quick" } else { "cargo xtask bench" };
        let text = format!(
            "`{command}`, profile `{}`, on {}, {}; Mosquitto {}, Python {}, Node.js {}.\n\n",
            options.profile,
            machine(),
            said("rustc", &["--version"]),
            said("dpkg-query", &["-W", "-f", "${Version}", "mosquitto"]),
            said("python3", &["-c", "import platform; print(platform.python_version())"]),
            said("node", &["--version"]),
        );
        println!("{text}");
        Self { text }
    }

    /// Adds a chapter, and prints it.
    pub(crate) fn add(&mut self, title: &str, body: &str) {
        let chapter = format!("## {title}\n\n{body}\n");
        println!("{chapter}");
        self.text += &chapter;
    }

    /// Writes the report into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("report.md");
        std::fs::write(&file, &self.text).doing(file.display())
    }

    /// Puts the report beside the checked-in summary, with the plots.
    pub(crate) fn keep(&self, plots: &[PathBuf]) -> Result<()> {
        let folder = workspace().join("crates/hearthd/benches");
        let file = folder.join("TABLES.md");
        let text = format!("# What was measured\n\n{}", self.text);
        std::fs::write(&file, text.trim_end().to_owned() + "\n").doing(file.display())?;
        let kept = folder.join("plots");
        std::fs::create_dir_all(&kept).doing(kept.display())?;
        for plot in plots {
            let to = kept.join(plot.file_name().unwrap_or_default());
            std::fs::copy(plot, &to).doing(to.display())?;
        }
        Ok(())
    }
}

/// Returns the date, and what the machine is.
pub(crate) fn machine() -> String {
    let cpu = first_line_value("/proc/cpuinfo", "model name");
    let memory = first_line_value("/proc/meminfo", "MemTotal");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (date, kernel) = (said("date", &["--iso-8601"]), said("uname", &["-r"]));
    format!("{date}: {processors} processors ({cpu}), {memory}, Linux {kernel}")
}

fn first_line_value(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}

pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or("unknown".into(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}
