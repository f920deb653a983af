//! What is wrong with a configuration beyond its types.

use hearthd_confirm::{Backend, Problem, Property};
use hearthd_sdk::Problems;
use hearthd_sdk::Span;

use super::{Actuator, BackendName, Config, SimulatedRoom, Switch, WindowTable};
use crate::preset::Presets;
use crate::setting::{TARGET, TARGET_STEP};

/// A number of the table: its place, itself, and the range that it must be in.
type Number = (&'static str, f64, (f64, f64), &'static str);
/// A duration of the table, likewise.
type Length = (&'static str, Span, (Span, Span));

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        for (path, value, (min, max), unit) in self.numbers() {
            if !(min..=max).contains(&value) {
                problems.add(path, format!("{value} is not within {min} to {max} {unit}"));
            }
        }
        for (path, span, (min, max)) in self.lengths() {
            if span < min || span > max {
                problems.add(path, format!("{span} is not within {min} to {max}"));
            }
        }
        for (path, target) in self.targets() {
            if let Some(problem) = no_target(target) {
                problems.add(path, problem);
            }
        }
        self.schedule.read(problems, no_target);
        if let Err(error) = self.time_zone() {
            problems.add("time_zone", error.to_string());
        }
        self.check_times(problems);
        match self.backend {
            BackendName::Simulated => self.check_unused(problems),
            BackendName::Hardware => self.check_hardware(problems),
        }
    }

    fn numbers(&self) -> Vec<Number> {
        let SimulatedRoom { start, outside, heating_rate, loss } = self.simulated;
        let mut numbers = vec![
            ("hysteresis", self.hysteresis, (0.0, 5.0), "K"),
            ("gain", self.gain, (0.01, 10.0), "1/K"),
            ("jump", self.jump, (0.5, 50.0), "K"),
            ("spread", self.spread, (0.1, 20.0), "K"),
            ("frost", self.frost, (-40.0, 15.0), "°C"),
            ("simulated.start", start, (-40.0, 60.0), "°C"),
            ("simulated.outside", outside, (-40.0, 60.0), "°C"),
            ("simulated.heating_rate", heating_rate, (0.0, 10.0), "K/s"),
            ("simulated.loss", loss, (0.0, 1.0), "1/s"),
        ];
        if let Some(WindowTable { fall, .. }) = self.window {
            numbers.push(("window.fall", fall, (0.2, 10.0), "K"));
        }
        numbers
    }

    fn lengths(&self) -> Vec<Length> {
        let zero = Span::seconds(0);
        let mut lengths = vec![
            ("cycle", self.cycle, (Span::minutes(1), Span::hours(2))),
            ("integral_time", self.integral_time, (Span::minutes(1), Span::hours(48))),
            ("rest", self.rest, (Span::seconds(1), Span::hours(24))),
            ("frozen_after", self.frozen_after, (Span::minutes(10), Span::hours(168))),
            (
                "presets.boost_duration",
                self.presets.boost_duration,
                (Span::minutes(1), Span::hours(24)),
            ),
        ];
        for (path, span) in [("min_on", self.min_on), ("min_off", self.min_off)] {
            lengths.extend(span.map(|span| (path, span, (zero, Span::hours(1)))));
        }
        let longest = self
            .max_heating
            .map(|span| ("max_heating", span, (Span::minutes(5), Span::hours(168))));
        lengths.extend(longest);
        let timeout = self
            .valve_timeout
            .map(|span| ("valve_timeout", span, (Span::minutes(1), Span::hours(48))));
        lengths.extend(timeout);
        if let Some(WindowTable { within, pause, .. }) = self.window {
            let minute = Span::minutes(1);
            lengths.push(("window.within", within, (minute, Span::hours(1))));
            lengths.push(("window.pause", pause, (minute, Span::hours(12))));
        }
        let least_period = match self.backend {
            BackendName::Simulated => Span(std::time::Duration::from_millis(10)),
            // A DS18B20 takes 0.75 s for a reading.
            BackendName::Hardware => Span::seconds(2),
        };
        let most_period = match self.backend {
            BackendName::Simulated => Span::hours(1),
            BackendName::Hardware => Span::minutes(5),
        };
        lengths.push(("period", self.period, (least_period, most_period)));
        lengths
    }

    fn targets(&self) -> [(&'static str, f64); 5] {
        let Presets { comfort, eco, away, boost, boost_duration: _ } = self.presets;
        [
            ("initial_target", self.initial_target),
            ("presets.comfort", comfort),
            ("presets.eco", eco),
            ("presets.away", away),
            ("presets.boost", boost),
        ]
    }

    /// Checks durations against each other.
    fn check_times(&self, problems: &mut Problems) {
        let limits = self.rules().limits;
        let (min_on, min_off) = (Span(limits.min_on), Span(limits.min_off));
        if self.cycle.0 < limits.min_on + limits.min_off {
            let message =
                format!("{} has no room for min_on ({min_on}) and min_off ({min_off})", self.cycle);
            problems.add("cycle", message);
        }
        if self.max_heating.is_some_and(|longest| longest < min_on) {
            problems.add("max_heating", format!("shorter than min_on ({min_on})"));
        }
    }

    fn check_unused(&self, problems: &mut Problems) {
        let unused = [("sensors", !self.sensors.is_empty()), ("actuator", self.actuator.is_some())];
        for (path, _) in unused.into_iter().filter(|(_, given)| *given) {
            problems.add(path, "the simulated room has its own; write backend = \"hardware\"");
        }
    }

    /// Checks what only a radiator valve has, and what it does by itself.
    fn check_valve(&self, problems: &mut Problems) {
        let is_valve = self.has_valve();
        let by_mqtt = self.remote().is_some();
        if is_valve && !by_mqtt && self.actuator.as_ref().is_some_and(|a| a.switch().is_some()) {
            let message = "a radiator valve is reached by zigbee2mqtt, esphome or topics";
            problems.add("actuator.valve", message);
        }
        if !is_valve && self.valve_timeout.is_some() {
            problems.add("valve_timeout", "there is no valve; a valve is actuator.valve = true");
        }
        let by_itself = [
            ("min_on", self.min_on.is_some()),
            ("min_off", self.min_off.is_some()),
            ("max_heating", self.max_heating.is_some()),
        ];
        for (key, _) in by_itself.into_iter().filter(|(_, given)| is_valve && *given) {
            problems.add(key, "a radiator valve heats by itself");
        }
    }

    fn check_hardware(&self, problems: &mut Problems) {
        self.check_valve(problems);
        if self.sensors.is_empty() && !self.has_valve() {
            let message = "at least one is needed; `hearthd doctor --devices` lists those present";
            problems.add("sensors", message);
        }
        for (n, sensor) in self.sensors.iter().enumerate() {
            for (place, message) in sensor.problems() {
                let dot = if place.is_empty() { "" } else { "." };
                problems.add(format!("sensors[{n}]{dot}{place}"), message);
            }
        }
        let switch = self.actuator.as_ref().map(Actuator::switch);
        let found = match switch {
            Some(Some(Switch::Output(wiring))) => wiring.problems(),
            Some(Some(Switch::Command(command))) => command.problems(&["power"]),
            Some(Some(Switch::Simulated)) => Vec::new(),
            Some(Some(Switch::Remote(backend))) => switch_problems(&backend),
            Some(Some(Switch::Valve(backend))) => valve_problems(&backend),
            Some(None) | None => {
                let message = "name one of gpio, led, pwm, command, zigbee2mqtt, tasmota, shelly, \
                               esphome, wled, topics, simulated";
                problems.add("actuator", message);
                return;
            }
        };
        for (place, message) in found {
            problems.add(format!("actuator.{place}"), message);
        }
    }
}

/// Returns what is wrong with a heater that is switched by MQTT.
fn switch_problems(backend: &Backend) -> Vec<Problem> {
    let sleepy = match backend {
        Backend::Zigbee2Mqtt(table) => table.sleepy.then_some("zigbee2mqtt.sleepy"),
        Backend::Topics(table) => table.sleepy.then_some("topics.sleepy"),
        Backend::Tasmota(_) | Backend::Shelly(_) | Backend::Esphome(_) | Backend::Wled(_) => None,
    };
    let sleepy = sleepy.map(|place| {
        let message = "a heater that sleeps cannot be switched off when it has to be; a radiator \
                       valve says valve = true";
        (place, message.to_owned())
    });
    let mut problems = remote_problems(backend, Property::Power, "be switched on and off");
    problems.extend(sleepy);
    problems
}

/// Returns what is wrong with a radiator valve.
fn valve_problems(backend: &Backend) -> Vec<Problem> {
    remote_problems(backend, Property::Setpoint, "be given a target")
}

fn remote_problems(backend: &Backend, property: Property, what: &str) -> Vec<Problem> {
    if matches!(backend, Backend::Zigbee2Mqtt(table) if !table.members.is_empty()) {
        let message = "a group is no actuator; name one device";
        return vec![("zigbee2mqtt.members", message.to_owned())];
    }
    let mut problems = backend.problems();
    if problems.is_empty() && !backend.has(property) {
        problems.push((backend.family(), format!("this device cannot {what}")));
    }
    problems
}

/// Says why a temperature cannot be a target.
fn no_target(target: f64) -> Option<String> {
    let (min, max) = TARGET;
    if !(min..=max).contains(&target) {
        return Some(format!("{target} is not within {min} to {max} °C"));
    }
    let steps = target / TARGET_STEP;
    (steps.fract() != 0.0).then(|| format!("{target} is not a multiple of {TARGET_STEP} °C"))
}
