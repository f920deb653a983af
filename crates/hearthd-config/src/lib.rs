//! Reads the configuration files of all hearthd programs in one way.
//!
//! A [`Reader`] takes keys from a TOML file. When something is wrong it goes on, so that a person gets all problems at
//! once. Each [`Problem`] has the file, line, column and key, and says what to write instead. For an unknown key it
//! names the key that may have been meant. Durations, sizes and secrets have the same form in every file ([`units`],
//! [`secret`]). A program that ends gives the reason with one of the codes in [`exit`].
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

pub mod address;
pub mod announcement;
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
