//! The devices of a configuration, once their plugins have looked at it.

use std::{collections::BTreeMap, time::Instant};

use hearthd_core::{DeclaredTopics, property::Declaration};
use tracing::warn;

use crate::{
    config::{Config, DeviceConfig, FilledTable, Isolation, Remarks, fill},
    plugin::{Declared, DeviceKind, Objection, Plugins},
};

/// A complaint of a plugin about a device's table: device ID, path below its `config`, message.
pub type Complaint = (String, String, String);

/// The devices of a configuration that their plugins have accepted.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub(super) devices: BTreeMap<String, CheckedDevice>,
    warnings: Vec<Complaint>,
}

/// One device of a configuration that was checked, with what its plugin has declared for its table.
#[derive(Clone, Debug)]
pub(super) struct CheckedDevice {
    pub(super) config: DeviceConfig,
    pub(super) kind: DeviceKind,
    /// Where the table has secrets, as JSON Pointers.
    secrets: Vec<String>,
    /// The table with the secrets in place.
    pub(super) table: FilledTable,
    pub(super) declarations: Vec<Declaration>,
    pub(super) topics: DeclaredTopics,
    /// Whether it may add devices of its own.
    pub(super) adds: bool,
}

impl Checked {
    /// Returns what is unwise about the devices' tables.
    pub(crate) fn warnings(&self) -> &[Complaint] {
        &self.warnings
    }

    /// Returns the IDs of the devices that may add devices of their own.
    pub(crate) fn adding(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().filter(|(_, device)| device.adds).map(|(id, _)| id.as_str())
    }

    /// Returns the devices' IDs with the MQTT topics that they use themselves.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &DeclaredTopics)> + Clone {
        self.devices.iter().map(|(id, device)| (id.as_str(), &device.topics))
    }
}

/// Checks every device's kind, table and declarations; what is as it is in `known` is not asked again.
///
/// # Errors
/// Everything that the devices' plugins have to say against it.
pub fn check(
    config: &Config,
    plugins: &Plugins,
    known: &Checked,
) -> Result<Checked, Vec<Complaint>> {
    let mut checked = Checked::default();
    let mut complaints = Vec::new();
    for (id, device) in &config.devices {
        let of_device = |(path, text)| (id.clone(), path, text);
        match check_device(config, device, plugins, known) {
            Ok((device, warnings)) => {
                checked.devices.insert(id.clone(), device);
                checked.warnings.extend(warnings.into_iter().map(of_device));
            }
            Err(problems) => complaints.extend(problems.into_iter().map(of_device)),
        }
    }
    plugins.end_inspection();
    if complaints.is_empty() { Ok(checked) } else { Err(complaints) }
}

fn check_device(
    whole: &Config,
    config: &DeviceConfig,
    plugins: &Plugins,
    known: &Checked,
) -> Result<(CheckedDevice, Remarks), Remarks> {
    let refuse = |message: String| vec![(String::new(), message)];
    let object = |objection| match objection {
        Objection::Problems(problems) => problems,
        Objection::Unsound(reason) => refuse(reason),
    };
    let kind = find_kind(config, plugins).map_err(refuse)?.clone();
    let config = resolved(config, &kind);
    if config.isolation.is_here() && kind.panic_aborts() {
        let text = "its plugin is built with panic=abort, and a panic in it would end the hub; \
                    write isolation = \"process\", or leave it out";
        return Err(refuse(text.into()));
    }
    let known = known.devices.get(&config.id);
    let known =
        known.filter(|known| known.kind.is_same(&kind) && known.config.config == config.config);
    let secrets = match known {
        Some(known) => known.secrets.clone(),
        None => plugins.secrets(&kind, &config.config).map_err(object)?,
    };
    // What a file holds may be another text now.
    let (table, warnings) = fill(&config.config, &secrets, &whole.source.resolve(""))?;
    let declared = match known.filter(|known| known.table == table) {
        Some(known) => {
            let (properties, topics) = (known.declarations.clone(), known.topics.clone());
            Declared { properties, topics, adds: known.adds }
        }
        None => plugins.examine(&kind, table.json()).map_err(object)?,
    };
    let Declared { properties: declarations, topics, adds } = declared;
    Ok((CheckedDevice { config, kind, secrets, table, declarations, topics, adds }, warnings))
}

/// Decides where a device runs whose configuration leaves that to the hub.
fn resolved(config: &DeviceConfig, kind: &DeviceKind) -> DeviceConfig {
    let isolation = match config.isolation {
        Isolation::Auto if kind.is_own_build() && !kind.panic_aborts() => Isolation::None,
        Isolation::Auto => Isolation::File,
        isolation => isolation,
    };
    DeviceConfig { isolation, ..config.clone() }
}

impl CheckedDevice {
    /// Returns the device as it is started after crashes of the daemon in its calls.
    pub(super) fn after(&self, crashes: &[Instant]) -> Self {
        let mut device = self.clone();
        let here = device.config.isolation.is_here();
        if here && crashes.len() >= CRASHES_OF_THE_HUB && device.kind.file().is_some() {
            device.config.isolation = Isolation::Process;
            let (device, crashes) = (&self.config.id, crashes.len());
            warn!(device, crashes, "it has crashed the hub and now runs in its own process");
        }
        device
    }
}

fn find_kind<'p>(device: &DeviceConfig, plugins: &'p Plugins) -> Result<&'p DeviceKind, String> {
    plugins.kind(&device.kind).ok_or_else(|| {
        let present: Vec<_> = plugins.kinds().collect();
        let present = if present.is_empty() { "none".into() } else { present.join(", ") };
        format!("no plugin provides `{}`; the kinds present are: {present}", device.kind)
    })
}

/// Crashes of the whole daemon after which a device gets a process of its own.
const CRASHES_OF_THE_HUB: usize = 2;
