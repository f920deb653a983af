//! The function table of the extension `hearth.secret/1` of one kind.

use super::kind::Glue;
use super::{contained, sink};
use crate::abi::{self, ExtSecret, Sink, Slice};
use crate::{Device, secret};

impl<D: Device> Glue<D> {
    #[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
    pub(super) const SECRET: &'static ExtSecret = &ExtSecret {
        struct_size: size_of::<ExtSecret>() as u32,
        reserved: 0,
        secrets: Some(secrets::<D>),
    };
}

unsafe extern "C" fn secrets<D: Device>(config: Slice, out: Sink) -> i32 {
    contained(|| {
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { config.bytes() };
        // A table that is no JSON is refused by `check_config`.
        let Ok(table) = serde_json::from_slice(config) else { return abi::OK };
        for place in secret::places::<D::Config>(&table) {
            // SAFETY: the sink is this callback's.
            unsafe { sink::put(out, &place, b"") };
        }
        abi::OK
    })
}
