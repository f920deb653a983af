//! The commands of a trial, one on each line.

use std::time::Duration;

use hearthd_core::PublishError;
use serde_json::json;

use crate::cli::parse_duration;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Describe,
    /// A request: a property or a verb, and the payload; an empty one reads.
    Request(String, String),
    Advance(Duration),
    Wait(Duration),
    /// What became of the hub's will, as JSON (A1).
    Absence(String),
    Link(bool),
    Message {
        topic: String,
        payload: String,
        retained: bool,
    },
    /// What comes back for the oldest message of the device that expects something.
    Outcome(Result<String, PublishError>),
    Save,
    Restart,
    Expect(Expectation),
    Help,
    Quit,
}

/// What must be so, or must become so while the trial waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expectation {
    /// The oldest answer that no line has expected: its status, and its payload or a part of its reason.
    Answer(u16, Option<String>),
    State(String, String),
    Event(String, String),
    Status(String, Option<String>),
    /// The topic and the payload of a message of the device.
    Sent(String, Option<String>),
    Saved(String),
    Log(String),
    Crash(Option<String>),
    Refused,
    No(Kind),
}

/// What is not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Answer,
    Event,
    Sent,
}

impl Step {
    /// Reads a line; `None` for one that is empty or a comment.
    ///
    /// # Errors
    /// Why it is no command.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (verb, rest) = split(line);
        let bare = |step: Self| match rest {
            "" => Ok(step),
            more => Err(format!("`{verb}` takes nothing more, and there is `{more}`")),
        };
        let step = match verb {
            "describe" => bare(Self::Describe)?,
            "get" if rest.is_empty() => Self::Request("get".into(), String::new()),
            "get" => Self::Request(one(rest, "get PROPERTY")?, String::new()),
            "set" if rest.starts_with('{') => Self::Request("set".into(), rest.into()),
            "set" => {
                let (property, value) = two(rest, "set PROPERTY VALUE")?;
                Self::Request(property, value)
            }
            "advance" => Self::Advance(parse_duration(rest)?),
            "wait" => Self::Wait(parse_duration(rest)?),
            "absence" => Self::Absence(absence(rest)?),
            "link" => match rest {
                "up" => Self::Link(true),
                "down" => Self::Link(false),
                _ => return Err("write `link up` or `link down`".into()),
            },
            "receive" | "retained" => {
                let (topic, payload) = split(rest);
                if topic.is_empty() {
                    return Err(format!("write `{verb} TOPIC PAYLOAD`"));
                }
                let (topic, payload) = (topic.into(), payload.into());
                Self::Message { topic, payload, retained: verb == "retained" }
            }
            "reply" => Self::Outcome(Ok(rest.into())),
            "fail" => Self::Outcome(Err(publish_error(rest)?)),
            "save" => bare(Self::Save)?,
            "restart" => bare(Self::Restart)?,
            "expect" => Self::Expect(expectation(rest)?),
            "help" => bare(Self::Help)?,
            "quit" => bare(Self::Quit)?,
            other => return Err(format!("`{other}` is no command; `help` lists them")),
        };
        Ok(Some(step))
    }
}

/// The commands, for people.
pub(super) const HELP: &str = "\
describe                       show the properties
set PROPERTY VALUE             ask for a change, as a requester does; also: set {\"PROPERTY\": VALUE, ...}
get [PROPERTY]                 read a property, or all; CHILD/PROPERTY is one of a device that this one has added
advance DURATION               set the clock forward, such as 90s or 5min, and fire the timers that are due
wait DURATION                  let real time pass, for threads and programs
absence OUTCOME                tell what became of the hub's will: consumed, unconsumed, not-published, unknown,
                               or the JSON of rule A1
link up, link down             tell of the connection to the broker; at first there is none
receive TOPIC PAYLOAD          deliver an MQTT message; retained TOPIC PAYLOAD: one that the broker had stored
reply PAYLOAD                  answer the oldest message of the device that expects a reply
fail REASON                    tell it that nothing came of the message: gone, busy, refused, too-large or late
save                           show what the device has saved
restart                        save, end the device and create it anew
expect answer STATUS [TEXT]    the next answer: its status, and its payload or a part of its reason; after 202, so also
                               the end
expect state PROPERTY VALUE    the state last published
expect event PROPERTY KIND     an event
expect status WORD [TEXT]      ready, unreachable, restarting, failed or quarantined, and a part of the reason
expect sent TOPIC [PAYLOAD]    a message of the device; of a request to another device, DEVICE/PROPERTY
expect saved TEXT              what the device has saved, or a part of it
expect log TEXT                a part of a line of the log
expect crash [TEXT]            the plugin has crashed: SIGSEGV, a panic, a call that does not return
expect refused                 the device has published what it has not declared
expect no answer, event, sent  nothing of this kind is left that no line has expected
quit                           end; so does the end of the input
";

fn expectation(text: &str) -> Result<Expectation, String> {
    let (what, rest) = split(text);
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(match what {
        "answer" => {
            let (status, text) = split(rest);
            let status = status.parse().ok().filter(|status| (100..600).contains(status));
            let status = status.ok_or("write `expect answer STATUS`, such as 200 or 422")?;
            Expectation::Answer(status, some(text))
        }
        "state" => {
            let (property, value) = two(rest, "expect state PROPERTY VALUE")?;
            Expectation::State(property, value)
        }
        "event" => {
            let (property, kind) = two(rest, "expect event PROPERTY KIND")?;
            Expectation::Event(property, kind)
        }
        "status" => {
            let (word, text) = split(rest);
            let statuses = crate::device::STATUSES;
            if !statuses.contains(&word) {
                return Err(format!("`{word}` is no status; there are {}", statuses.join(", ")));
            }
            Expectation::Status(word.into(), some(text))
        }
        "sent" if !rest.is_empty() => {
            let (topic, payload) = split(rest);
            Expectation::Sent(topic.into(), some(payload))
        }
        "saved" if !rest.is_empty() => Expectation::Saved(rest.into()),
        "log" if !rest.is_empty() => Expectation::Log(rest.into()),
        "crash" => Expectation::Crash(some(rest)),
        "refused" if rest.is_empty() => Expectation::Refused,
        "no" => Expectation::No(match rest {
            "answer" => Kind::Answer,
            "event" => Kind::Event,
            "sent" => Kind::Sent,
            _ => return Err("write `expect no answer`, `no event` or `no sent`".into()),
        }),
        _ => {
            return Err(
                "write `expect` with answer, state, event, status, sent, saved, log, crash, refused or no".into()
            );
        }
    })
}

/// Writes an outcome of the will as plugins get it; JSON is taken as it is.
fn absence(text: &str) -> Result<String, String> {
    if text.starts_with('{') {
        let read = serde_json::from_str::<serde_json::Value>(text);
        return read.map(|json| json.to_string()).map_err(|error| error.to_string());
    }
    if !["consumed", "unconsumed", "not-published", "unknown"].contains(&text) {
        return Err("write `absence` with consumed, unconsumed, not-published or unknown".into());
    }
    let somebody = json!({
        "responder": "guard", "payload": "OK", "status": 200, "before_fence": true,
    });
    let acknowledgements = if text == "consumed" { vec![somebody] } else { Vec::new() };
    let absence = json!({
        "generation": "aaaaaaaa", "outcome": text, "published": if text == "not-published" { "no" } else { "yes" },
        "session_kept": true, "clean": false, "connected_at": "2026-01-01T00:00:00Z",
        "decided_at": "2026-01-01T00:01:00Z", "acknowledgements": acknowledgements,
    });
    Ok(absence.to_string())
}

fn publish_error(text: &str) -> Result<PublishError, String> {
    Ok(match text {
        "gone" => PublishError::Gone,
        "busy" => PublishError::Busy,
        "refused" => PublishError::Refused,
        "too-large" => PublishError::TooLarge,
        "late" => PublishError::Late,
        _ => return Err("write `fail` with gone, busy, refused, too-large or late".into()),
    })
}

fn split(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim()))
}

fn one(text: &str, usage: &str) -> Result<String, String> {
    match split(text) {
        (word, "") if !word.is_empty() => Ok(word.into()),
        _ => Err(format!("write `{usage}`")),
    }
}

fn two(text: &str, usage: &str) -> Result<(String, String), String> {
    match split(text) {
        (first, rest) if !rest.is_empty() => Ok((first.into(), rest.into())),
        _ => Err(format!("write `{usage}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Step) {
        assert_eq!(Step::parse(line), Ok(Some(expected)), "{line}");
    }

    #[test]
    fn a_line_is_a_command() {
        let request =
            |property: &str, payload: &str| Step::Request(property.into(), payload.into());
        check("set power ON", request("power", "ON"));
        check("  set  title  two words ", request("title", "two words"));
        check(r#"set {"power": "ON"}"#, request("set", r#"{"power": "ON"}"#));
        check("get", request("get", ""));
        check("get power", request("power", ""));
        check("advance 1min 30s", Step::Advance(Duration::from_secs(90)));
        check("expect answer 204", Step::Expect(Expectation::Answer(204, None)));
        check("expect sent z/lamp", Step::Expect(Expectation::Sent("z/lamp".into(), None)));
        let message = |retained| Step::Message {
            topic: "z/lamp".into(),
            payload: "{\"a\": 1}".into(),
            retained,
        };
        check("receive z/lamp {\"a\": 1}", message(false));
        check("retained z/lamp {\"a\": 1}", message(true));
        assert_eq!(Step::parse("# a comment"), Ok(None));
        assert_eq!(Step::parse(""), Ok(None));
    }

    #[test]
    fn what_is_no_command_is_refused_with_what_to_write() {
        for (line, said) in [
            ("sett power ON", "`sett` is no command"),
            ("set power", "write `set PROPERTY VALUE`"),
            ("restart now", "takes nothing more"),
            ("advance soon", "expected number"),
            ("absence eaten", "consumed, unconsumed"),
            ("absence {", "EOF"),
            ("link", "link up"),
            ("expect", "write `expect` with"),
            ("expect answer OK", "such as 200"),
            ("expect status fine", "ready, unreachable"),
            ("expect no state", "no event"),
            ("receive", "TOPIC PAYLOAD"),
            ("fail", "gone, busy"),
        ] {
            let error = Step::parse(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn an_outcome_in_one_word_is_an_absence_that_the_sdk_reads() {
        for (word, acted) in [("consumed", true), ("unconsumed", false)] {
            let absence: hearthd_sdk::Absence =
                serde_json::from_str(&absence(word).unwrap()).unwrap();
            assert_eq!(absence.somebody_acted(), acted);
        }
    }
}
