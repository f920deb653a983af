//! The plugins of this build.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// Returns a plugin's shared object; what it is built of is brought up to date once.
///
/// With `HEARTH_BUILT=1` in the environment, whoever set it has built already.
pub(crate) fn plugin(name: &str) -> PathBuf {
    static PROFILE: OnceLock<PathBuf> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| {
        let own = std::env::current_exe().expect("the system knows this binary");
        let profile = own.ancestors().nth(2).expect("the binary is in PROFILE/deps");
        if std::env::var_os("HEARTH_BUILT").is_none_or(|value| value != "1") {
            let mut build = Command::new(env!("CARGO"));
            build.arg("build");
            for package in [
                "hearthd-bridge",
                "hearthd-light",
                "hearthd-plugin-program",
                "hearthd-radio",
                "hearthd-rogue",
            ] {
                build.args(["--package", package]);
            }
            build.arg("--target-dir");
            build.arg(profile.parent().expect("the profile is in the target folder"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().expect("cargo runs").success(), "the plugins are not built");
        }
        profile.to_owned()
    });
    profile.join(format!("libhearthd_{name}.so"))
}

/// Returns where these bytes are in a file.
pub(crate) fn find(content: &[u8], wanted: &[u8]) -> usize {
    content.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}
