//! Who is who in the house: two hubs under one prefix, their devices, and everybody's topics.

/// One of the two hubs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hub {
    #[default]
    /// Its wills are guarded by the hub in the attic.
    Cellar,
    /// It has the relay with which it acts on the other's wills.
    Attic,
}

impl Hub {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Cellar, Self::Attic];

    /// Returns its client ID.
    pub fn client_id(self) -> &'static str {
        match self {
            Self::Cellar => "hearthd-demo-cellar",
            Self::Attic => "hearthd-demo-attic",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Cellar => Self::Attic,
            Self::Attic => Self::Cellar,
        }
    }

    /// Returns its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cellar => "cellar",
            Self::Attic => "attic",
        }
    }

    pub(super) fn presence(self) -> String {
        under(&format!("hub/{}/presence", self.client_id()))
    }

    pub(super) fn absence(self) -> String {
        under(&format!("hub/{}/absence", self.client_id()))
    }

    /// Returns the topic of what it publishes to itself, or of the answers to its will.
    pub(super) fn response(self, purpose: &str) -> String {
        under(&format!("response/{}/{purpose}", self.client_id()))
    }
}

/// A ledger that requesters ask for lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ledger {
    /// The one of the hub in the cellar.
    #[default]
    Cellar,
    /// The one of the hub in the attic.
    Attic,
    /// The one that moves from hub to hub.
    Moving,
}

impl Ledger {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cellar, Self::Attic, Self::Moving];

    /// Returns its device ID, which is also the name of its file.
    pub fn id(self) -> &'static str {
        match self {
            Self::Cellar => "cellar-ledger",
            Self::Attic => "attic-ledger",
            Self::Moving => "moving-ledger",
        }
    }

    /// Returns the hub that always has it.
    pub(super) fn fixed_at(self) -> Option<Hub> {
        match self {
            Self::Cellar => Some(Hub::Cellar),
            Self::Attic => Some(Hub::Attic),
            Self::Moving => None,
        }
    }
}

/// Returns the topic of a device's property.
pub(super) fn request(device: &str, property: &str) -> String {
    under(&format!("cmnd/{device}/{property}"))
}

/// Returns a requester's own topic for responses.
pub(super) fn response(requester: &str) -> String {
    under(&format!("response/{requester}/chaos"))
}

/// Puts a topic under the prefix of the house.
pub(super) fn under(topic: &str) -> String {
    format!("alice/{topic}")
}

/// The ledger in which the hub in the attic writes what it did about the other's wills.
pub(super) const RELAY: &str = "relay";
/// What it writes there.
pub(super) const TOOK_OVER: &str = "took over";
/// A device of the hub in the cellar that takes its time, and that nobody needs.
pub(super) const SLOW: &str = "slow";
/// A lamp of the hub in the attic behind Zigbee2MQTT, if there is one.
pub(super) const LAMP: &str = "lamp";
/// The user property, of any value, of everything that the hostile requester publishes, and the beginning of its
/// payloads; hubs know nothing of it.
pub(super) const FORGED: &str = "forged";
/// What begins a line whose request has a forbidden Response Topic.
pub(super) const FORBIDDEN: &str = "forged-forbidden";
