//! TLS as the parameters of a connection URL describe it.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::error::DatabaseError;

/// The values of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never uses TLS.
    Disable,
    /// Uses TLS, without verification, if the server refuses unencrypted connections.
    Allow,
    /// Uses TLS, without verification, if the server offers it.
    Prefer,
    /// Uses TLS and verifies that the certificate is from a trusted authority.
    VerifyCa,
    /// Uses TLS and also verifies that the certificate is for this host. `require` does the same: libpq verifies nothing
    /// then, so that anyone between client and server could read everything.
    VerifyFull,
}

impl SslMode {
    pub(super) fn parse(value: &str) -> Result<Self, DatabaseError> {
        match value {
            "disable" => Ok(Self::Disable),
            "allow" => Ok(Self::Allow),
            "prefer" => Ok(Self::Prefer),
            "verify-ca" => Ok(Self::VerifyCa),
            "require" | "verify-full" => Ok(Self::VerifyFull),
            _ => Err(DatabaseError::other(
                "sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
            )),
        }
    }
}

/// The parameters about TLS.
pub(super) struct TlsParameters {
    pub(super) mode: SslMode,
    /// The trusted authorities, in PEM. `None`: those of the operating system.
    pub(super) authorities: Option<PathBuf>,
    /// The certificate by which the server recognizes this client, and its key, in PEM.
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl TlsParameters {
    /// Reads the files.
    pub(super) fn client_config(&self) -> Result<ClientConfig, DatabaseError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(self, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DatabaseError::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| DatabaseError::Other(format!("sslkey: {}: {error}", key.display())))?;
                let certificates = certificates("sslcert", certificate)?;
                config.with_client_auth_cert(certificates, key).map_err(DatabaseError::other)
            }
            (None, None) => Ok(config.with_no_client_auth()),
            _ => Err(DatabaseError::other("sslcert and sslkey must be set together")),
        }
    }
}

fn certificates(
    parameter: &str,
    file: &std::path::Path,
) -> Result<Vec<CertificateDer<'static>>, DatabaseError> {
    let failed = |error: &dyn std::fmt::Display| {
        DatabaseError::Other(format!("{parameter}: {}: {error}", file.display()))
    };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"it contains no certificate in PEM")) } else { Ok(found) }
}

impl Default for TlsParameters {
    fn default() -> Self {
        Self { mode: SslMode::Allow, authorities: None, certificate: None, key: None }
    }
}

/// Verifies as much of a certificate as the mode says.
#[derive(Debug)]
struct Verifier {
    /// Verifies the authority and the name. `None` if neither is verified.
    full: Option<Arc<WebPkiServerVerifier>>,
    ignores_name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(parameters: &TlsParameters, provider: &Arc<CryptoProvider>) -> Result<Self, DatabaseError> {
        let mode = parameters.mode;
        let full = if matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            let mut roots = RootCertStore::empty();
            match &parameters.authorities {
                Some(file) => roots.add_parsable_certificates(certificates("sslrootcert", file)?),
                None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
            };
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build();
            Some(verifier.map_err(|error| DatabaseError::Other(format!("sslrootcert: {error}")))?)
        } else {
            None
        };
        Ok(Self { full, ignores_name: mode == SslMode::VerifyCa, provider: provider.clone() })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(full) = &self.full else { return Ok(ServerCertVerified::assertion()) };
        match full.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // The name is checked last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.ignores_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
