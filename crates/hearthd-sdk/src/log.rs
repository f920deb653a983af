//! Passes `tracing` events and panics on to the hub's log.

use std::backtrace::Backtrace;
use std::fmt::{self, Write};
use std::panic;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::{abi, scope};

/// Directs the events and the panics of this copy of the plugin to the hub.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // In a test a subscriber of the test's own may have come first; it may stay.
        let _ = tracing::subscriber::set_global_default(HostLog);
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| match scope::device_host() {
            Some(host) => {
                host.log(abi::LOG_ERROR, module_path!(), &panic_line(info));
                // Only where the environment asks for it, as `hearthd plugin try` does.
                for call in calls_before(&Backtrace::capture().to_string()) {
                    host.log(abi::LOG_ERROR, module_path!(), &call);
                }
            }
            None => previous(info),
        }));
    });
}

/// The subscriber of a plugin: events only, spans are ignored.
struct HostLog;

impl Subscriber for HostLog {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The hub's level can change while it runs, and differs between devices.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && scope::log_host().is_some_and(|host| host.log_enabled(level(metadata.level())))
    }

    fn event(&self, event: &Event<'_>) {
        let Some(host) = scope::log_host() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        host.log(level(metadata.level()), metadata.target(), &(line.message + &line.fields));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The message of an event, and its fields as ` key=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
        written.expect("a String takes everything");
    }
}

fn level(level: &Level) -> i32 {
    match *level {
        Level::ERROR => abi::LOG_ERROR,
        Level::WARN => abi::LOG_WARN,
        Level::INFO => abi::LOG_INFO,
        Level::DEBUG => abi::LOG_DEBUG,
        Level::TRACE => abi::LOG_TRACE,
    }
}

/// Returns the calls of the device's own code that led to a panic, the last one first, each with its place.
fn calls_before(backtrace: &str) -> Vec<String> {
    let mut calls: Vec<String> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(call) = calls.last_mut() {
                *call = format!("{call} at={place}");
            }
        } else if let Some((_, name)) = line.split_once(": ") {
            if name.starts_with("hearthd_sdk::glue::") {
                break;
            }
            calls.push(format!("  called from {name}"));
        }
    }
    let is_panic = |call: &String| PANICKING.iter().any(|part| call.contains(part));
    let first = calls.iter().rposition(is_panic).map_or(0, |last| last + 1);
    calls.drain(..first);
    calls.truncate(MOST_CALLS);
    calls
}

/// Parts of the names of what stands between a panic and its report.
const PANICKING: [&str; 4] =
    ["std::panicking::", "core::panicking::", "rust_begin_unwind", "__rustc::"];
const MOST_CALLS: usize = 16;

fn panic_line(info: &panic::PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    match info.location() {
        Some(location) => format!("panic: {message} at={location}"),
        None => format!("panic: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_backtrace_the_devices_own_calls_are_told() {
        let backtrace = "   0: hearthd_sdk::log::install::{{closure}}
             at sdk/src/log.rs:30:50
   1: std::panicking::panic_with_hook
   2: __rustc::rust_begin_unwind
   3: core::panicking::panic_fmt
   4: lamp::Lamp::switch
             at ./src/lib.rs:58:9
   5: <lamp::Lamp as hearthd_sdk::device::Device>::set
   6: hearthd_sdk::glue::kind::Instance<D>::set
   7: std::rt::lang_start
";
        let calls = [
            "  called from lamp::Lamp::switch at=./src/lib.rs:58:9",
            "  called from <lamp::Lamp as hearthd_sdk::device::Device>::set",
        ];
        assert_eq!(calls_before(backtrace), calls);
        assert_eq!(calls_before("disabled backtrace"), [""; 0]);
    }
}
