//! A mailer that records.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::mailer::{Mail, MailError, Mailer};

/// Records mails instead of sending them. Clones share their mails.
#[derive(Clone, Default)]
pub struct RecordingMailer(Arc<Mutex<Vec<Mail>>>);

impl RecordingMailer {
    /// Returns all mails, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Mailer for RecordingMailer {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        Ok(())
    }
}
