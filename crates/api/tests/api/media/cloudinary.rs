//! Media at a fake Cloudinary.

use serde_json::json;
use test_support::{
    TestDatabase,
    cloudinary::{API_SECRET, Behavior, CLOUD, Call, FakeCloudinary},
    database_test,
    media::images::{gif, png},
};

use crate::harness::{
    file_form, make_deletions_due, pending_deletions, start_with_cloudinary, upload, wait_until,
};

/// Action and delivery type of the calls since the last time, sorted.
fn calls(fake: &FakeCloudinary) -> Vec<String> {
    let short = |call: &Call| {
        assert!(call.is_signed(), "{}", call.path);
        let path = call.path.strip_prefix(&format!("/v1_1/{CLOUD}/")).unwrap();
        format!("{path} {}", call.field("type"))
    };
    let mut calls: Vec<_> = fake.take_calls().iter().map(short).collect();
    calls.sort();
    calls
}

#[database_test]
async fn file_is_uploaded_and_destroyed_with_its_post(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let ann = server.create_user("ann").await;
    let post = upload(&server, &ann, file_form(png(), "x.png")).await.ok();
    assert_eq!(calls(&fake), ["image/upload upload"]);
    let url = post["media_url"].as_str().unwrap();
    assert!(
        url.starts_with("https://res.cloudinary.com/demo-cloud/image/upload/v17/social_media_posts/"),
        "{url}"
    );
    let path = format!("/posts/{}", post["id"]);
    let private = server.put(&path, &ann, json!({"is_private": true})).await.ok();
    assert_eq!(calls(&fake), ["image/upload authenticated"]);
    let url = private["media_url"].as_str().unwrap();
    assert!(
        url.contains("/image/download?") && url.contains("expires_at=") && url.contains("signature="),
        "{url}"
    );
    assert!(!url.contains(API_SECRET));
    // The public copy is deleted, of whichever type it was.
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert_eq!(calls(&fake), ["image/destroy authenticated", "image/destroy upload"]);
    server.delete(&path, &ann).await.ok();
    fake.set_behavior(Behavior::Responds(500, "broken".into()));
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    assert!(!calls(&fake).is_empty(), "the deletion was not tried");
}

#[database_test]
async fn failed_upload_creates_no_post(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let ann = server.create_user("ann").await;
    let post = server.post("/posts/", &ann, json!({"content": "text"})).await.ok();
    let path = format!("/posts/{}", post["id"]);
    for mood in [
        Behavior::Responds(500, "broken".into()),
        Behavior::Responds(401, "{}".into()),
        Behavior::Responds(200, "{".into()),
        Behavior::Redirects(format!("{}/elsewhere", fake.base())),
        Behavior::Truncates,
        Behavior::NeverEnds,
    ] {
        fake.set_behavior(mood.clone());
        let form = || file_form(gif(), "x.gif").text("content", "look");
        for failed in [upload(&server, &ann, form()).await, server.put_form(&path, &ann, form()).await] {
            assert_eq!(failed.problem(), (502, "Failed to upload media"), "{mood:?}");
            assert!(!failed.text().contains("broken"));
        }
        assert_eq!(server.get("/posts/", &ann).await.ok()["total"], 1, "{mood:?}");
        assert_eq!(server.get(&path, &ann).await.ok(), post, "{mood:?}");
    }
    // Files that Cloudinary stored without confirming it are deleted.
    assert_eq!(fake.stored_files().len(), 12);
    fake.set_behavior(Behavior::Works);
    make_deletions_due(&db).await;
    server.app.services.media_cleanup.delete_orphans().await.unwrap();
    wait_until("all are deleted", async || pending_deletions(&db).await == 0).await;
    assert_eq!(fake.stored_files(), [""; 0]);
}

#[database_test]
async fn upload_holds_its_slot_until_the_file_is_stored(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let ann = server.create_user("ann").await;
    let free = server.app.bodies.upload_slots.available();
    fake.set_behavior(Behavior::Waits);
    let then = async {
        wait_until("Cloudinary has it", async || !fake.stored_files().is_empty()).await;
        assert_eq!(server.app.bodies.upload_slots.available(), free - 1);
        fake.set_behavior(Behavior::Works);
    };
    let (response, ()) = tokio::join!(upload(&server, &ann, file_form(gif(), "x.gif")), then);
    response.ok();
    assert_eq!(server.app.bodies.upload_slots.available(), free);
}

#[database_test]
async fn failed_deletion_is_retried(db: TestDatabase) {
    let (server, fake) = start_with_cloudinary(&db).await;
    let ann = server.create_user("ann").await;
    let deleted = upload(&server, &ann, file_form(png(), "x.png")).await.ok();
    let replaced = upload(&server, &ann, file_form(png(), "x.png")).await.ok();
    let path = format!("/posts/{}", replaced["id"]);
    server.put_form(&path, &ann, file_form(gif(), "y.gif")).await.ok();
    server.delete(&format!("/posts/{}", deleted["id"]), &ann).await.ok();
    assert_eq!((fake.stored_files().len(), pending_deletions(&db).await), (3, 2));
    let media = &server.app.services.media_cleanup;
    for mood in
        [Behavior::Responds(500, "broken".into()), Behavior::Responds(200, "{".into()), Behavior::Truncates]
    {
        fake.set_behavior(mood);
        calls(&fake);
        make_deletions_due(&db).await;
        // Either this call or the background worker handles them.
        media.delete_orphans().await.unwrap();
        wait_until("both delivery types of each are tried", async || fake.calls().len() == 4).await;
        media.delete_orphans().await.unwrap();
        assert_eq!((calls(&fake).len(), pending_deletions(&db).await), (4, 2), "retried too early");
    }
    fake.set_behavior(Behavior::Works);
    make_deletions_due(&db).await;
    media.delete_orphans().await.unwrap();
    wait_until("both are deleted", async || pending_deletions(&db).await == 0).await;
    assert_eq!(fake.stored_files().len(), 1);
}
