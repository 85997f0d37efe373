//! `GET /media/{key}` of private files.

use reqwest::{Method, multipart::Part};
use serde_json::Value;
use test_support::{
    TestDatabase, database_test,
    media::images::{gif, png},
};

use crate::harness::{Server, file_form, media_path, stored_files, upload};

#[database_test]
async fn private_file_looks_missing_to_others(db: TestDatabase) {
    let server = Server::start_with(&db, &[("PUBLIC_URL", "https://cdn.example/api/")]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = upload(&server, &ann, file_form(gif(), "x.gif").text("is_private", "on")).await.ok();
    let signed = post["media_url"].as_str().unwrap().strip_prefix("https://cdn.example/api").unwrap();
    assert_eq!(server.get(signed, None).await.status, 200);
    let (bare, _) = signed.split_once('?').unwrap();
    for viewer in [Some(&bob), None] {
        for headers in [("range", "bytes=0-3"), ("if-none-match", "*"), ("origin", "http://localhost:5173")] {
            let get = async |path: &str| {
                let request = server.request(Method::GET, path).header(headers.0, headers.1);
                server
                    .send(viewer.iter().fold(request, |request, user| request.bearer_auth(&user.access)))
                    .await
            };
            let (private, none) = (get(bare).await, get("/media/AAAAAAAAAAAAAAAAAAAAAA.gif").await);
            assert!(private.looks_like(&none), "{private:?} is not as {none:?}");
            assert_eq!(private.problem(), (404, "Not Found"));
        }
    }
    // Updates do not reveal it either.
    let empty = reqwest::multipart::Form::new()
        .text("content", "")
        .part("media", Part::bytes(Vec::new()).file_name("x"));
    let path = format!("/posts/{}", post["id"]);
    let unchanged = server.put_form(&path, &ann, empty).await.ok();
    assert_eq!((&unchanged["updated_at"], &unchanged["media_url"]), (&Value::Null, &post["media_url"]));
    for stranger in [&bob, &ann] {
        let form = file_form(png(), "x.png");
        assert_eq!(server.put_form("/posts/999", stranger, form).await.problem(), (404, "Post not found"));
    }
    let change = server.put_form(&path, &bob, file_form(png(), "x.png")).await;
    assert_eq!(change.problem(), (404, "Post not found"));
    assert_eq!(stored_files(&server).len(), 1);
}

#[database_test]
async fn private_file_requires_its_owner_or_a_signed_url(db: TestDatabase) {
    let server = Server::start(&db).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = upload(&server, &ann, file_form(gif(), "x.gif").text("is_private", "true")).await.ok();
    let signed = media_path(&server, &post);
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
