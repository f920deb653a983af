//! Two hubs that guard each other.

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Message, Result, client::PATIENCE, daemon::under,
};
use serde_json::json;

use crate::home::{Broker, Setup};

struct Pair {
    phone: Client,
    attic: Daemon,
    cellar: Daemon,
    prefix: Option<String>,
    _broker: Broker,
    _folder: tempfile::TempDir,
}

impl Pair {
    async fn start(setup: Setup) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(setup, &built, &folder).await?;
        let hub = |name: &str, other: &str| {
            let mut config = DaemonConfig::new(broker.access("hub"));
            config.client_id = format!("hearthd-demo-{name}");
            config.devices = format!(
                "[devices.{name}-boiler]\nplugin = \"light\"\n\n[[guard]]\n\
                 presence = \"{{prefix}}/hub/hearthd-demo-{other}/presence\"\n\
                 request = {{ device = \"{name}-boiler\", property = \"power\", value = \"ON\" }}\n"
            );
            Daemon::prepare(&built, &folder.path().join(name), &config)
        };
        let (mut attic, mut cellar) = (hub("attic", "cellar")?, hub("cellar", "attic")?);
        let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
        let prefix = phone.response_information().map(str::to_owned);
        attic.start(&mut phone).await?;
        cellar.start(&mut phone).await?;
        Ok(Self { phone, attic, cellar, prefix, _broker: broker, _folder: folder })
    }

    fn topic(&self, rest: &str) -> String {
        under(self.prefix.as_deref(), rest)
    }
}

#[tokio::test]
async fn the_hub_that_is_left_acts_and_the_other_learns_what_it_did() -> Result<()> {
    for setup in Setup::ALL {
        let mut pair = Pair::start(setup).await?;
        let lamp = pair.topic("state/attic-boiler/power");
        let acknowledgements = pair.topic("response/hearthd-demo-cellar/will");
        let absences = pair.topic("hub/hearthd-demo-cellar/absence");
        for topic in [&lamp, &acknowledgements, &absences] {
            pair.phone.subscribe(topic).await?;
        }
        // Its own device answers, so its session and subscriptions are there to stay.
        pair.phone.expect(&lamp, PATIENCE, |m| m.topic == lamp && m.text() == "OFF").await?;
        pair.cellar.kill9()?;
        pair.phone.expect(&lamp, PATIENCE, |m| m.topic == lamp && m.text() == "ON").await?;
        let acknowledgement = pair.phone.expect_on(&acknowledgements).await?;
        assert_eq!(acknowledgement.status(), Some(200), "{setup:?}");
        assert_eq!(acknowledgement.text(), "ON", "{setup:?}");
        assert_eq!(acknowledgement.property("client_id"), Some("hearthd-demo-attic"), "{setup:?}");

        pair.cellar.start(&mut pair.phone).await?;
        let told = |m: &Message| m.topic == absences;
        let absence = pair.phone.expect(&absences, PATIENCE, told).await?.json()?;
        assert_eq!(absence["outcome"], "consumed", "{setup:?} {absence}");
        let mut expected = json!([{
            "responder": "hearthd-demo-attic", "payload": "ON", "status": 200, "before_fence": true
        }]);
        if setup == Setup::Bundled {
            expected[0]["responder"] = json!("hub (hearthd-demo-attic)");
            expected[0]["vouched"] = json!(true);
        }
        assert_eq!(absence["acknowledgements"], expected, "{setup:?}");
        pair.attic.logged("another hub's will was published").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_ended_in_order_is_not_guarded_against() -> Result<()> {
    let mut pair = Pair::start(Setup::Bundled).await?;
    let presence = pair.cellar.presence(pair.prefix.as_deref());
    assert!(pair.cellar.terminate().await?.success());
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    pair.phone.expect("`offline`", PATIENCE, offline).await?;
    // Whatever the farewell had caused would be in the mailbox before this.
    let own = pair.topic("response/phone/guards");
    pair.phone.subscribe(&own).await?;
    let read = Message::new(pair.topic("cmnd/attic-boiler/power"), "").respond_to(own, "read");
    assert_eq!(pair.phone.request(read).await?.text(), "OFF");
    Ok(())
}
