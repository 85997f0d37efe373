//! Settings of the HTTP server.

use url::Url;

use super::{types::Environment, vars::Vars};

impl Vars {
    pub(super) fn debug(&mut self, environment: Environment) -> bool {
        let debug = self.flag("DEBUG", false);
        if debug && environment == Environment::Production {
            self.push_error("DEBUG", "must not be true in production");
        }
        debug
    }

    pub(super) fn url(&mut self, name: &str) -> Option<String> {
        let value = self.text(name)?;
        let is_valid =
            Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_valid {
            self.push_error(name, "must be an http:// or https:// URL");
        }
        Some(value.trim_end_matches('/').to_owned())
    }

    pub(super) fn origins(&mut self) -> Vec<String> {
        let value = self.text("CORS_ORIGINS");
        let value = value.as_deref().unwrap_or("http://localhost:5173,http://localhost:3000");
        let origins: Vec<String> = value
            .split(',')
            .map(|origin| origin.trim().trim_end_matches('/').to_owned())
            .filter(|origin| !origin.is_empty())
            .collect();
        let is_origin = |origin: &String| {
            origin == "*" || Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin)
        };
        if !origins.iter().all(is_origin) {
            self.push_error(
                "CORS_ORIGINS",
                "must be a comma-separated list of origins such as https://app.example.com",
            );
        }
        origins
    }
}
