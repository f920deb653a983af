//! `hearthd doctor`: tests what the configured broker does.

use std::{path::Path, process::ExitCode, time::Duration};

use serde_json::{Value, json};

use super::super::{exit, fail};
use crate::{
    client::broker_check::{Finding, Verdict, check as check_broker},
    client::connection::ConnectionError,
    config::Config,
};

/// Prints what the broker does; fails where the hub could not work with it.
pub(super) fn check(config: &Path, timeout: Duration, as_json: bool) -> ExitCode {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return fail(exit::CONFIG, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::SOFTWARE, error),
    };
    let mut findings = Vec::new();
    let ended = runtime.block_on(check_broker(&config, timeout, &mut |finding: Finding| {
        if !as_json {
            say!("{:<5} {:<21} {}", word(finding.verdict), finding.subject, finding.text);
        }
        findings.push(finding);
    }));
    if as_json {
        let findings: Vec<Value> = findings.iter().map(to_json).collect();
        say!("{:#}", json!(findings));
    }
    match ended {
        Err(error @ ConnectionError::NotAuthorized(_)) => fail(exit::NOT_AUTHORIZED, error),
        Err(error @ (ConnectionError::Unavailable(_) | ConnectionError::Indistinct(_))) => {
            fail(exit::UNAVAILABLE, error)
        }
        Ok(()) if findings.iter().any(|finding| finding.verdict == Verdict::Bad) => {
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn to_json(finding: &Finding) -> Value {
    json!({
        "verdict": word(finding.verdict),
        "subject": finding.subject,
        "text": finding.text,
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Less => "note",
        Verdict::Bad => "bad",
    }
}
