//! The server's certificate and the authorities of its callers, read from PEM files and replaced by a reload.

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;

/// Why a certificate, a key or an authority cannot be used: always the file's fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The file is no PEM.
    #[error("it is not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// There is nothing in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The two do not fit together, or one of them cannot be used.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("an authority cannot be used: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// Reads a chain of certificates.
///
/// # Errors
/// See [`TlsProblem`].
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(TlsProblem::Pem)?;
    if certificates.is_empty() { Err(TlsProblem::NoCertificate) } else { Ok(certificates) }
}

/// Reads a private key.
///
/// # Errors
/// See [`TlsProblem`].
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    PrivateKeyDer::from_pem_slice(pem).map_err(TlsProblem::Pem)
}

/// TLS 1.3 and 1.2 with this certificate. With authorities, callers may show a certificate of theirs; who shows none has
/// to show a token, and an app that sets itself up shows neither.
///
/// # Errors
/// See [`TlsProblem`].
pub fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_authorities: Option<Vec<CertificateDer<'static>>>,
) -> Result<Arc<ServerConfig>, TlsProblem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
