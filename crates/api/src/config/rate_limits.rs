//! The settings of limits and proxies.

use std::{net::IpAddr, time::Duration};

use application::rate_limit::{RateLimitClass, RateLimits};
use domain::rate_limit::RateLimit;
use ipnet::IpNet;

use super::Vars;

const LONGEST: Duration = Duration::from_hours(1);

impl Vars {
    pub(super) fn policies(&mut self) -> RateLimits {
        let scale = match self.text("RATE_LIMIT_SCALE").as_deref().map(str::parse::<f64>) {
            None => 1.0,
            Some(Ok(scale)) if (0.0..=1_000_000.0).contains(&scale) => scale,
            Some(_) => {
                self.wrong("RATE_LIMIT_SCALE", "must be a number from 0, which is no limit, to 1000000");
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
            let what = "must be like 20/60s: how many in which time (s, m or h; an hour at most), or 0 for any number";
            self.wrong(&name, what);
        }
        limit
    }

    pub(super) fn proxies(&mut self) -> Vec<IpNet> {
        let value = self.text("TRUSTED_PROXIES").unwrap_or_default();
        let named = value.split(',').map(str::trim).filter(|one| !one.is_empty());
        let networks: Option<Vec<_>> = named.map(parse_network).collect();
        if networks.is_none() {
            let what = "must be a comma-separated list of addresses and networks such as 10.0.0.0/8";
            self.wrong("TRUSTED_PROXIES", what);
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
    let is_good = (1..=1_000_000).contains(&quota) && (Duration::from_secs(1)..=LONGEST).contains(&window);
    is_good.then_some(RateLimit { quota, window })
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_how_many_in_which_time() {
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
    fn a_proxy_is_an_address_or_a_network() {
        for good in ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"] {
            assert!(parse_network(good).is_some(), "{good}");
        }
        for bad in ["10.0.0.0/33", "localhost", "10.0.0", "*"] {
            assert!(parse_network(bad).is_none(), "{bad}");
        }
    }
}
