//! The messages between the daemon and a process that runs a plugin: frames with a length and a device number.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Mutex,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    boundary::call::{Call, CreateArguments, InstanceError, NewChild, Publication},
    config::Limits,
    sync::lock,
};

/// What the daemon says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToChild<'a> {
    /// Comes first.
    Settings {
        limits: Limits,
        /// The least severe level of the log, as in the plugin ABI.
        log_level: i32,
    },
    /// From here on the plugins' clock stands at this time, until it is set again.
    Time { now_ms: u64 },
    /// Which kinds does this file hold?
    ListKinds { file: &'a str },
    /// Where does this table have secrets?
    Secrets { file: &'a str, kind: &'a str, config: &'a str },
    /// Is this table good, and what does such a device declare?
    Examine { file: &'a str, kind: &'a str, config: &'a str },
    /// Create the device of this number.
    Create { file: &'a str, kind: &'a str, arguments: CreateArguments<'a> },
    /// Call it, and save.
    Call(Call<'a>),
    /// Save.
    Save,
    /// Save and destroy it.
    Stop,
    /// Destroy it, and say nothing of it.
    Destroy,
}

/// What the process says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromChild<'a> {
    /// The answer to `ListKinds`.
    Kinds(Result<Vec<String>, String>),
    /// The answer to `Secrets`: JSON Pointers.
    Secrets(Result<Vec<String>, String>),
    /// The answer to `Examine`.
    Examined(Examination),
    /// The answer to `Create`.
    Created(Result<(), InstanceError>),
    /// The answer to `Call` and to `Save`.
    Returned(i32),
    /// The answer to `Stop`.
    Ended,
    /// What a successor should know; ahead of the answer to whatever has changed it.
    Saved(&'a [u8]),
    /// The plugin calls its host.
    Host(HostCall<'a>),
}

/// A plugin's call of its host.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum HostCall<'a> {
    Log {
        level: i32,
        target: &'a str,
        message: &'a str,
    },
    Publish {
        property: &'a str,
        payload: &'a str,
    },
    Complete {
        token: u64,
        status: i32,
        payload: &'a [u8],
    },
    Accept {
        token: u64,
        within: Duration,
    },
    SetTimer {
        id: u32,
        delay: Option<Duration>,
    },
    Wake,
    Unreachable {
        reason: &'a str,
    },
    Reachable,
    Event {
        property: &'a str,
        kind: &'a str,
    },
    Send(Publication<'a>),
    AddChild(NewChild<'a>),
    RemoveChild {
        name: &'a str,
    },
    /// A device that the plugin has added calls its host.
    OfChild {
        child: &'a str,
        call: Box<HostCall<'a>>,
    },
}

impl HostCall<'_> {
    /// Returns the token of the command that it answers or accepts.
    pub(crate) fn token(&self) -> Option<u64> {
        match self {
            Self::Complete { token, .. } | Self::Accept { token, .. } => Some(*token),
            Self::OfChild { call, .. } => call.token(),
            Self::Log { .. }
            | Self::Publish { .. }
            | Self::SetTimer { .. }
            | Self::Wake
            | Self::Unreachable { .. }
            | Self::Reachable
            | Self::Event { .. }
            | Self::Send(_)
            | Self::AddChild(_)
            | Self::RemoveChild { .. } => None,
        }
    }
}

/// The result of checking a table.
pub(crate) type Examination = Result<Described, TableProblems>;

/// What a device with a table is, in the plugin's words.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Described {
    /// Name and JSON declaration of each property.
    pub(crate) properties: Vec<(String, String)>,
    /// Use and filter of each topic of the device's own.
    pub(crate) topics: Vec<(String, String)>,
    /// Whether it may add devices of its own.
    pub(crate) adds: bool,
}

/// Path and message of each problem of a table.
pub(crate) type TableProblems = Vec<(String, String)>;

/// One end of the channel; its frames never mix.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    sending: Mutex<()>,
}

impl Channel {
    /// Takes one end of a pair of sockets.
    pub(crate) fn new(socket: impl Into<OwnedFd>) -> Self {
        Self { stream: UnixStream::from(socket.into()), sending: Mutex::new(()) }
    }

    /// Makes another handle, for one other thread to read from.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.stream.try_clone()?))
    }

    /// Gives up sending after this time, where the other end takes nothing.
    pub(crate) fn limit_sending(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(patience))
    }

    /// Gives up waiting for something to read after this time.
    pub(crate) fn limit_reading(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Sends one frame about a device, or about [`NOBODY`].
    pub(crate) fn send(&self, device: u32, what: &impl Serialize) -> io::Result<()> {
        let mut frame = vec![0; HEADER];
        frame = postcard::to_extend(what, frame).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - HEADER).map_err(io::Error::other)?;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame[4..HEADER].copy_from_slice(&device.to_le_bytes());
        let _sending = lock(&self.sending);
        (&self.stream).write_all(&frame)
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Cuts what comes over the channel into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// Bytes at the front that belong to frames already read.
    done: usize,
}

impl Decoder {
    /// Reads the available bytes, and waits if there are none; returns 0 at the end.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let mut chunk = [0; 8 * 1024];
        loop {
            match from.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    self.bytes.drain(..std::mem::take(&mut self.done));
                    self.bytes.extend_from_slice(&chunk[..length]);
                    return Ok(length);
                }
            }
        }
    }

    /// Returns the device and the content of the next whole frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// Where what came is no frame.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(u32, &[u8])>, String> {
        let rest = &self.bytes[self.done..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let Some((device, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BOUND {
            return Err(format!("a frame of {length} bytes, and {FRAME_BOUND} is the most"));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.done += HEADER + length;
        Ok(Some((u32::from_le_bytes(*device), frame)))
    }
}

/// Reads what a frame holds.
///
/// # Errors
/// Where that is nothing that is ever said.
pub(crate) fn parse<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, String> {
    postcard::from_bytes(frame).map_err(|error| format!("a frame: {error}"))
}

/// The number for messages that are not about a device but about a process or a plugin.
pub(crate) const NOBODY: u32 = 0;
/// Bytes of a frame's length and of its device.
const HEADER: usize = 8;
/// The longest frame: a saved state, or a payload of the largest size as JSON.
const FRAME_BOUND: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let (near, far) = UnixStream::pair().unwrap();
        let near = Channel::new(near);
        let command =
            Call::Command { token: 7, deadline_ms: 9, property: Some("power"), payload: "ON" };
        near.send(7, &ToChild::Call(command)).unwrap();
        near.send(8, &ToChild::Stop).unwrap();
        drop(near);
        let mut bytes = Vec::new();
        Channel::new(far).read_to_end(&mut bytes).unwrap();
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for mut part in [&bytes[..cut], &bytes[cut..]] {
                decoder.fill(&mut part).unwrap();
                while let Some((device, frame)) = decoder.next_frame().unwrap() {
                    let frame: ToChild<'_> = parse(frame).unwrap();
                    let is_call = device == 7 && frame == ToChild::Call(command);
                    seen.push(is_call || device == 8 && frame == ToChild::Stop);
                }
            }
            assert_eq!(seen, [true, true], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let refused = |mut bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.fill(&mut bytes).unwrap();
            let frame = decoder.next_frame().map(|frame| frame.expect("it is whole").1);
            frame.and_then(parse::<FromChild<'_>>).map(|_| ()).unwrap_err()
        };
        assert!(refused(&[0xff; 8]).contains("is the most"));
        assert!(refused(&[1, 0, 0, 0, 0, 0, 0, 0, 0x77]).starts_with("a frame: "));
    }
}
