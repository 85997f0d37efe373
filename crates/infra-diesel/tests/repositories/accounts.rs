use chrono::TimeDelta;
use domain::{
    accounts::{Activation, CodeAttempt, NewRegistration, RegistrationOutcome, ResetTokenHash},
    outbox::{DEAD_MAIL_RETENTION, MailId, MailIntent},
    passwords::PasswordHash,
    sessions::{RefreshId, RefreshUse, Rotation, SessionId},
    users::UserId,
};
use test_support::database_test;

use crate::helpers::{ATTEMPTS, Store, attempt, email, handle, now, registration, send_codes, session, user};

fn refresh(user: UserId, token: &str, successor: &str, grace: impl Into<Option<TimeDelta>>) -> RefreshUse {
    let at = now();
    RefreshUse {
        session: SessionId(1),
        user,
        token: RefreshId(token.into()),
        successor: RefreshId(successor.into()),
        at,
        grace_starts_at: grace.into().map(|grace| at - grace),
    }
}

async fn is_active(db: &Store, id: i64) -> bool {
    db.sessions.find_active(SessionId(id), now()).await.unwrap().is_some()
}

#[database_test(postgres, sqlite, memory)]
async fn otp_activates_only_its_own_registration(db: Store) {
    let mine = registration("victim", email("victim"));
    let theirs = registration("attacker", email("victim"));
    assert_eq!(db.accounts.register(theirs).await.unwrap(), RegistrationOutcome::Pending);
    assert_eq!(db.accounts.register(mine.clone()).await.unwrap(), RegistrationOutcome::Pending);
    let codes = send_codes(&db, TimeDelta::minutes(10)).await;
    assert_eq!(codes.len(), 2);
    assert!(matches!(
        db.accounts.activate(codes[1].clone(), session(1), None).await.unwrap(),
        Activation::LoggedIn(_)
    ));
    let found = db.accounts.find_credentials("VICTIM@example.com".into()).await.unwrap().unwrap();
    assert_eq!(found.password, mine.password);
    // The other registration of the email is deleted, too.
    let again = db.accounts.activate(codes[0].clone(), session(2), None).await.unwrap();
    assert_eq!(again, Activation::CodeInvalid);
    assert!(db.accounts.find_credentials("attacker".into()).await.unwrap().is_none());
}

#[database_test(postgres, sqlite, memory)]
async fn otp_works_once(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    let code = send_codes(&db, TimeDelta::minutes(10)).await.pop().unwrap();
    let uses = (1..=8).map(|id| {
        let (accounts, code) = (db.accounts.clone(), code.clone());
        tokio::spawn(async move { accounts.activate(code, session(id), None).await.unwrap() })
    });
    let mut done = 0;
    for one in uses.collect::<Vec<_>>() {
        done += usize::from(matches!(one.await.unwrap(), Activation::LoggedIn(_)));
    }
    assert_eq!(done, 1);
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_attempts_are_all_counted(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    send_codes(&db, TimeDelta::minutes(10)).await;
    let tries = (0..40).map(|_| {
        let accounts = db.accounts.clone();
        tokio::spawn(async move { accounts.count_attempt(attempt("ann", 1), ATTEMPTS).await.unwrap().len() })
    });
    let mut counted = 0;
    for one in tries.collect::<Vec<_>>() {
        counted += one.await.unwrap();
    }
    assert_eq!(counted, 5);
}

#[database_test(postgres, sqlite, memory)]
async fn attempts_are_limited_per_client_and_in_all(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    send_codes(&db, TimeDelta::minutes(10)).await;
    let attempts = async |client: u8, times: usize| {
        let mut counted = 0;
        for _ in 0..times {
            counted += db.accounts.count_attempt(attempt("ann", client), ATTEMPTS).await.unwrap().len();
        }
        counted
    };
    assert_eq!(attempts(1, 9).await, 5);
    // A stranger has used up their own attempts only.
    assert_eq!(attempts(2, 1).await, 1);
    assert_eq!([attempts(3, 9).await, attempts(4, 9).await, attempts(5, 9).await], [5, 5, 5]);
    assert_eq!([attempts(6, 9).await, attempts(2, 9).await], [4, 0]);
    // A new code allows new attempts.
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    send_codes(&db, TimeDelta::minutes(10)).await;
    assert_eq!(attempts(1, 9).await, 5);
}

#[database_test(postgres, sqlite, memory)]
async fn reissued_code_allows_new_attempts(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    let code = send_codes(&db, TimeDelta::minutes(10)).await.pop().unwrap();
    for counted in [1, 1, 1, 1, 1, 0] {
        let codes = db.accounts.count_attempt(attempt("ann", 1), ATTEMPTS).await.unwrap();
        assert_eq!(codes.len(), counted);
    }
    db.outbox.issue_code(code.registration, code.hash, now()).await.unwrap().unwrap();
    assert_eq!(db.accounts.count_attempt(attempt("ann", 1), ATTEMPTS).await.unwrap().len(), 1);
}

#[database_test(postgres, sqlite, memory)]
async fn attempt_with_a_handle_counts_for_one_registration(db: Store) {
    for name in ["ann", "attacker"] {
        db.accounts.register(registration(name, email("ann"))).await.unwrap();
    }
    let codes = send_codes(&db, TimeDelta::minutes(10)).await;
    let with = |name: &str| {
        let attempt = CodeAttempt { registration: Some(handle(name)), ..attempt("ann", 1) };
        db.accounts.count_attempt(attempt, ATTEMPTS)
    };
    for _ in 0..5 {
        assert_eq!(with("ann").await.unwrap(), codes[..1]);
    }
    assert_eq!(with("ann").await.unwrap(), []);
    assert_eq!(with("stranger").await.unwrap(), []);
    assert_eq!(db.accounts.count_attempt(attempt("ann", 1), ATTEMPTS).await.unwrap(), codes[1..]);
    let other_address =
        CodeAttempt { email: email("bob"), registration: Some(handle("ann")), ..attempt("ann", 2) };
    assert_eq!(db.accounts.count_attempt(other_address, ATTEMPTS).await.unwrap(), []);
}

#[database_test(postgres, sqlite, memory)]
async fn contested_activation_accepts_no_registered_password(db: Store) {
    // The third has the password of the first.
    for (name, password) in [("ann", "mine"), ("attacker", "theirs"), ("ann", "mine")] {
        let password = PasswordHash(password.into());
        let new = NewRegistration { password, ..registration(name, email("ann")) };
        db.accounts.register(new).await.unwrap();
    }
    let codes = send_codes(&db, TimeDelta::minutes(10)).await;
    let unusable = PasswordHash("unusable".into());
    let activated = db.accounts.activate(codes[2].clone(), session(1), Some(unusable.clone())).await.unwrap();
    let Activation::LoggedInWithoutPassword(ann) = activated else { panic!("{activated:?}") };
    assert_eq!(db.accounts.find_password_hash(ann).await.unwrap(), Some(unusable));
    assert!(is_active(&db, 1).await);
    let mails = db.outbox.claim(now(), now(), 10).await.unwrap();
    let intents: Vec<_> = mails.into_iter().map(|mail| mail.intent).collect();
    assert_eq!(intents, [MailIntent::ResetPassword(email("ann"))]);
}

#[database_test(postgres, sqlite, memory)]
async fn activation_keeps_a_password_that_is_the_only_one(db: Store) {
    for (name, id) in [("ann", 1), ("bob", 2)] {
        for _ in 0..2 {
            let password = PasswordHash("mine".into());
            db.accounts
                .register(NewRegistration { password, ..registration(name, email(name)) })
                .await
                .unwrap();
        }
        let code = send_codes(&db, TimeDelta::minutes(10)).await.pop().unwrap();
        let activated =
            db.accounts.activate(code, session(id), Some(PasswordHash("unusable".into()))).await.unwrap();
        let Activation::LoggedIn(user) = activated else { panic!("{activated:?}") };
        let stored = db.accounts.find_password_hash(user).await.unwrap();
        assert_eq!(stored, Some(PasswordHash("mine".into())));
        assert!(db.outbox.claim(now(), now(), 10).await.unwrap().is_empty());
    }
}

#[database_test(postgres, sqlite)]
async fn concurrent_attempts_and_activations_of_one_address_do_not_deadlock(db: Store) {
    for round in 0..5 {
        let name = format!("ann{round}");
        for _ in 0..6 {
            db.accounts.register(registration(&name, email(&name))).await.unwrap();
        }
        let codes = send_codes(&db, TimeDelta::minutes(10)).await;
        let mut tasks = Vec::new();
        for (n, code) in codes.into_iter().rev().enumerate() {
            let (accounts, name, id) = (db.accounts.clone(), name.clone(), 1 + round * 6 + n as i64);
            tasks.push(tokio::spawn(async move {
                accounts.count_attempt(attempt(&name, 1), ATTEMPTS).await.unwrap();
                let activation = accounts.activate(code, session(id), None).await.unwrap();
                usize::from(matches!(activation, Activation::LoggedIn(_)))
            }));
        }
        let mut activated = 0;
        for task in tasks {
            activated += task.await.unwrap();
        }
        assert_eq!(activated, 1);
    }
}

#[database_test(postgres, sqlite, memory)]
async fn expired_otp_is_reported_and_activates_nothing(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    let code = send_codes(&db, TimeDelta::minutes(-1)).await.pop().unwrap();
    let counted = db.accounts.count_attempt(attempt("ann", 1), ATTEMPTS).await.unwrap();
    assert_eq!(counted, vec![code.clone()]);
    assert_eq!(db.accounts.activate(code, session(1), None).await.unwrap(), Activation::CodeInvalid);
}

#[database_test(postgres, sqlite, memory)]
async fn username_is_reserved_for_one_email_while_the_otp_is_valid(db: Store) {
    let mut first = registration("Ann", email("ann"));
    first.name_reserved_until = now() + TimeDelta::milliseconds(-1);
    assert_eq!(db.accounts.register(first.clone()).await.unwrap(), RegistrationOutcome::Pending);
    // After expiry, others can reserve the name, also against the first user.
    assert_eq!(
        db.accounts.register(registration("ann", email("other"))).await.unwrap(),
        RegistrationOutcome::Pending
    );
    assert_eq!(db.accounts.register(first).await.unwrap(), RegistrationOutcome::UsernameTaken);
    // The same email can register again.
    assert_eq!(
        db.accounts.register(registration("ANN", email("other"))).await.unwrap(),
        RegistrationOutcome::Pending
    );
}

#[database_test(postgres, sqlite, memory)]
async fn usernames_and_emails_of_users_are_taken(db: Store) {
    user(&db, "ann", 1).await;
    let same_name = registration("ANN", email("other"));
    assert_eq!(db.accounts.register(same_name).await.unwrap(), RegistrationOutcome::UsernameTaken);
    let mut same_address = registration("other", email("ann"));
    assert_eq!(db.accounts.register(same_address.clone()).await.unwrap(), RegistrationOutcome::EmailTaken);
    assert!(db.outbox.claim(now(), now(), 10).await.unwrap().is_empty());
    same_address.notify_owner = true;
    assert_eq!(db.accounts.register(same_address).await.unwrap(), RegistrationOutcome::EmailTaken);
    let mails = db.outbox.claim(now(), now(), 10).await.unwrap();
    assert_eq!(mails[0].intent, MailIntent::AlreadyRegistered(email("ann")));
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_refreshes_create_one_successor(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let uses = (0..20).map(|n| {
        let sessions = db.sessions.clone();
        let one = refresh(ann, "first of 1", &format!("second {n}"), TimeDelta::seconds(10));
        tokio::spawn(async move { sessions.rotate(one).await.unwrap() })
    });
    let mut successors = Vec::new();
    for one in uses.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Rotation::Issued { refresh, .. } => successors.push(refresh),
            other => panic!("{other:?}"),
        }
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert!(is_active(&db, 1).await);
}

#[database_test(postgres, sqlite, memory)]
async fn reused_refresh_token_ends_its_session(db: Store) {
    let ann = user(&db, "ann", 1).await;
    assert!(matches!(
        db.sessions.rotate(refresh(ann, "first of 1", "second", None)).await.unwrap(),
        Rotation::Issued { .. }
    ));
    // Its clock is behind that of the first use.
    let mut second = refresh(ann, "first of 1", "third", None);
    second.at -= TimeDelta::seconds(1);
    assert_eq!(db.sessions.rotate(second).await.unwrap(), Rotation::Reused);
    assert!(!is_active(&db, 1).await);
    assert_eq!(
        db.sessions.rotate(refresh(ann, "second", "third", None)).await.unwrap(),
        Rotation::SessionInvalid
    );
}

#[database_test(postgres, sqlite, memory)]
async fn grace_period_ends_when_the_successor_is_used(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let grace = TimeDelta::seconds(10);
    db.sessions.rotate(refresh(ann, "first of 1", "second", grace)).await.unwrap();
    db.sessions.rotate(refresh(ann, "second", "third", grace)).await.unwrap();
    assert_eq!(db.sessions.rotate(refresh(ann, "first of 1", "x", grace)).await.unwrap(), Rotation::Reused);
}

#[database_test(postgres, sqlite, memory)]
async fn change_password_ends_all_other_sessions(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let (old, new) = (PasswordHash("hash of ann".into()), PasswordHash("new".into()));
    assert!(db.sessions.create(ann, old.clone(), session(2)).await.unwrap());
    let keep = SessionId(1);
    let ended = db.accounts.change_password(ann, old.clone(), new.clone(), keep, now()).await.unwrap();
    assert_eq!(ended, Some(vec![SessionId(2)]));
    assert!(is_active(&db, 1).await && !is_active(&db, 2).await);
    // The old password is no longer valid: nothing changes.
    assert_eq!(db.accounts.change_password(ann, old, new.clone(), keep, now()).await.unwrap(), None);
    assert_eq!(db.accounts.find_password_hash(ann).await.unwrap(), Some(new));
}

#[database_test(postgres, sqlite, memory)]
async fn login_with_the_old_password_does_not_survive_its_change(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let (old, new) = (PasswordHash("hash of ann".into()), PasswordHash("new".into()));
    let logins: Vec<_> = (2..22)
        .map(|id| {
            let (sessions, old) = (db.sessions.clone(), old.clone());
            tokio::spawn(async move { sessions.create(ann, old, session(id)).await.unwrap() })
        })
        .collect();
    let changed = db.accounts.change_password(ann, old.clone(), new, SessionId(1), now()).await.unwrap();
    let mut begun = 0;
    for login in logins {
        begun += usize::from(login.await.unwrap());
    }
    assert_eq!(changed.map(|ended| ended.len()), Some(begun));
    for id in 2..22 {
        assert!(!is_active(&db, id).await);
    }
    assert!(!db.sessions.create(ann, old, session(30)).await.unwrap());
}

#[database_test(postgres, sqlite, memory)]
async fn only_the_newest_reset_token_works_and_only_once(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let token = |n: u8| ResetTokenHash(vec![n; 32]);
    let later = now() + TimeDelta::minutes(15);
    db.outbox.issue_reset(MailId(7), email("ann"), token(1), later).await.unwrap().unwrap();
    db.outbox.issue_reset(MailId(9), email("ann"), token(2), later).await.unwrap().unwrap();
    // A link that was requested earlier but issued later is invalid.
    assert!(db.outbox.issue_reset(MailId(8), email("ann"), token(3), later).await.unwrap().is_none());
    assert!(db.outbox.issue_reset(MailId(9), email("nobody"), token(4), later).await.unwrap().is_none());
    let new = || PasswordHash("new".into());
    assert_eq!(db.accounts.reset_password(token(1), new(), now()).await.unwrap(), None);
    assert_eq!(db.accounts.reset_password(token(2), new(), later).await.unwrap(), None);
    let done = db.accounts.reset_password(token(2), new(), now()).await.unwrap();
    assert_eq!(done, Some((ann, vec![SessionId(1)])));
    assert_eq!(db.accounts.reset_password(token(2), new(), now()).await.unwrap(), None);
    assert!(!is_active(&db, 1).await);
}

#[database_test(postgres, sqlite, memory)]
async fn pending_mail_is_claimed_by_one_worker_until_its_lease_ends(db: Store) {
    db.accounts.request_reset(email("ann"), now(), now()).await.unwrap();
    let leased_until = now() + TimeDelta::minutes(1);
    let claims = (0..8).map(|_| {
        let outbox = db.outbox.clone();
        tokio::spawn(async move { outbox.claim(now(), leased_until, 10).await.unwrap().len() })
    });
    let mut claimed = 0;
    for one in claims.collect::<Vec<_>>() {
        claimed += one.await.unwrap();
    }
    assert_eq!(claimed, 1);
    let again = db.outbox.claim(leased_until, leased_until, 10).await.unwrap();
    assert_eq!(again[0].attempts, 2);
    db.outbox.retry_later(again[0].id, None, "dead".into()).await.unwrap();
    assert!(db.outbox.claim(leased_until, leased_until, 10).await.unwrap().is_empty());
}

#[database_test(postgres, sqlite, memory)]
async fn dead_mails_are_deleted_after_their_retention(db: Store) {
    let day = now() - TimeDelta::days(1);
    let old = day - DEAD_MAIL_RETENTION - TimeDelta::seconds(1);
    let recent = day - DEAD_MAIL_RETENTION + TimeDelta::minutes(1);
    for (name, at) in [("dead", old), ("retried", old), ("recent", recent)] {
        db.accounts.request_reset(email(name), at, at).await.unwrap();
    }
    for mail in db.outbox.claim(now(), now(), 10).await.unwrap() {
        let is_retried = mail.intent == MailIntent::ResetPassword(email("retried"));
        db.outbox.retry_later(mail.id, is_retried.then(now), "refused".into()).await.unwrap();
    }
    assert_eq!(db.maintenance.delete_expired(day).await.unwrap(), 1);
    let backlog = db.health.backlog().await.unwrap();
    assert_eq!((backlog.pending_mails, backlog.dead_mails), (1, 1));
    assert_eq!(db.maintenance.delete_expired(day).await.unwrap(), 0);
}

#[database_test(postgres, sqlite, memory)]
async fn mail_is_sent_when_due_or_dropped(db: Store) {
    let (first, second, later) = (now(), now() + TimeDelta::seconds(1), now() + TimeDelta::hours(1));
    let due = async |at| db.outbox.claim(at, at, 10).await.unwrap().len();
    for requested_at in [first, second] {
        db.accounts.request_reset(email("ann"), requested_at, later).await.unwrap();
    }
    let new = registration("bob", email("bob"));
    let registered_at = new.at;
    db.accounts.register(NewRegistration { mail_at: later, ..new }).await.unwrap();
    assert_eq!(due(second).await, 0);
    // Other times and emails do not match.
    db.outbox.reschedule(email("bob"), first, None).await.unwrap();
    db.outbox.reschedule(email("ann"), second, Some(second)).await.unwrap();
    assert_eq!(due(second).await, 1);
    db.outbox.reschedule(email("bob"), registered_at, Some(second)).await.unwrap();
    db.outbox.reschedule(email("ann"), first, None).await.unwrap();
    // After the first attempt, only the worker reschedules.
    db.outbox.reschedule(email("ann"), second, None).await.unwrap();
    assert_eq!(due(later).await, 2);
}
