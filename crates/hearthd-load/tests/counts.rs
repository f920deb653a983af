//! What one request costs the core, in counts that are the same on every machine: allocations and instructions.
//!
//! A count above its budget is a regression; one far below it means that the budget can go down.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use hearthd_core::{
    Answer, BridgeInput, BridgeOutput, Connack, DeclaredTopics, Delivery, DeliveryId, DevicePolicy,
    Disconnection, Hub, HubConfig, Input, Kept, Message, Now, Output, QoS,
    topic::{Templates, TopicFilter},
};

#[test]
fn a_request_allocates_no_more_than_its_budget() {
    let mut wrong = Vec::new();
    for (kind, budget) in [
        (Kind::Set, 22),
        (Kind::Change, 22),
        (Kind::Toggle, 22),
        (Kind::Read, 20),
        (Kind::SetOnce, 18),
    ] {
        let mut home = Home::online(kind);
        home.ask(kind, WARM_UP);
        let requests = kind.requests(REQUESTS);
        let counted = allocation_counter::measure(|| home.receive(requests));
        home.check(WARM_UP + REQUESTS);
        let each = counted.count_total / REQUESTS as u64;
        wrong.extend(check_budget(kind, "allocations", each, budget));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs itself under callgrind, once with twice as many requests: the difference is theirs alone.
///
/// Only in an optimised build, as `cargo xtask counts` makes one: the checks of a debug build outweigh what is counted.
#[cfg(not(debug_assertions))]
#[test]
fn a_request_takes_no_more_instructions_than_its_budget() {
    let mut wrong = Vec::new();
    for (kind, budget) in [
        (Kind::Set, 46_900),
        (Kind::Change, 50_900),
        (Kind::Toggle, 52_900),
        (Kind::Read, 38_600),
        (Kind::SetOnce, 39_900),
    ] {
        let count = |requests| instructions(Script { kind, requests, ..Script::default() });
        let more = count(2 * REQUESTS) - count(REQUESTS);
        wrong.extend(check_budget(kind, "instructions", more / REQUESTS as u64, budget));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A connection costs each device the same, however many there are, and a request the same as in a hub without any.
#[cfg(not(debug_assertions))]
#[test]
fn a_thousand_mqtt_devices_take_ten_times_the_instructions_of_a_hundred() {
    let connection = |devices| {
        let count =
            |connections| instructions(Script { connections, devices, ..Script::default() });
        count(4) - count(2)
    };
    let (hundred, thousand) = (connection(100), connection(1_000));
    println!("a connection: {hundred} instructions with 100 devices, {thousand} with 1,000");
    assert!(thousand < hundred * 14, "{thousand} instructions, and {hundred} with 100 devices");
    let request = |devices| {
        let count = |requests| instructions(Script { requests, devices, ..Script::default() });
        (count(200) - count(100)) / 100
    };
    let (alone, among) = (request(0), request(1_000));
    println!("a request: {alone} instructions without MQTT devices, {among} with 1,000");
    assert!(among < alone * 5 / 4, "{among} instructions, and {alone} without MQTT devices");
}

/// The hub goes through nothing that others have asked before.
#[cfg(not(debug_assertions))]
#[test]
fn a_request_takes_about_the_same_instructions_where_five_hundred_others_have_asked() {
    let request = |others| {
        let count = |requests| instructions(Script { requests, others, ..Script::default() });
        (count(2 * REQUESTS) - count(REQUESTS)) / REQUESTS as u64
    };
    let (alone, among) = (request(0), request(500));
    println!("a request: {alone} instructions alone, {among} among 500 other senders");
    assert!(among < alone * 3 / 2, "{among} instructions, and {alone} where nobody else asks");
}

/// What the tests above have callgrind watch; by itself it asks once.
#[test]
fn the_script() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse().unwrap());
    let kind = std::env::var("HEARTH_COUNT_KIND").map_or(Kind::Set, |name| Kind::named(&name));
    let count = number("HEARTH_COUNT_REQUESTS").unwrap_or(1);
    let mut home = Home::among(kind, number("HEARTH_COUNT_DEVICES").unwrap_or(0));
    for _ in 0..number("HEARTH_COUNT_CONNECTIONS").unwrap_or(0) {
        home.connect_anew();
    }
    let others = number("HEARTH_COUNT_OTHERS").unwrap_or(0);
    for other in 0..others {
        home.receive(vec![kind.request(&format!("alice/response/phone-{other}/light"), other)]);
    }
    home.ask(kind, count);
    home.check(others + count);
}

/// What the script does.
#[cfg(not(debug_assertions))]
struct Script {
    kind: Kind,
    requests: usize,
    /// How often the connection is lost and made anew before.
    connections: usize,
    /// How many MQTT devices the hub has beside the one that is asked.
    devices: usize,
    /// How many others have asked before, each for a response on a topic of its own.
    others: usize,
}

#[cfg(not(debug_assertions))]
impl Default for Script {
    fn default() -> Self {
        Self { kind: Kind::Set, requests: 1, connections: 0, devices: 0, others: 0 }
    }
}

#[cfg(not(debug_assertions))]
fn instructions(script: Script) -> u64 {
    let Script { kind, requests, connections, devices, others } = script;
    let program = std::env::current_exe().unwrap();
    let mut valgrind = std::process::Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    valgrind.args(["--exact", "the_script"]);
    valgrind.env("HEARTH_COUNT_KIND", format!("{kind:?}"));
    valgrind.env("HEARTH_COUNT_REQUESTS", requests.to_string());
    valgrind.env("HEARTH_COUNT_CONNECTIONS", connections.to_string());
    valgrind.env("HEARTH_COUNT_DEVICES", devices.to_string());
    valgrind.env("HEARTH_COUNT_OTHERS", others.to_string());
    let output =
        valgrind.output().expect("valgrind is installed (Debian: apt-get install valgrind)");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    line.expect("callgrind says what it collected").1.trim().parse().unwrap()
}

/// Returns what is wrong with a count.
fn check_budget(kind: Kind, what: &str, count: u64, budget: u64) -> Option<String> {
    println!("{kind:?}: {count} {what} (budget {budget})");
    if count > budget {
        Some(format!("{kind:?}: {count} {what} for a request, and {budget} are allowed"))
    } else if count < budget * 3 / 4 {
        Some(format!("{kind:?}: {count} {what} for a request; lower its budget of {budget}"))
    } else {
        None
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Its answer is journalled before PUBACK.
    Set,
    /// The device saves another state each time, which is stored with the answer.
    Change,
    /// Its intent is journalled, too.
    Toggle,
    Read,
    /// At QoS 0.
    SetOnce,
}

impl Kind {
    fn named(name: &str) -> Self {
        let all = [Self::Set, Self::Change, Self::Toggle, Self::Read, Self::SetOnce];
        all.into_iter().find(|kind| format!("{kind:?}") == name).unwrap()
    }

    fn requests(self, count: usize) -> Vec<Message> {
        (0..count).map(|n| self.request("alice/response/phone/light", n)).collect()
    }

    fn request(self, response_topic: &str, n: usize) -> Message {
        let payload = match self {
            Self::Set | Self::Change | Self::SetOnce => "ON",
            Self::Toggle => "TOGGLE",
            Self::Read => "",
        };
        Message {
            topic: "alice/cmnd/light-in-bedroom/power".into(),
            payload: payload.into(),
            qos: if let Self::SetOnce = self { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            response_topic: Some(response_topic.into()),
            correlation_data: Some(Bytes::copy_from_slice(&n.to_be_bytes())),
            ..Message::default()
        }
    }
}

/// A hub whose broker, store and device do at once what it wants.
struct Home {
    hub: Hub,
    /// Whether the device saves at each request.
    saves: bool,
    now: Duration,
    inputs: VecDeque<Input>,
    deliveries: u64,
    answers: usize,
    acknowledgements: usize,
    /// How many MQTT devices know of a connection.
    links: usize,
}

impl Home {
    fn online(kind: Kind) -> Self {
        Self::among(kind, 0)
    }

    /// Makes a hub with so many MQTT devices beside the one that is asked.
    fn among(kind: Kind, devices: usize) -> Self {
        let hub = Hub::new(config(devices), Kept::default(), || [7; 16]);
        let mut home = Self {
            hub,
            saves: matches!(kind, Kind::Change),
            now: Duration::from_secs(1000),
            inputs: VecDeque::from([Input::Elapsed]),
            deliveries: 0,
            answers: 0,
            acknowledgements: 0,
            links: 0,
        };
        for number in 0..devices {
            let device = mqtt_device(number);
            home.inputs.push_back(Input::Bridge { device, input: BridgeInput::Begun });
        }
        home.rest();
        assert_eq!(home.links, devices);
        home
    }

    /// Loses the connection, and makes another.
    fn connect_anew(&mut self) {
        let before = self.links;
        self.inputs.push_back(Input::Disconnected(Disconnection::Lost { error: "cut".to_owned() }));
        self.settle();
        let devices = before - self.links;
        self.rest();
        assert_eq!(self.links, before, "{devices} were told that the connection is gone");
    }

    /// Does all that is due, until the outcome of the last will is decided.
    fn rest(&mut self) {
        self.settle();
        while let Some(due) = self.hub.poll_timeout() {
            self.now = due;
            self.inputs.push_back(Input::Elapsed);
            self.settle();
        }
        self.acknowledgements = 0;
    }

    fn ask(&mut self, kind: Kind, count: usize) {
        self.receive(kind.requests(count));
    }

    fn receive(&mut self, requests: Vec<Message>) {
        for request in requests {
            self.now += Duration::from_millis(1);
            let delivery = (request.qos == QoS::AtLeastOnce).then(|| self.delivery());
            self.inputs.push_back(Input::Received { message: request, delivery });
            self.settle();
        }
    }

    fn check(&self, requests: usize) {
        assert_eq!(self.answers, requests);
        assert!(self.acknowledgements == requests || self.acknowledgements == 0);
    }

    fn delivery(&mut self) -> Delivery {
        self.deliveries += 1;
        let packet_id = u16::try_from(self.deliveries % 60_000).unwrap() + 1;
        Delivery { id: DeliveryId(self.deliveries), packet_id }
    }

    /// Handles inputs, and what comes of them, until nothing is left.
    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.hub.handle(Now { monotonic: self.now, unix: Duration::ZERO }, input);
            while let Some(output) = self.hub.poll_output() {
                self.perform(output);
            }
        }
    }

    fn perform(&mut self, output: Output) {
        let input = match output {
            Output::Connect { .. } => Input::Connected(Connack {
                response_information: Some("alice".into()),
                ..Connack::default()
            }),
            Output::Disconnect => Input::Disconnected(Disconnection::Requested),
            Output::Protest => unreachable!("the broker keeps to the standard"),
            Output::Subscribe(all) => Input::Subscribed { reason_codes: vec![1; all.len()] },
            Output::Publish { id, message } => {
                if message.topic.ends_with("/fence") {
                    let delivery = Some(self.delivery());
                    self.inputs.push_back(Input::Received { message, delivery });
                } else {
                    self.answers += usize::from(message.topic.ends_with("/light"));
                }
                Input::Published { id, reason_code: 0 }
            }
            Output::Store { revision, .. } => Input::Stored { revision },
            Output::Execute(request) => {
                if self.saves {
                    let (device, state) = (request.device.to_string(), Bytes::from_static(b"on"));
                    self.inputs.push_back(Input::Saved { device, state });
                }
                Input::Answered { request: request.id, answer: Answer::text("ON") }
            }
            Output::Acknowledge(_) => {
                self.acknowledgements += 1;
                return;
            }
            Output::Bridge { output: BridgeOutput::Link { up: true }, .. } => {
                self.links += 1;
                return;
            }
            Output::Bridge { output: BridgeOutput::Link { up: false }, .. } => {
                self.links -= 1;
                return;
            }
            Output::Unsubscribe(_)
            | Output::Absence(_)
            | Output::Bridge { .. }
            | Output::Notice(_) => return,
            Output::Stopped(result) => panic!("the hub has stopped: {result:?}"),
        };
        self.inputs.push_back(input);
    }
}

/// Names one of the MQTT devices.
fn mqtt_device(number: usize) -> String {
    format!("lamp-{number}")
}

fn config(mqtt_devices: usize) -> HubConfig {
    let deadline = Duration::from_secs(5);
    let filter = |text: &str| TopicFilter::parse(text).unwrap();
    let lamp = |number: usize| {
        let topic = format!("zigbee2mqtt/{number}");
        let mut lamp = DevicePolicy::new(deadline);
        lamp.topics = DeclaredTopics {
            subscribe: vec![filter(&topic), filter("zigbee2mqtt/bridge/state")],
            publish: vec![filter(&format!("{topic}/set")), filter(&format!("{topic}/get"))],
            share: vec![filter("zigbee2mqtt/bridge/request/action")],
            ..DeclaredTopics::default()
        };
        (mqtt_device(number), lamp)
    };
    let light = ("light-in-bedroom".to_owned(), DevicePolicy::new(deadline));
    HubConfig {
        client_id: "hearthd-pi".into(),
        topics: Templates::default(),
        allow_responses: Vec::new(),
        allow_bridges: vec![filter("zigbee2mqtt/#")],
        require_response_information: false,
        fallback_prefix: None,
        will_delay: Duration::from_secs(10),
        settle: Duration::from_millis(300),
        fence_timeout: Duration::from_secs(10),
        keep_alive: Duration::from_secs(20),
        reconnect_spread: Duration::ZERO,
        grace: Duration::from_secs(5),
        devices: (0..mqtt_devices).map(lamp).chain([light]).collect(),
        guards: Vec::new(),
        broker: "127.0.0.1:1883".into(),
        redelivery: Duration::from_secs(60),
        receive_maximum: 1024,
        deadline,
        queue: 64,
        max_payload: 64 * 1024,
        discovery: None,
    }
}

/// The journal is full after these, as it is in a hub that has been up for a while.
const WARM_UP: usize = 2000;
const REQUESTS: usize = 1000;
