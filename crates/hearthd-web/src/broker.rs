//! Connects to the broker, over a local socket, TCP or TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
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
    Tcp(Nodes),
    Tls(Nodes, Arc<ClientConfig>),
}

/// The addresses of a broker, which are tried in turn.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    all: Arc<[Authority]>,
    /// The one that has answered last.
    current: Arc<AtomicUsize>,
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
            Broker::Tcp(nodes) => Self::Tcp(Nodes::new(nodes)),
            Broker::Tls { nodes, ca_file } => {
                Self::Tls(Nodes::new(nodes), client_config(ca_file.as_deref())?)
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
            Self::Tcp(nodes) => {
                Ok(Box::new(nodes.connect(async |node| node.connect().await).await?))
            }
            Self::Tls(nodes, config) => {
                let connect = async |node: &Authority| {
                    let stream = node.connect().await?;
                    let name = ServerName::try_from(node.host.clone()).map_err(io::Error::other)?;
                    TlsConnector::from(config.clone()).connect(name, stream).await
                };
                Ok(Box::new(nodes.connect(connect).await?))
            }
        }
    }
}

impl Nodes {
    fn new(all: &[Authority]) -> Self {
        Self { all: all.into(), current: Arc::default() }
    }

    /// Connects to the first node that answers, beginning with the one that did last.
    async fn connect<T>(
        &self,
        connect: impl AsyncFn(&Authority) -> io::Result<T>,
    ) -> io::Result<T> {
        if let [node] = &*self.all {
            return connect(node).await;
        }
        let begin = self.current.load(Ordering::Relaxed);
        let mut errors = Vec::new();
        for turn in 0..self.all.len() {
            let index = (begin + turn) % self.all.len();
            let node = &self.all[index];
            match timeout(NODE_TIMEOUT, connect(node)).await {
                Ok(Ok(link)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(link);
                }
                Ok(Err(error)) => errors.push(format!("{}:{}: {error}", node.host, node.port)),
                Err(_) => errors.push(format!("{}:{}: no answer", node.host, node.port)),
            }
        }
        Err(io::Error::other(errors.join("; ")))
    }

    fn write(&self, f: &mut std::fmt::Formatter<'_>, scheme: &str) -> std::fmt::Result {
        for (index, Authority { host, port }) in self.all.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{scheme}://{host}:{port}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(nodes) => nodes.write(f, "mqtt"),
            Self::Tls(nodes, _) => nodes.write(f, "mqtts"),
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

/// How long one of several nodes may take, before the next is tried.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_is_not_there_is_passed_over_and_the_one_that_answers_comes_first_then() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap().port();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let missing = gone.local_addr().unwrap().port();
        drop(gone);
        let node = |port| Authority { host: "127.0.0.1".into(), port };
        let peer = "127.0.0.1:1".parse().unwrap();
        let upstream = Upstream::new(&Broker::Tcp(vec![node(missing), node(there)])).unwrap();
        assert!(upstream.to_string().ends_with(&format!(", mqtt://127.0.0.1:{there}")));
        upstream.connect(peer, peer).await.expect("the second node answers");
        let Upstream::Tcp(nodes) = &upstream else { panic!("{upstream:?}") };
        assert_eq!(nodes.current.load(Ordering::Relaxed), 1);
        drop(listener);
        let error = upstream.connect(peer, peer).await.err().expect("nobody answers");
        assert!(error.to_string().contains(&format!("127.0.0.1:{missing}: ")), "{error}");
    }

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
