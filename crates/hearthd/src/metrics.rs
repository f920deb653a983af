//! What the daemon has counted, in Prometheus's text format (version 0.0.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Write as _},
    sync::Arc,
    time::Duration,
};

use hearthd_core::{Notice, Outcome};

use crate::{device::STATUSES, service::Census};

/// The counters of this life of the daemon. Their number is bounded by the configuration: see [`Metrics::keep_only`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: u64,
    requests: BTreeMap<(Arc<str>, u16), u64>,
    times: BTreeMap<Arc<str>, Histogram>,
    wills: BTreeMap<&'static str, u64>,
}

/// What holds at the moment.
#[derive(Debug)]
pub(crate) struct Present<'a> {
    pub(crate) uptime: Duration,
    pub(crate) online: bool,
    pub(crate) can_store: bool,
    pub(crate) census: &'a Census,
    /// Each device, and whether it is ready.
    pub(crate) devices: &'a [(String, bool)],
    pub(crate) temperatures: &'a [Temperature],
}

/// A temperature that a device reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Temperature {
    pub(crate) device: String,
    pub(crate) property: String,
    pub(crate) celsius: f64,
}

impl Metrics {
    /// Counts what the core tells.
    pub(crate) fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Online { .. } => self.connections += 1,
            Notice::RequestAnswered { device, status, elapsed, .. } => {
                *self.requests.entry((device.clone(), *status)).or_default() += 1;
                self.times.entry(device.clone()).or_default().add(*elapsed);
            }
            _ => {}
        }
    }

    /// Counts an outcome that the hub tells of a will; it tells another one of the same will where what came late says so.
    pub(crate) fn count_will(&mut self, outcome: Outcome) {
        *self.wills.entry(outcome.as_str()).or_default() += 1;
    }

    /// Forgets devices that are not served any more.
    pub(crate) fn keep_only(&mut self, devices: &BTreeSet<&str>) {
        self.requests.retain(|(device, _), _| devices.contains(&**device));
        self.times.retain(|device, _| devices.contains(&**device));
    }

    /// Writes everything.
    pub(crate) fn text(&self, present: &Present<'_>) -> String {
        let mut text = Text::default();
        text.about("hearthd_up", "gauge", "Whether the hub answers.");
        text.sample("hearthd_up", &[], 1);
        text.about("hearthd_build_info", "gauge", "The version of the hub.");
        text.sample("hearthd_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.about("hearthd_uptime_seconds", "gauge", "Time since the hub has started.");
        text.sample("hearthd_uptime_seconds", &[], present.uptime.as_secs());
        text.about(
            "hearthd_broker_connected",
            "gauge",
            "Whether the hub is connected to its broker.",
        );
        text.sample("hearthd_broker_connected", &[], u8::from(present.online));
        text.about(
            "hearthd_broker_connections_total",
            "counter",
            "How often the hub has connected.",
        );
        text.sample("hearthd_broker_connections_total", &[], self.connections);
        text.about("hearthd_store_writable", "gauge", "Whether the hub can write its state.");
        text.sample("hearthd_store_writable", &[], u8::from(present.can_store));
        self.requests(&mut text);
        devices(&mut text, present);
        text.about(
            "hearthd_wills_total",
            "counter",
            "Outcomes that the hub has told of its wills; one that it corrects counts again.",
        );
        for outcome in
            [Outcome::NotPublished, Outcome::Consumed, Outcome::Unconsumed, Outcome::Unknown]
        {
            let count = self.wills.get(outcome.as_str()).copied().unwrap_or_default();
            text.sample("hearthd_wills_total", &[("outcome", outcome.as_str())], count);
        }
        text.0
    }

    fn requests(&self, text: &mut Text) {
        text.about("hearthd_requests_total", "counter", "Requests that were answered, by status.");
        for ((device, status), count) in &self.requests {
            let labels = [("device", &**device), ("status", &status.to_string())];
            text.sample("hearthd_requests_total", &labels, count);
        }
        let name = "hearthd_request_duration_seconds";
        text.about(name, "histogram", "Time from a request's arrival to its answer.");
        for (device, histogram) in &self.times {
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().zip(&histogram.counts) {
                below += count;
                let labels = [("device", &**device), ("le", &bound.to_string())];
                text.sample(&format!("{name}_bucket"), &labels, below);
            }
            let labels = [("device", &**device), ("le", "+Inf")];
            text.sample(&format!("{name}_bucket"), &labels, histogram.count);
            text.sample(&format!("{name}_sum"), &labels[..1], histogram.sum.as_secs_f64());
            text.sample(&format!("{name}_count"), &labels[..1], histogram.count);
        }
    }
}

fn devices(text: &mut Text, present: &Present<'_>) {
    text.about("hearthd_devices", "gauge", "Devices by their status.");
    for status in STATUSES {
        let count = present.census.get(status).copied().unwrap_or_default();
        text.sample("hearthd_devices", &[("status", status)], count);
    }
    text.about("hearthd_device_ready", "gauge", "Whether a device is ready.");
    for (device, is_ready) in present.devices {
        text.sample("hearthd_device_ready", &[("device", device)], u8::from(*is_ready));
    }
    text.about("hearthd_temperature_celsius", "gauge", "Temperatures that devices report.");
    for Temperature { device, property, celsius } in present.temperatures {
        let labels = [("device", &**device), ("property", &**property)];
        text.sample("hearthd_temperature_celsius", &labels, celsius);
    }
}

/// Counts of times, each below its bound and not below the one before.
#[derive(Clone, Debug, Default)]
struct Histogram {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(place) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.counts[place] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
    }
}

/// The text so far.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn about(&mut self, name: &str, kind: &str, what: &str) {
        self.line(format_args!("# HELP {name} {what}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// IDs, statuses and versions have no character that a label would have to escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }
}

/// The upper bounds of the times, in seconds.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(device: &str, status: u16, millis: u64) -> Notice {
        Notice::RequestAnswered {
            device: device.into(),
            property: "power".into(),
            status,
            elapsed: Duration::from_millis(millis),
            failure: None,
        }
    }

    fn text(metrics: &Metrics) -> String {
        metrics.text(&Present {
            uptime: Duration::from_secs(7),
            online: true,
            can_store: false,
            census: &Census::from([("ready", 2), ("failed", 1)]),
            devices: &[("lamp".into(), true), ("heating".into(), false)],
            temperatures: &[Temperature {
                device: "heating".into(),
                property: "current_temperature".into(),
                celsius: 20.5,
            }],
        })
    }

    #[track_caller]
    fn check(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn requests_are_counted_by_device_and_status_and_their_times_add_up() {
        let mut metrics = Metrics::default();
        for (device, status, millis) in
            [("lamp", 200, 5), ("lamp", 200, 6), ("lamp", 503, 11_000), ("heating", 200, 1)]
        {
            metrics.note(&answered(device, status, millis));
        }
        check(
            &text(&metrics),
            &[
                "hearthd_requests_total{device=\"lamp\",status=\"200\"} 2",
                "hearthd_requests_total{device=\"lamp\",status=\"503\"} 1",
                "hearthd_request_duration_seconds_bucket{device=\"lamp\",le=\"0.005\"} 1",
                "hearthd_request_duration_seconds_bucket{device=\"lamp\",le=\"0.01\"} 2",
                "hearthd_request_duration_seconds_bucket{device=\"lamp\",le=\"10\"} 2",
                "hearthd_request_duration_seconds_bucket{device=\"lamp\",le=\"+Inf\"} 3",
                "hearthd_request_duration_seconds_sum{device=\"lamp\"} 11.011",
                "hearthd_request_duration_seconds_count{device=\"lamp\"} 3",
            ],
        );
        metrics.keep_only(&BTreeSet::from(["heating"]));
        assert!(!text(&metrics).contains("device=\"lamp\",status"), "a device that is gone");
    }

    #[test]
    fn the_present_is_told_and_every_outcome_and_status_has_a_line() {
        let mut metrics = Metrics::default();
        metrics.note(&Notice::Online { session_present: true });
        metrics.count_will(Outcome::Consumed);
        check(
            &text(&metrics),
            &[
                "hearthd_uptime_seconds 7",
                "hearthd_broker_connected 1",
                "hearthd_broker_connections_total 1",
                "hearthd_store_writable 0",
                "hearthd_devices{status=\"ready\"} 2",
                "hearthd_devices{status=\"quarantined\"} 0",
                "hearthd_device_ready{device=\"heating\"} 0",
                "hearthd_temperature_celsius{device=\"heating\",property=\"current_temperature\"} 20.5",
                "hearthd_wills_total{outcome=\"consumed\"} 1",
                "hearthd_wills_total{outcome=\"unknown\"} 0",
            ],
        );
    }
}
