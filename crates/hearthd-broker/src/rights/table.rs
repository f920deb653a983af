//! The rights of each role on each kind of topic of the home.

use super::Role;

/// The kinds of topics below the home, by the hub's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `state/DEVICE/..`.
    State,
    /// `hub/CLIENT/presence`.
    Presence,
    /// `hub/CLIENT/absence`.
    Absence,
    /// `cmnd/DEVICE/..`.
    Request,
    /// `response/CLIENT/..`.
    Response,
    /// `event/DEVICE/..`.
    Event,
    /// Any other topic below the home.
    Other,
}

impl Kind {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Self; 7] = [
        Self::State,
        Self::Presence,
        Self::Absence,
        Self::Request,
        Self::Response,
        Self::Event,
        Self::Other,
    ];

    /// Returns whether only a hub, or a responder for its own devices, ever writes the kind, whatever else is granted.
    pub(super) fn is_guarded(self) -> bool {
        matches!(self, Self::State | Self::Presence | Self::Absence)
    }

    /// Returns the levels below the home, with `{}` for whose topic it is.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::State => "state/{}/#",
            Self::Presence => "hub/{}/presence",
            Self::Absence => "hub/{}/absence",
            Self::Request => "cmnd/{}/#",
            Self::Response => "response/{}/#",
            Self::Event => "event/{}/#",
            Self::Other => "#",
        }
    }

    /// Returns whose topic it is.
    pub(super) fn owner(self) -> Owner {
        match self {
            Self::State | Self::Request | Self::Event => Owner::Device,
            Self::Presence | Self::Absence | Self::Response => Owner::Client,
            Self::Other => Owner::Nobody,
        }
    }
}

/// What the level of a topic that names its owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Device,
    Client,
    Nobody,
}

/// What may be done with a kind of topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// With none.
    Never,
    /// With those of the account's devices, or of its client ID.
    Own,
    /// With all.
    Any,
}

/// What a client wants to do with a topic; a will is a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PUBLISH.
    Publish,
    /// PUBLISH with RETAIN. To remove what is retained takes the right to publish alone.
    Retain,
    /// Receive, and subscribe.
    Read,
}

/// Returns how far a role's rights go.
pub fn extent(role: Role, kind: Kind, action: Action) -> Extent {
    let (publish, retain, read) = match role {
        Role::Everything => (Any, Any, Any),
        Role::Hub => match kind {
            Kind::State | Kind::Presence | Kind::Absence => (Own, Own, Any),
            Kind::Event => (Own, Never, Any),
            Kind::Request | Kind::Response => (Any, Never, Any),
            Kind::Other => (Any, Any, Any),
        },
        Role::Resident => match kind {
            Kind::Request => (Any, Never, Any),
            Kind::Response => (Own, Never, Any),
            Kind::State | Kind::Presence | Kind::Absence | Kind::Event | Kind::Other => {
                (Never, Never, Any)
            }
        },
        Role::Guest => match kind {
            Kind::Request => (Own, Never, Never),
            Kind::Response => (Own, Never, Own),
            Kind::State | Kind::Event => (Never, Never, Own),
            Kind::Presence => (Never, Never, Any),
            Kind::Absence | Kind::Other => (Never, Never, Never),
        },
        Role::Responder => match kind {
            Kind::Request => (Never, Never, Own),
            Kind::State => (Own, Own, Own),
            Kind::Response => (Any, Never, Own),
            Kind::Event => (Own, Never, Own),
            Kind::Presence => (Never, Never, Any),
            Kind::Absence | Kind::Other => (Never, Never, Never),
        },
        Role::Device => (Never, Never, Never),
    };
    match action {
        Action::Publish => publish,
        Action::Retain => retain,
        Action::Read => read,
    }
}

use Extent::{Any, Never, Own};
