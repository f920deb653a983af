//! Lamps whose firmware speaks MQTT itself: each answer is what the lamp did.

use std::time::Duration;

use hearthd_tests::{
    Client, Failure, FakeDevice, Message, Result,
    fake_device::{Esphome, Mode, Shelly, ShellyFirst, Tasmota},
};

use crate::home::{Home, Setup};

const PATIENCE: Duration = Duration::from_secs(30);
const ALLOWED: &str = "[bridges]\nallow = [\"cmnd/#\", \"stat/#\", \"tele/#\", \"shelly/#\", \"shellies/#\", \"node/#\"]\n";

/// The devices of the hub, with the tables that say where they are.
const LAMPS: [(&str, &str, bool); 6] = [
    ("tasmota", r#"backend = "tasmota", tasmota = { topic = "desk" }"#, true),
    ("tasmota-5", r#"backend = "tasmota", tasmota = { topic = "shelf" }"#, true),
    ("shelly", r#"backend = "shelly", shelly = { topic = "shelly/plus1" }"#, false),
    (
        "shelly-dimmer",
        r#"backend = "shelly", shelly = { topic = "shelly/dimmer", component = "light:0" }"#,
        true,
    ),
    (
        "shelly-first",
        r#"backend = "shelly", shelly = { topic = "shellies/shelly1", generation = 1 }"#,
        false,
    ),
    (
        "shelly-bulb",
        r#"backend = "shelly", shelly = { topic = "shellies/bulb", generation = 1, component = "light:0" }"#,
        true,
    ),
];
const NODE: (&str, &str, bool) =
    ("esphome", r#"backend = "esphome", esphome = { topic = "node", light = "ceiling" }"#, true);

/// A home with a lamp of each firmware.
struct Lamps {
    home: Home,
    fakes: Vec<(&'static str, FakeDevice)>,
}

impl Lamps {
    async fn start(setup: Setup) -> Result<Self> {
        let mut home = Home::prepare(setup, |config| {
            config.tables += ALLOWED;
            for lamp in LAMPS.iter().chain([&NODE]) {
                config.devices += &table(lamp);
            }
        })
        .await?;
        let access = home.broker.access("bulb");
        let mut fakes = Vec::new();
        macro_rules! start {
            ($id:literal, $firmware:expr) => {
                let client_id = concat!("bulb-", $id);
                fakes.push(($id, FakeDevice::start($firmware, access.clone(), client_id).await?));
            };
        }
        start!("tasmota", Tasmota { topic: "desk", mqtt_5: false });
        start!("tasmota-5", Tasmota { topic: "shelf", mqtt_5: true });
        start!("shelly", Shelly { prefix: "shelly/plus1", dims: false });
        start!("shelly-dimmer", Shelly { prefix: "shelly/dimmer", dims: true });
        start!("shelly-first", ShellyFirst { id: "shelly1", dims: false });
        start!("shelly-bulb", ShellyFirst { id: "bulb", dims: true });
        start!("esphome", Esphome { node: "node" });
        for states in ["state/+/power", "state/+/status", "state/+/brightness"] {
            let states = home.topic(states);
            home.phone.subscribe(&states).await?;
        }
        home.daemon.start(&mut home.phone).await?;
        let mut lamps = Self { home, fakes };
        for id in lamps.ids() {
            lamps.state(id, "status", "ready").await?;
        }
        Ok(lamps)
    }

    fn ids(&self) -> Vec<&'static str> {
        self.fakes.iter().map(|(id, _)| *id).collect()
    }

    fn fake(&mut self, id: &str) -> &mut FakeDevice {
        &mut self.fakes.iter_mut().find(|(own, _)| *own == id).expect("there is one of each").1
    }

    fn all_do(&self, mode: Mode) {
        self.fakes.iter().for_each(|(_, fake)| fake.set_mode(mode));
    }

    /// Asks all of them at once, and returns what each answers; a 200 must be what the lamp is.
    async fn ask_all(
        &mut self,
        property: &str,
        wanted: &str,
    ) -> Result<Vec<(&'static str, Message)>> {
        self.ask(&self.ids(), property, wanted).await
    }

    async fn ask(
        &mut self,
        ids: &[&'static str],
        property: &str,
        wanted: &str,
    ) -> Result<Vec<(&'static str, Message)>> {
        let mut open = Vec::new();
        for id in ids {
            let request = self.home.ask(&format!("{id}/{property}"), wanted.to_owned());
            open.push((*id, request.correlation_data.clone()));
            self.home.phone.publish(request).await?;
        }
        let topic = self.home.topic("response/phone/e2e");
        let mut answers = Vec::new();
        for (id, data) in open {
            let is_it = |m: &Message| m.topic == topic && m.correlation_data == data;
            let answer = self.home.phone.expect(id, PATIENCE, is_it).await?;
            answers.push((id, answer));
        }
        Ok(answers)
    }

    /// Waits until a lamp has heard more commands than these.
    async fn heard(&mut self, id: &str, before: usize) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.fake(id).orders() == before {
            if tokio::time::Instant::now() > deadline {
                return Err(Failure(format!("{id} has heard nothing")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until a state is published.
    async fn state(&mut self, id: &str, property: &str, value: &str) -> Result<Message> {
        let topic = self.home.topic(&format!("state/{id}/{property}"));
        let is_it = |m: &Message| m.topic == topic && m.text() == value;
        self.home.phone.expect(&format!("{topic} {value}"), PATIENCE, is_it).await
    }

    /// Forgets the states that were published so far.
    async fn forget(&mut self) -> Result<()> {
        let marker = self.home.topic("response/phone/marker");
        self.home.phone.drain(&marker).await.map(|_| ())
    }
}

fn table(lamp: &(&str, &str, bool)) -> String {
    let (id, table, dims) = lamp;
    let lines = table.replacen(", ", "\n", 1);
    format!(
        "[devices.{id}]\nplugin = \"light\"\n[devices.{id}.config]\n\
         brightness = {dims}\n{lines}\n"
    )
}

#[tokio::test]
async fn every_answer_is_what_the_lamp_did() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let mut lamps = Lamps::start(setup).await?;
        // The second ON changes nothing, and is true all the same.
        for power in ["ON", "OFF", "ON", "ON"] {
            obeyed(&mut lamps, power).await?;
        }
        lamps.all_do(Mode::IsSlow);
        obeyed(&mut lamps, "OFF").await?;
        for mode in [Mode::Lies, Mode::Refuses] {
            lamps.all_do(mode);
            for (id, answer) in lamps.ask_all("power", "ON").await? {
                // What Tasmota replies to a request is how the relay was then; a rule may undo it.
                let undone =
                    id == "tasmota-5" && mode == Mode::Lies && answer.status() == Some(200);
                let why = answer.property("__stMsg").unwrap_or_default().to_owned();
                assert!(
                    undone || answer.status() == Some(500),
                    "{setup:?} {mode:?} {id} {answer:?}"
                );
                assert!(undone || why.contains("refused"), "{setup:?} {mode:?} {id} {answer:?}");
                assert!(!lamps.fake(id).lamp().on);
                let read = lamps.home.answer(&format!("{id}/power"), "").await?;
                assert_eq!(read.text(), "OFF", "{setup:?} {mode:?} {id} {read:?}");
            }
        }
        lamps.all_do(Mode::IsSilent);
        for (id, answer) in lamps.ask_all("power", "ON").await? {
            assert!(
                matches!(answer.status(), Some(409 | 503)),
                "{setup:?} {id} nobody knows: {answer:?}"
            );
        }
        lamps.all_do(Mode::Obeys);
        // What is left of the commands that nobody has answered costs time, and no certainty.
        obeyed(&mut lamps, "ON").await?;
        lamps.home.light_is_off().await?;
    }
    Ok(())
}

/// Requires that each lamp is as wanted, and that the hub says so.
async fn obeyed(lamps: &mut Lamps, power: &str) -> Result<()> {
    for (id, answer) in lamps.ask_all("power", power).await? {
        assert_eq!((answer.status(), &*answer.text()), (Some(200), power), "{id} {answer:?}");
        assert_eq!(lamps.fake(id).lamp().on, power == "ON", "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_brightness_is_confirmed_as_the_lamp_took_it() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Bundled).await?;
    let dimming: Vec<&str> =
        LAMPS.iter().chain([&NODE]).filter(|(_, _, dims)| *dims).map(|(id, _, _)| *id).collect();
    for (id, answer) in lamps.ask(&dimming, "set", r#"{"power": "ON", "brightness": 40}"#).await? {
        assert_eq!(answer.status(), Some(200), "{id} {answer:?}");
        let lamp = lamps.fake(id).lamp();
        assert!(lamp.on && (lamp.brightness - 0.4).abs() < 0.01, "{id} {lamp:?}");
        lamps.state(id, "brightness", "40").await?;
    }
    // What a relay cannot is said, and nothing is sent.
    let before = lamps.fake("shelly").orders();
    let answer = lamps.home.answer("shelly/brightness", "40").await?;
    assert!(matches!(answer.status(), Some(404 | 422)), "{answer:?}");
    assert_eq!(lamps.fake("shelly").orders(), before);
    Ok(())
}

#[tokio::test]
async fn a_reply_of_tasmota_is_all_that_an_answer_needs() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let mut lamps = Lamps::start(setup).await?;
        lamps.fake("tasmota-5").say_only_replies();
        for power in ["ON", "OFF"] {
            let answer = lamps.home.answer("tasmota-5/power", power).await?;
            assert_eq!((answer.status(), &*answer.text()), (Some(200), power), "{answer:?}");
            assert_eq!(lamps.fake("tasmota-5").lamp().on, power == "ON");
            lamps.state("tasmota-5", "power", power).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_lamp_without_power_is_unreachable_until_it_is_back() -> Result<()> {
    for setup in [Setup::Mosquitto, Setup::Bundled] {
        let mut lamps = Lamps::start(setup).await?;
        obeyed(&mut lamps, "ON").await?;
        lamps.forget().await?;
        let ids = lamps.ids();
        for (_, fake) in &mut lamps.fakes {
            fake.die();
        }
        for id in &ids {
            let told = lamps.state(id, "status", "unreachable").await?;
            assert!(told.property("reason").is_some_and(|why| why.contains("offline")), "{told:?}");
        }
        for (id, answer) in lamps.ask_all("power", "OFF").await? {
            assert_eq!(answer.status(), Some(503), "{setup:?} {id} {answer:?}");
            assert!(lamps.fake(id).lamp().on, "{id}: nobody has heard it");
        }
        let read = lamps.home.answer("tasmota/power", "").await?;
        assert_eq!((read.status(), &read.json()?["last_known"]), (Some(503), &"ON".into()));
        for (_, fake) in &mut lamps.fakes {
            fake.start_again().await?;
        }
        for id in &ids {
            lamps.state(id, "status", "ready").await?;
        }
        obeyed(&mut lamps, "OFF").await?;
        // And whoever presses the button at the lamp is heard.
        lamps.forget().await?;
        for (_, fake) in &lamps.fakes {
            fake.press();
        }
        for id in &ids {
            lamps.state(id, "power", "ON").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_comes_too_late_is_told_as_a_state() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Bundled).await?;
    obeyed(&mut lamps, "OFF").await?;
    lamps.forget().await?;
    lamps.all_do(Mode::IsLate);
    for (id, answer) in lamps.ask_all("power", "ON").await? {
        assert!(matches!(answer.status(), Some(409 | 503)), "{id} {answer:?}");
    }
    for id in lamps.ids() {
        lamps.state(id, "power", "ON").await?;
        assert!(lamps.fake(id).lamp().on, "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lamp_that_restarts_within_a_command_is_not_believed_blindly() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Bundled).await?;
    let topic = lamps.home.topic("response/phone/e2e");
    for id in lamps.ids() {
        lamps.fake(id).set_mode(Mode::IsSilent);
        let before = lamps.fake(id).orders();
        let request = lamps.home.ask(&format!("{id}/power"), "ON");
        let data = request.correlation_data.clone();
        lamps.home.phone.publish(request).await?;
        lamps.heard(id, before).await?;
        lamps.fake(id).die();
        lamps.fake(id).set_mode(Mode::Obeys);
        lamps.fake(id).start_again().await?;
        let is_it = |m: &Message| m.topic == topic && m.correlation_data == data;
        let answer = lamps.home.phone.expect(id, PATIENCE, is_it).await?;
        let on = lamps.fake(id).lamp().on;
        match answer.status() {
            Some(200) => assert!(on, "{id} {answer:?}"),
            Some(500) => assert!(!on, "{id} {answer:?}"),
            status => assert!(matches!(status, Some(409 | 503)), "{id} {answer:?}"),
        }
    }
    obeyed(&mut lamps, "ON").await
}

#[tokio::test]
async fn a_hub_that_is_killed_within_a_command_answers_what_the_lamp_did() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Bundled).await?;
    lamps.all_do(Mode::IsSilent);
    let mut open = Vec::new();
    for id in lamps.ids() {
        let before = lamps.fake(id).orders();
        let request = lamps.home.ask(&format!("{id}/power"), "ON");
        open.push((id, request.correlation_data.clone()));
        lamps.home.phone.publish(request).await?;
        lamps.heard(id, before).await?;
    }
    lamps.home.daemon.kill9()?;
    lamps.forget().await?;
    lamps.all_do(Mode::Obeys);
    lamps.home.daemon.start(&mut lamps.home.phone).await?;
    let topic = lamps.home.topic("response/phone/e2e");
    for (id, data) in open {
        let is_it = |m: &Message| m.topic == topic && m.correlation_data == data;
        let answer = lamps.home.phone.expect(id, PATIENCE, is_it).await?;
        let on = lamps.fake(id).lamp().on;
        match answer.status() {
            Some(200) => assert!(on, "{id} {answer:?}"),
            status => assert!(matches!(status, Some(408 | 409 | 503)), "{id} {answer:?}"),
        }
        lamps.state(id, "status", "ready").await?;
    }
    obeyed(&mut lamps, "ON").await
}

#[tokio::test]
async fn what_comes_twice_is_answered_once() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Mosquitto).await?;
    lamps.fakes.iter().for_each(|(_, fake)| fake.say_twice());
    for power in ["ON", "OFF", "ON"] {
        obeyed(&mut lamps, power).await?;
    }
    let answers = lamps.home.topic("response/phone/e2e");
    for id in lamps.ids() {
        let request = lamps.home.ask(&format!("{id}/power"), "OFF");
        let first = lamps.home.phone.request(request.clone()).await?;
        let orders = lamps.fake(id).orders();
        // A repeat has the same answer, and the lamp does not hear of it.
        let second = lamps.home.phone.request(request.with_property("retry", "1")).await?;
        assert_eq!((first.status(), second.status()), (Some(200), Some(200)), "{id} {second:?}");
        assert_eq!(lamps.fake(id).orders(), orders, "{id}");
        lamps.forget().await?;
    }
    let marker = lamps.home.topic("response/phone/marker");
    let left = lamps.home.phone.drain(&marker).await?;
    assert!(left.iter().all(|message| message.topic != answers), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn nonsense_on_a_lamps_topics_changes_nothing() -> Result<()> {
    let mut lamps = Lamps::start(Setup::Bundled).await?;
    obeyed(&mut lamps, "ON").await?;
    lamps.forget().await?;
    let mut stranger = Client::connect(&lamps.home.broker.access("bulb"), "bulb-stranger").await?;
    let topics = [
        "stat/desk/RESULT",
        "stat/desk/POWER",
        "tele/desk/STATE",
        "tele/desk/LWT",
        "shelly/plus1/hearthd/rpc",
        "shelly/plus1/status/switch:0",
        "shelly/plus1/online",
        "shellies/shelly1/relay/0",
        "shellies/bulb/light/0/status",
        "node/light/ceiling/state",
        "node/status",
    ];
    let huge = format!(r#"{{"POWER": "OFF", "state": "OFF", "padding": "{}"#, "x".repeat(500_000));
    let payloads: [&[u8]; 9] = [
        b"",
        b"{\"POWER\": \"OFF\"",
        b"\xff\xfe\x00OFF",
        b"[\"OFF\"]",
        b"{\"POWER\": 0, \"Dimmer\": \"40\", \"output\": \"off\", \"ison\": 0, \"state\": 0, \"brightness\": {}}",
        b"{\"id\": 1, \"result\": {\"output\": false}}",
        b"{\"id\": \"1\", \"error\": \"no\"}",
        b"null",
        huge.as_bytes(),
    ];
    for topic in topics {
        for payload in payloads {
            stranger.publish(Message::new(topic, payload.to_vec())).await?;
        }
    }
    // The hub has taken all of it once it answers what was asked after it.
    for (id, answer) in lamps.ask_all("power", "").await? {
        assert_eq!((answer.status(), &*answer.text()), (Some(200), "ON"), "{id} {answer:?}");
    }
    obeyed(&mut lamps, "OFF").await?;
    let marker = lamps.home.topic("response/phone/marker");
    let told = lamps.home.phone.drain(&marker).await?;
    let wrong: Vec<&Message> = told.iter().filter(|m| m.text() == "unreachable").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

#[tokio::test]
async fn two_lights_that_command_one_lamp_are_a_line_in_check() -> Result<()> {
    let home = Home::prepare(Setup::Bundled, |config| {
        config.tables += ALLOWED;
        config.devices += &table(&LAMPS[0]);
        config.devices += &table(&("second", LAMPS[0].1, true));
    })
    .await?;
    let checked = home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let line = "devices.tasmota.config: `second` publishes on its topic `cmnd/desk/POWER` as well";
    assert!(checked.stderr.contains(line), "{checked:?}");
    Ok(())
}
