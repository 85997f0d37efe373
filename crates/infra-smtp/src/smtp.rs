//! The SMTP mailer.

use std::sync::Arc;

use async_trait::async_trait;
use domain::mailer::{Mail, MailError, Mailer};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::client::{Certificate, TlsParameters, TlsParametersBuilder},
};

use crate::{SmtpConfig, SmtpConfigError, Tls, pool::Pool};

/// Sends mail over SMTP. Clones share the connections.
#[derive(Clone)]
pub struct SmtpMailer {
    sender: Mailbox,
    pool: Arc<Pool>,
}

impl SmtpMailer {
    /// Creates a mailer, which connects when the first mail is sent.
    pub fn new(config: SmtpConfig) -> Result<Self, SmtpConfigError> {
        Self::with_root_certificates(config, &[])
    }

    /// Trusts `roots` in addition to the root certificates of the system.
    pub(crate) fn with_root_certificates(
        config: SmtpConfig,
        roots: &[Certificate],
    ) -> Result<Self, SmtpConfigError> {
        let address: Address = config.sender_email.parse().map_err(|_| SmtpConfigError::Sender)?;
        let name = config.sender_name.trim();
        let sender = Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address);
        let tls = match config.tls {
            Tls::Implicit | Tls::StartTls => Some(tls_parameters(&config.host, roots)?),
            Tls::Plain => None,
        };
        if tls.is_none() && config.login.is_some() {
            tracing::warn!("the SMTP password is sent without encryption");
        }
        Ok(Self { sender, pool: Pool::new(config, tls) })
    }

    /// Checks that the server can be reached and accepts the credentials, without sending mail.
    pub async fn check(&self) -> Result<(), MailError> {
        self.pool.check().await
    }

    fn message(&self, mail: Mail) -> Result<Message, MailError> {
        let permanent = |text: &str| MailError::Permanent(text.to_owned());
        let to = mail.to.as_str().parse().map_err(|_| permanent("the recipient's address is not valid"))?;
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.sender.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .date_now()
            .message_id(Some(self.message_id()?))
            // Prevents vacation notices (RFC 3834).
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .map_err(|_| permanent("failed to build the message"))
    }

    /// Generates a message ID. lettre's own would reveal the host name of this machine.
    fn message_id(&self) -> Result<String, MailError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|_| MailError::Transient("failed to get random bytes from the system".to_owned()))?;
        Ok(format!("<{:032x}@{}>", u128::from_be_bytes(random), self.sender.email.domain()))
    }
}

fn tls_parameters(host: &str, roots: &[Certificate]) -> Result<TlsParameters, SmtpConfigError> {
    let builder = TlsParameters::builder(host.to_owned());
    let builder = roots.iter().cloned().fold(builder, TlsParametersBuilder::add_root_certificate);
    builder.build().map_err(|_| SmtpConfigError::TlsSetup)
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        self.pool.send(&message).await
    }
}
