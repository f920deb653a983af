//! The log of this binary, kept for tests to read.

use std::{
    io::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps all lines from now on.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_ansi(false).with_writer(|| Keeper).init();
    });
}

/// Counts the lines so far that contain all these texts.
pub(crate) fn lines_with(texts: &[&str]) -> usize {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = String::from_utf8_lossy(&kept);
    kept.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
