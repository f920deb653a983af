//! The unmodified invoker of Azure IoT Operations' RPC commands asks the hub as it asks an executor of its own kind.

use std::time::Duration;

use hearthd_tests::{
    Azure, Result,
    daemon::under,
    process::{Ran, run},
};

use crate::home::{Home, Setup};

async fn invoke(home: &Home, prefix: Option<&str>, payloads: &[&str]) -> Result<Ran> {
    let access = home.broker.access("phone");
    let folder = tempfile::tempdir()?;
    let mut arguments = Vec::new();
    if let Some((user, password)) = access.login {
        let file = folder.path().join("password");
        std::fs::write(&file, password)?;
        let file = file.display().to_string();
        arguments = vec!["--user".into(), user, "--password-file".into(), file];
    }
    arguments.push(access.port.to_string());
    arguments.push(under(prefix, "cmnd/light-in-bedroom/power"));
    arguments.push(under(prefix, "response/azure-invoker/power"));
    arguments.extend(payloads.iter().map(|payload| (*payload).to_owned()));
    run(Azure::provide("dev")?.invoker(), arguments, Duration::from_secs(120)).await
}

#[tokio::test]
async fn an_invoker_of_azure_iot_operations_is_answered() -> Result<()> {
    for (setup, prefix) in [(Setup::Mosquitto, None), (Setup::Bundled, Some("alice"))] {
        let home = Home::start(setup).await?;
        let ran = invoke(&home, prefix, &["ON", "OFF", "TOGGLE", "purple"]).await?;
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines.len(), 4, "{ran:?}");
        assert_eq!(lines[..3], ["answered ON", "answered OFF", "answered ON"], "{ran:?}");
        assert!(lines[3].starts_with("failed"), "{ran:?}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    Ok(())
}
