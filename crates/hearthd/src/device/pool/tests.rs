//! Devices on a system that starts threads only when a test lets it.

use std::{
    path::Path,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use hearthd_core::{Answer, Request, RequestId};
use hearthd_sdk::{Changes, Context, Device, Failure, NoConfig, Property};

use super::*;
use crate::{
    config::{Config, Limits},
    device::{
        DeviceEvent, Devices, LOOK_INTERVAL, LOOK_INTERVAL_AT_REST, Remembered, crashes::Crashes,
    },
    plugin::{KindTable, Launcher, Plugins},
};

/// A device whose `wait` takes until the test says go.
struct Patient {
    context: Context,
}

impl Device for Patient {
    const KIND: &'static str = "patient";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![Property::switch("power"), Property::switch("wait").write_only()]
    }

    fn create(_: NoConfig, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self { context })
    }

    fn set(&mut self, changes: &Changes) -> Result<hearthd_sdk::Answer, Failure> {
        if changes.switch("wait").is_some() {
            let (_, go) = gate();
            let go = go.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = go.recv_timeout(PATIENCE);
        }
        if let Some(on) = changes.switch("power") {
            self.context.publish("power", on);
        }
        Ok(hearthd_sdk::Answer::Done)
    }
}

fn gate() -> &'static (Sender<()>, Mutex<Receiver<()>>) {
    static GATE: OnceLock<(Sender<()>, Mutex<Receiver<()>>)> = OnceLock::new();
    GATE.get_or_init(|| {
        let (go, wait) = channel();
        (go, Mutex::new(wait))
    })
}

/// Threads that the system starts before it refuses.
type Allowed = Arc<AtomicUsize>;

fn pool(threads: usize) -> (Arc<Pool>, Allowed) {
    let allowed: Allowed = Arc::new(AtomicUsize::new(threads));
    let left = Arc::clone(&allowed);
    let start = Starter::default();
    let starter = Starter(Box::new(move |pool| {
        let taken =
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match taken {
            Ok(_) => (start.0)(pool),
            Err(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }));
    (Arc::new(Pool { starter, ..Pool::default() }), allowed)
}

#[expect(unsafe_code, reason = "a kind is a C table")]
fn start(pool: Arc<Pool>) -> Devices {
    let table = hearthd_sdk::export::kind::<Patient>();
    // SAFETY: the SDK makes tables of constants.
    let table = unsafe { &*table };
    // SAFETY: its tables follow the ABI.
    let kind = unsafe { KindTable::new(table) }.unwrap();
    let plugins = Plugins::from_kinds([kind], &Launcher::new(Limits::default()));
    let text = ["a", "b", "c"].map(|id| format!("[devices.{id}]\nplugin = \"patient\"\n"));
    let config = Config::parse(Path::new("test.toml"), &text.concat()).unwrap();
    Devices::start_in(pool, &config, &plugins, Remembered::default(), Crashes::default()).unwrap()
}

fn request(devices: &mut Devices, id: u64, device: &str, property: &str) {
    devices.request(Request {
        id: RequestId(id),
        device: device.into(),
        property: property.into(),
        payload: "ON".into(),
        content_type: None,
        remaining: PATIENCE,
    });
    devices.wake();
}

/// Waits for the answer to a request, as the driver waits.
#[track_caller]
fn answer(devices: &mut Devices, id: u64) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = async {
        loop {
            if let DeviceEvent::Answered { id: answered, answer } = devices.next().await
                && answered == RequestId(id)
            {
                return answer;
            }
        }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await }).expect("an answer")
}

#[track_caller]
fn wait_until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

const REFUSED: &str = "`b` waits for a thread that the system does not start";

#[test]
fn a_system_without_threads_is_told_and_asked_again() {
    let (pool, allowed) = pool(0);
    let mut devices = start(pool);
    assert!(!devices.are_served());
    request(&mut devices, 1, "b", "power");
    assert_eq!(answer(&mut devices, 1).message.as_deref(), Some(REFUSED));
    allowed.store(8, Ordering::SeqCst);
    devices.looked -= LOOK_INTERVAL;
    let mut id = 1;
    loop {
        id += 1;
        request(&mut devices, id, "b", "power");
        let answer = answer(&mut devices, id);
        if answer.status.is_success() {
            break;
        }
        assert_eq!(answer.message.as_deref(), Some(REFUSED));
    }
    assert!(devices.are_served());
    devices.stop(PATIENCE);
}

#[test]
fn one_thread_serves_all_and_a_hang_on_it_is_answered_for_the_others() {
    let (pool, allowed) = pool(1);
    let mut devices = start(Arc::clone(&pool));
    for id in 1..=20 {
        request(&mut devices, id, "b", "power");
        assert_eq!(answer(&mut devices, id).status.code(), 200);
    }
    assert!(devices.are_served());
    request(&mut devices, 21, "a", "wait");
    wait_until(|| pool.lock().leader.is_some_and(|(_, since)| since.elapsed() >= LOST));
    request(&mut devices, 22, "c", "power");
    assert!(!devices.are_served());
    request(&mut devices, 23, "b", "power");
    assert_eq!(answer(&mut devices, 23).message.as_deref(), Some(REFUSED));
    allowed.store(8, Ordering::SeqCst);
    devices.looked -= LOOK_INTERVAL;
    assert_eq!(answer(&mut devices, 22).status.code(), 200, "a thread after all");
    assert!(devices.are_served());
    gate().0.send(()).unwrap();
    assert_eq!(answer(&mut devices, 21).status.code(), 204);
    devices.stop(PATIENCE);
}

#[test]
fn a_hung_call_wakes_no_thread() {
    let (pool, _) = pool(8);
    let mut inner = pool.lock();
    let now = Instant::now();
    inner.leader = Some((1, now.checked_sub(SLOW).unwrap()));
    inner.dismiss_slow_leader(now);
    assert_eq!(inner.leader, None, "nobody looks after it any more");
    assert_eq!(inner.take_time(), None);
}

#[test]
fn one_idle_thread_wakes_for_an_alarm_and_another_one_for_an_earlier_alarm() {
    let (pool, _) = pool(8);
    let mut inner = pool.lock();
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    let (early, late) = (at(5), at(10));
    inner.alarms.insert((late, MemberId(1)));
    assert_eq!(inner.take_time(), Some(late));
    assert_eq!(inner.take_time(), None, "somebody wakes by then");
    inner.alarms.insert((early, MemberId(2)));
    assert_eq!(inner.take_time(), Some(early));
    assert_eq!(inner.take_time(), None);
}

#[test]
fn a_request_to_devices_at_rest_is_looked_after_once_it_can_hang() {
    let (pool, _) = pool(8);
    let mut devices = start(pool);
    devices.look_interval = LOOK_INTERVAL_AT_REST;
    let long_ago = LOOK_INTERVAL_AT_REST - LOOK_INTERVAL;
    devices.looked -= long_ago;
    request(&mut devices, 41, "a", "power");
    assert_eq!(devices.look_interval, LOOK_INTERVAL);
    assert!(devices.looked.elapsed() < long_ago, "the next look finds the call");
    assert_eq!(answer(&mut devices, 41).status.code(), 200);
    devices.stop(PATIENCE);
}

const PATIENCE: Duration = Duration::from_secs(20);
