//! Finds the device that had a call in progress when the daemon crashed, and decides what follows.
//!
//! `calls` is what a crash leaves behind. The history beside it keeps what was learned from it since the machine was
//! started.

pub(crate) mod calls;
mod fatal;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::boundary::host::monotonic_ms;
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

/// A request that has crashed the daemon, and how it is answered when it comes again.
#[derive(Debug)]
struct Refused {
    device: String,
    request: u64,
    reason: String,
    until: Instant,
}

/// What is known of earlier lives since the machine was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct History {
    /// Names this start of the machine, on whose clock the times are.
    boot: String,
    crashes: Vec<Crash>,
    suspects: Vec<Suspect>,
}

/// A crash of the daemon in a call of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Crash {
    device: String,
    at_ms: u64,
}

/// A call in which the last lives have ended without a word, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Suspect {
    device: String,
    call: String,
    request: u64,
    lives: u32,
}

impl Crashes {
    /// Reads what earlier lives have left in a folder, and has a crash of this one leave its traces there.
    ///
    /// # Errors
    /// Where the folder cannot be written to; nothing is learned from a crash then.
    pub fn open(folder: &Path, window: Duration) -> io::Result<Self> {
        Self::open_at(folder, window, monotonic_ms())
    }

    fn open_at(folder: &Path, window: Duration, now: u64) -> io::Result<Self> {
        let (calls, left) = Calls::open(&folder.join(CALLS))?;
        fatal::watch()?;
        let file = folder.join(HISTORY);
        let before = read_history(&file);
        let mut crashes = Self { calls, window, ..Self::default() };
        let history = crashes.learn(before.clone().unwrap_or_default(), left, now);
        for crash in &history.crashes {
            let ago = Duration::from_millis(now.saturating_sub(crash.at_ms));
            let at = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
            crashes.by_device.entry(crash.device.clone()).or_default().push(at);
        }
        if before.as_ref() != Some(&history) {
            write_history(&file, &history)?;
        }
        Ok(crashes)
    }

    /// Tells what the last life has left, and returns what is known with it.
    fn learn(&mut self, before: History, left: Left, now: u64) -> History {
        if let Some(ending) = left.outside {
            error!(ended_by = %ending, "the hub crashed, but not in a call of a device's plugin");
        }
        let boot = boot();
        let History { mut crashes, suspects, .. } =
            if before.boot == boot { before } else { History::default() };
        let window_ms = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        crashes.retain(|crash| now.saturating_sub(crash.at_ms) <= window_ms);
        let mut still = Vec::new();
        for found in left.calls {
            if let Some(suspect) = suspect(&found, &suspects) {
                let Found { device, work, property, .. } = &found;
                let (call, lives) = (work.as_str(), suspect.lives);
                warn!(
                    device,
                    call, property, lives, "the hub ended in a call of the device's plugin"
                );
                still.push(suspect);
            } else {
                crashes.push(Crash { device: found.device.clone(), at_ms: now });
                self.hold_against(found);
            }
        }
        let newest = crashes.len().saturating_sub(MOST_CRASHES);
        History { boot, crashes: crashes.split_off(newest), suspects: still }
    }

    fn hold_against(&mut self, found: Found) {
        let Found { device, work, property, request, ending } = found;
        let call = work.as_str();
        error!(device, call, property, ended_by = %ending, "the hub crashed in a call of the device's plugin");
        if request != 0 {
            let reason =
                format!("the hub crashed while `{device}` carried out this request: {ending}");
            let until = Instant::now() + self.window;
            self.refused.push(Refused { device, request, reason, until });
        }
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
    pub(crate) fn end_in_order(&self) {
        self.calls.end_in_order();
    }
}

/// Returns where a crash of the daemon leaves its traces: in memory, where the service has a folder there.
pub fn folder(state: &Path) -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| state.to_owned(), PathBuf::from)
}

/// Returns whom a call that was under way makes suspect; none where it is to blame.
///
/// A kill from outside hits any call. The same one in several lives in a row is no chance any more.
fn suspect(found: &Found, before: &[Suspect]) -> Option<Suspect> {
    if found.ending != Ending::Silent {
        return None;
    }
    let (device, call, request) = (found.device.clone(), found.work.as_str(), found.request);
    let same = |suspect: &&Suspect| {
        suspect.device == device && suspect.call == call && suspect.request == request
    };
    let lives = before.iter().find(same).map_or(0, |suspect| suspect.lives) + 1;
    (lives < SILENT_LIVES).then(|| Suspect { device, call: call.to_owned(), request, lives })
}

/// Reads the history; without one, or with one of another version, all begins anew.
fn read_history(file: &Path) -> Option<History> {
    fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// Writes the history as a whole; what has gone with a power cut need not be known.
fn write_history(file: &Path, history: &History) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(&serde_json::to_vec(history)?)?;
    fs::rename(new, file)
}

/// Returns what names this start of the machine.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

const CALLS: &str = "calls";
const HISTORY: &str = "crashes.json";
const MOST_CRASHES: usize = 256;
/// Lives that must end in the same call, without a word, before that call is to blame.
const SILENT_LIVES: u32 = 3;

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
    fn learn(endings: impl IntoIterator<Item = Vec<Found>>) -> (Crashes, History) {
        let mut crashes = Crashes { window: WINDOW, ..Crashes::default() };
        let history = endings.into_iter().fold(History::default(), |history, calls| {
            crashes.learn(history, Left { calls, outside: None }, 0)
        });
        (crashes, history)
    }

    #[test]
    fn a_request_that_crashed_the_hub_is_refused_once() {
        let (mut crashes, _) = learn([vec![found("lamp", 7, Ending::Signal(libc::SIGSEGV))]]);
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
    fn a_kill_from_outside_counts_only_when_it_hits_the_same_call_three_times_in_a_row() {
        let silent = |request| vec![found("lamp", request, Ending::Silent)];
        let crashes = |endings: &[Vec<Found>]| learn(endings.iter().cloned()).1.crashes.len();
        assert_eq!(crashes(&[silent(7)]), 0);
        assert_eq!(crashes(&[silent(7), silent(7)]), 0);
        assert_eq!(crashes(&[silent(7), silent(8), silent(7), silent(8)]), 0);
        assert_eq!(crashes(&[silent(7), silent(7), Vec::new(), silent(7)]), 0);
        assert_eq!(crashes(&[silent(7), silent(7), silent(7)]), 1);
    }

    #[test]
    fn the_history_goes_with_the_boot_and_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(HISTORY);
        // The clock is the test's own: that of the machine may have begun within the window.
        let now = 2_000_000;
        let open = || Crashes::open_at(folder.path(), WINDOW, now).unwrap();
        let crash = |device: &str, at_ms| Crash { device: device.into(), at_ms };
        let crashes = vec![crash("a", now), crash("b", now - 700_000)];
        let history = History { boot: boot(), crashes, suspects: Vec::new() };
        write_history(&file, &history).unwrap();
        let crashes = open();
        assert_eq!((crashes.of("a").len(), crashes.of("b").len()), (1, 0));
        write_history(&file, &History { boot: "another".into(), ..history }).unwrap();
        assert_eq!(open().of("a").len(), 0);
        fs::write(&file, "[{").unwrap();
        assert_eq!(open().of("a").len(), 0);
    }
}
