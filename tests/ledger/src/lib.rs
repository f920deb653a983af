//! The ledger: each line that it is asked to write stands in a file, so a line that stands there twice was executed twice.
//!
//! The file outlives the daemon, which may be killed at any moment: a line is one `write` to a descriptor in append
//! mode, and is in the file before the device answers.

use std::{fs::File, io::Write, path::PathBuf};

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Property};
use serde::Deserialize;

hearthd_sdk::export!(Ledger);

/// A ledger.
#[derive(Debug)]
pub struct Ledger {
    context: Context,
    file: File,
}

/// The `config` table of a ledger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the lines go; created where it is not there.
    file: PathBuf,
}

impl Device for Ledger {
    const KIND: &'static str = "ledger";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::text("line").not_idempotent(), Property::integer("level")]
    }

    fn create(config: Config, context: Context, _saved: Option<&[u8]>) -> Result<Self, Failure> {
        let file = File::options().append(true).create(true).open(&config.file);
        let file =
            file.map_err(|error| Failure::failed(format!("{}: {error}", config.file.display())))?;
        context.publish("line", "");
        context.publish("level", 0);
        Ok(Self { context, file })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(line) = changes.text("line") {
            self.append(line)?;
            self.context.publish("line", line);
        }
        if let Some(level) = changes.integer("level") {
            self.context.publish("level", level);
        }
        Ok(Answer::Done)
    }
}

impl Ledger {
    fn append(&mut self, line: &str) -> Result<(), Failure> {
        if line.contains('\n') {
            return Err(Failure::invalid("a line holds no newline"));
        }
        let text = format!("{line}\n");
        match self.file.write(text.as_bytes()) {
            Ok(written) if written == text.len() => Ok(()),
            Ok(written) => Err(Failure::failed(format!("{written} of {} bytes", text.len()))),
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }
}
