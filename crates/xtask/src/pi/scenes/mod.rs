//! What must be seen on the machine.

pub(crate) mod ends;
pub(crate) mod installed;
pub(crate) mod lights;
pub(crate) mod thermostats;

use std::time::Duration;

/// Within which a request must have moved a pin: the machine is slow, and others may use this one.
const SOON: Duration = Duration::from_secs(5);
