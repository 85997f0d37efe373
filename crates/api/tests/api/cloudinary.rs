//! Media on Cloudinary, for which a stand-in on loopback answers.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::{Method, multipart::Form};
use serde_json::json;
use test_support::TestDatabase;

use crate::{
    helpers::{Answer, Server, User},
    media::{gif, part, png},
};

/// What the stand-in was asked for, and how it answers.
#[derive(Default)]
struct StandIn {
    calls: Mutex<Vec<String>>,
    is_broken: Mutex<bool>,
}

impl StandIn {
    /// The calls since they were asked for last.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn set_broken(&self, is_broken: bool) {
        *self.is_broken.lock().unwrap() = is_broken;
    }
}

/// The value of a part of a multipart or url-encoded body.
fn field(body: &str, name: &str) -> String {
    let part = body.split(&format!("name=\"{name}\"")).nth(1);
    let part = part.and_then(|part| part.split("\r\n\r\n").nth(1)).and_then(|part| part.split("\r\n").next());
    let pairs = url::form_urlencoded::parse(body.as_bytes());
    let pair = pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    part.map(str::to_owned).or(pair).unwrap_or_default()
}

async fn answer(request: HttpRequest, body: web::Bytes, stand_in: web::Data<StandIn>) -> HttpResponse {
    let text = String::from_utf8_lossy(&body);
    let (id, kind) = (field(&text, "public_id"), field(&text, "type"));
    let path = request.path().trim_start_matches("/v1_1/cloud/").to_owned();
    assert!(
        !field(&text, "signature").is_empty() && !text.contains("hidden"),
        "calls are signed, without the secret"
    );
    assert!(id.starts_with("social_media_posts/"), "{id}");
    stand_in.calls.lock().unwrap().push(format!("{path} {kind}"));
    if *stand_in.is_broken.lock().unwrap() {
        return HttpResponse::InternalServerError().body("broken");
    }
    if path.ends_with("destroy") {
        return HttpResponse::Ok().json(json!({"result": "ok"}));
    }
    let url = format!("https://res.cloudinary.com/cloud/image/{kind}/v1/{id}.png");
    HttpResponse::Ok()
        .json(json!({"public_id": id, "secure_url": url, "type": kind, "resource_type": "image"}))
}

/// A stand-in, and a server that uses it.
async fn start(db: &TestDatabase) -> (Server, web::Data<StandIn>) {
    let stand_in = web::Data::from(Arc::new(StandIn::default()));
    let state = stand_in.clone();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let http = HttpServer::new(move || App::new().app_data(state.clone()).default_service(web::to(answer)));
    tokio::spawn(http.workers(1).disable_signals().listen(listener).unwrap().run());
    let server = Server::start_with(
        db,
        &[
            ("CLOUDINARY_CLOUD_NAME", "cloud"),
            ("CLOUDINARY_API_KEY", "key"),
            ("CLOUDINARY_API_SECRET", "hidden"),
            ("CLOUDINARY_API_BASE", &base),
        ],
    )
    .await;
    (server, stand_in)
}

async fn upload(server: &Server, user: &User, form: Form) -> Answer {
    server.send(server.request(Method::POST, "/posts/").bearer_auth(&user.access).multipart(form)).await
}

test_support::on_both_databases! {
    async fn files_go_to_cloudinary_and_leave_with_their_posts(db: TestDatabase) {
        let (server, stand_in) = start(&db).await;
        let ann = server.user("ann").await;
        let post = upload(&server, &ann, part(png(), "x.png")).await.ok();
        assert_eq!(stand_in.calls(), ["image/upload upload"]);
        let url = post["media_url"].as_str().unwrap();
        assert!(url.starts_with("https://res.cloudinary.com/cloud/image/upload/v1/social_media_posts/"), "{url}");
        let path = format!("/posts/{}", post["id"]);
        let private = server.put(&path, &ann, json!({"is_private": true})).await.ok();
        assert_eq!(stand_in.calls(), ["image/upload authenticated"]);
        let url = private["media_url"].as_str().unwrap();
        assert!(url.contains("/image/download?") && url.contains("expires_at=") && url.contains("signature="), "{url}");
        assert!(!url.contains("hidden"));
        // The public copy is deleted, of whichever type it was.
        server.app.services.posts.delete_orphans().await.unwrap();
        let mut calls = stand_in.calls();
        calls.sort();
        assert_eq!(calls, ["image/destroy authenticated", "image/destroy upload"]);
        server.delete(&path, &ann).await.ok();
        stand_in.set_broken(true);
        server.app.services.posts.delete_orphans().await.unwrap();
        assert!(!stand_in.calls().is_empty(), "the deletion was tried");
    }

    async fn no_post_comes_of_an_upload_that_failed(db: TestDatabase) {
        let (server, stand_in) = start(&db).await;
        let ann = server.user("ann").await;
        stand_in.set_broken(true);
        let failed = upload(&server, &ann, part(gif(), "x.gif").text("content", "look")).await;
        assert_eq!(failed.problem(), (502, "Failed to upload media"));
        assert!(!failed.text().contains("broken"));
        assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 0);
        stand_in.set_broken(false);
        let post = server.post("/posts/", &ann, json!({"content": "text"})).await.ok();
        stand_in.set_broken(true);
        let change = server.request(Method::PUT, &format!("/posts/{}", post["id"])).bearer_auth(&ann.access);
        let change = change.multipart(part(gif(), "x.gif").text("content", "changed"));
        assert_eq!(server.send(change).await.problem(), (502, "Failed to upload media"));
        assert_eq!(server.get(&format!("/posts/{}", post["id"]), &ann).await.ok(), post);
    }

    async fn refused_files_are_never_sent(db: TestDatabase) {
        let (server, stand_in) = start(&db).await;
        let ann = server.user("ann").await;
        for bytes in [b"<svg/>".to_vec(), b"%PDF-1.7".to_vec(), png()[..40].to_vec(), b"text".to_vec()] {
            let answer = upload(&server, &ann, part(bytes, "x.png").text("content", "look")).await;
            assert!([415, 422].contains(&answer.status));
        }
        let strange = part(png(), "x.png").text("content", "x".repeat(5001));
        assert_eq!(upload(&server, &ann, strange).await.status, 422);
        assert_eq!(stand_in.calls(), [""; 0]);
        assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 0);
    }
}
