//! Passes log lines of plugins on to the hub's log, at a limited rate.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hearthd_sdk::abi;
use tracing::{Level, debug, enabled, error, info, trace, warn};

use super::{
    call::{ChildRefusal, NewChild, Publication},
    host::{Completion, HostCalls},
    rate_limit::{Bucket, Rate, Tally},
};
use crate::sync::lock;

/// The log of one device, or of a plugin's own threads.
#[derive(Debug)]
pub(crate) struct PluginLog {
    name: String,
    gate: Mutex<Gate>,
}

/// How many lines may still be written, and how many were left out.
#[derive(Debug)]
struct Gate {
    bucket: Bucket,
    left_out: Tally,
}

impl PluginLog {
    /// Makes the log of a device, or of a plugin file where no device is to blame.
    pub(crate) fn new(name: &str) -> Self {
        let bucket = Bucket::new(RATE, Instant::now());
        Self {
            name: name.to_owned(),
            gate: Mutex::new(Gate { bucket, left_out: Tally::default() }),
        }
    }

    /// Writes a log line of the plugin, unless there are too many.
    pub(crate) fn write(&self, level: i32, target: &str, message: &str) {
        if !is_logged(level) || !self.may_write() {
            return;
        }
        let (device, target) = (&self.name, excerpt(target));
        let message = excerpt(message);
        match level {
            abi::LOG_ERROR => error!(device, plugin = target, "{message}"),
            abi::LOG_WARN => warn!(device, plugin = target, "{message}"),
            abi::LOG_INFO => info!(device, plugin = target, "{message}"),
            abi::LOG_DEBUG => debug!(device, plugin = target, "{message}"),
            _ => trace!(device, plugin = target, "{message}"),
        }
    }

    /// Returns whether one more line may be written about this device.
    pub(crate) fn may_write(&self) -> bool {
        let now = Instant::now();
        let mut gate = lock(&self.gate);
        if gate.bucket.take(now) {
            return true;
        }
        if let Some(lines) = gate.left_out.count(now) {
            warn!(device = self.name, lines, "the plugin floods the log; lines left out");
        }
        false
    }

    /// Returns how many lines were left out.
    pub(crate) fn left_out(&self) -> u64 {
        lock(&self.gate).left_out.total()
    }
}

/// A plugin as a whole has a log and no device.
impl HostCalls for PluginLog {
    fn log(&self, level: i32, target: &str, message: &str) {
        self.write(level, target, message);
    }

    fn is_logged(&self, level: i32) -> bool {
        is_logged(level)
    }

    fn publish(&self, _: &str, _: &str) -> i32 {
        abi::ERR_GONE
    }

    fn complete(&self, _: Completion) -> i32 {
        abi::ERR_GONE
    }

    fn accept(&self, _: u64, _: Duration) -> i32 {
        abi::ERR_GONE
    }

    fn set_timer(&self, _: u32, _: Option<Duration>) -> i32 {
        abi::ERR_GONE
    }

    fn wake(&self) -> i32 {
        abi::ERR_GONE
    }

    fn unreachable(&self, _: &str) -> i32 {
        abi::ERR_GONE
    }

    fn reachable(&self) -> i32 {
        abi::ERR_GONE
    }

    fn event(&self, _: &str, _: &str) -> i32 {
        abi::ERR_GONE
    }

    fn send(&self, _: Publication<'_>) -> i32 {
        abi::ERR_GONE
    }

    fn add_child(&self, _: &NewChild<'_>) -> Result<Arc<dyn HostCalls>, ChildRefusal> {
        let message = "it is no device".into();
        Err(ChildRefusal { status: abi::ERR_GONE, path: "", message })
    }

    fn remove_child(&self, _: &str) -> i32 {
        abi::ERR_GONE
    }

    fn list_children(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Returns whether the hub's log takes lines of a level.
pub(crate) fn is_logged(level: i32) -> bool {
    match level {
        abi::LOG_ERROR => enabled!(Level::ERROR),
        abi::LOG_WARN => enabled!(Level::WARN),
        abi::LOG_INFO => enabled!(Level::INFO),
        abi::LOG_DEBUG => enabled!(Level::DEBUG),
        _ => enabled!(Level::TRACE),
    }
}

/// Returns as much of a plugin's text as a line or an answer should hold.
pub(crate) fn excerpt(text: &str) -> &str {
    let most = text.len().min(LONGEST);
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

const RATE: Rate = Rate { per_second: 10, burst: 100 };
const LONGEST: usize = 2048;
