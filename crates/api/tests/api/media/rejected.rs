//! Rejected uploads, to disk and to Cloudinary: each returns its status and leaves nothing behind.

use reqwest::Method;
use serde_json::json;
use test_support::{
    TestDatabase,
    cloudinary::FakeCloudinary,
    database_test,
    media::{
        images::{gif, jpeg, png, png_chunk, png_with},
        refused::{malformed, too_large, unsupported},
    },
};

use crate::harness::{Server, User, media_path, start_with_cloudinary, stored_files};

/// A body and the status it is rejected with.
struct Case {
    name: String,
    content_type: String,
    body: Vec<u8>,
    status: u16,
}

const MULTIPART: &str = "multipart/form-data; boundary=x";

/// A part with these headers.
fn part(headers: &str, content: &[u8]) -> Vec<u8> {
    [b"--x\r\n", headers.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat()
}

/// A part with a file of this name.
fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let headers = format!(
        "Content-Disposition: form-data; name=\"media\"; filename=\"{name}\"\r\nContent-Type: image/png"
    );
    part(&headers, content)
}

fn text(name: &str, value: &str) -> Vec<u8> {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
}

/// These parts and the closing boundary.
fn closed(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--x--\r\n".to_vec()].concat()
}

fn case(name: impl Into<String>, body: Vec<u8>, status: u16) -> Case {
    Case { name: name.into(), content_type: MULTIPART.into(), body, status }
}

/// Files that are rejected because of their content.
fn files() -> Vec<Case> {
    let mut files: Vec<(String, Vec<u8>, u16)> = Vec::new();
    for (list, status) in [(unsupported(), 415), (malformed(), 422), (too_large(), 413)] {
        files.extend(list.into_iter().map(|(name, bytes)| (name.to_owned(), bytes, status)));
    }
    for (kind, image) in [("a PNG", png()), ("a GIF", gif()), ("a JPEG", jpeg())] {
        files.push((format!("the begin of {kind}"), image[..image.len() / 2].to_vec(), 422));
        files.push((format!("HTML before {kind}"), [b"<!--", &image[..]].concat(), 415));
        files.push((format!("an archive before {kind}"), [b"PK\x03\x04", &image[..]].concat(), 415));
    }
    files.push((
        "a script that is a GIF".into(),
        b"GIF89a/*\x01\x01\0\0\0,\0\0\0\0\x01\0\x01\0*/=alert(1)".to_vec(),
        422,
    ));
    let large = png_with(&[png_chunk(b"tEXt", &vec![b'a'; 10 << 20])]);
    files.push(("a PNG of more than 10 MiB".into(), large, 413));
    let with_text = |bytes: &[u8]| closed(&[text("content", "look"), file("x.png", bytes)]);
    files.into_iter().map(|(name, bytes, status)| case(name, with_text(&bytes), status)).collect()
}

/// Valid files in invalid multipart bodies.
fn framings() -> Vec<Case> {
    let (png, look) = (png(), text("content", "look"));
    let good = closed(&[look.clone(), file("x.png", &png)]);
    let many =
        |count| (0..count).map(|number| text(&format!("field{number}"), "x")).collect::<Vec<_>>().concat();
    let unclosed = [&look[..], &file("x.png", &png)].concat();
    let long = "x".repeat(100_000);
    let mut cases = vec![
        case("two files", closed(&[look.clone(), file("a.png", &png), file("b.gif", &gif())]), 422),
        case("the same file twice", closed(&[file("a.png", &png), look.clone(), file("a.png", &png)]), 422),
        case("2,000 parts after the file", closed(&[file("a.png", &png), many(2000)]), 422),
        case("2,000 parts before the file", closed(&[many(2000), file("a.png", &png)]), 422),
        case("2,000 files", closed(&vec![file("a.png", &png); 2000]), 422),
        case("a line end in the file's name", closed(&[look.clone(), file("a\r\nX: y.png", &png)]), 422),
        case("a NUL in the file's name", closed(&[look.clone(), file("x.png\0.html", &png)]), 422),
        case("a part without headers", closed(&[file("a.png", &png), part("", b"abc")]), 422),
        case(
            "a part without a name",
            closed(&[part("Content-Disposition: form-data; filename=\"a.png\"", &png)]),
            422,
        ),
        case(
            "a part of another kind",
            closed(&[part("Content-Disposition: attachment; name=\"media\"; filename=\"a\"", &png)]),
            422,
        ),
        case("a header without end", closed(&[file(&long, &png)]), 413),
        case("no closing boundary", unclosed.clone(), 422),
        case("half a closing boundary", [&unclosed[..], b"--x"].concat(), 422),
        case("a file that ends with the body", good[..good.len() / 2].to_vec(), 422),
        case("nothing at all", Vec::new(), 422),
        case("no boundary in the body", png.clone(), 422),
        case(
            "a text that is not UTF-8",
            closed(&[
                text("is_private", "no"),
                part("Content-Disposition: form-data; name=\"content\"", b"\xff"),
                file("x.png", &png),
            ]),
            422,
        ),
        case(
            "a text that is too long",
            closed(&[text("content", &"x".repeat(5001)), file("x.png", &png)]),
            422,
        ),
        case(
            "a text that is far too long",
            closed(&[file("x.png", &png), text("content", &"x".repeat(300_000))]),
            413,
        ),
        case(
            "a file in another field",
            closed(&[look.clone(), part("Content-Disposition: form-data; name=file; filename=x.png", &png)]),
            422,
        ),
        case("a flag that is none", closed(&[file("x.png", &png), text("is_private", "perhaps")]), 422),
        case("text where the file should be", closed(&[look.clone(), text("media", "x.png")]), 422),
    ];
    for (name, content_type, status) in [
        ("another boundary", "multipart/form-data; boundary=another", 422),
        ("an empty boundary", "multipart/form-data; boundary=", 422),
        ("no boundary", "multipart/form-data", 422),
        ("multipart of another kind", "multipart/mixed; boundary=x", 415),
        ("a plain image", "image/png", 415),
        ("multipart declared as JSON", "application/json", 422),
        ("multipart without a content type", "", 415),
    ] {
        cases.push(Case { content_type: content_type.into(), ..case(name, good.clone(), status) });
    }
    let json = json!({"content": "look", "media": "aGVsbG8="}).to_string().into_bytes();
    cases.push(Case { content_type: "application/json".into(), ..case("a file in JSON", json, 422) });
    cases
}

/// A server and its store, which must stay empty.
struct Target {
    server: Server,
    fake: Option<FakeCloudinary>,
    ann: User,
    post: i64,
}

impl Target {
    async fn of(server: Server, fake: Option<FakeCloudinary>) -> Self {
        let ann = server.create_user("ann").await;
        let post = server.create_post(&ann, "text", false).await;
        Self { server, fake, ann, post }
    }

    /// Uploads a case as a new post and as the file of an existing one, and returns the violations found afterwards.
    async fn failures(&self, db: &TestDatabase, case: &Case) -> Vec<String> {
        let mut failures = Vec::new();
        let path = format!("/posts/{}", self.post);
        for (method, path) in [(Method::POST, "/posts/"), (Method::PUT, path.as_str())] {
            let mut fail = |failure: String| failures.push(format!("{}: {method} {failure}", case.name));
            let request = self.server.request(method.clone(), path).bearer_auth(&self.ann.access);
            let request = request.header("content-type", &case.content_type).body(case.body.clone());
            let response = self.server.send(request).await;
            if response.status != case.status {
                fail(format!("is {} and not {}: {}", response.status, case.status, response.text()));
            }
            let files = stored_files(&self.server);
            if !files.is_empty() {
                fail(format!("leaves {files:?}"));
            }
            let calls = self.fake.as_ref().map_or(0, |fake| fake.take_calls().len());
            if calls > 0 {
                fail(format!("makes {calls} calls"));
            }
            let rows = "SELECT (SELECT count(*) FROM posts) + (SELECT count(*) FROM media_deletions)
                + (SELECT count(*) FROM posts WHERE updated_at IS NOT NULL)";
            let rows = db.number(rows).await;
            if rows != 1 {
                fail(format!("leaves {rows} posts, changes and deletions instead of one post"));
            }
        }
        failures
    }

    async fn assert_rejects_all(self, db: &TestDatabase, cases: &[Case]) {
        let mut failures = Vec::new();
        for case in cases {
            failures.extend(self.failures(db, case).await);
        }
        assert!(failures.is_empty(), "of {} cases:\n{}", cases.len(), failures.join("\n"));
        // The framing that all cases share is valid.
        let good = closed(&[file("x.png", &png())]);
        let request = self.server.request(Method::POST, "/posts/").bearer_auth(&self.ann.access);
        self.server.send(request.header("content-type", MULTIPART).body(good)).await.ok();
    }
}

#[database_test]
async fn rejected_upload_leaves_no_file_on_disk(db: TestDatabase) {
    let target = Target::of(Server::start(&db).await, None).await;
    target.assert_rejects_all(&db, &[files(), framings()].into_iter().flatten().collect::<Vec<_>>()).await;
}

#[database_test]
async fn rejected_upload_is_never_sent_to_cloudinary(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let target = Target::of(server, Some(fake)).await;
    target.assert_rejects_all(&db, &[files(), framings()].into_iter().flatten().collect::<Vec<_>>()).await;
}

#[database_test]
async fn anonymous_upload_returns_401_and_stores_nothing(db: TestDatabase) {
    let server = Server::start(&db).await;
    let body = closed(&[file("x.png", &png())]);
    let request = server.request(Method::POST, "/posts/").header("content-type", MULTIPART).body(body);
    assert_eq!(server.send(request).await.problem(), (401, "Not authenticated"));
    assert_eq!(stored_files(&server), [""; 0]);
}

#[database_test]
async fn file_name_and_declared_type_are_ignored(db: TestDatabase) {
    let server = Server::start(&db).await;
    let ann = server.create_user("ann").await;
    let named =
        |filename: &str| part(&format!("Content-Disposition: form-data; name=\"media\"; {filename}"), &png());
    let mut parts: Vec<_> = [
        "../../x.png",
        "..\\..\\x.png",
        "/etc/passwd",
        "C:\\x.png",
        "\u{202e}gnp.exe",
        ".",
        "..",
        "",
        "con.png",
        ".htaccess",
        "x.svg",
        "a; filename=b.html",
        "%2e%2e%2fx.png",
    ]
    .map(|name| file(name, &png()))
    .to_vec();
    parts.push(named("filename*=UTF-8''..%2F..%2Fx%0d%0aX%3a%20y.html"));
    parts.push(named(&format!("filename=\"{}.png\"", "x".repeat(4000))));
    parts.push(part(
        "Content-Disposition: form-data; name=\"media\"; filename=\"x.html\"\r\nContent-Type: text/html",
        &png(),
    ));
    let appended = [&png()[..], b"<script>alert(1)</script>"].concat();
    parts.push(file("x.html", &appended));
    for (number, part) in parts.iter().enumerate() {
        let case = String::from_utf8_lossy(&part[..80]).into_owned();
        let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
        let body = closed(std::slice::from_ref(part));
        let post = server.send(request.header("content-type", MULTIPART).body(body)).await;
        assert_eq!(post.status, 200, "{case}: {}", post.text());
        let path = media_path(&server, &post.json);
        let name = path.strip_prefix("/media/").unwrap();
        let (stem, ending) = name.split_once('.').unwrap();
        assert!(stem.len() == 22 && ending == "png", "{case}: {path}");
        assert_eq!(stored_files(&server).len(), number + 1, "{case}");
        assert!(std::fs::exists(server.folder.path().join("media").join(name)).unwrap(), "{case}");
        let file = server.get(&path, None).await;
        assert_eq!(file.header("content-type").as_deref(), Some("image/png"), "{case}");
        assert!(!file.text().contains("<script"), "{case}");
    }
}
