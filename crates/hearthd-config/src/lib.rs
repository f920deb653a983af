//! Reads the configuration files of hearthd's programs, all of them in one way.
//!
//! A [`Reader`] takes keys out of a TOML file and goes on where something is wrong, so that a person is told all of it at
//! once: each [`Problem`] has the file, line, column and key, and says what to write instead. Unknown keys get the name
//! that may have been meant. Durations, sizes and secrets are written alike in every file ([`units`], [`secret`]). A program
//! that ends says why with one of the codes in [`exit`].
//!
//! ```
//! use std::{path::Path, time::Duration};
//! use hearthd_config::{Source, read, units};
//!
//! let source = Source::new(Path::new("x.toml"), "[broker]\nkeep_aliv = \"30s\"\n");
//! let (keep_alive, outcome) = read(&source, None, |reader, root| {
//!     let mut broker = reader.section(root, "broker");
//!     let least = Duration::from_secs(5);
//!     let keep_alive = reader.parsed(&mut broker, "keep_alive", |value| units::duration(value, least));
//!     reader.finish(broker);
//!     keep_alive.unwrap_or(Duration::from_secs(20))
//! });
//! assert_eq!(keep_alive, Duration::from_secs(20));
//! assert_eq!(
//!     outcome.problems[0].to_string(),
//!     "x.toml:2:1: broker.keep_aliv: unknown key; did you mean `keep_alive`?"
//! );
//! ```

mod diagnostics;
pub mod exit;
mod id;
mod places;
mod printable;
mod reader;
mod regular;
pub mod secret;
mod similar;
mod syntax;
pub mod units;

pub use diagnostics::{Problem, Problems, Source};
pub use id::{check_id, sanitised};
pub use printable::{printable, printable_line};
pub use reader::{Entry, OtherNames, Outcome, Reader, Section, find, read, wrong_type};
pub use similar::most_similar;
pub use syntax::Mistakes;
