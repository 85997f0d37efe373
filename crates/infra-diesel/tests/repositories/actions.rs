use chrono::TimeDelta;
use domain::{
    comments::{CommentContent, CommentEdit, NewComment},
    notifications::{Activity, NotificationId, NotificationView},
    posts::{PostChange, PostRevision, PostUpdate},
    users::UserId,
};
use test_support::database_test;

use crate::helpers::{Store, now, page, post, user};

/// Returns notifications, total and unread count, and checks the counters.
async fn notifications_of(db: &Store, recipient: UserId) -> (Vec<NotificationView>, i64, i64) {
    let list = db.notifications.list(recipient, false, page(1, 100)).await.unwrap();
    assert_eq!(list.page.items.len() as i64, list.page.total, "the counter is the number of rows");
    let unread = list.page.items.iter().filter(|notification| !notification.is_read).count() as i64;
    assert_eq!(unread, list.unread_count, "the counter is the number of unread rows");
    (list.page.items, list.page.total, list.unread_count)
}

fn comment_on(post: &domain::posts::PostView, author: UserId) -> NewComment {
    NewComment { post: post.id, author, content: CommentContent::parse("hello").unwrap(), at: now() }
}

#[database_test(postgres, sqlite, memory)]
async fn like_counts_and_notifies_once(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "hi", false).await;
    let first = db.posts.like(post.id, bob, now()).await.unwrap().unwrap();
    assert!(first.is_new);
    assert_eq!(first.likes_count, 1);
    let notification = first.notification.unwrap();
    assert_eq!((notification.recipient, notification.activity), (ann, Activity::Like(post.id)));
    assert_eq!(notification.message(), "bob liked your post");
    assert_eq!(notifications_of(&db, ann).await.0, vec![notification]);
    let second = db.posts.like(post.id, bob, now()).await.unwrap().unwrap();
    assert_eq!((second.is_new, second.likes_count, second.notification), (false, 1, None));
    let seen = db.posts.find(post.id, bob).await.unwrap().unwrap();
    assert!(seen.liked_by_me);
    assert!(!db.posts.find(post.id, ann).await.unwrap().unwrap().liked_by_me);
}

#[database_test(postgres, sqlite, memory)]
async fn unlike_removes_count_and_notification(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "hi", false).await;
    assert!(!db.posts.unlike(post.id, bob).await.unwrap().unwrap().was_liked);
    let like = db.posts.like(post.id, bob, now()).await.unwrap().unwrap();
    let unlike = db.posts.unlike(post.id, bob).await.unwrap().unwrap();
    assert!(unlike.was_liked);
    assert_eq!(unlike.likes_count, 0);
    let removed = unlike.removed_notification.unwrap();
    assert_eq!((removed.recipient, removed.unread_count), (ann, 0));
    assert_eq!(removed.id, like.notification.unwrap().id);
    assert_eq!(notifications_of(&db, ann).await.1, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn own_actions_create_no_notification(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let post = post(&db, ann, "hi", false).await;
    assert_eq!(db.posts.like(post.id, ann, now()).await.unwrap().unwrap().notification, None);
    assert_eq!(db.comments.insert(comment_on(&post, ann)).await.unwrap().unwrap().notification, None);
    assert_eq!(db.posts.unlike(post.id, ann).await.unwrap().unwrap().removed_notification, None);
    assert_eq!(notifications_of(&db, ann).await.1, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn private_post_of_another_user_is_missing_for_every_action(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "secret", true).await;
    assert!(db.posts.find(post.id, bob).await.unwrap().is_none());
    assert!(db.posts.like(post.id, bob, now()).await.unwrap().is_none());
    assert!(db.posts.unlike(post.id, bob).await.unwrap().is_none());
    assert!(db.comments.insert(comment_on(&post, bob)).await.unwrap().is_none());
    assert!(db.comments.list(post.id, Some(bob), page(1, 10)).await.unwrap().is_none());
    assert!(db.comments.list(post.id, None, page(1, 10)).await.unwrap().is_none());
    let own = db.comments.insert(comment_on(&post, ann)).await.unwrap().unwrap();
    let text = || CommentContent::parse("changed").unwrap();
    let edit = db.comments.update(post.id, own.comment.id, bob, text(), now()).await.unwrap();
    assert_eq!(edit, CommentEdit::PostNotFound);
    assert_eq!(db.comments.delete(post.id, own.comment.id, bob).await.unwrap(), CommentEdit::PostNotFound);
    assert_eq!(db.comments.list(post.id, Some(ann), page(1, 10)).await.unwrap().unwrap().total, 1);
}

#[database_test(postgres, sqlite, memory)]
async fn comment_is_changed_and_deleted_by_its_author_only(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "hi", false).await;
    let added = db.comments.insert(comment_on(&post, bob)).await.unwrap().unwrap();
    let id = added.comment.id;
    assert_eq!(added.notification.unwrap().activity, Activity::Comment(post.id, id));
    let text = || CommentContent::parse("changed").unwrap();
    let stranger = db.comments.update(post.id, id, ann, text(), now()).await.unwrap();
    assert_eq!(stranger, CommentEdit::CommentNotFound);
    let CommentEdit::Applied(changed) = db.comments.update(post.id, id, bob, text(), now()).await.unwrap()
    else {
        panic!("the author can change the comment");
    };
    assert_eq!((changed.content.as_str(), changed.author_username.as_str()), ("changed", "bob"));
    assert!(changed.updated_at.is_some());
    assert_eq!(db.comments.delete(post.id, id, ann).await.unwrap(), CommentEdit::CommentNotFound);
    let CommentEdit::Applied(Some(removed)) = db.comments.delete(post.id, id, bob).await.unwrap() else {
        panic!("the author can delete the comment and its notification");
    };
    assert_eq!((removed.recipient, removed.unread_count), (ann, 0));
    assert_eq!(db.posts.find(post.id, ann).await.unwrap().unwrap().comments_count, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn follow_counts_for_both_and_notifies_once(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let follow = db.follows.follow(bob, ann, now()).await.unwrap().unwrap();
    assert!(follow.is_new);
    assert_eq!(follow.notification.unwrap().activity, Activity::Follow);
    assert!(!db.follows.follow(bob, ann, now()).await.unwrap().unwrap().is_new);
    assert!(db.follows.follow(bob, UserId(i64::MAX), now()).await.unwrap().is_none());
    let (mine, theirs) = (
        db.accounts.find_profile(bob).await.unwrap().unwrap(),
        db.accounts.find_profile(ann).await.unwrap().unwrap(),
    );
    assert_eq!((mine.following_count, theirs.followers_count), (1, 1));
    assert_eq!((mine.following[0].id, theirs.followers[0].id), (ann, bob));
    let unfollow = db.follows.unfollow(bob, ann).await.unwrap().unwrap();
    assert!(unfollow.was_following);
    assert_eq!(unfollow.removed_notification.unwrap().recipient, ann);
    assert!(!db.follows.unfollow(bob, ann).await.unwrap().unwrap().was_following);
    assert_eq!(notifications_of(&db, ann).await.1, 0);
    assert_eq!(db.accounts.find_profile(ann).await.unwrap().unwrap().followers_count, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_likes_keep_counters_rows_and_notifications_equal(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let mut fans = Vec::new();
    for n in 0..10 {
        fans.push(user(&db, &format!("fan_{n}"), 10 + n).await);
    }
    let post = post(&db, ann, "hi", false).await;
    let likes = (0..100).map(|n| {
        let (posts, fan) = (db.posts.clone(), fans[n % fans.len()]);
        tokio::spawn(async move { posts.like(post.id, fan, now()).await.unwrap().unwrap().is_new })
    });
    let mut fresh = 0;
    for one in likes.collect::<Vec<_>>() {
        fresh += i64::from(one.await.unwrap());
    }
    assert_eq!(fresh, 10);
    assert_eq!(db.posts.find(post.id, ann).await.unwrap().unwrap().likes_count, 10);
    assert_eq!(notifications_of(&db, ann).await.1, 10);
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_mutual_actions_do_not_deadlock(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let mine = post(&db, ann, "hi", false).await;
    let work = (0..120).map(|n| {
        let (db, id) = (db.clone(), mine.id);
        tokio::spawn(async move {
            match n % 6 {
                0 => drop(db.follows.follow(ann, bob, now()).await.unwrap()),
                1 => drop(db.follows.follow(bob, ann, now()).await.unwrap()),
                2 => drop(
                    db.follows
                        .unfollow(if n % 4 == 0 { ann } else { bob }, if n % 4 == 0 { bob } else { ann })
                        .await
                        .unwrap(),
                ),
                3 => drop(db.posts.like(id, bob, now()).await.unwrap()),
                4 => drop(db.posts.unlike(id, bob).await.unwrap()),
                _ => drop(db.notifications.mark_all_read(ann).await.unwrap()),
            }
        })
    });
    for one in work.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    notifications_of(&db, ann).await;
    notifications_of(&db, bob).await;
    let likes = db.posts.find(mine.id, bob).await.unwrap().unwrap();
    assert_eq!(likes.likes_count, i64::from(likes.liked_by_me));
    let (mine, theirs) = (
        db.accounts.find_profile(ann).await.unwrap().unwrap(),
        db.accounts.find_profile(bob).await.unwrap().unwrap(),
    );
    assert_eq!(mine.followers_count, mine.followers.len() as i64);
    assert_eq!(mine.following_count, mine.following.len() as i64);
    assert_eq!(theirs.followers_count, mine.following_count);
}

#[database_test(postgres, sqlite, memory)]
async fn concurrent_changes_of_one_authors_posts_keep_counters_equal(db: Store) {
    let ann = user(&db, "ann", 1).await;
    let busy = (0..8).map(async |_| {
        for _ in 0..20 {
            let first = post(&db, ann, "hi", false).await;
            let (expected, at) = (PostRevision { is_private: false, media: None }, now());
            let hidden = PostChange { expected, content: None, media: None, is_private: Some(true), at };
            let done = db.posts.update(first.id, ann, hidden).await.unwrap();
            assert!(matches!(done, PostUpdate::Updated(_)));
            post(&db, ann, "hello", false).await;
            assert!(db.posts.delete(first.id, ann, now()).await.unwrap());
        }
    });
    futures_util::future::join_all(busy).await;
    let (feed, own) = (db.posts.list(ann, None, page(1, 1)), db.posts.list(ann, Some(ann), page(1, 1)));
    assert_eq!((feed.await.unwrap().total, own.await.unwrap().total), (160, 160));
}

#[database_test(postgres, sqlite, memory)]
async fn delete_removes_everything_of_a_post(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "hi", false).await;
    db.posts.like(post.id, bob, now()).await.unwrap();
    db.comments.insert(comment_on(&post, bob)).await.unwrap();
    assert!(!db.posts.delete(post.id, bob, now()).await.unwrap());
    assert!(db.posts.delete(post.id, ann, now()).await.unwrap());
    assert!(!db.posts.delete(post.id, ann, now()).await.unwrap());
    assert_eq!(notifications_of(&db, ann).await.1, 0);
    assert_eq!(db.accounts.find_profile(ann).await.unwrap().unwrap().posts_count, 0);
    assert_eq!(db.posts.list(bob, None, page(1, 10)).await.unwrap().total, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn post_and_its_comments_can_be_deleted_concurrently(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    for _ in 0..30 {
        let post = post(&db, ann, "hi", false).await;
        let mut comments = Vec::new();
        for _ in 0..5 {
            comments.push(db.comments.insert(comment_on(&post, bob)).await.unwrap().unwrap().comment.id);
        }
        let going = comments.iter().map(|id| db.comments.delete(post.id, *id, bob));
        let (comments, gone) =
            tokio::join!(futures_util::future::join_all(going), db.posts.delete(post.id, ann, now()));
        assert!(gone.unwrap());
        for comment in comments {
            assert_ne!(comment.unwrap(), CommentEdit::Applied(None));
        }
    }
    assert_eq!(notifications_of(&db, ann).await.1, 0);
}

#[database_test(postgres, sqlite, memory)]
async fn update_changes_only_the_named_fields(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    let post = post(&db, ann, "hi", false).await;
    let expected = post.revision();
    let change = |is_private| PostChange {
        expected: expected.clone(),
        content: None,
        media: None,
        is_private,
        at: now(),
    };
    assert_eq!(db.posts.update(post.id, bob, change(None)).await.unwrap(), PostUpdate::NotFound);
    let PostUpdate::Updated(changed) = db.posts.update(post.id, ann, change(Some(true))).await.unwrap()
    else {
        panic!("no concurrent change of ann's post")
    };
    // The change was prepared when the post was public.
    assert_eq!(db.posts.update(post.id, ann, change(Some(true))).await.unwrap(), PostUpdate::Conflict);
    assert_eq!((changed.content.as_deref(), changed.is_private), (Some("hi"), true));
    assert!(changed.updated_at.is_some());
    assert_eq!(db.posts.list(bob, None, page(1, 10)).await.unwrap().total, 0);
    assert_eq!(db.posts.list(ann, None, page(1, 10)).await.unwrap().total, 1);
}

#[database_test(postgres, sqlite, memory)]
async fn reading_and_deleting_notifications_keeps_counters_equal(db: Store) {
    let (ann, bob) = (user(&db, "ann", 1).await, user(&db, "bob", 2).await);
    for n in 0..3 {
        let post = post(&db, ann, &format!("post {n}"), false).await;
        db.posts.like(post.id, bob, now() - TimeDelta::seconds(n)).await.unwrap();
    }
    let (list, total, unread) = notifications_of(&db, ann).await;
    assert_eq!((total, unread), (3, 3));
    // Later notifications never have earlier timestamps, even if clocks differ.
    assert!(list.windows(2).all(|pair| pair[0].created_at >= pair[1].created_at && pair[0].id > pair[1].id));
    let since = db.notifications.since(ann, list[2].id, 10).await.unwrap();
    assert_eq!(since, [list[1].clone(), list[0].clone()]);
    assert_eq!(db.notifications.since(ann, NotificationId(0), 2).await.unwrap().len(), 2);
    assert!(db.notifications.since(bob, NotificationId(0), 10).await.unwrap().is_empty());
    let id = list[0].id;
    assert_eq!(db.notifications.mark_read(ann, id).await.unwrap().unwrap().unread_count, 2);
    assert_eq!(db.notifications.mark_read(ann, id).await.unwrap().unwrap().changed, 0);
    assert!(db.notifications.mark_read(bob, id).await.unwrap().is_none());
    assert!(db.notifications.delete(bob, id).await.unwrap().is_none());
    assert_eq!(db.notifications.delete(ann, id).await.unwrap().unwrap().unread_count, 2);
    assert_eq!(db.notifications.list(ann, true, page(1, 10)).await.unwrap().page.total, 2);
    assert_eq!(db.notifications.mark_all_read(ann).await.unwrap().changed, 2);
    assert_eq!(notifications_of(&db, ann).await.2, 0);
}
