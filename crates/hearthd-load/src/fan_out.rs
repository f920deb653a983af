//! One publisher and many subscribers: what a broker can hand out.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{sync::Notify, task::LocalSet, time::timeout};

use crate::{
    Access,
    connection::Connection,
    packet::{self, Packet, Publish},
    wrong,
};

/// What is handed out, and to how many.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    access: Access,
    /// The topic that all subscribe to.
    #[arg(long)]
    topic: String,
    /// How many connections subscribe.
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
    /// How many messages are published that not every subscriber has.
    #[arg(long, default_value_t = 8)]
    in_flight: u64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// How long nothing is counted, in milliseconds.
    #[arg(long, default_value_t = 200)]
    warm_up: u64,
    /// How long deliveries are counted, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    measure: u64,
}

/// How many messages have arrived, at all subscribers together.
#[derive(Debug, Default)]
struct Arrived {
    count: Cell<u64>,
    /// Wakes the publisher where it may go on.
    more: Notify,
}

/// Publishes at QoS 1 to subscribers at QoS 1, and prints one line of JSON.
pub(crate) async fn fan_out(options: Options) -> io::Result<()> {
    let arrived = Rc::new(Arrived::default());
    let local = LocalSet::new();
    for number in 0..options.subscribers {
        let client_id = format!("fan-{number}");
        let connection =
            Connection::open(&options.access, &client_id, &options.topic, false).await?;
        local.spawn_local(subscribe(connection, arrived.clone()));
    }
    // Subscribed to what nobody publishes.
    let nowhere = format!("{}-nowhere", options.topic);
    let publisher = Connection::open(&options.access, "fan-out", &nowhere, false).await?;
    let begin = Instant::now() + Duration::from_millis(options.warm_up);
    let end = begin + Duration::from_millis(options.measure);
    let counted = local.run_until(publish(publisher, &options, &arrived, begin, end)).await?;
    let per_second = counted as f64 / (end - begin).as_secs_f64();
    println!("{}", serde_json::json!({ "deliveries": counted, "per_second": per_second }));
    Ok(())
}

/// Counts and acknowledges; ends with its connection, which the publisher notices by what does not arrive.
async fn subscribe(mut connection: Connection, arrived: Rc<Arrived>) {
    let mut taken = Ok(());
    while taken.is_ok() {
        let take = connection.take(|packet, out| {
            if let Packet::Publish(message) = packet {
                arrived.count.set(arrived.count.get() + 1);
                if let Some(id) = message.packet_id {
                    packet::write_puback(out, id);
                }
            }
            Ok(())
        });
        taken = take.await;
        arrived.more.notify_one();
        if taken.is_ok() {
            taken = connection.flush().await;
        }
    }
}

/// Keeps so many messages on their way; returns how many arrived in the time that counts.
async fn publish(
    mut connection: Connection,
    options: &Options,
    arrived: &Arrived,
    begin: Instant,
    end: Instant,
) -> io::Result<u64> {
    let payload = vec![b'x'; options.size];
    let most = options.in_flight.min(connection.receive_maximum.into());
    let subscribers = options.subscribers as u64;
    let (mut published, mut acknowledged, mut before) = (0_u64, 0_u64, None);
    loop {
        let now = Instant::now();
        if now >= begin && before.is_none() {
            before = Some(arrived.count.get());
        }
        if now >= end {
            return Ok(arrived.count.get() - before.unwrap_or_default());
        }
        let complete = arrived.count.get() / subscribers;
        while published - complete.min(acknowledged) < most {
            let packet_id = Some((published % u64::from(u16::MAX)) as u16 + 1);
            let topic = options.topic.as_bytes();
            let message = Publish { topic, packet_id, payload: &payload, ..Publish::default() };
            packet::write_publish(&mut connection.out, &message);
            published += 1;
        }
        connection.flush().await?;
        let mut refused = None;
        let step = async {
            tokio::select! {
                () = arrived.more.notified() => Ok(()),
                taken = connection.take(|packet, _| {
                    if let Packet::Puback { reason_code } = packet {
                        acknowledged += 1;
                        refused = Some(reason_code).filter(|code| *code >= 0x80).or(refused);
                    }
                    Ok(())
                }) => taken,
            }
        };
        timeout(PATIENCE, step).await.map_err(|_| wrong("messages do not arrive"))??;
        if let Some(code) = refused {
            return Err(wrong(format!("a message is refused with 0x{code:02x}")));
        }
    }
}

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(10);
