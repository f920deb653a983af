//! What a run has reached, and the failures that it has found.

use std::{fmt, time::Duration};

use crate::Played;

/// The result of many simulations.
#[derive(Debug, Default)]
pub struct Report {
    /// How many seeds were played.
    pub seeds: u64,
    /// How many steps they had in all.
    pub steps: u64,
    /// How much time passed in the simulations.
    pub simulated: Duration,
    /// The seeds that failed, each with its trace.
    pub failures: Vec<Failure>,
    pub(crate) counts: Counts,
}

/// A seed that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Which invariant.
    pub invariant: &'static str,
    /// How it was broken.
    pub detail: String,
}

/// How often each state was reached.
#[derive(Clone, Debug)]
pub(crate) struct Counts([u64; Reached::ALL.len()]);

macro_rules! reached {
    ($($name:ident => $text:literal,)*) => {
        /// A state that a simulation shall reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reached { $($name,)* }

        impl Reached {
            const ALL: &[Self] = &[$(Self::$name,)*];

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reached! {
    Connections => "connections online",
    DeviceLinks => "devices told of connections",
    DeviceSends => "messages of devices",
    DeviceHears => "messages to devices",
    DeviceFlood => "floods on devices' topics",
    DeviceAsks => "requests of devices",
    DeviceToldAnswer => "answers to devices",
    DeviceToldOfNobody => "devices told that nobody serves another",
    DeviceToldOfCircle => "devices told of a circle",
    DeviceToldTooLate => "devices that get no answer in time",
    SlowStarts => "devices that begin late",
    DeviceRestarts => "devices that crash",
    ReadFirst => "repeats answered after a read",
    Resumed => "sessions resumed",
    Crashes => "crashes",
    Reboots => "reboots",
    Shutdowns => "shutdowns",
    Cuts => "connections cut",
    LateStrangers => "unknown connections come to light",
    ToldTooLate => "reports of devices that have gone",
    HalfOpen => "connections half-open",
    NetworkDown => "network outages",
    BrokerRestarts => "broker restarts",
    SessionsKept => "restarts that keep the session",
    SessionsLost => "sessions lost",
    TakenOver => "takeovers",
    Refused => "attempts refused",
    StoresLost => "stores lost",
    StoresElsewhere => "stores of another broker",
    PublishRefused => "messages refused",
    SubscriptionRefused => "subscriptions refused",
    TooLarge => "messages too large for the broker",
    Shrunk => "answers too large, told so",
    JournalFull => "status 429 journal full",
    QueueFull => "queues full",
    Left => "messages left for another connection",
    Withheld => "PUBACKs held up",
    StoresFail => "disks full",
    Unwritten => "writes failed",
    UnstoredEvidence => "wills' evidence taken unstored",
    EndedUnwritten => "ends with a full disk",
    NotStored503 => "status 503 not stored",
    PrefixChanged => "prefixes changed",
    WallClock => "wall-clock jumps",
    Required => "required Response Information missing",
    Requests => "requests delivered",
    Redelivered => "requests delivered again",
    Repeated => "requests sent again",
    Executed => "requests executed",
    Dropped => "requests dropped",
    Late => "late answers",
    Answers => "answers",
    Repeats => "answers sent again",
    Ok200 => "status 200",
    Accepted202 => "status 202",
    Ended => "ends of what was accepted",
    NoContent204 => "status 204",
    Bad400 => "status 400",
    NotFound404 => "status 404",
    Timeout408 => "status 408",
    Stale409 => "status 409 stale",
    Indeterminate409 => "status 409 indeterminate",
    Type415 => "status 415",
    Unprocessable422 => "status 422",
    Busy429 => "status 429",
    Failed500 => "status 500",
    Unavailable503 => "status 503",
    Unreachable => "devices out of reach",
    WillsFired => "wills fired",
    Acknowledgements => "wills acknowledged",
    Consumed => "outcome consumed",
    Unconsumed => "outcome unconsumed",
    NotPublished => "outcome not-published",
    Unknown => "outcome unknown",
    Upgraded => "outcomes upgraded",
    PresenceRestored => "presence restored",
    FenceGivenUp => "fences given up",
    Guarded => "other hubs' wills acted on",
    Homes => "homes of several hubs",
    NoWildcards => "brokers without wildcards",
    OneFilter => "brokers that take one filter at a time",
    AddsExpiry => "brokers that add an expiry",
    TellsOfNobody => "brokers that tell of no subscriber",
    Vouches => "brokers that vouch for senders",
    NoSessions => "brokers that keep no session",
    FilterQuota => "quotas for filters",
    Moved => "devices moved",
    Added => "devices added or removed by another",
    Removed => "devices removed",
    Shared => "devices of two hubs",
    ChangedAway => "devices changed while a hub is away",
    Reloaded => "devices changed by a reload",
    OtherResponder => "answers of another responder",
    Unmarked => "requests sent again without a mark",
    Doubled => "wills acknowledged twice",
    Downgraded => "subscriptions granted at QoS 0",
    ForgedOffline => "`offline` forged",
    ForgedOnline => "`online` forged",
    ForgedPresence => "presence overwritten",
    ForgedAcknowledgement => "acknowledgements forged",
    AcknowledgementFlood => "floods of acknowledgements",
    Junk => "junk to a hub's own topics",
    ForgedStatus => "`status` forged",
    RequestFlood => "floods of requests",
    Copied => "requests copied by a stranger",
    Stray => "requests for other hubs' devices",
    FiltersChecked => "filters checked at rest",
    Unanswered => "SUBSCRIBE without an answer",
    PublishUnanswered => "PUBLISH without an answer",
    PublishSuspected => "messages suspected",
    Lacks => "what a broker lacks noticed",
    FailedUnanswered => "failures that only an event tells",
    EvidenceIgnored => "forged evidence ignored",
    Rival => "rivals noticed",
    RivalGone => "rivals gone",
    ClientIdShared => "shared client IDs noticed",
    ExpiryAdded => "expiries added by the broker noticed",
    TakenBack => "retained states taken back",
    Superseded409 => "status 409 superseded",
    Queued409 => "status 409 queued",
    Forgotten => "devices that forget",
    Announces => "announcements switched on or changed",
    AnnouncesNothing => "announcements switched off",
    AnnouncesChangedAway => "announcements changed while a hub is away",
    Announced => "announcements published",
    AnnouncementRefused => "announcements refused",
    AssistantStarts => "starts of who is told of devices",
    ReplayedTrue => "answers sent again that still hold",
}

impl Reached {
    /// Returns what an answer with this status counts as.
    pub(crate) fn status(code: u16, reason: Option<&str>) -> Self {
        match code {
            200 => Self::Ok200,
            202 => Self::Accepted202,
            204 => Self::NoContent204,
            400 => Self::Bad400,
            404 => Self::NotFound404,
            408 => Self::Timeout408,
            409 if reason == Some("stale") => Self::Stale409,
            409 if reason == Some("superseded") => Self::Superseded409,
            409 if reason == Some("queued") => Self::Queued409,
            409 => Self::Indeterminate409,
            415 => Self::Type415,
            422 => Self::Unprocessable422,
            429 => Self::Busy429,
            500 => Self::Failed500,
            503 => Self::Unavailable503,
            other => unreachable!("the core has no status {other}"),
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self([0; Reached::ALL.len()])
    }
}

impl Counts {
    /// Counts one more.
    pub(crate) fn add(&mut self, reached: Reached) {
        self.0[reached as usize] += 1;
    }

    /// Returns how often it was reached.
    pub(crate) fn get(&self, reached: Reached) -> u64 {
        self.0[reached as usize]
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl Played for Report {
    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.simulated += other.simulated;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.counts.merge(&other.counts);
    }

    fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    fn seeds(&self) -> u64 {
        self.seeds
    }
}

impl Report {
    /// Whether the run is long enough to reach every state.
    pub fn is_large(&self) -> bool {
        self.steps >= 200_000
    }

    /// Lists the states that no simulation has reached.
    pub fn unreached(&self) -> Vec<&'static str> {
        let never = |reached: &&Reached| self.counts.0[**reached as usize] == 0;
        Reached::ALL.iter().filter(never).map(|reached| reached.text()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated.as_secs() / 86_400;
        writeln!(f, "{} seeds, {} steps, {days} simulated days", self.seeds, self.steps)?;
        for pair in Reached::ALL.chunks(2) {
            for &reached in pair {
                let count = self.counts.0[reached as usize];
                write!(f, "  {count:>11} {:<38}", reached.text())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
