//! How much one account may store, and what uploads leave of the disk.

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{TestDatabase, cloudinary::FakeCloudinary, database_test, media::images::png};

use crate::harness::{
    Response, Server, User, cloudinary_settings, file_form, pending_deletions, stored_files, upload,
};

async fn upload_png(server: &Server, user: &User) -> Response {
    upload(server, user, file_form(png(), "x.png")).await
}

fn is_refused(response: &Response) -> bool {
    (response.status, response.json["code"].as_str()) == (413, Some("media_quota_exceeded"))
}

/// Room for three pictures, and not for four.
fn quota() -> String {
    (png().len() * 7 / 2).to_string()
}

#[database_test]
async fn concurrent_uploads_stay_within_the_quota_of_their_account(db: TestDatabase) {
    let server = Server::start_with(&db, &[("MEDIA_QUOTA_BYTES", &quota())]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let responses = join_all((0..12).map(|_| upload_png(&server, &ann))).await;
    let (stored, refused): (Vec<_>, Vec<_>) = responses.into_iter().partition(|one| one.status == 200);
    assert_eq!((stored.len(), refused.len()), (3, 9));
    assert!(refused.iter().all(is_refused), "{refused:?}");
    assert_eq!((stored_files(&server).len(), pending_deletions(&db).await), (3, 0));
    assert_eq!(upload_png(&server, &bob).await.status, 200);
    server.post("/posts/", &ann, json!({"content": "text"})).await.ok();

    // At the limit a file can be replaced, and its post hidden.
    let post = format!("/posts/{}", stored[0].json["id"]);
    assert_eq!(server.put_form(&post, &ann, file_form(png(), "x.png")).await.status, 200);
    server.put(&post, &ann, json!({"is_private": true})).await.ok();
    let text = server.create_post(&ann, "text", false).await;
    let larger = server.put_form(&format!("/posts/{text}"), &ann, file_form(png(), "x.png")).await;
    assert!(is_refused(&larger), "{larger:?}");
    db.agrees().await;

    // A deleted file counts no more.
    server.delete(&post, &ann).await.ok();
    assert_eq!(upload_png(&server, &ann).await.status, 200);
    assert!(is_refused(&upload_png(&server, &ann).await));
    db.agrees().await;
}

#[database_test]
async fn quota_holds_for_files_at_cloudinary(db: TestDatabase) {
    let fake = FakeCloudinary::working().await;
    let (base, quota) = (fake.base(), quota());
    let settings = [&cloudinary_settings(&base)[..], &[("MEDIA_QUOTA_BYTES", &quota)]].concat();
    let server = Server::start_with(&db, &settings).await;
    let ann = server.create_user("ann").await;
    let responses = join_all((0..6).map(|_| upload_png(&server, &ann))).await;
    assert_eq!(responses.iter().filter(|one| one.status == 200).count(), 3);
    assert_eq!(responses.iter().filter(|one| is_refused(one)).count(), 3);
    assert_eq!(fake.stored_files().len(), 3);
}

#[database_test]
async fn unlimited_quota_and_reserve_are_possible(db: TestDatabase) {
    let settings = [("MEDIA_QUOTA_BYTES", "0"), ("MEDIA_RESERVE_BYTES", "0")];
    let server = Server::start_with(&db, &settings).await;
    let ann = server.create_user("ann").await;
    assert_eq!(upload_png(&server, &ann).await.status, 200);
}

#[database_test]
async fn uploads_leave_the_reserve_of_the_disk(db: TestDatabase) {
    let reserve = i64::MAX.to_string();
    let server = Server::start_with(&db, &[("MEDIA_RESERVE_BYTES", &reserve)]).await;
    let ann = server.create_user("ann").await;
    let refused = upload_png(&server, &ann).await;
    assert_eq!((refused.status, &refused.json["code"]), (507, &Value::from("storage_full")));
    assert_eq!(stored_files(&server), [""; 0]);
    let post = server.create_post(&ann, "text", false).await;
    let path = format!("/posts/{post}");
    assert_eq!(server.put_form(&path, &ann, file_form(png(), "x.png")).await.status, 507);
    server.put(&path, &ann, json!({"content": "changed"})).await.ok();
}
