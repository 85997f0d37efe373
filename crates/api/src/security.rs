//! What browsers are told to be careful with.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// For answers that are no pages: nothing of them is ever run or shown in a frame.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Sets the headers of every answer. One that says more of itself keeps that. `is_https`: whether clients reach us by
/// nothing else.
pub(crate) fn protect(headers: &mut HeaderMap, is_https: bool) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, NOTHING),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if is_https {
        let a_year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, a_year);
    }
}

/// The policy of a page of ours: it runs its own scripts, which are known by their hashes, and asks this server alone.
/// Its styles may be made by those scripts.
pub(crate) fn page_policy(html: &str) -> String {
    let scripts: Vec<String> = scripts(html).map(|script| format!("'{}'", hash(script))).collect();
    let scripts = if scripts.is_empty() { "'none'".to_owned() } else { scripts.join(" ") };
    format!(
        "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
         connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// What stands in the script elements of a page.
fn scripts(html: &str) -> impl Iterator<Item = &str> {
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
    fn every_script_of_a_page_is_named_by_its_hash() {
        let policy = page_policy("<p>a</p><script>alert(1)</script><b></b><script>\n</script>");
        let two = format!("script-src '{}' '{}';", hash("alert(1)"), hash("\n"));
        assert!(policy.contains(&two), "{policy}");
        // As browsers reckon it.
        assert_eq!(hash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
        assert!(page_policy("<p>a</p>").contains("script-src 'none'"));
    }

    #[test]
    fn an_answer_keeps_the_policy_that_it_has() {
        let mut headers = HeaderMap::new();
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        protect(&mut headers, false);
        assert_eq!(headers.get(RESOURCE_POLICY).unwrap(), "cross-origin");
        assert_eq!(headers.get(header::CONTENT_SECURITY_POLICY), Some(&NOTHING));
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        protect(&mut headers, true);
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
