//! Security headers, and the content security policies of our pages.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// For responses that are not pages: nothing in them may run or be framed.
const NO_CONTENT_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Sets the security headers of a response, without replacing policies that the handler has set. `is_https`: whether
/// clients reach this server by HTTPS only.
pub(super) fn set(headers: &mut HeaderMap, is_https: bool) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, NO_CONTENT_POLICY),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if is_https {
        let one_year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, one_year);
    }
}

/// Returns the content security policy of a page of ours. The page may run its own scripts, which are allowed by their
/// hashes, and send requests to this server only. Its scripts may create styles.
pub(crate) fn page_policy(html: &str) -> String {
    let scripts: Vec<String> = inline_scripts(html).map(|script| format!("'{}'", hash(script))).collect();
    let scripts = if scripts.is_empty() { "'none'".to_owned() } else { scripts.join(" ") };
    format!(
        "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
         connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// Returns the text of each inline script.
fn inline_scripts(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        let (script, after) = rest.split_once("<script>")?.1.split_once("</script>")?;
        rest = after;
        Some(script)
    })
}

fn hash(script: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(script)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_policy_allows_every_script_of_the_page_by_its_hash() {
        let policy = page_policy("<p>a</p><script>alert(1)</script><b></b><script>\n</script>");
        let two = format!("script-src '{}' '{}';", hash("alert(1)"), hash("\n"));
        assert!(policy.contains(&two), "{policy}");
        // The hash that browsers compute.
        assert_eq!(hash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
        assert!(page_policy("<p>a</p>").contains("script-src 'none'"));
    }

    #[test]
    fn policies_that_a_response_has_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        set(&mut headers, false);
        assert_eq!(headers.get(RESOURCE_POLICY).unwrap(), "cross-origin");
        assert_eq!(headers.get(header::CONTENT_SECURITY_POLICY), Some(&NO_CONTENT_POLICY));
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        set(&mut headers, true);
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
