//! The controller in a computed house: weeks of winter in milliseconds.

use std::time::{Duration, Instant};

use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;

use super::*;
use crate::config::Config;
use crate::control::fusion::Source;
use crate::preset::Preset;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A room of 20 square metres with a radiator: air and walls store heat, the radiator and the sensor lag behind.
struct House {
    air: f64,
    walls: f64,
    radiator: f64,
    sensor: f64,
}

impl House {
    fn new(temperature: f64) -> Self {
        Self { air: temperature, walls: temperature - 2.0, radiator: 0.0, sensor: temperature }
    }

    /// Lets seconds pass; heat flows in watts, capacities are in watt hours per kelvin.
    fn advance(&mut self, step: Duration, heating: bool, outside: f64) {
        let hours = step.as_secs_f64() / 3600.0;
        let power = if heating { 1600.0 } else { 0.0 };
        self.radiator += (power - self.radiator) * (1.0 - (-hours / 0.15).exp());
        let to_walls = 150.0 * (self.air - self.walls);
        self.air += hours * (self.radiator - to_walls - 20.0 * (self.air - outside)) / 300.0;
        self.walls += hours * (to_walls - 25.0 * (self.walls - outside)) / 3000.0;
        self.sensor += (self.air - self.sensor) * (1.0 - (-hours / 0.05).exp());
    }

    /// Reads like a DS18B20, in sixteenths.
    fn reading(&self) -> f64 {
        (self.sensor * 16.0).round() / 16.0
    }
}

/// A controller, its house and its clocks.
struct Run {
    controller: Controller,
    house: House,
    now: Duration,
    clock: Option<DateTime>,
    switched: Vec<(Duration, bool)>,
}

impl Run {
    fn new(config: serde_json::Value, temperature: f64) -> Self {
        let config: Config = serde_json::from_value(config).expect("a config");
        let now = 100 * DAY;
        let sensors = vec![Source { name: "sensor".to_owned(), messages: None }];
        let controller = Controller::new(config.rules(), sensors, Setting::new(20.0), now);
        let house = House::new(temperature);
        Self { controller, house, now, clock: None, switched: Vec::new() }
    }

    fn wish(&mut self, mode: Option<Mode>, target: Option<f64>, preset: Option<Preset>) {
        let wish = Wish { mode, target, preset };
        // What the controller refuses is part of a user's year.
        let _ = self.controller.wish(wish, self.now, self.clock);
    }

    fn is_heating(&self) -> bool {
        self.controller.action(self.controller.setting.mode) == Action::Heating
    }

    fn step(&mut self, step: Duration, outside: f64) {
        let reading = self.house.reading();
        self.step_with(step, outside, Ok(reading));
    }

    fn step_with(&mut self, step: Duration, outside: f64, reading: Result<f64, String>) {
        self.controller.observe(0, self.now, reading);
        let heat = self.controller.decide(self.now, self.clock);
        if heat != self.is_heating() {
            self.switched.push((self.now, heat));
            self.controller.switched(heat, self.now);
        }
        self.house.advance(step, heat, outside);
        self.now += step;
        self.clock = self.clock.map(|clock| clock + step);
    }
}

fn outside(now: Duration, mean: f64) -> f64 {
    mean + 5.0 * (now.as_secs_f64() / DAY.as_secs_f64() * std::f64::consts::TAU).sin()
}

fn hardware() -> serde_json::Value {
    serde_json::json!({
        "backend": "hardware",
        "sensors": [{"file": {"path": "/run/temperature"}}],
        "actuator": {"simulated": {}},
    })
}

fn with(extra: serde_json::Value) -> serde_json::Value {
    let mut config = hardware();
    for (key, value) in extra.as_object().expect("a table") {
        config[key] = value.clone();
    }
    config
}

#[test]
fn pi_holds_a_winter_day_within_three_tenths() {
    for (mean, target) in [(0.0, 21.0), (-8.0, 20.0), (8.0, 22.0)] {
        let mut run = Run::new(with(serde_json::json!({"control": "pi"})), 17.0);
        run.wish(Some(Mode::Heat), Some(target), None);
        let (mut worst, mut highest, started): (f64, f64, _) = (0.0, 0.0, run.now);
        while run.now < started + 2 * DAY {
            run.step(10 * SECOND, outside(run.now, mean));
            highest = highest.max(run.house.air);
            if run.now > started + DAY {
                worst = worst.max((run.house.air - target).abs());
            }
        }
        let (overshoot, switched) = (highest - target, run.switched.len());
        println!(
            "PI, {mean} °C outside, target {target}: worst {worst:.2} K in the second day, \
             overshoot {overshoot:.2} K after a cold start, {switched} switchings in two days"
        );
        assert!(worst <= 0.3, "{worst}");
        assert!(overshoot <= 0.6, "{overshoot}");
    }
}

#[test]
fn hysteresis_holds_a_winter_day_within_a_kelvin() {
    let mut run = Run::new(hardware(), 17.0);
    run.wish(Some(Mode::Heat), Some(21.0), None);
    let (mut worst, started): (f64, _) = (0.0, run.now);
    while run.now < started + 2 * DAY {
        run.step(10 * SECOND, outside(run.now, 0.0));
        if run.now > started + DAY {
            worst = worst.max((run.house.air - 21.0).abs());
        }
    }
    println!("hysteresis: worst {worst:.2} K, {} switchings in two days", run.switched.len());
    assert!(worst <= 1.0, "{worst}");
}

/// A generator that gives the same year every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn a_year_with_a_restless_user_never_breaks_the_least_times() {
    let (min_on, min_off) = (4 * 60 * SECOND, 6 * 60 * SECOND);
    for control in ["pi", "hysteresis"] {
        let real = Instant::now();
        let mut run = Run::new(
            with(serde_json::json!({
                "control": control, "min_on": "4m", "min_off": "6m", "period": "30s",
                "window": {},
                "schedule": {"weekdays": {"06:30": "comfort", "22:00": "eco"}},
            })),
            18.0,
        );
        run.clock = Some(date(2026, 1, 1).at(0, 0, 0, 0));
        let (mut dice, started) = (Dice(42), run.now);
        let mut wishes = 0;
        while run.now < started + 365 * DAY {
            if dice.roll(60) == 0 {
                wishes += 1;
                let any = |n: u64| usize::try_from(n).expect("small");
                match dice.roll(3) {
                    0 => run.wish(Some(Mode::ALL[any(dice.roll(3))]), None, None),
                    1 => {
                        let halves = u32::try_from(dice.roll(51)).expect("small");
                        run.wish(None, Some(5.0 + f64::from(halves) / 2.0), None);
                    }
                    _ => run.wish(None, None, Some(Preset::ALL[any(dice.roll(5))])),
                }
            }
            let season = (run.now - started).as_secs_f64() / (365.0 * DAY.as_secs_f64());
            let mean = 9.0 - 11.0 * (season * std::f64::consts::TAU).cos();
            run.step(30 * SECOND, outside(run.now, mean));
        }
        let violations = run
            .switched
            .windows(2)
            .filter(|pair| pair[1].0 - pair[0].0 < if pair[0].1 { min_on } else { min_off })
            .count();
        println!(
            "{control}: a year with {wishes} wishes, {} switchings, {violations} violations, in {:.1?}",
            run.switched.len(),
            real.elapsed()
        );
        assert!(run.switched.len() > 1000 && wishes > 10_000);
        assert_eq!(violations, 0);
    }
}

#[test]
fn every_sensor_fault_stops_the_heater_in_the_same_period_and_heals() {
    type Fault = fn(f64) -> Result<f64, String>;
    let faults: [(&str, Fault); 4] = [
        ("failed", |_| Err("crc error".into())),
        ("absent", |_| Err("no such file".into())),
        ("jumped", |t| Ok(t - 9.0)),
        ("implausible", |_| Ok(-55.0)),
    ];
    for (name, fault) in faults {
        let mut run = Run::new(with(serde_json::json!({"control": "pi"})), 17.0);
        run.wish(Some(Mode::Heat), Some(22.0), None);
        for _ in 0..60 {
            run.step(10 * SECOND, 0.0);
        }
        assert!(run.is_heating(), "{name}");
        let reading = fault(run.house.reading());
        run.step_with(10 * SECOND, 0.0, reading);
        assert!(!run.is_heating(), "{name}");
        assert_eq!(run.controller.action(run.controller.setting.mode), Action::Off);
        assert!(run.controller.alert().starts_with("sensor: "), "{name}");
        for _ in 0..30 {
            run.step(10 * SECOND, 0.0);
        }
        assert_eq!(run.controller.alert(), "none", "{name}");
        assert!(run.is_heating(), "{name}: heats again after the least time off");
    }
}

#[test]
fn a_silent_and_a_frozen_sensor_stop_the_heater() {
    let mut run = Run::new(hardware(), 17.0);
    run.wish(Some(Mode::Heat), Some(22.0), None);
    for _ in 0..60 {
        run.step(10 * SECOND, 0.0);
    }
    assert!(run.is_heating());
    assert!(run.controller.decide(run.now, None), "the next reading is under way");
    run.now += 10 * SECOND;
    assert!(!run.controller.decide(run.now, None));
    assert_eq!(run.controller.alert(), "sensor: no answer for 20 s");
    let frozen = run.house.reading();
    for _ in 0..3 * 360 + 1 {
        run.step_with(10 * SECOND, 0.0, Ok(frozen));
    }
    assert!(!run.controller.decide(run.now, None));
    assert!(run.controller.alert().contains("frozen"), "{}", run.controller.alert());
}

#[test]
fn mode_off_keeps_the_frost_away() {
    let mut run = Run::new(hardware(), 12.0);
    let mut coldest = f64::MAX;
    for _ in 0..14 * 8640 {
        run.step(10 * SECOND, -15.0);
        coldest = coldest.min(run.house.air);
    }
    println!("mode off, -15 °C outside: coldest {coldest:.1} °C");
    assert!(coldest > 4.9, "{coldest}");
    assert!(run.house.air < 7.0);
}

#[test]
fn an_open_window_pauses_the_heating() {
    let mut run = Run::new(with(serde_json::json!({"window": {}, "control": "pi"})), 21.0);
    run.wish(Some(Mode::Heat), Some(22.0), None);
    for _ in 0..360 {
        run.step(10 * SECOND, 5.0);
    }
    for _ in 0..30 {
        run.house.air -= 0.2;
        run.step(10 * SECOND, 5.0);
    }
    assert!(run.controller.report().window_open && !run.is_heating());
    assert_eq!(run.controller.action(run.controller.setting.mode), Action::Idle);
    for _ in 0..150 {
        run.step(10 * SECOND, 5.0);
    }
    assert!(!run.controller.report().window_open && run.is_heating());
}

#[test]
fn a_heater_that_never_warms_the_room_rests_and_says_so() {
    let mut run = Run::new(with(serde_json::json!({"max_heating": "2h"})), 10.0);
    run.wish(Some(Mode::Heat), Some(21.0), None);
    let mut alerts = 0;
    for n in 0..1440 {
        // Cold readings that wander, whatever the heater does.
        run.step_with(10 * SECOND, 5.0, Ok(10.0 + f64::from(n % 7) / 16.0));
        alerts += u32::from(run.controller.alert().contains("too long"));
    }
    let on_for = run.switched.windows(2).find(|pair| pair[0].1).expect("it was on");
    assert_eq!(on_for[1].0 - on_for[0].0, 2 * HOUR);
    assert_eq!(alerts, 180, "30 minutes of rest");
}

#[test]
fn the_schedule_is_followed_and_a_clock_that_is_not_set_is_said() {
    let config = with(serde_json::json!({
        "schedule": {"weekdays": {"06:00": "comfort", "22:00": 17.5}, "weekend": {"08:00": "comfort"}},
    }));
    let mut run = Run::new(config, 18.0);
    run.wish(Some(Mode::Auto), None, None);
    run.step(10 * SECOND, 5.0);
    assert!(run.controller.alert().contains("the clock is not set"));
    assert_eq!(run.controller.setting.target, 20.0);
    // A Monday, in the zone whose summer time begins on the Sunday before the end of the run.
    let zone = TimeZone::get("Europe/Berlin").expect("tzdata");
    let mut instant = zone.to_timestamp(date(2026, 3, 23).at(5, 0, 0, 0)).expect("a time");
    let mut targets = Vec::new();
    for _ in 0..8 * 24 * 6 {
        let local = zone.to_datetime(instant);
        run.clock = Some(local);
        run.step(10 * SECOND, 5.0);
        let target = run.controller.setting.target;
        if targets.last().is_none_or(|&(_, last)| last != target) {
            targets.push((local.strftime("%a %H:%M").to_string(), target));
        }
        instant += 10 * 60 * SECOND;
    }
    let expected = [
        ("Mon 05:00", 21.0),
        ("Mon 22:00", 17.5),
        ("Tue 06:00", 21.0),
        ("Tue 22:00", 17.5),
        ("Wed 06:00", 21.0),
        ("Wed 22:00", 17.5),
        ("Thu 06:00", 21.0),
        ("Thu 22:00", 17.5),
        ("Fri 06:00", 21.0),
        ("Fri 22:00", 17.5),
        ("Sat 08:00", 21.0),
        ("Mon 22:00", 17.5),
    ];
    let expected: Vec<_> = expected.map(|(at, target)| (at.to_owned(), target)).into();
    assert_eq!(targets, expected);
    assert_eq!(run.controller.alert(), "none");
}
