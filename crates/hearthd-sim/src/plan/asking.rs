//! Devices that ask other devices.

use super::{Action, Plan, Traffic};
use crate::devices::Asking;

impl Plan {
    /// Lets devices ask each other in one home in three, with steps of their own between the others.
    ///
    /// Nobody there means ill: a stranger's copy of such a request would be one more requester.
    pub(super) fn take_up_asking(&mut self) {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ APART);
        if self.setup.hostile || self.setup.flooded || rng.u8(..3) > 0 {
            return;
        }
        let in_circle = self.setup.hubs > 1 && rng.u8(..3) > 0;
        self.setup.asking = Some(if in_circle { Asking::InCircle } else { Asking::OneWay });
        for _ in 0..=self.steps.len() / ONE_IN {
            let action = Action::Traffic(Traffic::DeviceAsks { times: rng.usize(1..4) });
            self.insert(&mut rng, action);
        }
    }
}

/// So many steps have one more.
const ONE_IN: usize = 10;
/// Keeps what is drawn here apart from what else is drawn for the seed.
const APART: u64 = 0xA5CE_D0CE;
