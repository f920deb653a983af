//! The faults and changes, and how often each happens.

use std::time::Duration;

use crate::{
    broker::{Matter, WillFate},
    plan::pick,
    store::Damage,
    world::announcing::Announces,
};

/// What goes wrong, and what changes.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection breaks, with this much of what is under way arriving.
    Cut {
        up: usize,
        down: usize,
    },
    /// The connection falls silent; each end notices by its own time-out.
    HalfOpen,
    /// Nothing passes for a while.
    NetworkDown {
        lasts: Duration,
    },
    /// SIGKILL, and a restart.
    Crash {
        durable: usize,
        up: usize,
        devices_survive: bool,
        away: Duration,
        damage: Damage,
    },
    /// Power is cut: the monotonic clock starts again at zero.
    Reboot {
        durable: usize,
        away: Duration,
    },
    /// SIGTERM, and a restart.
    Shutdown {
        away: Duration,
    },
    BrokerRestart {
        announced: bool,
        keeps_session: bool,
        keeps_retained: bool,
        wills: WillFate,
        away: Duration,
    },
    SessionLost,
    /// Another client connects with the hub's client ID.
    TakeOver {
        clean: bool,
    },
    /// The broker refuses the next attempts.
    Refuse {
        reason_code: u8,
        times: u32,
    },
    /// The broker offers another Response Information from now on.
    Offer(Option<&'static str>),
    ReceiveMaximum(u16),
    /// The broker refuses so many of the hub's next messages about a matter.
    RefusePublishes {
        matter: Matter,
        reason_code: u8,
        times: u32,
    },
    /// The broker refuses some filters of so many SUBSCRIBE packets, by the bits that are set.
    RefuseSubscriptions {
        filters: u8,
        reason_code: u8,
        times: u32,
    },
    /// The session may have so many filters, for a while.
    FilterQuota(Option<usize>),
    /// The next CONNACK has this Maximum Packet Size.
    MaximumPacketSize(Option<u32>),
    /// The broker gives no PUBACK for a while.
    Withhold {
        lasts: Duration,
    },
    ClientReceiveMaximum(u16),
    NetworkLatency(Duration),
    StoreLatency(Duration),
    /// The store fails from its next write on, for a while.
    StoreFails {
        lasts: Duration,
    },
    /// The hub gets a device, and whoever had it has it no more.
    DeviceMoves {
        device: usize,
    },
    DeviceRemoved {
        device: usize,
    },
    /// The hub gets a device that another one has as well.
    DeviceShared {
        device: usize,
    },
    /// A device's plugin crashes, and begins again after a while.
    DeviceRestarts {
        device: usize,
        away: Duration,
    },
    /// The configuration of the hub says otherwise what is announced.
    Announces(Option<Announces>),
    /// The wall clock jumps.
    WallClock {
        years: i32,
    },
}

/// Draws a fault.
pub(crate) fn fault(rng: &mut fastrand::Rng) -> Fault {
    let away = away(rng);
    match rng.u32(..138) {
        0..16 => Fault::Cut { up: few(rng), down: few(rng) },
        16..22 => Fault::HalfOpen,
        22..26 => Fault::NetworkDown { lasts: away },
        26..44 => Fault::Crash {
            durable: few(rng),
            up: few(rng),
            devices_survive: rng.bool(),
            away,
            damage: Damage::None,
        },
        44..46 => Fault::Crash {
            durable: few(rng),
            up: few(rng),
            devices_survive: rng.bool(),
            away,
            damage: *pick(rng, &[Damage::Lost, Damage::Elsewhere]),
        },
        46..50 => Fault::Reboot { durable: few(rng), away },
        50..56 => Fault::Shutdown { away },
        56..63 => Fault::BrokerRestart {
            announced: rng.bool(),
            keeps_session: rng.u8(..3) > 0,
            keeps_retained: rng.u8(..3) > 0,
            wills: *pick(rng, &[WillFate::Lost, WillFate::Published, WillFate::Kept]),
            away,
        },
        63..67 => Fault::SessionLost,
        67..69 => Fault::TakeOver { clean: rng.u8(..3) == 0 },
        69..73 => Fault::Refuse {
            reason_code: *pick(rng, &[0x87, 0x88, 0x89, 0x97, 0x9A]),
            times: rng.u32(1..4),
        },
        73..79 => Fault::Offer(offer(rng)),
        79..84 => Fault::ReceiveMaximum(*pick(rng, &[1, 2, 20, 65_535])),
        84..88 => Fault::ClientReceiveMaximum(*pick(rng, &[1, 2, 20, 1024])),
        88..93 => Fault::NetworkLatency(Duration::from_millis(*pick(rng, &[1, 1, 20, 400, 4_000]))),
        93..98 => Fault::StoreLatency(Duration::from_millis(*pick(rng, &[0, 2, 50, 1_000, 6_000]))),
        98..100 => Fault::WallClock { years: rng.i32(-40..40) },
        100..108 => Fault::StoreFails { lasts: away },
        108..124 => limit(rng, away),
        124..129 => Fault::DeviceMoves { device: rng.usize(..) },
        129..131 => Fault::DeviceRemoved { device: rng.usize(..) },
        131..132 => Fault::DeviceShared { device: rng.usize(..) },
        _ => Fault::DeviceRestarts {
            device: rng.usize(..),
            away: Duration::from_millis(rng.u64(1..8_000)),
        },
    }
}

/// Draws what the broker does not take, or not yet.
fn limit(rng: &mut fastrand::Rng, away: Duration) -> Fault {
    let matters =
        [Matter::Everything, Matter::Itself, Matter::Presence, Matter::State, Matter::Answer];
    match rng.u32(..17) {
        16 => Fault::FilterQuota(*pick(rng, &[Some(1), Some(3), Some(7), None])),
        0..6 => Fault::RefusePublishes {
            matter: *pick(rng, &matters),
            reason_code: *pick(rng, &[0x87, 0x97, 0x97]),
            times: *pick(rng, &[1, 2, 10]),
        },
        6..9 => Fault::RefuseSubscriptions {
            filters: rng.u8(1..16),
            reason_code: *pick(rng, &[0, 0, 0x80, 0x87, 0x97]),
            times: rng.u32(1..3),
        },
        9..13 => Fault::MaximumPacketSize(*pick(
            rng,
            &[Some(60), Some(150), Some(300), Some(450), Some(65_536), None],
        )),
        _ => Fault::Withhold { lasts: away.min(LONGEST_WITHHELD) },
    }
}

/// Draws what the broker offers as Response Information.
pub(crate) fn offer(rng: &mut fastrand::Rng) -> Option<&'static str> {
    *pick(
        rng,
        &[
            Some("alice"),
            Some("alice"),
            Some("alice"),
            Some("FRONT,alice"),
            Some("bob"),
            Some("homes/carol"),
            Some("a/+/b"),
            None,
        ],
    )
}

fn away(rng: &mut fastrand::Rng) -> Duration {
    let longest = *pick(rng, &[200, 3_000, 15_000, 60_000, 900_000]);
    Duration::from_millis(rng.u64(10..longest))
}

/// A small count, at times nothing, at times all.
fn few(rng: &mut fastrand::Rng) -> usize {
    *pick(rng, &[0, 0, 1, 2, 4, usize::MAX])
}

/// How long the broker gives no PUBACK at most.
const LONGEST_WITHHELD: Duration = Duration::from_secs(60);
