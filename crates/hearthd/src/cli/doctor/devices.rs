//! `hearthd doctor --devices`: what the machine, and the broker, offer to lights and thermostats.

mod offers;
mod snippet;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use hearthd_config::printable_line;
use hearthd_core::Message;
use hearthd_hardware::{
    FoundThermometer, GpioChip, LedFound, PwmChip, Root, gpio_chips, leds, pwm_chips, thermometers,
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    super::{exit, fail},
    Doctor,
};
use crate::{
    client::connection::{self, Connection, ConnectionError},
    config::Config,
};

/// What a machine offers.
struct Offer {
    thermometers: Vec<FoundThermometer>,
    leds: Vec<LedFound>,
    pwm_chips: Vec<PwmChip>,
    gpio_chips: Vec<GpioChip>,
}

/// What the broker was found to keep.
#[derive(Default)]
struct Kept {
    /// The retained messages, by topic.
    messages: BTreeMap<String, Vec<u8>>,
    /// How many bytes those are.
    bytes: usize,
    /// The topics of those that did not fit.
    left_out: BTreeSet<String>,
    /// The filters that the account may not read.
    refused: Vec<&'static str>,
}

/// Prints what the machine offers, then what the broker of the configuration does.
///
/// Without a configuration file, or for another machine's files, it is the machine alone.
pub(super) fn list(doctor: &Doctor) -> ExitCode {
    let root = &doctor.root;
    if !root.is_dir() {
        return fail(exit::NO_INPUT, format!("{} is not a folder", root.display()));
    }
    let offer = Offer::of(&Root::new(root));
    let ask = doctor.file.config.exists() && root == Path::new("/");
    if !doctor.json {
        say!("{}", offer.to_snippet().trim_end());
    }
    let kept =
        if ask { ask_broker(&doctor.file.config, doctor.timeout).map(Some) } else { Ok(None) };
    let failed = match &kept {
        Ok(_) => ExitCode::SUCCESS,
        Err((code, error)) => fail(*code, error),
    };
    let kept = kept.ok().flatten();
    if doctor.json {
        let mut all = offer.to_json();
        all["broker"] = kept.as_ref().map_or(Value::Null, |kept| {
            json!({
                "devices": offers::to_json(&offers::read(&kept.messages)),
                "refused": kept.refused,
                "left_out": kept.left_out,
            })
        });
        say!("{all:#}");
    } else if let Some(kept) = &kept {
        say!("{}", offers::to_snippet(&offers::read(&kept.messages)).trim_end());
        for filter in &kept.refused {
            say!("# The account may not read {filter}: what is kept there is not in this list.");
        }
        if let Some(omission) = kept.omission() {
            say!("# {omission}");
        }
        for base in offers::without_list(&kept.messages) {
            say!(
                "# {base}/bridge/devices did not come: it is larger than the 1 MiB that the hub takes."
            );
        }
    }
    failed
}

/// Reads what bridges keep at the broker of a configuration.
fn ask_broker(config: &Path, time: Duration) -> Result<Kept, (u8, String)> {
    let config = Config::load(config).map_err(|error| (exit::CONFIG, error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (exit::SOFTWARE, error.to_string()))?;
    runtime.block_on(read_retained(&config, time)).map_err(|error| {
        let code = match &error {
            ConnectionError::NotAuthorized(_) => exit::NOT_AUTHORIZED,
            ConnectionError::Unavailable(_) | ConnectionError::Indistinct(_) => exit::UNAVAILABLE,
        };
        (code, error.to_string())
    })
}

/// Subscribes to what bridges keep, and takes what comes until the broker is silent.
async fn read_retained(config: &Config, time: Duration) -> Result<Kept, ConnectionError> {
    let client_id = connection::client_id(config, "doctor");
    let options = connection::options(&config.broker, &client_id);
    let (mut connection, _) = Connection::begin(&options, time).await?;
    connection.hold_at_most(MOST);
    let mut kept = Kept::default();
    for filter in offers::FILTERS {
        connection.extend(time);
        if connection.subscribe(filter, true).await? >= REFUSED {
            kept.refused.push(filter);
        }
        while let Some(message) = connection.take_received() {
            kept.take(message);
        }
    }
    connection.extend(time);
    loop {
        let quiet = Instant::now() + QUIET;
        let Some(message) = connection.receive_until(quiet).await? else { break };
        kept.take(message);
    }
    kept.left_out.extend(connection.take_left_out());
    // A broker that does not take DISCONNECT changes nothing.
    let _ = timeout(time, connection.end()).await;
    Ok(kept)
}

impl Kept {
    /// Keeps what the broker has kept, within bounds.
    fn take(&mut self, message: Message) {
        let Message { topic, payload, retain, .. } = message;
        if !retain {
            return;
        }
        // A list of all devices of a bridge is in one message.
        let most = if topic.contains("/bridge/") { LARGEST_LIST } else { LARGEST };
        let bytes = topic.len() + payload.len();
        if payload.len() > most || self.bytes + bytes > MOST {
            self.left_out.insert(topic);
            return;
        }
        self.bytes += bytes;
        if let Some(before) = self.messages.insert(topic.clone(), payload.to_vec()) {
            self.bytes -= topic.len() + before.len();
        }
    }

    /// Says what was left out, in a line; none where that is nothing.
    fn omission(&self) -> Option<String> {
        let first = self.left_out.first()?;
        let others = match self.left_out.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (most, largest) = (MOST / MIB, LARGEST / 1024);
        Some(format!(
            "{}{others} did not fit: at most {most} MiB in all are read, {largest} KiB of one message and 1 MiB of a \
             bridge's list.",
            printable_line(first)
        ))
    }
}

impl Offer {
    fn of(root: &Root) -> Self {
        Self {
            thermometers: thermometers(root),
            leds: leds(root),
            pwm_chips: pwm_chips(root),
            gpio_chips: gpio_chips(root),
        }
    }

    fn to_json(&self) -> Value {
        let thermometer = |found: &FoundThermometer| match &found.reading {
            Ok(celsius) => json!({"sensor": found.thermometer, "celsius": celsius}),
            Err(error) => json!({"sensor": found.thermometer, "error": error.to_string()}),
        };
        json!({
            "thermometers": self.thermometers.iter().map(thermometer).collect::<Vec<_>>(),
            "leds": self.leds,
            "pwm_chips": self.pwm_chips,
            "gpio_chips": self.gpio_chips,
        })
    }
}

/// Reason codes from here on refuse a filter (MQTT 3.9.3).
const REFUSED: u8 = 0x80;
const MIB: usize = 1024 * 1024;
/// The most bytes that are read of what the broker keeps.
const MOST: usize = 8 * MIB;
/// The largest message that is read, and the largest list of a bridge.
const LARGEST: usize = 64 * 1024;
const LARGEST_LIST: usize = MIB;
/// A broker sends what it keeps at once: nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(1);
