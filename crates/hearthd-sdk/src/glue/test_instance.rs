//! The host's side of the tables, for the harness: it drives a kind as the hub does.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::init;
use super::kind::Glue;
use super::sink::{Pairs, collect};
use super::test_reports::get_extension;
use super::text;
use crate::abi::mqtt::{
    KindMqtt, MESSAGE_RETAINED, Message, PUBLISH_ASK, PUBLISH_EXPECT_REPLY, PUBLISH_RETAIN,
    Publication,
};
use crate::abi::{self, Command, CreateArgs, ExtState, Growing, Host, Kind, Slice};
use crate::{Device, mqtt};

/// The host that the harness plays.
pub(crate) trait Script: Send + Sync {
    fn log(&self, level: i32, target: &str, message: &str);
    fn publish(&self, property: &str, payload: &[u8]) -> i32;
    fn complete(&self, token: u64, status: i32, payload: &str) -> i32;
    fn set_timer(&self, id: u32, delay_ms: u64) -> i32;
    fn wake(&self) -> i32;
    fn now_ms(&self) -> u64;
    fn accept(&self, token: u64, within_ms: u64) -> i32;
    /// Takes why the device cannot reach what it stands for; none where it can.
    fn reach(&self, reason: Option<String>) -> i32;
    fn event(&self, property: &str, kind: &str) -> i32;
    fn send(&self, publication: mqtt::Publication) -> i32;
    /// Adds a child; else a status, a path and a message.
    fn add_child(
        &self,
        name: &str,
        child: ChildArguments,
    ) -> Result<Arc<dyn Script>, (i32, String, String)>;
    /// Removes a child; returns whether there was one.
    fn remove_child(&self, name: &str) -> bool;
    fn list_children(&self) -> Vec<String>;
}

/// What a child is to everybody outside, as the host gets it.
pub(crate) struct ChildArguments {
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) room: String,
    /// JSON.
    pub(crate) properties: String,
}

/// Checks a configuration through the table.
pub(crate) fn check_config<D: Device>(config: &[u8]) -> (i32, Pairs) {
    let check = Glue::<D>::KIND.check_config.expect("the glue provides it");
    // SAFETY: slice and sink outlive the call.
    collect(|sink| unsafe { check(Slice::new(config), sink) })
}

/// Describes a device through the table.
pub(crate) fn describe<D: Device>(config: &[u8]) -> (i32, Pairs) {
    let describe = Glue::<D>::KIND.describe.expect("the glue provides it");
    // SAFETY: slice and sink outlive the call.
    collect(|sink| unsafe { describe(Slice::new(config), sink) })
}

/// One instance behind the table; dropping it destroys the instance.
pub(crate) struct TestInstance {
    pub(super) kind: &'static Kind,
    pub(super) instance: *mut c_void,
    pub(super) line: &'static Line,
}

/// What a host's context leads to; never freed (M3).
pub(super) struct Line {
    pub(super) script: Arc<dyn Script>,
    pub(super) gone: AtomicBool,
    children: Mutex<BTreeMap<String, &'static Self>>,
}

impl Line {
    /// Returns the hosts of the children, by name.
    pub(super) fn children(&self) -> MutexGuard<'_, BTreeMap<String, &'static Self>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestInstance {
    /// Creates an instance, or returns the status and the errors.
    pub(crate) fn create<D: Device>(
        script: Arc<dyn Script>,
        device_id: &str,
        config: &[u8],
        saved: &[u8],
    ) -> Result<Self, (i32, Pairs)> {
        let kind = Glue::<D>::KIND;
        let (host, line) = host(script);
        // SAFETY: the host is never freed.
        let status = unsafe { init(host) };
        assert_eq!(status, abi::OK, "init accepts the harness's host");
        let create = kind.create.expect("the glue provides it");
        let mut instance = std::ptr::null_mut();
        let (status, errors) = collect(|errors| {
            #[expect(clippy::cast_possible_truncation, reason = "about a hundred bytes")]
            let args = CreateArgs {
                struct_size: size_of::<CreateArgs>() as u32,
                reserved: 0,
                host,
                device_id: Slice::new(device_id.as_bytes()),
                config: Slice::new(config),
                saved_state: Slice::new(saved),
                errors,
            };
            // SAFETY: the arguments outlive the call, and the host is never freed.
            unsafe { create(&raw const args, &raw mut instance) }
        });
        if status == abi::OK { Ok(Self { kind, instance, line }) } else { Err((status, errors)) }
    }

    /// Gives a command; a deadline of zero means none.
    pub(crate) fn command(
        &mut self,
        token: u64,
        deadline: Duration,
        flags: u32,
        name: &str,
        payload: &[u8],
    ) -> i32 {
        let on_command = self.kind.on_command.expect("the glue provides it");
        let command = command(token, deadline, (flags, name, payload));
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the command outlives the call.
        unsafe { on_command(self.instance, &raw const command) }
    }

    pub(crate) fn timer(&mut self, id: u32) -> i32 {
        let on_timer = self.kind.on_timer.expect("the glue provides it");
        // SAFETY: the instance is live, and `&mut self` keeps calls apart.
        unsafe { on_timer(self.instance, id) }
    }

    pub(crate) fn wake(&mut self) -> i32 {
        let on_wake = self.kind.on_wake.expect("the glue provides it");
        // SAFETY: the instance is live, and `&mut self` keeps calls apart.
        unsafe { on_wake(self.instance) }
    }

    pub(crate) fn absence(&mut self, absence: &[u8]) -> i32 {
        let on_absence = self.kind.on_absence.expect("the glue provides it");
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the slice outlives the call.
        unsafe { on_absence(self.instance, Slice::new(absence)) }
    }

    pub(crate) fn message(&mut self, message: &mqtt::Message) -> i32 {
        let on_message = self.mqtt().on_message.expect("the glue provides it");
        #[expect(clippy::cast_possible_truncation, reason = "about forty bytes")]
        let lent = Message {
            struct_size: size_of::<Message>() as u32,
            flags: if message.retained { MESSAGE_RETAINED } else { 0 },
            topic: Slice::new(message.topic.as_bytes()),
            payload: Slice::new(&message.payload),
        };
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the message outlives the call.
        unsafe { on_message(self.instance, &raw const lent) }
    }

    pub(crate) fn link(&mut self, up: bool) -> i32 {
        let on_link = self.mqtt().on_link.expect("the glue provides it");
        // SAFETY: the instance is live, and `&mut self` keeps calls apart.
        unsafe { on_link(self.instance, i32::from(up)) }
    }

    pub(crate) fn outcome(&mut self, token: u64, status: i32, reply: &[u8]) -> i32 {
        let on_outcome = self.mqtt().on_outcome.expect("the glue provides it");
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the reply outlives the call.
        unsafe { on_outcome(self.instance, token, status, Slice::new(reply)) }
    }

    fn mqtt(&self) -> &'static KindMqtt {
        let get_extension = self.kind.get_extension.expect("the glue provides it");
        // SAFETY: the name is NUL-terminated.
        let mqtt = unsafe { get_extension(c"hearth.mqtt/1".as_ptr()) };
        // SAFETY: the extension of this name is a KindMqtt in a static of the plugin.
        unsafe { &*mqtt.cast::<KindMqtt>() }
    }

    pub(crate) fn save(&mut self) -> (i32, Pairs) {
        let get_extension = self.kind.get_extension.expect("the glue provides it");
        // SAFETY: the name is NUL-terminated.
        let state = unsafe { get_extension(c"hearth.state/1".as_ptr()) };
        // SAFETY: the extension of this name is an ExtState in a static of the plugin.
        let state = unsafe { &*state.cast::<ExtState>() };
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the sink outlives the call.
        collect(|sink| unsafe { (state.save)(self.instance, sink) })
    }
}

impl Drop for TestInstance {
    fn drop(&mut self) {
        let destroy = self.kind.destroy.expect("the glue provides it");
        // SAFETY: the instance is live, and nobody can call it after.
        unsafe { destroy(self.instance) };
        self.line.end();
    }
}

/// Makes a command, which lends its property's name and its payload; a deadline of zero means none.
pub(super) fn command(
    token: u64,
    deadline: Duration,
    (flags, name, payload): (u32, &str, &[u8]),
) -> Command {
    #[expect(clippy::cast_possible_truncation, reason = "about fifty bytes")]
    let struct_size = size_of::<Command>() as u32;
    let deadline_ms = u64::try_from(deadline.as_millis()).expect("a test's deadline");
    let (name, payload) = (Slice::new(name.as_bytes()), Slice::new(payload));
    Command { struct_size, flags, token, deadline_ms, name, payload }
}

pub(super) fn host(script: Arc<dyn Script>) -> (&'static Host, &'static Line) {
    let line = Line { script, gone: AtomicBool::new(false), children: Mutex::default() };
    let line: &'static Line = Box::leak(Box::new(line));
    #[expect(clippy::cast_possible_truncation, reason = "about eighty bytes")]
    let host = Host {
        struct_size: size_of::<Host>() as u32,
        abi_minor: abi::ABI_MINOR,
        reserved: 0,
        ctx: (&raw const *line).cast_mut().cast(),
        log,
        log_enabled,
        publish,
        complete,
        set_timer,
        wake,
        now_ms,
        get_extension,
    };
    (Box::leak(Box::new(host)), line)
}

/// Returns the script behind a host, unless its instance is gone.
///
/// # Safety
///
/// `host` came from [`host`].
pub(super) unsafe fn script(host: *const Host) -> Option<&'static dyn Script> {
    // SAFETY: as the caller vouches.
    unsafe { behind(host) }.map(|line| &*line.script)
}

/// Returns what is behind a host, unless its instance is gone.
///
/// # Safety
///
/// As for [`script`].
pub(super) unsafe fn behind(host: *const Host) -> Option<&'static Line> {
    // SAFETY: the host is never freed.
    let ctx = unsafe { (*host).ctx };
    // SAFETY: the context is a line that is never freed.
    let line: &'static Line = unsafe { &*ctx.cast::<Line>() };
    (!line.gone.load(Ordering::SeqCst)).then_some(line)
}

unsafe extern "C" fn log(host: *const Host, level: i32, target: Slice, message: Slice) {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return };
    // SAFETY: the SDK lends the target for this call (M1).
    let target = unsafe { text(target) };
    // SAFETY: the SDK lends the message for this call (M1).
    let message = unsafe { text(message) };
    script.log(level, &target, &message);
}

unsafe extern "C" fn log_enabled(_: *const Host, _: i32) -> i32 {
    1
}

unsafe extern "C" fn publish(host: *const Host, name: Slice, payload: Slice, _: u32) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK lends the name for this call (M1).
    let name = unsafe { text(name) };
    // SAFETY: the SDK lends the payload for this call (M1).
    script.publish(&name, unsafe { payload.bytes() })
}

unsafe extern "C" fn complete(host: *const Host, token: u64, status: i32, payload: Slice) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK lends the payload for this call (M1).
    script.complete(token, status, &unsafe { text(payload) })
}

unsafe extern "C" fn set_timer(host: *const Host, id: u32, delay_ms: u64) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    unsafe { script(host) }.map_or(abi::ERR_GONE, |script| script.set_timer(id, delay_ms))
}

unsafe extern "C" fn wake(host: *const Host) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    unsafe { script(host) }.map_or(abi::ERR_GONE, Script::wake)
}

unsafe extern "C" fn now_ms(host: *const Host) -> u64 {
    // SAFETY: the SDK passes the host it was given.
    unsafe { script(host) }.map_or(0, Script::now_ms)
}

pub(super) unsafe extern "C" fn send(host: *const Host, publication: *const Publication) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK's struct begins with its size (S1).
    let Some(lent) = (unsafe { Publication::copied(publication) }) else {
        return abi::ERR_UNSUPPORTED;
    };
    // SAFETY: the SDK lends the payload for this call (M1).
    let payload = unsafe { lent.payload.bytes() }.to_vec();
    script.send(mqtt::Publication {
        token: lent.token,
        // SAFETY: the SDK lends the topic for this call (M1).
        topic: unsafe { text(lent.topic) },
        payload,
        qos: if lent.qos == 0 { mqtt::QoS::AtMostOnce } else { mqtt::QoS::AtLeastOnce },
        retain: lent.flags & PUBLISH_RETAIN != 0,
        reply: lent.flags & PUBLISH_EXPECT_REPLY != 0,
        ask: lent.flags & PUBLISH_ASK != 0,
        expiry: Duration::from_millis(lent.expiry_ms),
        command: lent.command,
    })
}
