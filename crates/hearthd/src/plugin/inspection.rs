//! The process that runs a plugin's code first: it lists kinds and checks tables.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use super::{
    Launcher,
    ipc::{Channel, Decoder, Described, FromChild, NOBODY, TableProblems, ToChild, parse},
    launch::Process,
};

/// A process that is started when it is needed, and again after a plugin has ended it.
///
/// Its deadlines hold for the inspection as a whole, however much a plugin says meanwhile: a file that has used up its
/// time is not run again.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    running: Option<Running>,
    /// How long the code of each file has run.
    spent: BTreeMap<String, Duration>,
}

/// A process that inspects plugin files.
#[derive(Debug)]
struct Running {
    process: Process,
    incoming: Channel,
    decoder: Decoder,
}

/// Why a device's table is not accepted.
#[derive(Debug)]
pub(crate) enum Objection {
    /// The plugin refuses it: (path, message) pairs.
    Problems(TableProblems),
    /// The plugin's code hangs, crashes or ends the process that runs it.
    Unsound(String),
}

impl Inspection {
    /// Loads a file and lists its kinds.
    pub(super) fn list_kinds(
        &mut self,
        launcher: &Launcher,
        file: &str,
    ) -> Result<Vec<String>, String> {
        let question = ToChild::ListKinds { file };
        let kinds = self.ask(launcher, file, &question, |answer| match answer {
            FromChild::Kinds(kinds) => Some(kinds),
            _ => None,
        });
        kinds?
    }

    /// Checks a device's table; returns what the device declares.
    pub(super) fn examine(
        &mut self,
        launcher: &Launcher,
        file: &str,
        kind: &str,
        config: &str,
    ) -> Result<Described, Objection> {
        let question = ToChild::Examine { file, kind, config };
        let examination = self.ask(launcher, file, &question, |answer| match answer {
            FromChild::Examined(examination) => Some(examination),
            _ => None,
        });
        examination.map_err(Objection::Unsound)?.map_err(Objection::Problems)
    }

    /// Asks where a device's table has secrets; the outer error is that the plugin's code is unsound.
    pub(super) fn secrets(
        &mut self,
        launcher: &Launcher,
        file: &str,
        kind: &str,
        config: &str,
    ) -> Result<Result<Vec<String>, String>, String> {
        let question = ToChild::Secrets { file, kind, config };
        self.ask(launcher, file, &question, |answer| match answer {
            FromChild::Secrets(secrets) => Some(secrets),
            _ => None,
        })
    }

    /// Ends the process.
    pub(super) fn end(&mut self) {
        self.running = None;
    }

    fn ask<T>(
        &mut self,
        launcher: &Launcher,
        file: &str,
        question: &ToChild<'_>,
        pick: impl Fn(FromChild<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let left = self.time_left(file, launcher.patience())?;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => {
                Running::start(launcher).map_err(|error| format!("start a process: {error}"))?
            }
        };
        let begin = Instant::now();
        let answer = running.ask(question, begin + left, pick);
        *self.spent.entry(file.to_owned()).or_default() += begin.elapsed();
        match answer {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(error) if is_timeout(&error) => Err(too_slow(launcher.patience())),
            Err(error) => {
                Err(format!("its code ends the process: {} ({error})", running.process.kill()))
            }
        }
    }

    /// Returns how long the code of a file may still run.
    fn time_left(&self, file: &str, patience: Duration) -> Result<Duration, String> {
        let spent = self.spent.get(file).copied().unwrap_or_default();
        let left = patience.saturating_sub(spent);
        if left.is_zero() {
            return Err(too_slow(patience));
        }
        let whole = patience * FILES_OF_PATIENCE;
        let left = left.min(whole.saturating_sub(self.spent.values().sum()));
        if left.is_zero() {
            let whole = humantime::format_duration(whole);
            return Err(format!("not looked at: the inspection of all plugins may take {whole}"));
        }
        Ok(left)
    }
}

impl Running {
    fn start(launcher: &Launcher) -> io::Result<Self> {
        let process = launcher.start_inspection()?;
        let incoming = process.channel().try_clone()?;
        Ok(Self { process, incoming, decoder: Decoder::default() })
    }

    fn ask<T>(
        &mut self,
        question: &ToChild<'_>,
        deadline: Instant,
        pick: impl Fn(FromChild<'_>) -> Option<T>,
    ) -> io::Result<T> {
        self.incoming.limit_sending(left_until(deadline)?)?;
        self.process.channel().send(NOBODY, question)?;
        loop {
            while let Some((_, frame)) = self.decoder.next_frame().map_err(io::Error::other)? {
                let answer = parse(frame).map_err(io::Error::other)?;
                // What a plugin logs or publishes here is dropped.
                if matches!(answer, FromChild::Host(_)) {
                    continue;
                }
                return pick(answer).ok_or_else(|| io::Error::other("another answer"));
            }
            self.incoming.limit_reading(left_until(deadline)?)?;
            if self.decoder.fill(&mut self.incoming)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn too_slow(patience: Duration) -> String {
    let waited = humantime::format_duration(patience);
    format!("its code does not return within {waited}")
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How many files may use up their time before the inspection as a whole ends.
const FILES_OF_PATIENCE: u32 = 3;
