//! Videos.

use reqwest::Method;
use test_support::{
    TestDatabase, database_test,
    media::videos::{SAMPLE, mp4, mp4_fragmented, webm, webm_live},
};

use crate::harness::{
    Server, contains_secret, file_form, media_path, start_with_cloudinary, stored_files, upload, wait_until,
};

#[database_test]
async fn video_supports_range_and_conditional_requests(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    for (video, ending, content_type) in [
        (mp4(), "mp4", "video/mp4"),
        (mp4_fragmented(), "mp4", "video/mp4"),
        (webm(), "webm", "video/webm"),
        (webm_live(), "webm", "video/webm"),
    ] {
        let post = upload(&server, &ann, file_form(video.clone(), "video.png")).await.ok();
        let path = media_path(&server, &post);
        assert!(path.ends_with(&format!(".{ending}")), "{path}");
        let whole = server.get(&path, None).await;
        assert_eq!((whole.status, whole.header("content-type").as_deref()), (200, Some(content_type)));
        assert_eq!(whole.header("accept-ranges").as_deref(), Some("bytes"));
        assert!(whole.body.windows(SAMPLE.len()).any(|part| part == SAMPLE) && !contains_secret(&whole.body));
        let length = whole.body.len();
        let send = |method: Method, header: &str, value: &str| {
            server.send(server.request(method, &path).header(header, value))
        };
        for (range, expected) in [
            ("bytes=0-", 0..length),
            ("bytes=0-0", 0..1),
            ("bytes=10-19", 10..20),
            ("bytes=-5", length - 5..length),
            (&format!("bytes={}-", length - 1), length - 1..length),
            ("bytes=10-999999999", 10..length),
        ] {
            let response = send(Method::GET, "range", range).await;
            assert_eq!(response.status, 206, "{range}");
            let content_range = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
            assert_eq!(response.header("content-range"), Some(content_range), "{range}");
            assert_eq!(response.header("content-type").as_deref(), Some(content_type), "{range}");
            assert!(response.body == whole.body[expected], "{range}");
        }
        let beyond = send(Method::GET, "range", &format!("bytes={length}-")).await;
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), Some(format!("bytes */{length}")));
        let head = server.send(server.request(Method::HEAD, &path)).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(length.to_string()));
        assert_eq!(head.header("content-type").as_deref(), Some(content_type));
        let etag = whole.header("etag").unwrap();
        for method in [Method::GET, Method::HEAD] {
            let unchanged = send(method, "if-none-match", &etag).await;
            assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
            assert_eq!(unchanged.header("etag").as_ref(), Some(&etag));
        }
        assert_eq!(send(Method::GET, "if-none-match", "\"another\"").await.status, 200);
        // If the file has changed, the whole file is sent instead of the range.
        for (known, status) in [(etag.as_str(), 206), ("\"another\"", 200)] {
            let request =
                server.request(Method::GET, &path).header("range", "bytes=0-3").header("if-range", known);
            assert_eq!(server.send(request).await.status, status, "{known}");
        }
    }
    assert_eq!(stored_files(&server).len(), 4);
}

#[database_test]
async fn video_is_uploaded_to_cloudinary_as_video(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let ann = server.create_user("ann").await;
    for (video, declared) in [(mp4(), "video/mp4"), (webm(), "video/webm")] {
        let post = upload(&server, &ann, file_form(video, "video.png")).await.ok();
        let url = post["media_url"].as_str().unwrap();
        assert!(url.starts_with("https://res.cloudinary.com/demo-cloud/video/upload/"), "{url}");
        let calls = fake.take_calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(
            (calls[0].path.as_str(), calls[0].file_type.as_deref()),
            ("/v1_1/demo-cloud/video/upload", Some(declared))
        );
        assert!(!contains_secret(calls[0].file.as_ref().unwrap()));
        server.delete(&format!("/posts/{}", post["id"]), &ann).await.ok();
    }
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    wait_until("both are deleted", async || fake.stored_files().is_empty()).await;
}
