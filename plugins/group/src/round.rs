//! The requests to other devices that answer one request: asked side by side, answered once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hearthd_sdk::mqtt::{Publication, PublishError, Response};
use hearthd_sdk::{Answer, Changes, Context, Deferred, Failure};

/// All requests of a device that have no answer yet.
#[derive(Debug)]
pub(crate) struct Rounds {
    context: Context,
    rounds: Vec<Round>,
    last: u64,
}

/// A request to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) device: String,
    /// `set` for several properties at once.
    pub(crate) property: String,
    pub(crate) value: String,
}

/// A request all of whose devices have answered, or can no longer.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) changes: Changes,
    /// What each device has answered.
    pub(crate) told: Vec<(String, Response)>,
    request: Deferred,
}

#[derive(Debug)]
struct Round {
    changes: Changes,
    request: Deferred,
    /// When the last answer may come, so that this one is in time.
    until: Duration,
    waiting: VecDeque<Ask>,
    /// The devices that were asked and have not answered, by token.
    open: BTreeMap<u64, String>,
    /// What each device has answered.
    told: Vec<(String, Response)>,
}

impl Ask {
    /// Makes the request that sets these values of a device.
    pub(crate) fn set<'v>(
        device: &str,
        values: impl Iterator<Item = (&'v str, serde_json::Value)>,
    ) -> Self {
        let values: serde_json::Map<String, serde_json::Value> =
            values.map(|(name, value)| (name.to_owned(), value)).collect();
        let device = device.to_owned();
        let mut list = values.iter();
        match (list.next(), list.next()) {
            (Some((name, value)), None) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Self { device, property: name.clone(), value: text }
            }
            _ => {
                let value = serde_json::Value::Object(values).to_string();
                Self { device, property: "set".to_owned(), value }
            }
        }
    }
}

impl Rounds {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, rounds: Vec::new(), last: 0 }
    }

    /// Asks the devices, and answers the present request once all have answered, or can no longer.
    pub(crate) fn begin(&mut self, changes: &Changes, asks: Vec<Ask>) -> Answer {
        let now = self.context.now();
        let left = changes.deadline().map_or(USUAL, |deadline| deadline.saturating_sub(now));
        let spare = (left / 10).clamp(LEAST_SPARE, MOST_SPARE);
        self.rounds.push(Round {
            changes: changes.clone(),
            request: self.context.defer(),
            until: now + left.saturating_sub(spare),
            waiting: asks.into(),
            open: BTreeMap::new(),
            told: Vec::new(),
        });
        for complete in self.go_on() {
            complete.answer();
        }
        Answer::Later
    }

    /// Takes what became of one request to a device; returns those that it completes, for which nobody has been answered yet.
    #[must_use]
    pub(crate) fn outcome(
        &mut self,
        token: u64,
        result: Result<&[u8], PublishError>,
    ) -> Vec<Complete> {
        for round in &mut self.rounds {
            if let Some(device) = round.open.remove(&token) {
                let response = result.map_or_else(without_answer, Response::read);
                round.told.push((device, shortened(response)));
            }
        }
        self.go_on()
    }

    /// Asks as many as may be asked at a time, and returns what is complete.
    fn go_on(&mut self) -> Vec<Complete> {
        let now = self.context.now();
        let mut open: usize = self.rounds.iter().map(|round| round.open.len()).sum();
        for round in &mut self.rounds {
            while open < AT_ONCE
                && let Some(ask) = round.waiting.pop_front()
            {
                self.last += 1;
                let result = if now < round.until {
                    let publication = Publication::ask(&ask.device, &ask.property, ask.value)
                        .token(self.last)
                        .expiry(round.until - now)
                        .belonging_to(&round.request);
                    self.context.send(&publication)
                } else {
                    Err(PublishError::Late)
                };
                match result {
                    Ok(()) => {
                        round.open.insert(self.last, ask.device);
                        open += 1;
                    }
                    Err(error) => round.told.push((ask.device, not_asked(error))),
                }
            }
        }
        let is_complete = |round: &mut Round| round.waiting.is_empty() && round.open.is_empty();
        let complete = self.rounds.extract_if(.., is_complete);
        complete
            .map(|Round { changes, told, request, .. }| Complete { changes, told, request })
            .collect()
    }
}

impl Complete {
    /// Answers it: done, if every device has done it.
    pub(crate) fn answer(self) {
        match verdict(&self.told) {
            None => self.request.done(),
            Some(failure) => self.request.fail(&failure),
        }
    }
}

/// Keeps the beginning of what a device says: of all members together, nobody reads more.
fn shortened(response: Response) -> Response {
    let beginning = |text: String| match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    };
    let Response { status, payload, message, reason } = response;
    let (payload, message) = (beginning(payload), beginning(message));
    Response { status, payload, message, reason: beginning(reason) }
}

/// Says what a device that was not asked is taken to have answered.
fn not_asked(error: PublishError) -> Response {
    let (status, message) = match error {
        PublishError::Gone => (503, "not asked: the hub has no connection to the broker"),
        PublishError::Busy => (429, "not asked: too many requests are under way"),
        PublishError::Refused => (500, "not asked: the broker refuses it"),
        PublishError::TooLarge => (422, "not asked: the value is too large"),
        PublishError::Late => (503, "not asked: there was no time left"),
    };
    Response { status, message: message.to_owned(), ..Response::default() }
}

/// Likewise one that has not answered: nobody can tell what it has done, unless the broker did not take the request.
fn without_answer(error: PublishError) -> Response {
    match error {
        PublishError::Refused | PublishError::TooLarge | PublishError::Busy => not_asked(error),
        PublishError::Gone | PublishError::Late => {
            Response { status: 408, message: "no answer".to_owned(), ..Response::default() }
        }
    }
}

/// Returns why not all devices have done it: the worst of their statuses, with what each has answered.
fn verdict(told: &[(String, Response)]) -> Option<Failure> {
    let (failed, done): (Vec<_>, Vec<_>) =
        told.iter().partition(|(_, response)| !response.is_success());
    let worst = failed.iter().map(|(_, response)| passed_on(response.status)).max()?;
    let each = failed.into_iter().chain(done).map(|(device, response)| {
        let Response { status, message, payload, .. } = response;
        let said = if message.is_empty() { payload } else { message };
        let space = if said.is_empty() { "" } else { " " };
        format!("{device}: {status}{space}{said}")
    });
    let text = each.collect::<Vec<_>>().join("; ");
    Some(match worst {
        503 => Failure::unreachable(text),
        429 => Failure::busy(text),
        422 => Failure::invalid(text),
        409 => Failure::indeterminate(text),
        _ => Failure::failed(text),
    })
}

/// Returns the status with which a device's failure is passed on.
fn passed_on(status: u16) -> u16 {
    match status {
        503 | 429 | 422 => status,
        400 => 422,
        // It may have been carried out.
        408 | 409 => 409,
        _ => 500,
    }
}

/// How many characters of what one device says are passed on.
const LONGEST: usize = 200;
/// Requests that are under way at a time.
const AT_ONCE: usize = 8;
/// How long a request may take that does not say so.
const USUAL: Duration = Duration::from_secs(5);
/// What is left of a request's time for its own answer: a tenth, within these bounds.
const LEAST_SPARE: Duration = Duration::from_millis(50);
const MOST_SPARE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use hearthd_sdk::FailureKind;

    use super::*;

    #[test]
    fn of_a_long_answer_the_beginning_is_passed_on() {
        let long = "é".repeat(10_000);
        let response = Response { status: 500, message: long, ..Response::default() };
        assert_eq!(shortened(response).message, format!("{}...", "é".repeat(200)));
        let (_, short) = told("attic", 500, "why");
        assert_eq!(shortened(short.clone()), short);
    }

    fn told(device: &str, status: u16, message: &str) -> (String, Response) {
        let response = Response { status, message: message.to_owned(), ..Response::default() };
        (device.to_owned(), response)
    }

    #[test]
    fn the_worst_status_is_the_answer_and_each_device_is_named() {
        let on = (
            "hall".to_owned(),
            Response { status: 200, payload: "ON".into(), ..Response::default() },
        );
        assert_eq!(verdict(&[on.clone(), told("attic", 204, "")]), None);
        let kinds = [
            (503, FailureKind::Unreachable),
            (404, FailureKind::Failed),
            (500, FailureKind::Failed),
            (429, FailureKind::Busy),
            (422, FailureKind::Invalid),
            (400, FailureKind::Invalid),
            (409, FailureKind::Indeterminate),
            (408, FailureKind::Indeterminate),
        ];
        for (status, kind) in kinds {
            let failure = verdict(&[on.clone(), told("attic", status, "why")]).unwrap();
            assert_eq!(failure.kind(), kind, "{status}");
            assert_eq!(failure.message(), format!("attic: {status} why; hall: 200 ON"));
        }
        let failure =
            verdict(&[told("one", 409, ""), told("two", 503, ""), told("three", 429, "")]);
        assert_eq!(failure.unwrap().kind(), FailureKind::Unreachable);
    }
}
