//! Passes `tracing` events and panics on to the hub's log.

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
            Some(host) => host.log(abi::LOG_ERROR, module_path!(), &panic_line(info)),
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
