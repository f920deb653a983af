//! What `hearthd doctor` says of an account at the bundled broker that has not the rights of a hub.

use std::{fmt::Write as _, path::Path};

use hearthd_tests::{
    Access, Built, Daemon, DaemonConfig, HearthBroker, HearthWeb, Result,
    process::{Ran, free_port},
};

#[tokio::test]
async fn an_account_with_another_role_than_hub_is_told_its_role_and_each_missing_right()
-> Result<()> {
    let doctor = Doctor::start().await?;
    let (examined, findings) = doctor.examines("anna").await?;
    assert_eq!(examined.code, Some(1), "{examined:?}");
    findings.has("bad", "account", "`anna` has the role `resident`: a hub needs");
    findings.has("ok", "requests", "may subscribe to alice/cmnd/");
    let missing = "the broker says: account `anna` may not publish on `alice/state/";
    findings.has("bad", "states", missing);
    findings.has(
        "bad",
        "states",
        "its role is `resident`, and only `hub` and `responder` may publish states",
    );
    findings.has("bad", "presence", "its role is `resident`, and only `hub` may publish presence");
    findings.has("bad", "absence", "its role is `resident`, and only `hub` may publish absence");
    findings.has("bad", "events", "its role is `resident`, which may not publish events");
    findings.has("bad", "retained messages", "and only `hub` and `responder` may publish states");
    findings.has("ok", "session", "kept during an absence");
    findings.has("bad", "will", "may not publish its will on `alice/hub/");
    findings.has("bad", "will", "its role is `resident`, and only `hub` may publish presence");
    Ok(())
}

#[tokio::test]
async fn an_account_of_a_device_is_told_which_topics_it_has() -> Result<()> {
    let doctor = Doctor::start().await?;
    let (examined, findings) = doctor.examines("zigbee2mqtt").await?;
    assert_eq!(examined.code, Some(1), "{examined:?}");
    findings.has("bad", "account", "`zigbee2mqtt` has the role `device`: a hub needs");
    let outside = "its role is `device`, and the topic is outside of the `rights` to ";
    for (subject, right) in [("requests", "read"), ("events", "write"), ("answers", "read")] {
        findings.has("bad", subject, &format!("{outside}{right} (`zigbee2mqtt/#`)"));
    }
    findings.has("bad", "states", "and only `hub` and `responder` may publish states");
    findings.has("bad", "session", &format!("{outside}read (`zigbee2mqtt/#`)"));
    findings.has("note", "devices", "nobody can tell whether another hub serves light");
    assert!(!findings.0.iter().any(|it| it["subject"] == "devices" && it["verdict"] == "ok"));
    Ok(())
}

#[tokio::test]
async fn an_account_without_a_role_is_told_what_it_misses_and_works() -> Result<()> {
    let doctor = Doctor::start().await?;
    let (examined, findings) = doctor.examines("old").await?;
    assert_eq!(examined.code, Some(0), "{examined:?}");
    findings.has("note", "account", "`old` has no role: others may write this hub's states");
    findings.has("note", "senders", "the broker does not vouch for senders");
    for subject in ["requests", "states", "presence", "answers", "session", "will"] {
        findings.has("ok", subject, "");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_is_not_told_of_its_role() -> Result<()> {
    let doctor = Doctor::start().await?;
    let (examined, findings) = doctor.examines("hub").await?;
    assert_eq!(examined.code, Some(0), "{examined:?}");
    findings.has("ok", "senders", "vouches");
    assert!(!examined.stdout.contains("account"), "{examined:?}");
    assert!(
        !doctor.broker.log().contains("may not"),
        "nothing was refused: {}",
        doctor.broker.log()
    );
    Ok(())
}

#[tokio::test]
async fn the_way_of_a_phone_to_the_page_is_told() -> Result<()> {
    let doctor = Doctor::start().await?;
    let (_, findings) = doctor.examines("hub").await?;
    findings.has("note", "page for phones", "none on this machine: there is no ");

    let port = free_port()?;
    let folder = doctor.folder.path().join("web");
    let config = format!(
        "listen = [\"127.0.0.1:{port}\"]\n[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n",
        doctor.broker.port()
    );
    let on = format!("127.0.0.1:{port}");
    let mut web = HearthWeb::start_on(&doctor.built, &folder, &config, &on).await?;
    let file = folder.join("hearth-web.toml");
    let (_, findings) = doctor.examines_beside("hub", &file).await?;
    let address = format!("http://localhost:{port}/: ");
    findings.has("note", "page for phones", &(address.clone() + "only this machine can open"));
    web.terminate().await?;
    let (examined, findings) = doctor.examines_beside("hub", &file).await?;
    findings.has("note", "page for phones", &(address + "nothing answers at port"));
    assert_eq!(examined.code, Some(0), "the hub works without a page: {examined:?}");
    Ok(())
}

/// A broker with an account of each kind.
struct Doctor {
    built: Built,
    broker: HearthBroker,
    folder: tempfile::TempDir,
}

impl Doctor {
    async fn start() -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let storage = folder.path().join("storage");
        let mut text = format!("home = \"alice\"\n\n[storage]\ndirectory = {storage:?}\n");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        for (name, role) in [
            ("hub", "role = \"hub\""),
            ("anna", "role = \"resident\""),
            ("zigbee2mqtt", "role = \"device\"\nrights = [{ filter = \"zigbee2mqtt/#\" }]"),
            ("old", ""),
        ] {
            let _ = write!(text, "\n[[account]]\nname = \"{name}\"\n{role}\n");
            let _ = writeln!(text, "password_file = {password:?}");
        }
        let broker = HearthBroker::start_configured(&built, folder.path(), &text).await?;
        Ok(Self { built, broker, folder })
    }

    /// Has a hub with the account of this name examined.
    async fn examines(&self, account: &str) -> Result<(Ran, Findings)> {
        self.examines_beside(account, &self.folder.path().join("none.toml")).await
    }

    /// As [`Doctor::examines`], with a configuration file of hearth-web.
    async fn examines_beside(&self, account: &str, web: &Path) -> Result<(Ran, Findings)> {
        let login = Some((account.to_owned(), PASSWORD.to_owned()));
        let config = DaemonConfig::new(Access { port: self.broker.port(), login });
        let daemon = Daemon::prepare(&self.built, &self.folder.path().join("hub"), &config)?;
        let web = web.display().to_string();
        let doctor = ["doctor", "--json", "--timeout", "3s", "--web-config", &web];
        let examined = daemon.command(&doctor).await?;
        let findings = serde_json::from_str(&examined.stdout)?;
        Ok((examined, Findings(findings)))
    }
}

struct Findings(Vec<serde_json::Value>);

impl Findings {
    fn has(&self, verdict: &str, subject: &str, text: &str) {
        let found = self.0.iter().any(|finding| {
            let said = finding["text"].as_str().unwrap_or_default();
            finding["verdict"] == verdict && finding["subject"] == subject && said.contains(text)
        });
        assert!(found, "{verdict} {subject} {text}: {:#?}", self.0);
    }
}

const PASSWORD: &str = "secret";
