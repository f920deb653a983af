//! The page for the phone, in Debian's Chromium.

use hearthd_tests::{Result, built::cargo};

use super::child;
use crate::provision::{Need, provide};

/// Runs the tests of the page in a browser; their pictures go to `target/phone`.
pub(super) async fn phone() -> Result<()> {
    provide("the page in a browser", NEEDS)?;
    let arguments =
        ["test", "--package", "hearthd-tests", "--test", "phone", "--", "--test-threads=2"];
    child::succeed(&format!("cargo {}", arguments.join(" ")), cargo().args(arguments)).await
}

const NEEDS: &[Need] = &[("chromium", "chromium"), ("mosquitto", "mosquitto")];
