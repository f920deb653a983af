//! The process that runs a plugin's code first: it lists kinds and checks tables.

use std::{io, time::Duration};

use super::{
    Launcher,
    launch::Process,
    wire::{Decoder, Examination, FromChild, ToChild, Wire},
};

/// A process that is started when it is needed, and again after a plugin has ended it.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    incoming: Wire,
    decoder: Decoder,
}

impl Inspection {
    /// Loads a file and lists its kinds.
    pub(super) fn list_kinds(
        &mut self,
        launcher: &Launcher,
        file: &str,
    ) -> Result<Vec<String>, String> {
        self.ask(launcher, &ToChild::ListKinds { file }, |answer| match answer {
            FromChild::Kinds(kinds) => Some(kinds),
            _ => None,
        })
        .and_then(|kinds| kinds)
    }

    /// Checks a device's table.
    pub(super) fn examine(
        &mut self,
        launcher: &Launcher,
        file: &str,
        kind: &str,
        config: &str,
    ) -> Examination {
        let question = ToChild::Examine { file, kind, config };
        self.ask(launcher, &question, |answer| match answer {
            FromChild::Examined(examination) => Some(examination),
            _ => None,
        })
        .unwrap_or_else(|message| Err(vec![(String::new(), message)]))
    }

    /// Ends the process.
    pub(super) fn end(&mut self) {
        self.running = None;
    }

    fn ask<T>(
        &mut self,
        launcher: &Launcher,
        question: &ToChild<'_>,
        pick: impl Fn(FromChild<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => {
                Running::start(launcher).map_err(|error| format!("start a process: {error}"))?
            }
        };
        match running.ask(question, pick) {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(error) if is_timeout(&error) => {
                let waited = humantime::format_duration(PATIENCE);
                Err(format!("its code does not return within {waited}"))
            }
            Err(error) => {
                Err(format!("its code ends the process: {} ({error})", running.process.kill()))
            }
        }
    }
}

impl Running {
    fn start(launcher: &Launcher) -> io::Result<Self> {
        let process = launcher.start_inspection()?;
        let incoming = process.wire().try_clone()?;
        incoming.limit_reading(PATIENCE)?;
        incoming.limit_sending(PATIENCE)?;
        Ok(Self { process, incoming, decoder: Decoder::default() })
    }

    fn ask<T>(
        &mut self,
        question: &ToChild<'_>,
        pick: impl Fn(FromChild<'_>) -> Option<T>,
    ) -> io::Result<T> {
        self.process.wire().send(question)?;
        loop {
            while let Some(answer) =
                self.decoder.next::<FromChild<'_>>().map_err(io::Error::other)?
            {
                // A plugin that logs or publishes here speaks to nobody.
                if matches!(answer, FromChild::Host(_)) {
                    continue;
                }
                return pick(answer).ok_or_else(|| io::Error::other("another answer"));
            }
            if self.decoder.fill(&mut self.incoming)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How long a plugin's code may take to begin, or to check a table.
const PATIENCE: Duration = Duration::from_secs(10);
