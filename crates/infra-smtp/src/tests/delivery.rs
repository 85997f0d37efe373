//! Mails that arrive.

use std::collections::HashSet;

use domain::mailer::{Mail, Mailer};
use mail_parser::{MessageParser, MimeHeaders};

use super::{catcher, config, mail, server::TestServer};
use crate::{SmtpConfig, SmtpConfigError, SmtpMailer};

/// Sends the mails by a server of another making and returns what arrived.
async fn arrived(mails: Vec<Mail>) -> Vec<catcher::Caught> {
    let (port, caught) = catcher::start();
    let mailer = SmtpMailer::new(config(port)).unwrap();
    for mail in mails {
        mailer.send(mail).await.unwrap();
    }
    caught.lock().unwrap().clone()
}

#[tokio::test]
async fn text_and_html_arrive_as_alternatives() {
    let arrived = arrived(vec![mail()]).await;
    let message = MessageParser::default().parse(&arrived[0].data).unwrap();
    assert_eq!(message.content_type().unwrap().subtype(), Some("alternative"));
    assert_eq!((message.text_body_count(), message.html_body_count()), (1, 1));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), mail().text);
    assert_eq!(message.body_html(0).unwrap(), mail().html);
}

#[tokio::test]
async fn subject_and_sender_survive_beyond_ascii() {
    let arrived = arrived(vec![mail()]).await;
    assert!(arrived[0].data.is_ascii(), "old servers take nothing else");
    let message = MessageParser::default().parse(&arrived[0].data).unwrap();
    assert_eq!(message.subject(), Some("Grüße – 你好"));
    let sender = message.from().unwrap().first().unwrap();
    assert_eq!((sender.name(), sender.address()), (Some("Über Netz"), Some("no-reply@example.com")));
}

#[tokio::test]
async fn the_envelope_has_the_two_addresses() {
    let arrived = arrived(vec![mail()]).await;
    assert_eq!(arrived[0].from, "no-reply@example.com");
    assert_eq!(arrived[0].to, ["ada@example.org"]);
}

#[tokio::test]
async fn a_mail_says_when_and_by_whom_it_was_made() {
    let arrived = arrived(vec![mail(), mail()]).await;
    let mut ids = HashSet::new();
    for caught in &arrived {
        let message = MessageParser::default().parse(&caught.data).unwrap();
        assert_eq!(message.header_raw("Auto-Submitted").unwrap().trim(), "auto-generated");
        let age = chrono::Utc::now().timestamp() - message.date().unwrap().to_timestamp();
        assert!((0..3600).contains(&age), "{age}");
        let id = message.message_id().unwrap();
        assert!(id.ends_with("@example.com"), "{id}");
        ids.insert(id.to_owned());
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_line_break_in_a_subject_makes_no_header() {
    let subject = "Hello\r\nBcc: eve@example.net\r\n\r\nbody".to_owned();
    let arrived = arrived(vec![Mail { subject, ..mail() }]).await;
    let message = MessageParser::default().parse(&arrived[0].data).unwrap();
    assert!(message.bcc().is_none());
    assert_eq!(arrived[0].to, ["ada@example.org"]);
    assert_eq!(message.text_body_count(), 1);
}

#[tokio::test]
async fn lines_of_dots_arrive_as_they_are() {
    let text = ".\n..\n.hidden\nend\n".to_owned();
    let arrived = arrived(vec![Mail { text: text.clone(), ..mail() }]).await;
    let message = MessageParser::default().parse(&arrived[0].data).unwrap();
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), text);
}

#[tokio::test]
async fn mails_in_turn_share_a_connection() {
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    for _ in 0..3 {
        mailer.send(mail()).await.unwrap();
    }
    assert_eq!(server.count("DATA"), 3);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn many_mails_at_once_use_few_connections() {
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    let mails: Vec<_> = (0..20)
        .map(|_| {
            let mailer = mailer.clone();
            tokio::spawn(async move { mailer.send(mail()).await })
        })
        .collect();
    for sent in mails {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(server.count("DATA"), 20);
    assert!((1..=2).contains(&server.connections()), "{}", server.connections());
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_replaced() {
    let server = TestServer::start(&[("NOOP", "close")]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    for _ in 0..2 {
        mailer.send(mail()).await.unwrap();
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_sender_without_an_address_is_refused_at_once() {
    let config = SmtpConfig { sender_email: "nobody".into(), ..config(1025) };
    assert_eq!(SmtpMailer::new(config).err(), Some(SmtpConfigError::Sender));
}
