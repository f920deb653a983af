//! A command that ends together with the wait for it.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command},
    time::Duration,
};

use hearthd_tests::{Doing, Failure, Result, process::Signal};
use rustix::process::{Pid, kill_process_group};

/// Runs a command to its end, which `line` names; where the wait is given up, the command and all that it runs are asked to end.
pub(super) async fn succeed(line: &str, command: &mut Command) -> Result<()> {
    let mut running = Running(command.process_group(0).spawn().doing(line)?);
    let status = loop {
        if let Some(status) = running.0.try_wait()? {
            break status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if status.success() { Ok(()) } else { Err(Failure(format!("{line}: {status}"))) }
}

/// A child that leads a group of its own, which a key of the terminal does not reach.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
