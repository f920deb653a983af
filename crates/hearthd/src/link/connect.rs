//! What CONNECT says for the hub, and what TLS is made of.

use std::{path::Path, sync::Arc, time::Duration};

use rumqttc::{TlsConfiguration, v5::mqttbytes::v5::ConnectProperties};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{ConnectOptions, MAX_PACKET_SIZE, RECEIVE_MAXIMUM};
use crate::config::Tls;

/// Returns the properties of CONNECT (MQTT 3.1.2.11).
pub(super) fn connect_properties(options: &ConnectOptions<'_>) -> ConnectProperties {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(asked_expiry(options));
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(MAX_PACKET_SIZE);
    properties.request_response_info = Some(1);
    properties.request_problem_info = Some(1);
    properties
}

/// Returns Session Expiry Interval as CONNECT announces it, in seconds (MQTT 3.1.2.11.2).
pub(super) fn asked_expiry(options: &ConnectOptions<'_>) -> u32 {
    let expiry = if options.keep_session { options.broker.session_expiry } else { Duration::ZERO };
    u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)
}

/// Reads the certificates and keys that `[broker.tls]` names.
pub(super) fn tls_configuration(tls: &Tls) -> Result<TlsConfiguration, String> {
    let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| format!("read {}: {error}", file.display()))
    };
    // A second call finds the provider installed, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(ca_file) = &tls.ca_file else {
        if tls.client_auth.is_none() {
            return Ok(TlsConfiguration::default());
        }
        return Err("client certificates need `ca_file`".into());
    };
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(ca_file)?);
    if added == 0 {
        return Err(format!("{} holds no certificate", ca_file.display()));
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match &tls.client_auth {
        None => builder.with_no_client_auth(),
        Some((chain, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| format!("read {}: {error}", key_file.display()))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|error| format!("use {}: {error}", chain.display()))?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}
