//! Writes the log to systemd's journal: each line as text, and each of its facts as a field that can be searched.
//!
//! `tracing-journald` leaves the facts out of MESSAGE, and `journalctl` shows only MESSAGE by default.

use std::{
    ffi::OsStr,
    fmt::{self, Write as _},
    fs::File,
    io::{self, Write as _},
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// The journal of this machine.
#[derive(Debug)]
pub(crate) struct Journald {
    socket: UnixDatagram,
    address: PathBuf,
}

impl Journald {
    /// Connects to the journal where standard error leads there; elsewhere, and where it does not answer, there is none.
    pub(crate) fn behind_standard_error() -> Option<Self> {
        let stream = std::env::var_os("JOURNAL_STREAM")?;
        let standard_error = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        is_stream(&stream, &standard_error).then_some(())?;
        Self::at(Path::new(ADDRESS)).ok()
    }

    fn at(address: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, address: address.to_owned() };
        // The journal ignores an empty message, but if there is no journal this is an error.
        journal.send(&[])?;
        Ok(journal)
    }

    /// By address and not over a connection: the journal may be restarted meanwhile.
    fn send(&self, entry: &[u8]) -> io::Result<()> {
        self.socket.send_to(entry, &self.address).map(drop)
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.text();
        let mut entry = Entry::default();
        entry.put("MESSAGE", &text);
        entry.put("PRIORITY", priority(event.metadata().level()));
        entry.put("SYSLOG_IDENTIFIER", "hearthd");
        for (name, value) in &line.facts {
            entry.put(&name.to_ascii_uppercase(), value);
        }
        if self.send(&entry.0).is_err() {
            // The line goes to the journal by another way; if that is closed too, it is lost.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// One line of the log, taken apart.
#[derive(Debug, Default)]
struct Line {
    message: String,
    /// The facts as people read them, each with a blank before it.
    shown: String,
    facts: Vec<(&'static str, String)>,
}

impl Line {
    fn text(&self) -> String {
        format!("{}{}", self.message, self.shown)
    }

    fn take(&mut self, field: &Field, shown: String, value: String) {
        if field.name() == "message" {
            self.message = value;
            return;
        }
        let _ = write!(self.shown, " {}={shown}", field.name());
        self.facts.push((field.name(), value));
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format!("{value:?}"), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.take(field, value.clone(), value);
    }
}

/// What the journal takes as one entry (systemd.io/JOURNAL_NATIVE_PROTOCOL).
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

impl Entry {
    /// Adds a field; with its length before it, a value may hold line breaks and can be no other field.
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend((value.len() as u64).to_le_bytes());
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// Returns whether `JOURNAL_STREAM` names this file by device and inode: whoever was started by a service inherits
/// the variable, but may write elsewhere.
fn is_stream(stream: &OsStr, file: &File) -> bool {
    let name = file.metadata().map(|metadata| format!("{}:{}", metadata.dev(), metadata.ino()));
    name.is_ok_and(|name| stream == name.as_str())
}

/// The levels of syslog(3).
fn priority(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

const ADDRESS: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Reads the fields of one entry.
    fn receive(journald: &UnixDatagram) -> Vec<(String, String)> {
        let mut buffer = [0; 4096];
        let length = journald.recv(&mut buffer).unwrap();
        let mut rest = &buffer[..length];
        let mut fields = Vec::new();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (name, value) = rest.split_at(at);
            let (length, value) = value[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (value, end) = value.split_at(length);
            assert_eq!(end[0], b'\n');
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.push((text(name), text(value)));
            rest = &end[1..];
        }
        assert_eq!(rest, b"");
        fields
    }

    fn check(fields: &[(String, String)], expected: &[(&str, &str)]) {
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_line_is_one_text_and_each_fact_a_field() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("socket");
        let journald = UnixDatagram::bind(&address).unwrap();
        let journal = Journald::at(&address).unwrap();
        assert_eq!(receive(&journald), []);
        let log = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(log, || {
            let retry_in_ms = 900;
            warn!(cause = "no route", retry_in_ms, "no connection to the broker");
            error!(device = "light", "a\nPRIORITY=0\nb");
            info!(error = %io::Error::other("worn out"), "reloaded");
        });
        let identifier = ("SYSLOG_IDENTIFIER", "hearthd");
        let text = "no connection to the broker cause=\"no route\" retry_in_ms=900";
        let facts = [("CAUSE", "no route"), ("RETRY_IN_MS", "900")];
        let expected = [("MESSAGE", text), ("PRIORITY", "4"), identifier];
        check(&receive(&journald), &[&expected[..], &facts].concat());
        let text = "a\nPRIORITY=0\nb device=\"light\"";
        let expected = [("MESSAGE", text), ("PRIORITY", "3"), identifier, ("DEVICE", "light")];
        check(&receive(&journald), &expected);
        let text = "reloaded error=worn out";
        let expected = [("MESSAGE", text), ("PRIORITY", "6"), identifier, ("ERROR", "worn out")];
        check(&receive(&journald), &expected);
    }

    #[test]
    fn a_journal_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journald::at(&folder.path().join("socket")).is_err());
    }

    #[test]
    fn only_the_file_that_the_variable_names_leads_to_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let one = File::create(folder.path().join("1")).unwrap();
        let other = File::create(folder.path().join("2")).unwrap();
        let metadata = one.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(is_stream(OsStr::new(&stream), &one));
        assert!(!is_stream(OsStr::new(&stream), &other));
        assert!(!is_stream(OsStr::new(""), &one));
    }
}
