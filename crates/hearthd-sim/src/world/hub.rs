//! One hub of the home, and the machine that it runs on: clocks, disk, network, and the daemon while it lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use super::{Connection, Daemon, Guarding, World, announcing::Announces, strangers::Overheard};
use crate::{
    devices,
    fates::Fates,
    link::{HubId, Life},
    plan::Setup,
    store::Store,
};

/// A hub across the lives of its daemon.
pub(crate) struct HubMachine {
    pub(crate) daemon: Option<Daemon>,
    pub(crate) life: Life,
    pub(crate) booted_at: Duration,
    /// When the life of now began.
    pub(crate) begun_at: Duration,
    /// The records' deadlines are of an earlier boot.
    pub(super) rebooted: bool,
    /// The wall clock, at the beginning of the simulation.
    pub(super) unix: Duration,
    pub(crate) store: Store,
    /// The devices of its configuration.
    pub(crate) devices: BTreeSet<&'static str>,
    pub(crate) fates: Fates,
    pub(super) network_up: bool,
    pub(super) client_receive_maximum: u16,
    /// The other hub that this one guards.
    pub(crate) guarding: Option<Guarding>,
    /// What strangers remember of it.
    pub(super) overheard: Overheard,
    /// The hub was killed while its store could not be written: it may have forgotten what it left at the broker.
    pub(crate) ended_unwritten: bool,
    /// When the broker last had a fence of the hub: what it had for the hub by then comes before that.
    pub(crate) fence_passed: Duration,
    /// What the hub has said of refusals since the last was checked.
    pub(crate) refusals_noticed: usize,
    /// What it announces, if it does.
    pub(crate) announces: Option<Announces>,
    /// The broker has lost what it had retained and kept the session, while the hub was away: it cannot know that.
    pub(crate) announced_lost: bool,
    /// What its configuration has it announce, by topic, and when that changed there last.
    pub(super) announcements: BTreeMap<String, Bytes>,
    pub(crate) announcements_changed: BTreeMap<String, Duration>,
    /// When it heard that the program has started to which it announces its devices.
    pub(crate) told_of_starts: Vec<Duration>,
}

impl HubMachine {
    /// Makes the machine of a hub, on which no daemon runs yet.
    pub(super) fn new(hub: HubId, setup: &Setup) -> Self {
        Self {
            daemon: None,
            life: Life { hub, daemon: 0, store: 0 },
            booted_at: Duration::ZERO,
            begun_at: Duration::ZERO,
            rebooted: false,
            unix: Duration::from_secs(1_700_000_000),
            store: Store::default(),
            devices: devices::initial(hub, setup),
            fates: Fates::default(),
            network_up: true,
            client_receive_maximum: setup.client_receive_maximum,
            guarding: Guarding::by(hub),
            overheard: Overheard::default(),
            ended_unwritten: false,
            fence_passed: Duration::ZERO,
            refusals_noticed: 0,
            announces: setup.announces,
            announced_lost: false,
            announcements: BTreeMap::new(),
            announcements_changed: BTreeMap::new(),
            told_of_starts: Vec::new(),
        }
    }

    /// Returns the hub's client ID.
    pub(super) fn name(&self) -> &'static str {
        self.life.hub.client_id()
    }

    /// Returns when the hub, or its store, wants to do something.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let daemon = self.daemon.as_ref().and_then(Daemon::next_due).map(|at| at + self.booted_at);
        [daemon, self.store.next_due()].into_iter().flatten().min()
    }

    /// Returns the connection that the driver has, if any.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.daemon.as_ref()?.link.as_ref()
    }

    /// Returns the connection that the driver has, for a change.
    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.daemon.as_mut()?.link.as_mut()
    }

    /// Takes the connection away from the driver.
    pub(super) fn take_connection(&mut self) -> Option<Connection> {
        self.daemon.as_mut()?.link.take()
    }
}

impl World {
    /// Returns the machine of a hub.
    pub(crate) fn hub(&self, hub: HubId) -> &HubMachine {
        &self.hubs[hub.0]
    }

    /// Returns the machine of a hub, for a change.
    pub(crate) fn hub_mut(&mut self, hub: HubId) -> &mut HubMachine {
        &mut self.hubs[hub.0]
    }

    pub(crate) fn connection(&self, hub: HubId) -> Option<&Connection> {
        self.hub(hub).connection()
    }

    pub(crate) fn connection_mut(&mut self, hub: HubId) -> Option<&mut Connection> {
        self.hub_mut(hub).connection_mut()
    }

    /// Returns all hubs of the home.
    pub(crate) fn hub_ids(&self) -> impl Iterator<Item = HubId> + use<> {
        HubId::all(self.hubs.len())
    }
}
