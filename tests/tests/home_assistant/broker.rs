//! The brokers that a home can have, each of which can be killed and started again.

use std::{fs, path::Path};

use hearthd_tests::{Access, Built, HearthBroker, Mosquitto, Result, mosquitto::Kind};

pub(crate) enum Broker {
    Bundled(HearthBroker),
    Mosquitto(Mosquitto),
}

impl Broker {
    /// Starts the bundled broker with what `hearth-broker account add assistant --for home-assistant` writes.
    pub(crate) async fn bundled(built: &Built, folder: &Path) -> Result<Self> {
        let password = folder.join("password");
        fs::write(&password, "password-of-hub")?;
        let others = folder.join("password-of-others");
        fs::write(&others, "password-of-assistant")?;
        let text = format!(
            "home = \"home\"\n[storage]\ndirectory = {:?}\n[[account]]\nname = \"hub\"\nrole = \"hub\"\n\
             password_file = {password:?}\nclient_ids = [\"hearthd-*\"]\n\
             rights = [{{ filter = \"homeassistant/#\" }}]\n[[account]]\nname = \"assistant\"\n\
             role = \"resident\"\npassword_file = {others:?}\nrights = [{{ filter = \"homeassistant/#\" }}]\n",
            folder.join("storage")
        );
        Ok(Self::Bundled(HearthBroker::start_configured(built, folder, &text).await?))
    }

    /// Starts a Mosquitto that keeps nothing.
    pub(crate) async fn mosquitto() -> Result<Self> {
        Ok(Self::Mosquitto(Mosquitto::start(Kind::Open).await?))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bundled(_) => "bundled",
            Self::Mosquitto(_) => "mosquitto",
        }
    }

    pub(crate) fn hub(&self) -> Access {
        match self {
            Self::Bundled(broker) => broker.access("hub"),
            Self::Mosquitto(broker) => broker.access(None),
        }
    }

    pub(crate) fn assistant(&self) -> Access {
        match self {
            Self::Bundled(broker) => broker.access("assistant"),
            Self::Mosquitto(broker) => broker.access(None),
        }
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        match self {
            Self::Bundled(broker) => broker.stop(),
            Self::Mosquitto(broker) => broker.stop(),
        }
    }

    pub(crate) async fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Bundled(broker) => broker.start_again().await,
            Self::Mosquitto(broker) => broker.start_again().await,
        }
    }
}
