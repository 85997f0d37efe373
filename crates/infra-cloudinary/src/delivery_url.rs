//! URLs from which Cloudinary delivers files.

use reqwest::Url;

/// Delivery type of private files.
const AUTHENTICATED: &str = "authenticated";

/// Parses a URL. Returns `None` unless it is an HTTPS URL of `cloud` that browsers can safely load.
pub(crate) fn parse(url: &str, cloud: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let is_cloudinary = host.ends_with(".cloudinary.com");
    // Accounts with a private CDN have the cloud name in the host name, all others in the path.
    let is_of_cloud = host == format!("{cloud}-res.cloudinary.com") || url.path_segments()?.next()? == cloud;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    (url.scheme() == "https" && is_cloudinary && is_of_cloud && is_plain).then_some(url)
}

/// Removes the signature, which never expires. Private files are loaded from URLs that expire.
pub(crate) fn without_signature(mut url: Url) -> Url {
    let segments: Vec<_> = url.path().split('/').filter(|segment| !is_signature(segment)).collect();
    let path = segments.join("/");
    url.set_path(&path);
    url
}

fn is_signature(segment: &str) -> bool {
    segment.starts_with("s--") && segment.ends_with("--")
}

/// Returns whether the URL is that of a private file.
pub(crate) fn is_private(url: &Url) -> bool {
    url.path_segments().is_some_and(|mut segments| segments.any(|segment| segment == AUTHENTICATED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_only_https_urls_of_the_cloud() {
        for valid in [
            "https://res.cloudinary.com/demo/image/upload/v1/social_media_posts/a.png",
            "https://res-2.cloudinary.com/demo/image/upload/v1/a.png",
            "https://demo-res.cloudinary.com/image/upload/v1/a.png",
        ] {
            assert!(parse(valid, "demo").is_some(), "{valid}");
        }
        for invalid in [
            "http://res.cloudinary.com/demo/image/upload/v1/a.png",
            "https://res.cloudinary.com/other/image/upload/v1/a.png",
            "https://res.cloudinary.com/demo2/image/upload/v1/a.png",
            "https://other-res.cloudinary.com/image/upload/v1/a.png",
            "https://res.cloudinary.com.example.com/demo/image/upload/v1/a.png",
            "https://evilcloudinary.com/demo/image/upload/v1/a.png",
            "https://res.cloudinary.com@example.com/demo/a.png",
            "https://user:password@res.cloudinary.com/demo/a.png",
            "https://res.cloudinary.com:8443/demo/a.png",
            "https://127.0.0.1/demo/a.png",
            "javascript:alert(1)",
            "//res.cloudinary.com/demo/a.png",
            "",
        ] {
            assert!(parse(invalid, "demo").is_none(), "{invalid}");
        }
    }

    #[test]
    fn without_signature_removes_only_the_signature() {
        let signed =
            "https://res.cloudinary.com/demo/image/authenticated/s--MnvBAfpm--/v1/social_media_posts/a.png";
        let url = parse(signed, "demo").unwrap();
        assert!(is_private(&url));
        assert_eq!(
            without_signature(url).as_str(),
            "https://res.cloudinary.com/demo/image/authenticated/v1/social_media_posts/a.png"
        );
    }
}
