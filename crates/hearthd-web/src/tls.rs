//! TLS towards the browsers, with the certificate files of the configuration.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub(crate) struct TlsError {
    path: String,
    why: String,
}

impl TlsError {
    pub(crate) fn new(path: &Path, why: &impl fmt::Display) -> Self {
        Self { path: path.display().to_string(), why: why.to_string() }
    }
}

/// Reads the certificate and its key.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_file_iter(&tls.certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::new(&tls.certificate_file, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|error| TlsError::new(&tls.key_file, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| TlsError::new(&tls.certificate_file, &error))?;
    Ok(Arc::new(config).into())
}
