//! A new configuration while the daemon runs.

use std::{collections::BTreeSet, fs};

use hearthd_tests::{Client, Doing, Message, Result, process::Signal};
use serde_json::{Value, json};

use crate::{
    home::{Home, Setup},
    isolation::rogue_home,
};

#[tokio::test]
async fn sighup_adds_changes_and_removes_devices_and_says_what_needs_a_restart() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let states = home.topic("state/#");
    home.phone.subscribe(&states).await?;
    let gone = home.topic("state/living-room/status");
    home.phone.expect_on(&gone).await?;
    edit(&home, |text| {
        let (before, rest) = text.split_once("[devices.living-room]").expect("it is there");
        let (_, after) = rest.split_once("[devices.apart]").expect("it is there");
        let more = "[devices.attic]\nplugin = \"light\"\nconfig.backend = \"simulated\"\n";
        format!("{before}{more}[devices.apart]\nname = \"Apart\"{after}")
            .replace("delay = \"1s\"", "delay = \"2s\"")
    })?;
    home.daemon.process()?.signal(Signal::HUP)?;
    home.daemon.logged("reloaded").await?;
    home.daemon.logged("take effect at the next start sections=\"will\"").await?;
    let cleared = |m: &Message| m.topic == gone && m.payload.is_empty();
    home.phone.expect("the retained status is cleared", PATIENCE, cleared).await?;
    let listed = home.daemon.command(&["devices"]).await?;
    assert!(!listed.stdout.contains("living-room"), "{listed:?}");
    assert_eq!(home.answer("attic/power", "ON").await?.text(), "ON");
    let described = home.answer("apart/describe", "").await?.json()?;
    assert_eq!(described["name"], "Apart");
    home.light_is_off().await
}

#[tokio::test]
async fn a_bad_configuration_leaves_all_as_it_is_and_the_answer_says_why() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let good = edit(&home, |text| format!("{text}nonsense = 1\n"))?;
    let answer = home.answer("hearthd-demo/reload", "").await?;
    assert_eq!(answer.status(), Some(422));
    let why = answer.property("__stMsg").unwrap_or_default();
    assert!(why.contains("nonsense: unknown key"), "{why}");
    let checked = home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(78));
    assert_eq!(why, format!("nothing has changed: {}", checked.stderr.trim_end()));
    home.light_is_off().await?;
    edit(&home, |_| good)?;
    let answer = home.answer("hearthd-demo/reload", "").await?;
    let nothing = json!({"added": [], "removed": [], "changed": [], "restarted": []});
    let expected = json!({"devices": nothing, "plugins": [], "restart_needed": []});
    assert_eq!((answer.status(), answer.json()?), (Some(200), expected));
    Ok(())
}

#[tokio::test]
async fn thirty_reloads_with_a_new_plugin_lose_and_repeat_no_request() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let mut tablet = Client::connect(&home.broker.access("tablet"), "tablet").await?;
    let responses = home.topic("response/tablet/reload");
    tablet.subscribe(&responses).await?;
    let reload = Message::new(home.topic("cmnd/hearthd-demo/reload"), "");
    let plugin = home.daemon.config().with_file_name("plugins").join("rogue.so");
    let reloads = async {
        for round in 0..RELOADS {
            replace_plugin(&plugin, round)?;
            let request = reload.clone().respond_to(&responses, vec![round]);
            let summary = tablet.request(request).await?.json()?;
            assert_eq!(summary["devices"]["changed"], json!(["apart", "within"]), "{summary}");
            assert_eq!(summary["plugins"].as_array().map(Vec::len), Some(1), "{summary}");
        }
        Result::Ok(())
    };
    let asked = std::cell::Cell::new(0);
    let traffic = async {
        loop {
            for device in ["apart", "within"] {
                let answer = home.answer(&format!("{device}/count"), "1").await?;
                assert_eq!(answer.status(), Some(200), "{answer:?}");
                assert_eq!(answer.text(), (asked.get() + 1).to_string(), "{device}");
            }
            asked.set(asked.get() + 1);
        }
    };
    tokio::select! {
        done = reloads => done?,
        failed = traffic => return failed,
    }
    // The traffic was cut between two devices, so each may have counted once more.
    for device in ["apart", "within"] {
        let counted: i64 =
            home.answer(&format!("{device}/count"), "").await?.text().parse().doing(device)?;
        let most = asked.get() + 1;
        assert!((asked.get()..=most).contains(&counted), "{device}: {counted} of {most}");
    }
    assert!(asked.get() >= i64::from(RELOADS), "there was traffic: {}", asked.get());
    let devices = home.answer("hearthd-demo/devices", "").await?.json()?;
    let states: BTreeSet<_> = devices.as_array().into_iter().flatten().map(state_of).collect();
    assert_eq!(states, BTreeSet::from([Some("ready")]));
    Ok(())
}

fn state_of(device: &Value) -> Option<&str> {
    device["state"].as_str()
}

/// Puts another file in the plugin's place, as a package does: written beside it, then renamed.
fn replace_plugin(plugin: &std::path::Path, mark: u8) -> Result<()> {
    let mut content = fs::read(plugin)?;
    content.push(mark);
    let new = plugin.with_extension("new");
    fs::write(&new, content)?;
    Ok(fs::rename(new, plugin)?)
}

/// Changes the configuration file, and returns what it was.
fn edit(home: &Home, change: impl FnOnce(String) -> String) -> Result<String> {
    let file = home.daemon.config();
    let before = fs::read_to_string(file)?;
    fs::write(file, change(before.clone()))?;
    Ok(before)
}

const RELOADS: u8 = 30;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
