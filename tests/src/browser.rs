//! Chromium without a window, driven by the protocol of its developer tools.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::{Doing, Failure, Process, Result, process::eventually};

/// A running browser with one page; dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    _process: Process,
    socket: WebSocketStream<TcpStream>,
    session: String,
    last: u64,
}

/// A tab of the browser.
#[derive(Debug)]
pub struct Tab(String);

impl Browser {
    /// Starts the browser with its profile in `folder`.
    ///
    /// # Errors
    /// Where there is none, with Debian's package that has it, or it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let program = program()?;
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let profile = folder.join("profile");
        let mut command = Command::new(program);
        // Its own sandbox wants what a container and root do not have; it sees no page but ours.
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-dev-shm-usage", "--disable-background-networking", "--lang=en"]);
        command.args(["--remote-debugging-port=0", "about:blank"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        let mut process = Process::start(&mut command, &folder.join("chromium.log"))?;
        let place = eventually("the browser's address", START, || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("chromium ended: {status}\n{}", process.log())));
            }
            let said = std::fs::read_to_string(profile.join("DevToolsActivePort"));
            Ok(said.ok().and_then(|said| {
                let (port, path) = said.split_once('\n')?;
                Some(format!("ws://127.0.0.1:{}{}", port.trim(), path.trim()))
            }))
        })
        .await?;
        let stream = TcpStream::connect(place[5..].split('/').next().unwrap_or_default()).await?;
        let builder = ClientBuilder::new().uri(&place).doing(&place)?;
        let (socket, _) = builder.connect_on(stream).await.doing("connect to the browser")?;
        let mut browser = Self { _process: process, socket, session: String::new(), last: 0 };
        browser.session = browser.open_tab(json!({ "url": "about:blank" })).await?;
        Ok(browser)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// Where nothing comes from there.
    pub async fn open(&mut self, url: &str) -> Result<()> {
        let opened = self.command("Page.navigate", json!({ "url": url })).await?;
        match opened["errorText"].as_str() {
            Some(error) => Err(Failure(format!("open {url}: {error}"))),
            None => self.until("the page", "document.readyState === 'complete'").await.map(drop),
        }
    }

    /// Returns what an expression of JavaScript comes to on the page.
    ///
    /// # Errors
    /// Where it throws.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let how = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let said = self.command("Runtime.evaluate", how).await?;
        match said.get("exceptionDetails") {
            Some(thrown) => Err(Failure(format!("{expression}: {thrown}"))),
            None => Ok(said["result"]["value"].clone()),
        }
    }

    /// Accepts the certificates of the home's own authority, which a person installs on the phone.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn trust_every_certificate(&mut self) -> Result<()> {
        let how = json!({ "ignore": true });
        self.command("Security.setIgnoreCertificateErrors", how).await.map(drop)
    }

    /// Returns what keeps the browser from installing the page as an app: nothing if it would.
    ///
    /// # Errors
    /// Where the browser does not say.
    pub async fn why_not_installable(&mut self) -> Result<Vec<String>> {
        let manifest = self.command("Page.getAppManifest", json!({})).await?;
        let found = self.command("Page.getInstallabilityErrors", json!({})).await?;
        let why = |list: &Value, name: &str| {
            let entries = list.as_array().cloned().unwrap_or_default();
            entries.into_iter().map(|entry| entry[name].to_string()).collect::<Vec<_>>()
        };
        let mut all = why(&manifest["errors"], "message");
        all.extend(why(&found["installabilityErrors"], "errorId"));
        if manifest["url"].as_str().is_none_or(str::is_empty) {
            all.push("there is no manifest".into());
        }
        Ok(all)
    }

    /// Opens the same address in another tab as a person does, who gets a copy of what the tab has stored for itself.
    /// From then on, everything is about that tab; returns the one of before.
    ///
    /// # Errors
    /// Where the browser opens none.
    pub async fn duplicate(&mut self) -> Result<Tab> {
        let known = self.pages().await?;
        let how = json!({ "expression": "!!window.open(location.href)", "userGesture": true });
        let opened = self.command("Runtime.evaluate", how).await?;
        if opened["result"]["value"] != true {
            return Err(Failure(format!("no other tab: {opened}")));
        }
        let end = Instant::now() + PATIENCE;
        let target = loop {
            let pages = self.pages().await?;
            if let Some(target) = pages.into_iter().find(|page| !known.contains(page)) {
                break target;
            }
            if Instant::now() > end {
                return Err(Failure("the other tab never came".into()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let before = Tab(std::mem::take(&mut self.session));
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.command("Target.attachToTarget", attach).await?;
        self.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        Ok(before)
    }

    /// Turns to another tab, which is then in front; returns the one of before.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn turn_to(&mut self, tab: Tab) -> Result<Tab> {
        let before = Tab(std::mem::replace(&mut self.session, tab.0));
        self.command("Page.bringToFront", json!({})).await?;
        Ok(before)
    }

    /// Opens a tab that shares nothing with the others, as the browser of another person does. From then on, everything is about
    /// that tab; returns the one of before.
    ///
    /// # Errors
    /// Where the browser opens none.
    pub async fn another_phone(&mut self) -> Result<Tab> {
        let before = Tab(std::mem::take(&mut self.session));
        let context = self.command("Target.createBrowserContext", json!({})).await?;
        let how = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        self.session = self.open_tab(how).await?;
        Ok(before)
    }

    /// Opens a tab, and returns the session in which it is driven.
    async fn open_tab(&mut self, how: Value) -> Result<String> {
        let target = self.command("Target.createTarget", how).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", attach).await?;
        Ok(attached["sessionId"].as_str().unwrap_or_default().to_owned())
    }

    async fn pages(&mut self) -> Result<Vec<String>> {
        let said = self.command("Target.getTargets", json!({})).await?;
        let targets = said["targetInfos"].as_array().cloned().unwrap_or_default();
        let pages = targets.iter().filter(|target| target["type"] == "page");
        Ok(pages.filter_map(|target| target["targetId"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until an expression is neither false, null, 0 nor empty, and returns what it is then. The page may load anew
    /// meanwhile.
    ///
    /// # Errors
    /// Where it never is, with what the page shows.
    pub async fn until(&mut self, what: &str, expression: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = match self.evaluate(expression).await {
                Err(failure) if GOING.iter().any(|going| failure.0.contains(going)) => Value::Null,
                value => value?,
            };
            let is_nothing = matches!(&value, Value::Null | Value::Bool(false))
                || value == 0
                || value.as_str().is_some_and(str::is_empty);
            if !is_nothing {
                return Ok(value);
            }
            if Instant::now() > end {
                let shown = self.evaluate("document.body.innerText").await?;
                let shown = shown.as_str().unwrap_or_default();
                return Err(Failure(format!("the page never had {what}: {expression}\n{shown}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Presses a key, as a keyboard does.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "Tab" => (9, ""),
            "ArrowRight" => (39, ""),
            "ArrowLeft" => (37, ""),
            _ => return Err(Failure(format!("no key {key:?}"))),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.command("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Makes the page as wide as a phone's, in CSS pixels, and dark or light.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn look(&mut self, width: u32, height: u32, scale: u32, dark: bool) -> Result<()> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": true });
        self.command("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Writes what the whole page looks like into a PNG file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn screenshot(&mut self, file: &Path) -> Result<()> {
        self.capture(file, true).await
    }

    /// Writes what a person sees without scrolling into a PNG file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn screen(&mut self, file: &Path) -> Result<()> {
        self.capture(file, false).await
    }

    async fn capture(&mut self, file: &Path, whole: bool) -> Result<()> {
        let how = json!({ "format": "png", "captureBeyondViewport": whole });
        let shot = self.command("Page.captureScreenshot", how).await?;
        let bytes = BASE64.decode(shot["data"].as_str().unwrap_or_default()).doing("a picture")?;
        std::fs::write(file, bytes).doing(file.display())
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(command.to_string())).await.doing(method)?;
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await;
            let message = message.doing(format!("{method} takes too long"))?;
            let message =
                message.doing(format!("{method}: the browser has gone"))?.doing(method)?;
            let Some(text) = message.as_text() else { continue };
            let said: Value = serde_json::from_str(text)?;
            if said["id"] == self.last {
                return match said.get("error") {
                    Some(error) => Err(Failure(format!("{method}: {error}"))),
                    None => Ok(said["result"].clone()),
                };
            }
        }
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    found.doing("a browser is needed: run `apt-get install chromium` as root")
}

/// What the browser says where the page goes while it is asked.
const GOING: [&str; 3] =
    ["navigated or closed", "Cannot find context", "Execution context was destroyed"];
const START: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(40);
