//! `hearthd plugin check`: what a plugin file holds, and whether it would load here.

use std::{
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use hearth_core::property::Declaration;
use hearth_sdk::abi;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{exit, fail};
use crate::plugin::{Kind, PluginError, Plugins, identity::Identity};

/// The arguments of `hearthd plugin check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The shared object.
    file: PathBuf,
    /// A TOML file with a device's table, as below `[devices.ID.config]`: properties may depend on it.
    #[arg(long, value_name = "TABLE.toml")]
    config: Option<PathBuf>,
    /// The kind that the table is for, where the plugin has several.
    #[arg(long, requires = "config")]
    kind: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Tells what a file holds, without trusting it: it is loaded in a process of its own.
pub(super) fn check(check: &Check) -> ExitCode {
    let data = match fs::read(&check.file) {
        Ok(data) => data,
        Err(error) => return fail(exit::NO_INPUT, format!("{}: {error}", check.file.display())),
    };
    let table = match check.config.as_deref().map(read_table).transpose() {
        Ok(table) => table,
        Err(error) => return fail(exit::CONFIG, error),
    };
    let identity = Identity::claimed(&data);
    let accepted = match &identity {
        Ok(identity) => identity.accept().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let config = table.clone().unwrap_or_else(|| json!({}));
    let kinds = accepted.and_then(|()| examined_apart(&check.file, &config));
    if let (Some(wanted), Ok(kinds)) = (&check.kind, &kinds)
        && !kinds.iter().any(|kind| kind.name == *wanted)
    {
        let present: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        let text = format!("there is no kind `{wanted}`; there is: {}", present.join(", "));
        return fail(exit::USAGE, text);
    }
    let report = Report { check, identity: identity.ok(), kinds, table: table.is_some() };
    if check.json {
        println!("{:#}", report.json())
    } else {
        report.print()
    }
    report.exit_code()
}

/// All that was found out about a file.
struct Report<'c> {
    check: &'c Check,
    identity: Option<Identity>,
    /// The kinds, or why the file would not load.
    kinds: Result<Vec<KindReport>, String>,
    /// Whether a table was given.
    table: bool,
}

/// What a kind says with a table, written by one process and read by another.
#[derive(Debug, Serialize, Deserialize)]
struct KindReport {
    name: String,
    /// (path, message) of what is wrong with the table.
    problems: Vec<(String, String)>,
    /// (name, declaration) in the plugin's order.
    properties: Vec<(String, Value)>,
}

impl Report<'_> {
    /// Returns the kinds that the table is for.
    fn concerned(&self) -> impl Iterator<Item = &KindReport> {
        let wanted = self.check.kind.as_deref();
        let kinds = self.kinds.as_deref().unwrap_or_default();
        kinds.iter().filter(move |kind| wanted.is_none_or(|wanted| kind.name == wanted))
    }

    fn exit_code(&self) -> ExitCode {
        let well = |kind: &KindReport| kind.problems.is_empty();
        match &self.kinds {
            Err(_) => ExitCode::from(exit::DATA),
            // Without a table the empty one was tried, which a device need not take.
            Ok(_) if self.table && !self.concerned().any(well) => ExitCode::from(exit::CONFIG),
            Ok(_) => ExitCode::SUCCESS,
        }
    }

    fn json(&self) -> Value {
        let identity = self.identity.as_ref().map(|identity| {
            json!({
                "name": identity.name,
                "version": identity.version,
                "abi": format!("{}.{}", identity.abi.0, identity.abi.1),
                "host_minor_min": identity.host_minor_min,
                "toolchain": identity.toolchain,
                "flags": flags(identity),
            })
        });
        let kind = |kind: &KindReport| {
            let problem =
                |(path, message): &(String, String)| json!({"path": path, "message": message});
            json!({
                "name": kind.name,
                "properties": kind.properties.iter().cloned().collect::<serde_json::Map<_, _>>(),
                "problems": kind.problems.iter().map(problem).collect::<Vec<_>>(),
            })
        };
        json!({
            "file": self.check.file.display().to_string(),
            "loads": self.kinds.is_ok(),
            "reason": self.kinds.as_ref().err(),
            "identity": identity,
            "kinds": self.concerned().map(kind).collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        if let Some(identity) = &self.identity {
            println!("{identity}");
            for flag in flags(identity) {
                println!("  flag {flag}");
            }
        }
        for kind in self.concerned() {
            println!("kind {}", kind.name);
            for (name, declaration) in &kind.properties {
                println!("  {name:<22} {}", in_words(declaration));
            }
            for (path, message) in &kind.problems {
                let place = if path.is_empty() { "its table" } else { path };
                println!("  {place}: {message}");
            }
            if !kind.problems.is_empty() && !self.table {
                println!("  Its properties depend on its table: give one with --config.");
            }
        }
        match &self.kinds {
            Ok(_) => println!("loads here: yes"),
            Err(reason) => println!("loads here: no: {reason}"),
        }
    }
}

fn flags(identity: &Identity) -> Vec<String> {
    let known = [(abi::FLAG_PANIC_ABORT, "panic-abort")];
    let set = known.iter().filter(|(bit, _)| identity.flags & bit != 0);
    let mut flags: Vec<_> = set.map(|(_, name)| (*name).to_owned()).collect();
    let unknown = known.iter().fold(identity.flags, |rest, (bit, _)| rest & !bit);
    if unknown != 0 {
        flags.push(format!("unknown {unknown:#x}"));
    }
    flags
}

/// Writes a declaration for people, such as `number, 5 to 30 in steps of 0.5, °C, read-only`.
fn in_words(declaration: &Value) -> String {
    let text = |key: &str| match &declaration[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let mut words = vec![text("type").unwrap_or_default()];
    let step = text("step").map(|step| format!(" in steps of {step}")).unwrap_or_default();
    words.extend(match (text("min"), text("max")) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}{step}")),
        (Some(min), None) => Some(format!("{min} or more{step}")),
        (None, Some(max)) => Some(format!("{max} or less{step}")),
        (None, None) => Some(step.trim_start().to_owned()).filter(|step| !step.is_empty()),
    });
    if let Some(values) = declaration["values"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        words.push(values.join(" | "));
    }
    words.extend(text("unit"));
    words.extend(match declaration["access"].as_str() {
        Some("r") => Some("read-only".into()),
        Some("w") => Some("write-only".into()),
        _ => None,
    });
    for key in ["retained", "idempotent"] {
        words.extend((declaration[key] == false).then(|| format!("not {key}")));
    }
    words.join(", ")
}

fn read_table(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::to_value(table).map_err(|error| format!("{}: {error}", file.display()))
}

/// Examines a file in a process of its own, which may crash or hang.
fn examined_apart(file: &Path, config: &Value) -> Result<Vec<KindReport>, String> {
    let folder =
        tempfile::tempdir().map_err(|error| format!("make a temporary folder: {error}"))?;
    let report = folder.path().join("report");
    let program = std::env::current_exe().map_err(|error| format!("find hearthd: {error}"))?;
    let mut command = Command::new(program);
    command.args(["plugin", "examine"]).arg(file).arg(config.to_string()).arg(&report);
    // A plugin that writes to its standard output must not spoil the JSON of this process.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = run(&mut command).map_err(|error| format!("start hearthd: {error}"))?;
    match status {
        None => Err(format!("it does not come to an end within {} s", PATIENCE.as_secs())),
        Some(status) => match status.signal() {
            Some(signal) => Err(format!("it crashes while it is loaded: signal {signal}")),
            None => File::open(&report)
                .map_err(|_| format!("it ends the process that loads it: {status}"))
                .and_then(|report| {
                    serde_json::from_reader(report).map_err(|error| error.to_string())
                })?,
        },
    }
}

/// Runs a command to its end, or ends it when its time is over.
fn run(command: &mut Command) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Loads a file and writes what its kinds say; the process may not survive that.
pub(super) fn examine(file: &Path, config: &str, report: &Path) -> ExitCode {
    let kinds = serde_json::from_str(config).map_err(|error| error.to_string()).and_then(|table| {
        let staging = report.parent().unwrap_or(Path::new("."));
        let plugins = Plugins::load_file(file, staging).map_err(|error| match error {
            PluginError::Load { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let kinds = plugins.kinds().filter_map(|name| plugins.kind(name));
        Ok(kinds.map(|kind| examine_kind(kind, &table)).collect::<Vec<_>>())
    });
    let written = File::create(report)
        .and_then(|file| serde_json::to_writer(file, &kinds).map_err(io::Error::from));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit::IO, format!("{}: {error}", report.display())),
    }
}

fn examine_kind(kind: &Kind, table: &Value) -> KindReport {
    let mut problems = kind.check_config(table);
    let mut properties = Vec::new();
    if problems.is_empty() {
        match kind.describe(table) {
            Err(message) => problems.push((String::new(), message)),
            Ok(declarations) => {
                for declaration in &declarations {
                    let name = &declaration.name;
                    if properties.iter().any(|(known, _)| known == name) {
                        problems.push((String::new(), format!("declares `{name}` twice")));
                    }
                    properties.push((name.clone(), Declaration::describe(declaration)));
                }
            }
        }
    }
    KindReport { name: kind.name().to_owned(), problems, properties }
}

/// More than any plugin needs to be loaded, also from the card of a small machine.
const PATIENCE: Duration = Duration::from_secs(10);
