use std::sync::Mutex;

use domain::{
    accounts::{CodeHash, RegistrationId},
    clock::SystemClock,
    mailer::MockMailer,
    outbox::{Addressee, MailId, MockOutboxRepository},
};

use super::*;

fn ann() -> Email {
    Email::parse("ann@example.com").unwrap()
}

fn owed(intent: MailIntent) -> OutboxMail {
    OutboxMail { id: MailId(1), intent, attempts: 1, queued_at: Utc::now() }
}

fn addressee() -> Addressee {
    Addressee { email: ann(), username: "ann".into() }
}

/// An outbox that owes one mail.
fn owing(mail: OutboxMail) -> MockOutboxRepository {
    let mut outbox = MockOutboxRepository::new();
    outbox.expect_claim().once().return_once(move |_, _, _| Ok(vec![mail]));
    outbox
}

fn mails(outbox: MockOutboxRepository, mailer: MockMailer) -> OutboxService {
    let secrets = KeyedHash::new(b"a key for tests");
    OutboxService::new(
        Arc::new(outbox),
        Arc::new(mailer),
        Arc::new(SystemClock),
        secrets,
        "https://app.example",
    )
}

#[tokio::test]
async fn the_code_that_is_sent_is_the_one_whose_hash_is_stored() {
    let registration = RegistrationId(3);
    let stored = Arc::new(Mutex::new(None));
    let (mut outbox, mut mailer) = (owing(owed(MailIntent::VerifyEmail(registration))), MockMailer::new());
    let keep = stored.clone();
    outbox.expect_issue_code().once().returning(move |_, hash, _| {
        *keep.lock().unwrap() = Some(hash);
        Ok(Some(addressee()))
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
    assert_eq!(mails(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn the_reset_link_leads_to_the_frontend() {
    let (mut outbox, mut mailer) = (owing(owed(MailIntent::ResetPassword(ann()))), MockMailer::new());
    outbox.expect_issue_reset().once().returning(|_, _, _, _| Ok(Some(addressee())));
    outbox.expect_ack().once().returning(|_| Ok(()));
    mailer.expect_send().once().returning(|mail| {
        assert_eq!(mail.subject, "Reset Your Password");
        let link = mail.text.lines().find(|line| line.starts_with("https://")).unwrap();
        assert!(link.starts_with("https://app.example/reset-password?token="), "{link}");
        assert!(mail.html.contains(&format!("href=\"{link}\"")));
        Ok(())
    });
    assert_eq!(mails(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_struck_out_unsent() {
    for intent in [MailIntent::VerifyEmail(RegistrationId(3)), MailIntent::ResetPassword(ann())] {
        let mut outbox = owing(owed(intent));
        outbox.expect_issue_code().returning(|_, _, _| Ok(None));
        outbox.expect_issue_reset().returning(|_, _, _, _| Ok(None));
        outbox.expect_ack().once().returning(|_| Ok(()));
        assert_eq!(mails(outbox, MockMailer::new()).send_due().await, Ok(1));
    }
}

#[tokio::test]
async fn an_owner_is_told_of_an_attempt_to_register_their_address() {
    let (mut outbox, mut mailer) = (owing(owed(MailIntent::AlreadyRegistered(ann()))), MockMailer::new());
    outbox.expect_ack().once().returning(|_| Ok(()));
    mailer.expect_send().withf(|mail| mail.to == ann()).once().returning(|_| Ok(()));
    assert_eq!(mails(outbox, mailer).send_due().await, Ok(1));
}

#[tokio::test]
async fn a_mail_that_was_not_taken_over_is_put_off() {
    let (mut outbox, mut mailer) = (owing(owed(MailIntent::AlreadyRegistered(ann()))), MockMailer::new());
    mailer.expect_send().once().returning(|_| Err(MailError::Transient("no connection".into())));
    outbox
        .expect_retry_later()
        .withf(|id, next_at, error| {
            *id == MailId(1) && next_at.is_some() && error == "transient: no connection"
        })
        .once()
        .returning(|_, _, _| Ok(()));
    assert_eq!(mails(outbox, mailer).send_due().await, Ok(1));
}

#[test]
fn waits_grow_to_less_than_a_minute_and_end_in_a_dead_letter() {
    let now = Utc::now();
    let wait = |attempts, age: TimeDelta, error: &MailError| {
        let owed = OutboxMail { attempts, queued_at: now - age, ..owed(MailIntent::ResetPassword(ann())) };
        next_try(&owed, error, now).map(|next| (next - now).num_seconds())
    };
    let (transient, permanent) = (MailError::Transient(String::new()), MailError::Permanent(String::new()));
    let hour = TimeDelta::hours(1);
    let waits = [1, 2, 3, 6, 7, 1000].map(|attempts| wait(attempts, hour, &transient));
    assert_eq!(waits, [1, 2, 4, 32, 40, 40].map(Some));
    assert_eq!(wait(3, TimeDelta::days(1), &transient), None);
    assert_eq!(wait(3, TimeDelta::minutes(14), &permanent), Some(4));
    assert_eq!(wait(3, hour, &permanent), None);
}
