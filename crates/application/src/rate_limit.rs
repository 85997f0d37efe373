//! Who may do what how often.
//!
//! A subject is an account where one is known, else an address. An address may do more, since many may share it; and
//! where an account is named but not proven, as at the log-in, its name counts together with the address it comes
//! from. So nobody can use up what belongs to somebody else.

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

use crate::keyed_hash::KeyedHash;

/// How many times as much as one account an address may do.
const SHARED: f64 = 10.0;
/// One mail a minute from one address to another, six of them booked ahead. A second is the unit, so that turns are
/// given out exactly.
const PACE: RateLimit = RateLimit { quota: 360, window: Duration::from_mins(6) };
const TURN: u32 = 60;
/// Outbox from one network address to one mail address.
const FROM_ONE: RateLimit = RateLimit { quota: 5, window: Duration::from_hours(1) };
/// Outbox to one mail address, whoever asks.
const TO_ONE: RateLimit = RateLimit { quota: 20, window: Duration::from_hours(1) };

/// What is done, by what it costs us or others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitClass {
    /// Proving who one is.
    Auth,
    /// Having a mail sent.
    Mail,
    /// Changing something.
    Write,
    /// Storing a file.
    Upload,
    /// Anything.
    Default,
}

impl RateLimitClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Auth, Self::Mail, Self::Write, Self::Upload, Self::Default];

    /// Its name for clients and operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::Default => "default",
        }
    }

    /// Unless it is set otherwise: such that people and their front ends do not notice.
    pub const fn default_limit(self) -> RateLimit {
        let (quota, minutes) = match self {
            Self::Auth => (60, 10),
            Self::Mail => (20, 10),
            Self::Write => (600, 1),
            Self::Upload => (300, 10),
            Self::Default => (1200, 1),
        };
        RateLimit { quota, window: Duration::from_mins(minutes) }
    }
}

/// What one account may do, by class; `None` is anything.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimits {
    limits: [Option<RateLimit>; 5],
    scale: f64,
}

impl RateLimits {
    /// Without any limit.
    pub const OFF: Self = Self { limits: [None; 5], scale: 0.0 };

    /// These limits, multiplied by `scale`; 0 is none.
    pub fn new(limits: impl Fn(RateLimitClass) -> Option<RateLimit>, scale: f64) -> Self {
        if scale <= 0.0 {
            return Self::OFF;
        }
        let limits = RateLimitClass::ALL.map(|class| limits(class).map(|limit| limit.scale(scale)));
        Self { limits, scale }
    }

    /// The limit of a class.
    pub fn get(&self, class: RateLimitClass) -> Option<RateLimit> {
        self.limits[class as usize]
    }

    fn mail(&self, limit: RateLimit) -> Option<RateLimit> {
        (self.scale > 0.0).then(|| limit.scale(self.scale))
    }
}

/// Who does it.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Somebody who has shown a token.
    Account(UserId),
    /// Whoever uses this address (of IPv6, its network).
    Address(IpAddr),
    /// Whoever names this account at this address.
    Login(IpAddr, &'a str),
}

/// How a subject stands with a limit.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitDecision {
    /// Of which class it is.
    pub class: RateLimitClass,
    /// The limit of the subject.
    pub limit: RateLimit,
    /// How it stands.
    pub state: RateLimitState,
}

/// Holds subjects to their limits.
#[derive(Clone)]
pub struct RateLimitService {
    limiter: Arc<dyn RateLimiter>,
    secrets: KeyedHash,
    policies: Arc<RateLimits>,
    refused: Arc<[AtomicU64; 5]>,
}

impl RateLimitService {
    /// These limits, counted by `limiter`.
    pub fn new(limiter: Arc<dyn RateLimiter>, secrets: KeyedHash, policies: RateLimits) -> Self {
        Self { limiter, secrets, policies: Arc::new(policies), refused: Arc::default() }
    }

    /// Whether doings of a class are limited at all.
    pub fn is_limited(&self, class: RateLimitClass) -> bool {
        self.policies.get(class).is_some()
    }

    /// Counts one doing; `None` if it has no limit.
    pub async fn check(&self, class: RateLimitClass, subject: Subject<'_>) -> Option<RateLimitDecision> {
        let limit = self.policies.get(class)?;
        let (limit, key) = match subject {
            Subject::Account(user) => (limit, self.key(class.name(), &[b"account", &user.0.to_le_bytes()])),
            Subject::Address(address) => {
                (limit.scale(SHARED), self.key(class.name(), &[b"address", &octets(address)]))
            }
            Subject::Login(address, name) => {
                let name = name.trim().to_lowercase();
                (limit, self.key(class.name(), &[b"named", &octets(address), name.as_bytes()]))
            }
        };
        let state = self.limiter.check(key, limit, 1).await;
        if !state.is_allowed {
            self.refused[class as usize].fetch_add(1, Ordering::Relaxed);
        }
        Some(RateLimitDecision { class, limit, state })
    }

    /// When a mail to `to` may leave that somebody at `from` has asked for at `at`: not more than one a minute and a
    /// few an hour. `None`: not at all.
    pub async fn schedule_mail(&self, to: &Email, from: IpAddr, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mail = |limit| self.policies.mail(limit);
        let (Some(pace), Some(from_one), Some(to_one)) = (mail(PACE), mail(FROM_ONE), mail(TO_ONE)) else {
            return Some(at);
        };
        let (to, from) = (to.as_str().as_bytes(), octets(from));
        let hour = self.limiter.check(self.key("mails of an hour", &[&from, to]), from_one, 1).await;
        if !hour.is_allowed {
            return None;
        }
        let cost = TURN.min(pace.quota);
        let turn = self.limiter.check(self.key("mails of a minute", &[&from, to]), pace, cost).await;
        if !turn.is_allowed {
            return None;
        }
        let booked = pace.quota.saturating_sub(turn.remaining + cost);
        let all = self.limiter.check(self.key("mails to one", &[to]), to_one, 1).await;
        // Others have used that up, who must not be able to suppress the mail.
        let wait = pace.interval() * booked + all.retry_after;
        TimeDelta::from_std(wait).ok().map(|wait| at + wait)
    }

    /// Whether mails are limited at all.
    pub fn limits_mail(&self) -> bool {
        self.policies.scale > 0.0
    }

    /// How many doings of each class were refused.
    pub fn refusals(&self) -> [(RateLimitClass, u64); 5] {
        RateLimitClass::ALL.map(|class| (class, self.refused[class as usize].load(Ordering::Relaxed)))
    }

    fn key(&self, what: &str, parts: &[&[u8]]) -> RateLimitKey {
        let mut message: Vec<&[u8]> = vec![what.as_bytes()];
        message.extend(parts);
        let tag = self.secrets.hash("limit", &message);
        let mut key = [0; 16];
        key.copy_from_slice(&tag[..16]);
        RateLimitKey(key)
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
