//! What the journal costs: the same lights, asked what is journalled and what is not.

use hearthd_tests::{Built, Client, Daemon, DaemonConfig, Result};

use super::{
    Effort, load,
    load::{Question, Until},
    stage::{LIGHTS, lights, start_mosquitto},
    writes::{self, Writes},
};

/// What was measured.
#[derive(Debug)]
pub(crate) struct Durability {
    /// Answers per second and round: the state is set (its answer is journalled before PUBACK), toggled (its intent
    /// too, before it is carried out), and read (nothing is journalled).
    pub(crate) set: Vec<f64>,
    pub(crate) toggled: Vec<f64>,
    pub(crate) read: Vec<f64>,
    /// QoS 0: the state is set, and no redelivery can come, so nothing is journalled.
    pub(crate) set_once: Vec<f64>,
    pub(crate) read_once: Vec<f64>,
    pub(crate) writes: Writes,
}

/// Asks a hub of its own behind Mosquitto, which keeps nothing on disk itself.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Durability> {
    let folder = tempfile::tempdir()?;
    let (_mosquitto, port) = start_mosquitto(folder.path()).await?;
    let access = hearthd_tests::Access { port, login: None };
    let mut config = DaemonConfig::new(access.clone());
    config.plugins = &["light"];
    config.devices = lights("light", LIGHTS, "none");
    let mut hub = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
    let mut phone = Client::connect(&access, "phone").await?;
    hub.start(&mut phone).await?;
    let [mut set, mut toggled, mut read, mut set_once, mut read_once] = [const { Vec::new() }; 5];
    for _ in 0..effort.rounds {
        let kinds = [
            ("ON", 1, &mut set),
            ("TOGGLE", 1, &mut toggled),
            ("", 1, &mut read),
            ("ON", 0, &mut set_once),
        ];
        for (payload, qos, rounds) in kinds.into_iter().chain([("", 0, &mut read_once)]) {
            let question = Question {
                topic: "cmnd/light-{n}/power".into(),
                targets: LIGHTS,
                payloads: vec![payload.into()],
                prefix: None,
                qos,
                requesters: 1,
                in_flight: 256,
                expiry: None,
                until: Until::Time { warm_up: effort.warm_up, measure: effort.measure * 2 },
            };
            rounds.push(load::ask(built, &access, &question).await?.per_second);
        }
    }
    phone.subscribe(writes::RESPONSES).await?;
    let writes = writes::writes(&mut hub, &mut phone).await?;
    hub.terminate().await?;
    Ok(Durability { set, toggled, read, set_once, read_once, writes })
}
