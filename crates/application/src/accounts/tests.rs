use domain::{
    accounts::{Credentials, MockAccountRepository, RegistrationId},
    clock::SystemClock,
    mailer::MockMailer,
    outbox::MockOutboxRepository,
    passwords::PasswordHash,
    sessions::{MockSessionObserver, MockSessionRepository, SessionId},
};

use super::*;
use crate::{
    passwords::HashCost,
    rate_limit::{LocalLimiter, RateLimits},
    tokens::AccessToken,
};

const ANN: UserId = UserId(7);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CALLER: Caller = Caller { user: ANN, session: SessionId(9), expires_at: DateTime::UNIX_EPOCH };

fn service(accounts: MockAccountRepository, sessions: MockSessionRepository) -> AccountService {
    let clock = Arc::new(SystemClock);
    let tokens = TokenService::new(b"a key for tests", TimeDelta::minutes(30), TimeDelta::days(7));
    let keyed_hash = KeyedHash::new(b"another key for tests");
    let limits =
        RateLimitService::new(Arc::new(LocalLimiter::default()), keyed_hash.clone(), RateLimits::OFF);
    let session_repository: Arc<dyn SessionRepository> = Arc::new(sessions);
    let mut observer = MockSessionObserver::new();
    observer.expect_ended().returning(|_| ());
    AccountService {
        accounts: Arc::new(accounts),
        session_repository: session_repository.clone(),
        sessions: SessionService::new(tokens.clone(), session_repository, clock.clone(), Arc::new(observer)),
        passwords: PasswordHasher::new(HashCost::CHEAPEST, 1, 100).unwrap(),
        tokens,
        keyed_hash: keyed_hash.clone(),
        outbox: OutboxService::new(
            Arc::new(MockOutboxRepository::new()),
            Arc::new(MockMailer::new()),
            clock.clone(),
            keyed_hash,
            "http://localhost",
        ),
        rate_limits: limits,
        clock,
        hide_registered_emails: false,
        refresh_grace: TimeDelta::seconds(10),
    }
}

async fn hash_of(password: &str) -> PasswordHash {
    PasswordHasher::new(HashCost::CHEAPEST, 1, 1)
        .unwrap()
        .hash(password.into(), &Requester::local())
        .await
        .unwrap()
}

fn ann() -> Email {
    Email::parse("ann@example.com").unwrap()
}

async fn register(outcome: RegistrationOutcome, hide_registered_emails: bool) -> Result<RegistrationHandle> {
    let mut accounts = MockAccountRepository::new();
    accounts
        .expect_register()
        .withf(move |new| {
            new.notify_owner == hide_registered_emails
                && new.password.0.starts_with("$argon2id$")
                && new.name_reserved_until - new.at == CODE_LIFETIME
        })
        .return_once(move |_| Ok(outcome));
    let service =
        AccountService { hide_registered_emails, ..service(accounts, MockSessionRepository::new()) };
    let password = NewPassword::parse("password", "correct horse").unwrap();
    service.register(Username::parse("ann").unwrap(), ann(), password, &Requester::local()).await
}

#[tokio::test]
async fn register_reports_taken_addresses_unless_they_are_hidden() {
    assert!(register(RegistrationOutcome::Pending, false).await.is_ok());
    assert_eq!(register(RegistrationOutcome::EmailTaken, false).await, Err(Error::EMAIL_TAKEN));
    assert!(register(RegistrationOutcome::EmailTaken, true).await.is_ok());
    assert_eq!(register(RegistrationOutcome::UsernameTaken, true).await, Err(Error::USERNAME_TAKEN));
}

fn service_verifying(expires_in: TimeDelta, activation: Option<Activation>) -> AccountService {
    let (mut accounts, registration) = (MockAccountRepository::new(), RegistrationId(3));
    let keyed_hash = KeyedHash::new(b"another key for tests");
    let sent = SentCode {
        registration,
        hash: keyed_hash.hash_code(registration, "123456"),
        expires_at: Utc::now() + expires_in,
    };
    accounts
        .expect_count_attempt()
        .withf(|_, limits| (limits.per_client, limits.total) == (5, 25))
        .returning(move |_, _| Ok(vec![sent.clone()]));
    accounts.expect_activate().times(usize::from(activation.is_some())).returning(move |code, _, _| {
        assert_eq!(code.registration, registration);
        Ok(activation.unwrap_or(Activation::CodeInvalid))
    });
    service(accounts, MockSessionRepository::new())
}

async fn verify(service: &AccountService, otp: &str) -> Result<Verified> {
    service.verify_otp(ann(), Otp::parse(otp).unwrap(), None, HERE, None).await
}

#[tokio::test]
async fn verify_otp_with_the_right_code_logs_in() {
    let service = service_verifying(TimeDelta::minutes(1), Some(Activation::LoggedIn(ANN)));
    let verified = verify(&service, "123456").await.unwrap();
    assert!(!verified.password_reset_required);
    assert_eq!(service.tokens.verify_access(AccessToken(&verified.tokens.access)).unwrap().user, ANN);
}

#[tokio::test]
async fn verify_otp_of_contested_registrations_logs_in_without_a_password() {
    let activation = Some(Activation::LoggedInWithoutPassword(ANN));
    let service = service_verifying(TimeDelta::minutes(1), activation);
    let verified = verify(&service, "123456").await.unwrap();
    assert!(verified.password_reset_required);
    assert_eq!(service.tokens.verify_access(AccessToken(&verified.tokens.access)).unwrap().user, ANN);
}

#[tokio::test]
async fn verify_otp_prefers_the_named_registration_over_an_unusable_password() {
    let handle = RegistrationHandle::parse("a-handle-of-22-letters").unwrap();
    for registration in [None, Some(handle)] {
        let (mut accounts, keyed_hash) =
            (MockAccountRepository::new(), KeyedHash::new(b"another key for tests"));
        let hash = keyed_hash.hash_code(RegistrationId(3), "123456");
        let expected = registration.clone();
        accounts
            .expect_count_attempt()
            .withf(move |attempt, _| {
                attempt.registration == expected && attempt.client == keyed_hash.hash_client(HERE)
            })
            .returning(move |_, _| {
                let expires_at = Utc::now() + TimeDelta::minutes(1);
                Ok(vec![SentCode { registration: RegistrationId(3), hash: hash.clone(), expires_at }])
            });
        let is_named = registration.is_some();
        accounts
            .expect_activate()
            .withf(move |_, _, if_contested| if_contested.is_none() == is_named)
            .once()
            .returning(|_, _, _| Ok(Activation::LoggedIn(ANN)));
        let service = service(accounts, MockSessionRepository::new());
        let otp = Otp::parse("123456").unwrap();
        service.verify_otp(ann(), otp, registration, HERE, None).await.unwrap();
    }
}

#[tokio::test]
async fn equal_passwords_for_one_address_have_equal_hashes() {
    let hashes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut accounts = MockAccountRepository::new();
    let registered = hashes.clone();
    accounts.expect_register().returning(move |new| {
        registered.lock().unwrap().push(new.password);
        Ok(RegistrationOutcome::Pending)
    });
    let service = service(accounts, MockSessionRepository::new());
    let bob = Email::parse("bob@example.com").unwrap();
    let passwords = [
        (ann(), "correct horse"),
        (ann(), "correct horse"),
        (ann(), "battery staple"),
        (bob, "correct horse"),
    ];
    for (email, password) in passwords {
        let password = NewPassword::parse("password", password).unwrap();
        service
            .register(Username::parse("ann").unwrap(), email, password, &Requester::local())
            .await
            .unwrap();
    }
    let hashes = hashes.lock().unwrap();
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[2] != hashes[0] && hashes[3] != hashes[0]);
}

#[tokio::test]
async fn verify_otp_distinguishes_wrong_expired_and_used_codes() {
    let soon = TimeDelta::minutes(1);
    for (service, otp, error) in [
        (service_verifying(soon, None), "123457", Error::INVALID_OTP),
        (service_verifying(-soon, None), "123456", Error::EXPIRED_OTP),
        (service_verifying(-soon, None), "123457", Error::INVALID_OTP),
        (service_verifying(soon, Some(Activation::CodeInvalid)), "123456", Error::INVALID_OTP),
        (service_verifying(soon, Some(Activation::UsernameTaken)), "123456", Error::USERNAME_TAKEN),
    ] {
        assert_eq!(verify(&service, otp).await, Err(error), "{otp}");
    }
}

async fn login(known: Option<(bool, bool)>, pending: bool, password: &str) -> Result<TokenPair> {
    let hash = hash_of("correct horse").await;
    let (mut accounts, mut sessions) = (MockAccountRepository::new(), MockSessionRepository::new());
    let credentials = known.map(|(is_active, is_verified)| Credentials {
        user: ANN,
        password: hash.clone(),
        is_active,
        is_verified,
    });
    accounts.expect_find_credentials().return_once(move |_| Ok(credentials));
    accounts.expect_find_pending_password_hash().returning(move |_, _| Ok(pending.then(|| hash.clone())));
    sessions.expect_create().returning(|_, _, _| Ok(true));
    service(accounts, sessions).login("ann".into(), password.into(), None, &Requester::local()).await
}

#[tokio::test]
async fn login_reveals_account_state_only_with_the_right_password() {
    let (right, wrong) = ("correct horse", "battery staple");
    assert!(login(Some((true, true)), false, right).await.is_ok());
    assert_eq!(login(Some((true, true)), false, wrong).await, Err(Error::BAD_CREDENTIALS));
    assert_eq!(login(Some((false, true)), false, right).await, Err(Error::INACTIVE_USER));
    assert_eq!(login(Some((false, true)), false, wrong).await, Err(Error::BAD_CREDENTIALS));
    assert_eq!(login(Some((true, false)), false, right).await, Err(Error::NOT_VERIFIED));
    assert_eq!(login(None, true, right).await, Err(Error::NOT_VERIFIED));
    assert_eq!(login(None, true, wrong).await, Err(Error::BAD_CREDENTIALS));
    assert_eq!(login(None, false, right).await, Err(Error::BAD_CREDENTIALS));
}

#[tokio::test]
async fn login_replaces_an_outdated_hash_and_succeeds_even_if_that_fails() {
    for stored in [Ok(()), Err(())] {
        let old = PasswordHash(bcrypt::hash("correct horse", 4).unwrap());
        let (mut accounts, mut sessions) = (MockAccountRepository::new(), MockSessionRepository::new());
        let credentials =
            Credentials { user: ANN, password: old.clone(), is_active: true, is_verified: true };
        accounts.expect_find_credentials().return_once(move |_| Ok(Some(credentials)));
        accounts
            .expect_replace_password_hash()
            .withf(move |user, from, to| *user == ANN && *from == old && to.0.starts_with("$argon2id$"))
            .once()
            .return_once(move |_, _, _| stored.map_err(|()| Error::internal("no")));
        sessions.expect_create().returning(|_, _, _| Ok(true));
        assert!(
            service(accounts, sessions)
                .login("ann".into(), "correct horse".into(), None, &Requester::local())
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn login_during_a_password_change_creates_no_session() {
    let (mut accounts, mut sessions) = (MockAccountRepository::new(), MockSessionRepository::new());
    let password = hash_of("correct horse").await;
    let credentials = Credentials { user: ANN, password, is_active: true, is_verified: true };
    accounts.expect_find_credentials().return_once(move |_| Ok(Some(credentials)));
    sessions.expect_create().returning(|_, _, _| Ok(false));
    let result = service(accounts, sessions)
        .login("ann".into(), "correct horse".into(), None, &Requester::local())
        .await;
    assert_eq!(result, Err(Error::BAD_CREDENTIALS));
}

async fn refresh(rotation: Rotation) -> Result<TokenPair> {
    refresh_within(TimeDelta::seconds(10), rotation).await
}

async fn refresh_within(grace: TimeDelta, rotation: Rotation) -> Result<TokenPair> {
    let mut sessions = MockSessionRepository::new();
    sessions
        .expect_rotate()
        .withf(move |used| {
            let since = (!grace.is_zero()).then(|| used.at - grace);
            used.token == RefreshId("first".into()) && used.grace_starts_at == since
        })
        .return_once(move |_| Ok(rotation));
    let mut service = service(MockAccountRepository::new(), sessions);
    service.refresh_grace = grace;
    let now = Utc::now();
    let first = RefreshId("first".into());
    let pair =
        service.tokens.issue_pair(ANN, SessionId(9), &first, now, now, now + TimeDelta::days(1)).unwrap();
    service.refresh(RefreshToken(pair.refresh)).await
}

#[tokio::test]
async fn refresh_returns_the_successor_or_an_error() {
    let now = Utc::now();
    let second = RefreshId("second".into());
    let issued =
        Rotation::Issued { refresh: second.clone(), issued_at: now, ends_at: now + TimeDelta::days(1) };
    let pair = refresh(issued).await.unwrap();
    let tokens = service(MockAccountRepository::new(), MockSessionRepository::new()).tokens;
    assert_eq!(tokens.verify_refresh(&RefreshToken(pair.refresh)).unwrap().id, second);
    assert_eq!(refresh(Rotation::Reused).await, Err(Error::INVALID_TOKEN));
    assert_eq!(refresh(Rotation::SessionInvalid).await, Err(Error::INVALID_TOKEN));
}

/// The second of two concurrent uses may have read the clock before the first was stored.
#[tokio::test]
async fn refresh_without_a_grace_period_disables_it_for_any_time() {
    assert_eq!(refresh_within(TimeDelta::zero(), Rotation::Reused).await, Err(Error::INVALID_TOKEN));
}

#[tokio::test]
async fn change_password_requires_the_current_password() {
    for (current, unchanged, expected) in [
        ("correct horse", true, Ok(())),
        ("battery staple", true, Err(Error::WRONG_PASSWORD)),
        ("correct horse", false, Err(Error::WRONG_PASSWORD)),
    ] {
        let hash = hash_of("correct horse").await;
        let mut accounts = MockAccountRepository::new();
        accounts.expect_find_password_hash().return_once(move |_| Ok(Some(hash)));
        accounts
            .expect_change_password()
            .withf(|_, _, _, keep, _| *keep == CALLER.session)
            .returning(move |_, _, _, _, _| Ok(unchanged.then(Vec::new)));
        let service = service(accounts, MockSessionRepository::new());
        let new = NewPassword::parse("new_password", "another horse").unwrap();
        assert_eq!(service.change_password(CALLER, current.into(), new, &Requester::local()).await, expected);
    }
}

#[tokio::test]
async fn reset_password_requires_a_valid_token() {
    for (done, expected) in
        [(Some((ANN, vec![SessionId(9)])), Ok(())), (None, Err(Error::INVALID_RESET_TOKEN))]
    {
        let mut accounts = MockAccountRepository::new();
        let hash = KeyedHash::new(b"another key for tests").hash_reset_token("token");
        accounts
            .expect_reset_password()
            .withf(move |token, _, _| *token == hash)
            .return_once(move |_, _, _| Ok(done));
        let service = service(accounts, MockSessionRepository::new());
        let new = NewPassword::parse("new_password", "another horse").unwrap();
        assert_eq!(
            service.reset_password(" token\u{200b}\n".into(), new, &Requester::local()).await,
            expected
        );
    }
}

/// Logs in for a client that is gone before the password is verified, or while its session is stored.
async fn login_of_gone_client(is_gone_at_once: bool, expected_ends: usize) -> Result<TokenPair> {
    let (mut accounts, mut sessions) = (MockAccountRepository::new(), MockSessionRepository::new());
    let password = hash_of("correct horse").await;
    let credentials = Credentials { user: ANN, password, is_active: true, is_verified: true };
    accounts.expect_find_credentials().return_once(move |_| Ok(Some(credentials)));
    let requester = Requester::local();
    let gone = requester.gone.clone();
    if is_gone_at_once {
        gone.cancel();
        sessions.expect_create().never();
    } else {
        sessions.expect_create().return_once(move |_, _, _| {
            gone.cancel();
            Ok(true)
        });
    }
    sessions.expect_end().times(expected_ends).returning(|user, _, _| Ok(user == ANN));
    service(accounts, sessions).login("ann".into(), "correct horse".into(), None, &requester).await
}

#[tokio::test]
async fn login_of_a_client_that_is_gone_leaves_no_session() {
    assert_eq!(login_of_gone_client(true, 0).await.unwrap_err().code(), "unavailable");
    assert_eq!(login_of_gone_client(false, 1).await.unwrap_err().code(), "unavailable");
}

#[tokio::test]
async fn passwords_are_not_changed_for_a_client_that_is_gone() {
    let mut accounts = MockAccountRepository::new();
    let hash = hash_of("correct horse").await;
    accounts.expect_find_password_hash().return_once(move |_| Ok(Some(hash)));
    let service = service(accounts, MockSessionRepository::new());
    let (requester, new) = (Requester::local(), NewPassword::parse("new_password", "another horse").unwrap());
    requester.gone.cancel();
    let changed = service.change_password(CALLER, "correct horse".into(), new.clone(), &requester).await;
    assert_eq!(changed.unwrap_err().code(), "unavailable");
    let reset = service.reset_password("token".into(), new, &requester).await;
    assert_eq!(reset.unwrap_err().code(), "unavailable");
}
