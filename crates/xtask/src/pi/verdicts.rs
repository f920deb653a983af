//! What was to be seen, and whether it was.

use hearthd_tests::{Failure, Result};

/// The table of verdicts, printed as it grows.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    seen: u32,
    missed: u32,
}

impl Verdicts {
    /// Begins a group of lines.
    pub(crate) fn heading(&self, title: &str) {
        println!("\n{title}");
    }

    /// Enters whether something was seen; what failed is said and the run goes on.
    pub(crate) fn enter(&mut self, what: &str, seen: Result<()>) {
        self.enter_said(what, seen.map(|()| String::new()));
    }

    /// Enters whether something was seen, and what the machine said.
    pub(crate) fn enter_said(&mut self, what: &str, seen: Result<String>) {
        let (mark, said) = match seen {
            Ok(said) => {
                self.seen += 1;
                ("ok    ", said)
            }
            Err(failure) => {
                self.missed += 1;
                ("MISSED", failure.0)
            }
        };
        println!("  {mark} {what}");
        for line in said.lines() {
            println!("         {line}");
        }
    }

    /// Returns the verdict on the whole.
    pub(crate) fn sum_up(&self) -> Result<()> {
        let Self { seen, missed } = self;
        if *missed > 0 {
            return Err(Failure(format!("{missed} of {} were not seen", seen + missed)));
        }
        println!("\nxtask: all {seen} were seen");
        Ok(())
    }
}
