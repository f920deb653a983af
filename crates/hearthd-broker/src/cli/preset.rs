//! The rights that well-known programs need in their default set-up.

use clap::ValueEnum;

use super::account::right;
use crate::{config::WrittenRight, rights::Role};

/// A program that connects beside the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Preset {
    /// Home Assistant: a resident that also uses `homeassistant/#`.
    HomeAssistant,
    /// Zigbee2MQTT: `zigbee2mqtt/#`, and its announcements in `homeassistant/#`.
    Zigbee2mqtt,
    /// Tasmota devices: `cmnd/#`, `stat/#`, `tele/#`, and `tasmota/discovery/#`.
    Tasmota,
    /// Shelly devices: `shelly*/#`, `shellies/#`, and answers to hubs.
    Shelly,
    /// An ESPHome node: topics below the name of the account, and its announcements.
    Esphome,
}

impl Preset {
    /// Returns the role and the rights beside it.
    pub(super) fn grant(self, home: &str, account: &str) -> (Role, Vec<WrittenRight>) {
        // Where a device answers a hub that gives it a response topic: a level below the hub's own.
        let answers = |below: &str| right(&format!("{home}/response/+/+{below}"), Some("write"));
        let both = |filters: &[&str]| filters.iter().map(|filter| right(filter, None)).collect();
        let mut rights: Vec<WrittenRight> = match self {
            Self::HomeAssistant => both(&["homeassistant/#"]),
            Self::Zigbee2mqtt => both(&["zigbee2mqtt/#", "homeassistant/#"]),
            Self::Tasmota => both(&["cmnd/#", "stat/#", "tele/#", "tasmota/discovery/#"]),
            Self::Shelly => both(&["shelly*/#", "shellies/#"]),
            Self::Esphome => both(&["homeassistant/#", "esphome/#"]),
        };
        match self {
            Self::HomeAssistant => return (Role::Resident, rights),
            Self::Zigbee2mqtt => {}
            Self::Tasmota => rights.push(answers("")),
            Self::Shelly => rights.push(answers("/rpc")),
            Self::Esphome => rights.push(right(&format!("{account}/#"), None)),
        }
        (Role::Device, rights)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rights::{Account, AccountTable, Right};

    /// What each program publishes, with its will, and subscribes to in its default set-up.
    const NEEDS: &[(Preset, &str, &[&str], &[&str])] = &[
        (
            Preset::HomeAssistant,
            "homeassistant",
            &["homeassistant/status", "home/cmnd/lamp/power"],
            &["homeassistant/#", "home/state/lamp/power", "home/hub/hearthd-pi/presence"],
        ),
        (
            Preset::Zigbee2mqtt,
            "zigbee2mqtt",
            &[
                "zigbee2mqtt/bridge/state",
                "zigbee2mqtt/kitchen",
                "homeassistant/light/0x0/light/config",
            ],
            &["zigbee2mqtt/#", "homeassistant/status"],
        ),
        (
            Preset::Tasmota,
            "tasmota",
            &[
                "tele/tasmota_ABCDEF/LWT",
                "stat/tasmota_ABCDEF/POWER",
                "cmnd/tasmota_ABCDEF/POWER",
                "tasmota/discovery/ABCDEF/config",
                "home/response/hearthd-pi/lamp",
            ],
            &["cmnd/tasmota_ABCDEF/#", "cmnd/tasmotas/#", "cmnd/DVES_ABCDEF_fb/#"],
        ),
        (
            Preset::Shelly,
            "shelly",
            &[
                "shellyplus1-a8032ab/online",
                "shellyplus1-a8032ab/events/rpc",
                "shellies/shelly1-A4CF/online",
                "home/response/hearthd-pi/lamp/rpc",
            ],
            &["shellyplus1-a8032ab/rpc", "shellyplus1-a8032ab/command/#", "shellies/command"],
        ),
        (
            Preset::Esphome,
            "kitchen-node",
            &[
                "kitchen-node/status",
                "kitchen-node/debug",
                "homeassistant/light/kitchen-node/lamp/config",
                "esphome/discover/kitchen-node",
            ],
            &["kitchen-node/light/lamp/command", "esphome/discover"],
        ),
    ];

    #[test]
    fn every_preset_grants_what_its_program_needs_and_not_the_home() {
        for (preset, name, publishes, subscribes) in NEEDS {
            let (role, raw) = preset.grant("home", name);
            let rights = raw.iter().map(|right| {
                let access = right.access.as_deref();
                Right {
                    filter: right.filter.clone(),
                    read: access != Some("write"),
                    write: access != Some("read"),
                }
            });
            let account = Account {
                name: (*name).into(),
                role,
                client_ids: Vec::new(),
                devices: Vec::new(),
                rights: rights.collect(),
            };
            let accounts = BTreeMap::from([(account.name.clone(), account)]);
            let grant = AccountTable { home: "home".into(), accounts }.grant(name, "any");
            for topic in *publishes {
                assert!(grant.may_publish(topic, false, false), "{preset:?} {topic}");
            }
            for filter in *subscribes {
                assert!(grant.may_subscribe(filter), "{preset:?} {filter}");
            }
            for topic in ["home/state/lamp/power", "home/hub/hearthd-pi/presence", "else/x"] {
                assert!(!grant.may_publish(topic, false, false), "{preset:?} {topic}");
            }
        }
    }
}
