//! The GPIO lines of a sensor, each watched by a thread of its own.

use std::io::{PipeWriter, pipe};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use hearthd_hardware::Root;
use hearthd_output::{GpioInput, LineEvent};
use hearthd_sdk::{Context, Failure, Property, Value};

use crate::button::{self, PRESS, RELEASE};
use crate::quantity::Fact;

/// What a line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Fact(Fact),
    Button,
}

/// A line, and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct LineSource {
    pub(crate) meaning: Meaning,
    pub(crate) input: GpioInput,
}

/// What is to be said because of a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Nothing,
    State(Value),
    Event(&'static str),
    Failure(String),
}

/// The threads; dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    events: Receiver<(Meaning, LineEvent)>,
    stop: Vec<PipeWriter>,
    threads: Vec<JoinHandle<()>>,
}

impl Meaning {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fact(fact) => fact.name(),
            Self::Button => "button",
        }
    }

    pub(crate) fn property(self) -> Property {
        match self {
            Self::Fact(fact) => fact.property(),
            Self::Button => button::on_a_line(),
        }
    }

    /// Returns what a line that says this means. How a button is when its line is taken is no press.
    fn effect(self, event: &LineEvent) -> Effect {
        match (self, event) {
            (_, LineEvent::Failed(error)) => Effect::Failure(format!("{}: {error}", self.name())),
            (Self::Fact(fact), LineEvent::Is(on) | LineEvent::Became(on)) => {
                Effect::State(fact.value(*on))
            }
            (Self::Button, LineEvent::Is(_)) => Effect::Nothing,
            (Self::Button, LineEvent::Became(on)) => {
                Effect::Event(if *on { PRESS } else { RELEASE })
            }
        }
    }
}

impl Lines {
    /// Watches these lines.
    pub(crate) fn watch(
        sources: Vec<LineSource>,
        root: &Root,
        context: &Context,
    ) -> Result<Self, Failure> {
        if sources.is_empty() {
            return Ok(Self::default());
        }
        let (sender, events) = channel();
        let mut watched = Watched { events, stop: Vec::new(), threads: Vec::new() };
        for source in sources {
            watched.add(source, root, context, sender.clone())?;
        }
        Ok(Self { watched: Some(watched) })
    }

    /// Returns what the lines have said since the last call.
    pub(crate) fn effects(&self) -> Vec<(&'static str, Effect)> {
        let events = self.watched.iter().flat_map(|watched| watched.events.try_iter());
        events.map(|(meaning, event)| (meaning.name(), meaning.effect(&event))).collect()
    }
}

impl Watched {
    fn add(
        &mut self,
        source: LineSource,
        root: &Root,
        context: &Context,
        sender: Sender<(Meaning, LineEvent)>,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::failed(format!("watch a GPIO line: {error}"));
        let (stopped, stop) = pipe().map_err(failed)?;
        let LineSource { meaning, input } = source;
        let (root, own) = (root.clone(), context.clone());
        let watch = move || {
            input.watch(&root, own.device_id(), &stopped, |event| {
                // It is left unread only where the device ends.
                let _ = sender.send((meaning, event));
                own.wake();
            });
        };
        self.threads.push(context.spawn(watch).map_err(failed)?);
        self.stop.push(stop);
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.clear();
        for thread in self.threads.drain(..) {
            // A panic has been logged where it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_its_level_and_a_button_its_edges() {
        let contact = Meaning::Fact(Fact::Contact);
        assert_eq!(contact.effect(&LineEvent::Is(true)), Effect::State("closed".into()));
        assert_eq!(contact.effect(&LineEvent::Became(false)), Effect::State("open".into()));
        let motion = Meaning::Fact(Fact::Motion);
        assert_eq!(motion.effect(&LineEvent::Became(true)), Effect::State(true.into()));
        assert_eq!(Meaning::Button.effect(&LineEvent::Is(true)), Effect::Nothing);
        assert_eq!(Meaning::Button.effect(&LineEvent::Became(true)), Effect::Event("press"));
        assert_eq!(Meaning::Button.effect(&LineEvent::Became(false)), Effect::Event("release"));
    }
}
