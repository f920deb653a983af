//! Connects to the broker, over a local socket, TCP or TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    config::{Authority, Broker},
    tls::TlsError,
};

/// How the broker is reached.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    Unix(PathBuf),
    Tcp(Authority),
    Tls(Authority, Arc<ClientConfig>),
}

/// A connection to the broker.
pub(crate) type Link = Box<dyn Both>;

/// A stream that can be read and written.
pub(crate) trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl Upstream {
    /// Prepares for the configured broker.
    ///
    /// # Errors
    /// The certificate authorities cannot be read.
    pub(crate) fn new(broker: &Broker) -> Result<Self, TlsError> {
        Ok(match broker {
            Broker::Unix(path) => Self::Unix(path.clone()),
            Broker::Tcp(authority) => Self::Tcp(authority.clone()),
            Broker::Tls { authority, ca_file } => {
                Self::Tls(authority.clone(), client_config(ca_file.as_deref())?)
            }
        })
    }

    /// Returns whether the broker learns each phone's address, and so counts wrong passwords itself.
    pub(crate) fn tells_addresses(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Connects for the phone at `peer`, which came to `local`.
    pub(crate) async fn connect(&self, peer: SocketAddr, local: SocketAddr) -> io::Result<Link> {
        match self {
            Self::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(&proxy_header(peer, local)).await?;
                Ok(Box::new(stream))
            }
            Self::Tcp(authority) => Ok(Box::new(authority.connect().await?)),
            Self::Tls(authority, config) => {
                let stream = authority.connect().await?;
                let name =
                    ServerName::try_from(authority.host.clone()).map_err(io::Error::other)?;
                Ok(Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?))
            }
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(Authority { host, port }) => write!(f, "mqtt://{host}:{port}"),
            Self::Tls(Authority { host, port }, _) => write!(f, "mqtts://{host}:{port}"),
        }
    }
}

impl Authority {
    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Writes for whom a connection is (PROXY protocol, version 2).
fn proxy_header(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.push(PROXY);
    match (peer.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend([TCP4, 0, 12]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        (source, destination) => {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            header.extend([TCP6, 0, 36]);
            header.extend(octets(source));
            header.extend(octets(destination));
        }
    }
    header.extend(peer.port().to_be_bytes());
    header.extend(local.port().to_be_bytes());
    header
}

fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let read = CertificateDer::pem_file_iter(file);
            for certificate in read.map_err(|error| TlsError::new(file, &error))? {
                let certificate = certificate.map_err(|error| TlsError::new(file, &error))?;
                roots.add(certificate).map_err(|error| TlsError::new(file, &error))?;
            }
            if roots.is_empty() {
                return Err(TlsError::new(file, &"it holds no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let what = "the system has no certificate authorities; give `[broker] ca_file`";
                return Err(TlsError::new(Path::new("/etc/ssl/certs"), &what));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(ca_file.unwrap_or(Path::new("TLS")), &error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_phones_address_of_either_kind() {
        let header =
            |peer: &str, local: &str| proxy_header(peer.parse().unwrap(), local.parse().unwrap());
        let mut v4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
        v4.extend([192, 168, 1, 7, 192, 168, 1, 2, 0x30, 0x39, 0x1F, 0x90]);
        assert_eq!(header("192.168.1.7:12345", "192.168.1.2:8080"), v4);
        assert_eq!(header("[::ffff:192.168.1.7]:12345", "[::ffff:192.168.1.2]:8080"), v4);
        let v6 = header("[fe80::7]:12345", "[fe80::2]:8080");
        assert_eq!(v6[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!((v6[16], v6[31], v6.len()), (0xFE, 7, 52));
    }
}
