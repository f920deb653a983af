//! A hub at the bundled broker that a phone has asked for something.

use std::path::Path;

use crate::{Built, Client, Daemon, DaemonConfig, HearthBroker, Message, Result};

/// The hub, and what it needs to go on.
#[derive(Debug)]
pub struct AskedHub {
    /// The hub, with the devices of the demonstration.
    pub hub: Daemon,
    _phone: Client,
    _broker: HearthBroker,
}

impl AskedHub {
    /// Starts all of it below a folder, and sends the light one request for each payload; each has its answer.
    ///
    /// # Errors
    /// Where something does not start, or a request has no answer.
    pub async fn start(built: &Built, folder: &Path, payloads: &[&'static str]) -> Result<Self> {
        let broker = HearthBroker::start(built, folder).await?;
        let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
        phone.subscribe("alice/response/phone/+").await?;
        let config = DaemonConfig::new(broker.access("hub"));
        let mut hub = Daemon::prepare(built, &folder.join("hub"), &config)?;
        hub.start(&mut phone).await?;
        for payload in payloads {
            let request = Message::new("alice/cmnd/light-in-bedroom/power", *payload);
            phone.request(request.respond_to("alice/response/phone/1", *payload)).await?;
        }
        Ok(Self { hub, _phone: phone, _broker: broker })
    }
}
