//! Which devices have a program of their own, and which share one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use hearthd_program::Waker;
use hearthd_sdk::Context;

use crate::config::{Config, Launch};
use crate::exchange::{Exchange, Shared, Wake};
use crate::supervisor::Supervisor;

/// A program that serves devices; the last device to drop it ends it, and waits until it has ended.
#[derive(Debug)]
pub(crate) struct Service {
    exchange: Shared,
    waker: Option<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// A device's part of a service.
#[derive(Debug)]
pub(crate) struct Membership {
    service: Option<Arc<Service>>,
    /// Under which others may join.
    shared: Option<Launch>,
}

/// The programs that several devices share, each with the number of these devices.
static SHARED: Mutex<Services> = Mutex::new(Services::new());

type Services = BTreeMap<Launch, (Arc<Service>, usize)>;

impl Service {
    fn start(launch: Launch, context: &Context) -> io::Result<Self> {
        let (waker, alarm) = Waker::pair()?;
        let exchange = Shared::new(launch.start);
        let supervisor = Supervisor::new(launch, exchange.clone(), alarm);
        let thread = context.spawn(move || supervisor.run())?;
        Ok(Self { exchange, waker: Some(waker), thread: Some(thread) })
    }

    /// Does a step of the exchange with the program; the thread that listens hears of it where it has to. Returns false, and
    /// does nothing, where that has ended.
    pub(crate) fn step(&self, step: impl FnOnce(&mut Exchange)) -> bool {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return false;
        }
        let ((), wake) = self.exchange.step(step);
        if let (Wake::Yes, Some(waker)) = (wake, &self.waker) {
            waker.wake();
        }
        true
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // In this order: the thread wakes when the waker is dropped, and then finds that it is over.
        self.exchange.step(Exchange::close);
        drop(self.waker.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a program had panicked");
        }
    }
}

impl Membership {
    /// Joins the program of a table, or starts one.
    ///
    /// # Errors
    /// The system starts no thread, or has no pipe left.
    pub(crate) fn take(config: &Config, context: &Context) -> io::Result<Self> {
        let launch = config.launch();
        if !config.shared {
            let service = Arc::new(Service::start(launch, context)?);
            return Ok(Self { service: Some(service), shared: None });
        }
        let mut all = lock();
        let service = match all.get_mut(&launch) {
            Some((service, devices)) => {
                *devices += 1;
                Arc::clone(service)
            }
            None => {
                let service = Arc::new(Service::start(launch.clone(), context)?);
                all.insert(launch.clone(), (Arc::clone(&service), 1));
                service
            }
        };
        Ok(Self { service: Some(service), shared: Some(launch) })
    }

    /// Does a step of the exchange with the program, as [`Service::step`] does.
    pub(crate) fn step(&self, step: impl FnOnce(&mut Exchange)) -> bool {
        self.service.as_ref().is_some_and(|service| service.step(step))
    }

    /// Returns the service, for devices that the program adds to this one: they do not keep it.
    pub(crate) fn service(&self) -> Weak<Service> {
        self.service.as_ref().map(Arc::downgrade).unwrap_or_default()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(launch) = self.shared.take() {
            let mut all = lock();
            if let Some((_, devices)) = all.get_mut(&launch) {
                *devices -= 1;
                if *devices == 0 {
                    all.remove(&launch);
                }
            }
        }
        // Without the lock: whoever has the last of them waits until the program has ended.
        drop(self.service.take());
    }
}

fn lock() -> MutexGuard<'static, Services> {
    // It is whole whatever happened to whoever had it.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}
