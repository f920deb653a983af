//! `cargo xtask test`: everything that can be tested on this machine, and nothing skipped.

use hearthd_tests::{Result, built};

use crate::provision::{Need, provide, succeed};

/// Sees to it that what the tests need is there, builds, and runs every test.
pub(crate) fn test() -> Result<()> {
    provide("testing", NEEDS)?;
    run(&["build", "--workspace"])?;
    run(&["test", "--workspace"])?;
    // The page in a browser: it loads, and one tap is confirmed. `nightly phone` has the rest.
    match provide("the page in a browser", &[("chromium", "chromium")]) {
        Ok(()) => run(&["test", "--package", "hearthd-tests", "--test", "phone", ONE_TAP]),
        Err(why) => {
            println!("xtask: NOT TESTED: the page in a browser: {why}");
            Ok(())
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    succeed(built::cargo().args(arguments).env("HEARTH_BUILT", "1"))
}

const ONE_TAP: &str = "the_page_logs_in_lists_the_devices_and_switches_the_lamp";

const NEEDS: &[Need] = &[
    ("mosquitto", "mosquitto"),
    ("mosquitto_rr", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    // The plugin header is tried with both languages.
    ("c++", "g++"),
    // Clients of other makes are installed below the build folder; the page's own tests are in JavaScript.
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    // One of those clients is built against OpenSSL.
    ("pkg-config", "pkg-config"),
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
    // The recipes of the plugin `command` are tried.
    ("curl", "curl"),
    // Thermostats of the tests live in Berlin.
    ("/usr/share/zoneinfo/Europe/Berlin", "tzdata"),
];
