//! The hub as a device under test sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthd_property::{ChangeRequest, Declaration, is_name, object_of};

use super::{DEVICE, Reply, Sent, matches};
use crate::abi::children::MOST_CHILDREN;
use crate::children::ChildDeclaration;
use crate::glue::{ChildArguments, Script};
use crate::{Failure, abi, mqtt};

/// The hub as the device sees it, or one of its children.
pub(super) struct Hub {
    pub(super) declarations: BTreeMap<String, Declaration>,
    pub(super) topics: mqtt::Topics,
    pub(super) may_add: bool,
    pub(super) about: ChildDeclaration,
    pub(super) state: Mutex<TestState>,
    /// Notified of each answer.
    pub(super) answered: Condvar,
    pub(super) children: Mutex<BTreeMap<String, Arc<Self>>>,
}

#[derive(Default)]
pub(super) struct TestState {
    pub(super) now_ms: u64,
    pub(super) timers: BTreeMap<u32, u64>,
    pub(super) woken: bool,
    pub(super) published: Vec<(String, String)>,
    pub(super) taken: usize,
    pub(super) refused: Vec<(String, String)>,
    pub(super) replies: BTreeMap<u64, Reply>,
    pub(super) unreachable: Option<String>,
    pub(super) events: Vec<(String, String)>,
    pub(super) logs: Vec<String>,
    pub(super) link_up: bool,
    pub(super) sent: Vec<Sent>,
    /// The last command of a child.
    pub(super) token: u64,
}

impl Hub {
    pub(super) fn state(&self) -> MutexGuard<'_, TestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_children(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Self>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn children(&self) -> BTreeMap<String, Arc<Self>> {
        self.lock_children().clone()
    }

    /// Returns when the first timer falls due.
    pub(super) fn due(&self) -> Option<u64> {
        self.state().timers.values().copied().min()
    }

    pub(super) fn published(&self, property: &str) -> Option<String> {
        let state = self.state();
        let last = state.published.iter().rev().find(|(name, _)| name == property);
        last.map(|(_, payload)| payload.clone())
    }

    pub(super) fn take_published(&self) -> Vec<(String, String)> {
        let mut state = self.state();
        let new = state.published[state.taken..].to_vec();
        state.taken = state.published.len();
        new
    }

    /// Reads a request by the hub's own check, and returns the flags, the name and the payload of the command.
    pub(super) fn read_request(
        &self,
        device: &str,
        property: &str,
        payload: &str,
    ) -> Result<(u32, String, String), Failure> {
        if payload.is_empty() && property != "set" {
            return Err(Failure::invalid("an empty payload reads, and sets nothing"));
        }
        let request = ChangeRequest {
            device,
            declarations: &self.declarations,
            property,
            payload: payload.as_bytes(),
            content_type: None,
        };
        let changes = request
            .read(|name| self.published(name))
            .map_err(|refusal| Failure::invalid(refusal.rejection.message))?;
        Ok(match changes.iter().next() {
            Some((name, value)) if changes.len() == 1 => {
                (0, name.clone(), value.as_text().to_owned())
            }
            _ => (abi::COMMAND_SET, String::new(), object_of(&changes)),
        })
    }

    /// Takes what the call with a command has returned.
    pub(super) fn returned(&self, token: u64, status: i32) {
        match status {
            abi::PENDING => {}
            abi::ERR_PANIC => {
                self.state().replies.insert(token, Reply::Panicked);
            }
            status => {
                self.complete(token, status, "");
            }
        }
    }

    /// Takes the timer that falls due first, not after `until`, and moves the clock to it.
    pub(super) fn next_timer(&self, until: u64) -> Option<u32> {
        let mut state = self.state();
        let (&id, &due) = state.timers.iter().min_by_key(|&(_, &due)| due)?;
        if due > until {
            return None;
        }
        state.timers.remove(&id);
        state.now_ms = due.max(state.now_ms);
        Some(id)
    }
}

impl Script for Hub {
    fn log(&self, level: i32, _target: &str, message: &str) {
        let level = match level {
            abi::LOG_ERROR => "ERROR",
            abi::LOG_WARN => "WARN",
            abi::LOG_INFO => "INFO",
            abi::LOG_DEBUG => "DEBUG",
            _ => "TRACE",
        };
        self.state().logs.push(format!("{level} {message}"));
    }

    fn publish(&self, name: &str, payload: &[u8]) -> i32 {
        let payload = String::from_utf8_lossy(payload).into_owned();
        let declaration = self.declarations.get(name);
        let value = declaration.and_then(|it| it.read_state(&payload).ok());
        let mut state = self.state();
        if let Some(value) = value {
            state.published.push((name.to_owned(), value.as_text().to_owned()));
            abi::OK
        } else {
            state.refused.push((name.to_owned(), payload));
            abi::ERR_INVALID
        }
    }

    fn complete(&self, token: u64, status: i32, payload: &str) -> i32 {
        let mut state = self.state();
        match state.replies.get_mut(&token) {
            Some(reply @ (Reply::Pending | Reply::Accepted(_))) => {
                *reply = match status {
                    abi::OK => Reply::Done,
                    abi::ERR_INVALID => Reply::Failed(Failure::invalid(payload)),
                    abi::ERR_BUSY => Reply::Failed(Failure::busy(payload)),
                    abi::ERR_UNREACHABLE => Reply::Failed(Failure::unreachable(payload)),
                    abi::ERR_INDETERMINATE => Reply::Failed(Failure::indeterminate(payload)),
                    _ => Reply::Failed(Failure::failed(payload)),
                };
                drop(state);
                self.answered.notify_all();
                abi::OK
            }
            Some(_) | None => abi::ERR_GONE,
        }
    }

    fn accept(&self, token: u64, within_ms: u64) -> i32 {
        match self.state().replies.get_mut(&token) {
            Some(reply) if *reply == Reply::Pending => {
                *reply = Reply::Accepted(Duration::from_millis(within_ms));
                abi::OK
            }
            Some(_) | None => abi::ERR_GONE,
        }
    }

    fn set_timer(&self, id: u32, delay_ms: u64) -> i32 {
        let mut state = self.state();
        if delay_ms == abi::TIMER_CANCEL {
            state.timers.remove(&id);
        } else {
            let due = state.now_ms.saturating_add(delay_ms);
            state.timers.insert(id, due);
        }
        abi::OK
    }

    fn wake(&self) -> i32 {
        self.state().woken = true;
        abi::OK
    }

    fn send(&self, publication: mqtt::Publication) -> i32 {
        let mqtt::Publication { token, topic, payload, qos, retain, reply, ask, expiry, command } =
            publication;
        let payload = String::from_utf8_lossy(&payload).into_owned();
        let may = |(purpose, filter): &(&str, String)| match *purpose {
            "subscribe" | "follow" => false,
            "ask" => {
                let address = topic.split_once('/').filter(|(_, property)| is_name(property));
                ask && address.is_some_and(|(device, _)| device == filter)
            }
            _ => !ask && matches(filter, &topic),
        };
        let mut state = self.state();
        if !self.topics.pairs().iter().any(may) {
            state.refused.push((topic, payload));
            return abi::ERR_INVALID;
        }
        let open = |token| state.replies.get(&token) == Some(&Reply::Pending);
        if !state.link_up || (command != 0 && !open(command)) {
            return abi::ERR_GONE;
        }
        let belongs = command != 0;
        state.sent.push(Sent { token, topic, payload, qos, retain, reply, ask, expiry, belongs });
        abi::OK
    }

    fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    fn event(&self, name: &str, kind: &str) -> i32 {
        let fits = self.declarations.get(name).is_some_and(|it| it.has_event(kind));
        let mut state = self.state();
        let list = if fits { &mut state.events } else { &mut state.refused };
        list.push((name.to_owned(), kind.to_owned()));
        if fits { abi::OK } else { abi::ERR_INVALID }
    }

    fn reach(&self, reason: Option<String>) -> i32 {
        self.state().unreachable = reason;
        abi::OK
    }

    fn add_child(
        &self,
        name: &str,
        child: ChildArguments,
    ) -> Result<Arc<dyn Script>, (i32, String, String)> {
        if !self.may_add {
            let text = "a device that was added adds no others";
            return Err((abi::ERR_UNSUPPORTED, String::new(), text.to_owned()));
        }
        let invalid = |path: &str, message: String| (abi::ERR_INVALID, path.to_owned(), message);
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if name.is_empty() || !name.chars().all(fits) || DEVICE.len() + 1 + name.len() > LONGEST_ID
        {
            return Err(invalid("name", format!("`{name}` is no name of a child")));
        }
        let ChildArguments { kind, title, room, properties } = child;
        let declarations = Declaration::parse_all(&properties)
            .map_err(|message| invalid("properties", message))?;
        let mut children = self.lock_children();
        if !children.contains_key(name) && children.len() >= MOST_CHILDREN {
            let text = format!("there are {MOST_CHILDREN} children already");
            return Err((abi::ERR_TOO_LARGE, String::new(), text));
        }
        let about = ChildDeclaration::new(Vec::new()).kind(kind).title(title).room(room);
        let now_ms = self.state().now_ms;
        let child = Arc::new(Self {
            declarations: declarations.into_iter().map(|d| (d.name.clone(), d)).collect(),
            topics: mqtt::Topics::none(),
            may_add: false,
            about,
            state: Mutex::new(TestState { now_ms, ..TestState::default() }),
            answered: Condvar::new(),
            children: Mutex::default(),
        });
        children.insert(name.to_owned(), Arc::clone(&child));
        Ok(child)
    }

    fn remove_child(&self, name: &str) -> bool {
        self.lock_children().remove(name).is_some()
    }

    fn list_children(&self) -> Vec<String> {
        self.children().into_keys().collect()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

/// The longest ID of a device.
const LONGEST_ID: usize = 64;
