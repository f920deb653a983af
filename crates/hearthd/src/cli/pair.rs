//! `hearthd pair` and `unpair`: the account of a phone at the bundled broker, and a QR code with which the phone logs in.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use clap::ValueEnum;
use serde_json::json;

use super::{
    complain, exit, fail,
    page::{self, BROKER, PageError},
    qr::{self, Ink},
};
use crate::random::random_bytes;

/// The options of `hearthd pair`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Pair {
    /// What to call the phone; its account is named after it.
    #[arg(required_unless_present_any = ["list", "username"])]
    name: Option<String>,
    /// What the phone may do.
    #[arg(long, value_enum, default_value_t = PhoneRole::Resident)]
    role: PhoneRole,
    /// The devices that a guest may ask, with commas between them.
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', required_if_eq("role", "guest"))]
    devices: Vec<String>,
    /// List the phones that are paired.
    #[arg(long, conflicts_with_all = ["name", "username"])]
    list: bool,
    /// Make no account, but a QR code for an account that exists, at any broker.
    #[arg(long, value_name = "ACCOUNT", requires = "password_file", conflicts_with = "name")]
    username: Option<String>,
    /// The file with that account's password.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// Print a code of 8 letters as well, for a phone without a camera: a password for one login within five minutes.
    #[arg(long, conflicts_with_all = ["list", "username"])]
    code: bool,
    /// The address of the page, instead of the one that hearth-web tells.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Print JSON instead of a QR code.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: page::Files,
}

/// The options of `hearthd unpair`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Unpair {
    /// What the phone is called, or its account.
    name: String,
    #[command(flatten)]
    files: page::Files,
}

/// Roles of `hearth-broker` that a phone may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PhoneRole {
    /// Asks every device and reads everything.
    Resident,
    /// Asks the devices named with --devices, and sees no others.
    Guest,
}

/// Makes an account for a phone, or takes one that exists, and prints how the phone logs in.
pub(super) fn pair(pair: &Pair) -> ExitCode {
    if pair.list {
        return list(pair);
    }
    match login(pair) {
        Ok(login) => show(pair, &login),
        Err(error) => fail(error.exit_code(), error),
    }
}

/// Removes the account of a phone. Its connection ends.
pub(super) fn unpair(unpair: &Unpair) -> ExitCode {
    let removed = account_name(&unpair.name).and_then(|account| {
        broker(&unpair.files, &["remove", &account], None)?;
        Ok(account)
    });
    match removed {
        Ok(account) => {
            say!("account {account} is removed; the phone is logged out");
            ExitCode::SUCCESS
        }
        Err(error) => fail(error.exit_code(), error),
    }
}

/// What a phone logs in with.
struct Login {
    account: String,
    /// The page's address, with account and password in the fragment, which a browser never sends.
    address: String,
    /// Whether the account was made for this.
    is_new: bool,
    /// A code that stands for the password, once.
    code: Option<String>,
}

/// Why a phone is not paired.
#[derive(Debug, thiserror::Error)]
enum PairError {
    #[error("`{0}` has neither a letter nor a digit: no account can be named after it")]
    Name(String),
    #[error(
        "--address: `{0}` is not the address of a page; write http://HOST:PORT/ or https://HOST/"
    )]
    Address(String),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("--password-file: {path}: {source}")]
    PasswordFile { path: PathBuf, source: io::Error },
    #[error("the address is too long for a QR code")]
    TooLong,
    /// The broker's program has said why, on standard error.
    #[error("hearth-broker account {0} failed; nothing is changed")]
    Broker(String, u8),
}

impl PairError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Name(_) | Self::Address(_) => exit::USAGE,
            Self::Page(error) => error.exit_code(),
            Self::PasswordFile { .. } => exit::NO_INPUT,
            Self::TooLong => exit::DATA,
            Self::Broker(_, code) => *code,
        }
    }
}

fn login(pair: &Pair) -> Result<Login, PairError> {
    let page = match &pair.address {
        Some(address) => checked(address)?,
        None => page::best_address(&pair.files)?,
    };
    if let (Some(account), Some(file)) = (&pair.username, &pair.password_file) {
        let failed = |source| PairError::PasswordFile { path: file.clone(), source };
        let password = std::fs::read_to_string(file).map_err(failed)?;
        let address = with_login(&page, account, password.trim_end_matches(['\r', '\n']));
        return Ok(Login { account: account.clone(), address, is_new: false, code: None });
    }
    let account = account_name(pair.name.as_deref().unwrap_or_default())?;
    let password = new_password();
    let mut arguments = vec!["add", &account, "--role"];
    arguments.push(if pair.role == PhoneRole::Guest { "guest" } else { "resident" });
    for device in &pair.devices {
        arguments.extend(["--device", device]);
    }
    broker(&pair.files, &arguments, Some(&password))?;
    let code = if pair.code {
        let made = broker(&pair.files, &["code", &account, "--hand-out-password"], Some(&password));
        if made.is_err() {
            // Nobody has been told its password.
            broker(&pair.files, &["remove", &account], None)?;
        }
        Some(made?.trim().to_owned())
    } else {
        None
    };
    Ok(Login { address: with_login(&page, &account, &password), account, is_new: true, code })
}

fn show(pair: &Pair, login: &Login) -> ExitCode {
    let Login { account, address, is_new, code: letters } = login;
    if pair.json {
        say!("{}", json!({ "account": account, "address": address, "code": letters }));
        return ExitCode::SUCCESS;
    }
    let mut out = io::stdout();
    let is_plain = !out.is_terminal() || std::env::var_os("NO_COLOR").is_some();
    let Ok(code) = qr::draw(address, if is_plain { Ink::Plain } else { Ink::BlackOnWhite }) else {
        return fail(exit::DATA, PairError::TooLong);
    };
    if *is_new {
        let role = if pair.role == PhoneRole::Guest { "guest" } else { "resident" };
        say!("account {account} is made, with the role {role}\n");
    }
    if let Err(error) = out.write_all(code.as_bytes()).and_then(|()| out.flush()) {
        return fail(exit::IO, format!("write to standard output: {error}"));
    }
    say!("\n  {address}\n");
    say!("Scan the code with the phone's camera, or open the address on the phone.");
    say!("Both contain the password: show them to nobody else.");
    if let (Some(letters), Some((page, _))) = (letters, address.split_once('#')) {
        say!("Without a camera: open {page}, and log in within five minutes with");
        say!("  account {account}, password {letters}");
    }
    if *is_new {
        let options = pair.files.broker_option();
        say!("To take the account away again: hearthd unpair {account}{options}");
    }
    if let Some(why) = page::unreachable(address) {
        complain(format_args!("hearthd: {why}"));
    }
    ExitCode::SUCCESS
}

fn list(pair: &Pair) -> ExitCode {
    match broker(&pair.files, &["list"], None) {
        Err(error) => fail(error.exit_code(), error),
        Ok(said) => {
            let phones: Vec<&str> = said.lines().filter(|line| line.starts_with(PHONE)).collect();
            if pair.json {
                let names = phones.iter().filter_map(|line| line.split_whitespace().next());
                say!("{}", json!(names.collect::<Vec<_>>()));
            } else if phones.is_empty() {
                say!("no phone is paired");
            } else {
                phones.iter().for_each(|line| say!("{line}"));
            }
            ExitCode::SUCCESS
        }
    }
}

/// Runs `hearth-broker account`; returns what it wrote to standard output.
///
/// A password goes to its standard input, because every program of the machine can read the arguments of others.
fn broker(
    files: &page::Files,
    arguments: &[&str],
    password: Option<&str>,
) -> Result<String, PairError> {
    let started = |source| PageError::Start { program: BROKER, source };
    let mut command = Command::new(page::program(BROKER));
    command.arg("account").args(arguments).arg("--config").arg(&files.broker_config);
    command.stdin(if password.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(started)?;
    if let (Some(mut input), Some(password)) = (child.stdin.take(), password) {
        // If it ends before it reads, its exit code says that it failed.
        let _ = writeln!(input, "{password}");
    }
    let ended = child.wait_with_output().map_err(started)?;
    if !ended.status.success() {
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
        let what = arguments.first().copied().unwrap_or_default().to_owned();
        return Err(PairError::Broker(what, code.unwrap_or(exit::SOFTWARE)));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// Returns the account of a phone: `phone-annas-phone` for "Anna's phone".
fn account_name(name: &str) -> Result<String, PairError> {
    let mut account = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_alphanumeric() {
            account.push(c);
        } else if !matches!(c, '\'' | '’') && !account.is_empty() && !account.ends_with('-') {
            account.push('-');
        }
    }
    let account = account.trim_end_matches('-');
    if account.is_empty() {
        return Err(PairError::Name(name.to_owned()));
    }
    let account =
        if account.starts_with(PHONE) { account.into() } else { format!("{PHONE}{account}") };
    Ok(account.chars().take(LONGEST_NAME).collect())
}

/// Returns 128 random bits in letters and digits that no person confuses.
fn new_password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bits = u128::from_be_bytes(random_bytes());
    let mut password = String::new();
    for _ in 0..128_u32.div_ceil(5) {
        password.push(char::from(LETTERS[(bits & 31) as usize]));
        bits >>= 5;
    }
    password
}

/// Returns the address of a page with account and password in the fragment.
fn with_login(page: &str, account: &str, password: &str) -> String {
    format!("{page}#u={}&p={}", encoded(account), encoded(password))
}

/// Encodes what is not an unreserved character (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

fn checked(address: &str) -> Result<String, PairError> {
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let is_page = host.is_some_and(|host| {
        !host.starts_with('/') && !host.is_empty() && !host.contains(['#', '?', '@', ' '])
    });
    if !is_page {
        return Err(PairError::Address(address.to_owned()));
    }
    let has_path = host.is_some_and(|host| host.contains('/'));
    Ok(if has_path { address.to_owned() } else { format!("{address}/") })
}

/// The names of phones' accounts begin with it.
const PHONE: &str = "phone-";
const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phones_account_is_named_after_it_and_names_itself() {
        for (name, account) in [
            ("Anna's phone", "phone-annas-phone"),
            ("phone-annas-phone", "phone-annas-phone"),
            ("Jürgens Handy (alt)", "phone-jürgens-handy-alt"),
            ("phone", "phone-phone"),
            (" -a/b+c#- ", "phone-a-b-c"),
        ] {
            assert_eq!(account_name(name).unwrap(), account);
        }
        assert!(account_name("'-/").is_err());
        assert_eq!(account_name(&"x".repeat(200)).unwrap().len(), 64);
    }

    #[test]
    fn the_fragment_holds_account_and_password_and_nothing_that_ends_it() {
        assert_eq!(
            with_login("http://hub.local:8080/", "änna", "a&b=c#d%e f"),
            "http://hub.local:8080/#u=%C3%A4nna&p=a%26b%3Dc%23d%25e%20f"
        );
    }

    #[test]
    fn a_password_has_128_bits_that_differ() {
        let (one, other) = (new_password(), new_password());
        assert_ne!(one, other);
        assert_eq!(one.len(), 26);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));
    }

    #[test]
    fn only_the_address_of_a_page_will_do() {
        assert_eq!(checked("https://home.example").unwrap(), "https://home.example/");
        assert_eq!(checked("http://hub.local:8080/").unwrap(), "http://hub.local:8080/");
        for wrong in
            ["hub.local", "http://", "http:///x", "mqtt://hub", "http://a#b", "http://a@b/"]
        {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
