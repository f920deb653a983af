//! The log of a trial, kept line by line.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::sync::lock;

/// The lines that were logged and not taken.
#[derive(Clone, Debug, Default)]
pub(super) struct LogLines(Arc<Mutex<Vec<u8>>>);

impl LogLines {
    /// Takes the log of this process, as far as the filter lets it.
    pub(super) fn install(filter: Targets) -> Self {
        let lines = Self::default();
        let text = tracing_subscriber::fmt::layer().with_writer(lines.clone());
        let text = text.with_target(false).with_ansi(false).without_time();
        tracing_subscriber::registry().with(filter).with(text).init();
        lines
    }

    /// Takes the whole lines that were logged.
    pub(super) fn take(&self) -> Vec<String> {
        let mut bytes = lock(&self.0);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let taken: Vec<u8> = bytes.drain(..whole).collect();
        String::from_utf8_lossy(&taken).lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogLines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
