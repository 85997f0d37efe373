//! Origins of pages that may call the server: one rule for CORS and websockets.

use url::Url;

/// Origins whose pages may call the server, as `CORS_ORIGINS` lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<OriginPattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum OriginPattern {
    Any,
    One(String),
    /// `https://*.example.com`: what precedes and follows the labels of the subdomain.
    Subdomains {
        scheme: String,
        parent: String,
    },
}

impl Origins {
    /// Parses a comma-separated list. An element is an origin of any scheme, such as `https://app.example.com` or
    /// `capacitor://localhost`; all subdomains of a domain, at any depth, as `https://*.example.com`; or `*` for every
    /// origin. Returns `None` if an element is none of these.
    ///
    /// `null` is refused: sandboxed frames and local files have this origin on every site, so it is as wide as `*`.
    pub fn parse(list: &str) -> Option<Self> {
        let elements = list.split(',').map(str::trim).filter(|element| !element.is_empty());
        elements.map(OriginPattern::parse).collect::<Option<_>>().map(Self)
    }

    /// Returns whether pages of this origin, as browsers send it, may call.
    pub fn allow(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.0.iter().any(|pattern| pattern.matches(&origin))
    }

    /// Returns whether every origin may call.
    pub fn allow_any(&self) -> bool {
        self.0.contains(&OriginPattern::Any)
    }
}

impl OriginPattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let Some((scheme, parent)) = text.split_once("://*.") else { return canonical(text).map(Self::One) };
        let scheme = format!("{scheme}://");
        let parent = canonical(&format!("{scheme}{parent}"))?.split_off(scheme.len());
        // Not a whole top-level domain, and not a part of an IP address.
        let last_label = parent.split(':').next()?.rsplit_once('.')?.1;
        let is_domain = last_label.starts_with(|char: char| char.is_ascii_alphabetic());
        is_domain
            .then(|| Self::Subdomains { scheme: scheme.to_ascii_lowercase(), parent: format!(".{parent}") })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(allowed) => allowed == origin,
            Self::Subdomains { scheme, parent } => {
                let labels = origin.strip_prefix(scheme).and_then(|rest| rest.strip_suffix(parent));
                labels.is_some_and(|labels| labels.split('.').all(is_label))
            }
        }
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Returns an origin as browsers send it: in lower case, without a slash at the end and without a default port.
fn canonical(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*'))?;
    let has_only_origin = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    has_only_origin.then(|| format!("{}://{}{port}", url.scheme(), host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, origin: &str) -> bool {
        Origins::parse(list).unwrap_or_else(|| panic!("{list} is valid")).allow(origin)
    }

    #[test]
    fn listed_origins_of_any_scheme_are_allowed() {
        for (list, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:5173, http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost,tauri://localhost", "tauri://localhost"),
            ("app://my-app:8080", "app://my-app:8080"),
            ("*", "https://anything.example"),
            ("*", "null"),
        ] {
            assert!(allows(list, origin), "{list} {origin}");
        }
        for (list, origin) in [
            ("https://app.example.com", "http://app.example.com"),
            ("https://app.example.com", "https://app.example.com:8443"),
            ("https://app.example.com", "https://app.example.com.evil.example"),
            ("capacitor://localhost", "ionic://localhost"),
            ("https://app.example.com", "null"),
            ("", "https://app.example.com"),
        ] {
            assert!(!allows(list, origin), "{list} {origin}");
        }
    }

    #[test]
    fn wildcard_allows_subdomains_at_any_depth_but_not_the_domain() {
        for list in ["https://*.example.com", "HTTPS://*.Example.COM/"] {
            for origin in ["https://app.example.com", "https://pr-7.preview.example.com"] {
                assert!(allows(list, origin), "{list} {origin}");
            }
            for origin in [
                "https://example.com",
                "https://.example.com",
                "https://a..example.com",
                "https://evilexample.com",
                "https://app.example.com.evil.example",
                "http://app.example.com",
                "https://app.example.com:8443",
                "https://evil.example/.example.com",
            ] {
                assert!(!allows(list, origin), "{list} {origin}");
            }
        }
        assert!(allows("https://*.example.com:8443", "https://app.example.com:8443"));
    }

    #[test]
    fn lists_with_anything_else_are_refused() {
        for list in [
            "null",
            "localhost:3000",
            "app.example.com",
            "https://",
            "file:///",
            "https://app.example.com/path",
            "https://app.example.com?q",
            "https://app.example.com#f",
            "https://user@app.example.com",
            "https://*",
            "https://*.com",
            "https://*.0.0.1",
            "https://a.*.example.com",
            "https://app*.example.com",
            "*.example.com",
            "https://good.example, nonsense",
        ] {
            assert_eq!(Origins::parse(list), None, "{list}");
        }
    }
}
