//! `hearthd plugin check`: shows what a plugin file contains, and whether it would load here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use hearthd_core::{DeclaredTopics, property::Declaration, topic::TopicFilter};
use hearthd_sdk::abi;
use serde_json::{Value, json};

use super::{
    declaration::{in_words, width},
    exit, fail,
};
use crate::{
    config::{Limits, fill},
    plugin::{Declared, DeviceKind, Launcher, Objection, PluginError, Plugins, identity::Identity},
};

/// The arguments of `hearthd plugin check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The plugin file.
    file: PathBuf,
    /// A TOML file with a device's table, as in `[devices.ID.config]`; properties may depend on it.
    #[arg(long, value_name = "TABLE.toml")]
    config: Option<PathBuf>,
    /// The kind that the table is for, if the plugin has several.
    #[arg(long, requires = "config")]
    kind: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what a file contains. The file is not trusted: a separate process loads it.
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
    // Paths in the table start at its folder, as in a configuration.
    let folder = check.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let kinds = accepted.and_then(|()| examine(&check.file, &config, folder));
    if let (Some(wanted), Ok(kinds)) = (&check.kind, &kinds)
        && !kinds.iter().any(|kind| kind.name == *wanted)
    {
        let present: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        let text = format!("there is no kind `{wanted}`; there is: {}", present.join(", "));
        return fail(exit::USAGE, text);
    }
    let report = Report { check, identity: identity.ok(), kinds, table: table.is_some() };
    if check.json {
        say!("{:#}", report.json())
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

/// What a kind says with a table.
#[derive(Debug)]
struct KindReport {
    name: String,
    /// (path, message) of what is wrong with the table.
    problems: Vec<(String, String)>,
    /// What its code does instead of answering.
    unsound: Option<String>,
    /// (name, declaration) in the plugin's order.
    properties: Vec<(String, Value)>,
    /// The MQTT topics that such a device uses itself.
    topics: DeclaredTopics,
    /// Whether such a device may add devices of its own.
    adds: bool,
}

impl Report<'_> {
    /// Returns the kinds that the table is for.
    fn concerned(&self) -> impl Iterator<Item = &KindReport> {
        let wanted = self.check.kind.as_deref();
        let kinds = self.kinds.as_deref().unwrap_or_default();
        kinds.iter().filter(move |kind| wanted.is_none_or(|wanted| kind.name == wanted))
    }

    /// Returns why the file would not load, or would do harm once loaded.
    fn reason(&self) -> Option<String> {
        if let Err(reason) = &self.kinds {
            return Some(reason.clone());
        }
        self.concerned().find_map(|kind| {
            let unsound = kind.unsound.as_ref()?;
            let table = if self.table { "this table" } else { "an empty table" };
            Some(format!("asked about {table} for kind `{}`, {unsound}", kind.name))
        })
    }

    fn exit_code(&self) -> ExitCode {
        let well = |kind: &KindReport| kind.problems.is_empty();
        if self.reason().is_some() {
            return ExitCode::from(exit::DATA);
        }
        // Without a table the empty one was tried, which a device need not take.
        if self.table && !self.concerned().any(well) {
            return ExitCode::from(exit::CONFIG);
        }
        ExitCode::SUCCESS
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
        let topic = |(purpose, filter): (&str, &TopicFilter)| json!({"use": purpose, "filter": filter.as_str()});
        let kind = |kind: &KindReport| {
            let problem =
                |(path, message): &(String, String)| json!({"path": path, "message": message});
            let follows = kind.topics.follow.iter().map(|(device, of)| format!("{device}/{of}"));
            json!({
                "name": kind.name,
                "properties": kind.properties.iter().cloned().collect::<serde_json::Map<_, _>>(),
                "topics": kind.topics.all().map(topic).collect::<Vec<_>>(),
                "asks": kind.topics.ask,
                "follows": follows.collect::<Vec<_>>(),
                "adds_devices": kind.adds,
                "problems": kind.problems.iter().map(problem).collect::<Vec<_>>(),
            })
        };
        json!({
            "file": self.check.file.display().to_string(),
            "loads": self.reason().is_none(),
            "reason": self.reason(),
            "isolation": self.identity.as_ref().map(place),
            "identity": identity,
            "kinds": self.concerned().map(kind).collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        if let Some(identity) = &self.identity {
            say!("{identity}");
            for flag in flags(identity) {
                say!("  flag {flag}");
            }
        }
        for kind in self.concerned() {
            say!("kind {}", kind.name);
            let width = width(22, kind.properties.iter().map(|(name, _)| name.as_str()));
            for (name, declaration) in &kind.properties {
                say!("  {name:<width$} {}", in_words(declaration));
            }
            for (purpose, filter) in kind.topics.all() {
                say!("  MQTT: {purpose:<16} {}", filter.as_str());
            }
            for other in &kind.topics.ask {
                say!("  asks {other}");
            }
            for (other, property) in &kind.topics.follow {
                say!("  follows {other}/{property}");
            }
            if kind.adds {
                say!("  may add devices of its own");
            }
            for (path, message) in &kind.problems {
                let place = if path.is_empty() { "its table" } else { path };
                say!("  {place}: {message}");
            }
            if !kind.problems.is_empty() && !self.table {
                say!("  Its properties depend on its table: give one with --config.");
            }
        }
        match self.reason() {
            None => {
                say!("loads here: yes");
                match self.identity.as_ref().map(place) {
                    Some("none") => say!("runs in the hub: it was built with the hub"),
                    Some(_) => {
                        say!("runs in a separate process, unless isolation = \"none\"")
                    }
                    None => {}
                }
            }
            Some(reason) => say!("loads here: no: {reason}"),
        }
    }
}

/// Returns where its devices run with `isolation = "auto"`.
fn place(identity: &Identity) -> &'static str {
    if identity.is_own_build() && !identity.panic_aborts() { "none" } else { "file" }
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

/// Reads a device's table.
pub(super) fn read_table(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::to_value(table).map_err(|error| format!("{}: {error}", file.display()))
}

/// Examines a file in a separate process, which may crash or hang.
fn examine(file: &Path, config: &Value, folder: &Path) -> Result<Vec<KindReport>, String> {
    let staging =
        tempfile::tempdir().map_err(|error| format!("make a temporary folder: {error}"))?;
    let launcher = Launcher::new(Limits::default());
    let plugins =
        Plugins::load_file(file, staging.path(), &launcher).map_err(|error| match error {
            PluginError::Load { reason, .. } => reason,
            other => other.to_string(),
        })?;
    let kinds = plugins.kinds().filter_map(|name| plugins.kind(name));
    Ok(kinds.map(|kind| examine_kind(&plugins, kind, config, folder)).collect())
}

fn examine_kind(plugins: &Plugins, kind: &DeviceKind, config: &Value, folder: &Path) -> KindReport {
    let name = kind.name().to_owned();
    let topics = DeclaredTopics::default();
    let empty = KindReport {
        name,
        problems: Vec::new(),
        unsound: None,
        properties: Vec::new(),
        topics,
        adds: false,
    };
    let filled = plugins.secrets(kind, config).and_then(|secrets| {
        let filled = fill(config, &secrets, folder).map_err(Objection::Problems);
        filled.map(|(table, _)| table)
    });
    match filled.and_then(|table| plugins.examine(kind, table.json())) {
        Err(Objection::Problems(problems)) => KindReport { problems, ..empty },
        Err(Objection::Unsound(reason)) => KindReport { unsound: Some(reason), ..empty },
        Ok(Declared { properties: declarations, topics, adds }) => {
            let describe = |declaration: &Declaration| {
                (declaration.name.clone(), Declaration::describe(declaration))
            };
            let properties: Vec<_> = declarations.iter().map(describe).collect();
            let twice = properties.iter().enumerate().filter(|(index, (name, _))| {
                properties[..*index].iter().any(|(known, _)| known == name)
            });
            let problem = |name: &str| (String::new(), format!("declares `{name}` twice"));
            let problems = twice.map(|(_, (name, _))| problem(name)).collect();
            KindReport { problems, properties, topics, adds, ..empty }
        }
    }
}
