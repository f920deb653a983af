//! Groups and scenes: one request to several devices, of this hub and of another one, answered once.

use hearthd_tests::{Built, Daemon, DaemonConfig, Message, Result, client::PATIENCE};

use crate::home::{Home, Setup};

const TABLES: &str = "[devices.hall]\nplugin = \"light\"\nconfig = { brightness = true }\n\
                      [devices.attic]\nplugin = \"light\"\n\
                      [devices.lamps]\nplugin = \"group\"\n\
                      config = { members = [\"hall\", \"attic\"] }\n\
                      [devices.house]\nplugin = \"group\"\n\
                      config = { members = [\"lamps\", \"shed\"] }\n\
                      [devices.moods]\nplugin = \"scene\"\n\
                      [devices.moods.config.scenes]\n\
                      good_night = { hall = { power = \"ON\", brightness = 10 }, \
                      attic = { power = \"OFF\" } }\n\
                      strange = { hall = { power = \"ON\" }, nowhere = { power = \"ON\" } }\n";

async fn home(setup: Setup) -> Result<Home> {
    Home::start_with(setup, |config| {
        config.plugins = &["light", "thermostat", "group"];
        config.devices += TABLES;
    })
    .await
}

async fn power_of(home: &mut Home, device: &str) -> Result<String> {
    Ok(home.answer(&format!("{device}/power"), "").await?.text())
}

#[tokio::test]
async fn one_request_switches_every_lamp_of_a_group() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = home(setup).await?;
        let answer = home.answer("lamps/power", "ON").await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"), "{answer:?}");
        assert_eq!(power_of(&mut home, "hall").await?, "ON");
        assert_eq!(power_of(&mut home, "attic").await?, "ON");
        let answer = home.answer("lamps/power", "TOGGLE").await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "OFF"), "{answer:?}");
        assert_eq!(power_of(&mut home, "hall").await?, "OFF");
    }
    Ok(())
}

#[tokio::test]
async fn a_scene_sets_each_device_and_names_the_one_that_is_not_there() -> Result<()> {
    let mut home = home(Setup::Bundled).await?;
    assert_eq!(home.answer("lamps/power", "ON").await?.status(), Some(200));
    assert_eq!(home.answer("moods/scene", "good_night").await?.status(), Some(204));
    assert_eq!(home.answer("hall/brightness", "").await?.text(), "10");
    assert_eq!(power_of(&mut home, "attic").await?, "OFF");
    let answer = home.answer("moods/scene", "strange").await?;
    let text = answer.property("__stMsg").unwrap_or_default();
    assert_eq!(answer.status(), Some(500), "{answer:?}");
    assert_eq!(text, "nowhere: 404 no hub serves the device; hall: 200 ON");
    Ok(())
}

#[tokio::test]
async fn a_group_reaches_a_device_of_another_hub_and_none_twice() -> Result<()> {
    let mut home = home(Setup::Bundled).await?;
    let answer = home.answer("house/power", "ON").await?;
    let text = answer.property("__stMsg").unwrap_or_default().to_owned();
    assert_eq!(
        (answer.status(), &*text),
        (Some(500), "shed: 404 no hub serves the device; lamps: 200 ON")
    );

    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mut config = DaemonConfig::new(home.broker.access("hub"));
    config.client_id = "hearthd-demo-shed".into();
    config.plugins = &["light", "group"];
    // Its group asks the house, which asks it.
    config.devices =
        "[devices.shed]\nplugin = \"group\"\nconfig = { members = [\"bench\", \"house\"] }\n\
                      [devices.bench]\nplugin = \"light\"\n"
            .into();
    let mut other = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    other.start(&mut home.phone).await?;
    let answer = home.answer("house/power", "OFF").await?;
    let text = answer.property("__stMsg").unwrap_or_default();
    assert_eq!(answer.status(), Some(409), "{answer:?}");
    assert!(text.contains("house: 409 loop"), "{text}");
    assert!(text.contains("bench: 200 OFF") && text.contains("lamps: 200 OFF"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_group_follows_the_lamps_of_its_hub_and_of_another_one() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start_with(setup, |config| {
            config.plugins = &["light", "thermostat", "group"];
            config.devices += "[devices.hall]\nplugin = \"light\"\n\
                               [devices.lights]\nplugin = \"group\"\n\
                               config = { members = [\"hall\", \"bench\"] }\n";
        })
        .await?;
        for property in ["power", "members"] {
            home.phone.subscribe(&home.topic(&format!("state/lights/{property}"))).await?;
        }
        // Of the bench nothing is known yet.
        home.answer("hall/power", "ON").await?;
        expect(&mut home, "power", "ON").await?;

        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let mut config = DaemonConfig::new(home.broker.access("hub"));
        config.client_id = "hearthd-demo-shed".into();
        config.plugins = &["light"];
        config.devices = "[devices.bench]\nplugin = \"light\"\n".into();
        let mut other = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
        other.start(&mut home.phone).await?;
        expect(&mut home, "members", "mixed").await?;
        home.answer("bench/power", "ON").await?;
        expect(&mut home, "members", "same").await?;
        home.answer("hall/power", "OFF").await?;
        expect(&mut home, "members", "mixed").await?;
        assert_eq!(home.answer("lights/power", "").await?.text(), "ON", "one is on");
        home.answer("bench/power", "OFF").await?;
        expect(&mut home, "power", "OFF").await?;
        expect(&mut home, "members", "same").await?;
        // A hub that comes back hears what the broker has kept.
        home.daemon.kill9()?;
        home.answer("bench/power", "ON").await?;
        home.daemon.start(&mut home.phone).await?;
        expect(&mut home, "members", "mixed").await?;
        assert_eq!(home.answer("lights/power", "").await?.text(), "ON");
    }
    Ok(())
}

async fn expect(home: &mut Home, property: &str, value: &str) -> Result<()> {
    let topic = home.topic(&format!("state/lights/{property}"));
    let told = |m: &Message| m.topic == topic && m.text() == value;
    home.phone.expect(&format!("{property} {value}"), PATIENCE, told).await?;
    Ok(())
}
