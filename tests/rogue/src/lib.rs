//! A plugin that misbehaves: what is written to `job` says how.

mod constructor;
mod jobs;
mod reach;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use hearthd_sdk::{Answer, Changes, Context, Deferred, Device, Failure, Property, Secret};
use serde::Deserialize;

/// What a device with the `config` table does when it is created.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Create {
    #[default]
    Well,
    Refuse,
    Panic,
    Abort,
    Hang,
}

/// What becomes of the question for a device's properties.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Describe {
    #[default]
    Well,
    Abort,
    Hang,
    /// It is not answered either, and a line comes every now and then.
    Chatter,
}

/// The `config` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    create: Create,
    #[serde(default)]
    describe: Describe,
    /// Declares a property that is the hub's own.
    #[serde(default)]
    declare_status: bool,
    /// Declares one property more.
    #[serde(default)]
    more: bool,
    /// Changes nothing but the table.
    #[serde(default)]
    mark: i64,
    /// Declares a property that tells how many bytes it has.
    secret: Option<Secret>,
}

/// A device that counts, and otherwise does what it should not.
#[derive(Debug)]
struct Rogue {
    context: Context,
    count: Arc<AtomicI64>,
    mark: i64,
    /// What it has accepted.
    moving: Vec<Deferred>,
    save_panics: bool,
    drop_panics: bool,
    drop_answers: bool,
    /// A file that tells that it has ended.
    farewell: Option<PathBuf>,
}

impl Device for Rogue {
    const KIND: &'static str = "rogue";
    type Config = Config;

    fn properties(config: &Config) -> Vec<Property> {
        match config.describe {
            Describe::Well => {}
            Describe::Abort => std::process::abort(),
            Describe::Hang => jobs::hang(),
            Describe::Chatter => jobs::chatter(),
        }
        let mut properties = vec![
            Property::text("job").write_only(),
            Property::text("once").write_only().not_idempotent(),
            Property::integer("count"),
            Property::integer("mark").read_only(),
            Property::integer("level").range(0, 100).read_only(),
            Property::text("note").read_only().not_retained(),
            Property::event("bell", &["press", "double"]),
        ];
        if config.more {
            properties.push(Property::switch("more").read_only());
        }
        if config.secret.is_some() {
            properties.push(Property::integer("secret_length").read_only());
        }
        if config.declare_status {
            properties.push(Property::text("status").read_only());
        }
        properties
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        if std::hint::black_box(&BUILD)[13] != b'g' {
            return Err(Failure::failed("this build is bad"));
        }
        match config.create {
            Create::Well => {}
            Create::Refuse => return Err(Failure::failed("the bus is gone")),
            Create::Panic => panic!("the test asked for it"),
            Create::Abort => std::process::abort(),
            Create::Hang => jobs::hang(),
        }
        let count = saved.and_then(|saved| std::str::from_utf8(saved).ok()?.parse().ok());
        let count = count.unwrap_or(0);
        context.publish("count", count);
        context.publish("mark", config.mark);
        if let Some(secret) = &config.secret {
            let length = i64::try_from(secret.expose().len()).unwrap_or_default();
            context.publish("secret_length", length);
        }
        let count = Arc::new(AtomicI64::new(count));
        Ok(Self {
            context,
            count,
            mark: config.mark,
            moving: Vec::new(),
            save_panics: false,
            drop_panics: false,
            drop_answers: false,
            farewell: None,
        })
    }

    /// Writing to `count` counts one on, whatever is written.
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if changes.integer("count").is_some() {
            jobs::count_one_on(&self.count, &self.context);
        }
        let job = changes.text("job").or_else(|| changes.text("once"));
        job.map_or(Ok(Answer::Done), |job| self.work(job))
    }

    fn timer(&mut self, id: u32) {
        self.context.publish("note", format!("timer {id}"));
    }

    fn wake(&mut self) {
        self.context.publish("note", "wake");
    }

    fn absence(&mut self, absence: &hearthd_sdk::Absence) {
        self.context.publish("note", format!("absence {:?}", absence.outcome));
    }

    fn save(&self) -> Option<Vec<u8>> {
        assert!(!self.save_panics, "the test asked for it");
        Some(self.count.load(Ordering::SeqCst).to_string().into_bytes())
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        if self.drop_answers {
            jobs::answer_for_ever();
        }
        if let Some(farewell) = &self.farewell {
            // A test that cannot see it fails for that.
            let _ = std::fs::write(farewell, "");
        }
        assert!(!self.drop_panics, "the test asked for a panic in mark {}", self.mark);
    }
}

/// A test that wants a bad build changes the twelfth byte in the file.
static BUILD: [u8; 17] = *b"rogue build: good";

hearthd_sdk::export!(Rogue);
