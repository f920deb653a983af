//! `[[code]]` of the accounts file: the pairing codes.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use hearthd_config::{Reader, Section, wrong_type};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::PasswordHash,
    pairing::{PairingCode, Sealed, seconds_left},
};

/// Pairing codes by the names of their accounts.
pub(super) type Codes = BTreeMap<Arc<str>, PairingCode>;

/// One `[[code]]`, as `hearth-broker account code` writes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WrittenCode {
    /// User name of the account, which may be one of the configuration file.
    pub account: String,
    /// Argon2 hash of the code.
    pub hash: String,
    /// When the code ends, in seconds since 1970.
    pub until: u64,
    /// The password of the account, sealed with the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

impl WrittenCode {
    /// Returns whether nobody can log in with it any more.
    pub(crate) fn has_ended(&self, now: SystemTime) -> bool {
        seconds_left(self.until, now) == 0
    }
}

/// Reads the codes. One of an account that is gone does no harm: nobody can log in with it.
pub(super) fn codes(reader: &mut Reader, root: &mut Section<'_>) -> Codes {
    let mut codes = Codes::new();
    for mut section in reader.sections(root, "code") {
        let account = reader.text(&mut section, "account");
        let hash = reader.parsed(&mut section, "hash", |value| {
            let text = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
            PasswordHash::parse(text).map_err(|fault| fault.to_string())
        });
        let until = reader.parsed(&mut section, "until", |value| {
            let number = value.as_integer().and_then(|number| number.as_str().parse().ok());
            number.ok_or_else(|| wrong_type("a number of seconds since 1970", value))
        });
        let sealed = reader.parsed(&mut section, "sealed", |value| {
            let sealed = value.as_str().and_then(Sealed::parse);
            sealed.ok_or_else(|| "is no sealed password; make another code".to_owned())
        });
        for key in ["account", "hash", "until"] {
            reader.require(&section, key);
        }
        reader.finish(section);
        if let (Some(account), Some(hash), Some(until)) = (account, hash, until) {
            codes.insert(account.into(), PairingCode { hash, until, sealed });
        }
    }
    codes
}
