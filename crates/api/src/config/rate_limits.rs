//! Settings of rate limits and trusted proxies.

use std::{net::IpAddr, time::Duration};

use application::rate_limit::{RateLimitClass, RateLimits};
use domain::rate_limit::RateLimit;
use ipnet::IpNet;

use super::vars::Vars;

const MAX_WINDOW: Duration = Duration::from_hours(1);

impl Vars {
    pub(super) fn rate_limits(&mut self) -> RateLimits {
        let scale = match self.text("RATE_LIMIT_SCALE").as_deref().map(str::parse::<f64>) {
            None => 1.0,
            Some(Ok(scale)) if (0.0..=1_000_000.0).contains(&scale) => scale,
            Some(_) => {
                self.push_error("RATE_LIMIT_SCALE", "must be a number from 0 (no limits) to 1000000");
                1.0
            }
        };
        let limits = RateLimitClass::ALL.map(|class| self.limit(class));
        RateLimits::new(|class| limits[class as usize], scale)
    }

    fn limit(&mut self, class: RateLimitClass) -> Option<RateLimit> {
        let name = format!("RATE_LIMIT_{}", class.name().to_uppercase());
        let Some(value) = self.text(&name) else { return Some(class.default_limit()) };
        if value == "0" {
            return None;
        }
        let limit = parse_limit(&value);
        if limit.is_none() {
            let requirement =
                "must be requests per window such as 20/60s (s, m or h; at most 1h), or 0 for no limit";
            self.push_error(&name, requirement);
        }
        limit
    }

    pub(super) fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let value = self.text("TRUSTED_PROXIES").unwrap_or_default();
        let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks: Option<Vec<_>> = entries.map(parse_network).collect();
        if networks.is_none() {
            let requirement = "must be a comma-separated list of addresses and networks such as 10.0.0.0/8";
            self.push_error("TRUSTED_PROXIES", requirement);
        }
        networks.unwrap_or_default()
    }
}

fn parse_limit(text: &str) -> Option<RateLimit> {
    let (quota, window) = text.split_once('/')?;
    let window = window.trim();
    let number = window.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = window.strip_prefix(number)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let window = Duration::from_secs(number.parse::<u32>().ok()?.checked_mul(seconds)?.into());
    let quota = quota.trim().parse().ok()?;
    let is_valid =
        (1..=1_000_000).contains(&quota) && (Duration::from_secs(1)..=MAX_WINDOW).contains(&window);
    is_valid.then_some(RateLimit { quota, window })
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_requests_per_window() {
        let limit = |quota, seconds| Some(RateLimit { quota, window: Duration::from_secs(seconds) });
        assert_eq!(parse_limit("20/60s"), limit(20, 60));
        assert_eq!(parse_limit("1 / 5m"), limit(1, 300));
        assert_eq!(parse_limit("300/1h"), limit(300, 3600));
        for bad in
            ["", "20", "/", "20/", "0/60s", "20/0s", "-1/60s", "20/60", "20/s", "20/2h", "1.5/60s", "20/60ä"]
        {
            assert_eq!(parse_limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn proxy_is_an_address_or_a_network() {
        for good in ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"] {
            assert!(parse_network(good).is_some(), "{good}");
        }
        for bad in ["10.0.0.0/33", "localhost", "10.0.0", "*"] {
            assert!(parse_network(bad).is_none(), "{bad}");
        }
    }
}
