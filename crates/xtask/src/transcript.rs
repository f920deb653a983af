//! What the demo prints: numbered steps, and under each who said what on which topic.

use hearthd_tests::{Failure, Message, Result};

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    step: u32,
    title: String,
}

impl Transcript {
    /// Begins a step.
    pub(crate) fn step(&mut self, title: impl Into<String>) {
        self.step += 1;
        self.title = title.into();
        println!("\n{}. {}", self.step, self.title);
    }

    /// Shows a message.
    pub(crate) fn message(&self, who: &str, message: &Message) {
        println!("   {who:<22} {}  {}", message.topic, message.text());
        if let Some(topic) = &message.response_topic {
            println!("   {:<22}   Response Topic    {topic}", "");
        }
        if let Some(data) = &message.correlation_data {
            println!("   {:<22}   Correlation Data  {}", "", readable(data));
        }
        if let Some(status) = message.status() {
            println!("   {:<22}   __stat            {status}", "");
        }
    }

    /// Says something about the step.
    pub(crate) fn note(&self, text: &str) {
        for line in text.lines() {
            println!("   {line}");
        }
    }

    /// Requires what the step is about.
    pub(crate) fn require(&self, holds: bool, what: &str) -> Result<()> {
        if holds { Ok(()) } else { Err(Failure(what.to_owned())) }
    }

    /// Names the step that a failure belongs to.
    pub(crate) fn blame(&self, failure: &Failure) -> String {
        format!("step {} ({}) was not seen: {failure}", self.step, self.title)
    }
}

/// Writes bytes as the text that they are, or as hexadecimal digits.
fn readable(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(u8::is_ascii_graphic) => text.to_owned(),
        Ok(_) | Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
