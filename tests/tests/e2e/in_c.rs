//! Builds plugins in C.

use std::{ffi::OsString, path::Path, time::Duration};

use hearthd_tests::{Doing, Failure, Result, built::workspace, process::run};

/// Builds a plugin of this folder with the header as it is.
pub(crate) async fn compile(source: &str, object: &Path) -> Result<()> {
    let include = workspace().join("crates/hearthd-sdk/include");
    let source = workspace().join("tests/tests/e2e").join(source);
    let mut arguments: Vec<OsString> =
        ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
            .map(OsString::from)
            .into();
    arguments.extend(["-shared", "-fPIC", "-I"].map(OsString::from));
    arguments.extend([include.into(), "-o".into(), object.into(), source.into()]);
    let compiled = run("cc", arguments, Duration::from_secs(60)).await;
    let compiled = compiled.doing("this test needs the C compiler `cc` (Debian: gcc)")?;
    if compiled.code == Some(0) { Ok(()) } else { Err(Failure(compiled.stderr)) }
}
