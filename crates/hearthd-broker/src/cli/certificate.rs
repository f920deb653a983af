//! `hearth-broker certificate`: the home's own authority, and the certificate that it signs for the broker.

use std::{
    collections::BTreeSet,
    fs,
    hash::Hasher as _,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use siphasher::sip::SipHasher24;

use super::{
    CONFIG, Failure,
    private::{Readers, replace},
};
use crate::config::{Outline, Tls};

/// What `hearth-broker certificate` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The configuration file; its `[tls]` says where the certificate and its key go.
    #[arg(long, value_name = "FILE", default_value = CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a certificate for the broker, or renew it.
    ///
    /// The first time, this also makes an authority in the same folder: `authority.pem`, which every client needs, and
    /// `authority-key.pem`, which only root may read. A renewal keeps the authority, so the clients need no change.
    /// `systemctl reload hearth-broker` makes the broker use the new certificate.
    ///
    /// The certificate is valid for the names and addresses of this machine. A renewal keeps the names given before.
    Make {
        /// Another name or address by which clients reach the broker; may be repeated.
        #[arg(long, value_name = "NAME")]
        name: Vec<String>,
    },
    /// Print the authority's certificate, for the clients: `[broker.tls] ca_file` of hearthd.
    Authority,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("{0}: [tls] is missing; it says where the certificate goes")]
    NoTls(PathBuf),
    #[error("`{0}` is neither a name nor an address")]
    Name(String),
    #[error("the clock is before 2026: set it, or the certificate expires too early")]
    Clock,
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}; if you remove it, every client needs the new authority")]
    Authority { path: PathBuf, source: rcgen::Error },
    #[error("make the certificate: {0}")]
    Make(rcgen::Error),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let outline = Outline::load(&arguments.config)?;
    let tls = outline.tls.ok_or_else(|| CertificateError::NoTls(arguments.config.clone()))?;
    let authority = Authority::beside(&tls);
    match &arguments.command {
        Command::Make { name } => make(&tls, &authority, name),
        Command::Authority => {
            let text = read(&authority.certificate)?;
            io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
    }
}

fn make(tls: &Tls, authority: &Authority, given: &[String]) -> Result<(), Failure> {
    let now = SystemTime::now();
    if now < UNIX_EPOCH + EARLIEST {
        return Err(CertificateError::Clock.into());
    }
    let before = fs::read_to_string(&tls.certificate_file).unwrap_or_default();
    let mut names = kept_names(&before);
    for name in given {
        if !is_name(name) {
            return Err(CertificateError::Name(name.clone()).into());
        }
        names.insert(name.clone());
    }
    let kept = names.clone();
    names.extend(names_of_machine(tls));
    let issuer = authority.open(now)?;
    let names: Vec<String> = names.into_iter().collect();
    let (certificate, key) = signed(&issuer, &names, now).map_err(CertificateError::Make)?;
    // The key first: with the certificate alone the broker cannot start.
    put(&tls.key_file, &key, Readers::Broker)?;
    let mut text = names_line(&kept);
    text += &certificate;
    put(&tls.certificate_file, &text, Readers::All)?;
    tell(tls, authority, &names).map_err(Failure::Output)
}

/// Says what there is now, and what is left to do.
fn tell(tls: &Tls, authority: &Authority, names: &[String]) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{} is good for {}", tls.certificate_file.display(), names.join(", "))?;
    writeln!(out, "and for {} days.", LIFE.as_secs() / DAY)?;
    writeln!(out)?;
    writeln!(out, "Have the broker use it:   systemctl reload-or-restart hearth-broker")?;
    writeln!(out, "Give every client a copy of {}", authority.certificate.display())?;
    writeln!(out, "(`hearth-broker certificate authority` prints it); for a hub it is")?;
    writeln!(out, "`ca_file` in [broker.tls] of its configuration.")
}

/// The authority's files.
struct Authority {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn beside(tls: &Tls) -> Self {
        let at = |name| tls.certificate_file.with_file_name(name);
        Self { certificate: at("authority.pem"), key: at("authority-key.pem") }
    }

    /// Opens the authority, or makes it.
    fn open(&self, now: SystemTime) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        if let Ok(text) = fs::read_to_string(&self.key) {
            let key = KeyPair::from_pem(&text)
                .map_err(|source| CertificateError::Authority { path: self.key.clone(), source })?;
            let params = authority_params(&key, now);
            if !self.certificate.exists() {
                // A copy made anew of the same key and name is as good as the one before.
                let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
                put(&self.certificate, &certificate.pem(), Readers::All)?;
            }
            return Ok(Issuer::new(params, key));
        }
        if self.key.exists() {
            read(&self.key)?;
        }
        let key = KeyPair::generate().map_err(CertificateError::Make)?;
        let params = authority_params(&key, now);
        let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
        put(&self.key, &key.serialize_pem(), Readers::Owner)?;
        put(&self.certificate, &certificate.pem(), Readers::All)?;
        Ok(Issuer::new(params, key))
    }
}

fn authority_params(key: &KeyPair, now: SystemTime) -> CertificateParams {
    // Its name comes from its key, so that a renewal signs by the same name, and no two homes have one name.
    let mut hasher = SipHasher24::new();
    hasher.write(key.public_key_raw());
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Home authority {:08x}", hasher.finish() as u32));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - LEEWAY).into();
    params.not_after = (now + LIFE_OF_AUTHORITY).into();
    params
}

/// Makes a key and a certificate for it; returns both as PEM.
fn signed(
    issuer: &Issuer<'static, KeyPair>,
    names: &[String],
    now: SystemTime,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("hearth-broker");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - LEEWAY).into();
    params.not_after = (now + LIFE).into();
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Returns the names and addresses by which this machine is reached.
fn names_of_machine(tls: &Tls) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().collect();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if is_name(host) {
        names.insert(host.to_owned());
        if !host.contains('.') {
            names.insert(format!("{host}.local"));
        }
    }
    let listens = tls.listen.iter().map(std::net::SocketAddr::ip);
    let routes = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(DOCUMENTATION_V4)),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(DOCUMENTATION_V6)),
    ];
    // No packet goes out: the system only chooses the address that it would send one from.
    let routes = routes.into_iter().filter_map(|(from, to)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    });
    let addresses = listens.chain(routes).filter(|address| !address.is_unspecified());
    names.extend(addresses.map(|address| address.to_string()));
    names
}

/// Returns whether a text is a name of a machine, or an address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(letters)
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(is_label))
}

/// Writes the names that were given, ahead of the certificate, where programs that read it skip what they do not know.
fn names_line(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("{NAMES}{}\n", names.join(" ")) }
}

fn kept_names(certificate: &str) -> BTreeSet<String> {
    let line = certificate.lines().find_map(|line| line.strip_prefix(NAMES)).unwrap_or_default();
    line.split_whitespace().filter(|name| is_name(name)).map(str::to_owned).collect()
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn put(path: &Path, text: &str, readers: Readers) -> Result<(), CertificateError> {
    replace(path, text, readers)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

const NAMES: &str = "# given names: ";
const DAY: u64 = 24 * 3600;
/// How long a certificate is good: phones take none of a private authority that is longer.
const LIFE: Duration = Duration::from_secs(820 * DAY);
const LIFE_OF_AUTHORITY: Duration = Duration::from_secs(20 * 365 * DAY);
/// What the clocks of clients may be behind.
const LEEWAY: Duration = Duration::from_secs(DAY);
/// 2026-01-01: a clock that says less was never set.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// Addresses that no machine has (RFC 5737, RFC 3849).
const DOCUMENTATION_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DOCUMENTATION_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_given_are_found_again() {
        let names = ["broker.lan", "192.168.1.7", "fd00::7"].map(str::to_owned);
        let names: BTreeSet<String> = names.into_iter().collect();
        let text = names_line(&names) + "-----BEGIN CERTIFICATE-----\n";
        assert_eq!(kept_names(&text), names);
        assert!(kept_names("-----BEGIN CERTIFICATE-----\n").is_empty());
        assert_eq!(names_line(&BTreeSet::new()), "");
    }

    #[test]
    fn a_name_is_labels_or_an_address() {
        for good in ["broker", "broker.home.arpa", "10.0.0.1", "fd00::1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "broker.", "*.home", "mqtts://broker", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
