//! Readers that have enough.

use std::process::{Command, Stdio};

use hearth_tests::{Doing, Result};

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_reader_that_has_enough_ends_a_command_quietly() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let json = home.daemon.command(&["status", "--json"]).await?;
    let _: serde_json::Value = serde_json::from_str(&json.stdout)?;
    for question in ["devices", "status"] {
        let mut command = Command::new(home.daemon.program());
        command.arg(question).arg("--config").arg(home.daemon.config());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = ended.await.doing("wait")??;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{question}");
        assert_eq!(output.status.code(), Some(0), "{question}");
    }
    Ok(())
}
