//! Access and refresh tokens: JSON Web Tokens (RFC 7519) signed with HS256.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Error, Result,
    clock::{Clock as _, SystemClock},
    sessions::{RefreshId, SessionId},
    users::UserId,
};
use foldhash::fast::RandomState;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::random;

/// Number of verified access tokens that are cached; a few megabytes.
const MAX_CACHED_TOKENS: u64 = 10_000;

/// How far the clocks of servers may differ: a token may be used this long before its `nbf` and `iat`.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

/// An unverified access token.
#[derive(Clone, Copy)]
pub struct AccessToken<'a>(pub &'a str);

/// An unverified refresh token.
pub struct RefreshToken(pub String);

/// The claims of a valid access token. Its session may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessClaims {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

/// The claims of a valid refresh token. Its session may have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshClaims {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Its id within the session.
    pub id: RefreshId,
}

/// The tokens that a login returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPair {
    /// The access token, for every request.
    pub access: String,
    /// The refresh token, which yields the next pair once.
    pub refresh: String,
    /// Seconds until the access token expires.
    pub expires_in: i64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: String,
    #[serde(rename = "type")]
    kind: Kind,
    sid: i64,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Access,
    Refresh,
}

/// Signs and verifies tokens.
#[derive(Clone)]
pub struct TokenService {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Arc<Validation>,
    access_lifetime: TimeDelta,
    /// How long a refresh token is valid, unless its session ends before.
    pub(crate) refresh_lifetime: TimeDelta,
    /// Claims of verified access tokens, so that a repeated token costs a lookup instead of a verification. Expiry is
    /// checked each time.
    verified: Cache<Box<str>, AccessClaims, RandomState>,
}

impl TokenService {
    /// Creates a service that signs with `secret`.
    pub fn new(secret: &[u8], access_lifetime: TimeDelta, refresh_lifetime: TimeDelta) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation: Arc::new(validation),
            access_lifetime,
            refresh_lifetime,
            // A fast hasher suffices: only tokens with our signature are cached, so clients cannot choose colliding ones.
            verified: Cache::builder()
                .max_capacity(MAX_CACHED_TOKENS)
                .build_with_hasher(RandomState::default()),
        }
    }

    /// Issues the token pair of a session whose refresh token is `refresh`, issued at `issued_at`. Neither token outlives
    /// the session. Equal arguments yield the same refresh token and a new access token.
    pub fn issue_pair(
        &self,
        user: UserId,
        session: SessionId,
        refresh: &RefreshId,
        issued_at: DateTime<Utc>,
        now: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> Result<TokenPair> {
        let sign = |kind, jti: String, at: DateTime<Utc>, lifetime: TimeDelta| {
            let exp = (at + lifetime).min(ends_at).timestamp();
            let (sub, iat, sid) = (user.0.to_string(), at.timestamp(), session.0);
            let claims = Claims { sub, exp, iat, nbf: None, jti, kind, sid };
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
                .map_err(Error::internal)
        };
        Ok(TokenPair {
            access: sign(Kind::Access, random::token::<16>()?, now, self.access_lifetime)?,
            refresh: sign(Kind::Refresh, refresh.0.clone(), issued_at, self.refresh_lifetime)?,
            expires_in: self.access_lifetime.min(ends_at - now).num_seconds().max(0),
        })
    }

    /// Verifies an access token.
    pub fn verify_access(&self, token: AccessToken<'_>) -> Result<AccessClaims> {
        if let Some(claims) = self.verified.get(token.0) {
            // The library that verifies tokens reads the system's time too.
            let has_expired = claims.expires_at.timestamp() < SystemClock.now().timestamp();
            return if has_expired { Err(Error::INVALID_TOKEN) } else { Ok(claims) };
        }
        let (user, claims) = self.claims(token.0, Kind::Access)?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(Error::INVALID_TOKEN)?;
        let claims = AccessClaims { user, session: SessionId(claims.sid), expires_at };
        self.verified.insert(token.0.into(), claims);
        Ok(claims)
    }

    /// Verifies a refresh token.
    pub fn verify_refresh(&self, token: &RefreshToken) -> Result<RefreshClaims> {
        let (user, claims) = self.claims(&token.0, Kind::Refresh)?;
        Ok(RefreshClaims { user, session: SessionId(claims.sid), id: RefreshId(claims.jti) })
    }

    fn claims(&self, token: &str, kind: Kind) -> Result<(UserId, Claims)> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| Error::INVALID_TOKEN)?
            .claims;
        let user = claims.sub.parse().map_err(|_| Error::INVALID_TOKEN)?;
        let latest = (SystemClock.now() + MAX_CLOCK_SKEW).timestamp();
        let is_early = claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest);
        if claims.kind != kind || is_early {
            return Err(Error::INVALID_TOKEN);
        }
        Ok((UserId(user), claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a key that is used by these tests only";

    fn tokens() -> TokenService {
        TokenService::new(KEY, TimeDelta::minutes(30), TimeDelta::days(7))
    }

    fn pair(tokens: &TokenService, now: DateTime<Utc>) -> TokenPair {
        let refresh = RefreshId("first".into());
        tokens.issue_pair(UserId(7), SessionId(9), &refresh, now, now, now + TimeDelta::days(30)).unwrap()
    }

    #[test]
    fn tokens_are_valid_as_their_own_kind_only() {
        let (tokens, now) = (tokens(), Utc::now());
        let pair = pair(&tokens, now);
        let access = tokens.verify_access(AccessToken(&pair.access)).unwrap();
        assert_eq!((access.user, access.session), (UserId(7), SessionId(9)));
        let refresh = tokens.verify_refresh(&RefreshToken(pair.refresh.clone())).unwrap();
        assert_eq!(refresh.id, RefreshId("first".into()));
        assert_eq!(tokens.verify_access(AccessToken(&pair.refresh)), Err(Error::INVALID_TOKEN));
        assert_eq!(tokens.verify_refresh(&RefreshToken(pair.access)), Err(Error::INVALID_TOKEN));
        assert_eq!(pair.expires_in, 1800);
    }

    #[test]
    fn verify_access_rejects_an_expired_token() {
        let tokens = tokens();
        let pair = pair(&tokens, Utc::now() - TimeDelta::minutes(31));
        assert_eq!(tokens.verify_access(AccessToken(&pair.access)), Err(Error::INVALID_TOKEN));
        assert!(tokens.verify_refresh(&RefreshToken(pair.refresh)).is_ok());
    }

    #[test]
    fn verify_access_rejects_an_expired_token_from_the_cache() {
        let (tokens, now) = (tokens(), Utc::now());
        let cache_until = |expires_at| {
            let claims = AccessClaims { user: UserId(7), session: SessionId(9), expires_at };
            tokens.verified.insert("cached".into(), claims);
            tokens.verify_access(AccessToken("cached"))
        };
        assert!(cache_until(now + TimeDelta::minutes(1)).is_ok());
        assert_eq!(cache_until(now - TimeDelta::seconds(2)), Err(Error::INVALID_TOKEN));
        // Rejected tokens are not cached.
        assert!(tokens.verify_access(AccessToken("cacheD")).is_err());
        assert!(tokens.verify_access(AccessToken("cacheD")).is_err());
    }

    #[test]
    fn verify_access_rejects_other_keys_algorithms_and_shapes() {
        let tokens = tokens();
        let pair =
            pair(&TokenService::new(b"another key", TimeDelta::minutes(1), TimeDelta::days(1)), Utc::now());
        assert!(tokens.verify_access(AccessToken(&pair.access)).is_err());
        let claims = |exp: serde_json::Value, sub: serde_json::Value| serde_json::json!({"sub": sub, "exp": exp, "iat": 0, "jti": "x", "type": "access", "sid": 1});
        let later = Utc::now().timestamp() + 60;
        let sign = |algorithm, claims: &serde_json::Value| {
            jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(KEY)).unwrap()
        };
        assert!(
            tokens
                .verify_access(AccessToken(&sign(Algorithm::HS256, &claims(later.into(), "1".into()))))
                .is_ok()
        );
        assert!(
            tokens
                .verify_access(AccessToken(&sign(Algorithm::HS384, &claims(later.into(), "1".into()))))
                .is_err()
        );
        assert!(
            tokens
                .verify_access(AccessToken(&sign(Algorithm::HS256, &claims("soon".into(), "1".into()))))
                .is_err()
        );
        assert!(
            tokens
                .verify_access(AccessToken(&sign(Algorithm::HS256, &claims(later.into(), 1.into()))))
                .is_err()
        );
        assert!(
            tokens
                .verify_access(AccessToken(&sign(Algorithm::HS256, &claims(later.into(), "me".into()))))
                .is_err()
        );
        // {"alg":"none","typ":"JWT"} and a payload without a signature.
        for broken in [
            "",
            "a.b.c",
            "null",
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ.",
        ] {
            assert!(tokens.verify_access(AccessToken(broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn tokens_of_the_future_are_rejected_except_for_differences_of_clocks() {
        let (tokens, now) = (tokens(), Utc::now().timestamp());
        let verify = |kind: &str, claims: serde_json::Value| {
            let mut all = serde_json::json!({"sub": "7", "exp": now + 600, "iat": now, "jti": "x", "type": kind, "sid": 9});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let token =
                jsonwebtoken::encode(&Header::new(Algorithm::HS256), &all, &EncodingKey::from_secret(KEY))
                    .unwrap();
            match kind {
                "access" => tokens.verify_access(AccessToken(&token)).is_ok(),
                _ => tokens.verify_refresh(&RefreshToken(token)).is_ok(),
            }
        };
        for kind in ["access", "refresh"] {
            for claim in ["nbf", "iat"] {
                assert!(verify(kind, serde_json::json!({claim: now - 600})), "{kind} {claim}");
                assert!(verify(kind, serde_json::json!({claim: now + 55})), "{kind} {claim}");
                assert!(!verify(kind, serde_json::json!({claim: now + 65})), "{kind} {claim}");
                assert!(!verify(kind, serde_json::json!({claim: "soon"})), "{kind} {claim}");
            }
            // Expiry has no leeway.
            assert!(!verify(kind, serde_json::json!({"exp": now - 1})), "{kind}");
        }
    }

    #[test]
    fn tokens_expire_with_their_session() {
        let (tokens, now) = (tokens(), Utc::now());
        let refresh = RefreshId("first".into());
        let ends_at = now + TimeDelta::minutes(5);
        let pair = tokens.issue_pair(UserId(7), SessionId(9), &refresh, now, now, ends_at).unwrap();
        assert!(tokens.verify_access(AccessToken(&pair.access)).unwrap().expires_at <= ends_at);
        assert!(pair.expires_in <= 300);
    }
}
