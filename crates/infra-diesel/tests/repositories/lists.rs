use chrono::TimeDelta;
use domain::{
    comments::{CommentContent, NewComment},
    media::{Media, MediaKey},
    posts::{NewPost, PostContent},
};
use test_support::database_test;

use crate::helpers::{Store, after, now, page, post, user};

#[database_test(postgres, sqlite, memory)]
async fn feed_contains_public_posts_and_the_viewers_own(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let public = post(&db, ann, "public", false).await;
    let private = post(&db, ann, "private", true).await;
    let others = post(&db, bob, "other", false).await;
    let ids = |page: domain::page::Page<domain::posts::PostView>| {
        (page.items.iter().map(|post| post.id).collect::<Vec<_>>(), page.total)
    };
    let feed = |viewer, author| {
        let posts = db.posts.clone();
        async move { posts.list(viewer, author, page(1, 10)).await.unwrap() }
    };
    assert_eq!(ids(feed(ann, None).await), (vec![others.id, private.id, public.id], 3));
    assert_eq!(ids(feed(bob, None).await), (vec![others.id, public.id], 2));
    assert_eq!(ids(feed(bob, Some(ann)).await), (vec![public.id], 1));
    assert_eq!(ids(feed(ann, Some(ann)).await), (vec![private.id, public.id], 2));
    assert_eq!(ids(feed(ann, Some(domain::users::UserId(-5))).await), (vec![], 0));
}

#[database_test(postgres, sqlite, memory)]
async fn pages_and_cursors_return_every_post_once(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let at = now();
    for n in 0..25 {
        // The order is that of the ids, not of the times.
        let new = NewPost {
            author: ann,
            content: PostContent::parse(&format!("post {n}")).unwrap(),
            media: None,
            is_private: n % 5 == 0,
            at: at - TimeDelta::seconds(n % 4),
        };
        db.posts.insert(new).await.unwrap();
    }
    let all = db.posts.list(ann, None, page(1, 100)).await.unwrap();
    assert_eq!((all.items.len(), all.total, all.next), (25, 25, None));
    assert!(all.items.windows(2).all(|pair| pair[0].id.0 > pair[1].id.0));
    let (mut by_number, mut by_cursor) = (Vec::new(), Vec::new());
    for number in 1..=4 {
        by_number.extend(db.posts.list(ann, None, page(number, 7)).await.unwrap().items);
    }
    let mut part = db.posts.list(ann, None, page(1, 7)).await.unwrap();
    loop {
        by_cursor.extend(part.items);
        if part.next.is_none() {
            break;
        }
        part = db.posts.list(ann, None, after(part.next, 7)).await.unwrap();
    }
    assert_eq!(by_number, all.items);
    assert_eq!(by_cursor, all.items);
    for far in [5, 1_000_000_000_000, i64::MAX] {
        let behind = db.posts.list(ann, None, page(far, 7)).await.unwrap();
        assert_eq!((behind.items.len(), behind.total), (0, 25));
    }
}

#[database_test(postgres, sqlite, memory)]
async fn comments_and_follows_are_listed_newest_first(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let post = post(&db, ann, "hi", false).await;
    for n in 0..5 {
        let fan = user(&db, &format!("fan_{n}"), 10 + n).await;
        db.follows.follow(fan, ann, now()).await.unwrap();
        let content = CommentContent::parse(&format!("comment {n}")).unwrap();
        db.comments.insert(NewComment { post: post.id, author: fan, content, at: now() }).await.unwrap();
    }
    let comments = db.comments.list(post.id, None, page(1, 2)).await.unwrap().unwrap();
    assert_eq!((comments.items[0].content.as_str(), comments.total), ("comment 4", 5));
    let rest = db.comments.list(post.id, None, after(comments.next, 10)).await.unwrap().unwrap();
    assert_eq!((rest.items[0].content.as_str(), rest.items.len()), ("comment 2", 3));
    let fans = db.follows.list_followers(ann, page(2, 2)).await.unwrap().unwrap();
    assert_eq!((fans.items[0].username.as_str(), fans.total), ("fan_2", 5));
    let rest = db.follows.list_followers(ann, after(fans.next, 10)).await.unwrap().unwrap();
    assert_eq!((rest.items.len(), rest.items[0].username.as_str()), (1, "fan_0"));
    assert_eq!(db.follows.list_following(ann, page(1, 10)).await.unwrap().unwrap().total, 0);
    assert!(db.follows.list_followers(domain::users::UserId(999), page(1, 10)).await.unwrap().is_none());
}

#[database_test(postgres, sqlite, memory)]
async fn file_deletion_is_pending_until_a_post_uses_the_file(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let key = || MediaKey("abc.png".into());
    let due = now() + TimeDelta::hours(1);
    db.media.schedule_deletion(key(), due).await.unwrap();
    assert!(db.media.claim_deletions(now(), due, 10).await.unwrap().is_empty());
    let media = Some(Media { key: key(), url: None });
    let new = NewPost { author: ann, content: None, media: media.clone(), is_private: true, at: now() };
    let post = db.posts.insert(new).await.unwrap();
    assert_eq!(post.media, media);
    assert!(db.media.claim_deletions(due, due, 10).await.unwrap().is_empty());
    let access = db.media.find_access(key()).await.unwrap().unwrap();
    assert_eq!((access.owner, access.is_private), (ann, true));
    db.posts.delete(post.id, ann, now()).await.unwrap();
    assert_eq!(db.media.claim_deletions(now(), due, 10).await.unwrap(), vec![key()]);
    assert!(db.media.claim_deletions(now(), due, 10).await.unwrap().is_empty());
    db.media.ack_deletion(key()).await.unwrap();
    assert!(db.media.claim_deletions(due, due, 10).await.unwrap().is_empty());
}
