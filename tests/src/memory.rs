//! What a process has in memory.

use std::fs;

use crate::{Doing, Result};

/// What a process has in memory, in kB (proc_pid_smaps(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it has written to, and no file has. `Private_Dirty` is more: it has the pages of a program as well that the
    /// system has not written to the disk since it was built.
    pub anonymous: u64,
    /// All that is resident, also pages of its program and of libraries.
    pub resident: u64,
    /// The same, but of a page that several processes share only this one's part.
    pub proportional: u64,
}

impl Memory {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is none of this number, or it is somebody else's.
    pub fn of(process: u32) -> Result<Self> {
        let file = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&file).doing(&file)?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).doing(name)?;
            line.trim().trim_end_matches(" kB").parse::<u64>().doing(line)
        };
        Ok(Self { anonymous: of("Anonymous:")?, resident: of("Rss:")?, proportional: of("Pss:")? })
    }
}
