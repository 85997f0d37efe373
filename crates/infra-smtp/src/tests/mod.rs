//! Tests against real SMTP connections.

mod catcher;
mod delivery;
mod failures;
mod server;
mod tls;

use std::time::Duration;

use domain::{mailer::Mail, users::Email};

use crate::{SmtpConfig, Tls};

fn config(port: u16) -> SmtpConfig {
    SmtpConfig {
        hello_name: None,
        host: "127.0.0.1".into(),
        port,
        tls: Tls::Plain,
        login: None,
        sender_email: "no-reply@example.com".into(),
        sender_name: "Über Netz".into(),
        timeout: Duration::from_secs(20),
        max_connections: 2,
    }
}

fn mail() -> Mail {
    Mail {
        to: Email::parse("ada@example.org").unwrap(),
        subject: "Grüße – 你好".into(),
        text: "Dein Code lautet:\n\n123456\n\nÜber uns: https://example.com/reset?token=secret\n".into(),
        html: "<p>Dein Code lautet <b>123456</b>, grüßt 你好</p>".into(),
    }
}

#[test]
fn for_port_returns_the_usual_mode() {
    assert_eq!(
        [465, 587, 25, 1025].map(Tls::for_port),
        [Tls::Implicit, Tls::StartTls, Tls::Plain, Tls::Plain]
    );
}

#[test]
fn parse_ignores_case_and_rejects_unknown_modes() {
    let parsed = ["implicit", "StartTLS", "PLAIN"].map(|name| name.parse::<Tls>().unwrap());
    assert_eq!(parsed, [Tls::Implicit, Tls::StartTls, Tls::Plain]);
    assert!("ssl".parse::<Tls>().is_err());
}
