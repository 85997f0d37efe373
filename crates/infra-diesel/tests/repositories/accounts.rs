use chrono::TimeDelta;
use domain::{
    accounts::{Activation, NewRegistration, PasswordHash, RegistrationOutcome, ResetTokenHash},
    outbox::{MailId, MailIntent},
    sessions::{RefreshId, RefreshUse, Rotation, SessionId},
    users::UserId,
};
use test_support::database_test;

use crate::helpers::{Store, email, now, registration, send_codes, session, user};

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

async fn lives(db: &Store, id: i64) -> bool {
    db.sessions.find_active(SessionId(id), now()).await.unwrap().is_some()
}

#[database_test(postgres, sqlite, memory)]
async fn a_code_activates_only_what_was_registered_with_it(db: Store) {
    let mine = registration("victim", email("victim"));
    let theirs = registration("attacker", email("victim"));
    assert_eq!(db.accounts.register(theirs).await.unwrap(), RegistrationOutcome::Pending);
    assert_eq!(db.accounts.register(mine.clone()).await.unwrap(), RegistrationOutcome::Pending);
    let codes = send_codes(&db, TimeDelta::minutes(10)).await;
    assert_eq!(codes.len(), 2);
    assert!(matches!(
        db.accounts.activate(codes[1].clone(), session(1)).await.unwrap(),
        Activation::LoggedIn(_)
    ));
    let found = db.accounts.find_credentials("VICTIM@example.com".into()).await.unwrap().unwrap();
    assert_eq!(found.password, mine.password);
    // The other registration of the address is gone with it.
    assert_eq!(db.accounts.activate(codes[0].clone(), session(2)).await.unwrap(), Activation::CodeInvalid);
    assert!(db.accounts.find_credentials("attacker".into()).await.unwrap().is_none());
}

#[database_test(postgres, sqlite, memory)]
async fn a_code_works_once(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    let code = send_codes(&db, TimeDelta::minutes(10)).await.pop().unwrap();
    let uses = (1..=8).map(|id| {
        let (accounts, code) = (db.accounts.clone(), code.clone());
        tokio::spawn(async move { accounts.activate(code, session(id)).await.unwrap() })
    });
    let mut done = 0;
    for one in uses.collect::<Vec<_>>() {
        done += usize::from(matches!(one.await.unwrap(), Activation::LoggedIn(_)));
    }
    assert_eq!(done, 1);
}

#[database_test(postgres, sqlite, memory)]
async fn tries_are_counted_also_when_they_come_at_once(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    send_codes(&db, TimeDelta::minutes(10)).await;
    let tries = (0..40).map(|_| {
        let accounts = db.accounts.clone();
        tokio::spawn(async move { accounts.count_attempt(email("ann"), 5).await.unwrap().len() })
    });
    let mut counted = 0;
    for one in tries.collect::<Vec<_>>() {
        counted += one.await.unwrap();
    }
    assert_eq!(counted, 5);
}

#[database_test(postgres, sqlite, memory)]
async fn an_expired_code_can_be_told_and_activates_nothing(db: Store) {
    db.accounts.register(registration("ann", email("ann"))).await.unwrap();
    let code = send_codes(&db, TimeDelta::minutes(-1)).await.pop().unwrap();
    assert_eq!(db.accounts.count_attempt(email("ann"), 5).await.unwrap(), vec![code.clone()]);
    assert_eq!(db.accounts.activate(code, session(1)).await.unwrap(), Activation::CodeInvalid);
}

#[database_test(postgres, sqlite, memory)]
async fn a_name_is_held_for_one_address_while_the_code_is_valid(db: Store) {
    let mut first = registration("Ann", email("ann"));
    first.name_reserved_until = now() + TimeDelta::milliseconds(-1);
    assert_eq!(db.accounts.register(first.clone()).await.unwrap(), RegistrationOutcome::Pending);
    // Expired: free for others, and then held against the first.
    assert_eq!(
        db.accounts.register(registration("ann", email("other"))).await.unwrap(),
        RegistrationOutcome::Pending
    );
    assert_eq!(db.accounts.register(first).await.unwrap(), RegistrationOutcome::UsernameTaken);
    // The same address may ask again.
    assert_eq!(
        db.accounts.register(registration("ANN", email("other"))).await.unwrap(),
        RegistrationOutcome::Pending
    );
}

#[database_test(postgres, sqlite, memory)]
async fn names_and_addresses_of_users_are_taken(db: Store) {
    user(&db, "ann", 1).await;
    let same_name = registration("ANN", email("other"));
    assert_eq!(db.accounts.register(same_name).await.unwrap(), RegistrationOutcome::UsernameTaken);
    let mut same_address = registration("other", email("ann"));
    assert_eq!(db.accounts.register(same_address.clone()).await.unwrap(), RegistrationOutcome::EmailTaken);
    assert!(db.outbox.claim(now(), now(), 10).await.unwrap().is_empty());
    same_address.notify_owner = true;
    assert_eq!(db.accounts.register(same_address).await.unwrap(), RegistrationOutcome::EmailTaken);
    let owed = db.outbox.claim(now(), now(), 10).await.unwrap();
    assert_eq!(owed[0].intent, MailIntent::AlreadyRegistered(email("ann")));
}

#[database_test(postgres, sqlite, memory)]
async fn a_refresh_token_has_one_successor_however_many_use_it(db: Store) {
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
    assert!(lives(&db, 1).await);
}

#[database_test(postgres, sqlite, memory)]
async fn a_refresh_token_that_was_used_before_ends_its_session(db: Store) {
    let ann = user(&db, "ann", 1).await;
    assert!(matches!(
        db.sessions.rotate(refresh(ann, "first of 1", "second", None)).await.unwrap(),
        Rotation::Issued { .. }
    ));
    // It read the clock before the first one did.
    let mut second = refresh(ann, "first of 1", "third", None);
    second.at -= TimeDelta::seconds(1);
    assert_eq!(db.sessions.rotate(second).await.unwrap(), Rotation::Reused);
    assert!(!lives(&db, 1).await);
    assert_eq!(
        db.sessions.rotate(refresh(ann, "second", "third", None)).await.unwrap(),
        Rotation::SessionInvalid
    );
}

#[database_test(postgres, sqlite, memory)]
async fn the_grace_ends_when_the_successor_is_used(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let grace = TimeDelta::seconds(10);
    db.sessions.rotate(refresh(ann, "first of 1", "second", grace)).await.unwrap();
    db.sessions.rotate(refresh(ann, "second", "third", grace)).await.unwrap();
    assert_eq!(db.sessions.rotate(refresh(ann, "first of 1", "x", grace)).await.unwrap(), Rotation::Reused);
}

#[database_test(postgres, sqlite, memory)]
async fn changing_a_password_ends_all_other_sessions(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let (old, new) = (PasswordHash("hash of ann".into()), PasswordHash("new".into()));
    assert!(db.sessions.create(ann, old.clone(), session(2)).await.unwrap());
    let keep = SessionId(1);
    let ended = db.accounts.change_password(ann, old.clone(), new.clone(), keep, now()).await.unwrap();
    assert_eq!(ended, Some(vec![SessionId(2)]));
    assert!(lives(&db, 1).await && !lives(&db, 2).await);
    // The old password is no more: nothing happens.
    assert_eq!(db.accounts.change_password(ann, old, new.clone(), keep, now()).await.unwrap(), None);
    assert_eq!(db.accounts.find_password_hash(ann).await.unwrap(), Some(new));
}

#[database_test(postgres, sqlite, memory)]
async fn a_login_with_the_old_password_never_outlives_its_change(db: Store) {
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
        assert!(!lives(&db, id).await);
    }
    assert!(!db.sessions.create(ann, old, session(30)).await.unwrap());
}

#[database_test(postgres, sqlite, memory)]
async fn a_reset_token_works_once_and_only_the_newest(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let token = |n: u8| ResetTokenHash(vec![n; 32]);
    let later = now() + TimeDelta::minutes(15);
    db.outbox.issue_reset(MailId(7), email("ann"), token(1), later).await.unwrap().unwrap();
    db.outbox.issue_reset(MailId(9), email("ann"), token(2), later).await.unwrap().unwrap();
    // One that was asked for earlier and is sent later counts no more.
    assert!(db.outbox.issue_reset(MailId(8), email("ann"), token(3), later).await.unwrap().is_none());
    assert!(db.outbox.issue_reset(MailId(9), email("nobody"), token(4), later).await.unwrap().is_none());
    let new = || PasswordHash("new".into());
    assert_eq!(db.accounts.reset_password(token(1), new(), now()).await.unwrap(), None);
    assert_eq!(db.accounts.reset_password(token(2), new(), later).await.unwrap(), None);
    let done = db.accounts.reset_password(token(2), new(), now()).await.unwrap();
    assert_eq!(done, Some((ann, vec![SessionId(1)])));
    assert_eq!(db.accounts.reset_password(token(2), new(), now()).await.unwrap(), None);
    assert!(!lives(&db, 1).await);
}

#[database_test(postgres, sqlite, memory)]
async fn an_owed_mail_is_claimed_by_one_worker_until_its_lease_ends(db: Store) {
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
async fn a_mail_leaves_when_it_is_let_or_not_at_all(db: Store) {
    let (first, second, later) = (now(), now() + TimeDelta::seconds(1), now() + TimeDelta::hours(1));
    let due = async |at| db.outbox.claim(at, at, 10).await.unwrap().len();
    for asked_at in [first, second] {
        db.accounts.request_reset(email("ann"), asked_at, later).await.unwrap();
    }
    let new = registration("bob", email("bob"));
    let registered_at = new.at;
    db.accounts.register(NewRegistration { mail_at: later, ..new }).await.unwrap();
    assert_eq!(due(second).await, 0);
    // Not what was asked for at another time, or to another address.
    db.outbox.reschedule(email("bob"), first, None).await.unwrap();
    db.outbox.reschedule(email("ann"), second, Some(second)).await.unwrap();
    assert_eq!(due(second).await, 1);
    db.outbox.reschedule(email("bob"), registered_at, Some(second)).await.unwrap();
    db.outbox.reschedule(email("ann"), first, None).await.unwrap();
    // What has been tried already is the worker's to put off.
    db.outbox.reschedule(email("ann"), second, None).await.unwrap();
    assert_eq!(due(later).await, 2);
}
