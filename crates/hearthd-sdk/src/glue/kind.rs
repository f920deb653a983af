//! The function table of one kind, made from a [`Device`].

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{HostRef, contained, host, sink, text};
use crate::abi::{self, Command, CreateArgs, ExtState, Growing, Kind, Sink, Slice};
use crate::children::ChildTable;
use crate::device::read_config;
use crate::scope::{self, Deferral};
use crate::value::Declared;
use crate::{Answer, Changes, Context, Device, Failure};

/// Returns the table of a kind.
///
/// # Panics
///
/// Panics where the kind's name cannot stand in a configuration: in a static, that is an error of the compiler.
pub const fn kind<D: Device>() -> *const Kind {
    let name = D::KIND.as_bytes();
    assert!(!name.is_empty(), "the name of the kind, `Device::KIND`, is empty");
    let mut at = 0;
    while at < name.len() {
        let fits = matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        assert!(fits, "the name of the kind, `Device::KIND`, takes a-z, 0-9, _ and - alone");
        at += 1;
    }
    Glue::<D>::KIND
}

/// The tables of a kind.
pub(super) struct Glue<D>(PhantomData<D>);

impl<D: Device> Glue<D> {
    #[expect(clippy::cast_possible_truncation, reason = "the tables have about a hundred bytes")]
    pub(super) const KIND: &'static Kind = &Kind {
        struct_size: size_of::<Kind>() as u32,
        reserved: 0,
        name: Slice::new(D::KIND.as_bytes()),
        config_schema: Slice::EMPTY,
        check_config: Some(check_config::<D>),
        describe: Some(describe::<D>),
        create: Some(create::<D>),
        destroy: Some(destroy::<D>),
        on_command: Some(on_command::<D>),
        on_timer: Some(on_timer::<D>),
        on_wake: Some(on_wake::<D>),
        on_absence: Some(on_absence::<D>),
        get_extension: Some(get_extension::<D>),
    };

    #[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
    const STATE: &'static ExtState =
        &ExtState { struct_size: size_of::<ExtState>() as u32, reserved: 0, save: save::<D> };
}

/// What the host's instance pointer leads to.
pub(super) struct Instance<D> {
    pub(super) host: HostRef,
    declared: Arc<Declared>,
    pub(super) children: Arc<ChildTable>,
    pub(super) device: D,
}

impl<D: Device> Instance<D> {
    /// Borrows an instance for one callback.
    ///
    /// # Safety
    ///
    /// `instance` came from `create` and was not destroyed, and no other call on it overlaps (T1).
    pub(super) unsafe fn borrow<'a>(instance: *mut c_void) -> &'a mut Self {
        // SAFETY: as the caller vouches.
        unsafe { &mut *instance.cast::<Self>() }
    }

    pub(super) fn call(&mut self, callback: impl FnOnce(&mut D)) -> i32 {
        let _scope = scope::enter(self.host, None);
        callback(&mut self.device);
        abi::OK
    }
}

/// Has a device, or a child, apply the changes of a command, and answers.
pub(super) fn answer(
    host: HostRef,
    token: u64,
    changes: Result<Changes, Failure>,
    set: impl FnOnce(&Changes) -> Result<Answer, Failure>,
) -> i32 {
    let _scope = scope::enter(host, Some(token));
    let result = changes.and_then(|changes| set(&changes));
    let failure = match (result, scope::deferral()) {
        (Ok(Answer::Done), Deferral::None | Deferral::Abandoned) => return abi::OK,
        (Ok(Answer::Done | Answer::Later), Deferral::Taken) => return abi::PENDING,
        (Ok(Answer::Later), Deferral::Abandoned) => Failure::failed("dropped"),
        (Ok(Answer::Later), Deferral::None) => {
            Failure::failed("the device promised an answer and deferred nothing")
        }
        (Err(failure), _) => failure,
    };
    host.fail(token, &failure);
    abi::PENDING
}

/// Reads the changes of a command.
///
/// # Safety
///
/// The host lends the name and the payload for this call (M1).
pub(super) unsafe fn read_changes(
    declared: &Arc<Declared>,
    command: &Command,
) -> Result<Changes, Failure> {
    // SAFETY: as the caller vouches.
    let payload = unsafe { command.payload.bytes() };
    let changes = if command.flags & abi::COMMAND_SET != 0 {
        Changes::of_several(declared, payload)
    } else {
        // SAFETY: as the caller vouches.
        let name = unsafe { text(command.name) };
        Changes::of_one(declared, &name, &String::from_utf8_lossy(payload))
    };
    let due = (command.deadline_ms != 0).then(|| Duration::from_millis(command.deadline_ms));
    changes.map(|changes| changes.due(due))
}

unsafe extern "C" fn check_config<D: Device>(config: Slice, errors: Sink) -> i32 {
    contained(|| {
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { config.bytes() };
        match read_config::<D>(config) {
            Ok(_) => abi::OK,
            Err(problems) => {
                // SAFETY: the sink is this callback's.
                unsafe { sink::put_problems(errors, &problems) };
                abi::ERR_INVALID
            }
        }
    })
}

unsafe extern "C" fn describe<D: Device>(config: Slice, properties: Sink) -> i32 {
    contained(|| {
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { config.bytes() };
        let Ok(config) = read_config::<D>(config) else { return abi::ERR_INVALID };
        let declared = D::properties(&config).into_iter();
        for property in declared.filter(|p| !p.is_event() || scope::host_knows_events()) {
            let declaration = property.declaration();
            // SAFETY: the sink is this callback's.
            unsafe { sink::put(properties, property.name(), declaration.as_bytes()) };
        }
        abi::OK
    })
}

unsafe extern "C" fn create<D: Device>(args: *const CreateArgs, out: *mut *mut c_void) -> i32 {
    contained(|| {
        // SAFETY: the host passes a place for the instance (F3).
        unsafe { out.write(std::ptr::null_mut()) };
        // SAFETY: the host's arguments begin with their size (S1).
        let Some(args) = (unsafe { CreateArgs::copied(args) }) else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the host stays readable until the process ends (M3).
        let Some(host) = (unsafe { HostRef::new(args.host) }) else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the host lends the ID for this call (M1).
        let device_id = unsafe { text(args.device_id) };
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { args.config.bytes() };
        // SAFETY: the host lends the state for this call (M1).
        let saved = unsafe { args.saved_state.bytes() };
        let config = match read_config::<D>(config) {
            Ok(config) => config,
            Err(problems) => {
                // SAFETY: the sink is this callback's.
                unsafe { sink::put_problems(args.errors, &problems) };
                return abi::ERR_INVALID;
            }
        };
        let _scope = scope::enter(host, None);
        let declared = Declared { properties: D::properties(&config), optional: D::OPTIONAL };
        let saved = (!saved.is_empty()).then_some(saved);
        let children = Arc::new(ChildTable::new(D::may_add(&config)));
        let context = Context::new(host, &device_id, Arc::clone(&children));
        match D::create(config, context, saved) {
            Ok(device) => {
                let instance = Box::into_raw(Box::new(Instance {
                    host,
                    declared: Arc::new(declared),
                    children,
                    device,
                }));
                // SAFETY: the host passes a place for the instance (F3).
                unsafe { out.write(instance.cast()) };
                abi::OK
            }
            Err(failure) => {
                children.clear();
                // SAFETY: the sink is this callback's.
                unsafe { sink::put(args.errors, "", failure.message().as_bytes()) };
                host::status(&failure)
            }
        }
    })
}

unsafe extern "C" fn destroy<D: Device>(instance: *mut c_void) {
    contained(|| {
        // SAFETY: the pointer came from `create`, and no call follows (T1).
        let instance = unsafe { Box::from_raw(instance.cast::<Instance<D>>()) };
        let _scope = scope::enter(instance.host, None);
        instance.children.clear();
        drop(instance);
        abi::OK
    });
}

unsafe extern "C" fn on_command<D: Device>(instance: *mut c_void, command: *const Command) -> i32 {
    contained(|| {
        // SAFETY: the host's command begins with its size (S1).
        let Some(command) = (unsafe { Command::copied(command) }) else {
            return abi::ERR_UNSUPPORTED;
        };
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends what the command has for this call (M1).
        let changes = unsafe { read_changes(&instance.declared, &command) };
        answer(instance.host, command.token, changes, |changes| instance.device.set(changes))
    })
}

unsafe extern "C" fn on_timer<D: Device>(instance: *mut c_void, timer_id: u32) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        instance.call(|device| device.timer(timer_id))
    })
}

unsafe extern "C" fn on_wake<D: Device>(instance: *mut c_void) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        instance.call(D::wake)
    })
}

unsafe extern "C" fn on_absence<D: Device>(instance: *mut c_void, absence: Slice) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends the report for this call (M1).
        let absence = unsafe { absence.bytes() };
        match serde_json::from_slice(absence) {
            Ok(absence) => instance.call(|device| device.absence(&absence)),
            Err(_) => abi::ERR_INVALID,
        }
    })
}

unsafe extern "C" fn get_extension<D: Device>(id: *const c_char) -> *const c_void {
    if id.is_null() {
        return std::ptr::null();
    }
    // SAFETY: the host passes a NUL-terminated name.
    let id = unsafe { CStr::from_ptr(id) };
    if id.to_bytes() == abi::EXT_STATE.as_bytes() {
        (&raw const *Glue::<D>::STATE).cast()
    } else if id.to_bytes() == abi::mqtt::EXT_MQTT.as_bytes() {
        (&raw const *Glue::<D>::MQTT).cast()
    } else if id.to_bytes() == abi::EXT_SECRET.as_bytes() {
        (&raw const *Glue::<D>::SECRET).cast()
    } else if id.to_bytes() == abi::children::EXT_CHILDREN.as_bytes() {
        (&raw const *Glue::<D>::CHILDREN).cast()
    } else {
        std::ptr::null()
    }
}

unsafe extern "C" fn save<D: Device>(instance: *mut c_void, out: Sink) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        let mut saved = None;
        instance.call(|device| saved = device.save());
        if let Some(state) = saved {
            // SAFETY: the sink is this callback's.
            unsafe { sink::put(out, "", &state) };
        }
        abi::OK
    })
}
