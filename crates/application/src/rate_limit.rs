//! Rate limits per account, network address and login name.
//!
//! The subject of a request is its account if it is authenticated, else its network address. An address may do more,
//! since many users may share it. Where a request names an account without proof, as at login, the name counts together
//! with the address. So no client can exhaust the limit of another one.

mod local;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    rate_limit::{RateLimit, RateLimitKey, RateLimitState, RateLimiter},
    users::{Email, UserId},
};

pub use local::LocalLimiter;

use crate::{keyed_hash::KeyedHash, networks::site_of};

/// Limits of a network address, as a multiple of those of an account.
const ADDRESS_FACTOR: f64 = 10.0;
/// Limits of the networks of one customer (IPv6 /48) as a multiple of those of an account.
const SITE_FACTOR: f64 = 100.0;
/// One mail per minute from one network address to one recipient, up to six scheduled ahead. Counted in seconds, so that
/// mails are spaced exactly.
const MAIL_PACE: RateLimit = RateLimit { quota: 360, window: Duration::from_mins(6) };
/// Cost of a mail in `MAIL_PACE`, in seconds.
const MAIL_COST: u32 = 60;
/// Mails from one network address to one recipient.
const MAILS_PER_SENDER: RateLimit = RateLimit { quota: 5, window: Duration::from_hours(1) };
/// Mails to one recipient, from all network addresses. Further ones are delayed by up to the window, each by an interval
/// more than the one before.
const MAILS_PER_RECIPIENT: RateLimit = RateLimit { quota: 20, window: Duration::from_hours(1) };

/// Class of a request, by its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitClass {
    /// Checks of credentials.
    Auth,
    /// Requests that send a mail.
    Mail,
    /// Other changes.
    Write,
    /// Uploads.
    Upload,
    /// Authentications of sockets, each of which may read all missed notifications.
    Connect,
    /// All other requests.
    Default,
}

impl RateLimitClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Auth, Self::Mail, Self::Write, Self::Upload, Self::Connect, Self::Default];

    /// Returns the name for clients and operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::Connect => "connect",
            Self::Default => "default",
        }
    }

    /// Returns the default limit, which people and their front ends do not reach.
    pub const fn default_limit(self) -> RateLimit {
        let (quota, minutes) = match self {
            Self::Auth => (60, 10),
            Self::Mail => (20, 10),
            Self::Write => (600, 1),
            Self::Upload => (300, 10),
            Self::Connect => (120, 1),
            Self::Default => (1200, 1),
        };
        RateLimit { quota, window: Duration::from_mins(minutes) }
    }
}

/// The limits of an account by class; `None` is unlimited.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimits {
    limits: [Option<RateLimit>; 6],
    scale: f64,
}

impl RateLimits {
    /// No limits.
    pub const OFF: Self = Self { limits: [None; 6], scale: 0.0 };

    /// Creates limits multiplied by `scale`; 0 disables all.
    pub fn new(limits: impl Fn(RateLimitClass) -> Option<RateLimit>, scale: f64) -> Self {
        if scale <= 0.0 {
            return Self::OFF;
        }
        let limits = RateLimitClass::ALL.map(|class| limits(class).map(|limit| limit.scale(scale)));
        Self { limits, scale }
    }

    /// Returns the limit of a class.
    pub fn get(&self, class: RateLimitClass) -> Option<RateLimit> {
        self.limits[class as usize]
    }
}

/// The subject that requests are counted for.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// An authenticated user.
    Account(UserId),
    /// A network address; for IPv6, the network. The network of its provider's customer is limited too.
    Address(IpAddr),
    /// A network address together with the account that it names without proof.
    Login(IpAddr, &'a str),
}

/// Outcome of a rate limit check.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitDecision {
    /// The class of the request.
    pub class: RateLimitClass,
    /// The limit of the subject.
    pub limit: RateLimit,
    /// The state of the limit.
    pub state: RateLimitState,
}

/// Checks rate limits.
#[derive(Clone)]
pub struct RateLimitService {
    limiter: Arc<dyn RateLimiter>,
    keyed_hash: KeyedHash,
    limits: Arc<RateLimits>,
    refused: Arc<[AtomicU64; 6]>,
}

impl RateLimitService {
    /// Creates a service whose counters are in `limiter`.
    pub fn new(limiter: Arc<dyn RateLimiter>, keyed_hash: KeyedHash, limits: RateLimits) -> Self {
        Self { limiter, keyed_hash, limits: Arc::new(limits), refused: Arc::default() }
    }

    /// Returns whether requests of a class are limited.
    pub fn is_limited(&self, class: RateLimitClass) -> bool {
        self.limits.get(class).is_some()
    }

    /// Counts a request of a subject; `None` if it has no limit.
    pub async fn check(&self, class: RateLimitClass, subject: Subject<'_>) -> Option<RateLimitDecision> {
        let limit = self.limits.get(class)?;
        let decision = match subject {
            Subject::Account(user) => self.count(class, limit, &[b"account", &user.0.to_le_bytes()]).await,
            Subject::Address(address) => {
                let limit_of_site = limit.scale(SITE_FACTOR);
                let limit = limit.scale(ADDRESS_FACTOR);
                let decision = self.count(class, limit, &[b"address", &octets(address)]).await;
                // One customer may have thousands of networks of IPv6.
                if decision.state.is_allowed && address.is_ipv6() {
                    let site = octets(site_of(address));
                    let of_site = self.count(class, limit_of_site, &[b"site", &site]).await;
                    if of_site.state.is_allowed { decision } else { of_site }
                } else {
                    decision
                }
            }
            Subject::Login(address, name) => {
                let name = name.trim().to_lowercase();
                self.count(class, limit, &[b"named", &octets(address), name.as_bytes()]).await
            }
        };
        if !decision.state.is_allowed {
            self.refused[class as usize].fetch_add(1, Ordering::Relaxed);
        }
        Some(decision)
    }

    async fn count(&self, class: RateLimitClass, limit: RateLimit, key: &[&[u8]]) -> RateLimitDecision {
        let state = self.limiter.check(self.key(class.name(), key), limit, 1).await;
        RateLimitDecision { class, limit, state }
    }

    /// Returns when a mail to `to` may be sent that was requested from `from` at `at`: at most one per minute and a few
    /// per hour. `None` if it must not be sent: it would be more than an hour late.
    pub async fn schedule_mail(&self, to: &Email, from: IpAddr, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.limits_mail() {
            return Some(at);
        }
        let [pace, from_one, to_one] =
            [MAIL_PACE, MAILS_PER_SENDER, MAILS_PER_RECIPIENT].map(|limit| limit.scale(self.limits.scale));
        let (to, from) = (to.as_str().as_bytes(), octets(from));
        let hourly = self.limiter.check(self.key("mails of an hour", &[&from, to]), from_one, 1).await;
        if !hourly.is_allowed {
            return None;
        }
        let cost = MAIL_COST.min(pace.quota);
        let paced = self.limiter.check(self.key("mails of a minute", &[&from, to]), pace, cost).await;
        if !paced.is_allowed {
            return None;
        }
        let scheduled = pace.quota.saturating_sub(paced.remaining + cost);
        // Other clients may have exhausted this limit. They must not suppress the mail, so it is delayed instead. Delayed
        // mails count too, or all would be sent together: the limit has as many places again for them.
        let with_delayed = RateLimit { quota: to_one.quota.saturating_mul(2), window: to_one.window * 2 };
        let all = self.limiter.check(self.key("mails to one", &[to]), with_delayed, 1).await;
        if !all.is_allowed {
            return None;
        }
        let delayed = with_delayed.quota.saturating_sub(all.remaining).saturating_sub(to_one.quota);
        let wait = (pace.interval() * scheduled).max(with_delayed.interval() * delayed);
        TimeDelta::from_std(wait).ok().map(|wait| at + wait)
    }

    /// Returns whether mails are limited.
    pub fn limits_mail(&self) -> bool {
        self.limits.scale > 0.0
    }

    /// Returns the number of refused requests of each class.
    pub fn refusals(&self) -> [(RateLimitClass, u64); 6] {
        RateLimitClass::ALL.map(|class| (class, self.refused[class as usize].load(Ordering::Relaxed)))
    }

    fn key(&self, subject: &str, parts: &[&[u8]]) -> RateLimitKey {
        let mut message: Vec<&[u8]> = vec![subject.as_bytes()];
        message.extend(parts);
        RateLimitKey(self.keyed_hash.hash("limit", &message).as_chunks().0[0])
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
