//! What is at the other end: a device of each family, with a bridge where the family has one.

use std::time::Duration;

use fastrand::Rng;
use hearthd_confirm::{Backend, Publication, Token};
use serde_json::{Value as Json, json};

use super::{State, Temper};

/// A family, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Zigbee2Mqtt,
    Zigbee2MqttRaw,
    Zigbee2MqttSleepy,
    Zigbee2MqttGroup,
    Zigbee2MqttGroupRaw,
    Tasmota,
    Tasmota5,
    Shelly,
    Shelly1,
    Esphome,
    Wled,
    Topics,
}

/// What a device was told or asked.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Set {
        on: Option<bool>,
        level: Option<f64>,
        token: Token,
        id: Option<u64>,
    },
    /// What it is told together with others; nobody acknowledges it.
    Cast {
        on: Option<bool>,
        level: Option<f64>,
    },
    /// A question that makes it say its state.
    Get {
        token: Token,
    },
    /// A question whose answer names it.
    Read {
        transaction: String,
        cluster: u16,
    },
    Status {
        id: u64,
    },
}

/// What the other side says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// A state, or who is there.
    Message(String, String),
    /// An answer that names its question.
    Answer(String, String),
    Reply(Token, String),
}

#[derive(Debug)]
pub(crate) struct Counterpart {
    pub(crate) family: Family,
    /// What it is called, and its address.
    name: &'static str,
    address: u64,
    pub(crate) state: State,
    /// About how long the device takes for one thing.
    pub(crate) latency: Duration,
    temper: Temper,
    /// What a bridge believes.
    cache: State,
    up: bool,
    busy_until: Duration,
    /// What waits for a device that sleeps.
    waiting: Vec<Work>,
    /// The line that a bridge has logged last, which it does not log again.
    logged: String,
}

impl Family {
    pub(crate) const ALL: [Self; 12] = [
        Self::Zigbee2Mqtt,
        Self::Zigbee2MqttRaw,
        Self::Zigbee2MqttSleepy,
        Self::Zigbee2MqttGroup,
        Self::Zigbee2MqttGroupRaw,
        Self::Tasmota,
        Self::Tasmota5,
        Self::Shelly,
        Self::Shelly1,
        Self::Esphome,
        Self::Wled,
        Self::Topics,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zigbee2Mqtt => "zigbee2mqtt",
            Self::Zigbee2MqttRaw => "zigbee2mqtt raw",
            Self::Zigbee2MqttSleepy => "zigbee2mqtt sleepy",
            Self::Zigbee2MqttGroup => "zigbee2mqtt group",
            Self::Zigbee2MqttGroupRaw => "zigbee2mqtt group raw",
            Self::Tasmota => "tasmota",
            Self::Tasmota5 => "tasmota 5",
            Self::Shelly => "shelly",
            Self::Shelly1 => "shelly 1",
            Self::Esphome => "esphome",
            Self::Wled => "wled",
            Self::Topics => "topics",
        }
    }

    pub(crate) fn backend(self) -> Backend {
        let table = |json: Json| serde_json::from_value(json).expect("a table");
        match self {
            Self::Zigbee2Mqtt => Backend::Zigbee2Mqtt(
                serde_json::from_value(json!({"topic": "zigbee2mqtt/d"})).expect("a table"),
            ),
            Self::Zigbee2MqttRaw => {
                let json = json!({"topic": "zigbee2mqtt/d", "raw": true});
                Backend::Zigbee2Mqtt(serde_json::from_value(json).expect("a table"))
            }
            Self::Zigbee2MqttSleepy => {
                let json = json!({"topic": "zigbee2mqtt/d", "sleepy": true});
                Backend::Zigbee2Mqtt(serde_json::from_value(json).expect("a table"))
            }
            Self::Zigbee2MqttGroup | Self::Zigbee2MqttGroupRaw => {
                let members: Vec<String> =
                    self.devices().iter().map(|(name, _)| format!("zigbee2mqtt/{name}")).collect();
                let raw = self == Self::Zigbee2MqttGroupRaw;
                let json = json!({"topic": "zigbee2mqtt/all", "members": members, "raw": raw});
                Backend::Zigbee2Mqtt(serde_json::from_value(json).expect("a table"))
            }
            Self::Tasmota | Self::Tasmota5 => {
                let json = json!({"topic": "d"});
                Backend::Tasmota(serde_json::from_value(json).expect("a table"))
            }
            Self::Shelly => {
                let json = json!({"topic": "d", "component": "light:0"});
                Backend::Shelly(serde_json::from_value(json).expect("a table"))
            }
            Self::Shelly1 => {
                let json = json!({"topic": "d", "component": "light:0", "generation": 1});
                Backend::Shelly(serde_json::from_value(json).expect("a table"))
            }
            Self::Esphome => {
                let json = json!({"topic": "d", "light": "l"});
                Backend::Esphome(serde_json::from_value(json).expect("a table"))
            }
            Self::Wled => {
                let json = json!({"topic": "d"});
                Backend::Wled(serde_json::from_value(json).expect("a table"))
            }
            Self::Topics => Backend::Topics(Box::new(table(json!({
                "power": {"command": "d/power/set", "state": "d/power"},
                "brightness": {"command": "d/level/set", "state": "d/level"},
            })))),
        }
    }

    /// Returns the devices of the family that a confirmer has, with their addresses.
    pub(crate) fn devices(self) -> &'static [(&'static str, u64)] {
        if self.is_group() { &[("d", 7), ("hall/e", 8), ("f", 9)] } else { &[("d", 7)] }
    }

    fn is_group(self) -> bool {
        matches!(self, Self::Zigbee2MqttGroup | Self::Zigbee2MqttGroupRaw)
    }

    pub(crate) fn is_correlated(self) -> bool {
        matches!(self, Self::Zigbee2MqttRaw | Self::Zigbee2MqttGroupRaw | Self::Shelly)
    }

    /// Returns how long a device may be as wanted before it is asked, in seconds.
    pub(crate) fn asked_within(self) -> u64 {
        // These are only asked by being told again, which is done less often.
        if matches!(self, Self::Esphome | Self::Wled | Self::Topics) { 6 } else { 3 }
    }

    /// Returns whether a device can be read without a command, and does not sleep.
    pub(crate) fn can_be_read(self) -> bool {
        !matches!(self, Self::Esphome | Self::Wled | Self::Topics | Self::Zigbee2MqttSleepy)
    }

    pub(crate) fn has_bridge(self) -> bool {
        self.is_group()
            || matches!(self, Self::Zigbee2Mqtt | Self::Zigbee2MqttRaw | Self::Zigbee2MqttSleepy)
    }

    /// A strip says nothing where only one of both changes, so it is given one at a time.
    pub(crate) fn dims(self) -> bool {
        self != Self::Wled
    }

    /// Firmware that says what its relay does not do cannot be found out by anybody.
    pub(crate) fn tempers(self) -> &'static [Temper] {
        use Temper::{Asleep, Dead, Flaky, Honest, Lies, Refuses};
        match self {
            Self::Zigbee2Mqtt | Self::Zigbee2MqttGroup => &[Honest, Lies, Dead, Honest, Lies],
            Self::Zigbee2MqttRaw | Self::Zigbee2MqttGroupRaw => {
                &[Honest, Lies, Refuses, Dead, Flaky]
            }
            Self::Zigbee2MqttSleepy => &[Asleep, Honest, Asleep],
            Self::Tasmota
            | Self::Tasmota5
            | Self::Shelly
            | Self::Shelly1
            | Self::Esphome
            | Self::Wled
            | Self::Topics => &[Honest, Refuses, Dead, Flaky],
        }
    }

    /// Returns which verdicts a family can come to here.
    pub(crate) fn reachable(self) -> &'static [&'static str] {
        match self {
            Self::Zigbee2Mqtt => &["200", "500", "503", "409 Superseded", "409 Silence"],
            Self::Zigbee2MqttGroup => {
                &["200", "500", "503", "409 Superseded", "500 of a member", "503 of a member"]
            }
            Self::Zigbee2MqttGroupRaw => {
                &["200", "500", "503", "409 Superseded", "500 of a member", "503 of a member"]
            }
            Self::Zigbee2MqttRaw => &["200", "500", "503", "409 Superseded"],
            Self::Zigbee2MqttSleepy => &["200", "409 Queued", "409 Superseded"],
            Self::Shelly => &["200", "500", "503", "409 Superseded", "409 LinkLost"],
            Self::Wled => &["200", "409 Superseded", "409 Silence"],
            Self::Tasmota | Self::Tasmota5 | Self::Shelly1 | Self::Esphome | Self::Topics => {
                &["200", "500", "409 Superseded", "409 Silence"]
            }
        }
    }
}

impl Said {
    pub(crate) fn is_state(&self) -> bool {
        matches!(self, Self::Message(..))
    }
}

impl Counterpart {
    pub(crate) fn new(family: Family, place: usize, rng: &mut Rng) -> Self {
        let (name, address) = family.devices()[place];
        let slow = rng.u8(..5) == 0;
        let latency = match (slow, family.has_bridge()) {
            (true, true) => rng.u64(300..1_200),
            (true, false) => rng.u64(200..600),
            (false, _) => rng.u64(5..120),
        };
        let state = State { on: rng.bool(), level: 50.0 };
        Self {
            family,
            name,
            address,
            state,
            latency: Duration::from_millis(latency),
            temper: Temper::Honest,
            cache: state,
            up: true,
            busy_until: Duration::ZERO,
            waiting: Vec::new(),
            logged: String::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Returns whether a question would be answered, and by the truth.
    pub(crate) fn is_readable(&self) -> bool {
        self.up && matches!(self.temper, Temper::Honest | Temper::Lies | Temper::Refuses)
    }

    /// Returns what it says of itself once the hub is there.
    pub(crate) fn greeting(&self) -> Vec<Said> {
        self.states(self.state)
    }

    /// Returns what the broker has stored of it, and of what it has together with others.
    pub(crate) fn retained(&self) -> Vec<(String, String)> {
        let pair = |topic: &str, payload: &str| (topic.to_owned(), payload.to_owned());
        match self.family {
            Family::Zigbee2Mqtt
            | Family::Zigbee2MqttRaw
            | Family::Zigbee2MqttSleepy
            | Family::Zigbee2MqttGroup
            | Family::Zigbee2MqttGroupRaw => {
                let word = if self.up { "online" } else { "offline" };
                let devices = self.family.devices().iter().map(|(name, address)| {
                    json!({
                        "friendly_name": name, "ieee_address": format!("0x{address}"),
                        "network_address": address,
                        "endpoints": {"1": {"clusters": {"input": ["genOnOff", "genLevelCtrl"]}}},
                        "definition": {"exposes": [{"type": "light", "features": [
                            {"property": "state"}, {"property": "brightness"}]}]},
                    })
                });
                let devices: Json = devices.collect();
                let state = json!({"state": word}).to_string();
                vec![
                    pair("zigbee2mqtt/bridge/state", &state),
                    pair("zigbee2mqtt/bridge/devices", &devices.to_string()),
                ]
            }
            // What it was before: the retained state of a device is what it said last with that flag.
            Family::Esphome => {
                let state = json!({"state": "ON", "brightness": 255}).to_string();
                vec![pair("d/status", "online"), pair("d/light/l/state", &state)]
            }
            Family::Tasmota | Family::Tasmota5 => {
                vec![pair("tele/d/LWT", "Online"), pair("stat/d/POWER", "ON")]
            }
            Family::Wled => vec![pair("d/status", "online")],
            Family::Shelly | Family::Shelly1 => vec![pair("d/online", "true")],
            Family::Topics => vec![pair("d/power", "ON")],
        }
    }

    /// Returns whether all that the device was told is done.
    pub(crate) fn is_idle(&self, now: Duration) -> bool {
        self.busy_until <= now
    }

    /// Returns when something is done that begins now, after all that was begun before.
    pub(crate) fn occupy(&mut self, now: Duration, work: &Work, rng: &mut Rng) -> Duration {
        if let Work::Cast { .. } = work {
            // Nobody waits for anything.
            return now + Duration::from_millis(rng.u64(2..60));
        }
        let took = self.latency.mul_f64(0.75 + rng.f64() * 0.5);
        self.busy_until = self.busy_until.max(now) + took;
        self.busy_until
    }

    /// Takes in a publication, and returns what the device has to do for it.
    pub(crate) fn arrive(&mut self, publication: &Publication) -> Vec<Work> {
        // A bridge tries what a dead device cannot do, and says so.
        if !self.up || self.temper == Temper::Dead && !self.family.has_bridge() {
            return Vec::new();
        }
        let work = self.read(publication);
        if self.temper == Temper::Asleep {
            // A read is not kept for a device that sleeps, and a newer command replaces an older one.
            if let Some(set @ Work::Set { .. }) = work {
                self.waiting = vec![set];
            }
            return Vec::new();
        }
        work.into_iter().collect()
    }

    fn read(&self, Publication { token, topic, payload, .. }: &Publication) -> Option<Work> {
        let token = *token;
        let json: Json = serde_json::from_slice(payload).unwrap_or_default();
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let on = |json: &Json| json.as_str().map(|word| word.eq_ignore_ascii_case("on"));
        let level = |key: &str, full: f64| json[key].as_f64().map(|level| level / full * 100.0);
        let set = |on, level| Some(Work::Set { on, level, token, id: None });
        match self.family {
            Family::Zigbee2Mqtt
            | Family::Zigbee2MqttRaw
            | Family::Zigbee2MqttSleepy
            | Family::Zigbee2MqttGroup
            | Family::Zigbee2MqttGroupRaw => {
                if topic == "zigbee2mqtt/all/set" {
                    let (on, level) = (on(&json["state"]), level("brightness", 254.0));
                    return Some(Work::Cast { on, level });
                }
                let own = topic.strip_prefix("zigbee2mqtt/")?.strip_prefix(self.name);
                if own == Some("/set") {
                    return set(on(&json["state"]), level("brightness", 254.0));
                }
                if own == Some("/get") {
                    return Some(Work::Get { token });
                }
                if json["params"]["network_address"] != self.address {
                    return None;
                }
                let cluster = if json["params"]["cluster_key"] == "genOnOff" { 6 } else { 8 };
                let transaction = json["transaction"].as_str()?.to_owned();
                Some(Work::Read { transaction, cluster })
            }
            Family::Tasmota | Family::Tasmota5 => {
                if text.is_empty() {
                    return Some(Work::Get { token });
                }
                match topic.as_str() {
                    "cmnd/d/POWER" => set(Some(text == "ON"), None),
                    // A dimmer above 0 switches on.
                    _ => set(Some(true), text.parse().ok()),
                }
            }
            Family::Shelly => {
                let id = json["id"].as_u64()?;
                if json["method"] == "Light.GetStatus" {
                    return Some(Work::Status { id });
                }
                let params = &json["params"];
                let (on, level) = (params["on"].as_bool(), params["brightness"].as_f64());
                Some(Work::Set { on, level, token, id: Some(id) })
            }
            Family::Shelly1 => {
                if text == "update" {
                    return Some(Work::Get { token });
                }
                set(on(&json["turn"]), level("brightness", 100.0))
            }
            Family::Esphome => set(on(&json["state"]), level("brightness", 255.0)),
            Family::Wled => set(json["on"].as_bool(), level("bri", 255.0)),
            Family::Topics => match topic.as_str() {
                "d/power/set" => set(Some(text == "ON"), None),
                _ => set(None, text.parse().ok()),
            },
        }
    }

    /// Does what the device was told or asked, and returns what is said of it.
    pub(crate) fn work(&mut self, work: Work, rng: &mut Rng) -> Vec<Said> {
        if !self.up {
            return Vec::new();
        }
        let (reached, answers) = match self.temper {
            Temper::Honest | Temper::Lies | Temper::Refuses => (true, true),
            Temper::Dead | Temper::Asleep => (false, false),
            Temper::Flaky => (rng.u8(..3) > 0, rng.u8(..3) > 0),
        };
        let before = self.state;
        if let Work::Set { on, level, .. } | Work::Cast { on, level } = work
            && reached
            && !matches!(self.temper, Temper::Lies | Temper::Refuses)
        {
            self.state.on = on.unwrap_or(self.state.on);
            self.state.level = level.unwrap_or(self.state.level);
        }
        if self.family.has_bridge() {
            return self.bridge(work, reached && answers);
        }
        if !(reached && answers) {
            return Vec::new();
        }
        match work {
            Work::Status { id } => vec![self.rpc(id, json!({"result": self.status()}))],
            Work::Set { id: Some(id), .. } if self.temper == Temper::Refuses => {
                let error = json!({"code": -114, "message": "Overpower"});
                vec![self.rpc(id, json!({"error": error}))]
            }
            Work::Set { id: Some(id), .. } => {
                let mut said = vec![self.rpc(id, json!({"result": null}))];
                said.extend(self.states(self.state));
                said
            }
            // A strip says nothing where nothing changes.
            Work::Set { .. } if self.family == Family::Wled && before == self.state => Vec::new(),
            Work::Set { token, .. } | Work::Get { token } => {
                let mut said = self.states(self.state);
                if self.family == Family::Tasmota5 {
                    said.push(Said::Reply(token, self.result()));
                }
                said
            }
            Work::Read { .. } | Work::Cast { .. } => Vec::new(),
        }
    }

    /// What the bridge makes of something that was done, or not.
    fn bridge(&mut self, work: Work, done: bool) -> Vec<Said> {
        match work {
            Work::Set { on, level, .. } => {
                if !done {
                    return self.log("set");
                }
                let old = self.states(self.cache);
                self.cache.on = on.unwrap_or(self.cache.on);
                self.cache.level = level.unwrap_or(self.cache.level);
                [old, self.states(self.cache)].concat()
            }
            // The bridge believes that everyone in the group has done it.
            Work::Cast { on, level } => {
                self.cache.on = on.unwrap_or(self.cache.on);
                self.cache.level = level.unwrap_or(self.cache.level);
                self.states(self.cache)
            }
            Work::Get { .. } => {
                if !done {
                    return self.log("get");
                }
                self.cache = self.state;
                self.states(self.cache)
            }
            Work::Read { transaction, cluster } => {
                let answer = if done {
                    let bytes = if cluster == 6 {
                        self.cache.on = self.state.on;
                        [24, 1, 1, 0, 0, 0, 16, u8::from(self.state.on)]
                    } else {
                        let level = (self.state.level / 100.0 * 254.0).round() as u8;
                        [24, 1, 1, 0, 0, 0, 32, level]
                    };
                    let data =
                        json!({"clusterID": cluster, "data": {"data": bytes, "type": "Buffer"}});
                    json!({"data": data, "status": "ok", "transaction": transaction})
                } else {
                    let error = "Delivery failed for '7'.";
                    json!({"data": {}, "status": "error", "error": error, "transaction": transaction})
                };
                let topic = "zigbee2mqtt/bridge/response/action".to_owned();
                vec![Said::Answer(topic, answer.to_string())]
            }
            Work::Status { .. } => Vec::new(),
        }
    }

    fn log(&mut self, what: &str) -> Vec<Said> {
        let preposition = if what == "get" { "from" } else { "to" };
        let line = format!(
            "z2m: Publish '{what}' 'state' {preposition} '{}' failed: 'Error: x failed (Delivery failed for '7'.)'",
            self.name
        );
        if self.logged == line {
            return Vec::new();
        }
        self.logged.clone_from(&line);
        let payload = json!({"level": "error", "message": line}).to_string();
        vec![Said::Message("zigbee2mqtt/bridge/logging".to_owned(), payload)]
    }

    /// Presses the button on the device.
    pub(crate) fn touch(&mut self) -> Vec<Said> {
        if matches!(self.temper, Temper::Dead | Temper::Asleep | Temper::Lies) {
            return Vec::new();
        }
        self.state.on = !self.state.on;
        if !self.up {
            return Vec::new();
        }
        self.cache = self.state;
        self.states(self.state)
    }

    /// Says something of something else: a bridge adds what it believes.
    pub(crate) fn report(&mut self) -> Vec<Said> {
        let silent = matches!(self.temper, Temper::Dead | Temper::Asleep | Temper::Flaky);
        if !self.up || silent || self.family == Family::Wled {
            return Vec::new();
        }
        self.states(if self.family.has_bridge() { self.cache } else { self.state })
    }

    pub(crate) fn stop(&mut self) {
        self.up = false;
        self.waiting.clear();
    }

    /// Starts the bridge again, which says all that it remembers of the device.
    pub(crate) fn start(&mut self) -> Vec<Said> {
        self.up = true;
        self.states(self.cache)
    }

    /// Returns what the bridge says of itself.
    pub(crate) fn bridge_state(&self, word: &str) -> Vec<Said> {
        let payload = json!({"state": word}).to_string();
        vec![Said::Message("zigbee2mqtt/bridge/state".to_owned(), payload)]
    }

    /// Changes the character; what waited for a device that wakes is done.
    pub(crate) fn become_like(&mut self, temper: Temper) -> Vec<Work> {
        self.temper = temper;
        if temper == Temper::Asleep { Vec::new() } else { std::mem::take(&mut self.waiting) }
    }

    fn rpc(&self, id: u64, rest: Json) -> Said {
        let mut frame = json!({"id": id, "src": "d", "dst": "d/hearthd"});
        if let (Some(frame), Json::Object(rest)) = (frame.as_object_mut(), rest) {
            frame.extend(rest);
        }
        Said::Answer("d/hearthd/rpc".to_owned(), frame.to_string())
    }

    fn status(&self) -> Json {
        json!({"id": 0, "output": self.state.on, "brightness": self.state.level.round()})
    }

    fn result(&self) -> String {
        json!({"POWER": word(self.state.on), "Dimmer": self.state.level.round()}).to_string()
    }

    /// Returns a state in the family's words.
    fn states(&self, state: State) -> Vec<Said> {
        let say = |topic: &str, payload: String| Said::Message(topic.to_owned(), payload);
        let level = |full: f64| (state.level / 100.0 * full).round();
        match self.family {
            Family::Zigbee2Mqtt
            | Family::Zigbee2MqttRaw
            | Family::Zigbee2MqttSleepy
            | Family::Zigbee2MqttGroup
            | Family::Zigbee2MqttGroupRaw => {
                let payload = json!({"state": word(state.on), "brightness": level(254.0)});
                vec![say(&format!("zigbee2mqtt/{}", self.name), payload.to_string())]
            }
            Family::Tasmota | Family::Tasmota5 => {
                vec![
                    say("stat/d/RESULT", self.result()),
                    say("stat/d/POWER", word(state.on).to_owned()),
                ]
            }
            Family::Shelly => vec![say("d/status/light:0", self.status().to_string())],
            Family::Shelly1 => {
                let payload = json!({"ison": state.on, "brightness": level(100.0)});
                vec![say("d/light/0/status", payload.to_string())]
            }
            Family::Esphome => {
                let payload = json!({"state": word(state.on), "brightness": level(255.0)});
                vec![say("d/light/l/state", payload.to_string())]
            }
            Family::Wled => {
                let shown = if state.on { level(255.0) } else { 0.0 };
                vec![say("d/g", shown.to_string())]
            }
            Family::Topics => vec![
                say("d/power", word(state.on).to_owned()),
                say("d/level", level(100.0).to_string()),
            ],
        }
    }
}

fn word(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}
