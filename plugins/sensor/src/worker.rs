//! A thermometer of this machine, on a thread of its own: one that hangs in the kernel holds up nothing.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use hearthd_hardware::{Root, Thermometer};
use hearthd_sdk::{Context, Failure};

/// A thermometer's thread; it ends once this is dropped and its reading is over.
#[derive(Debug)]
pub(crate) struct Worker {
    trigger: SyncSender<()>,
    readings: Receiver<Result<f64, String>>,
    /// Whether a reading was asked for and has not come.
    asked: bool,
}

impl Worker {
    /// Starts the thread; nobody waits for its end, as a reading may hang for as long as it likes.
    pub(crate) fn start(
        thermometer: Thermometer,
        root: Root,
        context: Context,
    ) -> Result<Self, Failure> {
        let (trigger, triggered) = sync_channel(1);
        let (sender, readings) = sync_channel(1);
        let read = move || {
            while let Ok(()) = triggered.recv() {
                let value = thermometer.read(&root).map_err(|error| error.to_string());
                if sender.send(value).is_err() {
                    return;
                }
                context.wake();
            }
        };
        std::thread::Builder::new()
            .name("thermometer".to_owned())
            .spawn(read)
            .map_err(|error| Failure::failed(format!("start a thread: {error}")))?;
        Ok(Self { trigger, readings, asked: false })
    }

    /// Asks for a reading, and returns whether the one before is still to come.
    pub(crate) fn ask(&mut self) -> bool {
        // Full: the thermometer is still at its last reading.
        let _ = self.trigger.try_send(());
        std::mem::replace(&mut self.asked, true)
    }

    /// Returns the reading that has come.
    pub(crate) fn reading(&mut self) -> Option<Result<f64, String>> {
        let reading = self.readings.try_iter().last()?;
        self.asked = false;
        Some(reading)
    }
}
