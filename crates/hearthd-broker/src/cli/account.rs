//! `hearth-broker account`: changes the accounts file; a change takes effect at once.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    Failure,
    password::{self, PasswordError},
    preset::Preset,
    private::{Readers, folder, replace},
};
use crate::{
    accounts::PasswordHash,
    config::{Outline, WrittenAccount, WrittenCode, WrittenRight},
    pairing::{MOST_HANDED, PairingCode, SHORTEST, Sealed},
    rights::Role,
};

/// `hearth-broker account`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file of the broker.
    #[arg(long, value_name = "FILE", global = true, default_value = super::CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add an account; the password is asked for, or read from standard input.
    Add(Add),
    /// List the accounts.
    List,
    /// Remove an account, its sessions and their queued messages.
    Remove {
        /// User name.
        name: String,
    },
    /// Change the password of an account; its connections end.
    Password {
        /// User name.
        name: String,
    },
    /// Make a pairing code, and print it: a second password of an account for one login within five minutes.
    ///
    /// The code has 8 letters; capitals, dashes and spaces make no difference. It ends after 10 wrong tries, when the
    /// broker restarts, and when the account gets another code or another password. The broker must be running. The
    /// account of a hub gets no code.
    Code {
        /// User name, also of an account in the configuration file.
        name: String,
        /// Read the account's password from standard input: the login with the code gets it, as the user property
        /// `password` of CONNACK. Only for accounts of the accounts file.
        #[arg(long)]
        hand_out_password: bool,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// User name.
    name: String,
    /// The account's role in the home.
    #[arg(long, required_unless_present = "preset")]
    role: Option<GivenRole>,
    /// Give the account the role and topics that this program needs in its default set-up.
    #[arg(long = "for", value_name = "PROGRAM", conflicts_with = "role")]
    preset: Option<Preset>,
    /// A topic filter that the account may use in addition to those of its role; may be repeated.
    #[arg(long, value_name = "FILTER")]
    topics: Vec<String>,
    /// A device that a guest may ask, or that belongs to a hub or responder; may be repeated.
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// A client ID that belongs to the account; may be repeated.
    #[arg(long, value_name = "ID")]
    client_id: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GivenRole {
    /// Writes the state of its devices, its presence and absence, and answers requests.
    Hub,
    /// Asks every device and reads everything.
    Resident,
    /// Asks the devices named with --device, and sees no others.
    Guest,
    /// A program that answers requests for its own devices.
    Responder,
    /// A bridge, or a device without a hub: uses only the topics that it is given.
    Device,
}

impl GivenRole {
    fn role(self) -> Role {
        match self {
            Self::Hub => Role::Hub,
            Self::Resident => Role::Resident,
            Self::Guest => Role::Guest,
            Self::Responder => Role::Responder,
            Self::Device => Role::Device,
        }
    }
}

/// Why the accounts are as they were.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error(
        "there is an account `{0}` already; `hearth-broker account password {0}` changes its password"
    )]
    Known(String),
    #[error("there is no account `{0}`; `hearth-broker account list` shows those there are")]
    Unknown(String),
    #[error(
        "`{0}` is the account of a hub, which gets no code: a code is for a phone or a person's program"
    )]
    CodeOfHub(String),
    #[error("account `{name}` is in {file}; change it there")]
    Elsewhere { name: String, file: PathBuf },
    #[error("that is not the password of `{0}`, or a code cannot hand it out; nothing is changed")]
    NotThePassword(String),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.config;
    let file = AccountsFile::open(path)?;
    match &arguments.command {
        Command::Add(add) => file.add(add),
        Command::List => file.list(),
        Command::Remove { name } => file.remove(name),
        Command::Password { name } => file.change_password(name),
        Command::Code { name, hand_out_password } => file.make_code(name, *hand_out_password),
    }
}

/// The accounts file, locked against changes by others.
struct AccountsFile {
    /// The configuration file.
    config: PathBuf,
    outline: Outline,
    /// The folder, locked.
    _lock: File,
}

impl AccountsFile {
    fn open(config: &Path) -> Result<Self, Failure> {
        let found = Outline::load(config)?;
        let folder = folder(&found.accounts_file);
        let failed = |source| AccountError::File { path: folder.to_owned(), source };
        let lock = File::open(folder).map_err(failed)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        // Read again: it may have changed while another command had the lock.
        let outline = Outline::load(config)?;
        Ok(Self { config: config.to_owned(), outline, _lock: lock })
    }

    fn add(mut self, add: &Add) -> Result<(), Failure> {
        let name = &add.name;
        if self.outline.names.contains(name) || self.find(name).is_some() {
            return Err(AccountError::Known(name.clone()).into());
        }
        let (role, mut rights) = match (add.preset, add.role) {
            (Some(preset), _) => preset.grant(&self.outline.home, name),
            (None, Some(role)) => (role.role(), Vec::new()),
            (None, None) => (Role::Resident, Vec::new()),
        };
        rights.extend(add.topics.iter().map(|filter| right(filter, None)));
        let hash = ask_for_hash(name)?;
        self.outline.made.push(WrittenAccount {
            name: name.clone(),
            role: Some(role.name().to_owned()),
            password_hash: Some(hash.as_str().to_owned()),
            password_file: None,
            client_ids: add.client_id.clone(),
            devices: add.device.clone(),
            rights,
        });
        self.write()
    }

    fn list(&self) -> Result<(), Failure> {
        let mut out = io::stdout();
        let mut lines = Vec::new();
        for name in &self.outline.names {
            lines.push(format!("{name:<20} in {}", self.config.display()));
        }
        for account in &self.outline.made {
            let role = account.role.as_deref().unwrap_or("none");
            let mut line = format!("{:<20} {role}", account.name);
            let rights: Vec<_> = account.rights.iter().map(|right| right.filter.as_str()).collect();
            for (what, list) in [
                ("topics", rights.join(", ")),
                ("devices", account.devices.join(", ")),
                ("client IDs", account.client_ids.join(", ")),
            ] {
                if !list.is_empty() {
                    line += &format!("; {what}: {list}");
                }
            }
            lines.push(line);
        }
        lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(Failure::Output)
    }

    fn remove(mut self, name: &str) -> Result<(), Failure> {
        let place = self.place(name)?;
        self.outline.made.remove(place);
        self.drop_code(name);
        self.write()
    }

    fn change_password(mut self, name: &str) -> Result<(), Failure> {
        let place = self.place(name)?;
        let hash = ask_for_hash(name)?;
        let account = &mut self.outline.made[place];
        account.password_hash = Some(hash.as_str().to_owned());
        account.password_file = None;
        self.drop_code(name);
        self.write()
    }

    fn make_code(mut self, name: &str, hands_out: bool) -> Result<(), Failure> {
        if !self.outline.names.iter().any(|known| known == name) {
            self.place(name)?;
        }
        // A hub is no client that somebody types a password into, and its account may do everything.
        if self.outline.is_hub(name) {
            return Err(AccountError::CodeOfHub(name.to_owned()).into());
        }
        let password = if hands_out { Some(self.ask_for_password(name)?) } else { None };
        let made = PairingCode::make(SystemTime::now(), password.as_deref());
        let (code, text) = made.map_err(Failure::Hash)?;
        self.drop_code(name);
        self.outline.codes.push(WrittenCode {
            account: name.to_owned(),
            hash: code.hash.as_str().to_owned(),
            until: code.until,
            sealed: code.sealed.as_ref().map(Sealed::text),
        });
        self.write()?;
        writeln!(io::stdout(), "{text}").map_err(Failure::Output)
    }

    /// Asks for the password of an account that this file has.
    fn ask_for_password(&self, name: &str) -> Result<String, Failure> {
        let account = &self.outline.made[self.place(name)?];
        let prompt = format!("Password of {name}: ");
        let password = password::ask(&prompt).map_err(AccountError::from)?;
        let hash = account.password_hash.as_deref().and_then(|hash| PasswordHash::parse(hash).ok());
        let is_right = hash.is_some_and(|hash| hash.verify(password.as_bytes()));
        if !is_right || !(SHORTEST..=MOST_HANDED).contains(&password.len()) {
            return Err(AccountError::NotThePassword(name.to_owned()).into());
        }
        Ok(password)
    }

    /// Takes the code of an account away, and those that have ended.
    fn drop_code(&mut self, name: &str) {
        let now = SystemTime::now();
        self.outline.codes.retain(|code| code.account != name && !code.has_ended(now));
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.outline.made.iter().position(|account| account.name == name)
    }

    fn place(&self, name: &str) -> Result<usize, AccountError> {
        match self.find(name) {
            Some(place) => Ok(place),
            None if self.outline.names.iter().any(|known| known == name) => {
                Err(AccountError::Elsewhere { name: name.to_owned(), file: self.config.clone() })
            }
            None => Err(AccountError::Unknown(name.to_owned())),
        }
    }

    /// Puts the file in the place of the one before; a power cut leaves one of them whole.
    fn write(self) -> Result<(), Failure> {
        let path = &self.outline.accounts_file;
        let text = self.outline.text()?;
        let failed = |source| AccountError::File { path: path.clone(), source };
        Ok(replace(path, &text, Readers::Broker).map_err(failed)?)
    }
}

fn ask_for_hash(name: &str) -> Result<PasswordHash, Failure> {
    let password = password::ask(&format!("Password of {name}: ")).map_err(AccountError::from)?;
    PasswordHash::of(&password).map_err(Failure::Hash)
}

/// Creates one of `rights`.
pub(super) fn right(filter: &str, access: Option<&str>) -> WrittenRight {
    WrittenRight { filter: filter.to_owned(), access: access.map(str::to_owned) }
}
