//! Addresses that Cloudinary gives to files.

use reqwest::Url;

/// The delivery type of private files.
const AUTHENTICATED: &str = "authenticated";

/// What Cloudinary told, if it is an address of `cloud` that browsers may be sent to.
pub(crate) fn of_cloud(told: &str, cloud: &str) -> Option<Url> {
    let url = Url::parse(told).ok()?;
    let host = url.host_str()?;
    let is_theirs = host.ends_with(".cloudinary.com");
    // Accounts with a distribution of their own have the cloud in the host name, all others in the path.
    let is_ours = host == format!("{cloud}-res.cloudinary.com") || url.path_segments()?.next()? == cloud;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    (url.scheme() == "https" && is_theirs && is_ours && is_plain).then_some(url)
}

/// The address without the signature that lets it load for ever: private files load by addresses that expire.
pub(crate) fn without_signature(mut url: Url) -> Url {
    let kept: Vec<_> = url.path().split('/').filter(|part| !is_signature(part)).collect();
    let path = kept.join("/");
    url.set_path(&path);
    url
}

fn is_signature(part: &str) -> bool {
    part.starts_with("s--") && part.ends_with("--")
}

/// Whether the address is one of a private file.
pub(crate) fn is_private(url: &Url) -> bool {
    url.path_segments().is_some_and(|mut parts| parts.any(|part| part == AUTHENTICATED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_cloud_are_accepted() {
        for good in [
            "https://res.cloudinary.com/demo/image/upload/v1/social_media_posts/a.png",
            "https://res-2.cloudinary.com/demo/image/upload/v1/a.png",
            "https://demo-res.cloudinary.com/image/upload/v1/a.png",
        ] {
            assert!(of_cloud(good, "demo").is_some(), "{good}");
        }
        for bad in [
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
            assert!(of_cloud(bad, "demo").is_none(), "{bad}");
        }
    }

    #[test]
    fn a_private_address_loses_its_lasting_signature() {
        let told =
            "https://res.cloudinary.com/demo/image/authenticated/s--MnvBAfpm--/v1/social_media_posts/a.png";
        let url = of_cloud(told, "demo").unwrap();
        assert!(is_private(&url));
        assert_eq!(
            without_signature(url).as_str(),
            "https://res.cloudinary.com/demo/image/authenticated/v1/social_media_posts/a.png"
        );
    }
}
