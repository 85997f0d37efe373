//! Sizes and quotas of files.

use chrono::TimeDelta;
use domain::{
    media::{Media, MediaKey, MediaReservation},
    posts::{NewPost, PostChange, PostUpdate, PostView},
    users::UserId,
};
use futures_util::future::join_all;
use test_support::{TestDatabase, database_test};

use crate::helpers::{Ports, Store, now, open, user};

const QUOTA: u64 = 100;

fn key(name: &str) -> MediaKey {
    MediaKey(format!("{name}.png"))
}

fn file(owner: UserId, name: &str, bytes: u64) -> MediaReservation {
    let due_at = now() + TimeDelta::hours(1);
    MediaReservation { key: key(name), owner, bytes, quota: Some(QUOTA), replaces: None, due_at }
}

async fn post_with(db: &impl Ports, author: UserId, name: &str) -> PostView {
    let media = Some(Media { key: key(name), url: None });
    db.posts().insert(NewPost { author, content: None, media, is_private: false, at: now() }).await.unwrap()
}

fn replacement(post: &PostView, name: &str) -> PostChange {
    let media = Some(Media { key: key(name), url: None });
    PostChange { expected: post.revision(), content: None, media, is_private: Some(true), at: now() }
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_files_never_exceed_the_quota_together(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let names: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    let reserved = join_all(names.iter().map(|name| db.media.reserve(file(ann, name, 30)))).await;
    assert_eq!(reserved.into_iter().filter(|reserved| *reserved.as_ref().unwrap()).count(), 3);
    assert!(!db.media.reserve(file(ann, "more", 11)).await.unwrap());
    assert!(db.media.reserve(file(ann, "rest", 10)).await.unwrap());
    assert!(!db.media.reserve(file(ann, "byte", 1)).await.unwrap());
    assert!(db.media.reserve(MediaReservation { quota: None, ..file(ann, "any", 1000) }).await.unwrap());
    assert!(db.media.reserve(file(bob, "of bob", QUOTA)).await.unwrap());
    assert!(!db.media.reserve(file(bob, "huge", u64::MAX)).await.unwrap());
}

#[database_test(postgres, sqlite, memory)]
async fn file_counts_until_its_post_is_deleted_or_gets_another_one(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let reserve = async |name, bytes| db.media.reserve(file(ann, name, bytes)).await.unwrap();
    assert!(reserve("a", 60).await);
    let post = post_with(&db, ann, "a").await;
    assert!(!reserve("b", 50).await);
    // A copy of the file replaces it.
    db.media.schedule_deletion(key("copy"), now() + TimeDelta::hours(1)).await.unwrap();
    let PostUpdate::Updated(post) = db.posts.update(post.id, ann, replacement(&post, "copy")).await.unwrap()
    else {
        panic!("nothing else changed it")
    };
    assert!(!reserve("b", 50).await);
    // So does another file, of which only the difference counts.
    let larger = MediaReservation { replaces: Some(key("copy")), ..file(ann, "c", 90) };
    assert!(db.media.reserve(larger).await.unwrap());
    let PostUpdate::Updated(post) = db.posts.update(post.id, ann, replacement(&post, "c")).await.unwrap()
    else {
        panic!("nothing else changed it")
    };
    assert!(!reserve("d", 11).await);
    assert!(reserve("d", 10).await);
    assert!(db.posts.delete(post.id, ann, now()).await.unwrap());
    assert!(!reserve("e", 91).await);
    assert!(reserve("e", 90).await);
}

#[database_test(postgres, sqlite, memory)]
async fn file_without_a_post_counts_until_it_is_deleted(db: Store) {
    let ann = user(&db, "ann", 1).await;
    assert!(db.media.reserve(file(ann, "a", 60)).await.unwrap());
    assert!(db.media.reserve(file(ann, "b", 40)).await.unwrap());
    post_with(&db, ann, "b").await;
    db.media.release(key("a"), now()).await.unwrap();
    // It has a post.
    db.media.release(key("b"), now()).await.unwrap();
    assert!(!db.media.reserve(file(ann, "c", 1)).await.unwrap());
    let later = now() + TimeDelta::minutes(5);
    assert_eq!(db.media.claim_deletions(now(), later, 10).await.unwrap(), [key("a")]);
    for _ in 0..2 {
        db.media.ack_deletion(key("a")).await.unwrap();
        db.media.ack_deletion(key("b")).await.unwrap();
    }
    assert!(!db.media.reserve(file(ann, "c", 61)).await.unwrap());
    assert!(db.media.reserve(file(ann, "c", 60)).await.unwrap());
}

#[database_test]
async fn bytes_of_files_equal_their_rows(database: TestDatabase) {
    let db = open(&database).await;
    let ann = user(&db, "ann", 1).await;
    for (name, bytes) in [("a", 10), ("b", 20), ("c", 30)] {
        assert!(db.media.reserve(file(ann, name, bytes)).await.unwrap());
    }
    let posts = [post_with(&db, ann, "a").await, post_with(&db, ann, "b").await];
    database.agrees().await;
    let counted = "SELECT media_bytes FROM user_counters";
    assert_eq!(database.number(counted).await, 60);
    db.posts.update(posts[0].id, ann, replacement(&posts[0], "c")).await.unwrap();
    assert_eq!(database.number(counted).await, 50);
    db.posts.delete(posts[1].id, ann, now()).await.unwrap();
    assert_eq!(database.number(counted).await, 30);
    database.agrees().await;
}
