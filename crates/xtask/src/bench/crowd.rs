//! What many phones with the page open cost the home.

use std::{process::Stdio, time::Duration};

use hearthd_tests::{Built, Doing, Failure, Memory, Result, built::workspace};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{
    Effort,
    growth::latency,
    median,
    page_home::{HOME, PageHome},
    peers::Peers,
    stage::lights,
};

/// What was measured with so many pages open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) pages: usize,
    /// In kB, what each program has written to.
    pub(crate) web_kb: u64,
    pub(crate) broker_kb: u64,
    pub(crate) hub_kb: u64,
    /// In milliseconds, from the opening of the new pages, all at once, until every page shows every device.
    pub(crate) shown_ms: f64,
    /// From a tap on one page until the last one shows the new state.
    pub(crate) known_ms: f64,
    /// Of a client without a page, one request at a time.
    pub(crate) median_us: f64,
}

/// Opens more and more pages of one home with ten lights.
pub(crate) async fn measure(built: &Built, peers: &Peers, effort: Effort) -> Result<Vec<Crowd>> {
    let folder = tempfile::tempdir()?;
    let devices = lights("light", DEVICES, "none");
    let mut home = PageHome::start(built, folder.path(), devices).await?;
    let mut pages = Pages::start(peers, &home)?;
    let mut crowds = Vec::new();
    for &count in effort.pages {
        println!("{count} pages");
        let shown_ms = pages.run("grow", &[json!(count), json!(DEVICES)], "shown").await?;
        let mut known = Vec::new();
        for _ in 0..effort.taps {
            known.push(pages.run("tap", &[json!("light-0")], "known").await?);
        }
        let median_us = latency(built, &home.access(), Some(HOME), effort).await?;
        let memory = |process| Memory::of(process).map(|memory| memory.anonymous);
        crowds.push(Crowd {
            pages: count,
            web_kb: memory(home.web.process().id())?,
            broker_kb: memory(home.broker.process().id())?,
            hub_kb: memory(home.hub.process()?.id())?,
            shown_ms,
            known_ms: median(known),
            median_us,
        });
    }
    home.hub.terminate().await?;
    Ok(crowds)
}

/// The pages, in a Node.js of their own.
struct Pages {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Pages {
    fn start(peers: &Peers, home: &PageHome) -> Result<Self> {
        let page = workspace().canonicalize()?.join("crates/hearthd-web/page");
        let mut command = peers.pages();
        let (account, password) = home.access().login.doing("the broker has accounts")?;
        command.arg(page).arg(home.web.address().to_string()).args([account, password]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut process = command.kill_on_drop(true).spawn().doing("start node")?;
        let input = process.stdin.take().doing("its input is piped")?;
        let output = BufReader::new(process.stdout.take().doing("its output is piped")?).lines();
        Ok(Self { _process: process, input, output })
    }

    /// Runs one of its commands; returns a figure of what came of it.
    async fn run(&mut self, name: &str, arguments: &[Value], figure: &str) -> Result<f64> {
        let mut line = vec![json!(name)];
        line.extend_from_slice(arguments);
        let line = Value::from(line).to_string() + "\n";
        self.input.write_all(line.as_bytes()).await.doing("command the pages")?;
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.doing(format!("the pages do not come to the end of {line}"))??;
        let answer: Value = serde_json::from_str(&answer.doing("the pages have ended")?)?;
        if answer["failures"] != 0 {
            return Err(Failure(format!("connections or requests of pages failed: {answer}")));
        }
        answer[figure].as_f64().doing(figure)
    }
}

const DEVICES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(120);
