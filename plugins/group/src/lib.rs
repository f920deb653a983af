//! The group and the scene: one request becomes a request to each of several devices, and is answered once.
//!
//! The devices are asked side by side, as any requester would ask them, so they may be of another hub of the home. A group
//! sets the same property of each, a scene what its table says. A group tells what its devices tell; a scene has no state.

mod config;
mod group;
mod members;
mod round;
mod scene;

pub use crate::config::{GroupConfig, SceneConfig};
pub use crate::group::Group;
pub use crate::scene::Scene;

hearthd_sdk::export!(Group, Scene);
