use std::path::Path;

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::Value;

use crate::helpers::{Answer, Server, User};

/// A PNG of one pixel, made by hand.
pub(crate) fn png() -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut checked = kind.to_vec();
        checked.extend_from_slice(data);
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(&checked);
        file.extend(crc32fast::hash(&checked).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    chunk(b"tEXt", b"Comment\0taken at home");
    // One stored block of a zlib stream: a filter byte and a grey pixel.
    chunk(b"IDAT", &[0x78, 0x01, 0x01, 0x02, 0x00, 0xfd, 0xff, 0x00, 0x7f, 0x00, 0x81, 0x00, 0x80]);
    chunk(b"IEND", b"");
    file
}

/// A GIF of one pixel.
pub(crate) fn gif() -> Vec<u8> {
    let mut file = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    file.extend(b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;");
    file
}

/// A JPEG of one grey pixel: one table of each kind, a frame, and a scan of two codes.
fn jpeg() -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, data: &[u8]| {
        file.extend([0xff, marker]);
        file.extend(u16::try_from(data.len() + 2).unwrap().to_be_bytes());
        file.extend(data);
    };
    segment(0xe1, b"Exif\0\0MM\0*\0\0\0\x08\0\0 taken at home");
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    segment(0xc0, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0]);
    for table in [0x00, 0x10] {
        segment(0xc4, &[&[table, 1][..], &[0; 15], &[0]].concat());
    }
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    file.extend([0x3f, 0xff, 0xd9]);
    file
}

/// A lossless WebP of one pixel.
fn webp() -> Vec<u8> {
    let picture = [0x2f, 0, 0, 0, 0x10, 0x07, 0x10, 0x11, 0x11, 0x88, 0x88, 0xfe, 0x07, 0];
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    [b"RIFF", &size(12 + picture.len())[..], b"WEBPVP8L", &size(picture.len() - 1), &picture].concat()
}

pub(crate) fn part(bytes: Vec<u8>, name: &str) -> Form {
    Form::new().part("media", Part::bytes(bytes).file_name(name.to_owned()).mime_str("image/png").unwrap())
}

async fn upload(server: &Server, user: &User, form: Form) -> Answer {
    server.send(server.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form)).await
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

fn stored(server: &Server) -> Vec<String> {
    files(&server.folder.path().join("media"))
}

async fn nothing_is_stored(server: &Server, user: &User, what: &str) {
    assert_eq!(stored(server), [""; 0], "{what}");
    assert_eq!(files(&server.folder.path().join("uploads")), [""; 0], "{what}");
    assert_eq!(server.get("/posts/", user).await.ok()["total"], 0, "{what}");
}

/// The path and query of a post's file.
fn address(server: &Server, post: &Value) -> String {
    post["media_url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned()
}

test_support::on_both_databases! {
    async fn a_public_file_loads_without_a_token_and_well(db: TestDatabase) {
        let server = Server::start(&db).await;
        let ann = server.user("ann").await;
        let post = upload(&server, &ann, part(png(), "../../holiday\u{202e}gnp.exe").text("content", "look")).await.ok();
        let path = address(&server, &post);
        assert!(!path.contains("holiday") && path.rsplit_once('.').is_some_and(|(_, ending)| ending == "png"), "{path}");
        let file = server.get(&path, None).await;
        assert_eq!(file.status, 200);
        assert!(!file.body.windows(4).any(|four| four == b"home"), "the comment is gone");
        for (name, value) in [
            ("content-type", "image/png"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("cross-origin-resource-policy", "cross-origin"),
        ] {
            assert_eq!(file.header(name).as_deref(), Some(value), "{name}");
        }
        let etag = file.header("etag").unwrap();
        let asked = |name: &str, value: &str| server.request(Method::GET, &path).header(name, value);
        assert_eq!(server.send(asked("if-none-match", &etag)).await.status, 304);
        let range = server.send(asked("range", "bytes=0-3")).await;
        assert_eq!((range.status, range.body.as_slice()), (206, &b"\x89PNG"[..]));
        assert_eq!(server.send(asked("range", "bytes=99999-")).await.status, 416);
        for elsewhere in ["/media/", "/media/..%2fsecret_key", "/media/.lock", "/media/AAAAAAAAAAAAAAAAAAAAAA.png"] {
            assert_eq!(server.get(elsewhere, &ann).await.status, 404, "{elsewhere}");
        }
    }

    async fn what_a_file_is_its_content_says(db: TestDatabase) {
        let server = Server::start(&db).await;
        let ann = server.user("ann").await;
        for (bytes, ending, content_type) in [
            (jpeg(), "jpg", "image/jpeg"),
            (webp(), "webp", "image/webp"),
            (gif(), "gif", "image/gif"),
            (png(), "png", "image/png"),
        ] {
            let post = upload(&server, &ann, part(bytes, "x.html")).await.ok();
            assert_eq!(post["content"], Value::Null);
            let path = address(&server, &post);
            assert!(path.ends_with(&format!(".{ending}")), "{path}");
            let file = server.get(&path, None).await;
            assert_eq!((file.status, file.header("content-type").as_deref()), (200, Some(content_type)));
            assert!(!file.body.windows(4).any(|four| four == b"home"), "{ending}");
            let head = server.send(server.request(Method::HEAD, &path)).await;
            assert_eq!(head.header("content-length"), Some(file.body.len().to_string()));
        }
    }

    async fn a_private_file_is_to_others_as_none_is(db: TestDatabase) {
        let server = Server::start_with(&db, &[("PUBLIC_URL", "https://cdn.example/api/")]).await;
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let post = upload(&server, &ann, part(gif(), "x.gif").text("is_private", "on")).await.ok();
        let signed = post["media_url"].as_str().unwrap().strip_prefix("https://cdn.example/api").unwrap();
        assert_eq!(server.get(signed, None).await.status, 200);
        let (bare, _) = signed.split_once('?').unwrap();
        for viewer in [Some(&bob), None] {
            for headers in [("range", "bytes=0-3"), ("if-none-match", "*"), ("origin", "http://localhost:5173")] {
                let ask = async |path: &str| {
                    let request = server.request(Method::GET, path).header(headers.0, headers.1);
                    server.send(viewer.iter().fold(request, |request, user| request.bearer_auth(&user.access))).await
                };
                let (private, none) = (ask(bare).await, ask("/media/AAAAAAAAAAAAAAAAAAAAAA.gif").await);
                assert!(private.looks_like(&none), "{private:?} is not as {none:?}");
                assert_eq!(private.problem(), (404, "Not Found"));
            }
        }
        // Neither do changes tell it.
        let empty = reqwest::multipart::Form::new().text("content", "").part("media", Part::bytes(Vec::new()).file_name("x"));
        let path = format!("/posts/{}", post["id"]);
        let unchanged = server.send(server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(empty)).await.ok();
        assert_eq!((&unchanged["updated_at"], &unchanged["media_url"]), (&Value::Null, &post["media_url"]));
        for stranger in [&bob, &ann] {
            let form = part(png(), "x.png");
            let change = server.request(Method::PUT, "/posts/999").bearer_auth(&stranger.access).multipart(form);
            assert_eq!(server.send(change).await.problem(), (404, "Post not found"));
        }
        let change = server.request(Method::PUT, &path).bearer_auth(&bob.access).multipart(part(png(), "x.png"));
        assert_eq!(server.send(change).await.problem(), (404, "Post not found"));
        assert_eq!(stored(&server).len(), 1);
    }

    async fn a_private_file_needs_its_owner_or_an_address_that_we_signed(db: TestDatabase) {
        let server = Server::start(&db).await;
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let post = upload(&server, &ann, part(gif(), "x.gif").text("is_private", "true")).await.ok();
        let signed = address(&server, &post);
        let (bare, query) = signed.split_once('?').unwrap();
        let file = server.get(&signed, None).await;
        assert_eq!((file.status, file.header("content-type").as_deref()), (200, Some("image/gif")));
        assert_eq!(file.header("cache-control").as_deref(), Some("private, max-age=3600"));
        assert_eq!(server.get(bare, &ann).await.status, 200);
        let late = signed.replace("expires=", "expires=9");
        for path in [bare, late.as_str(), &format!("{bare}?{}", query.replace("signature=", "signature=A"))] {
            assert_eq!(server.get(path, None).await.status, 404, "{path}");
            assert_eq!(server.get(path, &bob).await.status, 404, "{path}");
        }
    }

    async fn the_address_of_a_file_ends_when_its_post_becomes_private_or_goes(db: TestDatabase) {
        let server = Server::start(&db).await;
        let ann = server.user("ann").await;
        let post = upload(&server, &ann, part(png(), "x.png")).await.ok();
        let path = format!("/posts/{}", post["id"]);
        let public = address(&server, &post);
        let private = server.put(&path, &ann, serde_json::json!({"is_private": true})).await.ok();
        assert_eq!(server.get(&public, &ann).await.status, 404);
        let signed = address(&server, &private);
        assert_eq!(server.get(&signed, None).await.status, 200);
        let replaced = server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(part(gif(), "y.gif"));
        let replaced = address(&server, &server.send(replaced).await.ok());
        assert_eq!(server.get(&signed, None).await.status, 404);
        assert_eq!(server.get(&replaced, None).await.status, 200);
        server.app.services.posts.delete_orphans().await.unwrap();
        assert_eq!(stored(&server).len(), 1);
        server.delete(&path, &ann).await.ok();
        assert_eq!(server.get(&replaced, None).await.status, 404);
        server.app.services.posts.delete_orphans().await.unwrap();
        nothing_is_stored(&server, &ann, "after the post has gone").await;
    }

    async fn refused_files_leave_nothing(db: TestDatabase) {
        let server = Server::start_with(&db, &[("MAX_UPLOAD_BYTES", "5000")]).await;
        let ann = server.user("ann").await;
        let mut bomb = png();
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = crc32fast::hash(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&crc);
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".to_vec();
        for (bytes, expected) in [
            (svg, 415),
            (b"<!DOCTYPE html><script>alert(1)</script>".to_vec(), 415),
            (b"just text".to_vec(), 415),
            (b"%PDF-1.7".to_vec(), 415),
            (png()[..40].to_vec(), 422),
            (png()[..8].to_vec(), 422),
            (gif()[..20].to_vec(), 422),
            (bomb, 413),
            ([png(), vec![0; 6000]].concat(), 413),
        ] {
            let what = String::from_utf8_lossy(&bytes[..8]).into_owned();
            let answer = upload(&server, &ann, part(bytes, "x.png").text("content", "look")).await;
            assert_eq!(answer.status, expected, "{what}: {}", answer.text());
            nothing_is_stored(&server, &ann, &what).await;
        }
    }

    async fn odd_framings_leave_nothing(db: TestDatabase) {
        let server = Server::start(&db).await;
        let ann = server.user("ann").await;
        let two = part(png(), "a.png").part("media", Part::bytes(gif()).file_name("b.gif"));
        assert_eq!(upload(&server, &ann, two).await.status, 422);
        let many = (0..2000).fold(part(png(), "a.png"), |form, n| form.text(format!("field{n}"), "x"));
        assert_eq!(upload(&server, &ann, many).await.status, 422);
        let named = "--x\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a\r\nX: y.png\"\r\n\r\nabc\r\n--x--\r\n";
        let headless = "--x\r\n\r\nabc\r\n--x--\r\n";
        let nameless = "--x\r\nContent-Disposition: form-data; filename=\"a.png\"\r\n\r\nabc\r\n--x--\r\n";
        let unfinished = "--x\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.png\"\r\n\r\nabc";
        for (boundary, body) in [
            ("x", named),
            ("x", headless),
            ("x", nameless),
            ("x", unfinished),
            ("another", nameless),
            ("", nameless),
        ] {
            let content_type = format!("multipart/form-data; boundary={boundary}");
            let request = server.request(Method::POST, "/posts/").bearer_auth(&ann.access);
            let answer = server.send(request.header("content-type", content_type).body(body)).await;
            assert!((400..500).contains(&answer.status), "{boundary} {body}: {}", answer.text());
        }
        let text = Form::new().text("media", "no file").text("content", "x");
        assert_eq!(upload(&server, &ann, text).await.status, 422);
        nothing_is_stored(&server, &ann, "odd framings").await;
        // Strangers are not even listened to.
        let stranger = server.request(Method::POST, "/posts/").multipart(part(png(), "a.png"));
        assert_eq!(server.send(stranger).await.problem(), (401, "Not authenticated"));
    }
}
