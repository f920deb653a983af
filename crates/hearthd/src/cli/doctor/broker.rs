//! `hearthd doctor`: tests what the configured broker does.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{
    super::{
        exit, fail,
        page::{self, PageError},
    },
    Doctor,
};
use crate::{
    client::broker_check::{Finding, Verdict, check as check_broker},
    client::connection::ConnectionError,
    config::Config,
};

/// Prints what the broker does and how a phone reaches the page; fails where the hub could not work with the broker.
pub(super) fn check(doctor: &Doctor) -> ExitCode {
    let as_json = doctor.json;
    let config = match Config::load(&doctor.file.config) {
        Ok(config) => config,
        Err(error) => return fail(exit::CONFIG, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::SOFTWARE, error),
    };
    let mut findings = Vec::new();
    let ended = runtime.block_on(check_broker(&config, doctor.timeout, &mut |finding: Finding| {
        print(&finding, as_json);
        findings.push(finding);
    }));
    let page = page_for_phones(&doctor.web_config);
    print(&page, as_json);
    findings.push(page);
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

fn print(finding: &Finding, as_json: bool) {
    if !as_json {
        say!("{:<5} {:<21} {}", word(finding.verdict), finding.subject, finding.text);
    }
}

/// Finds out at which addresses of this machine a phone finds the page.
fn page_for_phones(web_config: &Path) -> Finding {
    let finding = |verdict, text: String| Finding { verdict, subject: "page for phones", text };
    if !web_config.exists() {
        let text = format!("none on this machine: there is no {}", web_config.display());
        return finding(Verdict::Less, text);
    }
    let addresses = match page::addresses(web_config) {
        Ok(addresses) => addresses,
        Err(error) => return finding(Verdict::Less, error.to_string()),
    };
    let Some(first) = addresses.first() else {
        return finding(Verdict::Less, PageError::NoNetwork.to_string());
    };
    if let Some(why) = page::unreachable(first) {
        return finding(Verdict::Less, format!("{first}: {why}"));
    }
    let text = format!("{}; let a phone in with `hearthd pair NAME`", addresses.join(" or "));
    finding(Verdict::Good, text)
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
