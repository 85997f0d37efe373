use std::sync::Mutex;

use domain::{
    accounts::{CodeHash, RegistrationId},
    clock::SystemClock,
    mailer::MockMailer,
    outbox::{MailId, MockOutboxRepository},
    users::Email,
};

use super::*;

fn ann() -> Email {
    Email::parse("ann@example.com").unwrap()
}

fn queued(intent: MailIntent) -> OutboxMail {
    OutboxMail { id: MailId(1), intent, attempts: 1, queued_at: Utc::now() }
}

fn recipient() -> Recipient {
    Recipient { email: ann(), username: "ann".into() }
}

/// An outbox with one due mail.
fn outbox_with(mail: OutboxMail) -> MockOutboxRepository {
    let mut outbox = MockOutboxRepository::new();
    outbox.expect_claim().once().return_once(move |_, _, _| Ok(vec![mail]));
    outbox
}

fn service(outbox: MockOutboxRepository, mailer: MockMailer) -> OutboxService {
    let keyed_hash = KeyedHash::new(b"a key for tests");
    OutboxService::new(
        Arc::new(outbox),
        Arc::new(mailer),
        Arc::new(SystemClock),
        keyed_hash,
        "https://app.example",
    )
}

#[tokio::test]
async fn the_sent_code_matches_the_stored_hash() {
    let registration = RegistrationId(3);
    let stored = Arc::new(Mutex::new(None));
    let (mut outbox, mut mailer) =
        (outbox_with(queued(MailIntent::VerifyEmail(registration))), MockMailer::new());
    let sent = stored.clone();
    outbox.expect_issue_code().once().returning(move |_, hash, _| {
        *sent.lock().unwrap() = Some(hash);
        Ok(Some(recipient()))
    });
    outbox.expect_ack().withf(|id| *id == MailId(1)).once().returning(|_| Ok(()));
    mailer.expect_send().once().returning(move |mail| {
        assert_eq!((&mail.to, mail.subject.as_str()), (&ann(), "Your OTP Verification Code"));
        let code = mail.text.lines().find(|line| line.len() == 6).unwrap();
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()) && mail.html.contains(code));
        let hash: CodeHash = KeyedHash::new(b"a key for tests").hash_code(registration, code);
        assert_eq!(stored.lock().unwrap().take(), Some(hash));
        Ok(())
    });
    assert_eq!(service(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn the_reset_link_leads_to_the_frontend() {
    let (mut outbox, mut mailer) = (outbox_with(queued(MailIntent::ResetPassword(ann()))), MockMailer::new());
    outbox.expect_issue_reset().once().returning(|_, _, _, _| Ok(Some(recipient())));
    outbox.expect_ack().once().returning(|_| Ok(()));
    mailer.expect_send().once().returning(|mail| {
        assert_eq!(mail.subject, "Reset Your Password");
        let link = mail.text.lines().find(|line| line.starts_with("https://")).unwrap();
        assert!(link.starts_with("https://app.example/reset-password?token="), "{link}");
        assert!(mail.html.contains(&format!("href=\"{link}\"")));
        Ok(())
    });
    assert_eq!(service(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn a_mail_that_is_no_longer_needed_is_deleted_unsent() {
    for intent in [MailIntent::VerifyEmail(RegistrationId(3)), MailIntent::ResetPassword(ann())] {
        let mut outbox = outbox_with(queued(intent));
        outbox.expect_issue_code().returning(|_, _, _| Ok(None));
        outbox.expect_issue_reset().returning(|_, _, _, _| Ok(None));
        outbox.expect_ack().once().returning(|_| Ok(()));
        assert_eq!(service(outbox, MockMailer::new()).send_due().await, Ok(1));
    }
}

#[tokio::test]
async fn registration_of_a_taken_address_mails_its_owner() {
    let (mut outbox, mut mailer) =
        (outbox_with(queued(MailIntent::AlreadyRegistered(ann()))), MockMailer::new());
    outbox.expect_ack().once().returning(|_| Ok(()));
    mailer.expect_send().withf(|mail| mail.to == ann()).once().returning(|_| Ok(()));
    assert_eq!(service(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn a_mail_that_fails_is_retried_later() {
    let (mut outbox, mut mailer) =
        (outbox_with(queued(MailIntent::AlreadyRegistered(ann()))), MockMailer::new());
    mailer.expect_send().once().returning(|_| Err(MailError::Transient("no connection".into())));
    outbox
        .expect_retry_later()
        .withf(|id, next_at, error| {
            *id == MailId(1) && next_at.is_some() && error == "transient: no connection"
        })
        .once()
        .returning(|_, _, _| Ok(()));
    assert_eq!(service(outbox, mailer).send_due().await, Ok(1));
}

#[test]
fn retry_delays_grow_to_less_than_a_minute_and_end() {
    let now = Utc::now();
    let delay = |attempts, age: TimeDelta, error: &MailError| {
        let queued =
            OutboxMail { attempts, queued_at: now - age, ..queued(MailIntent::ResetPassword(ann())) };
        next_attempt(&queued, error, now).map(|next| (next - now).num_seconds())
    };
    let (transient, permanent) = (MailError::Transient(String::new()), MailError::Permanent(String::new()));
    let hour = TimeDelta::hours(1);
    let delays = [1, 2, 3, 6, 7, 1000].map(|attempts| delay(attempts, hour, &transient));
    assert_eq!(delays, [1, 2, 4, 32, 40, 40].map(Some));
    assert_eq!(delay(3, TimeDelta::days(1), &transient), None);
    assert_eq!(delay(3, TimeDelta::minutes(14), &permanent), Some(4));
    assert_eq!(delay(3, hour, &permanent), None);
}
