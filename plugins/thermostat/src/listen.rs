//! The sensors that say something by MQTT when they like.

use std::time::Duration;

use hearthd_confirm::{Heard, Message, Now, Reading, Sensor};
use hearthd_sdk::mqtt;

use crate::config::Config;
use crate::config::sensor::SensorTable;
use crate::control::fusion::PLAUSIBLE;
use crate::setting::Remembered;

/// The sensors of one thermostat that say something by MQTT.
#[derive(Debug)]
pub(crate) struct Listeners {
    list: Vec<Listener>,
    /// What tells this boot of the machine from others.
    boot: Option<String>,
}

/// What a message came to for one sensor.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) sensor: usize,
    /// °C, and when it was so, on the monotonic clock.
    pub(crate) reading: Option<(f64, Duration)>,
    /// What is wrong with the message.
    pub(crate) remark: Option<String>,
}

#[derive(Debug)]
struct Listener {
    /// Its place among all sensors.
    sensor: usize,
    pointer: String,
    offset: f64,
    /// How much newer a reading has to be to be remembered in place of another.
    step: Duration,
    temperature: Sensor,
    humidity: Option<Sensor>,
    battery: Option<Sensor>,
}

const PERCENT: (f64, f64) = (0.0, 100.0);

impl Listeners {
    pub(crate) fn new(config: &Config) -> Self {
        let boot = std::fs::read_to_string(config.root.path("/proc/sys/kernel/random/boot_id"));
        let list = config.sensors.iter().enumerate();
        Self {
            list: list.filter_map(|(n, table)| Listener::new(n, table)).collect(),
            boot: boot.ok().map(|id| id.trim().to_owned()),
        }
    }

    /// Takes in what was heard before a restart, in this boot of the machine.
    pub(crate) fn recall(&mut self, remembered: &[Remembered], now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        for listener in &mut self.list {
            let Some(last) = remembered.iter().find(|last| listener.is_of(last)) else { continue };
            if Some(&last.boot) != self.boot.as_ref() || last.said > now {
                continue;
            }
            listener.temperature.recall(last.value, last.said);
            let reading = listener.reading();
            told.push(Told { sensor: listener.sensor, reading, remark: None });
        }
        told
    }

    /// Takes in a message.
    pub(crate) fn handle(&mut self, now: Now, message: &mqtt::Message) -> Vec<Told> {
        let mqtt::Message { topic, payload, retained } = message.clone();
        let message = Message { topic, payload, retained };
        self.list.iter_mut().filter_map(|listener| listener.handle(now, &message)).collect()
    }

    /// Puts what was heard where it outlives the device; seldom, as each time wears the disk.
    pub(crate) fn remember(&self, remembered: &mut Vec<Remembered>) {
        let Some(boot) = &self.boot else { return };
        for listener in &self.list {
            let Some((value, said)) = listener.temperature.last() else { continue };
            let known = remembered.iter().position(|last| listener.is_of(last));
            let is_recent = |last: &Remembered| {
                last.boot == *boot && last.said <= said && said < last.said + listener.step
            };
            if known.is_some_and(|known| is_recent(&remembered[known])) {
                continue;
            }
            let topic = listener.temperature.declared_topic().to_owned();
            let pointer = listener.pointer.clone();
            let new = Remembered { topic, pointer, value, said, boot: boot.clone() };
            match known {
                Some(known) => remembered[known] = new,
                None => remembered.push(new),
            }
        }
        remembered.retain(|last| self.list.iter().any(|listener| listener.is_of(last)));
    }

    /// Returns the mean of the humidities that are known, in percent.
    pub(crate) fn humidity(&self, now: Duration) -> Option<f64> {
        let fresh =
            self.list.iter().filter_map(|listener| match listener.humidity.as_ref()?.read(now) {
                Reading::Fresh(value) => Some(value),
                Reading::Unknown | Reading::Stale { .. } => None,
            });
        let (count, sum) = fresh.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
        (count > 0.0).then(|| sum / count)
    }

    /// Returns the charge of the emptiest battery, in percent; it is said more seldom than all else, and keeps longer.
    pub(crate) fn battery(&self) -> Option<f64> {
        let last = self.list.iter().filter_map(|listener| listener.battery.as_ref()?.last());
        last.map(|(value, _)| value).min_by(f64::total_cmp)
    }
}

impl Listener {
    fn new(sensor: usize, table: &SensorTable) -> Option<Self> {
        let mqtt = table.mqtt.as_ref()?;
        let percent = |pointer: &Option<String>| {
            let sensor = Sensor::new(mqtt.at(pointer.as_deref()?));
            Some(sensor.within(PERCENT.0, PERCENT.1))
        };
        Some(Self {
            sensor,
            pointer: mqtt.pointer.clone(),
            offset: table.offset,
            step: mqtt.max_age.0 / 6,
            temperature: Sensor::new(mqtt.temperature()).within(PLAUSIBLE.0, PLAUSIBLE.1),
            humidity: percent(&mqtt.humidity),
            battery: percent(&mqtt.battery),
        })
    }

    fn is_of(&self, remembered: &Remembered) -> bool {
        let Remembered { topic, pointer, .. } = remembered;
        self.temperature.declared_topic() == topic && self.pointer == *pointer
    }

    fn handle(&mut self, now: Now, message: &Message) -> Option<Told> {
        let heard = self.temperature.handle(now, message);
        let others = [("humidity", &mut self.humidity), ("battery", &mut self.battery)];
        let mut wrong = Vec::new();
        for (name, sensor) in others {
            let other = sensor.as_mut().map(|sensor| sensor.handle(now, message));
            if let (Some(Heard::Wrong(reason)), Heard::Taken | Heard::Absent) = (other, &heard) {
                wrong.push(format!("{name}: {reason}"));
            }
        }
        let taken = heard == Heard::Taken;
        match heard {
            Heard::Ignored => return None,
            Heard::Taken => {}
            Heard::Absent if self.temperature.last().is_none() => {
                wrong.insert(0, format!("a message has nothing at \"{}\"", self.pointer));
            }
            // It is about something else.
            Heard::Absent if wrong.is_empty() => return None,
            Heard::Absent => {}
            Heard::Wrong(reason) => wrong.insert(0, reason),
        }
        let remark = (!wrong.is_empty()).then(|| wrong.join(", "));
        let reading = self.reading().filter(|_| taken);
        Some(Told { sensor: self.sensor, reading, remark })
    }

    /// Returns the temperature that was last heard, corrected, and when it was so.
    fn reading(&self) -> Option<(f64, Duration)> {
        self.temperature.last().map(|(value, said)| (value + self.offset, said))
    }
}
