//! Mail by SMTP.

use std::sync::Arc;

use async_trait::async_trait;
use domain::mailer::{Mail, MailError, Mailer};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, TlsParameters},
    },
};

use crate::{
    SmtpConfig, SmtpConfigError, Tls,
    connections::{Connections, Route, Security},
};

/// Sends mails by SMTP. A clone shares the connections.
#[derive(Clone)]
pub struct SmtpMailer {
    sender: Mailbox,
    connections: Arc<Connections>,
}

impl SmtpMailer {
    /// Prepares sending; the server is reached when the first mail comes.
    pub fn new(config: SmtpConfig) -> Result<Self, SmtpConfigError> {
        Self::trusting(config, &[])
    }

    /// Trusts `roots` beside the certificates of the system.
    pub(crate) fn trusting(config: SmtpConfig, roots: &[Certificate]) -> Result<Self, SmtpConfigError> {
        let address: Address = config.sender_email.parse().map_err(|_| SmtpConfigError::Sender)?;
        let name = config.sender_name.trim();
        let sender = Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address);
        let tls = |host: &str| {
            let mut builder = TlsParameters::builder(host.to_owned());
            for root in roots {
                builder = builder.add_root_certificate(root.clone());
            }
            builder.build().map_err(|_| SmtpConfigError::TlsSetup)
        };
        let security = match config.tls {
            Tls::Implicit => Security::Implicit(tls(&config.host)?),
            Tls::StartTls => Security::StartTls(tls(&config.host)?),
            Tls::Plain => Security::Plain,
        };
        if config.tls == Tls::Plain && config.login.is_some() {
            tracing::warn!("the SMTP password is sent without encryption");
        }
        let route = Route {
            host: config.host,
            port: config.port,
            security,
            login: config.login.map(|login| Credentials::new(login.user, login.password)),
            timeout: config.timeout,
        };
        Ok(Self { sender, connections: Arc::new(Connections::new(route, config.connections)) })
    }

    /// Whether the server lets us in, by logging in and leaving again. No mail is sent.
    pub async fn check(&self) -> Result<(), MailError> {
        self.connections.check().await
    }

    fn message(&self, mail: Mail) -> Result<Message, MailError> {
        let permanent = |what: &str| MailError::Permanent(what.to_owned());
        let to = mail.to.as_str().parse().map_err(|_| permanent("the address cannot be written to"))?;
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.sender.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .date_now()
            .message_id(Some(self.message_id()?))
            // Keeps vacation notices away (RFC 3834).
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .map_err(|_| permanent("the mail cannot be built"))
    }

    /// Of our own making: the library's would tell the name of the machine.
    fn message_id(&self) -> Result<String, MailError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|_| MailError::Transient("the system gives no random numbers".to_owned()))?;
        Ok(format!("<{:032x}@{}>", u128::from_be_bytes(random), self.sender.email.domain()))
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        self.connections.send(&message).await
    }
}
