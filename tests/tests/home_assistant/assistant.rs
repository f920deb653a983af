//! A Home Assistant without a screen, in a root of its own, and its API.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearthd_tests::{Access, Browser, Doing, Failure, Process, Result, process::eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

/// A Home Assistant that runs.
pub(crate) struct Assistant {
    root: PathBuf,
    /// Its folder, as it sees it.
    folder: String,
    token: String,
    process: Process,
}

impl Assistant {
    /// Starts one that knows the broker, and nothing else; it was set up for a version of the protocol, `5` or `3.1.1`.
    pub(crate) async fn start(name: &str, broker: &Access, protocol: &str) -> Result<Self> {
        let root = std::env::var_os("HEARTH_HA_ROOT").doing("run `cargo xtask nightly ha`")?;
        let root = PathBuf::from(root);
        let folder = format!("/opt/run-{name}");
        let outside = root.join(folder.trim_start_matches('/'));
        if outside.exists() {
            fs::remove_dir_all(&outside).doing(outside.display())?;
        }
        fs::create_dir_all(&outside).doing(outside.display())?;
        let (user, password) = broker.login.clone().unwrap_or_default();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/home_assistant/prepare.py");
        let mut prepare = Command::new("python3");
        prepare.arg(script).arg(outside.join("config")).arg(broker.port.to_string());
        let prepared = prepare.args([protocol, &user, &password]).output().doing(script)?;
        if !prepared.status.success() {
            return Err(Failure(String::from_utf8_lossy(&prepared.stderr).into_owned()));
        }
        let token = String::from_utf8_lossy(&prepared.stdout).trim().to_owned();
        let process = spawn(&root, &folder)?;
        let mut assistant = Self { root, folder, token, process };
        assistant.up().await?;
        Ok(assistant)
    }

    /// Has it start anew, as a person does.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        // It may end before it answers.
        let _ = self.call("homeassistant", "restart", json!({})).await;
        let process = &mut self.process;
        eventually("the end of Home Assistant", PATIENCE, || process.ended()).await?;
        self.process = spawn(&self.root, &self.folder)?;
        self.up().await
    }

    async fn up(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok((200, _)) = self.http("GET", "/api/", None).await {
                return Ok(());
            }
            if let Some(status) = self.process.ended()? {
                return Err(Failure(format!("Home Assistant: {status}\n{}", self.log())));
            }
            if Instant::now() > end {
                return Err(Failure(format!("Home Assistant does not start\n{}", self.log())));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Returns the version of the protocol that it connects to the broker with.
    pub(crate) fn protocol(&self) -> Result<String> {
        let outside = self.root.join(self.folder.trim_start_matches('/'));
        let file = outside.join("config/.storage/core.config_entries");
        let entries: Value = serde_json::from_slice(&fs::read(&file).doing(file.display())?)?;
        let all = entries["data"]["entries"].as_array().doing("entries")?;
        let mqtt = all.iter().find(|entry| entry["domain"] == "mqtt").doing("an entry of MQTT")?;
        Ok(mqtt["data"]["protocol"].as_str().unwrap_or_default().to_owned())
    }

    /// Opens one of its pages in a browser, as its user.
    pub(crate) async fn open(&self, browser: &mut Browser, path: &str) -> Result<()> {
        let url = format!("http://127.0.0.1:{PORT}");
        let tokens = json!({
            "access_token": self.token, "token_type": "Bearer", "refresh_token": "",
            "expires_in": 1800, "expires": 9_999_999_999_999_u64, "hassUrl": url,
            "clientId": format!("{url}/"),
        });
        browser.open(&format!("{url}/manifest.json")).await?;
        let tokens = json!(tokens.to_string());
        browser.evaluate(&format!("localStorage.setItem('hassTokens', {tokens})")).await?;
        browser.open(&format!("{url}{path}")).await
    }

    /// Calls a service.
    pub(crate) async fn call(&self, domain: &str, service: &str, data: Value) -> Result<()> {
        let path = format!("/api/services/{domain}/{service}");
        match self.http("POST", &path, Some(&data.to_string())).await? {
            (200, _) => Ok(()),
            (status, said) => Err(Failure(format!("{path} {data}: {status}: {said}"))),
        }
    }

    /// Renders a template, by which everything that it knows can be asked.
    pub(crate) async fn template(&self, template: &str) -> Result<String> {
        let body = json!({ "template": template }).to_string();
        match self.http("POST", "/api/template", Some(&body)).await? {
            (200, text) => Ok(text),
            (status, said) => Err(Failure(format!("{template}: {status}: {said}"))),
        }
    }

    /// Waits until a template renders to a text.
    pub(crate) async fn until(&self, template: &str, expected: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.template(template).await?;
            if text == expected {
                return Ok(());
            }
            if Instant::now() > end {
                let log = self.troubles().join("\n");
                return Err(Failure(format!("{template}: {text}, not {expected}\n{log}")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Lists the lines of its log at warning or above that have to do with MQTT or a hub.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let is_trouble = |line: &&str| {
            [" WARNING ", " ERROR ", " CRITICAL "].iter().any(|level| line.contains(level))
                // That the broker was away is so, and names nobody else.
                && !line.contains("homeassistant.components.mqtt.client")
                && ["mqtt", "hearth", "bedroom", "cellar"]
                    .iter()
                    .any(|word| line.to_lowercase().contains(word))
        };
        self.log().lines().filter(is_trouble).map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(log_of(&self.root, &self.folder)).unwrap_or_default()
    }

    /// Makes a request of HTTP/1.0, whose answer ends with the connection.
    async fn http(&self, method: &str, path: &str, body: Option<&str>) -> Result<(u16, String)> {
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT)).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await.doing(path)?.doing(path)?;
        let (head, body) = answer.split_once("\r\n\r\n").doing(path)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).doing(path)?;
        Ok((status, body.to_owned()))
    }
}

fn spawn(root: &Path, folder: &str) -> Result<Process> {
    let mut hass = Command::new("chroot");
    hass.arg(root).args(["/opt/ha/bin/hass", "--skip-pip", "-c"]).arg(format!("{folder}/config"));
    Process::start(&mut hass, &log_of(root, folder))
}

fn log_of(root: &Path, folder: &str) -> PathBuf {
    root.join(folder.trim_start_matches('/')).join("hass.log")
}

const PORT: u16 = 8123;
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);
