//! An in-memory inbox for development.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    clock::{Clock as _, SystemClock},
    mailer::{Mail, MailError, Mailer},
    users::Email,
};

/// Maximum number of stored mails.
const CAPACITY: usize = 200;

/// A mail in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Time at which it was sent.
    pub at: DateTime<Utc>,
    /// Content and recipient.
    pub mail: Mail,
}

/// Stores the newest 200 mails in memory instead of sending them. Clones share the mails.
#[derive(Clone, Default)]
pub struct DevInbox(Arc<Mutex<VecDeque<ReceivedMail>>>);

impl DevInbox {
    /// Creates an empty inbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the mails, newest first.
    pub fn list(&self) -> Vec<ReceivedMail> {
        self.mails().iter().cloned().collect()
    }

    /// Returns the newest mail, or the newest one to `to`.
    pub fn latest(&self, to: Option<&Email>) -> Option<ReceivedMail> {
        self.mails().iter().find(|received| to.is_none_or(|to| received.mail.to == *to)).cloned()
    }

    fn mails(&self) -> MutexGuard<'_, VecDeque<ReceivedMail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mailer for DevInbox {
    async fn send(&self, mail: Mail) -> Result<(), MailError> {
        let mut mails = self.mails();
        mails.truncate(CAPACITY - 1);
        mails.push_front(ReceivedMail { at: SystemClock.now(), mail });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(to: &str, subject: &str) -> Mail {
        let to = Email::parse(to).unwrap();
        Mail { to, subject: subject.into(), text: "text".into(), html: "<p>html".into() }
    }

    #[tokio::test]
    async fn clones_list_the_same_mails_newest_first() {
        let inbox = DevInbox::new();
        inbox.clone().send(mail("ada@example.com", "first")).await.unwrap();
        inbox.send(mail("bob@example.com", "second")).await.unwrap();
        let subjects: Vec<_> =
            inbox.clone().list().into_iter().map(|received| received.mail.subject).collect();
        assert_eq!(subjects, ["second", "first"]);
    }

    #[tokio::test]
    async fn latest_filters_by_address() {
        let inbox = DevInbox::new();
        assert_eq!(inbox.latest(None), None);
        for (to, subject) in [("ada@example.com", "1"), ("ada@example.com", "2"), ("bob@example.com", "3")] {
            inbox.send(mail(to, subject)).await.unwrap();
        }
        let latest = |to: Option<&str>| {
            let to = to.map(|to| Email::parse(to).unwrap());
            inbox.latest(to.as_ref()).map(|received| received.mail.subject)
        };
        assert_eq!(latest(Some("ada@example.com")).as_deref(), Some("2"));
        assert_eq!(latest(None).as_deref(), Some("3"));
        assert_eq!(latest(Some("eve@example.com")), None);
    }

    #[tokio::test]
    async fn inbox_stores_only_the_newest_two_hundred_mails() {
        let inbox = DevInbox::new();
        for number in 0..250 {
            inbox.send(mail("ada@example.com", &number.to_string())).await.unwrap();
        }
        let mails = inbox.list();
        assert_eq!(mails.len(), 200);
        assert_eq!(mails[0].mail.subject, "249");
        assert_eq!(mails[199].mail.subject, "50");
    }
}
