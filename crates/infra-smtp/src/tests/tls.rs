//! Encrypted connections.

use std::sync::Arc;

use domain::mailer::{MailError, Mailer};
use lettre::transport::smtp::client::Certificate;
use rcgen::CertifiedKey;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{config, mail, server::TestServer};
use crate::{Login, SmtpConfig, SmtpMailer, Tls};

/// Creates the TLS acceptor of a server and the certificate that its clients must trust.
fn identity(name: &str) -> (TlsAcceptor, Certificate) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), Certificate::from_der(cert.der().to_vec()).unwrap())
}

fn encrypted(tls: Tls, port: u16) -> SmtpConfig {
    let login = Some(Login { user: "user".into(), password: "hunter2".into() });
    SmtpConfig { tls, login, host: "localhost".into(), ..config(port) }
}

#[tokio::test]
async fn starttls_encrypts_everything_after_ehlo() {
    let (acceptor, certificate) = identity("localhost");
    let server = TestServer::starttls(acceptor).await;
    let mailer =
        SmtpMailer::with_root_certificates(encrypted(Tls::StartTls, server.port), &[certificate]).unwrap();
    mailer.send(mail()).await.unwrap();
    let (encrypted, clear): (Vec<_>, Vec<_>) = server.lines().into_iter().partition(|line| line.is_encrypted);
    assert!(clear.iter().all(|line| line.text.starts_with("EHLO ") || line.text == "STARTTLS"), "{clear:?}");
    assert!(encrypted.iter().any(|line| line.text.starts_with("AUTH PLAIN ")));
    assert!(encrypted.iter().any(|line| line.text == "DATA"));
}

#[tokio::test]
async fn implicit_tls_encrypts_everything() {
    let (acceptor, certificate) = identity("localhost");
    let server = TestServer::implicit_tls(acceptor).await;
    let mailer =
        SmtpMailer::with_root_certificates(encrypted(Tls::Implicit, server.port), &[certificate]).unwrap();
    mailer.send(mail()).await.unwrap();
    assert!(server.lines().iter().all(|line| line.is_encrypted));
    assert_eq!(server.count("DATA"), 1);
}

#[tokio::test]
async fn self_signed_certificate_is_rejected() {
    let (acceptor, _) = identity("localhost");
    let server = TestServer::starttls(acceptor).await;
    let sent = SmtpMailer::new(encrypted(Tls::StartTls, server.port)).unwrap().send(mail()).await;
    let Err(MailError::Transient(text)) = sent else { panic!("{sent:?}") };
    assert!(text.contains("UnknownIssuer"), "{text}");
    assert_eq!(server.count("DATA"), 0);
}

#[tokio::test]
async fn certificate_for_another_name_is_rejected() {
    let (acceptor, certificate) = identity("mail.example.net");
    let server = TestServer::implicit_tls(acceptor).await;
    let mailer =
        SmtpMailer::with_root_certificates(encrypted(Tls::Implicit, server.port), &[certificate]).unwrap();
    assert!(matches!(mailer.send(mail()).await, Err(MailError::Transient(_))));
    assert!(server.lines().is_empty());
}
