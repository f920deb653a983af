//! Firefox without a window, driven by WebDriver BiDi.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::{Doing, Failure, Process, Result, process::eventually};

/// A running Firefox with one page; dropping it ends it.
#[derive(Debug)]
pub struct Firefox {
    _process: Process,
    socket: WebSocketStream<TcpStream>,
    /// The page, as the protocol names it.
    context: String,
    last: u64,
}

impl Firefox {
    /// Starts the browser with its profile in `folder`.
    ///
    /// # Errors
    /// Where it does not start, with its log.
    pub async fn start(folder: &Path) -> Result<Self> {
        let profile = folder.join("profile");
        std::fs::create_dir_all(&profile).doing(profile.display())?;
        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]);
        command.arg(&profile).env("HOME", folder);
        let mut process = Process::start(&mut command, &folder.join("firefox.log"))?;
        let port = eventually("Firefox's port", START, || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("firefox-esr ended: {status}\n{}", process.log())));
            }
            let said = std::fs::read_to_string(profile.join("WebDriverBiDiServer.json"));
            let said = said.ok().and_then(|said| serde_json::from_str::<Value>(&said).ok());
            Ok(said.and_then(|said| said["ws_port"].as_u64()))
        })
        .await?;
        let address = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&address).await.doing(&address)?;
        let builder = ClientBuilder::new().uri(&format!("ws://{address}/session")).doing("URI")?;
        let (socket, _) = builder.connect_on(stream).await.doing("connect to Firefox")?;
        let mut firefox = Self { _process: process, socket, context: String::new(), last: 0 };
        firefox.command("session.new", json!({ "capabilities": {} })).await?;
        let tree = firefox.command("browsingContext.getTree", json!({})).await?;
        let context = tree["contexts"][0]["context"].as_str();
        firefox.context = context.doing("Firefox has no page")?.to_owned();
        Ok(firefox)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// Where nothing comes from there.
    pub async fn open(&mut self, url: &str) -> Result<()> {
        let how = json!({ "context": self.context, "url": url, "wait": "complete" });
        self.command("browsingContext.navigate", how).await.map(drop)
    }

    /// Returns what an expression of JavaScript comes to on the page.
    ///
    /// # Errors
    /// Where it throws.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let how = json!({
            "expression": format!("(async () => JSON.stringify((await ({expression})) ?? null))()"),
            "target": { "context": self.context },
            "awaitPromise": true,
        });
        let said = self.command("script.evaluate", how).await?;
        let text = said["result"]["value"].as_str().doing(format!("{expression}: {said}"))?;
        Ok(serde_json::from_str(text)?)
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// Where it never is, with what the page shows.
    pub async fn until(&mut self, what: &str, expression: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(expression).await? != true {
            if Instant::now() > end {
                let shown = self.evaluate("document.body.innerText").await?;
                return Err(Failure(format!("the page never had {what}: {expression}\n{shown}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let command = json!({ "id": self.last, "method": method, "params": parameters });
        self.socket.send(Message::text(command.to_string())).await.doing(method)?;
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await;
            let message = message.doing(format!("{method} takes too long"))?;
            let message = message.doing(format!("{method}: Firefox has gone"))?.doing(method)?;
            let Some(text) = message.as_text() else { continue };
            let said: Value = serde_json::from_str(text)?;
            if said["id"] == self.last {
                return match said.get("error") {
                    Some(error) => Err(Failure(format!("{method}: {error}: {}", said["message"]))),
                    None => Ok(said["result"].clone()),
                };
            }
        }
    }
}

const START: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(60);
