//! What a request costs the card that holds the store.

use std::time::Duration;

use hearthd_tests::{Client, Daemon, Doing, Message, Result};

/// Where the answers go.
pub(crate) const RESPONSES: &str = "response/phone/bench";

/// Bytes that the kernel was given to write for each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    /// Requests that come one at a time, seconds apart as far as the store is concerned.
    pub(crate) alone: u64,
    /// Requests that come as fast as the broker takes them.
    pub(crate) together: u64,
    /// The same for requests whose intent is stored before they are carried out.
    pub(crate) intents: u64,
}

/// Counts what the hub writes while it answers, with a journal as full as it is on a hub in use.
pub(crate) async fn writes(hub: &mut Daemon, phone: &mut Client) -> Result<Writes> {
    let process = hub.process()?.id();
    for _ in 0..FULL / TOGETHER {
        burst(process, phone, &["ON", "OFF"], TOGETHER).await?;
    }
    let mut alone = 0;
    for n in 0..ALONE {
        alone += burst(process, phone, &["ON", "OFF"][n % 2..][..1], 1).await?;
    }
    Ok(Writes {
        alone: alone / ALONE as u64,
        together: burst(process, phone, &["ON", "OFF"], TOGETHER).await? / TOGETHER as u64,
        intents: burst(process, phone, &["TOGGLE"], TOGETHER).await? / TOGETHER as u64,
    })
}

/// Sends requests without waiting for answers, then waits for all; returns the bytes written.
async fn burst(process: u32, phone: &mut Client, payloads: &[&str], count: usize) -> Result<u64> {
    let before = written(process)?;
    for n in 0..count {
        let mut data = [0; 8];
        getrandom::fill(&mut data).doing("random Correlation Data")?;
        let payload = payloads[n % payloads.len()].to_owned();
        let request = Message::new("cmnd/light-0/power", payload);
        phone.publish(request.respond_to(RESPONSES, data.to_vec())).await?;
    }
    for _ in 0..count {
        phone.expect_on(RESPONSES).await?;
    }
    // What nobody waits for is written within a second.
    tokio::time::sleep(LAZY).await;
    Ok(written(process)? - before)
}

fn written(process: u32) -> Result<u64> {
    let file = format!("/proc/{process}/io");
    let text = std::fs::read_to_string(&file).doing(&file)?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.doing("no write_bytes")?.trim().parse().doing("write_bytes")
}

const ALONE: usize = 5;
const TOGETHER: usize = 1000;
/// More than the hub remembers.
const FULL: usize = 3000;
const LAZY: Duration = Duration::from_millis(1500);
