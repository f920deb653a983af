//! A plugin in the daemon that takes the whole hub down: once, or twice, and then no more.

use std::time::Duration;

use hearthd_tests::{Daemon, Message, Result, process::eventually};

use crate::{
    home::{Home, Setup},
    isolation::rogue_home_with,
};

/// A home in which five crashes lead into quarantine, with more lines for the device in the daemon.
async fn home_with(more: &str) -> Result<Home> {
    let change = |daemon: &mut Daemon| {
        let text = std::fs::read_to_string(daemon.config()).expect("it was just written");
        let within = "[devices.within]\nplugin = \"rogue\"\n";
        assert!(text.contains(within), "{text}");
        let text = text
            .replace("max_failures = 2\n", "max_failures = 5\n")
            .replace(within, &format!("{within}{more}"));
        std::fs::write(daemon.config(), text).expect("it can be written");
    };
    rogue_home_with(Setup::Bundled, change).await
}

/// Waits until the hub has ended by itself.
async fn wait_for_the_end(home: &mut Home) -> Result<()> {
    let process = home.daemon.process()?;
    let status = eventually("the end of hearthd", PATIENCE, || process.ended()).await?;
    assert!(!status.success(), "{status}");
    Ok(())
}

/// Sends a request that ends the hub, starts that again, and returns the answer.
async fn crash(home: &mut Home, what: &str, job: &str) -> Result<Message> {
    // Without an expiry, it would be stale in the next life of the hub.
    let request = Message { expiry: Some(60), ..home.ask(what, job.to_owned()) };
    let data = request.correlation_data.clone();
    home.phone.publish(request).await?;
    wait_for_the_end(home).await?;
    home.daemon.start(&mut home.phone).await?;
    home.phone.expect("the answer", PATIENCE, |m| m.correlation_data == data).await
}

#[tokio::test]
async fn a_request_that_crashes_the_hub_is_answered_and_crashes_it_no_third_time() -> Result<()> {
    let mut home = home_with("").await?;
    assert_eq!(home.answer("within/count", "1").await?.text(), "1");
    for (job, how) in [("fault", "signal 11 (SIGSEGV)"), ("abort", "signal 6 (SIGABRT)")] {
        let answer = crash(&mut home, "within/job", job).await?;
        assert_eq!(answer.status(), Some(500), "{answer:?}");
        let reason = format!("the hub crashed while `within` carried out this request: {how}");
        assert_eq!(answer.property("__stMsg"), Some(&*reason));
        let line = format!("device=\"within\" call=\"on_command\" property=\"job\" ended_by={how}");
        home.daemon.logged(&line).await?;
        home.light_is_off().await?;
        assert_eq!(home.answer("apart/status", "").await?.text(), "ready");
    }
    home.daemon.logged("it has crashed the hub and now runs in its own process").await?;
    let answer = home.answer("within/job", "fault").await?;
    assert_eq!(answer.status(), Some(503), "{answer:?}");
    assert!(home.daemon.process()?.ended()?.is_none(), "the hub goes on");
    home.daemon.logged("the device is back").await?;
    assert_eq!(home.answer("within/count", "1").await?.text(), "2", "what it saved is there");
    Ok(())
}

#[tokio::test]
async fn other_ways_to_end_the_hub_are_attributed_as_well() -> Result<()> {
    for (job, how) in [("exit", "its plugin has called `exit`"), ("overflow", "signal 6 (SIGABRT)")]
    {
        let mut home = home_with("").await?;
        let answer = crash(&mut home, "within/once", job).await?;
        assert_eq!(
            (answer.status(), answer.property("reason")),
            (Some(409), Some("indeterminate"))
        );
        home.daemon.logged(&format!("ended_by={how}")).await?;
        home.light_is_off().await?;
        // Nor is an idempotent request carried out again.
        let answer = crash(&mut home, "within/job", job).await?;
        let reason = answer.property("__stMsg").unwrap_or_default();
        assert!(reason.ends_with(how), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_whose_creation_crashes_the_hub_ends_in_a_process_and_then_in_quarantine()
-> Result<()> {
    let mut home = home_with("").await?;
    assert!(home.daemon.terminate().await?.success());
    let text = std::fs::read_to_string(home.daemon.config())?;
    let text = text.replace("[devices.within]\n", "[devices.within]\nconfig.create = \"abort\"\n");
    std::fs::write(home.daemon.config(), text)?;
    for _ in 0..2 {
        home.daemon.spawn()?;
        wait_for_the_end(&mut home).await?;
    }
    home.daemon.start(&mut home.phone).await?;
    home.light_is_off().await?;
    home.daemon.logged("5 crashes within 10m").await?;
    assert_eq!(home.answer("within/status", "").await?.text(), "quarantined");
    // Nor does it begin anew with the hub.
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    home.light_is_off().await
}

#[tokio::test]
async fn a_hub_that_is_killed_in_a_call_blames_nobody_until_it_happens_again() -> Result<()> {
    let mut home = home_with("").await?;
    let request = home.ask("within/job", "hang");
    home.phone.publish(request).await?;
    home.daemon.logged("a call into the plugin does not return").await?;
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    home.daemon.logged("the hub ended in a call of the device's plugin").await?;
    assert!(!home.daemon.log().contains("the hub crashed"));
    home.light_is_off().await
}

const PATIENCE: Duration = Duration::from_secs(60);
