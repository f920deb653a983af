//! The heater and the thermometers, real or computed.

use std::fmt::Debug;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hearthd_hardware::{Root, Thermometer};
use hearthd_output::{DriveError, Output, OutputCommand};
use hearthd_sdk::{Context, Failure, mqtt};

use crate::config::sensor::SensorTable;
use crate::config::{Actuator, Config, Switch};
use crate::remote::{Asker, Followed, RemoteSwitch, Trouble};
use crate::room::Room;
use crate::valve::{RemoteValve, ValveState};

/// What a sensor said.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) sensor: usize,
    /// On the monotonic clock.
    pub(crate) at: Duration,
    /// °C, or why there is none.
    pub(crate) value: Result<f64, String>,
}

/// The thermometers and the heater of one room; the heater is switched off when it is dropped.
#[derive(Debug)]
pub(crate) struct Heating {
    plant: Plant,
    /// What the heater was last made to do; none where that is not known.
    driven: Option<bool>,
    /// Why it did not follow.
    trouble: Option<Trouble>,
}

#[derive(Debug)]
enum Plant {
    Simulated { room: Room, heating: bool, at: Duration },
    Hardware { sensors: Sensors, heater: Heater },
}

#[derive(Debug)]
enum Heater {
    Output(Output),
    Command(OutputCommand),
    Simulated,
    Remote(Box<RemoteSwitch>),
    Valve(Box<RemoteValve>),
}

/// The thermometers, each with a thread: a sensor that hangs in the kernel holds up nothing but itself.
#[derive(Debug)]
struct Sensors {
    triggers: Vec<SyncSender<()>>,
    readings: Receiver<Reading>,
}

impl Heating {
    /// Makes the room that the configuration names, and switches the heater off before anything can fail.
    pub(crate) fn open(config: &Config, context: &Context) -> Result<Self, Failure> {
        if let Some(room) = config.room() {
            let plant = Plant::Simulated { room, heating: false, at: context.now() };
            return Ok(Self { plant, driven: None, trouble: None });
        }
        let switch = config.actuator.as_ref().and_then(Actuator::switch);
        let consumer = format!("hearthd {}", context.device_id());
        let mut heater = match switch.ok_or_else(|| Failure::invalid("no actuator"))? {
            Switch::Output(wiring) => {
                Heater::Output(Output::new(wiring, config.root.clone(), consumer))
            }
            Switch::Command(command) => Heater::Command(command),
            Switch::Simulated => Heater::Simulated,
            Switch::Remote(backend) => {
                let switch = RemoteSwitch::new(backend, context.clone(), config.period.0);
                Heater::Remote(Box::new(switch))
            }
            Switch::Valve(backend) => {
                let valve = RemoteValve::new(backend, context.clone(), config.valve_timeout());
                Heater::Valve(Box::new(valve))
            }
        };
        // What fails here is tried again by the first look, which says why.
        let by_mqtt = matches!(heater, Heater::Remote(_) | Heater::Valve(_));
        let driven = (!by_mqtt && heater.drive(false).is_ok()).then_some(false);
        let thermometers = config.sensors.iter().map(SensorTable::thermometer).enumerate();
        let thermometers = thermometers.filter_map(|(n, thermometer)| Some((n, thermometer?)));
        let sensors = Sensors::start(thermometers.collect(), &config.root, context)?;
        Ok(Self { plant: Plant::Hardware { sensors, heater }, driven, trouble: None })
    }

    /// Switches the heater; a failure is tried again by the next call, and by MQTT after a period.
    ///
    /// An output is driven each time, whatever it was last made to do: others can reach it too.
    pub(crate) fn heat(&mut self, on: bool, asker: Asker) -> Followed {
        let known = self.driven.replace(on) == Some(on);
        match &mut self.plant {
            Plant::Simulated { heating, .. } => {
                *heating = on;
                if !known {
                    tracing::debug!(on, "simulated heater");
                }
            }
            Plant::Hardware { heater: Heater::Command(_) | Heater::Simulated, .. } if known => {}
            Plant::Hardware { heater: Heater::Remote(switch), .. } => {
                let followed = switch.want(on, asker);
                (self.driven, self.trouble) = (switch.known(), switch.trouble());
                return followed;
            }
            // It keeps its own target.
            Plant::Hardware { heater: Heater::Valve(_), .. } => {}
            Plant::Hardware { heater, .. } => {
                if let Err(error) = heater.drive(on) {
                    let error = error.of("actuator");
                    let unreachable = error.is_unreachable();
                    self.driven = None;
                    self.trouble = Some(Trouble { reason: error.to_string(), unreachable });
                    return Followed::No(error.failure());
                }
            }
        }
        self.trouble = None;
        Followed::Yes
    }

    /// Returns what the heater does, where that is known.
    pub(crate) fn driven(&self) -> Option<bool> {
        self.driven
    }

    /// Returns what is wrong with the heater.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Forgets what the heater does, so that it is switched again.
    pub(crate) fn doubt(&mut self) {
        self.driven = None;
        match self.heater() {
            Some(Heater::Remote(switch)) => switch.doubt(),
            Some(Heater::Valve(valve)) => valve.doubt(),
            Some(Heater::Output(_) | Heater::Command(_) | Heater::Simulated) | None => {}
        }
    }

    /// Has a radiator valve heat to a target in °C; returns why it cannot, where that is known at once.
    pub(crate) fn turn(&mut self, target: f64) -> Followed {
        let Some(valve) = self.valve() else { return Followed::Yes };
        let result = valve.want(target);
        self.trouble = valve.trouble();
        result.map_or_else(Followed::No, |()| Followed::Yes)
    }

    /// Returns what the radiator valve is known to be, where the heater is one.
    pub(crate) fn valve_state(&self) -> Option<ValveState> {
        match &self.plant {
            Plant::Hardware { heater: Heater::Valve(valve), .. } => Some(valve.state()),
            Plant::Hardware { .. } | Plant::Simulated { .. } => None,
        }
    }

    pub(crate) fn link(&mut self, up: bool) {
        match self.heater() {
            Some(Heater::Remote(switch)) => switch.link(up),
            Some(Heater::Valve(valve)) => valve.link(up),
            Some(Heater::Output(_) | Heater::Command(_) | Heater::Simulated) | None => {}
        }
    }

    pub(crate) fn message(&mut self, message: &mqtt::Message) {
        match self.heater() {
            Some(Heater::Remote(switch)) => switch.message(message),
            Some(Heater::Valve(valve)) => valve.message(message),
            Some(Heater::Output(_) | Heater::Command(_) | Heater::Simulated) | None => {}
        }
    }

    pub(crate) fn outcome(&mut self, token: u64, result: Result<&[u8], mqtt::PublishError>) {
        match self.heater() {
            Some(Heater::Remote(switch)) => switch.outcome(token, result),
            Some(Heater::Valve(valve)) => valve.outcome(token, result),
            Some(Heater::Output(_) | Heater::Command(_) | Heater::Simulated) | None => {}
        }
    }

    /// Handles that the timer of a heater on MQTT has run out.
    pub(crate) fn timer(&mut self) {
        match self.heater() {
            Some(Heater::Remote(switch)) => switch.timer(),
            Some(Heater::Valve(valve)) => valve.timer(),
            Some(Heater::Output(_) | Heater::Command(_) | Heater::Simulated) | None => {}
        }
    }

    fn heater(&mut self) -> Option<&mut Heater> {
        match &mut self.plant {
            Plant::Hardware { heater, .. } => Some(heater),
            Plant::Simulated { .. } => None,
        }
    }

    fn valve(&mut self) -> Option<&mut RemoteValve> {
        match self.heater()? {
            Heater::Valve(valve) => Some(valve),
            Heater::Output(_) | Heater::Command(_) | Heater::Simulated | Heater::Remote(_) => None,
        }
    }

    /// Asks each thermometer for a reading; a real one answers later, and wakes the device.
    pub(crate) fn ask(&mut self) {
        match &self.plant {
            Plant::Simulated { .. } => {}
            Plant::Hardware { sensors, .. } => sensors.trigger(),
        }
    }

    /// Returns the readings that have come.
    pub(crate) fn readings(&mut self, now: Duration) -> Vec<Reading> {
        match &mut self.plant {
            Plant::Simulated { room, heating, at } => {
                let passed = now.saturating_sub(*at);
                *at = now.max(*at);
                let value = Ok(room.advance(passed, *heating));
                vec![Reading { sensor: 0, at: now, value }]
            }
            Plant::Hardware { sensors, .. } => sensors.readings.try_iter().collect(),
        }
    }
}

impl Drop for Heating {
    fn drop(&mut self) {
        self.doubt();
        if let Followed::No(failure) = self.heat(false, Asker::Control)
            && self.driven != Some(false)
        {
            tracing::error!(%failure, "the heater may still be on");
        }
    }
}

impl Heater {
    fn drive(&mut self, on: bool) -> Result<(), DriveError> {
        match self {
            Self::Output(output) => {
                output.drive(if on { 1.0 } else { 0.0 }).map_err(DriveError::from)
            }
            Self::Command(command) => {
                let word = if on { "on" } else { "off" };
                command.run(&[("power", word.to_owned())]).map_err(DriveError::from)
            }
            Self::Simulated => {
                tracing::info!(on, "simulated actuator");
                Ok(())
            }
            // They are told once there is a connection.
            Self::Remote(_) | Self::Valve(_) => Ok(()),
        }
    }
}

impl Sensors {
    /// Starts a thread for each thermometer; it ends once this is dropped and its reading is over.
    ///
    /// Nobody waits for that end: a reading may hang in the kernel for as long as it likes.
    fn start(
        thermometers: Vec<(usize, Thermometer)>,
        root: &Root,
        context: &Context,
    ) -> Result<Self, Failure> {
        let (sender, readings) = sync_channel(thermometers.len().max(1));
        let mut triggers = Vec::with_capacity(thermometers.len());
        for (sensor, thermometer) in thermometers {
            let (trigger, triggered) = sync_channel(1);
            let (sender, root, context) = (sender.clone(), root.clone(), context.clone());
            let read = move || {
                while let Ok(()) = triggered.recv() {
                    let value = thermometer.read(&root).map_err(|error| error.to_string());
                    if sender.send(Reading { sensor, at: context.now(), value }).is_err() {
                        return;
                    }
                    context.wake();
                }
            };
            std::thread::Builder::new()
                .name(format!("sensor {sensor}"))
                .spawn(read)
                .map_err(|error| Failure::failed(format!("start a thread: {error}")))?;
            triggers.push(trigger);
        }
        Ok(Self { triggers, readings })
    }

    fn trigger(&self) {
        for trigger in &self.triggers {
            // Full: the thermometer is still at its last reading.
            let _ = trigger.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_switches_the_heater_off() {
        let machine = hearthd_machine::Machine::new().with_led("boiler", 1, 0);
        let wiring = hearthd_output::Wiring::Led(hearthd_output::Led { name: "boiler".into() });
        let output = Output::new(wiring, machine.root(), "test");
        let (_, readings) = sync_channel(1);
        let sensors = Sensors { triggers: Vec::new(), readings };
        let plant = Plant::Hardware { sensors, heater: Heater::Output(output) };
        let mut heating = Heating { plant, driven: None, trouble: None };
        assert!(matches!(heating.heat(true, Asker::Control), Followed::Yes));
        assert_eq!(machine.led("boiler"), "1");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _heating = heating;
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        assert_eq!(machine.led("boiler"), "0");
    }
}
