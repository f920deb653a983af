//! Passwords from people: hidden on a terminal, never on the command line.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    #[error("read the password from standard input: {0}")]
    Input(#[from] io::Error),
    #[error("the password is empty; write it to standard input")]
    Empty,
    #[error("the passwords differ")]
    Different,
}

/// Asks for a password twice on a terminal, else reads one line of standard input.
pub(super) fn ask(prompt: &str) -> Result<String, PasswordError> {
    let first = read(prompt)?;
    if io::stdin().is_terminal() && read("Once more: ")? != first {
        return Err(PasswordError::Different);
    }
    if first.is_empty() { Err(PasswordError::Empty) } else { Ok(first) }
}

fn read(prompt: &str) -> Result<String, PasswordError> {
    let stdin = io::stdin();
    let _hidden = if stdin.is_terminal() {
        let mut out = io::stderr();
        write!(out, "{prompt}")?;
        out.flush()?;
        Hidden::start().ok()
    } else {
        None
    };
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that does not listen any more.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
