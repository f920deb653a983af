//! The tables, in Markdown.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    azure::Peer,
    brokers::{Brokers, RETAINED},
    cells::{Cell, Compared},
    confirmation::Confirmation,
    crowd::Crowd,
    durability::Durability,
    footprint::Footprint,
    growth::{Devices, Growth},
    load::Figures,
    median,
    phones::Phones,
    stage::{BrokerKind, Responder},
};

/// Lists what every responder did in every cell.
pub(crate) fn comparison(compared: &Compared) -> String {
    let mut text = String::new();
    for (title, figure) in [
        ("Answers per second", throughput as fn(&Figures) -> f64),
        ("Median latency in microseconds", |figures| figures.median_us),
        ("99th percentile of the latency in microseconds", |figures| figures.p99_us),
    ] {
        let _ = writeln!(text, "<details><summary>{title}</summary>\n");
        let names: Vec<_> = Responder::ALL.iter().map(|responder| responder.name()).collect();
        let _ = writeln!(
            text,
            "| broker | QoS | payload | requesters | in flight | {} |",
            names.join(" | ")
        );
        let _ = writeln!(text, "|---|---|---|---|---|{}", "--:|".repeat(names.len()));
        for broker in BrokerKind::ALL {
            for cell in compared.cells() {
                let Cell { qos, payload, requesters, in_flight } = cell;
                let values = Responder::ALL.map(|responder| {
                    format!("{:.0}", median(compared.each(broker, cell, responder, figure)))
                });
                let row = values.join(" | ");
                let broker = broker.name();
                let _ = writeln!(
                    text,
                    "| {broker} | {qos} | {payload} B | {requesters} | {in_flight} | {row} |"
                );
            }
        }
        text += "\n</details>\n\n";
    }
    let requester = |responder| {
        let each = compared.each(BrokerKind::Mosquitto, Cell::FULL, responder, |f| f.requester_us);
        median(each)
    };
    let _ = writeln!(
        text,
        "The requester takes {:.1} us of a processor for a request of (d) and {:.1} us for one of (a), with 256 in \
         flight on Mosquitto: {:.0} a second is what it could ask by itself. An answer that does not tell of \
         success is not counted.\n",
        requester(Responder::Socket),
        requester(Responder::Hearthd),
        1e6 / requester(Responder::Socket),
    );
    text += &failures(compared);
    text
}

/// Lists who gave answers that do not tell of success, with their statuses.
fn failures(compared: &Compared) -> String {
    let mut rows = String::new();
    for ((broker, cell, responder), rounds) in &compared.figures {
        let mut by_status = BTreeMap::<_, u64>::new();
        for (status, count) in rounds.iter().flat_map(|round| &round.failed) {
            *by_status.entry(status).or_default() += count;
        }
        for (status, count) in by_status {
            let Cell { qos, payload, requesters, in_flight } = cell;
            let (broker, responder) = (broker.name(), responder.name());
            let _ = writeln!(
                rows,
                "| {broker} | {qos} | {payload} B | {requesters} | {in_flight} | {responder} | {status} | {count} |"
            );
        }
    }
    if rows.is_empty() {
        return "Every answer told of success.\n".into();
    }
    format!(
        "| broker | QoS | payload | requesters | in flight | who | status | answers |\n\
         |---|---|---|---|---|---|---|--:|\n{rows}"
    )
}

/// Sets the ratios beside the goals.
pub(crate) fn goals(compared: &Compared) -> String {
    let mut text =
        "| goal | broker | ratio: median of rounds [least, most] | |\n|---|---|---|---|\n"
            .to_owned();
    for broker in BrokerKind::ALL {
        for goal in GOALS {
            let ratios = goal.ratios(compared, broker);
            let middle = median(ratios.clone());
            let reached = if goal.is_reached(middle) { "reached" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {} | {} | {middle:.2} {} | {reached} |",
                goal.text,
                broker.name(),
                spread(&ratios)
            );
        }
    }
    text
}

/// hearthd beside an executor of Azure IoT Operations, with the goals.
pub(crate) fn peer(peer: &Peer) -> String {
    let mut text =
        "| | hearthd | executor | ratio: median of rounds [least, most] | goal | |\n|---|--:|--:|---|---|---|\n"
            .to_owned();
    let mut row =
        |what: String, [ours, theirs]: [Vec<f64>; 2], goal: &str, reached: fn(f64) -> bool| {
            let ratios: Vec<f64> =
                ours.iter().zip(&theirs).map(|(one, other)| one / other).collect();
            let middle = median(ratios.clone());
            let _ = writeln!(
                text,
                "| {what} | {:.0} | {:.0} | {middle:.2} {} | {goal} | {} |",
                median(ours),
                median(theirs),
                spread(&ratios),
                if reached(middle) { "reached" } else { "**missed**" },
            );
        };
    for (in_flight, rounds) in &peer.rounds {
        let each =
            |figure: fn(&Figures) -> f64| rounds.each_ref().map(|r| r.iter().map(figure).collect());
        let (goal, reached): (_, fn(f64) -> bool) = match in_flight {
            1 => ("at least 2", |ratio| ratio >= 2.0),
            _ => ("at least 5", |ratio| ratio >= 5.0),
        };
        row(format!("answers per second, {in_flight} in flight"), each(throughput), goal, reached);
        let latency = format!("median latency in us, {in_flight} in flight");
        row(latency, each(|figures| figures.median_us), "at most 0.5", |ratio| ratio <= 0.5);
    }
    let after = peer.resident_kb.map(|(_, after)| vec![after as f64]);
    let what = format!("resident after {} more requests, in kB", peer.endurance);
    row(what, after, "at most 0.33", |ratio| ratio <= 1.0 / 3.0);
    for (who, tenths) in ["hearthd", "executor"].into_iter().zip(&peer.tenths) {
        let tenths: Vec<String> = tenths.iter().map(|rate| format!("{rate:.0}")).collect();
        let _ = writeln!(
            text,
            "\n{who}, answers per second in each tenth of them: {}",
            tenths.join(", ")
        );
    }
    text
}

/// The bundled broker beside Mosquitto, with its goals.
pub(crate) fn brokers(brokers: &Brokers) -> String {
    let mut text =
        "| | bundled broker | Mosquitto | ratio: median of rounds [least, most] | goal | |\n|---|--:|--:|---|---|---|\n"
            .to_owned();
    let verdict = |reached: bool| if reached { "reached" } else { "**missed**" };
    let echoes = brokers.echoes.iter().map(|(in_flight, figures)| {
        let what = format!("answers per second at QoS 1, {in_flight} in flight");
        (what, figures, if *in_flight < 256 { 0.8 } else { 0.6 })
    });
    let what = "deliveries per second at QoS 1 to 100 subscribers".to_owned();
    for (what, [ours, theirs], least) in echoes.chain([(what, &brokers.fan_out, 0.8)]) {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(one, other)| one / other).collect();
        let middle = median(ratios.clone());
        let _ = writeln!(
            text,
            "| {what} | {:.0} | {:.0} | {middle:.2} {} | at least {least} | {} |",
            median(ours.clone()),
            median(theirs.clone()),
            spread(&ratios),
            verdict(middle >= least),
        );
    }
    for (in_flight, [ours, theirs]) in &brokers.costs {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(one, other)| one / other).collect();
        let _ = writeln!(
            text,
            "| processor time of an answer, {in_flight} in flight, in us | {:.1} | {:.1} | {:.2} {} | | |",
            median(ours.clone()),
            median(theirs.clone()),
            median(ratios.clone()),
            spread(&ratios),
        );
    }
    let Brokers { idle_kb: [idle, their_idle], size_kb: [size, their_size], .. } = *brokers;
    for (what, ours, theirs, most) in [
        ("resident without a client, in kB", idle as f64, their_idle as f64, 6000.0),
        ("a plain connection, in kB (PSS)", brokers.plain_kb[0], brokers.plain_kb[1], 20.0),
        ("a connection with TLS, in kB (PSS)", brokers.tls_kb[0], brokers.tls_kb[1], 60.0),
        ("size of the program, stripped, in kB", size as f64, their_size as f64, 6500.0),
    ] {
        let digits = usize::from(most < 100.0);
        let _ = writeln!(
            text,
            "| {what} | {ours:.digits$} | {theirs:.digits$} | | at most {most} | {} |",
            verdict(ours <= most)
        );
    }
    let start = median(brokers.start_ms.clone());
    let _ = writeln!(
        text,
        "| start to the first CONNACK with {RETAINED} retained messages, in ms | {start:.0} | | | below 50 | {} |",
        verdict(start < 50.0)
    );
    if let Some(seconds) = brokers.build {
        let _ = writeln!(text, "| build from nothing, in s | {seconds:.0} | | | | |");
    }
    let [before, after] = brokers.load;
    let _ = writeln!(
        text,
        "\nLoad average of the machine before and after the rounds: {before:.1}, {after:.1}. Above the number of processors, \
         others took part: rates and their ratios then say little, processor times still do."
    );
    text += "\nA size of Mosquitto is without the libraries of the system that it links: its TLS, above all.\n";
    text
}

/// What the journal costs.
pub(crate) fn durability(durability: &Durability) -> String {
    let Durability { set, toggled, read, set_once, read_once, writes } = durability;
    let ratio = |over: &[f64], under: &[f64]| -> Vec<f64> {
        over.iter().zip(under).map(|(over, under)| over / under).collect()
    };
    let mut text =
        "| answers per second, 256 in flight, Mosquitto | QoS 1 | QoS 0 |\n|---|--:|--:|\n"
            .to_owned();
    let middle = |each: &[f64]| median(each.to_vec());
    let _ = writeln!(text, "| read | {:.0} | {:.0} |", middle(read), middle(read_once));
    let _ = writeln!(text, "| set | {:.0} | {:.0} |", middle(set), middle(set_once));
    let _ = writeln!(text, "| toggle | {:.0} | |", middle(toggled));
    let (once, each) = (ratio(set_once, read_once), ratio(set, read));
    let journal = ratio(&each, &once);
    let _ = writeln!(
        text,
        "\nSetting makes {:.2} {} of the throughput of reading at QoS 1, where answers are journalled, and {:.2} {} at \
         QoS 0, where nothing is. What is left of the throughput by the journal: **{:.2}** {} (goal 0.85). A toggle, \
         whose intent is on disk before it is carried out, makes {:.2} {} of a set.",
        middle(&each),
        spread(&each),
        middle(&once),
        spread(&once),
        middle(&journal),
        spread(&journal),
        median(ratio(toggled, set)),
        spread(&ratio(toggled, set)),
    );
    let _ = writeln!(text, "\n| bytes written to the store for each request | |\n|---|--:|");
    let _ = writeln!(text, "| one at a time | {} |", writes.alone);
    let _ = writeln!(text, "| many at once | {} |", writes.together);
    let _ = writeln!(text, "| many at once, not idempotent | {} |", writes.intents);
    text
}

/// What it takes to be sure of a lamp behind Zigbee2MQTT.
pub(crate) fn confirmation(all: &[Confirmation]) -> String {
    let mut text = "| a lamp behind Zigbee2MQTT that obeys | a bare `set` to its state | request to confirmed answer | ratio: median of rounds |\n|---|--:|--:|--:|\n".to_owned();
    for Confirmation { broker, raw, bare_ms, confirmed_ms } in all {
        let ratios: Vec<f64> =
            confirmed_ms.iter().zip(bare_ms).map(|(confirmed, bare)| confirmed / bare).collect();
        let read = if *raw { "`raw = true`" } else { "read by `get`" };
        let _ = writeln!(
            text,
            "| {}, {read} | {:.1} ms | {:.1} ms | {:.1} {} |",
            broker.name(),
            median(bare_ms.clone()),
            median(confirmed_ms.clone()),
            median(ratios.clone()),
            spread(&ratios)
        );
    }
    text += "\nThe state that follows a bare `set` is what Zigbee2MQTT was told, also where the lamp refused it. The \
             confirmed answer is what the lamp said when it was read afterwards. Both are taken in turn, ten at a time, by \
             one process, with the radio of the tests, which answers at once.\n";
    text
}

/// How long a tap on the page takes, and the memory of the program that serves it.
pub(crate) fn phones(phones: &Phones) -> String {
    let mut text = "| pages open | from the tap to confirmed | a bare request to its answer |\n|--:|--:|--:|\n".to_owned();
    for (pages, times) in &phones.times {
        let _ = writeln!(text, "| {pages} | {:.1} ms | {:.1} ms |", times.tap, times.bare);
    }
    text += "\n| pages open | hearth-web: memory of its own | of its files, which the system may drop |\n|--:|--:|--:|\n";
    for (pages, memory) in &phones.memory {
        let of_files = memory.resident.saturating_sub(memory.anonymous);
        let _ = writeln!(text, "| {pages} | {} kB | {of_files} kB |", memory.anonymous);
    }
    text += "\nEach page is in a browser profile of its own, all in one Chromium on the same machine. Medians; taps and bare requests are \
             made in turn. The page draws at the screen's next frame, which comes within 17 ms; all browsers share the processors with the rest of the home.\n";
    text
}

/// What many devices and many queued requests cost.
pub(crate) fn growth(growth: &Growth) -> String {
    let mut text = devices("devices", &growth.devices);
    if let [first, .., last] = &growth.devices[..] {
        let more = (last.count - first.count) as f64;
        let _ = writeln!(
            text,
            "\nEach device takes {:.1} kB (goal 20), {:.2} ms at the start, and {:+.0} us of latency for a thousand more.",
            (last.resident_kb as f64 - first.resident_kb as f64) / more,
            (last.start_ms - first.start_ms) / more,
            (last.median_us - first.median_us) / more * 1000.0,
        );
    }
    text += "\n";
    text += &devices("devices, half of them behind a bridge", &growth.bridged);
    text += "\n| hubs in one home | resident, each | median latency |\n|--:|--:|--:|\n";
    for each in &growth.hubs {
        let (count, resident, median) = (each.count, each.resident_kb, each.median_us);
        let _ = writeln!(text, "| {count} | {resident} kB | {median:.0} us |");
    }
    text += "\n";
    text += &devices("retained states of others in the home", &growth.retained);
    text += "\n| queued while away | peak memory | start to the last answer | not carried out | unanswered |\n|--:|--:|--:|--:|--:|\n";
    for each in &growth.queued {
        let answered = each.answered_ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
        let _ = writeln!(
            text,
            "| {} | {} kB | {answered} | {} | {:.0} |",
            each.count, each.peak_kb, each.failed, each.unanswered
        );
    }
    text += "\n| pages open | hearth-web | broker | hub | all devices shown | a tap known to all | median latency |\n|--:|--:|--:|--:|--:|--:|--:|\n";
    for each in &growth.crowds {
        let Crowd { pages, web_kb, broker_kb, hub_kb, shown_ms, known_ms, median_us } = each;
        let _ = writeln!(
            text,
            "| {pages} | {web_kb} kB | {broker_kb} kB | {hub_kb} kB | {shown_ms:.0} ms | {known_ms:.1} ms | {median_us:.0} us |"
        );
    }
    text
}

fn devices(what: &str, all: &[Devices]) -> String {
    let mut text =
        format!("| {what} | resident | start to `online` | median latency |\n|--:|--:|--:|--:|\n");
    for each in all {
        let _ = writeln!(
            text,
            "| {} | {} kB | {:.0} ms | {:.0} us |",
            each.count, each.resident_kb, each.start_ms, each.median_us
        );
    }
    text
}

/// What the daemon takes of a machine.
pub(crate) fn footprint(footprint: &Footprint) -> String {
    let mut text = "| | |\n|---|--:|\n".to_owned();
    let _ = writeln!(text, "| resident, idle with ten devices | {} kB |", footprint.idle_kb);
    let _ = writeln!(
        text,
        "| wake-ups in a second, idle with ten devices (goal: at most 1) | {:.2} |",
        footprint.wakes_per_second
    );
    for (requests, resident) in &footprint.after {
        let _ = writeln!(
            text,
            "| resident with 16 lights, after {requests} requests of QoS 1 and 0 in turn | {resident} kB |"
        );
    }
    for (name, size, crates) in &footprint.programs {
        let _ = writeln!(text, "| `{name}`: size, crates built in | {size} kB, {crates} |");
    }
    text
}

/// Returns how far the rounds are apart.
fn spread(each: &[f64]) -> String {
    let least = each.iter().copied().fold(f64::INFINITY, f64::min);
    let most = each.iter().copied().fold(0.0, f64::max);
    format!("[{least:.2}, {most:.2}]")
}

fn throughput(figures: &Figures) -> f64 {
    figures.per_second
}

fn tail(figures: &Figures) -> f64 {
    figures.p99_us / figures.median_us
}

/// A ratio that shall be at least, or at most, something.
struct Goal {
    text: &'static str,
    cell: Cell,
    over: (Responder, fn(&Figures) -> f64),
    under: (Responder, fn(&Figures) -> f64),
    least: f64,
    most: f64,
}

impl Goal {
    /// Returns the ratio of each round.
    fn ratios(&self, compared: &Compared, broker: BrokerKind) -> Vec<f64> {
        let over = compared.each(broker, self.cell, self.over.0, self.over.1);
        let under = compared.each(broker, self.cell, self.under.0, self.under.1);
        over.into_iter().zip(under).map(|(over, under)| over / under).collect()
    }

    fn is_reached(&self, ratio: f64) -> bool {
        (self.least..=self.most).contains(&ratio)
    }

    const fn throughput(text: &'static str, over: Responder, under: Responder, least: f64) -> Self {
        let (over, under) = ((over, throughput as _), (under, throughput as _));
        Self { text, cell: Cell::FULL, over, under, least, most: f64::INFINITY }
    }
}

const GOALS: [Goal; 9] = [
    Goal::throughput(
        "throughput (a) / (c), 256 in flight: at least 0.95",
        Responder::Hearthd,
        Responder::Rumqttc,
        0.95,
    ),
    Goal::throughput(
        "throughput (a) / (d), 256 in flight: at least 0.8",
        Responder::Hearthd,
        Responder::Socket,
        0.8,
    ),
    Goal::throughput(
        "throughput (a) / (d'), 256 in flight: no goal, at least 0.8 to compare",
        Responder::Hearthd,
        Responder::SocketKept,
        0.8,
    ),
    Goal::throughput(
        "throughput (a) / (e), 256 in flight: at least 5",
        Responder::Hearthd,
        Responder::Paho,
        5.0,
    ),
    Goal::throughput(
        "throughput (a) / (f), 256 in flight: at least 2",
        Responder::Hearthd,
        Responder::MqttJs,
        2.0,
    ),
    Goal::throughput(
        "throughput (b) / (a), 256 in flight: at least 0.5",
        Responder::Isolated,
        Responder::Hearthd,
        0.5,
    ),
    Goal {
        text: "median latency (a) / (d), 1 in flight: at most 1.25",
        cell: Cell::ALONE,
        over: (Responder::Hearthd, |figures| figures.median_us),
        under: (Responder::Socket, |figures| figures.median_us),
        least: 0.0,
        most: 1.25,
    },
    Goal {
        text: "99th percentile / median of (a), 1 in flight: at most 2",
        cell: Cell::ALONE,
        over: (Responder::Hearthd, |figures| figures.p99_us),
        under: (Responder::Hearthd, |figures| figures.median_us),
        least: 0.0,
        most: 2.0,
    },
    Goal {
        text: "99th percentile / median, 1 in flight, (a) / (c): at most 1.3",
        cell: Cell::ALONE,
        over: (Responder::Hearthd, tail),
        under: (Responder::Rumqttc, tail),
        least: 0.0,
        most: 1.3,
    },
];
