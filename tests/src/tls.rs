//! TLS in front of any broker, with certificates of an authority that nobody else knows.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    },
};

use crate::{Doing, Result};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is valid, counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Since an hour ago, for an hour.
    Now,
    /// Until a minute ago.
    Past,
    /// From then on, as for a machine whose clock is behind.
    In(Duration),
}

/// A running TLS endpoint; dropping it cuts every connection.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    task: JoinHandle<()>,
}

impl Authority {
    /// Makes an authority of this name with a key of its own.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().doing("make a key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).doing("sign the authority")?;
        Ok(Self { issuer })
    }

    /// Returns its certificate, as clients want it in a file.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the certificate of a host and its key into a folder, for a broker that does TLS itself; returns both files.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn write_server(&self, host: &str, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let params = CertificateParams::new([host.to_owned()]).doing(host)?;
        let key = KeyPair::generate().doing("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).doing("sign a certificate")?;
        let files = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&files.0, certificate.pem()).doing(files.0.display())?;
        std::fs::write(&files.1, key.serialize_pem()).doing(files.1.display())?;
        Ok(files)
    }

    /// Makes what a client needs that trusts this authority alone.
    ///
    /// # Errors
    /// Where the authority cannot be used.
    pub fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).doing("trust the authority")?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .doing("choose a version of TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Connects to a port of this machine that serves a host of this authority.
    ///
    /// # Errors
    /// Where there is no connection.
    pub async fn connect(
        connector: &TlsConnector,
        host: &'static str,
        port: u16,
    ) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from(host).doing(host)?;
        Ok(connector.connect(name, stream).await?)
    }

    /// Makes the certificate of a host and what serves it.
    fn server(&self, host: &str, validity: Validity) -> Result<ServerConfig> {
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let (begin, end) = match validity {
            Validity::Now => (now - hour, now + hour),
            Validity::Past => (now - hour, now - Duration::from_secs(60)),
            Validity::In(wait) => (now + wait, now + wait + hour),
        };
        let mut params = CertificateParams::new([host.to_owned()]).doing(host)?;
        (params.not_before, params.not_after) = (begin.into(), end.into());
        let key = KeyPair::generate().doing("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).doing("sign a certificate")?;
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .doing("use the certificate")
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl TlsFront {
    /// Listens on a free port in front of a broker, with a certificate for a host.
    ///
    /// # Errors
    /// Where no port is free or no certificate can be made.
    pub async fn start(
        broker_port: u16,
        authority: &Authority,
        host: &str,
        validity: Validity,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(host, validity)?));
        Ok(Self { port, task: tokio::spawn(accept(listener, acceptor, broker_port)) })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, broker_port: u16) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let acceptor = acceptor.clone();
        // A client that does not trust the certificate has its own log.
        links.spawn(async move { link(client, acceptor, broker_port).await.ok() });
    }
}

async fn link(client: TcpStream, acceptor: TlsAcceptor, broker_port: u16) -> std::io::Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut broker = TcpStream::connect(("127.0.0.1", broker_port)).await?;
    copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}
