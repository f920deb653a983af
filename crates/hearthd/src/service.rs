//! Tells systemd how the service is and that its loop goes round; does nothing elsewhere.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use hearthd_core::{Connack, Notice};
use sd_notify::NotifyState;
use serde_json::{Value as Json, json};
use tracing::debug;

use crate::{config::Broker, notice};

/// What systemd is told: `READY=1` once the hub is online, `STATUS=` whenever that changes, and `WATCHDOG=1`
/// because the driver's loop goes round.
pub(crate) struct Service {
    systemd: Option<Systemd>,
    ready: bool,
    stopping: bool,
    connection: String,
    online: bool,
    /// The prefix of all topics, once it is known.
    prefix: Option<String>,
    started: Instant,
    /// How often the hub has come online.
    connections: u64,
    /// Why the store cannot be written, while it cannot.
    store_failure: Option<String>,
    /// Who else says to have a device of this hub, by device.
    rivals: BTreeMap<String, String>,
    /// Another client uses the hub's client ID, as far as was seen since it was last connected for long.
    shares_client_id: bool,
    /// The broker adds an expiry to every message.
    adds_expiry: bool,
    /// What the broker does not offer.
    lacks: Vec<String>,
    /// What the last CONNACK said of sizes and times; null before the first.
    broker_limits: Json,
    /// What is true may be something else than what was told last.
    changed: bool,
    told: String,
    next_status: Duration,
    /// Half of what systemd allows between two signs of life.
    ping_interval: Option<Duration>,
    next_ping: Duration,
}

/// How many devices are in each state.
pub(crate) type Census = BTreeMap<&'static str, usize>;

/// Receives what the daemon tells systemd.
type Systemd = Box<dyn Fn(&[NotifyState<'_>]) + Send>;

impl Service {
    /// Finds out from the environment whether systemd listens and wants to see signs of life.
    pub(crate) fn from_environment() -> Self {
        let systemd: Option<Systemd> =
            std::env::var_os("NOTIFY_SOCKET").map(|_| Box::new(notify) as Systemd);
        Self::new(systemd, sd_notify::watchdog_enabled())
    }

    fn new(systemd: Option<Systemd>, watchdog: Option<Duration>) -> Self {
        Self {
            ping_interval: watchdog.filter(|_| systemd.is_some()).map(|allowed| allowed / 2),
            systemd,
            ready: false,
            stopping: false,
            connection: "connecting".into(),
            online: false,
            prefix: None,
            started: Instant::now(),
            connections: 0,
            store_failure: None,
            rivals: BTreeMap::new(),
            shares_client_id: false,
            adds_expiry: false,
            lacks: Vec::new(),
            broker_limits: Json::Null,
            changed: true,
            told: String::new(),
            next_status: Duration::ZERO,
            next_ping: Duration::ZERO,
        }
    }

    /// Notes what the broker of a new connection takes: bytes and seconds, each null where the broker sets no limit or
    /// grants what the hub asks for (MQTT 3.2.2.3).
    pub(crate) fn connected(&mut self, connack: &Connack) {
        self.broker_limits = json!({
            "receive_maximum": connack.receive_maximum,
            "maximum_packet_size": connack.maximum_packet_size,
            "maximum_qos": connack.limits.qos as u8,
            "session_expiry_s": connack.session_expiry,
            "keep_alive_s": connack.server_keep_alive,
        });
    }

    /// Notes the state of the connection; with the first `online` the service is ready.
    pub(crate) fn note(
        &mut self,
        notice: &Notice,
        broker: &Broker,
        devices: impl FnOnce() -> Census,
    ) {
        match notice {
            Notice::PrefixLearned { prefix } => {
                self.prefix = prefix.as_ref().map(ToString::to_string);
            }
            Notice::Online { .. } => {
                self.online = true;
                self.connections += 1;
                let (address, username) = (broker.address(), broker.username.as_ref());
                let name = username.map(|name| format!(" as {name}")).unwrap_or_default();
                let connection = self.connections;
                self.connection = format!("online{name} at {address}, connection {connection}");
            }
            Notice::Offline { cause, retry_in } => {
                self.online = false;
                let (cause, seconds) = (notice::describe(cause), retry_in.as_secs_f32().ceil());
                self.connection = format!("offline: {cause}, again in {seconds} s");
            }
            Notice::Rival { device, hub } => {
                let hub = hub.clone().unwrap_or_else(|| "a hub without a name".into());
                self.rivals.insert(device.to_string(), hub);
            }
            Notice::RivalGone { device } => {
                self.rivals.remove(&**device);
            }
            Notice::Lacks(lacks) => {
                self.lacks = lacks.iter().map(|lack| notice::explain(lack).0).collect();
            }
            Notice::ClientIdShared => self.shares_client_id = true,
            Notice::ExpiryAdded { added } => self.adds_expiry = *added,
            _ => return,
        }
        self.changed = true;
        if self.connections > 0 && !self.ready {
            self.ready = true;
            self.told = self.status(&devices());
            self.tell(&[NotifyState::Ready, NotifyState::Status(&self.told)]);
        }
    }

    /// A device is in another state than before.
    pub(crate) fn devices_changed(&mut self) {
        self.changed = true;
    }

    /// The store can be written again, or not any more, and why.
    pub(crate) fn store_changed(&mut self, failure: Option<&str>) {
        if self.store_failure.as_deref() != failure {
            self.store_failure = failure.map(str::to_owned);
            self.changed = true;
        }
    }

    /// The driver's loop has gone round: a sign of life where one is due, and the status where it has changed.
    ///
    /// There is no sign of life while the devices are not served: systemd then starts the hub anew.
    pub(crate) fn turn(
        &mut self,
        now: Duration,
        served: impl FnOnce() -> bool,
        devices: impl FnOnce() -> Census,
    ) {
        if let Some(interval) = self.ping_interval
            && now >= self.next_ping
        {
            if served() {
                self.next_ping = now + interval;
                self.tell(&[NotifyState::Watchdog]);
            } else {
                self.next_ping = now + interval.min(LOOK_AGAIN);
            }
        }
        if self.status_is_due() && now >= self.next_status {
            self.next_status = now + STATUS_INTERVAL;
            self.changed = false;
            let status = self.status(&devices());
            if status != self.told {
                self.tell(&[NotifyState::Status(&status)]);
                self.told = status;
            }
        }
    }

    /// Returns when the loop shall go round again, whatever else happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        let ping = self.ping_interval.map(|_| self.next_ping);
        let status = self.status_is_due().then_some(self.next_status);
        ping.into_iter().chain(status).min()
    }

    /// The hub reads its configuration anew.
    pub(crate) fn reloading(&self) {
        // systemd takes the message only with the time at which the reload began.
        match NotifyState::monotonic_usec_now() {
            Ok(now) if self.ready => self.tell(&[NotifyState::Reloading, now]),
            Ok(_) => {}
            Err(error) => debug!(%error, "no time for systemd"),
        }
    }

    /// The reload is over, whether anything has changed or not.
    pub(crate) fn reloaded(&mut self) {
        self.changed = true;
        if self.ready {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// The hub drains.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Says how the service is, for people and programs that ask the hub.
    pub(crate) fn report(&self, devices: &Census) -> Json {
        json!({
            "status": self.status(devices),
            "online": self.online,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.started.elapsed().as_secs(),
            "prefix": self.prefix,
            "connection": self.connection,
            "connections": self.connections,
            "devices": devices,
            "store_failure": self.store_failure,
            "rivals": self.rivals,
            "shares_client_id": self.shares_client_id,
            "broker_adds_expiry": self.adds_expiry,
            "broker_lacks": self.lacks,
            "broker_limits": self.broker_limits,
        })
    }

    /// Returns how long the daemon runs.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns whether the hub is online.
    pub(crate) fn is_online(&self) -> bool {
        self.online
    }

    /// Returns whether the store can be written.
    pub(crate) fn can_store(&self) -> bool {
        self.store_failure.is_none()
    }

    /// Says it in one line.
    fn status(&self, devices: &Census) -> String {
        let each = devices.iter().map(|(state, count)| format!("{count} {state}"));
        let each =
            if devices.is_empty() { "none".into() } else { each.collect::<Vec<_>>().join(", ") };
        let mut status = format!("{}; devices: {each}", self.connection);
        if let Some(failure) = &self.store_failure {
            status += &format!("; the state cannot be written: {failure}");
        }
        for (device, hub) in &self.rivals {
            status += &format!("; `{device}` is also served by {hub}");
        }
        for lack in &self.lacks {
            status += &format!("; the broker does not offer {lack}");
        }
        if self.shares_client_id {
            status += "; another client uses the same client ID, or claims to be this hub";
        }
        if self.adds_expiry {
            status += "; the broker adds an expiry to every message";
        }
        status
    }

    fn status_is_due(&self) -> bool {
        self.changed && !self.stopping && self.systemd.is_some()
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(systemd) = &self.systemd {
            systemd(states);
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("ready", &self.ready).finish_non_exhaustive()
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd does not listen");
    }
}

/// The newest status is always told, but not each that a storm of changes goes through.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How soon it is looked again whether there may be a sign of life.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        mem,
        sync::{Arc, Mutex},
    };

    use hearthd_core::Disconnection;

    use super::*;
    use crate::config::Config;

    struct TestService {
        service: Service,
        told: Arc<Mutex<Vec<String>>>,
        broker: Broker,
        devices: Census,
        served: bool,
    }

    impl TestService {
        fn new(watchdog: Option<Duration>) -> Self {
            let told = Arc::new(Mutex::new(Vec::new()));
            let sink = Arc::clone(&told);
            let systemd = move |states: &[NotifyState<'_>]| {
                sink.lock().unwrap().extend(states.iter().map(ToString::to_string));
            };
            let config = Config::parse(std::path::Path::new("c.toml"), "broker.username = \"hub\"");
            Self {
                service: Service::new(Some(Box::new(systemd)), watchdog),
                told,
                broker: config.unwrap().broker,
                devices: Census::from([("ready", 3)]),
                served: true,
            }
        }

        fn note(&mut self, notice: &Notice) {
            let devices = self.devices.clone();
            self.service.note(notice, &self.broker, || devices);
        }

        fn turn(&mut self, milliseconds: u64) {
            let (devices, served) = (self.devices.clone(), self.served);
            self.service.turn(Duration::from_millis(milliseconds), || served, || devices);
        }

        fn report(&self) -> Json {
            self.service.report(&self.devices)
        }

        fn told(&self) -> Vec<String> {
            mem::take(&mut *self.told.lock().unwrap())
        }
    }

    #[test]
    fn the_service_is_ready_with_the_first_online_and_only_then() {
        let mut test = TestService::new(None);
        let cause = Disconnection::Unreachable { error: "connection refused".into() };
        test.note(&Notice::Offline { cause, retry_in: Duration::from_millis(3500) });
        test.service.reloading();
        test.turn(0);
        let offline = "STATUS=offline: connection refused, again in 4 s; devices: 3 ready";
        assert_eq!(test.told(), [offline]);
        let online = Notice::Online { session_present: true };
        test.note(&online);
        let status = "STATUS=online as hub at 127.0.0.1:1883, connection 1; devices: 3 ready";
        assert_eq!(test.told(), ["READY=1", status]);
        test.turn(1000);
        assert_eq!(test.told(), [""; 0], "nothing has changed");
        test.note(&online);
        test.turn(2000);
        assert_eq!(test.told(), [status.replace("connection 1", "connection 2")]);
    }

    #[test]
    fn a_storm_of_changes_is_told_once_a_second_and_the_last_one_always() {
        let mut test = TestService::new(None);
        test.note(&Notice::Online { session_present: true });
        test.told();
        for failed in 1..=2000 {
            test.devices = Census::from([("failed", failed), ("ready", 1)]);
            test.service.devices_changed();
            test.turn(failed as u64);
        }
        assert_eq!(test.service.due(), Some(Duration::from_millis(2001)));
        test.turn(2001);
        let told = test.told();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].ends_with("; devices: 2000 failed, 1 ready"), "{}", told[2]);
        assert_eq!(test.service.due(), None);
    }

    #[test]
    fn signs_of_life_come_from_a_loop_that_goes_round_and_from_nothing_else() {
        let mut test = TestService::new(Some(Duration::from_secs(20)));
        test.note(&Notice::Online { session_present: true });
        test.turn(0);
        test.told();
        for second in (10..=60).step_by(10) {
            assert_eq!(test.service.due(), Some(Duration::from_secs(second)), "idle until then");
            test.turn(second * 1000 - 1);
            assert_eq!(test.told(), [""; 0]);
            test.turn(second * 1000);
            assert_eq!(test.told(), ["WATCHDOG=1"]);
        }
        // A loop that hangs reports nothing, and one that is late reports it once.
        test.turn(500_000);
        test.turn(500_001);
        assert_eq!(test.told(), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_hub_whose_devices_are_not_served_gives_no_sign_of_life_until_they_are() {
        let mut test = TestService::new(Some(Duration::from_secs(20)));
        test.note(&Notice::Online { session_present: true });
        test.turn(0);
        test.told();
        test.served = false;
        test.turn(10_000);
        assert_eq!((test.told(), test.service.due()), (Vec::new(), Some(Duration::from_secs(11))));
        test.served = true;
        test.turn(11_000);
        assert_eq!(test.told(), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_report_has_each_fact_by_itself() {
        let mut test = TestService::new(None);
        assert_eq!(
            (&test.report()["online"], &test.report()["prefix"]),
            (&json!(false), &Json::Null)
        );
        let prefix = Some(hearthd_core::topic::Prefix::parse("alice").unwrap());
        test.note(&Notice::PrefixLearned { prefix });
        test.note(&Notice::Online { session_present: true });
        test.service.store_changed(Some("No space left on device"));
        test.note(&Notice::Lacks(vec![hearthd_core::Lack::Retain]));
        assert_eq!(test.report()["broker_limits"], Json::Null);
        let connack =
            Connack { receive_maximum: 20, server_keep_alive: Some(30), ..Connack::default() };
        test.service.connected(&connack);
        let report = test.report();
        for (key, value) in [
            ("online", json!(true)),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("prefix", json!("alice")),
            ("connection", json!("online as hub at 127.0.0.1:1883, connection 1")),
            ("connections", json!(1)),
            ("devices", json!({"ready": 3})),
            ("store_failure", json!("No space left on device")),
            ("broker_lacks", json!(["retained messages"])),
            (
                "broker_limits",
                json!({
                    "receive_maximum": 20,
                    "maximum_packet_size": null,
                    "maximum_qos": 1,
                    "session_expiry_s": null,
                    "keep_alive_s": 30,
                }),
            ),
        ] {
            assert_eq!(report[key], value, "{key}");
        }
        assert!(report["uptime_s"].is_u64(), "{report}");
        let cause = Disconnection::Lost { error: "gone".into() };
        test.note(&Notice::Offline { cause, retry_in: Duration::from_secs(1) });
        assert_eq!(test.report()["online"], json!(false));
    }

    #[test]
    fn what_ends_says_so_last() {
        let mut test = TestService::new(None);
        test.note(&Notice::Online { session_present: true });
        test.told();
        test.service.stopping();
        test.service.devices_changed();
        test.turn(9000);
        assert_eq!(test.told(), ["STOPPING=1", "STATUS=stopping"]);
    }

    #[test]
    fn a_store_that_cannot_be_written_shows_until_it_can() {
        let mut test = TestService::new(None);
        test.service.store_changed(Some("No space left on device"));
        test.turn(0);
        let failing = "STATUS=connecting; devices: 3 ready; the state cannot be written: \
                       No space left on device";
        assert_eq!(test.told(), [failing]);
        test.service.store_changed(None);
        test.turn(1000);
        assert_eq!(test.told(), ["STATUS=connecting; devices: 3 ready"]);
    }
}
