//! What each step does to the world.

use std::time::Duration;

use super::{Timer, World, lossy};
use crate::{
    broker::WillFate,
    devices::Devices,
    ledger::Asked,
    link::HubId,
    plan::{Action, Fault, Traffic},
    report::Reached,
    store::Damage,
};

impl World {
    /// Carries out one step of the plan.
    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::Traffic(traffic) => self.go_on(traffic),
            Action::Fault(hub, fault) => {
                let hub = HubId(hub.0 % self.hubs.len());
                self.note("FAULT", || format!("{}: {fault:?}", hub.client_id()));
                self.strike(hub, fault);
            }
        }
    }

    fn go_on(&mut self, traffic: &Traffic) {
        match traffic {
            Traffic::Ask(ask) => self.ask(ask),
            Traffic::AskAgain { back, marked } => {
                if let Some(index) = self.ledger.asked.len().checked_sub(back + 1) {
                    self.ask_again(index, *marked);
                }
            }
            Traffic::Stranger(mischief) => self.misbehave(mischief),
            Traffic::Device { device, times, at_least_once } => {
                self.say_for_device(*device, *times, *at_least_once);
            }
            Traffic::DeviceAsks { times } => self.devices_ask(*times),
            Traffic::Report { device } => {
                let (device, property) = Devices::property(*device);
                let payload = format!("seen {}", self.now.as_millis());
                if !self.devices.is_answering(device) {
                    self.report(device, property, payload.into());
                }
            }
            Traffic::Reach { device } => {
                let (device, _) = Devices::property(*device);
                let status = self.devices.change_reach(self.now, device);
                self.note("device", || format!("{device} is {}", lossy(&status)));
                self.report(device, "status", status);
            }
            Traffic::NeighbourDies => self.neighbour_dies(),
            Traffic::NeighbourReturns => self.neighbour_returns(),
            Traffic::AssistantStarts { base } => self.assistant_starts(*base),
        }
    }

    fn strike(&mut self, hub: HubId, fault: &Fault) {
        match fault {
            Fault::Cut { up, down } => self.cut(hub, *up, *down),
            Fault::HalfOpen => self.half_open(hub),
            Fault::NetworkDown { lasts } => self.network_down(hub, *lasts),
            Fault::Crash { durable, up, devices_survive, away, damage } => {
                self.crash(hub, *durable, *up, *devices_survive, *away, *damage);
            }
            Fault::Reboot { durable, away } => self.reboot(hub, *durable, *away),
            Fault::Shutdown { away } => self.shut_down(hub, *away),
            Fault::BrokerRestart { announced, keeps_session, keeps_retained, wills, away } => {
                self.restart_broker(*announced, *keeps_session, *keeps_retained, *wills, *away);
            }
            Fault::SessionLost => {
                if self.broker.up {
                    self.broker.lose_session(self.now, hub);
                    self.carry_out_effects();
                }
            }
            Fault::TakeOver { clean } => self.take_over(hub, *clean),
            Fault::Refuse { reason_code, times } => {
                self.broker.client_mut(hub).refusals = (*reason_code, *times);
            }
            Fault::Offer(offer) => self.offer(*offer),
            Fault::ReceiveMaximum(maximum) => self.broker.receive_maximum = *maximum,
            // A flood that is held a few messages at a time would take longer than the simulation.
            Fault::ClientReceiveMaximum(_) if self.setup.flooded => {}
            Fault::ClientReceiveMaximum(maximum) => {
                self.hub_mut(hub).client_receive_maximum = *maximum;
            }
            Fault::NetworkLatency(latency) => self.latency = *latency,
            Fault::StoreLatency(latency) => self.hub_mut(hub).store.latency = *latency,
            Fault::RefusePublishes { matter, reason_code, times } => {
                self.broker.client_mut(hub).limits.publishes =
                    Some((*matter, *reason_code, *times));
            }
            Fault::RefuseSubscriptions { filters, reason_code, times } => {
                self.broker.client_mut(hub).limits.subscribes =
                    Some((*filters, *reason_code, *times));
            }
            Fault::FilterQuota(quota) => {
                self.reach(Reached::FilterQuota);
                self.broker.client_mut(hub).limits.quota = *quota;
            }
            Fault::MaximumPacketSize(maximum) => {
                self.broker.client_mut(hub).limits.maximum_packet_size = *maximum;
            }
            Fault::Withhold { lasts } => {
                self.reach(Reached::Withheld);
                self.broker.client_mut(hub).limits.withholds = true;
                self.after(*lasts, Timer::Acknowledge(hub));
            }
            Fault::DeviceMoves { device } => self.move_device(hub, *device),
            Fault::DeviceRemoved { device } => self.remove_device(*device),
            Fault::DeviceShared { device } => self.share_device(hub, *device),
            Fault::DeviceRestarts { device, away } => self.restart_device(*device, *away),
            Fault::Announces(announces) => self.announce_otherwise(hub, *announces),
            Fault::StoreFails { lasts } => self.fill_disk(hub, *lasts),
            Fault::WallClock { years } => {
                self.reach(Reached::WallClock);
                let by = YEAR * years.unsigned_abs();
                let unix = &mut self.hub_mut(hub).unix;
                *unix = if *years < 0 { unix.saturating_sub(by) } else { *unix + by };
            }
        }
    }

    fn restart_broker(
        &mut self,
        announced: bool,
        keeps_session: bool,
        keeps_retained: bool,
        wills: WillFate,
        away: Duration,
    ) {
        if !self.broker.up {
            return;
        }
        self.reach(Reached::BrokerRestarts);
        if keeps_session {
            self.reach(Reached::SessionsKept);
        }
        if !keeps_retained {
            for hub in &mut self.hubs {
                hub.announced_lost |= keeps_session && hub.connection().is_none();
                hub.fates.retained_lost();
            }
        }
        self.broker.stop(self.now, announced, keeps_session, keeps_retained, wills);
        self.carry_out_effects();
        let now = self.now;
        for link in &mut self.links {
            link.close_broker(now);
        }
        self.after(away, Timer::StartBroker);
    }

    fn take_over(&mut self, hub: HubId, clean: bool) {
        if self.broker.up && self.broker.session(hub).is_some() {
            self.reach(Reached::TakenOver);
            self.hub_mut(hub).fates.exempt_all();
            // Whoever takes it over has what was not acknowledged: the hub never gives PUBACK for it.
            let now = self.now;
            let handed = |asked: &&mut Asked| asked.first_handed.contains_key(&hub);
            for asked in self.ledger.asked.iter_mut().filter(handed) {
                asked.settled.entry(hub).or_insert(now);
            }
            self.broker.take_over(self.now, hub, clean);
            self.carry_out_effects();
        }
    }

    fn offer(&mut self, offer: Option<&str>) {
        let before = self.prefix();
        self.broker.response_information = offer.map(str::to_owned);
        if before != self.prefix() {
            self.reach(Reached::PrefixChanged);
        }
    }

    fn half_open(&mut self, hub: HubId) {
        if self.connection(hub).is_some() {
            self.reach(Reached::HalfOpen);
        }
        self.fall_silent(hub);
    }

    fn network_down(&mut self, hub: HubId, lasts: Duration) {
        self.reach(Reached::NetworkDown);
        self.hub_mut(hub).network_up = false;
        self.fall_silent(hub);
        self.after(lasts, Timer::NetworkUp(hub));
    }

    fn cut(&mut self, hub: HubId, up: usize, down: usize) {
        let now = self.now;
        let Some(id) = self.connection(hub).map(|connection| connection.id) else { return };
        if let Some(link) = self.link_mut(id) {
            link.cut(now, up, down);
            self.reach(Reached::Cuts);
        }
    }

    fn crash(
        &mut self,
        hub: HubId,
        durable: usize,
        up: usize,
        devices_survive: bool,
        away: Duration,
        damage: Damage,
    ) {
        if !self.kill_daemon(hub, durable, up, devices_survive, damage) {
            return;
        }
        match damage {
            Damage::None => self.reach(Reached::Crashes),
            Damage::Lost => {
                self.reach(Reached::StoresLost);
                let machine = self.hub_mut(hub);
                machine.life.store += 1;
                machine.fates.exempt_all();
                self.ledger.store_lost(hub);
            }
            Damage::Elsewhere => {
                self.reach(Reached::StoresElsewhere);
                self.announced_elsewhere(hub);
            }
        }
        self.after(away, Timer::StartDaemon(hub));
    }

    fn reboot(&mut self, hub: HubId, durable: usize, away: Duration) {
        if !self.kill_daemon(hub, durable, 0, false, Damage::None) {
            return;
        }
        self.reach(Reached::Reboots);
        let now = self.now;
        let machine = self.hub_mut(hub);
        machine.booted_at = now;
        machine.rebooted = true;
        self.after(away, Timer::StartDaemon(hub));
    }

    /// The faults stop.
    pub(super) fn heal(&mut self) {
        self.note("FAULT", || "the faults stop".into());
        self.latency = Duration::from_millis(1);
        for hub in self.hub_ids() {
            self.heal_hub(hub);
        }
        if !self.broker.up {
            self.at(self.now, Timer::StartBroker);
        }
        if self.setup.required {
            self.offer(Some("alice"));
        }
    }

    fn heal_hub(&mut self, hub: HubId) {
        let machine = self.hub_mut(hub);
        machine.network_up = true;
        machine.store.latency = Duration::from_millis(2);
        machine.store.is_full = false;
        let soon = Duration::from_secs(1);
        if let Some(away) = machine.daemon.as_mut().and_then(|daemon| daemon.away.as_mut()) {
            *away = soon;
        }
        let client = self.broker.client_mut(hub);
        client.refusals = (0, 0);
        let limits = std::mem::take(&mut client.limits);
        self.at(self.now, Timer::Acknowledge(hub));
        if self.connection(hub).is_some_and(|connection| {
            // What is on its way may have been refused.
            Some(connection.id) == limits.limited
                || connection.announces_later
                || !connection.announcing.is_empty()
        }) {
            self.cut(hub, usize::MAX, usize::MAX);
        }
        self.after(soon, Timer::StartDaemon(hub));
    }
}

const YEAR: Duration = Duration::from_secs(31_557_600);
