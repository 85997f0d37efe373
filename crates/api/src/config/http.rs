//! Settings of the HTTP server: origins, rate limits and trusted proxies.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use api_types::Origins;
use application::rate_limit::{RateLimitClass, RateLimits};
use domain::rate_limit::RateLimit;
use ipnet::IpNet;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    Environment,
    vars::{Vars, elements},
};

/// Where development servers of front ends usually run.
pub(crate) const DEFAULT_ORIGINS: &str = "http://localhost:5173,http://localhost:3000";
const MAX_WINDOW: Duration = Duration::from_hours(1);

impl Vars {
    pub(super) fn debug(&mut self, environment: Environment) -> bool {
        let debug = self.flag("DEBUG");
        if debug && environment == Environment::Production {
            self.push_error("DEBUG", "must not be true in production");
        }
        debug
    }

    pub(super) fn log_filter(&mut self) -> Option<String> {
        let requirement = "must be a filter such as info,infra_diesel=debug";
        self.parse("RUST_LOG", requirement, |text| {
            // A misspelled level would be the name of a module, and nothing else would be logged.
            let has_level =
                |directive: &str| directive.contains(['=', '[']) || directive.parse::<LevelFilter>().is_ok();
            let is_valid = EnvFilter::builder().parse(text).is_ok() && elements(text).all(has_level);
            is_valid.then(|| text.to_owned())
        })
    }

    pub(super) fn origins(&mut self) -> Origins {
        let requirement = "must be a comma-separated list of origins such as https://app.example.com, \
                           https://*.example.com or capacitor://localhost, or *; null is refused, since any page can \
                           have this origin";
        let origins = self.parse("CORS_ORIGINS", requirement, Origins::parse);
        origins.or_else(|| Origins::parse(DEFAULT_ORIGINS)).unwrap_or_default()
    }

    /// Returns the address to listen on. In development other machines must not reach the inbox with its codes, unless
    /// that is asked for.
    pub(super) fn host(&mut self, environment: Environment) -> IpAddr {
        let host = self.parse("HOST", "must be an IP address", |text| text.parse().ok());
        host.unwrap_or(match environment {
            Environment::Development => Ipv4Addr::LOCALHOST.into(),
            Environment::Production => Ipv4Addr::UNSPECIFIED.into(),
        })
    }

    pub(super) fn rate_limits(&mut self) -> RateLimits {
        let requirement = "must be a number from 0 (no limits) to 1000000";
        let scale = self.parse("RATE_LIMIT_SCALE", requirement, |text| {
            text.parse().ok().filter(|scale| (0.0..=1_000_000.0).contains(scale))
        });
        let limits = RateLimitClass::ALL.map(|class| self.limit(class));
        RateLimits::new(|class| limits[class as usize], scale.unwrap_or(1.0))
    }

    fn limit(&mut self, class: RateLimitClass) -> Option<RateLimit> {
        let name = format!("RATE_LIMIT_{}", class.name().to_uppercase());
        let requirement =
            "must be requests per window such as 20/60s (s, m or h; at most 1h), or 0 for no limit";
        let parse = |text: &str| if text == "0" { Some(None) } else { parse_limit(text).map(Some) };
        self.parse(&name, requirement, parse).unwrap_or_else(|| Some(class.default_limit()))
    }

    pub(super) fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let requirement = "must be a comma-separated list of addresses and networks such as 10.0.0.0/8";
        let parse = |text: &str| elements(text).map(parse_network).collect();
        self.parse("TRUSTED_PROXIES", requirement, parse).unwrap_or_default()
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
