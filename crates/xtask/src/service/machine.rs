//! A machine in a container: a systemd of its own above a root that is not written to.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hearthd_tests::{
    Doing, Failure, Process, Result,
    process::{Ran, eventually, run},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::container::nspawn;

/// A running machine; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    nspawn: Process,
    leader: Pid,
    _console: TempDir,
}

impl Machine {
    /// Boots a root, of which every change is forgotten in the end; `given` is read-only in it, at [`GIVEN`].
    pub(crate) async fn boot(root: &Path, given: &Path) -> Result<Self> {
        let console = tempfile::tempdir()?;
        let mut command = nspawn();
        command
            .arg("--private-network")
            .arg("--boot")
            .arg("--volatile=overlay")
            .arg("--console=read-only");
        command.arg("--directory").arg(root);
        command.arg(format!("--bind-ro={}:{GIVEN}", given.display()));
        let mut nspawn = Process::start(&mut command, &console.path().join("log"))?;
        let leader = eventually("the container's first process", PATIENCE, || {
            if let Some(status) = nspawn.ended()? {
                return Err(Failure(format!("{status}\n{}{}", nspawn.log(), nspawn.stdout())));
            }
            Ok(leader_below(nspawn.id()))
        });
        let leader = leader.await?;
        let machine = Self { nspawn, leader, _console: console };
        machine
            .until("a booted system", "systemctl is-system-running --wait | grep -x running")
            .await?;
        Ok(machine)
    }

    /// Returns the process whose namespaces are the machine's.
    pub(crate) fn leader(&self) -> Pid {
        self.leader
    }

    /// Runs a line of shell in the machine as root.
    pub(super) async fn run(&self, line: &str) -> Result<Ran> {
        let target = self.leader.as_raw_nonzero().to_string();
        let mut arguments = vec!["--target", &target, "--all", "env", "-i"];
        arguments.extend(ENVIRONMENT);
        arguments.extend(["sh", "-c", line]);
        run("nsenter", arguments, PATIENCE).await
    }

    /// Runs a line that has to succeed; returns what it prints.
    pub(crate) async fn done(&self, line: &str) -> Result<String> {
        let ran = self.run(line).await?;
        match ran.code {
            Some(0) => Ok(ran.stdout.trim_end().to_owned()),
            _ => Err(Failure(format!("{line}: {:?}\n{}{}", ran.code, ran.stdout, ran.stderr))),
        }
    }

    /// Runs a line that has to print something.
    pub(super) async fn prints(&self, line: &str, expected: &str) -> Result<()> {
        let printed = self.done(line).await?;
        if printed == expected {
            return Ok(());
        }
        Err(Failure(format!("{line}: printed {printed:?} instead of {expected:?}")))
    }

    /// Runs a line again and again until it succeeds.
    pub(super) async fn until(&self, what: &str, line: &str) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ran = self.run(line).await?;
            if ran.code == Some(0) {
                return Ok(ran.stdout.trim_end().to_owned());
            }
            if Instant::now() > end {
                let said = ran.stdout + &ran.stderr;
                return Err(Failure(format!("no sign of {what} within {PATIENCE:?}: {said}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns what the services told, for whoever has to find out why something failed.
    pub(crate) async fn journal(&self) -> String {
        let line = "systemctl status --no-pager --lines=0 hearthd hearth-broker hearth-web; journalctl --no-pager \
                    --lines=60 -o short-precise -u hearthd -u hearth-broker -u hearth-web";
        self.run(line).await.map(|ran| ran.stdout + &ran.stderr).unwrap_or_else(|failure| failure.0)
    }

    /// Shuts the machine down, and looks for what it may have left on this one.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // Its own systemd stops all services in order.
        self.nspawn.terminate(PATIENCE).await?;
        let mounts = std::fs::read_to_string("/proc/self/mounts").doing("/proc/self/mounts")?;
        let left = mounts.lines().find(|mount| mount.contains("/target/roots/"));
        match left {
            Some(mount) => Err(Failure(format!("this is still mounted: {mount}"))),
            None => Ok(()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.nspawn.ended().is_ok_and(|ended| ended.is_none()) {
            // The container outlives an nspawn that is killed, but not its own first process.
            let _ = kill_process(self.leader, Signal::KILL);
        }
    }
}

/// Finds the child that is the first process of its namespace.
fn leader_below(nspawn: u32) -> Option<Pid> {
    let children =
        std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let leader = children.split_whitespace().find(|child| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let ids: Vec<_> = ids.split_whitespace().collect();
        ids.len() > 1 && ids.last() == Some(&"1")
    })?;
    Pid::from_raw(leader.parse().ok()?)
}

/// Where the machine finds what it is given.
pub(super) const GIVEN: &str = "/given";

const ENVIRONMENT: [&str; 5] = [
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
    "SYSTEMD_PAGER=",
];

const PATIENCE: Duration = Duration::from_secs(60);
