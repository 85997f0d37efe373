//! Media on Cloudinary, for which a stand-in on loopback answers.

use reqwest::Method;
use serde_json::json;
use test_support::{
    TestDatabase,
    cloudinary::{API_KEY, API_SECRET, CLOUD, Call, Mood, StandIn},
    database_test,
    media::images::{gif, png},
};

use crate::{
    helpers::{Server, eventually},
    media::{part, upload},
};

/// What makes a server use this stand-in.
pub(crate) fn settings(base: &str) -> [(&str, &str); 4] {
    [
        ("CLOUDINARY_CLOUD_NAME", CLOUD),
        ("CLOUDINARY_API_KEY", API_KEY),
        ("CLOUDINARY_API_SECRET", API_SECRET),
        ("CLOUDINARY_API_BASE", base),
    ]
}

/// A stand-in, and a server that uses it.
pub(crate) async fn start(db: &TestDatabase) -> (Server, StandIn) {
    let stand_in = StandIn::working().await;
    let server = Server::start_with(db, &settings(&stand_in.base())).await;
    (server, stand_in)
}

/// The calls since they were asked for last, in short and sorted.
fn calls(stand_in: &StandIn) -> Vec<String> {
    let short = |call: &Call| {
        assert!(call.is_signed(), "{}", call.path);
        let path = call.path.strip_prefix(&format!("/v1_1/{CLOUD}/")).unwrap();
        format!("{path} {}", call.field("type"))
    };
    let mut calls: Vec<_> = stand_in.take_calls().iter().map(short).collect();
    calls.sort();
    calls
}

/// Makes every deletion that is owed due now.
pub(crate) async fn hurry(db: &TestDatabase) {
    db.execute("UPDATE media_deletions SET due_at = (SELECT min(created_at) FROM users)").await;
}

pub(crate) async fn owed(db: &TestDatabase) -> i64 {
    db.number("SELECT count(*) FROM media_deletions").await
}

#[database_test]
async fn files_go_to_cloudinary_and_leave_with_their_posts(db: TestDatabase) {
    let (server, stand_in) = start(&db).await;
    let ann = server.user("ann").await;
    let post = upload(&server, &ann, part(png(), "x.png")).await.ok();
    assert_eq!(calls(&stand_in), ["image/upload upload"]);
    let url = post["media_url"].as_str().unwrap();
    assert!(
        url.starts_with("https://res.cloudinary.com/demo-cloud/image/upload/v17/social_media_posts/"),
        "{url}"
    );
    let path = format!("/posts/{}", post["id"]);
    let private = server.put(&path, &ann, json!({"is_private": true})).await.ok();
    assert_eq!(calls(&stand_in), ["image/upload authenticated"]);
    let url = private["media_url"].as_str().unwrap();
    assert!(
        url.contains("/image/download?") && url.contains("expires_at=") && url.contains("signature="),
        "{url}"
    );
    assert!(!url.contains(API_SECRET));
    // The public copy is deleted, of whichever type it was.
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(calls(&stand_in), ["image/destroy authenticated", "image/destroy upload"]);
    server.delete(&path, &ann).await.ok();
    stand_in.becomes(Mood::Says(500, "broken".into()));
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert!(!calls(&stand_in).is_empty(), "the deletion was tried");
}

#[database_test]
async fn no_post_comes_of_an_upload_that_failed(db: TestDatabase) {
    let (server, stand_in) = start(&db).await;
    let ann = server.user("ann").await;
    let post = server.post("/posts/", &ann, json!({"content": "text"})).await.ok();
    let path = format!("/posts/{}", post["id"]);
    for mood in [
        Mood::Says(500, "broken".into()),
        Mood::Says(401, "{}".into()),
        Mood::Says(200, "{".into()),
        Mood::Redirects(format!("{}/elsewhere", stand_in.base())),
        Mood::BreaksOff,
        Mood::NeverEnds,
    ] {
        stand_in.becomes(mood.clone());
        let form = || part(gif(), "x.gif").text("content", "look");
        let change = server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(form());
        for failed in [upload(&server, &ann, form()).await, server.send(change).await] {
            assert_eq!(failed.problem(), (502, "Failed to upload media"), "{mood:?}");
            assert!(!failed.text().contains("broken"));
        }
        assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1, "{mood:?}");
        assert_eq!(server.get(&path, &ann).await.ok(), post, "{mood:?}");
    }
    // Whatever Cloudinary has kept without telling goes.
    assert_eq!(stand_in.kept().len(), 12);
    stand_in.becomes(Mood::Works);
    hurry(&db).await;
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    eventually("all are gone", async || owed(&db).await == 0).await;
    assert_eq!(stand_in.kept(), [""; 0]);
}

#[database_test]
async fn an_upload_has_its_place_until_its_file_is_kept(db: TestDatabase) {
    let (server, stand_in) = start(&db).await;
    let ann = server.user("ann").await;
    let free = server.app.bodies.upload_slots.available();
    stand_in.becomes(Mood::IsSlow);
    let then = async {
        eventually("Cloudinary has it", async || !stand_in.kept().is_empty()).await;
        assert_eq!(server.app.bodies.upload_slots.available(), free - 1);
        stand_in.becomes(Mood::Works);
    };
    let (answer, ()) = tokio::join!(upload(&server, &ann, part(gif(), "x.gif")), then);
    answer.ok();
    assert_eq!(server.app.bodies.upload_slots.available(), free);
}

#[database_test]
async fn what_cannot_be_deleted_yet_is_tried_again(db: TestDatabase) {
    let (server, stand_in) = start(&db).await;
    let ann = server.user("ann").await;
    let deleted = upload(&server, &ann, part(png(), "x.png")).await.ok();
    let replaced = upload(&server, &ann, part(png(), "x.png")).await.ok();
    let path = format!("/posts/{}", replaced["id"]);
    let change = server.request(Method::PUT, &path).bearer_auth(&ann.access).multipart(part(gif(), "y.gif"));
    server.send(change).await.ok();
    server.delete(&format!("/posts/{}", deleted["id"]), &ann).await.ok();
    assert_eq!((stand_in.kept().len(), owed(&db).await), (3, 2));
    let media = &server.app.services.media_cleanup;
    for mood in [Mood::Says(500, "broken".into()), Mood::Says(200, "{".into()), Mood::BreaksOff] {
        stand_in.becomes(mood);
        calls(&stand_in);
        hurry(&db).await;
        // Whether this takes them or the worker does, who is there as well.
        media.delete_orphans().await.unwrap();
        eventually("each is tried, of either type", async || stand_in.calls().len() == 4).await;
        media.delete_orphans().await.unwrap();
        assert_eq!((calls(&stand_in).len(), owed(&db).await), (4, 2), "but not again at once");
    }
    stand_in.becomes(Mood::Works);
    hurry(&db).await;
    media.delete_orphans().await.unwrap();
    eventually("both are gone", async || owed(&db).await == 0).await;
    assert_eq!(stand_in.kept().len(), 1);
}
