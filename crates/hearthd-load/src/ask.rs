//! The requester: keeps a number of requests in flight, and measures each from write to answer.

use std::{
    collections::BTreeMap,
    io,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tokio::task::LocalSet;

use crate::{
    Access,
    connection::Connection,
    packet::{self, Packet, Publish},
    wrong,
};

/// What to ask, and how hard.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    access: Access,
    /// The requests' topic; `{n}` counts up to --targets.
    #[arg(long)]
    topic: String,
    /// How many topics there are.
    #[arg(long, default_value_t = 1)]
    targets: usize,
    /// The payloads, in turn.
    #[arg(long, required = true)]
    payload: Vec<String>,
    /// The Response Topic; `{k}` is the requester's number.
    #[arg(long)]
    response: String,
    /// 0 or 1.
    #[arg(long, default_value_t = 1)]
    qos: u8,
    /// How many connections ask.
    #[arg(long, default_value_t = 1)]
    requesters: usize,
    /// How many requests each of them keeps in flight.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// How long nothing is counted, in milliseconds.
    #[arg(long, default_value_t = 200)]
    warm_up: u64,
    /// How long answers are counted, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    measure: u64,
    /// End after so many answers instead; `asked` is printed once the broker has all requests.
    #[arg(long)]
    count: Option<usize>,
    /// Message Expiry Interval of the requests, in seconds.
    #[arg(long)]
    expiry: Option<u32>,
}

/// Asks, and prints one line of JSON.
pub(crate) async fn ask(options: Options) -> io::Result<()> {
    let options = Rc::new(options);
    let mut connections = Vec::new();
    for number in 0..options.requesters {
        let topic = options.response.replace("{k}", &number.to_string());
        let client_id = format!("load-{number}");
        let connection = Connection::open(&options.access, &client_id, &topic, false).await?;
        connections.push((connection, topic));
    }
    let counted = Counted::starting(&options);
    let local = LocalSet::new();
    let requesters = connections.into_iter().enumerate().map(|(number, (connection, topic))| {
        let asking = Asking::new(number, topic, &options, connection.receive_maximum, counted);
        local.spawn_local(run(connection, asking))
    });
    let requesters: Vec<_> = requesters.collect();
    let mut taken = Taken::default();
    local
        .run_until(async {
            for requester in requesters {
                let one = requester.await.map_err(io::Error::other)??;
                taken.latencies.extend(one.latencies);
                for (status, count) in one.failed {
                    *taken.failed.entry(status).or_default() += count;
                }
                taken.asked += one.asked;
                taken.unanswered += one.unanswered;
            }
            io::Result::Ok(())
        })
        .await?;
    taken.print(counted.seconds());
    Ok(())
}

async fn run(mut connection: Connection, mut asking: Asking) -> io::Result<Taken> {
    while asking.fill(&mut connection.out, Instant::now()) {
        connection.flush().await?;
        let mut arrived = None;
        let taking = connection.take(|packet, out| {
            // One look at the clock for all that came together.
            let now = *arrived.get_or_insert_with(Instant::now);
            asking.on_packet(packet, out, now)
        });
        match tokio::time::timeout(PATIENCE, taking).await {
            Ok(taken) => taken?,
            // What is without an answer now never gets one.
            Err(_) if asking.count.is_some() => break,
            Err(_) => return Err(wrong("requests were left without an answer")),
        }
    }
    connection.flush().await?;
    let asked = asking.left_at.len();
    Ok(Taken { asked, unanswered: asked - asking.answered, ..asking.taken })
}

/// Which answers count.
#[derive(Clone, Copy, Debug)]
struct Counted {
    from: Instant,
    /// None where a number of requests is asked for.
    until: Option<Instant>,
}

impl Counted {
    fn starting(options: &Options) -> Self {
        let now = Instant::now();
        if options.count.is_some() {
            return Self { from: now, until: None };
        }
        let from = now + Duration::from_millis(options.warm_up);
        Self { from, until: Some(from + Duration::from_millis(options.measure)) }
    }

    fn contains(self, now: Instant) -> bool {
        self.from <= now && !self.is_over(now)
    }

    fn is_over(self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    fn seconds(self) -> f64 {
        let until = self.until.unwrap_or_else(Instant::now);
        until.saturating_duration_since(self.from).as_secs_f64()
    }
}

/// What one requester has under way.
struct Asking {
    response_topic: String,
    /// Keeps the Correlation Data of one run apart from that of another: a responder may remember it.
    salt: u64,
    topics: Vec<String>,
    payloads: Vec<Vec<u8>>,
    in_flight: usize,
    qos: u8,
    /// How many requests to make, where that is what ends it.
    count: Option<usize>,
    expiry: Option<u32>,
    counted: Counted,
    /// When each request left, by the number in its Correlation Data; none once it is answered.
    left_at: Vec<Option<Instant>>,
    answered: usize,
    /// Requests without PUBACK.
    unacknowledged: usize,
    receive_maximum: usize,
    taken: Taken,
}

impl Asking {
    fn new(
        number: usize,
        response_topic: String,
        options: &Options,
        receive_maximum: u16,
        counted: Counted,
    ) -> Self {
        // Requesters begin at different targets, so that few of them still reach all.
        let topic =
            |n: usize| options.topic.replace("{n}", &((n + number) % options.targets).to_string());
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            response_topic,
            salt: since_1970.as_nanos() as u64,
            topics: (0..options.targets).map(topic).collect(),
            payloads: options.payload.iter().map(|payload| payload.clone().into_bytes()).collect(),
            in_flight: options.in_flight,
            qos: options.qos,
            count: options.count.map(|count| count / options.requesters),
            expiry: options.expiry,
            counted,
            left_at: Vec::new(),
            answered: 0,
            unacknowledged: 0,
            receive_maximum: receive_maximum.into(),
            taken: Taken::default(),
        }
    }

    /// Writes as many requests as may be in flight; false once all are asked and answered.
    fn fill(&mut self, out: &mut Vec<u8>, now: Instant) -> bool {
        loop {
            let asked = self.left_at.len();
            let done = match self.count {
                Some(count) => asked >= count,
                None => self.counted.is_over(now),
            };
            let full = asked - self.answered >= self.in_flight;
            if done || full || self.unacknowledged >= self.receive_maximum {
                return !(done && asked == self.answered);
            }
            self.request(out, asked);
            self.left_at.push(Some(now));
        }
    }

    fn request(&mut self, out: &mut Vec<u8>, number: usize) {
        let packet_id = (self.qos > 0).then(|| (number % usize::from(u16::MAX)) as u16 + 1);
        self.unacknowledged += usize::from(packet_id.is_some());
        let request = Publish {
            topic: self.topics[number % self.topics.len()].as_bytes(),
            packet_id,
            response_topic: Some(self.response_topic.as_bytes()),
            correlation_data: Some(&correlation_data(self.salt, number)),
            expiry: self.expiry,
            // Every target gets all payloads in turn.
            payload: &self.payloads[number / self.topics.len() % self.payloads.len()],
            ..Publish::default()
        };
        packet::write_publish(out, &request);
    }

    fn on_packet(&mut self, packet: Packet<'_>, out: &mut Vec<u8>, now: Instant) -> io::Result<()> {
        match packet {
            // 0x10: nobody is subscribed at present.
            Packet::Puback { reason_code: 0 | 0x10 } => {
                self.unacknowledged -= 1;
                if self.unacknowledged == 0 && self.count == Some(self.left_at.len()) {
                    println!("asked");
                }
            }
            Packet::Puback { reason_code } => {
                return Err(wrong(format!("a request is refused with 0x{reason_code:02x}")));
            }
            Packet::Publish(answer) => {
                if let Some(id) = answer.packet_id {
                    packet::write_puback(out, id);
                }
                self.on_answer(&answer, now)?;
            }
            Packet::Connack { .. } | Packet::Suback { .. } | Packet::Other => {}
        }
        Ok(())
    }

    fn on_answer(&mut self, answer: &Publish<'_>, now: Instant) -> io::Result<()> {
        let number = answer.correlation_data.and_then(|data| number_of(self.salt, data));
        let left_at = number.and_then(|number| self.left_at.get_mut(number));
        let left_at = left_at.ok_or_else(|| wrong("an answer that nobody waits for"))?.take();
        // After a lost connection an answer may come again.
        let Some(left_at) = left_at else { return Ok(()) };
        self.answered += 1;
        if !self.counted.contains(now) {
            return Ok(());
        }
        match answer.status {
            Some(status) if !status.starts_with(b"2") => {
                let status = String::from_utf8_lossy(status).into_owned();
                *self.taken.failed.entry(status).or_default() += 1;
            }
            _ => {
                let nanos = (now - left_at).as_nanos();
                self.taken.latencies.push(u32::try_from(nanos).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }
}

/// What came within the counted time.
#[derive(Debug, Default)]
struct Taken {
    /// Nanoseconds, of answers that tell of success: a refusal comes sooner, and would flatter.
    latencies: Vec<u32>,
    /// How many other answers there were, by status.
    failed: BTreeMap<String, u64>,
    /// Requests in all, counted or not.
    asked: usize,
    unanswered: usize,
}

impl Taken {
    fn print(mut self, seconds: f64) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |part: f64| {
            let index = ((count as f64 * part) as usize).min(count.saturating_sub(1));
            self.latencies.get(index).map_or(0.0, |nanos| f64::from(*nanos) / 1000.0)
        };
        let line = serde_json::json!({
            "answers": count,
            "failed": self.failed,
            "unanswered": self.unanswered,
            "per_second": count as f64 / seconds,
            "median_us": at(0.5),
            "p99_us": at(0.99),
            "worst_us": at(1.0),
            "cpu_us_each": own_cpu_seconds() * 1e6 / self.asked as f64,
        });
        println!("{line}");
    }
}

/// Returns how long this process has run on a processor (proc_pid_stat(5), in ticks of a hundredth of a second).
fn own_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns the Correlation Data of a request: as scattered as anybody's, for a responder that keeps it in order, and as
/// long as a UUID, for one that takes nothing else.
fn correlation_data(salt: u64, number: usize) -> [u8; 16] {
    let scattered = (number as u64).wrapping_mul(SCATTER);
    (u128::from(salt) << 64 | u128::from(scattered)).to_be_bytes()
}

/// Returns the number of the request with this Correlation Data.
fn number_of(salt: u64, correlation_data: &[u8]) -> Option<usize> {
    let (its_salt, scattered) = correlation_data.split_first_chunk()?;
    let scattered = u64::from_be_bytes(<[u8; 8]>::try_from(scattered).ok()?);
    if u64::from_be_bytes(*its_salt) != salt {
        return None;
    }
    usize::try_from(scattered.wrapping_mul(GATHER)).ok()
}

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// An odd number, and its inverse modulo 2^64.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;
const GATHER: u64 = 0xF1DE_83E1_9937_733D;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_data_leads_back_to_its_request() {
        for number in [0, 1, 2, 255, 1_000_003] {
            assert_eq!(number_of(7, &correlation_data(7, number)), Some(number));
            assert_eq!(number_of(8, &correlation_data(7, number)), None);
        }
        assert_eq!(number_of(7, b"1234567"), None);
    }
}
