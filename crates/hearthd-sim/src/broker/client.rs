//! The broker's data about one client: its session, its will, and what it refuses this client.

use std::{rc::Rc, time::Duration};

use hearthd_core::{Message, Will};

use super::{Effect, Letter, Limits, Session, Source, WillFate};
use crate::link::{HubId, LinkId, ToHub};

/// One client of the broker: a hub.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) hub: HubId,
    /// The next so many attempts are refused, with this reason code.
    pub(crate) refusals: (u8, u32),
    pub(crate) limits: Limits,
    /// PUBACKs that are held up.
    withheld: Vec<(LinkId, ToHub)>,
    pub(crate) session: Option<Session>,
    /// A will that comes out although its client is back.
    pub(super) stray: Option<(Duration, Message)>,
    /// The wills that are published when the broker is up again.
    pub(super) postponed: Vec<Message>,
}

impl Client {
    /// Makes the client of a hub that was never connected.
    pub(super) fn new(hub: HubId) -> Self {
        Self {
            hub,
            refusals: (0, 0),
            limits: Limits::default(),
            withheld: Vec::new(),
            session: None,
            stray: None,
            postponed: Vec::new(),
        }
    }

    /// Whether this is the connection that its session uses.
    pub(super) fn uses(&self, link: LinkId) -> bool {
        self.session.as_ref().is_some_and(|session| session.link == Some(link))
    }

    /// Queues a message where the session wants it.
    pub(super) fn offer(&mut self, letter: &Rc<Letter>) {
        if let Some(session) = &mut self.session {
            let own = matches!(letter.source, Source::Hub(hub, _) if hub == self.hub);
            session.offer(letter, own);
        }
    }

    /// Closes the connection in use; returns the session that loses it.
    pub(super) fn close(
        &mut self,
        farewell: Option<u8>,
        effects: &mut impl Extend<Effect>,
    ) -> Option<&mut Session> {
        let session = self.session.as_mut()?;
        let link = session.link.take()?;
        effects.extend(farewell.map(|code| Effect::Send(link, ToHub::Disconnect(code))));
        effects.extend([Effect::Close(link)]);
        Some(session)
    }

    /// The broker goes down, and with it what it does not keep; returns whether a session is lost.
    pub(super) fn stop(&mut self, keeps_session: bool, wills: WillFate) -> bool {
        if let Some(session) = &mut self.session
            && (wills != WillFate::Kept || !keeps_session)
        {
            let will = session.will.take().map(|will| will.message);
            session.will_due = None;
            self.postponed.extend(will.filter(|_| wills != WillFate::Lost));
        }
        !keeps_session && self.session.take().is_some()
    }

    /// Returns when the broker has something to do for this client.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let session = self.session.as_ref();
        let will = session.and_then(|session| session.will_due);
        let expires = session.and_then(|session| session.expires);
        let stray = self.stray.as_ref().map(|(at, _)| *at);
        [will, expires, stray].into_iter().flatten().min()
    }

    /// Takes the will that is due because its client stays away.
    pub(super) fn take_will(&mut self) -> Option<Will> {
        let session = self.session.as_mut()?;
        session.will_due = None;
        session.will.take()
    }

    /// Sends a PUBACK, or holds it up.
    pub(super) fn acknowledge(
        &mut self,
        link: LinkId,
        puback: ToHub,
        effects: &mut impl Extend<Effect>,
    ) {
        if self.limits.withholds {
            self.withheld.push((link, puback));
        } else {
            effects.extend([Effect::Send(link, puback)]);
        }
    }

    /// Sends the PUBACKs that were held up; none is any more.
    pub(super) fn stop_withholding(&mut self, effects: &mut impl Extend<Effect>) {
        self.limits.withholds = false;
        let withheld = std::mem::take(&mut self.withheld);
        effects.extend(withheld.into_iter().map(|(link, puback)| Effect::Send(link, puback)));
    }
}
