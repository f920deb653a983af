//! The configurations of `config/`, each as it is shipped but for the paths and ports of a test.

use std::{fs, path::Path, process::Command};

use hearthd_tests::{
    Access, Authority, Built, Client, Daemon, Doing, Failure, HearthBroker, Mosquitto, Result,
    Shim, TlsFront, built::workspace, mosquitto::Kind, tls::Validity,
};

#[tokio::test]
async fn what_the_package_installs_answers_beside_the_bundled_broker() -> Result<()> {
    let hub = Folder::new()?;
    let broker = shipped("hearth-broker.toml")?;
    let broker = broker.replace("/run/credentials/hearth-broker.service/", &hub.path(""));
    let state = format!("{:?}", hub.path("broker-state"));
    let broker = with(&broker, "directory", &state)?;
    let broker = with(&broker, "socket", &format!("{:?}", hub.path("clients.sock")))?;
    for credential in ["mqtt-password", "home-password"] {
        fs::write(hub.path(credential), "secret\n")?;
    }
    let broker = HearthBroker::start_configured(&hub.built, hub.folder.path(), &broker).await?;
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let daemon = hub.daemon("hearthd.toml", &url)?;
    answers(daemon, home_account(broker.port()), Some("home")).await
}

#[tokio::test]
async fn the_hub_of_the_mosquitto_example_answers_below_its_prefix() -> Result<()> {
    let hub = Folder::new()?;
    fs::write(hub.path("mqtt-password"), "secret\n")?;
    let passwords = hub.path("passwords");
    fs::write(&passwords, "")?;
    for account in ["hub", "home"] {
        let mut command = Command::new("mosquitto_passwd");
        let status = command.args(["-b", &passwords, account, "secret"]).status();
        assert!(status.doing("mosquitto_passwd")?.success(), "{account}");
    }
    fs::write(hub.path("acl"), shipped("mosquitto/hearthd.acl")?)?;
    let broker = shipped("mosquitto/hearthd.conf")?
        .replace("/etc/mosquitto/hearthd.passwords", &passwords)
        .replace("/etc/mosquitto/hearthd.acl", &hub.path("acl"));
    let broker = Mosquitto::start_configured(&broker).await?;
    let anybody = Access { login: None, ..home_account(broker.port()) };
    assert!(Client::connect(&anybody, "anybody").await.is_err());
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let daemon = hub.daemon("hearthd-mosquitto.toml", &url)?;
    answers(daemon, home_account(broker.port()), None).await
}

#[tokio::test]
async fn the_hub_of_the_cloud_example_answers_over_tls_below_what_the_broker_gives() -> Result<()> {
    let hub = Folder::new()?;
    fs::write(hub.path("mqtt-password"), "any\n")?;
    let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
    let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
    let authority = Authority::new("the cloud")?;
    fs::write(hub.path("ca.pem"), authority.pem())?;
    let alice = shim.access("alice");
    let front = TlsFront::start(alice.port, &authority, "localhost", Validity::Now).await?;
    let url = format!("mqtts://localhost:{}", front.port());
    let mut daemon = hub.daemon("hearthd-cloud.toml", &url)?;
    // Where no `ca_file` is given, the system's authorities count, or these.
    daemon.set_environment("SSL_CERT_FILE", hub.path("ca.pem"));
    answers(daemon, alice, Some("alice")).await
}

#[tokio::test]
async fn the_hub_of_the_fleet_example_answers_below_what_the_broker_gives_its_account() -> Result<()>
{
    let hub = Folder::new()?;
    fs::write(hub.path("mqtt-password"), "any\n")?;
    let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
    let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
    let home = shim.access("home0001");
    let daemon = hub.daemon("fleet/hearthd.toml", &format!("mqtt://127.0.0.1:{}", home.port))?;
    answers(daemon, home, Some("home0001")).await
}

/// Starts the hub and has its light switched by somebody else.
async fn answers(mut daemon: Daemon, access: Access, information: Option<&str>) -> Result<()> {
    let mut phone = Client::connect(&access, "phone").await?;
    assert_eq!(phone.response_information(), information);
    let prefix = information.unwrap_or("home");
    let presence = format!("{prefix}/hub/{CLIENT_ID}/presence");
    let response = format!("{prefix}/response/phone/1");
    phone.subscribe(&presence).await?;
    phone.subscribe(&response).await?;
    daemon.spawn()?;
    let online = phone.expect_on(&presence).await;
    let online = online.map_err(|failure| Failure(format!("{failure}\n{}", daemon.log())))?;
    assert_eq!(online.text(), "online");
    let topic = format!("{prefix}/cmnd/light-in-bedroom/power");
    let request = hearthd_tests::Message::new(topic, "ON").respond_to(response, "1");
    let answer = phone.request(request).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));
    Ok(())
}

fn home_account(port: u16) -> Access {
    Access { port, login: Some(("home".into(), "secret".into())) }
}

/// Where one installation is.
struct Folder {
    built: Built,
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Result<Self> {
        Ok(Self { built: Built::for_this_test()?, folder: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Prepares the hub of an example.
    fn daemon(&self, example: &str, url: &str) -> Result<Daemon> {
        self.built.copy_plugins(&["light", "thermostat"], Path::new(&self.path("plugins")))?;
        let mut text = shipped(example)?;
        if !text.contains("\n[plugins]\n") {
            text += "\n[plugins]\n# path = []\n[state]\n# directory = \"\"\n";
        }
        let plugins = format!("[{:?}]", self.path("plugins"));
        for (key, value) in [
            ("path", plugins),
            ("directory", format!("{:?}", self.path("state"))),
            ("url", format!("{url:?}")),
            ("password_file", format!("{:?}", self.path("mqtt-password"))),
        ] {
            text = with(&text, key, &value)?;
        }
        let text = if text.contains("\nclient_id = ") {
            with(&text, "client_id", &format!("{CLIENT_ID:?}"))?
        } else {
            text.replacen("[broker]\n", &format!("[broker]\nclient_id = {CLIENT_ID:?}\n"), 1)
        };
        let name = Path::new(example).file_name().doing(example)?;
        let file = self.folder.path().join(name);
        fs::write(&file, text)?;
        Daemon::prepared(&self.built, file, CLIENT_ID)
    }
}

fn shipped(name: &str) -> Result<String> {
    fs::read_to_string(workspace().join("config").join(name)).doing(name)
}

/// Gives a key, which stands there as a comment or not, another value.
fn with(text: &str, key: &str, value: &str) -> Result<String> {
    let begin = format!("{key} = ");
    let stands = |line: &&str| line.trim_start_matches("# ").starts_with(&begin);
    let line = text.lines().find(stands).doing(format!("`{key}` is in the file"))?;
    Ok(text.replacen(line, &format!("{key} = {value}"), 1))
}

/// One that the account of the hub may use in each example.
const CLIENT_ID: &str = "hearthd-demo";
