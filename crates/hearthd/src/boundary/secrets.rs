//! The extension of a kind that says where a table has secrets (K1).

#![expect(unsafe_code, reason = "the plugin ABI is C: calling it is unsafe by nature")]

use hearthd_sdk::abi::{EXT_SECRET, ExtSecret};

use super::{
    library::KindTable,
    pairs::{Pairs, sink, slice, text},
};

impl KindTable {
    /// Asks where a device's table has secrets, as JSON Pointers; a kind without the extension has none.
    ///
    /// # Errors
    /// Where the plugin fails.
    pub(crate) fn secrets(&self, config: &str) -> Result<Vec<String>, String> {
        // SAFETY: the extension of this name is such a table.
        let extension: Option<ExtSecret> = unsafe { self.extension(EXT_SECRET) };
        let Some(secrets) = extension.and_then(|extension| extension.secrets) else {
            return Ok(Vec::new());
        };
        let mut pairs = Pairs::new();
        // SAFETY: the function is the plugin's, and config and sink outlive the call.
        let status = unsafe { secrets(slice(config.as_bytes()), sink(&mut pairs)) };
        if status < 0 {
            return Err(format!("the plugin cannot name the table's secrets (status {status})"));
        }
        Ok(pairs.into_iter().map(|(place, _)| text(place)).collect())
    }
}
