//! The extension `hearth.children/1`, for the harness: what the host offers, and the calls of what a kind offers.

use super::test_instance::{ChildArguments, Line, TestInstance, behind, command, host};
use super::{sink, text};
use crate::abi::children::{Child, EXT_CHILDREN, HostChildren, KindChildren};
use crate::abi::{self, Growing, Host, Sink, Slice};

#[expect(clippy::cast_possible_truncation, reason = "the table has 32 bytes")]
pub(super) static CHILDREN: HostChildren =
    HostChildren { struct_size: size_of::<HostChildren>() as u32, reserved: 0, add, remove, list };

unsafe extern "C" fn add(parent: *const Host, child: *const Child, out: *mut *const Host) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(line) = (unsafe { behind(parent) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK's struct begins with its size (S1).
    let Some(lent) = (unsafe { Child::copied(child) }) else { return abi::ERR_UNSUPPORTED };
    // SAFETY: the SDK lends all texts for this call (M1).
    let [name, kind, title, room, properties] = [
        unsafe { text(lent.name) },
        unsafe { text(lent.kind) },
        unsafe { text(lent.title) },
        unsafe { text(lent.room) },
        unsafe { text(lent.properties) },
    ];
    let arguments = ChildArguments { kind, title, room, properties };
    match line.script.add_child(&name, arguments) {
        Ok(script) => {
            let (host, child) = host(script);
            if let Some(before) = line.children().insert(name, child) {
                before.end();
            }
            // SAFETY: the SDK passes a place for the host.
            unsafe { out.write(host) };
            abi::OK
        }
        Err((status, path, message)) => {
            // SAFETY: the sink is this call's.
            unsafe { sink::put(lent.errors, &path, message.as_bytes()) };
            status
        }
    }
}

unsafe extern "C" fn remove(host: *const Host, name: Slice) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(line) = (unsafe { behind(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK lends the name for this call (M1).
    let name = unsafe { text(name) };
    if let Some(child) = line.children().remove(&name) {
        child.end();
    }
    if line.script.remove_child(&name) { abi::OK } else { abi::ERR_INVALID }
}

unsafe extern "C" fn list(host: *const Host, out: Sink) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(line) = (unsafe { behind(host) }) else { return abi::ERR_GONE };
    for name in line.script.list_children() {
        // SAFETY: the sink is this call's.
        unsafe { sink::put(out, &name, &[]) };
    }
    abi::OK
}

impl Line {
    /// Ends a host: every later call does nothing.
    pub(super) fn end(&self) {
        self.gone.store(true, std::sync::atomic::Ordering::SeqCst);
        self.children().values().for_each(|child| child.end());
    }
}

impl TestInstance {
    /// Gives a child a command; a deadline of zero means none.
    pub(crate) fn command_child(
        &mut self,
        child: &str,
        token: u64,
        deadline: std::time::Duration,
        (flags, name, payload): (u32, &str, &str),
    ) -> i32 {
        let on_command = self.children().on_command.expect("the glue provides it");
        let command = command(token, deadline, (flags, name, payload.as_bytes()));
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and what is lent outlives the call.
        unsafe { on_command(self.instance, Slice::new(child.as_bytes()), &raw const command) }
    }

    pub(crate) fn timer_of_child(&mut self, child: &str, id: u32) -> i32 {
        let on_timer = self.children().on_timer.expect("the glue provides it");
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the name outlives the call.
        unsafe { on_timer(self.instance, Slice::new(child.as_bytes()), id) }
    }

    pub(crate) fn wake_child(&mut self, child: &str) -> i32 {
        let on_wake = self.children().on_wake.expect("the glue provides it");
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the name outlives the call.
        unsafe { on_wake(self.instance, Slice::new(child.as_bytes())) }
    }

    pub(crate) fn refuse_child(&mut self, child: &str, reason: &str) -> i32 {
        if let Some(child) = self.line.children().remove(child) {
            child.end();
        }
        let on_refused = self.children().on_refused.expect("the glue provides it");
        let (child, reason) = (Slice::new(child.as_bytes()), Slice::new(reason.as_bytes()));
        // SAFETY: the instance is live, `&mut self` keeps calls apart, and the texts outlive the call.
        unsafe { on_refused(self.instance, child, reason) }
    }

    fn children(&self) -> KindChildren {
        const NAME: &std::ffi::CStr = c"hearth.children/1";
        debug_assert_eq!(NAME.to_str(), Ok(EXT_CHILDREN), "one name");
        let get_extension = self.kind.get_extension.expect("the glue provides it");
        // SAFETY: the name is NUL-terminated.
        let table = unsafe { get_extension(NAME.as_ptr()) };
        // SAFETY: the extension of this name is such a table, and begins with its size.
        unsafe { KindChildren::copied(table.cast()) }.expect("the glue's table is whole")
    }
}
