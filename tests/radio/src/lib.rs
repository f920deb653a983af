//! The radio: a bridge that finds lamps, each a device of its own. What is written to it says what it finds and loses.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_sdk::{
    Answer, Changes, Child, ChildDeclaration, Context, Deferred, Device, Failure, Property, Span,
};
use serde::Deserialize;

hearthd_sdk::export!(Radio);

/// A bridge to lamps.
#[derive(Debug)]
pub struct Radio {
    context: Context,
    lamps: BTreeMap<String, Context>,
    /// Lamps that an earlier instance had, and this one has not found yet.
    lost: Vec<String>,
    range: i64,
    refused: Vec<String>,
}

/// The `config` table of a radio.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long it takes to find the lamps of an earlier instance; without it they are there at once.
    #[serde(default)]
    search: Option<Span>,
    /// Whether it may add lamps.
    #[serde(default = "yes")]
    adds: bool,
    /// The greatest level of its lamps.
    #[serde(default = "hundred")]
    range: i64,
}

fn yes() -> bool {
    true
}

fn hundred() -> i64 {
    100
}

impl Device for Radio {
    const KIND: &'static str = "radio";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        let word = |name: &str| Property::text(name).write_only();
        vec![
            word("find"),
            word("lose"),
            word("cut"),
            word("job"),
            Property::text("known").read_only(),
            Property::text("refused").read_only(),
        ]
    }

    fn may_add(config: &Config) -> bool {
        config.adds
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("known", context.children().list().join(" "));
        let lost = saved.map(String::from_utf8_lossy).unwrap_or_default();
        let lost = lost.split_whitespace().map(str::to_owned).collect();
        let (lamps, refused) = (BTreeMap::new(), Vec::new());
        let mut radio = Self { context, lamps, lost, range: config.range, refused };
        match config.search {
            Some(Span(search)) => radio.context.set_timer(SEARCH, search),
            None => radio.find_again()?,
        }
        Ok(radio)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(names) = changes.text("find") {
            names.split_whitespace().try_for_each(|name| self.find(name))?;
        }
        if let Some(name) = changes.text("lose") {
            self.context.children().remove(name);
            if let Some(lamp) = self.lamps.remove(name) {
                // Nobody hears that.
                lamp.publish("power", true);
            }
        }
        if let Some(name) = changes.text("cut") {
            let lamp = self.lamps.get(name).ok_or("there is no such lamp")?;
            lamp.unreachable("no answer over the radio");
        }
        if let Some(job) = changes.text("job") {
            work(job);
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _: u32) {
        if let Err(failure) = self.find_again() {
            tracing::warn!(%failure, "lamps are not found again");
        }
    }

    fn child_refused(&mut self, name: &str, reason: &str) {
        self.lamps.remove(name);
        self.refused.push(format!("{name}: {reason}"));
        self.context.publish("refused", self.refused.join("; "));
    }

    fn save(&self) -> Option<Vec<u8>> {
        let names: Vec<_> = self.lamps.keys().chain(&self.lost).map(String::as_str).collect();
        Some(names.join(" ").into_bytes())
    }
}

impl Radio {
    fn find_again(&mut self) -> Result<(), Failure> {
        std::mem::take(&mut self.lost).iter().try_for_each(|name| self.find(name))
    }

    fn find(&mut self, name: &str) -> Result<(), Failure> {
        let properties = vec![
            Property::switch("power"),
            Property::integer("level").range(0.0, f64::from(i32::try_from(self.range)?)),
            Property::text("job").write_only(),
            Property::event("button", &["press"]),
        ];
        let declaration =
            ChildDeclaration::new(properties).kind("light").title(format!("Lamp {name}"));
        let lamp = self.context.children().add(name, declaration, |context| {
            context.publish("power", false);
            Lamp { context, later: None }
        })?;
        self.lamps.insert(name.to_owned(), lamp);
        Ok(())
    }
}

/// One lamp.
#[derive(Debug)]
pub struct Lamp {
    context: Context,
    later: Option<Deferred>,
}

impl Child for Lamp {
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(level) = changes.integer("level") {
            // As a lamp that answers over the radio.
            self.later = Some(self.context.defer());
            self.context.publish("level", level);
            self.context.set_timer(0, Duration::from_millis(20));
            return Ok(Answer::Later);
        }
        if let Some(on) = changes.switch("power") {
            self.context.publish("power", on);
            self.context.event("button", "press");
            self.context.reachable();
        }
        match changes.text("job") {
            Some("never") => {
                self.context.publish("level", 1);
                self.later = Some(self.context.defer());
                return Ok(Answer::Later);
            }
            Some(job) => work(job),
            None => {}
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _: u32) {
        self.context.wake();
    }

    fn wake(&mut self) {
        if let Some(request) = self.later.take() {
            request.done();
        }
    }
}

/// Does what no plugin should.
fn work(job: &str) {
    match job {
        "panic" => panic!("the test asked for it"),
        "abort" => std::process::abort(),
        "hang" => loop {
            std::thread::park();
        },
        _ => {}
    }
}

const SEARCH: u32 = 0;
