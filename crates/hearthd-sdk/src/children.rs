//! Devices that a device adds and removes while it runs, such as those behind a bridge to a radio.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::glue::HostRef;
use crate::value::Declared;
use crate::{Answer, Changes, Context, Failure, Property};

/// One kind of device that another device adds; a value of the type is one such device.
///
/// Calls on a device and all its children never overlap (N5). A panic in any of them ends the device and all its children,
/// and the hub creates the device anew.
pub trait Child: Send + 'static {
    /// Applies all changes or none, and publishes every property whose state changed, as
    /// [`Device::set`](crate::Device::set) does.
    ///
    /// # Errors
    ///
    /// The changes are not applied: the requester gets the status and message of the [`Failure`].
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure>;

    /// Handles a timer that [`Context::set_timer`] of the child's context armed.
    fn timer(&mut self, _id: u32) {}

    /// Handles a call of [`Context::wake`] of the child's context.
    fn wake(&mut self) {}
}

/// What a child is to everybody outside.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildDeclaration {
    pub(crate) properties: Vec<Property>,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) room: String,
}

impl ChildDeclaration {
    /// Writes the properties as the hub reads them (N2).
    pub(crate) fn as_json(&self) -> String {
        let member =
            |property: &Property| format!("{:?}: {}", property.name(), property.declaration());
        let members: Vec<_> = self.properties.iter().map(member).collect();
        format!("{{{}}}", members.join(", "))
    }

    /// Declares a child with these properties; its kind and its room are the parent's.
    pub fn new(properties: Vec<Property>) -> Self {
        let (kind, title, room) = Default::default();
        Self { properties, kind, title, room }
    }

    /// Sets what it is, in a word for people such as `light`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets the name that people see.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the room that it is in.
    #[must_use]
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = room.into();
        self
    }
}

/// The children of a device; [`Context::children`] returns it.
#[derive(Clone, Copy, Debug)]
pub struct Children<'c> {
    context: &'c Context,
}

impl<'c> Children<'c> {
    pub(crate) fn new(context: &'c Context) -> Self {
        Self { context }
    }

    /// Adds a child, which is a device as any other to everybody outside; its ID is this device's, `-` and the name.
    ///
    /// `make` makes it with a context of its own: what is published, logged or set off there is the child's. The same
    /// context is returned, for whatever tells of the child. Adding a name again replaces the child, and keeps the
    /// requests that wait for it.
    ///
    /// The hub remembers children across its restarts: requests for them wait until the device has added them again.
    /// Add what is known in [`Device::create`](crate::Device::create), and remove what is in [`list`](Self::list) and is no more.
    ///
    /// # Errors
    ///
    /// [`Device::may_add`](crate::Device::may_add) says no, or this is a child itself. The name is not of `a-z`, `0-9`,
    /// `_` and `-`, or a declaration is not right. Another device has the ID. There are 256 children, or they change too
    /// fast: 512 changes at once and one a second. The hub is older than version 1.3 of the ABI.
    pub fn add<C: Child>(
        &self,
        name: &str,
        declaration: ChildDeclaration,
        make: impl FnOnce(Context) -> C,
    ) -> Result<Context, Failure> {
        let Context { host, device_id, children } = self.context;
        children.may_add()?;
        let declared = Declared { properties: declaration.properties.clone(), optional: &[] };
        let slot = Arc::new(Slot { declared: Arc::new(declared), child: Mutex::new(None) });
        // A command that comes at once waits here until the child is made.
        let mut made = slot.lock();
        let before = children.replace(name, Some(Arc::clone(&slot)));
        let added = match host.add_child(name, &declaration) {
            Ok(added) => added,
            Err(failure) => {
                children.replace(name, before);
                return Err(failure);
            }
        };
        let id = format!("{device_id}-{name}");
        let context = Context::new(added, &id, Arc::clone(children));
        *made = Some(Added { host: added, child: Box::new(make(context.clone())) });
        Ok(context)
    }

    /// Removes a child for good; its topics are cleared, and its context does nothing any more.
    ///
    /// A name that is none does nothing.
    pub fn remove(&self, name: &str) {
        self.context.host().remove_child(name);
        drop(self.context.children.replace(name, None));
    }

    /// Returns the names of the children that the hub has: those that were added, and those that it remembers and waits
    /// for.
    pub fn list(&self) -> Vec<String> {
        self.context.host().list_children()
    }
}

/// The children of one device, by name.
#[derive(Default)]
pub(crate) struct ChildTable {
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    may_add: bool,
}

/// The place of one child; nothing is in it while the child is being made.
pub(crate) struct Slot {
    pub(crate) declared: Arc<Declared>,
    child: Mutex<Option<Added>>,
}

/// One child, and its host.
pub(crate) struct Added {
    pub(crate) host: HostRef,
    pub(crate) child: Box<dyn Child>,
}

impl ChildTable {
    pub(crate) fn new(may_add: bool) -> Self {
        Self { slots: Mutex::default(), may_add }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Slot>> {
        self.lock().get(name).cloned()
    }

    /// Puts a child in the place of another; returns that, so that it is not dropped under the lock.
    pub(crate) fn replace(&self, name: &str, slot: Option<Arc<Slot>>) -> Option<Arc<Slot>> {
        let mut slots = self.lock();
        match slot {
            Some(slot) => slots.insert(name.to_owned(), slot),
            None => slots.remove(name),
        }
    }

    /// Drops all children; they hold contexts, and those hold this table.
    pub(crate) fn clear(&self) {
        let slots = std::mem::take(&mut *self.lock());
        drop(slots);
    }

    fn may_add(&self) -> Result<(), Failure> {
        let text = "`Device::may_add` says that this device adds no others";
        if self.may_add { Ok(()) } else { Err(Failure::failed(text)) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ChildTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildTable")
    }
}

impl Slot {
    /// Takes the child for one call; waits where it is being made.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Added>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
