//! TLS, with certificates that can be read again while the broker runs.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// What accepts TLS connections, with the certificates as they were read last.
#[derive(Debug)]
pub(super) struct Certificates {
    config: RefCell<Arc<ServerConfig>>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub(crate) struct CertificateError {
    path: PathBuf,
    why: String,
}

impl Certificates {
    pub(super) fn read(tls: &Tls) -> Result<Self, CertificateError> {
        Ok(Self { config: RefCell::new(read(tls)?) })
    }

    /// Reads the files again; connections that there are keep what they have.
    pub(super) fn read_again(&self, tls: &Tls) -> Result<(), CertificateError> {
        *self.config.borrow_mut() = read(tls)?;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.borrow().clone().into()
    }
}

fn read(tls: &Tls) -> Result<Arc<ServerConfig>, CertificateError> {
    let failed = |path: &Path, why: String| CertificateError { path: path.to_owned(), why };
    let chain = CertificateDer::pem_file_iter(&tls.certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&tls.certificate_file, told(&error)))?;
    if chain.is_empty() {
        return Err(failed(&tls.certificate_file, "has no certificate in PEM form".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|error| failed(&tls.key_file, told(&error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| failed(&tls.certificate_file, error.to_string()))?;
    Ok(Arc::new(config))
}

/// Says what is wrong with a file, and where both come from if it is not there.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is no such file; `hearth-broker certificate make` makes it".to_owned()
        }
        pem::Error::NoItemsFound => "has no key in PEM form".to_owned(),
        other => other.to_string(),
    }
}
