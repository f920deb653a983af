//! What the hubs of a home announce, and how that changes.

use super::{Action, Fault, Plan, Traffic, pick};
use crate::{link::HubId, world::announcing::Announces};

impl Plan {
    /// Lets two homes in three announce their devices, with steps of their own between the others.
    ///
    /// All other steps, and when they come, are as in a home that announces nothing.
    pub(super) fn take_up_announcements(&mut self) {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ APART);
        if rng.u8(..3) == 0 {
            return;
        }
        self.setup.announces = announces(&mut rng);
        for _ in 0..=self.steps.len() / ONE_IN {
            let action = match rng.u8(..3) {
                0 => Action::Traffic(Traffic::AssistantStarts { base: rng.usize(..) }),
                _ => Action::Fault(HubId(rng.usize(..)), Fault::Announces(announces(&mut rng))),
            };
            self.insert(&mut rng, action);
        }
    }
}

/// Draws what a hub announces, and where.
fn announces(rng: &mut fastrand::Rng) -> Option<Announces> {
    let base = *pick(rng, &[0, 0, 0, 1]);
    let without = rng.bool().then(|| rng.usize(..3));
    (rng.u8(..3) > 0).then_some(Announces { base: Announces::BASES[base], without })
}

/// So many steps have one more.
const ONE_IN: usize = 50;
/// Keeps what is drawn here apart from what else is drawn for the seed.
const APART: u64 = 0xA220_0CE5;
