//! The result of a request: a status, and the payload for the requester.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Message,
    property::{Declaration, Fault, Values},
    topic,
};

/// The status of an answer: the `__stat` user property of Azure IoT Operations' RPC protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// 200: done; the payload is the state.
    Ok,
    /// 204: done; there is no payload.
    NoContent,
    /// 400: the payload cannot be read.
    BadRequest,
    /// 404: no such device or property.
    NotFound,
    /// 408: the device did not answer before the deadline.
    Timeout,
    /// 409: the request was not carried out, or that is unknown; the [`Reason`] says which.
    Conflict,
    /// 415: the content type is not supported.
    UnsupportedContentType,
    /// 422: the value can be read and is not acceptable.
    Unprocessable,
    /// 429: a queue is full; try again later.
    Busy,
    /// 500: the device failed.
    Failed,
    /// 503: the device is not available.
    Unavailable,
    // The store has statuses by their place in this list, so a new one comes last.
    /// 202: accepted and under way; the payload is the state now, and an event tells how it ends.
    Accepted,
}

impl Status {
    /// Returns the number that is sent.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Accepted => 202,
            Self::NoContent => 204,
            Self::BadRequest => 400,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::UnsupportedContentType => 415,
            Self::Unprocessable => 422,
            Self::Busy => 429,
            Self::Failed => 500,
            Self::Unavailable => 503,
        }
    }

    /// Returns whether the request was carried out, or is being.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::NoContent | Self::Accepted)
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable => Self::BadRequest,
            Fault::NotAcceptable => Self::Unprocessable,
            Fault::ContentType => Self::UnsupportedContentType,
            Fault::Unknown => Self::NotFound,
        }
    }
}

/// Why an answer is 409, or 503 because the device is out of reach or has crashed: the user property `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It waited while the hub was away; it was not carried out.
    Stale,
    /// The hub ended while it worked on the request; nobody can tell whether it was carried out.
    Indeterminate,
    /// It was carried out, and the property has been changed since.
    Superseded,
    /// It waited in the hub behind others for too long; it was not carried out.
    Queued,
    /// The device cannot reach what it stands for; of a 503.
    Unreachable,
    /// A device that waits for its answer would be asked by it again; it was not carried out.
    Loop,
    /// The plugin crashed while it worked on the request; nobody can tell whether it was carried out; of a 503.
    Crashed,
}

impl Reason {
    /// Returns the reason as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Indeterminate => "indeterminate",
            Self::Superseded => "superseded",
            Self::Queued => "queued",
            Self::Unreachable => "unreachable",
            Self::Loop => "loop",
            Self::Crashed => "crashed",
        }
    }
}

/// The Content Type of an answer's payload (MQTT 3.3.2.3.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentType {
    /// `text/plain`.
    #[default]
    Text,
    /// `application/json`.
    Json,
}

impl ContentType {
    /// Returns the type of a property's values on the wire.
    pub fn of(declaration: &Declaration) -> Self {
        if declaration.values == Values::Json { Self::Json } else { Self::Text }
    }

    /// Returns the media type that goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Json => "application/json",
        }
    }
}

/// The one definite answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `__stat`.
    pub status: Status,
    /// The payload of a success; a failure has its facts as JSON instead.
    pub payload: Bytes,
    /// The payload's type.
    pub content_type: ContentType,
    /// `__stMsg`: what went wrong, for people.
    pub message: Option<String>,
    /// `__propName`: the property at fault.
    pub property: Option<String>,
    /// `__propVal`: the value at fault.
    pub value: Option<String>,
    /// Why it is 409, or 503.
    pub reason: Option<Reason>,
    /// What was last known, where the state now cannot be read; never in the journal, as no read is.
    #[serde(skip)]
    pub last_known: Option<Box<LastKnown>>,
}

/// What a device out of reach last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastKnown {
    /// The state, or the object of all states; null where there was none.
    pub value: serde_json::Value,
    /// Since when the device is out of reach: RFC 3339, UTC.
    pub since: String,
}

impl Answer {
    /// Answers 200 with the state as plain text.
    pub fn text(payload: impl Into<Bytes>) -> Self {
        Self::success(payload.into(), ContentType::Text)
    }

    /// Answers 200 with a JSON payload.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::success(value.to_string().into(), ContentType::Json)
    }

    /// Answers 204.
    pub fn no_content() -> Self {
        Self { status: Status::NoContent, ..Self::text("") }
    }

    /// Makes a success say that the request is under way.
    #[must_use]
    pub fn accepted(self) -> Self {
        Self { status: Status::Accepted, ..self }
    }

    /// Answers with a failure and its reason.
    pub fn failure(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), ..Self::text("") }
    }

    /// Answers 409; the text begins with the reason.
    pub fn conflict(reason: Reason, message: &str) -> Self {
        let message = format!("{}: {message}", reason.as_str());
        Self { reason: Some(reason), ..Self::failure(Status::Conflict, message) }
    }

    /// Answers 503 because the device cannot reach what it stands for.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { reason: Some(Reason::Unreachable), ..Self::failure(Status::Unavailable, message) }
    }

    /// Answers 503 because the plugin crashed while it worked on the request.
    pub fn crashed(message: impl Into<String>) -> Self {
        Self { reason: Some(Reason::Crashed), ..Self::failure(Status::Unavailable, message) }
    }

    /// Says what was known before.
    #[must_use]
    pub fn with_last_known(self, last_known: LastKnown) -> Self {
        Self { last_known: Some(Box::new(last_known)), ..self }
    }

    /// Names the property and the value at fault.
    #[must_use]
    pub fn about(mut self, property: &str, value: Option<&str>) -> Self {
        self.property = Some(property.to_owned());
        self.value = value.map(str::to_owned);
        self
    }

    /// Writes status, payload and their properties into a response.
    pub(crate) fn write_to(&self, response: &mut Message) {
        let facts = [
            ("__stMsg", &self.message),
            ("__propName", &self.property),
            ("__propVal", &self.value),
        ];
        response.user_properties.push(("__stat".into(), self.status.code().to_string()));
        for (name, value) in facts {
            if let Some(value) = value {
                response.user_properties.push((name.into(), wire_text(value)));
            }
        }
        if let Some(reason) = self.reason {
            response.user_properties.push(("reason".into(), reason.as_str().into()));
        }
        if let Some(last_known) = &self.last_known {
            response.user_properties.push(("since".into(), last_known.since.clone()));
        }
        response.utf8 = true;
        if self.status.is_success() {
            response.content_type = Some(self.content_type.as_str().into());
            response.payload = self.payload.clone();
        } else {
            response.content_type = Some(ContentType::Json.as_str().into());
            response.payload = self.failure_payload();
        }
    }

    fn failure_payload(&self) -> Bytes {
        let mut facts = serde_json::Map::new();
        facts.insert("status".into(), json!(self.status.code()));
        for (name, value) in
            [("message", &self.message), ("property", &self.property), ("value", &self.value)]
        {
            if let Some(value) = value {
                facts.insert(name.into(), json!(value));
            }
        }
        if let Some(reason) = self.reason {
            facts.insert("reason".into(), json!(reason.as_str()));
        }
        if let Some(LastKnown { value, since }) = self.last_known.as_deref() {
            facts.insert("last_known".into(), value.clone());
            facts.insert("since".into(), json!(since));
        }
        serde_json::Value::Object(facts).to_string().into()
    }

    fn success(payload: Bytes, content_type: ContentType) -> Self {
        Self {
            status: Status::Ok,
            payload,
            content_type,
            message: None,
            property: None,
            value: None,
            reason: None,
            last_known: None,
        }
    }
}

/// Replaces what a broker may refuse in a UTF-8 string: control characters and non-characters (MQTT 1.5.4).
///
/// A broker that finds one closes the connection, and would at every retry.
pub(crate) fn wire_text(text: &str) -> String {
    text.chars()
        .map(|c| if topic::is_disallowed(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
