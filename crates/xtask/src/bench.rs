//! `cargo xtask bench`: what the daemon costs, in release builds on this machine.

mod writes;

use std::{
    convert::Infallible,
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

use hearth_tests::{Built, Client, Daemon, DaemonConfig, Doing, HearthBroker, Message, Result};

/// Measures latency beside a bare echo, idle memory, start and size, and prints them.
pub(crate) async fn bench() -> Result<()> {
    let built = Built::beside_this_program()?.release();
    built.build()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, &folder.path().join("broker")).await?;
    let mut config = DaemonConfig::new(broker.access("hub"));
    config.devices = ten_devices();
    let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    phone.subscribe(RESPONSES).await?;
    let starts = starts(&mut hub, &mut phone).await?;
    tokio::time::sleep(SETTLE).await;
    let memory = resident(hub.process()?.id())?;
    let Latencies { changing, unchanged, bare } = latencies(&broker, &mut phone).await?;
    let (changing, unchanged, bare) = (median(changing), median(unchanged), median(bare));

    println!("request -> answer, QoS 1, {ROUNDS} rounds of {EACH}, median");
    println!("  bare rumqttc echo     {:>8.1} us", micros(bare));
    for (name, through) in [("state unchanged", unchanged), ("state changes", changing)] {
        println!(
            "  hearthd, {name:<15}{:>6.1} us   {:+.1} us   ratio {:.2}",
            micros(through),
            micros(through) - micros(bare),
            micros(through) / micros(bare)
        );
    }
    println!("hearthd, idle with ten devices");
    println!("  resident memory       {memory:>8} kB");
    println!("  start to `online`     {:>8.1} ms   median of {STARTS}", micros(starts) / 1000.0);
    for name in ["hearthd", "hearth-broker"] {
        let size = std::fs::metadata(built.binary(name))?.len();
        println!("  size of {name:<13} {:>8} kB", size / 1024);
    }
    let writes = writes::writes(&mut hub, &mut phone).await?;
    println!("bytes written to the store for each request");
    println!("  one at a time         {:>8}", writes.alone);
    println!("  many at once          {:>8}", writes.together);
    println!("  the same, not idempotent {:>5}", writes.intents);
    hub.terminate().await?;
    Ok(())
}

/// Starts the hub several times and leaves it running; returns the median time to `online`.
async fn starts(hub: &mut Daemon, phone: &mut Client) -> Result<Duration> {
    // The first start learns the prefix and connects twice.
    hub.start(phone).await?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        hub.terminate().await?;
        let begin = Instant::now();
        hub.spawn()?;
        hub.online(phone).await?;
        times.push(begin.elapsed());
    }
    Ok(median(times))
}

/// The times of each kind of request.
#[derive(Default)]
struct Latencies {
    /// The request changes the state, which the hub publishes retained as well.
    changing: Vec<Duration>,
    /// The state is what it was.
    unchanged: Vec<Duration>,
    bare: Vec<Duration>,
}

async fn latencies(broker: &HearthBroker, phone: &mut Client) -> Result<Latencies> {
    let mut echo = Client::connect(&broker.access("tablet"), "echo").await?;
    echo.subscribe("alice/echo").await?;
    let echo = tokio::spawn(echo_forever(echo));
    let mut times = Latencies::default();
    for round in 0..=ROUNDS {
        let changing = round_of(phone, "alice/cmnd/light-0/power", ["ON", "OFF"]).await?;
        let bare = round_of(phone, "alice/echo", ["ON", "OFF"]).await?;
        let unchanged = round_of(phone, "alice/cmnd/light-0/power", ["OFF", "OFF"]).await?;
        // The first round warms up.
        if round > 0 {
            times.changing.extend(changing);
            times.unchanged.extend(unchanged);
            times.bare.extend(bare);
        }
    }
    echo.abort();
    Ok(times)
}

/// Answers every request with its own payload.
async fn echo_forever(mut echo: Client) -> Result<Infallible> {
    loop {
        let request = echo.expect("a request", FOREVER, |m| m.topic == "alice/echo").await?;
        let topic = request.response_topic.doing("a Response Topic")?;
        let answer = Message {
            correlation_data: request.correlation_data,
            ..Message::new(topic, request.payload)
        };
        echo.publish(answer).await?;
    }
}

async fn round_of(
    phone: &mut Client,
    topic: &str,
    payloads: [&'static str; 2],
) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(EACH);
    for n in 0..EACH {
        let payload = payloads[n % 2];
        let mut data = [0; 8];
        getrandom::fill(&mut data).doing("random Correlation Data")?;
        let request = Message::new(topic, payload).respond_to(RESPONSES, data.to_vec());
        let begin = Instant::now();
        let answer = phone.request(request).await?;
        times.push(begin.elapsed());
        if answer.text() != payload {
            return Err(hearth_tests::Failure(format!("{topic}: {}", answer.text())));
        }
    }
    Ok(times)
}

fn ten_devices() -> String {
    let mut text = String::new();
    for n in 0..5 {
        let _ = writeln!(text, "[devices.light-{n}]\nplugin = \"light\"");
        let _ = writeln!(text, "[devices.light-{n}.config]\nbackend = \"simulated\"");
        let _ = writeln!(text, "[devices.room-{n}]\nplugin = \"thermostat\"");
        let _ = writeln!(text, "[devices.room-{n}.config]\nbackend = \"simulated\"");
    }
    text
}

/// Reads VmRSS in kB.
fn resident(process: u32) -> Result<u64> {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(Path::new(&file)).doing(&file)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).doing("no VmRSS")?;
    number.parse().doing("VmRSS")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

const RESPONSES: &str = "alice/response/phone/bench";
const ROUNDS: usize = 10;
const EACH: usize = 200;
const STARTS: usize = 7;
const SETTLE: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::from_secs(24 * 3600);
