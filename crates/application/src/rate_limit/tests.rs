use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

const TWO: Option<RateLimit> = Some(RateLimit { quota: 2, window: Duration::from_hours(1) });

fn limits(limit: Option<RateLimit>, scale: f64) -> RateLimitService {
    let limits = RateLimits::new(|_| limit, scale);
    RateLimitService::new(Arc::new(LocalLimiter::default()), KeyedHash::new(b"a key for tests"), limits)
}

async fn allowed(
    limits: &RateLimitService,
    class: RateLimitClass,
    subject: Subject<'_>,
    times: usize,
) -> usize {
    let mut allowed = 0;
    for _ in 0..times {
        let verdict = limits.check(class, subject).await;
        allowed += usize::from(verdict.is_none_or(|verdict| verdict.state.is_allowed));
    }
    allowed
}

#[tokio::test]
async fn subjects_do_not_exhaust_the_limits_of_others() {
    let limits = limits(TWO, 1.0);
    let ann = Subject::Account(UserId(1));
    assert_eq!(allowed(&limits, RateLimitClass::Write, ann, 5).await, 2);
    assert_eq!(allowed(&limits, RateLimitClass::Write, Subject::Account(UserId(2)), 5).await, 2);
    assert_eq!(allowed(&limits, RateLimitClass::Default, ann, 5).await, 2);
    // Attempts from another address do not count for the owner, however the name is written.
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Login(THERE, "Ann "), 5).await, 2);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Login(THERE, "ann"), 5).await, 0);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Login(HERE, "ann"), 5).await, 2);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Login(THERE, "bob"), 5).await, 2);
    assert_eq!(limits.refusals().map(|(_, count)| count), [14, 0, 6, 0, 0, 3]);
}

#[tokio::test]
async fn a_network_address_has_ten_times_the_limit_of_an_account() {
    let limits = limits(TWO, 1.0);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Address(HERE), 30).await, 20);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, Subject::Address(THERE), 30).await, 20);
}

#[tokio::test]
async fn networks_of_one_customer_have_a_wider_limit_together() {
    let limits = limits(TWO, 1.0);
    let network = |site: u16, n: u16| {
        Subject::Address(std::net::Ipv6Addr::new(0x2001, 0xdb8, site, n, 0, 0, 0, 0).into())
    };
    let mut total = 0;
    for n in 0..20 {
        total += allowed(&limits, RateLimitClass::Auth, network(1, n), 25).await;
    }
    assert_eq!(total, 200);
    assert_eq!(allowed(&limits, RateLimitClass::Auth, network(2, 0), 25).await, 20);
}

#[tokio::test]
async fn a_refused_request_reports_when_to_retry() {
    let limits = limits(Some(RateLimit { quota: 2, window: Duration::from_mins(1) }), 1.0);
    let mut remaining = Vec::new();
    for _ in 0..3 {
        remaining
            .push(limits.check(RateLimitClass::Mail, Subject::Address(HERE)).await.unwrap().state.remaining);
    }
    assert_eq!(remaining, [19, 18, 17]);
    allowed(&limits, RateLimitClass::Mail, Subject::Address(HERE), 17).await;
    let refused = limits.check(RateLimitClass::Mail, Subject::Address(HERE)).await.unwrap().state;
    assert!(!refused.is_allowed && refused.remaining == 0);
    assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= Duration::from_secs(3));
}

#[tokio::test]
async fn scale_multiplies_limits_and_zero_disables_them() {
    let ann = Subject::Account(UserId(1));
    assert_eq!(allowed(&limits(TWO, 2.0), RateLimitClass::Write, ann, 9).await, 4);
    assert_eq!(allowed(&limits(TWO, 0.0), RateLimitClass::Write, ann, 9).await, 9);
    assert_eq!(allowed(&limits(None, 1.0), RateLimitClass::Write, ann, 9).await, 9);
}

fn mail(address: &str) -> Email {
    Email::parse(address).unwrap()
}

#[tokio::test]
async fn mails_to_one_recipient_are_a_minute_apart_and_few_per_hour() {
    let (limits, at) = (limits(TWO, 1.0), Utc::now());
    let ann = mail("ann@example.com");
    let mut waits = Vec::new();
    for _ in 0..7 {
        waits.push(limits.schedule_mail(&ann, HERE, at).await.map(|leaves| (leaves - at).num_seconds()));
    }
    assert_eq!(waits, [Some(0), Some(60), Some(120), Some(180), Some(240), None, None]);
    // Other senders and other recipients are not affected.
    assert_eq!(limits.schedule_mail(&ann, THERE, at).await, Some(at));
    assert_eq!(limits.schedule_mail(&mail("bob@example.com"), HERE, at).await, Some(at));
}

#[tokio::test]
async fn mails_requested_from_many_addresses_delay_others_but_suppress_none() {
    let (limits, at) = (limits(TWO, 1.0), Utc::now());
    let ann = mail("ann@example.com");
    for n in 0..20 {
        let from = IpAddr::from([198, 51, 100, n]);
        assert_eq!(limits.schedule_mail(&ann, from, at).await, Some(at));
    }
    let leaves = limits.schedule_mail(&ann, HERE, at).await.unwrap();
    assert!(leaves > at && leaves < at + TimeDelta::minutes(5));
}

#[tokio::test]
async fn delayed_mails_to_one_recipient_are_spaced_and_dropped_beyond_an_hour() {
    let (limits, at) = (limits(TWO, 1.0), Utc::now());
    let ann = mail("ann@example.com");
    let mut waits = Vec::new();
    for n in 0..39 {
        for _ in 0..5 {
            let from = IpAddr::from([198, 51, 100, n]);
            waits.push(limits.schedule_mail(&ann, from, at).await.map(|due_at| (due_at - at).num_seconds()));
        }
    }
    let within = |seconds| waits.iter().flatten().filter(|wait| **wait <= seconds).count();
    // Twenty at once, then one each three minutes.
    assert!(within(170) <= 20 && within(720) <= 24, "{waits:?}");
    assert_eq!((waits.iter().flatten().count(), within(3600)), (40, 40), "{waits:?}");
    let mut sorted: Vec<_> = waits.iter().flatten().copied().filter(|wait| *wait >= 300).collect();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{sorted:?}");
    // Other recipients are not affected.
    assert_eq!(limits.schedule_mail(&mail("bob@example.com"), HERE, at).await, Some(at));
}

#[tokio::test]
async fn without_limits_mails_are_sent_immediately() {
    let (limits, at) = (limits(TWO, 0.0), Utc::now());
    for _ in 0..20 {
        assert_eq!(limits.schedule_mail(&mail("ann@example.com"), HERE, at).await, Some(at));
    }
}
