//! What each step does to the world.

use std::time::Duration;

use super::{Timer, World};
use crate::{
    broker::WillFate,
    devices::Devices,
    plan::{Action, Fault, Traffic},
    report::Reached,
    store::Damage,
};

impl World {
    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::Traffic(traffic) => self.go_on(traffic),
            Action::Fault(fault) => {
                self.note("FAULT", || format!("{fault:?}"));
                self.strike(fault);
            }
        }
    }

    fn go_on(&mut self, traffic: &Traffic) {
        match traffic {
            Traffic::Ask(ask) => self.ask(ask),
            Traffic::AskAgain { back } => {
                if let Some(index) = self.ledger.asked.len().checked_sub(back + 1) {
                    self.ask_again(index);
                }
            }
            Traffic::Forge { named } => self.forge(*named),
            Traffic::Report { device } => {
                let (device, property) = Devices::property(*device);
                let payload = format!("seen {}", self.now.as_millis());
                self.report(device, property, payload.into());
            }
            Traffic::NeighbourDies => self.neighbour_dies(),
            Traffic::NeighbourReturns => self.neighbour_returns(),
        }
    }

    fn strike(&mut self, fault: &Fault) {
        match fault {
            Fault::Cut { up, down } => self.cut(*up, *down),
            Fault::HalfOpen => {
                if self.connection().is_some() {
                    self.reach(Reached::HalfOpen);
                }
                self.fall_silent();
            }
            Fault::NetworkDown { lasts } => {
                self.reach(Reached::NetworkDown);
                self.network_up = false;
                self.fall_silent();
                self.after(*lasts, Timer::NetworkUp);
            }
            Fault::Crash { durable, up, devices_survive, away, damage } => {
                self.crash(*durable, *up, *devices_survive, *away, *damage);
            }
            Fault::Reboot { durable, away } => self.reboot(*durable, *away),
            Fault::Shutdown { away } => self.shut_down(*away),
            Fault::BrokerRestart { announced, keeps_session, keeps_retained, wills, away } => {
                self.restart_broker(*announced, *keeps_session, *keeps_retained, *wills, *away);
            }
            Fault::SessionLost => {
                if self.broker.up {
                    self.broker.lose_session(self.now);
                    self.carry_out_effects();
                }
            }
            Fault::TakeOver { clean } => self.take_over(*clean),
            Fault::Refuse { reason_code, times } => self.broker.refusals = (*reason_code, *times),
            Fault::Offer(offer) => self.offer(*offer),
            Fault::ReceiveMaximum(maximum) => self.broker.receive_maximum = *maximum,
            // A flood that is held a few messages at a time would take longer than the simulation.
            Fault::ClientReceiveMaximum(_) if self.setup.flooded => {}
            Fault::ClientReceiveMaximum(maximum) => self.client_receive_maximum = *maximum,
            Fault::NetworkLatency(latency) => self.latency = *latency,
            Fault::StoreLatency(latency) => self.store.latency = *latency,
            Fault::RefusePublishes { matter, reason_code, times } => {
                self.broker.limits.publishes = Some((*matter, *reason_code, *times));
            }
            Fault::RefuseSubscriptions { filters, reason_code, times } => {
                self.broker.limits.subscribes = Some((*filters, *reason_code, *times));
            }
            Fault::MaximumPacketSize(maximum) => {
                self.broker.limits.maximum_packet_size = *maximum;
            }
            Fault::Withhold { lasts } => {
                self.reach(Reached::Withheld);
                self.broker.limits.withholds = true;
                self.after(*lasts, Timer::Acknowledge);
            }
            Fault::StoreFails { lasts } => self.fill_disk(*lasts),
            Fault::WallClock { years } => {
                self.reach(Reached::WallClock);
                let by = YEAR * years.unsigned_abs();
                self.unix = if *years < 0 { self.unix.saturating_sub(by) } else { self.unix + by };
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
            self.fates.retained_lost();
        }
        self.broker.stop(self.now, announced, keeps_session, keeps_retained, wills);
        self.carry_out_effects();
        self.after(away, Timer::StartBroker);
    }

    fn take_over(&mut self, clean: bool) {
        if self.broker.up && self.broker.session.is_some() {
            self.reach(Reached::TakenOver);
            self.fates.exempt_all();
            self.broker.take_over(self.now, clean);
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

    fn cut(&mut self, up: usize, down: usize) {
        let now = self.now;
        let Some(id) = self.connection().map(|connection| connection.id) else { return };
        if let Some(link) = self.link_mut(id) {
            link.cut(now, up, down);
            self.reach(Reached::Cuts);
        }
    }

    fn crash(
        &mut self,
        durable: usize,
        up: usize,
        devices_survive: bool,
        away: Duration,
        damage: Damage,
    ) {
        if !self.kill_daemon(durable, up, devices_survive, damage) {
            return;
        }
        match damage {
            Damage::None => self.reach(Reached::Crashes),
            Damage::Lost => {
                self.life.store += 1;
                self.reach(Reached::StoresLost);
                self.fates.exempt_all();
                self.ledger.store_lost();
            }
            Damage::Elsewhere => self.reach(Reached::StoresElsewhere),
        }
        self.after(away, Timer::StartDaemon);
    }

    fn reboot(&mut self, durable: usize, away: Duration) {
        if !self.kill_daemon(durable, 0, false, Damage::None) {
            return;
        }
        self.reach(Reached::Reboots);
        self.booted_at = self.now;
        self.rebooted = true;
        self.after(away, Timer::StartDaemon);
    }

    /// The faults stop.
    pub(super) fn heal(&mut self) {
        self.note("FAULT", || "the faults stop".into());
        self.network_up = true;
        self.latency = Duration::from_millis(1);
        self.store.latency = Duration::from_millis(2);
        self.store.is_full = false;
        self.broker.refusals = (0, 0);
        let limits = std::mem::take(&mut self.broker.limits);
        self.at(self.now, Timer::Acknowledge);
        if self.connection().is_some_and(|connection| Some(connection.id) == limits.limited) {
            self.cut(usize::MAX, usize::MAX);
        }
        if !self.broker.up {
            self.at(self.now, Timer::StartBroker);
        }
        if self.setup.required {
            self.offer(Some("alice"));
        }
        let soon = Duration::from_secs(1);
        if let Some(away) = self.daemon.as_mut().and_then(|daemon| daemon.away.as_mut()) {
            *away = soon;
        }
        self.after(soon, Timer::StartDaemon);
    }
}

const YEAR: Duration = Duration::from_secs(31_557_600);
