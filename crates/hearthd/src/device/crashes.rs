//! Which device had a call under way when the daemon crashed in an earlier life, and what follows from it.
//!
//! [`calls`] is what a crash leaves behind; the history beside it says what has been learned from it since the machine
//! was started.

pub(crate) mod calls;
mod fatal;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::host::monotonic_ms;
use calls::{Calls, Ending, Found, Left};

/// What earlier lives of the daemon tell of its devices.
#[derive(Debug, Default)]
pub struct Crashes {
    pub(super) calls: Calls,
    /// When each device has crashed the daemon, within the failure window.
    by_device: BTreeMap<String, Vec<Instant>>,
    /// The requests that were being carried out, and shall not be again.
    refused: Vec<Refused>,
    window: Duration,
}

#[derive(Debug)]
struct Refused {
    device: String,
    request: u64,
    reason: String,
    until: Instant,
}

/// One end of the daemon, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    device: String,
    request: u64,
    /// Nobody knows how the daemon ended: somebody may have killed it.
    silent: bool,
    /// It is held against the device.
    counts: bool,
    /// On the clock that goes on until the machine is started anew.
    at_ms: u64,
    boot: String,
}

impl Crashes {
    /// Reads what earlier lives have left in a folder, and has a crash of this one leave its traces there.
    ///
    /// # Errors
    /// Where the folder cannot be written to; nothing is learned from a crash then.
    pub fn open(folder: &Path, window: Duration) -> io::Result<Self> {
        let (calls, left) = Calls::open(&folder.join(CALLS))?;
        fatal::watch()?;
        let history = folder.join(HISTORY);
        let mut entries = read_history(&history);
        let now = monotonic_ms();
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        entries.retain(|entry| now.saturating_sub(entry.at_ms) <= window_ms);
        let mut crashes = Self { calls, window, ..Self::default() };
        for found in crashes.tell(left) {
            crashes.learn(found, &mut entries, now);
        }
        for entry in entries.iter().filter(|entry| entry.counts) {
            let ago = Duration::from_millis(now.saturating_sub(entry.at_ms));
            let at = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
            crashes.by_device.entry(entry.device.clone()).or_default().push(at);
        }
        write_history(&history, &entries)?;
        Ok(crashes)
    }

    /// Tells what the last life has left; returns the calls in which it may have ended.
    fn tell(&self, left: Left) -> Vec<Found> {
        if let Some(ending) = left.outside {
            error!(ended_by = %ending, "the hub crashed, and not in a call of a device's plugin");
        }
        left.calls
    }

    fn learn(&mut self, found: Found, entries: &mut Vec<Entry>, now: u64) {
        let Found { device, work, property, request, ending } = found;
        let silent = ending == Ending::Silent;
        // A kill from outside hits any call; twice in a row the same one is no chance any more.
        let again =
            |entry: &Entry| entry.silent && entry.device == device && entry.request == request;
        let counts = !silent || entries.iter().any(again);
        let entry = Entry { device, request, silent, counts, at_ms: now, boot: boot() };
        let device = &entry.device;
        if counts {
            let call = work.as_str();
            error!(device, call, property, ended_by = %ending, "the hub crashed in a call of the device's plugin");
        } else {
            warn!(
                device,
                call = work.as_str(),
                property,
                "the hub ended in a call of the device's plugin"
            );
        }
        if counts && request != 0 {
            let reason =
                format!("the hub crashed while `{device}` carried out this request: {ending}");
            let until = Instant::now() + self.window;
            self.refused.push(Refused { device: device.clone(), request, reason, until });
        }
        entries.push(entry);
    }

    /// Returns when a device has crashed the daemon.
    pub(super) fn of(&self, device: &str) -> Vec<Instant> {
        self.by_device.get(device).cloned().unwrap_or_default()
    }

    /// Returns why a request is not carried out: it has crashed the daemon. The next equal one may try again.
    pub(super) fn refuse(&mut self, device: &str, request: impl FnOnce() -> u64) -> Option<String> {
        if !self.refused.iter().any(|refused| refused.device == device) {
            return None;
        }
        let now = Instant::now();
        self.refused.retain(|refused| refused.until > now);
        let request = request();
        let same = |refused: &Refused| refused.device == device && refused.request == request;
        let at = self.refused.iter().position(same)?;
        Some(self.refused.swap_remove(at).reason)
    }

    /// Says that the daemon ends in order, whatever call is still under way.
    pub fn end_in_order(&self) {
        self.calls.end_in_order();
    }
}

/// Returns where a crash of the daemon leaves its traces: in memory, where the service has a folder there.
pub fn folder(state: &Path) -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| state.to_owned(), PathBuf::from)
}

fn read_history(file: &Path) -> Vec<Entry> {
    // Without a history, or with one of another version, all begins anew.
    let entries = fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut entries: Vec<Entry> = entries.unwrap_or_default();
    let boot = boot();
    entries.retain(|entry| entry.boot == boot);
    entries
}

/// Writes the history as a whole; what has gone with a power cut need not be known.
fn write_history(file: &Path, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() && !file.exists() {
        return Ok(());
    }
    let new = file.with_extension("new");
    let newest = &entries[entries.len().saturating_sub(MOST_ENTRIES)..];
    fs::write(&new, serde_json::to_vec(newest)?)?;
    fs::rename(new, file)
}

/// Returns what names this start of the machine.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

const CALLS: &str = "calls";
const HISTORY: &str = "crashes.json";
const MOST_ENTRIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::{calls::Work, *};

    const WINDOW: Duration = Duration::from_secs(600);

    fn found(device: &str, request: u64, ending: Ending) -> Found {
        Found {
            device: device.into(),
            work: Work::Command,
            property: "power".into(),
            request,
            ending,
        }
    }

    /// Learns of one end of the daemon after the other.
    fn learn(endings: &[Found]) -> (Crashes, Vec<Entry>) {
        let mut crashes = Crashes { window: WINDOW, ..Crashes::default() };
        let mut entries = Vec::new();
        for found in endings {
            crashes.learn(found.clone(), &mut entries, 0);
        }
        (crashes, entries)
    }

    #[test]
    fn a_request_that_crashed_the_hub_is_refused_once() {
        let (mut crashes, _) = learn(&[found("lamp", 7, Ending::Signal(libc::SIGSEGV))]);
        assert_eq!(crashes.refuse("lamp", || 8), None);
        assert_eq!(crashes.refuse("heater", || 7), None);
        let reason = crashes.refuse("lamp", || 7).unwrap();
        assert_eq!(
            reason,
            "the hub crashed while `lamp` carried out this request: signal 11 (SIGSEGV)"
        );
        assert_eq!(crashes.refuse("lamp", || 7), None);
    }

    #[test]
    fn a_kill_from_outside_counts_only_when_it_hits_the_same_call_again() {
        let silent = |request| found("lamp", request, Ending::Silent);
        let counts = |endings: &[Found]| {
            let (_, entries) = learn(endings);
            entries.iter().map(|entry| entry.counts).collect::<Vec<_>>()
        };
        assert_eq!(counts(&[silent(7)]), [false]);
        assert_eq!(counts(&[silent(7), silent(8)]), [false, false]);
        assert_eq!(counts(&[silent(7), silent(7)]), [false, true]);
    }

    #[test]
    fn the_history_goes_with_the_boot_and_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(HISTORY);
        let now = monotonic_ms();
        let entry = |device: &str, at_ms, boot: &str| Entry {
            device: device.into(),
            request: 1,
            silent: false,
            counts: true,
            at_ms,
            boot: boot.into(),
        };
        let long_ago = now.saturating_sub(700_000);
        let entries =
            [entry("a", now, &boot()), entry("b", long_ago, &boot()), entry("c", now, "")];
        write_history(&file, &entries).unwrap();
        let crashes = Crashes::open(folder.path(), WINDOW).unwrap();
        assert_eq!(crashes.of("a").len(), 1);
        let long_up = now > 700_000;
        assert_eq!(crashes.of("b").len(), usize::from(!long_up));
        assert_eq!(crashes.of("c").len(), 0);
        fs::write(&file, "[{").unwrap();
        assert_eq!(Crashes::open(folder.path(), WINDOW).unwrap().of("a").len(), 0);
    }
}
