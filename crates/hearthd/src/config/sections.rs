//! The sections of the file, with their defaults and the rules between them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hearthd_config::{
    Outcome, Reader, Section, address::BrokerAddress, check_id, read, sanitised, units, wrong_type,
};
use hearthd_core::topic::{Prefix, TopicFilter};
use toml::de::DeValue;

use super::{
    Broker, Config, Containment, DeviceConfig, Draft, Isolation, Limits, Problems, Requests,
    ResponseInformation, Source, Stale, Tls,
    guards::{Own, guards},
    home_assistant::home_assistant,
    password::account,
    topics::{possible_prefixes, topics},
    values,
};

/// Reads and checks a whole file.
pub(super) fn parse(source: Source) -> Result<Config, Problems> {
    let draft = draft(source);
    if draft.problems.is_empty() { Ok(draft.config) } else { Err(draft.problems.into()) }
}

/// Reads what can be read of a file, and notes everything that is wrong with it.
pub(super) fn draft(source: Source) -> Draft {
    let ((mut config, plugin_path), outcome) = read(&source, Some(other_name), config);
    let Outcome { problems, warnings, mistakes, .. } = outcome;
    config.warnings = warnings;
    Draft { config, problems, mistakes, plugin_path }
}

/// Reads every section, and the place of `[plugins] path`; if the reader has problems, some values are placeholders.
pub(super) fn config(reader: &mut Reader, root: &mut Section<'_>) -> (Config, Option<usize>) {
    let broker = broker(reader, root);
    let requests = requests(reader, root);
    let devices = devices(reader, root, &requests, &broker.client_id);
    let response_information = response_information(reader, root);
    let prefixes = possible_prefixes(response_information.fallback.as_ref());
    let topics = topics(reader, root, &prefixes);
    let (plugin_path, plugin_path_at, containment) = plugins(reader, root);
    let own = Own { topics: &topics, client_id: &broker.client_id, prefixes: &prefixes };
    let home_assistant = home_assistant(reader, root, &own, &devices);
    let config = Config {
        home_assistant,
        guards: guards(reader, root, &own, &devices),
        response_information,
        topics,
        allow_responses: allowed(reader, root, "responses", "clients/+/responses/#"),
        allow_bridges: allowed(reader, root, "bridges", "zigbee2mqtt/#"),
        will_delay: will_delay(reader, root, &broker),
        plugin_path,
        containment,
        state_directory: state_directory(reader, root),
        warnings: Vec::new(),
        source: reader.source().clone(),
        broker,
        requests,
        devices,
    };
    (config, plugin_path_at)
}

fn broker(reader: &mut Reader, root: &mut Section<'_>) -> Broker {
    let mut section = reader.section(root, "broker");
    let (address, others) = reader.parsed(&mut section, "url", values::addresses).unwrap_or((
        BrokerAddress { host: "127.0.0.1".into(), port: 1883, tls: false },
        Vec::new(),
    ));
    let client_id = reader
        .parsed(&mut section, "client_id", |value| {
            let id = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
            check_id(id).map(|()| id.to_owned())
        })
        .unwrap_or_else(default_client_id);
    let tls = tls(reader, &mut section, address.tls);
    let (username, password) = account(reader, &mut section);
    let broker = Broker {
        host: address.host,
        port: address.port,
        others,
        tls,
        client_id,
        username,
        password,
        keep_alive: reader
            .parsed(&mut section, "keep_alive", |v| units::whole_seconds(v, 5, u16::MAX.into()))
            .unwrap_or(Duration::from_secs(20)),
        session_expiry: reader
            .parsed(&mut section, "session_expiry", |v| units::whole_seconds(v, 1, u32::MAX))
            .unwrap_or(Duration::from_secs(7 * 24 * 60 * 60)),
        reconnect_spread: reader
            .parsed(&mut section, "reconnect_spread", |v| units::whole_seconds(v, 0, MAX_SPREAD))
            .unwrap_or(Duration::ZERO),
    };
    reader.finish(section);
    broker
}

fn tls(reader: &mut Reader, broker: &mut Section<'_>, wanted: bool) -> Option<Tls> {
    let mut section = reader.section(broker, "tls");
    if section.exists() && !wanted {
        reader.problem(section.at, &section.path, "needs a url that starts with mqtts://");
    }
    let ca_file = reader.readable_file(&mut section, "ca_file", false);
    let certificate = reader.readable_file(&mut section, "client_cert_file", false);
    let key = reader.readable_file(&mut section, "client_key_file", true);
    let client_auth = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let what = "client_cert_file and client_key_file belong together; give both";
            reader.problem(section.at, &section.path, what);
            None
        }
    };
    reader.finish(section);
    wanted.then_some(Tls { ca_file, client_auth })
}

fn response_information(reader: &mut Reader, root: &mut Section<'_>) -> ResponseInformation {
    let mut section = reader.section(root, "response_information");
    let read = ResponseInformation {
        required: reader.parsed(&mut section, "required", values::truth).unwrap_or(false),
        fallback: reader.parsed(&mut section, "fallback", |value| {
            let text = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
            Prefix::parse(text).map_err(|error| format!("{error}; write a user ID such as `alice`"))
        }),
    };
    reader.finish(section);
    read
}

/// Reads `allow` of a section: topic filters.
fn allowed(
    reader: &mut Reader,
    root: &mut Section<'_>,
    section: &'static str,
    example: &str,
) -> Vec<TopicFilter> {
    let mut section = reader.section(root, section);
    let mut filters = Vec::new();
    for (entry, text) in reader.texts(&mut section, "allow").unwrap_or_default() {
        match TopicFilter::parse(text) {
            Ok(filter) => filters.push(filter),
            Err(error) => reader.problem(
                entry.at,
                &entry.path,
                format!("`{text}` {error}; write a filter such as `{example}`"),
            ),
        }
    }
    reader.finish(section);
    filters
}

fn will_delay(reader: &mut Reader, root: &mut Section<'_>, broker: &Broker) -> Duration {
    let mut section = reader.section(root, "will");
    let delay = reader.parsed(&mut section, "delay", |value| {
        let delay = units::whole_seconds(value, 0, u32::MAX)?;
        if delay > broker.session_expiry {
            return Err("is longer than broker.session_expiry, which would end it early".into());
        }
        Ok(delay)
    });
    let delay = delay.unwrap_or(Duration::from_secs(10));
    let spread = broker.reconnect_spread;
    if !spread.is_zero() && delay <= spread {
        let what = format!(
            "a will delay of {} is no longer than broker.reconnect_spread ({}): the broker would publish the will of \
             a hub that only waits; make it longer by what a connection takes",
            humantime::format_duration(delay),
            humantime::format_duration(spread)
        );
        reader.problem(section.at, &section.path, &what);
    }
    reader.finish(section);
    delay
}

fn requests(reader: &mut Reader, root: &mut Section<'_>) -> Requests {
    let mut section = reader.section(root, "requests");
    let requests = Requests {
        deadline: deadline(reader, &mut section).unwrap_or(Duration::from_secs(5)),
        stale: reader.parsed(&mut section, "stale", values::stale).unwrap_or(Stale::Refuse),
        queue: reader
            .parsed(&mut section, "queue", |value| units::whole_number(value, 1, MAX_QUEUE))
            .unwrap_or(64),
        max_payload: reader.parsed(&mut section, "max_payload", values::size).unwrap_or(64 * 1024),
    };
    reader.finish(section);
    requests
}

fn deadline(reader: &mut Reader, section: &mut Section<'_>) -> Option<Duration> {
    reader.parsed(section, "deadline", |v| units::duration(v, Duration::from_millis(1)))
}

fn plugins(
    reader: &mut Reader,
    root: &mut Section<'_>,
) -> (Vec<PathBuf>, Option<usize>, Containment) {
    let mut section = reader.section(root, "plugins");
    let path = match reader.texts(&mut section, "path") {
        Some(texts) => texts.iter().map(|(_, text)| reader.source().resolve(text)).collect(),
        None => vec!["/usr/lib/hearthd/plugins".into()],
    };
    let containment = Containment {
        max_failures: reader
            .parsed(&mut section, "max_failures", |v| units::whole_number(v, 1, MAX_FAILURES))
            .unwrap_or(5),
        failure_window: reader
            .parsed(&mut section, "failure_window", |v| units::duration(v, Duration::from_secs(1)))
            .unwrap_or(Duration::from_secs(10 * 60)),
        limits: limits(reader, &mut section),
    };
    let place = section.place_of("path");
    reader.finish(section);
    (path, place, containment)
}

fn limits(reader: &mut Reader, plugins: &mut Section<'_>) -> Limits {
    let mut section = reader.section(plugins, "limits");
    let default = Limits::default();
    let limits = Limits {
        memory: reader.parsed(&mut section, "memory", values::memory).unwrap_or(default.memory),
        cpu: reader
            .parsed(&mut section, "cpu", |v| units::whole_seconds(v, 1, 60))
            .unwrap_or(default.cpu),
        files: reader
            .parsed(&mut section, "files", |v| units::whole_number(v, LEAST_FILES, MOST_FILES))
            .map_or(default.files, |files| files as u64),
    };
    reader.finish(section);
    limits
}

fn state_directory(reader: &mut Reader, root: &mut Section<'_>) -> PathBuf {
    let mut section = reader.section(root, "state");
    let directory = reader.path(&mut section, "directory");
    reader.finish(section);
    directory.unwrap_or_else(|| "/var/lib/hearthd".into())
}

fn devices(
    reader: &mut Reader,
    root: &mut Section<'_>,
    requests: &Requests,
    client_id: &str,
) -> BTreeMap<String, DeviceConfig> {
    let all = reader.section(root, "devices");
    let mut devices = BTreeMap::new();
    for (id, mut section) in reader.named_sections(&all) {
        if let Err(what) = check_id(id) {
            reader.problem(section.at, &section.path, what);
        } else if id == client_id {
            let what = "is the hub's client_id as well; give the device another ID";
            reader.problem(section.at, &section.path, what);
        }
        let device = device(reader, &mut section, id, requests);
        reader.finish(section);
        devices.insert(id.to_owned(), device);
    }
    devices
}

fn device(
    reader: &mut Reader,
    section: &mut Section<'_>,
    id: &str,
    requests: &Requests,
) -> DeviceConfig {
    let kind = match reader.entry(section, "plugin") {
        Some(entry) => reader.entry_text(&entry).unwrap_or_default().to_owned(),
        None => {
            if section.exists() {
                let what = "plugin is missing; name the device's kind: plugin = \"light\"";
                reader.problem(section.at, &section.path, what);
            }
            String::new()
        }
    };
    DeviceConfig {
        id: id.to_owned(),
        kind,
        name: reader.text(section, "name").map(str::to_owned),
        room: reader.text(section, "room").map(str::to_owned),
        home_assistant: reader.parsed(section, "home_assistant", values::truth).unwrap_or(true),
        deadline: deadline(reader, section).unwrap_or(requests.deadline),
        stale: reader.parsed(section, "stale", values::stale).unwrap_or(requests.stale),
        isolation: reader
            .parsed(section, "isolation", values::isolation)
            .unwrap_or(Isolation::Auto),
        config: device_table(reader, section),
    }
}

fn device_table(reader: &mut Reader, section: &mut Section<'_>) -> serde_json::Value {
    let empty = || serde_json::Value::Object(serde_json::Map::new());
    let Some(entry) = reader.entry(section, "config") else { return empty() };
    if !matches!(entry.value, DeValue::Table(_)) {
        reader.wrong_type(entry.at, &entry.path, "a table", entry.value);
        return empty();
    }
    values::json(entry.value, entry.at, &entry.path).unwrap_or_else(|(at, path, what)| {
        reader.problem(at, &path, what);
        empty()
    })
}

fn default_client_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("hearthd-{}", sanitised(host.trim(), "hub"))
}

/// Returns the key for what people expect under another name.
fn other_name(path: &str) -> Option<&'static str> {
    Some(match path {
        // Everybody who may read the configuration could read a secret in it.
        "broker.password" => "password_file = \"FILE\" with the password in that file",
        "broker.user" => "username = \"NAME\"",
        "broker.host" | "broker.port" => "url = \"mqtt://HOST:PORT\"",
        _ => return None,
    })
}

/// Longest `broker.reconnect_spread`, in seconds.
const MAX_SPREAD: u32 = 600;
/// Requests that may wait for one device, whatever the configuration says.
const MAX_QUEUE: usize = 65_535;
/// Crashes that a device may be allowed.
const MAX_FAILURES: usize = 1000;
/// Files that a plugin's process needs to start at all, and may have at most.
const LEAST_FILES: usize = 16;
const MOST_FILES: usize = 1024;
