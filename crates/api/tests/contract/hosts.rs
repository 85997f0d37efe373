//! The host by which clients address the server.

use reqwest::{Method, multipart::Form};
use serde_json::Value;
use test_support::{TestDatabase, media::images::png};

use crate::harness::{Server, User, file_form, upload};

/// Creates a post with a picture under this host, and returns the URL of the picture.
async fn media_url(server: &Server, user: &User, host: &str) -> String {
    let request = server.request(Method::POST, "/posts/").bearer_auth(&user.access).header("host", host);
    let form: Form = file_form(png(), "a.png");
    let post: Value = server.send(request.multipart(form)).await.ok();
    post["media_url"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_of_a_stranger_is_not_part_of_urls() {
    let (server, ann, _db) = Server::start_with_user().await;
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "203.0.113.5", "a\"><b>"] {
        let url = media_url(&server, &ann, host).await;
        assert!(url.starts_with(&format!("{}/media/", server.url)), "{host}: {url}");
    }
    for host in ["localhost:8000", "192.168.1.5:8000", "[::1]:8000"] {
        let url = media_url(&server, &ann, host).await;
        assert!(url.starts_with(&format!("http://{host}/media/")), "{host}: {url}");
    }
    let url = upload(&server, &ann, file_form(png(), "a.png")).await.ok()["media_url"].clone();
    assert!(url.as_str().unwrap().starts_with(&server.url), "{url}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_a_trusted_proxy_passes_on_is_part_of_urls() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = server.create_user("ann").await;
    assert!(
        media_url(&server, &ann, "social.example.com").await.starts_with("http://social.example.com/media/")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inbox_is_not_shown_under_the_name_of_a_stranger() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("PUBLIC_URL", "https://dev.example.com/api")]).await;
    server.register("ann", "ann@example.com").await.ok();
    server.otp("ann@example.com").await;
    let get = async |path: &str, host: &str| {
        server.send(server.request(Method::GET, path).header("host", host)).await
    };
    for path in ["/dev/inbox", "/dev/inbox/latest"] {
        for host in
            ["evil.example", "evil.example:8000", "203.0.113.5", "dev.example.com.evil.example", "\u{e9}"]
        {
            let refused = get(path, host).await;
            assert_eq!((refused.status, &refused.json["code"]), (403, &"host_not_allowed".into()), "{host}");
            assert!(!refused.text().contains("ann@"), "{host}");
        }
        for host in [
            "localhost:8000",
            server.address(),
            "192.168.1.5:8000",
            "dev.example.com",
            "DEV.example.com:8000",
        ] {
            assert_eq!(get(path, host).await.status, 200, "{path} {host}");
        }
    }
}
