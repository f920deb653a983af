//! `hearthd doctor --devices`: what the machine, and the broker, offer to lights and thermostats.

mod offers;
mod snippet;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

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
    link::ConnectOptions,
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
            json!({"devices": offers::to_json(&offers::read(&kept.messages)), "refused": kept.refused})
        });
        say!("{all:#}");
    } else if let Some(kept) = &kept {
        say!("{}", offers::to_snippet(&offers::read(&kept.messages)).trim_end());
        for filter in &kept.refused {
            say!("# The account may not read {filter}: what is kept there is not in this list.");
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
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: &client_id,
        keep_session: false,
        will: None,
        relayed: false,
    };
    let (mut connection, _) = Connection::begin(&options, time).await?;
    let mut kept = Kept::default();
    for filter in offers::FILTERS {
        connection.extend(time);
        if connection.subscribe(filter, true).await? >= REFUSED {
            kept.refused.push(filter);
        }
    }
    connection.extend(time);
    loop {
        let quiet = Instant::now() + QUIET;
        let Some(message) = connection.receive_until(quiet).await? else { break };
        if message.retain {
            kept.messages.insert(message.topic, message.payload.to_vec());
        }
    }
    // A broker that does not take DISCONNECT changes nothing.
    let _ = timeout(time, connection.end()).await;
    Ok(kept)
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
/// A broker sends what it keeps at once: nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(1);
