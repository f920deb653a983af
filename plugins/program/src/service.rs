//! Which devices have a program of their own, and which share one.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hearthd_program::Waker;
use hearthd_sdk::Context;

use crate::config::{Config, Launch};
use crate::supervisor::{Mail, Supervisor};

/// A program that serves devices; the last device to drop it ends it, and waits until it has ended.
#[derive(Debug)]
pub(crate) struct Service {
    mail: Option<Sender<Mail>>,
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
static SHARED: Mutex<Shared> = Mutex::new(Shared::new());

type Shared = BTreeMap<Launch, (Arc<Service>, usize)>;

impl Service {
    fn start(launch: Launch, context: &Context) -> io::Result<Self> {
        let (waker, alarm) = Waker::pair()?;
        let (mail, incoming) = channel();
        let supervisor = Supervisor::new(launch, incoming, alarm);
        let thread = context.spawn(move || supervisor.run())?;
        Ok(Self { mail: Some(mail), waker: Some(waker), thread: Some(thread) })
    }

    fn send(&self, mail: Mail) -> bool {
        let is_sent = self.mail.as_ref().is_some_and(|sender| sender.send(mail).is_ok());
        if let Some(waker) = &self.waker {
            waker.wake();
        }
        is_sent
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // In this order: the thread wakes when the waker is dropped, and then finds nobody left.
        drop(self.mail.take());
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

    /// Hands something to the thread; returns false, and drops it, where that has ended.
    pub(crate) fn send(&self, mail: Mail) -> bool {
        self.service.as_ref().is_some_and(|service| service.send(mail))
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

fn lock() -> MutexGuard<'static, Shared> {
    // It is whole whatever happened to whoever had it.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}
