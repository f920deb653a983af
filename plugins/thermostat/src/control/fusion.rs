//! One temperature out of several sensors, none of which is trusted.

use std::time::Duration;

/// The least and the greatest temperature in °C that a room sensor can mean.
pub(crate) const PLAUSIBLE: (f64, f64) = (-40.0, 85.0);

/// As many readings in a row must agree before a jump is believed.
const READINGS_TO_BELIEVE: u32 = 3;
/// After so long without a reading every temperature is possible.
const JUMP_MEMORY: Duration = Duration::from_secs(600);
/// From this on ages are told in minutes.
const LONG: Duration = Duration::from_secs(600);

/// What a sensor is called, and how it gives its readings.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// How old a reading may be of a sensor that says something when it likes; none of one that is asked every period.
    pub(crate) messages: Option<Duration>,
}

/// When a sensor is not believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    /// A sensor that was not heard of for longer is not used.
    pub(crate) max_age: Duration,
    /// A sensor that reads the same value for so long is frozen.
    pub(crate) frozen_after: Option<Duration>,
    /// A change between two readings by more than this many kelvin is a jump.
    pub(crate) jump: Option<f64>,
    /// Sensors that differ by more than this many kelvin do not measure the same room.
    pub(crate) spread: f64,
}

/// The sensors of one room.
#[derive(Debug)]
pub(crate) struct Fusion {
    sensors: Vec<Sensor>,
    doubt: Doubt,
}

/// The room's temperature, and what is wrong with its sensors.
#[derive(Debug, PartialEq)]
pub(crate) struct Fused {
    pub(crate) temperature: Option<f64>,
    pub(crate) complaints: Vec<String>,
}

#[derive(Debug)]
struct Sensor {
    name: String,
    max_age: Duration,
    frozen_after: Option<Duration>,
    /// When it last gave a reading or a reason; at first, when the watch over it began.
    heard: Duration,
    /// The last reading that was believed.
    believed: Option<Sample>,
    /// When the believed value last differed from the one before.
    changed: Duration,
    /// A value after a jump, and how many readings in a row agreed with it.
    candidate: Option<(f64, u32)>,
    fault: Option<String>,
    /// What is wrong without a reading being so.
    remark: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    value: f64,
    at: Duration,
}

impl Fusion {
    pub(crate) fn new(sources: Vec<Source>, doubt: Doubt, now: Duration) -> Self {
        let sensor = |Source { name, messages }| Sensor {
            name,
            max_age: messages.unwrap_or(doubt.max_age),
            // One that says the same once more has said something all the same.
            frozen_after: doubt.frozen_after.filter(|_| messages.is_none()),
            heard: now,
            believed: None,
            changed: now,
            candidate: None,
            // It may be an hour until it says something, and nobody knows whether it is there.
            fault: messages.map(|_| "nothing was heard of it yet".to_owned()),
            remark: None,
        };
        Self { sensors: sources.into_iter().map(sensor).collect(), doubt }
    }

    /// Returns how many sensors there are.
    pub(crate) fn sensors(&self) -> usize {
        self.sensors.len()
    }

    /// Takes a reading in °C, or why there is none.
    pub(crate) fn observe(&mut self, sensor: usize, at: Duration, reading: Result<f64, String>) {
        let Some(sensor) = self.sensors.get_mut(sensor) else { return };
        sensor.heard = at;
        sensor.fault = match reading {
            Ok(value) => sensor.judge(value, at, self.doubt.jump),
            Err(reason) => {
                sensor.candidate = None;
                Some(reason)
            }
        };
    }

    /// Returns when the newest reading that was believed was taken.
    pub(crate) fn newest(&self) -> Option<Duration> {
        let believed = self.sensors.iter().filter_map(|sensor| sensor.believed);
        believed.map(|sample| sample.at).max()
    }

    /// Takes what is wrong with a sensor although its last reading still counts, or that nothing is.
    pub(crate) fn remark(&mut self, sensor: usize, remark: Option<String>) {
        if let Some(sensor) = self.sensors.get_mut(sensor) {
            sensor.remark = remark;
        }
    }

    /// Returns the mean of the sensors that are believed, without those far from the others.
    pub(crate) fn temperature(&self, now: Duration) -> Fused {
        let mut complaints = Vec::new();
        let mut usable: Vec<(&Sensor, f64)> = Vec::new();
        for sensor in &self.sensors {
            let fault = match sensor.usable(now) {
                Ok(value) => {
                    usable.extend(value.map(|value| (sensor, value)));
                    None
                }
                Err(reason) => Some(reason),
            };
            let reasons: Vec<String> = fault.into_iter().chain(sensor.remark.clone()).collect();
            if !reasons.is_empty() {
                complaints.push(format!("{}: {}", sensor.name, reasons.join(", ")));
            }
        }
        usable.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some(&(_, warmest)) = usable.last() else {
            return Fused { temperature: None, complaints };
        };
        let (coldest, middle) = (usable[0].1, usable[usable.len() / 2].1);
        if warmest - coldest > self.doubt.spread {
            if usable.len() < 3 {
                complaints.push(format!(
                    "the sensors read {coldest:.1} and {warmest:.1} °C; the warmer one counts"
                ));
                return Fused { temperature: Some(warmest), complaints };
            }
            usable.retain(|&(sensor, value)| {
                let near = (value - middle).abs() <= self.doubt.spread;
                if !near {
                    let name = &sensor.name;
                    complaints.push(format!("{name}: {value:.1} °C is far from the others"));
                }
                near
            });
        }
        let sum: f64 = usable.iter().map(|(_, value)| value).sum();
        #[expect(clippy::cast_precision_loss, reason = "a room has a handful of sensors")]
        let mean = sum / usable.len() as f64;
        Fused { temperature: Some(mean), complaints }
    }
}

impl Sensor {
    /// Keeps a reading that can be believed; returns why it cannot.
    fn judge(&mut self, value: f64, at: Duration, jump: Option<f64>) -> Option<String> {
        if !(PLAUSIBLE.0..=PLAUSIBLE.1).contains(&value) {
            self.candidate = None;
            return Some(format!("{value} °C is not a room's temperature"));
        }
        if let (Some(jump), Some(before)) = (jump, self.believed)
            && at.saturating_sub(before.at) < JUMP_MEMORY
            && (value - before.value).abs() > jump
        {
            let agreeing = match self.candidate {
                Some((candidate, count)) if (value - candidate).abs() <= jump => count + 1,
                Some(_) | None => 1,
            };
            self.candidate = Some((value, agreeing));
            if agreeing < READINGS_TO_BELIEVE {
                return Some(format!("jumped from {:.1} to {value:.1} °C", before.value));
            }
        }
        self.candidate = None;
        #[expect(clippy::float_cmp, reason = "a frozen sensor repeats the very same number")]
        if self.believed.is_none_or(|before| before.value != value) {
            self.changed = at;
        }
        self.believed = Some(Sample { value, at });
        let still = at.saturating_sub(self.changed);
        self.frozen_after
            .filter(|&limit| still >= limit)
            .map(|_| format!("frozen: has read exactly {value} °C for {}", minutes(still)))
    }

    /// Returns the value to use, nothing while the first reading is still to come, or what is wrong.
    fn usable(&self, now: Duration) -> Result<Option<f64>, String> {
        let silent = now.saturating_sub(self.heard);
        if silent > self.max_age {
            return Err(if self.max_age >= LONG {
                format!("nothing was heard of it for {} minutes", self.max_age.as_secs() / 60)
            } else {
                format!("no answer for {:.0} s", silent.as_secs_f64())
            });
        }
        match &self.fault {
            Some(reason) => Err(reason.clone()),
            None => Ok(self.believed.map(|sample| sample.value)),
        }
    }
}

fn minutes(time: Duration) -> String {
    format!("{} minutes", time.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn fusion(sensors: usize) -> Fusion {
        let doubt = Doubt {
            max_age: PERIOD * 3 / 2,
            frozen_after: Some(Duration::from_secs(3600)),
            jump: Some(5.0),
            spread: 3.0,
        };
        let source = |n| Source { name: format!("sensors[{n}]"), messages: None };
        Fusion::new((0..sensors).map(source).collect(), doubt, Duration::ZERO)
    }

    /// Gives all sensors a reading at one time and returns what comes of it.
    fn fuse(fusion: &mut Fusion, at: Duration, values: &[f64]) -> Fused {
        for (sensor, &value) in values.iter().enumerate() {
            fusion.observe(sensor, at, Ok(value));
        }
        fusion.temperature(at)
    }

    fn one(values: &[f64]) -> Vec<bool> {
        let mut fusion = fusion(1);
        let used = |(n, &value): (u32, &f64)| {
            fuse(&mut fusion, PERIOD * n, &[value]).temperature.is_some()
        };
        (0..).zip(values).map(used).collect()
    }

    #[test]
    fn several_sensors_are_averaged_and_an_outlier_is_dropped() {
        let fused = fuse(&mut fusion(3), PERIOD, &[20.0, 21.0, 20.5]);
        assert_eq!(fused, Fused { temperature: Some(20.5), complaints: vec![] });
        let fused = fuse(&mut fusion(3), PERIOD, &[20.0, 30.0, 21.0]);
        assert_eq!(fused.temperature, Some(20.5));
        assert_eq!(fused.complaints, ["sensors[1]: 30.0 °C is far from the others"]);
    }

    #[test]
    fn of_two_that_disagree_the_warmer_counts() {
        let fused = fuse(&mut fusion(2), PERIOD, &[15.0, 21.0]);
        assert_eq!(fused.temperature, Some(21.0));
        assert!(fused.complaints[0].contains("15.0 and 21.0"));
    }

    #[test]
    fn one_failed_sensor_of_two_leaves_the_other() {
        let mut fusion = fusion(2);
        fuse(&mut fusion, PERIOD, &[20.0, 21.0]);
        fusion.observe(0, PERIOD * 2, Err("no such file".into()));
        fusion.observe(1, PERIOD * 2, Ok(21.0));
        let expected = vec!["sensors[0]: no such file".to_owned()];
        let fused = fusion.temperature(PERIOD * 2);
        assert_eq!(fused, Fused { temperature: Some(21.0), complaints: expected });
    }

    #[test]
    fn a_silent_sensor_is_dropped_after_one_and_a_half_periods() {
        let mut fusion = fusion(1);
        assert!(fuse(&mut fusion, PERIOD, &[20.0]).temperature.is_some());
        assert!(fusion.temperature(PERIOD * 2).temperature.is_some());
        let fused = fusion.temperature(PERIOD * 3);
        assert_eq!((fused.temperature, fused.complaints.len()), (None, 1));
        assert!(fuse(&mut fusion, PERIOD * 4, &[20.0]).temperature.is_some());
    }

    #[test]
    fn before_the_first_reading_there_is_no_complaint() {
        let fused = fusion(1).temperature(PERIOD);
        assert_eq!(fused, Fused { temperature: None, complaints: vec![] });
    }

    #[test]
    fn a_jump_is_believed_once_three_readings_agree() {
        assert_eq!(one(&[20.0, 40.0, 20.1]), [true, false, true]);
        assert_eq!(one(&[20.0, 40.0, 40.1, 40.0, 40.2]), [true, false, false, true, true]);
        assert_eq!(one(&[20.0, 40.0, 0.0, 40.0, 0.0]), [true, false, false, false, false]);
    }

    #[test]
    fn a_frozen_sensor_is_dropped_and_recovers_with_the_next_change() {
        let mut fusion = fusion(1);
        for n in 0..360 {
            assert!(fuse(&mut fusion, PERIOD * n, &[20.0]).temperature.is_some(), "{n}");
        }
        let frozen = fuse(&mut fusion, PERIOD * 360, &[20.0]);
        assert_eq!(frozen.temperature, None);
        assert!(frozen.complaints[0].contains("exactly 20 °C for 60 minutes"), "{frozen:?}");
        assert!(fuse(&mut fusion, PERIOD * 361, &[20.06]).temperature.is_some());
    }

    #[test]
    fn what_no_room_can_be_is_refused() {
        assert_eq!(one(&[f64::NAN, 120.0, -60.0, 20.0]), [false, false, false, true]);
    }

    /// A sensor that says something once an hour.
    fn messenger() -> Fusion {
        let source = Source { name: "hall".into(), messages: Some(Duration::from_secs(5400)) };
        Fusion::new(vec![source], fusion(1).doubt, Duration::ZERO)
    }

    #[test]
    fn one_that_reports_once_an_hour_or_repeats_itself_is_believed() {
        const HOUR: Duration = Duration::from_secs(3600);
        let mut fusion = messenger();
        assert_eq!(fusion.temperature(PERIOD).complaints, ["hall: nothing was heard of it yet"]);
        for n in 1..100 {
            assert_eq!(fuse(&mut fusion, HOUR * n, &[20.0]).temperature, Some(20.0), "{n}");
            let later = HOUR * n + Duration::from_secs(3590);
            assert_eq!(fusion.temperature(later).temperature, Some(20.0), "{n}");
        }
        assert_eq!(fuse(&mut fusion, HOUR * 100, &[12.0]).temperature, Some(12.0), "an hour later");
        let fused = fusion.temperature(HOUR * 100 + Duration::from_secs(5401));
        let complaint = "hall: nothing was heard of it for 90 minutes".to_owned();
        assert_eq!(fused, Fused { temperature: None, complaints: vec![complaint] });
    }

    #[test]
    fn a_remark_leaves_the_reading() {
        let mut fusion = messenger();
        fuse(&mut fusion, PERIOD, &[20.0]);
        fusion.remark(0, Some("a message is not JSON".into()));
        let complaint = "hall: a message is not JSON".to_owned();
        let expected = Fused { temperature: Some(20.0), complaints: vec![complaint] };
        assert_eq!(fusion.temperature(PERIOD), expected);
        fusion.remark(0, None);
        assert_eq!(fusion.temperature(PERIOD).complaints, Vec::<String>::new());
    }
}
