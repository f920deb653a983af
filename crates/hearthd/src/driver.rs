//! The main loop: performs the core's outputs, and passes it events from link, devices, store, signals and time.

mod hub_config;
mod linger;

use std::{
    mem, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hearthd_core::{
    Answer, BridgeOutput, Disconnection, Fatal, Hub, Input, Kept, Now, Output, Request, RequestId,
    Status, Will,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::yield_now,
    time::sleep,
};
use tracing::{info, warn};

use self::{
    hub_config::{discovery, hub_config, policies},
    linger::Linger,
};
use crate::{
    config::{Broker, Config},
    device::{DeviceEvent, Devices},
    link::{ConnectOptions, Link, LinkEvent, LinkFull},
    metrics::{Metrics, Present},
    notice::NoticeLog,
    plugin::STATUS,
    preflight::Accepted,
    random::random_bytes,
    reload::Reloader,
    service::Service,
    store::{Store, StoreEvent},
};

/// The parts that the driver connects.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The configuration.
    pub config: Config,
    /// What the store has kept of earlier lives.
    pub kept: Kept,
    /// The store.
    pub store: Store,
    /// What the store reports.
    pub stored: mpsc::UnboundedReceiver<StoreEvent>,
    /// The devices.
    pub devices: Devices,
    /// What brings another configuration while the daemon runs.
    pub reloader: Reloader,
    /// What the daemon tells systemd.
    pub service: Service,
}

/// Why the daemon did not end in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    /// The hub cannot go on.
    #[error("the broker offers no Response Information, and `required = true`{}",
            .0.as_deref().map(|error| format!(": {error}")).unwrap_or_default())]
    ResponseInformationRequired(Option<String>),
    /// Signals cannot be heard.
    #[error("listen for signals: {0}")]
    Signals(#[from] std::io::Error),
    /// The store's thread has ended: nothing would be remembered any more.
    #[error("the store's thread has ended")]
    StoreEnded,
    /// A second signal came while the daemon drained.
    #[error("ended at once by a second signal")]
    Interrupted,
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// Where it could not start, or could not end in order.
pub(crate) async fn run(parts: Parts) -> Result<(), DriverError> {
    let Parts { config, kept, store, stored, devices, reloader, service } = parts;
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let hub = Hub::new(hub_config(&config, &devices), kept, random_bytes);
    let broker = config.broker.at(0);
    let mut driver = Driver {
        config,
        hub,
        link: None,
        address: 0,
        broker,
        connected: true,
        next_delivery: 0,
        relayed: false,
        store,
        stored,
        devices,
        reloader,
        terminate,
        interrupt,
        hangup,
        stopping: false,
        service,
        metrics: Metrics::default(),
        notices: NoticeLog::default(),
        linger: Linger::default(),
        handed_over: false,
    };
    let result = driver.drive().await;
    let now = driver.now();
    let Driver { mut hub, store, devices, .. } = driver;
    for event in devices.stop(DEVICE_GRACE) {
        if let DeviceEvent::Saved { device, state } = event {
            hub.handle(now, Input::Saved { device, state: state.into() });
        }
    }
    while let Some(output) = hub.poll_output() {
        if let Output::Store { revision, change } = output {
            store.put(revision, change);
        }
    }
    store.close();
    result
}

/// The state of the main loop.
struct Driver {
    config: Config,
    hub: Hub,
    link: Option<Link>,
    /// Which of the broker's addresses is in use, or tried next.
    address: usize,
    /// The broker at that address.
    broker: Broker,
    /// The last link got its CONNACK; true before there was any.
    connected: bool,
    next_delivery: u64,
    /// The next connection goes through a relay.
    relayed: bool,
    store: Store,
    stored: mpsc::UnboundedReceiver<StoreEvent>,
    devices: Devices,
    reloader: Reloader,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    stopping: bool,
    service: Service,
    metrics: Metrics,
    notices: NoticeLog,
    linger: Linger,
    /// The link has got something to write since it last had its turn.
    handed_over: bool,
}

impl Driver {
    async fn drive(&mut self) -> Result<(), DriverError> {
        let mut burst = 0;
        loop {
            while let Some(output) = self.hub.poll_output() {
                if let Output::Stopped(result) = output {
                    return result.map_err(|fatal| match fatal {
                        Fatal::ResponseInformationRequired { error } => {
                            DriverError::ResponseInformationRequired(error)
                        }
                    });
                }
                self.perform(output);
            }
            let ready = if burst < LONGEST_BURST { self.soon().await } else { None };
            let input = if ready.is_some() {
                burst += 1;
                ready
            } else {
                self.devices.wake();
                if burst == LONGEST_BURST {
                    // The link's task writes what has gathered, however much more has come meanwhile.
                    yield_now().await;
                }
                burst = 0;
                self.wait().await?
            };
            let now = self.now();
            if let Some(input) = input {
                self.hub.handle(now, input);
            }
            let devices = &self.devices;
            self.service.turn(now.monotonic, || devices.are_served(), || devices.census());
        }
    }

    /// Returns an input that is available already, so that inputs that come together wake each device once.
    fn ready_input(&mut self) -> Option<Input> {
        if let Some(event) = self.link.as_mut().and_then(Link::try_next) {
            return Some(self.on_link(event));
        }
        if let Some(event) = self.devices.try_next() {
            return Some(self.on_device(event));
        }
        let event = self.stored.try_recv().ok()?;
        Some(self.on_store(event))
    }

    /// Returns an input that is available already, or the answer of a device that is woken for it, if that is quick.
    async fn soon(&mut self) -> Option<Input> {
        if let Some(input) = self.ready_input() {
            return Some(input);
        }
        if !self.devices.wake() {
            return None;
        }
        if mem::take(&mut self.handed_over) {
            // The link's task writes first: what it has may be somebody's answer.
            yield_now().await;
        }
        let give_way = || {
            thread::yield_now();
            Instant::now()
        };
        let event = self.linger.wait(Instant::now(), give_way, || self.devices.try_next())?;
        Some(self.on_device(event))
    }

    /// Waits for whatever happens next.
    async fn wait(&mut self) -> Result<Option<Input>, DriverError> {
        self.handed_over = false;
        let timeout = self.hub.poll_timeout().into_iter().chain(self.service.due()).min();
        let input = tokio::select! {
            event = next_event(&mut self.link) => Some(self.on_link(event)),
            event = self.devices.next() => Some(self.on_device(event)),
            event = self.stored.recv() => Some(self.on_store(event.ok_or(DriverError::StoreEnded)?)),
            () = sleep_until(timeout) => Some(Input::Elapsed),
            _ = self.terminate.recv() => Some(self.on_signal()?),
            _ = self.interrupt.recv() => Some(self.on_signal()?),
            _ = self.hangup.recv() => {
                self.begin_reload(None);
                None
            }
            outcome = self.reloader.checked() => {
                self.finish_reload(outcome);
                None
            }
        };
        Ok(input)
    }

    fn on_link(&mut self, event: LinkEvent) -> Input {
        match event {
            LinkEvent::Connected(connack) => {
                self.connected = true;
                self.service.connected(&connack);
                Input::Connected(connack)
            }
            LinkEvent::Subscribed(reason_codes, _) => Input::Subscribed { reason_codes },
            LinkEvent::Received(message, delivery) => Input::Received { message, delivery },
            LinkEvent::Unreadable { topic, error } => Input::Unreadable { topic, error },
            LinkEvent::Published(id, reason_code, _) => Input::Published { id, reason_code },
            LinkEvent::Closed(cause) => {
                self.drop_link();
                Input::Disconnected(cause)
            }
        }
    }

    fn on_store(&mut self, event: StoreEvent) -> Input {
        match event {
            StoreEvent::Stored { revision } => {
                self.service.store_changed(None);
                Input::Stored { revision }
            }
            StoreEvent::Failed { revision, error } => {
                self.service.store_changed(Some(&error));
                Input::StoreFailed { revision, error }
            }
        }
    }

    fn on_device(&mut self, event: DeviceEvent) -> Input {
        match event {
            DeviceEvent::Answered { id, answer } => Input::Answered { request: id, answer },
            DeviceEvent::Ended { id, answer } => Input::Ended { request: id, answer },
            DeviceEvent::State(state) => {
                if state.property == STATUS {
                    self.service.devices_changed();
                }
                Input::State(state)
            }
            DeviceEvent::Happened(happened) => Input::Happened(happened),
            DeviceEvent::Bridge { device, input } => Input::Bridge { device, input },
            DeviceEvent::Saved { device, state } => Input::Saved { device, state: state.into() },
            DeviceEvent::Children { device, children } => self.on_children(device, children),
        }
    }

    /// A device has added or removed devices of its own: the hub serves what is there now.
    fn on_children(&mut self, device: String, children: Vec<u8>) -> Input {
        self.service.devices_changed();
        self.keep_metrics();
        let devices = policies(&self.devices);
        let discovery = discovery(&self.config, &self.devices);
        Input::Children { device, children: children.into(), devices, discovery }
    }

    fn keep_metrics(&mut self) {
        let served = self.devices.configs().map(|device| device.id.as_str());
        self.metrics.keep_only(&served.chain([&*self.config.broker.client_id]).collect());
    }

    fn on_signal(&mut self) -> Result<Input, DriverError> {
        if mem::replace(&mut self.stopping, true) {
            return Err(DriverError::Interrupted);
        }
        info!("stopping");
        self.service.stopping();
        for request in self.reloader.give_up() {
            let text = "nothing has changed: the hub ends";
            self.answer(request, Answer::failure(Status::Unavailable, text));
        }
        Ok(Input::Shutdown)
    }

    /// Performs one output. Where that brings an input at once, as an answer of the hub's own or the end of a link does,
    /// the hub gets it in between: it appends what follows to its outputs, so nothing is overtaken.
    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { will } => self.connect(will.as_ref()),
            Output::Disconnect => self.link.iter_mut().for_each(Link::disconnect),
            Output::Protest => self.link.iter_mut().for_each(Link::protest),
            Output::Subscribe(filters) => self.with_link(|link| link.subscribe(&filters)),
            Output::Publish { id, message } => self.with_link(|link| link.publish(id, message)),
            Output::Acknowledge(delivery) => self.with_link(|link| {
                link.acknowledge(delivery);
                Ok(())
            }),
            Output::Unsubscribe(filters) => self.with_link(|link| link.unsubscribe(&filters)),
            Output::Store { revision, change } => self.store.put(revision, change),
            Output::Execute(request) => self.execute(request),
            Output::Absence(absence) => {
                info!(
                    outcome = absence.outcome.as_str(),
                    generation = absence.generation.name(),
                    connected_at = absence.connected_at,
                    acknowledgements = absence.acknowledgements.len(),
                    "absence"
                );
                self.metrics.count_will(absence.outcome);
                self.devices.absence(&absence);
            }
            Output::Bridge { device, output } => {
                if matches!(output, BridgeOutput::Refused { .. }) {
                    self.service.devices_changed();
                }
                self.devices.bridge(&device, output);
            }
            Output::Notice(notice) => {
                self.metrics.note(&notice);
                self.service.note(&notice, &self.broker, || self.devices.census());
                self.notices.write(since_boot(), &notice, &self.broker);
            }
            Output::Stopped(_) => {}
        }
    }

    fn connect(&mut self, will: Option<&Will>) {
        // A broker that refused is asked once more, through the relay, to hear why.
        if !self.connected && !self.relayed {
            self.address += 1;
            self.broker = self.config.broker.at(self.address);
        }
        self.connected = false;
        let options = ConnectOptions {
            broker: &self.broker,
            client_id: &self.broker.client_id,
            keep_session: true,
            will,
            relayed: self.relayed,
        };
        match Link::open(&options, self.next_delivery) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.lose(Disconnection::Unreachable { error }),
        }
    }

    fn with_link(&mut self, act: impl FnOnce(&mut Link) -> Result<(), LinkFull>) {
        let Some(link) = &mut self.link else { return };
        self.handed_over = true;
        if act(link).is_err() {
            self.drop_link();
            self.lose(Disconnection::Lost { error: "the send queue is full".into() });
        }
    }

    fn lose(&mut self, cause: Disconnection) {
        let now = self.now();
        self.hub.handle(now, Input::Disconnected(cause));
    }

    fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            self.next_delivery = link.next_delivery();
            self.relayed = link.wants_relay();
        }
    }

    /// The hub's own properties are answered here; all others by their device.
    fn execute(&mut self, request: Request) {
        if *request.device != *self.config.broker.client_id {
            return self.devices.request(request);
        }
        let answer = match &*request.property {
            "devices" => Answer::json(&self.devices.list()),
            "status" => Answer::json(&self.service.report(&self.devices.census())),
            "metrics" => Answer::text(self.metrics_text()),
            "reload" => return self.begin_reload(Some(request.id)),
            "restart" => self.devices.restart(String::from_utf8_lossy(&request.payload).trim()),
            other => {
                let text = format!(
                    "the hub has no `{other}`; it has `devices`, `status`, `absences`, `metrics`, \
                     `reload` and `restart`"
                );
                Answer::failure(Status::NotFound, text).about(other, None)
            }
        };
        self.answer(request.id, answer);
    }

    fn metrics_text(&self) -> String {
        self.metrics.text(&Present {
            uptime: self.service.uptime(),
            online: self.service.is_online(),
            can_store: self.service.can_store(),
            census: &self.devices.census(),
            devices: &self.devices.readiness(),
            temperatures: &self.devices.temperatures(),
        })
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        let now = self.now();
        self.hub.handle(now, Input::Answered { request, answer });
    }

    fn begin_reload(&mut self, request: Option<RequestId>) {
        if self.stopping {
            return;
        }
        self.service.reloading();
        self.reloader.begin(&self.config, self.devices.checked(), request);
    }

    fn finish_reload(&mut self, outcome: Result<Accepted, String>) {
        let (answers, config) = self.reloader.finish(&self.config, &mut self.devices, outcome);
        if let Some(config) = config {
            self.config = config;
            self.keep_metrics();
            let now = self.now();
            self.hub.handle(now, Input::AllowBridges(self.config.allow_bridges.clone()));
            self.hub.handle(now, Input::Discovery(discovery(&self.config, &self.devices)));
            self.hub.handle(now, Input::Devices(policies(&self.devices)));
        }
        for (request, answer) in answers {
            self.answer(request, answer);
        }
        if self.reloader.take_again() {
            self.begin_reload(None);
        } else {
            self.service.reloaded();
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_else(|_| {
            warn!("the system's clock is before 1970");
            Duration::ZERO
        });
        Now { monotonic: since_boot(), unix }
    }
}

async fn next_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => sleep(timeout.saturating_sub(since_boot())).await,
        None => std::future::pending().await,
    }
}

/// Reads the clock of all deadlines: it never jumps, and continues when the daemon starts again.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::try_from(time).expect("a time since boot is not negative")
}

/// How many inputs are handled before the link, the devices and signals get their turn.
const LONGEST_BURST: usize = 64;
/// How long the devices may take to end.
const DEVICE_GRACE: Duration = Duration::from_secs(2);
