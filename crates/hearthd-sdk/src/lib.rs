//! What a device plugin author for hearthd sees.
//!
//! A plugin is a `cdylib` crate with one type per kind of device and one [`export!`] line. The author writes
//! no `unsafe`, no async and no topic of the hub's:
//!
//! ```
//! use hearthd_sdk::{Answer, Changes, Context, Device, Failure, NoConfig, Property};
//!
//! struct Plug {
//!     context: Context,
//! }
//!
//! impl Device for Plug {
//!     const KIND: &'static str = "plug";
//!     type Config = NoConfig;
//!
//!     fn properties(_: &NoConfig) -> Vec<Property> {
//!         vec![Property::switch("power")]
//!     }
//!
//!     fn create(_: NoConfig, context: Context, _saved: Option<&[u8]>) -> Result<Self, Failure> {
//!         context.publish("power", false);
//!         Ok(Self { context })
//!     }
//!
//!     fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
//!         if let Some(on) = changes.switch("power") {
//!             self.context.publish("power", on);
//!         }
//!         Ok(Answer::Done)
//!     }
//! }
//!
//! hearthd_sdk::export!(Plug);
//!
//! let mut device = hearthd_sdk::harness::TestDevice::<Plug>::new(serde_json::json!({}));
//! assert!(device.set("power", "ON").is_done());
//! assert_eq!(device.published("power").as_deref(), Some("ON"));
//! ```
//!
//! `hearthd plugin new` writes such a crate.
//!
//! # What a value is
//!
//! | declared | in Rust | payload (MQTT 3.3.3) |
//! |---|---|---|
//! | [`Property::switch`] | `bool` | `ON` or `OFF` |
//! | [`Property::integer`] | `i64` | `-7` |
//! | [`Property::number`] | `f64`, finite | `21.5` |
//! | [`Property::choice`] | `&str`, one of the words | `heat` |
//! | [`Property::text`] | `&str`, UTF-8 | as it is |
//! | [`Property::json`] | `serde_json::Value` | JSON |
//! | [`Property::event`] | no value: [`Context::event`] | JSON, on the event topic |
//!
//! Numbers are in the declared unit. The hub checks each value against the declaration, in both directions, so a device
//! sees none that does not fit, and neither does a requester.
//!
//! # What goes wrong
//!
//! A [`Failure`] is the answer to the request at hand, a [`Problem`] one line of the hub's configuration. A panic is caught
//! at the boundary: the request is answered 503, and the device created anew from what it saved.
//!
//! # Devices behind MQTT topics
//!
//! A device that stands for another one on MQTT declares its topics with [`Device::topics`], sends with
//! [`Context::send`], and hears through [`Device::message`], [`Device::outcome`] and [`Device::link`]; see [`mqtt`]. It takes
//! a request over with [`Context::defer`], and answers when the other one has confirmed it.
//!
//! # Devices that are found at run time
//!
//! A device such as a bridge to a radio says so with [`Device::may_add`], and adds and removes devices of its own with
//! [`Context::children`]: each is a value of a type that implements [`Child`].
//!
//! The `tracing` macros reach the hub's log. The binary interface beneath is [`abi`], which is
//! `include/hearth_plugin.h` in Rust; rule numbers such as C1 refer to that header.

pub mod abi;
mod absence;
mod children;
mod context;
mod device;
#[expect(unsafe_code, reason = "the boundary between safe Rust and the C ABI")]
mod glue;
pub mod harness;
mod log;
pub mod mqtt;
mod property;
mod scope;
mod secret;
mod span;
mod value;

pub use absence::{Absence, Acknowledgement, Outcome};
pub use children::{Child, ChildDeclaration, Children};
pub use context::{Context, Deferred};
pub use device::{Answer, Device, Failure, FailureKind, NoConfig, Problem, Problems};
pub use property::{Property, PropertyTable};
pub use secret::Secret;
pub use span::Span;
pub use value::{Changes, Value};

#[doc(hidden)]
pub mod export {
    //! What [`export!`](crate::export) expands to.
    pub use crate::glue::{BUILD, Exported, entry, kind};

    /// The compiler of the SDK, and so of the plugin.
    pub const TOOLCHAIN: &str = env!("HEARTH_TOOLCHAIN");
}

/// Exports the plugin's kinds under the symbol that the hub looks for (L1).
///
/// Takes one or more types that implement [`Device`]. The plugin's name is the package's name without a
/// leading `hearthd-`, its version the package's.
#[macro_export]
macro_rules! export {
    ($($device:ty),+ $(,)?) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub static hearth_plugin_entry_v1: $crate::export::Exported = {
            const KINDS: &[*const $crate::abi::Kind] =
                &[$($crate::export::kind::<$device>(),)+ ::core::ptr::null()];
            $crate::export::entry(
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                $crate::export::TOOLCHAIN,
                ::core::cfg!(panic = "abort"),
                KINDS,
            )
        };

        // Whoever exports twice is told once.
        const _: () = {
            #[unsafe(no_mangle)]
            pub static hearth_plugin_build_v1: $crate::abi::Build = $crate::export::BUILD;
        };
    };
}
