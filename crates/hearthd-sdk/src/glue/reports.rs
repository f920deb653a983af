//! The host's extensions with which a device reports about itself, as safe methods.

use super::HostRef;
use crate::abi::{self, ExtAccept, ExtEvent, ExtReach, Growing, Slice};

impl HostRef {
    /// Says that the device cannot reach what it stands for (R1).
    pub(crate) fn unreachable(self, reason: &str) -> i32 {
        let Some(reach) = self.reach() else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the table is the function's own, and the slice outlives the call (M1).
        unsafe { (reach.unreachable)(self.0, Slice::new(reason.as_bytes())) }
    }

    /// Says that it can again.
    pub(crate) fn reachable(self) -> i32 {
        let Some(reach) = self.reach() else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the table is the function's own.
        unsafe { (reach.reachable)(self.0) }
    }

    /// Says that something has happened at a property of type event (E1).
    pub(crate) fn event(self, property: &str, kind: &str) -> i32 {
        const _: () =
            assert!(size_of::<ExtEvent>() == ExtEvent::FIRST_SIZE, "no pointer may be zero");
        // SAFETY: the extension of this name is such a table.
        let table: Option<ExtEvent> = unsafe { self.extension(c"hearth.event/1") };
        let Some(table) = table else { return abi::ERR_UNSUPPORTED };
        let (property, kind) = (Slice::new(property.as_bytes()), Slice::new(kind.as_bytes()));
        // SAFETY: the table is the function's own, and the slices outlive the call (M1).
        unsafe { (table.event)(self.0, property, kind) }
    }

    /// Says that a command is under way (C5).
    pub(crate) fn accept(self, token: u64, within_ms: u64) -> i32 {
        const _: () =
            assert!(size_of::<ExtAccept>() == ExtAccept::FIRST_SIZE, "no pointer may be zero");
        // SAFETY: the extension of this name is such a table.
        let table: Option<ExtAccept> = unsafe { self.extension(c"hearth.accept/1") };
        let Some(table) = table else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the table is the function's own.
        unsafe { (table.accept)(self.0, token, within_ms) }
    }

    /// Returns whether the host knows declarations of type event.
    pub(crate) fn knows_events(self) -> bool {
        self.0.abi_minor >= 1
    }

    fn reach(self) -> Option<ExtReach> {
        const _: () =
            assert!(size_of::<ExtReach>() == ExtReach::FIRST_SIZE, "no pointer may be zero");
        // SAFETY: the extension of this name is such a table.
        unsafe { self.extension(c"hearth.reach/1") }
    }
}
