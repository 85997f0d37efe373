//! Batches on PostgreSQL: concurrent actions share statements, and each returns its own result.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use domain::{
    comments::{CommentContent, NewComment},
    media::{Media, MediaKey},
    posts::{NewPost, PostContent, PostView},
    users::UserId,
};
use futures_util::future::join_all;
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::TestDatabase;

use crate::helpers::{now, open, page, post, user};

async fn users(db: &Database, count: i64) -> Vec<UserId> {
    let mut users = Vec::new();
    for n in 0..count {
        users.push(user(db, &format!("user{n}"), n + 1).await);
    }
    users
}

/// Counts the transactions that inserted the rows of a table.
async fn transactions(db: &TestDatabase, table: &str) -> i64 {
    db.number(&format!("SELECT count(DISTINCT xmin::text) FROM {table}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_likes_are_each_counted_and_notified_once() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 30).await;
    let (ann, bob) = (users[0], users[1]);
    let mut posts = Vec::new();
    for n in 0..4 {
        posts.push(post(&repositories, if n < 2 { ann } else { bob }, "hello", n == 3).await);
    }
    // All users like all posts twice; one post is private to Bob.
    let like = async |post, user| (post, user, repositories.posts.like(post, user, now()).await.unwrap());
    let requests = posts.iter().flat_map(|post| users.iter().chain(&users).map(|user| like(post.id, *user)));
    let responses = join_all(requests).await;

    let mut likes = HashSet::new();
    let mut counts = HashSet::new();
    let mut notifications = HashSet::new();
    for (post, user, like) in responses {
        let is_hidden = post == posts[3].id && user != bob;
        assert_eq!(like.is_none(), is_hidden);
        let Some(like) = like else { continue };
        if like.is_new {
            assert!(counts.insert((post, like.likes_count)), "two likes were number {}", like.likes_count);
            assert!(likes.insert((post, user)), "both likes of {user:?} were new");
        }
        let author = posts.iter().find(|one| one.id == post).unwrap().author;
        assert_eq!(like.notification.is_some(), like.is_new && user != author);
        if let Some(notification) = like.notification {
            assert_eq!((notification.recipient, notification.actor), (author, user));
            assert_eq!(notification.activity.post(), Some(post));
            assert!(
                notification.message().starts_with(&format!("user{} liked", user.0 - ann.0)),
                "{notification:?}"
            );
            assert!(notifications.insert(notification.id));
        }
    }
    assert_eq!(likes.len(), 3 * 30 + 1);
    assert!(counts.iter().all(|(_, count)| (1..=30).contains(count)));
    for (post, count) in posts.iter().zip([30, 30, 30, 1]) {
        let seen = repositories.posts.find(post.id, post.author).await.unwrap().unwrap();
        assert_eq!(seen.likes_count, count);
    }
    for (author, count) in [(ann, 58), (bob, 29)] {
        let list = repositories.notifications.list(author, false, page(1, 100)).await.unwrap();
        assert_eq!(list.page.items.len() as i64, count);
        assert_eq!((list.page.total, list.unread_count), (count, count));
        assert!(list.page.items.iter().all(|notification| notifications.contains(&notification.id)));
        assert!(list.page.items.is_sorted_by_key(|notification| std::cmp::Reverse(notification.created_at)));
    }
    let transactions_of_likes = transactions(&db, "likes").await;
    assert!(transactions_of_likes < 45, "91 likes were {transactions_of_likes} transactions");

    // All unlikes, twice as well.
    let unlike = async |post, user| (post, user, repositories.posts.unlike(post, user).await.unwrap());
    let requests =
        posts.iter().flat_map(|post| users.iter().chain(&users).map(|user| unlike(post.id, *user)));
    for (post, user, unlike) in join_all(requests).await {
        let Some(unlike) = unlike else { continue };
        if unlike.was_liked {
            assert!(counts.remove(&(post, unlike.likes_count + 1)));
            assert!(likes.remove(&(post, user)), "both unlikes of {user:?} were done");
        }
        if let Some(removed) = unlike.removed_notification {
            assert!(unlike.was_liked);
            assert!(notifications.remove(&removed.id));
        }
    }
    assert!(likes.is_empty() && counts.is_empty() && notifications.is_empty());
    assert_eq!(db.number("SELECT count(*) FROM likes").await, 0);
    assert_eq!(db.number("SELECT sum(likes_count)::bigint FROM posts").await, 0);
    assert_eq!(db.number("SELECT sum(notifications + unread)::bigint FROM user_counters").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_posts_and_comments_belong_to_their_authors() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 10).await;
    let publish = async |n: usize| {
        let author = users[n % 10];
        let content = PostContent::parse(&format!("post {n}")).unwrap();
        let new = NewPost { author, content, media: None, is_private: n.is_multiple_of(3), at: now() };
        let stored = repositories.posts.insert(new.clone()).await.unwrap();
        assert_eq!((stored.author, stored.is_private, stored.created_at), (author, new.is_private, new.at));
        assert_eq!(stored.content.as_deref(), Some(format!("post {n}").as_str()));
        assert_eq!(stored.author_username, format!("user{}", n % 10));
        assert_eq!(repositories.posts.find(stored.id, author).await.unwrap().as_ref(), Some(&stored));
        stored
    };
    let posts = join_all((0..60).map(publish)).await;
    let all = repositories.posts.list(users[0], None, page(1, 100)).await.unwrap();
    // 20 of 60 posts are private; two of them belong to this viewer.
    assert_eq!((all.total, all.items.len()), (42, 42));
    let transactions_of_posts = transactions(&db, "posts").await;
    assert!(transactions_of_posts < 40, "60 posts were {transactions_of_posts} transactions");

    let comment = async |n: usize| {
        let (post, author) = (&posts[n % 5], users[n % 7]);
        let content = CommentContent::parse(&format!("comment {n}")).unwrap();
        let added = repositories.comments.insert(NewComment { post: post.id, author, content, at: now() });
        let added = added.await.unwrap();
        assert_eq!(added.is_none(), post.is_private && post.author != author);
        let added = added?;
        assert_eq!(added.comment.content, format!("comment {n}"));
        assert_eq!((added.comment.author, added.comment.post), (author, post.id));
        assert_eq!(added.notification.is_some(), post.author != author);
        if let Some(notification) = added.notification {
            assert_eq!((notification.recipient, notification.actor), (post.author, author));
            assert_eq!(notification.activity.comment(), Some(added.comment.id));
        }
        Some(added.comment)
    };
    let comments: Vec<_> = join_all((0..70).map(comment)).await.into_iter().flatten().collect();
    for post in &posts[..5] {
        let list =
            repositories.comments.list(post.id, Some(post.author), page(1, 100)).await.unwrap().unwrap();
        assert_eq!(list.total, list.items.len() as i64);
        let mine = comments.iter().filter(|comment| comment.post == post.id);
        assert!(mine.clone().all(|comment| list.items.contains(comment)));
        assert_eq!(mine.count(), list.items.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_action_fails_no_other_of_its_batch() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let ann = user(&repositories, "ann", 1).await;
    // Only the first post with the same file succeeds.
    let publish = async |n: i64| {
        let key = MediaKey(if n % 5 == 0 { "images/same.png".to_owned() } else { format!("images/{n}.png") });
        let media = Some(Media { key, url: None });
        let new = NewPost { author: ann, content: None, media, is_private: false, at: now() };
        repositories.posts.insert(new).await.is_ok()
    };
    let done = join_all((0..20).map(publish)).await;
    let same = done.iter().step_by(5).filter(|done| **done).count();
    assert_eq!((same, done.iter().filter(|done| **done).count()), (1, 17));
    let feed = repositories.posts.list(ann, None, page(1, 100)).await.unwrap();
    assert_eq!((feed.total, feed.items.len()), (17, 17));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_of_a_batch_fails_when_its_connection_is_lost() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 8).await;
    let hello = post(&repositories, users[0], "hello", false).await;
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM posts FOR UPDATE", &[]).await.unwrap();
    let is_done = AtomicBool::new(false);
    let liking = async {
        let liked = join_all(users.iter().map(|user| repositories.posts.like(hello.id, *user, now()))).await;
        is_done.store(true, Ordering::Relaxed);
        liked
    };
    let losing = async {
        while !is_done.load(Ordering::Relaxed) {
            let waiting = "datname = current_database() AND wait_event_type = 'Lock'";
            db.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {waiting}"))
                .await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (liked, ()) = tokio::join!(liking, losing);
    assert!(liked.iter().all(|like| matches!(like, Err(domain::Error::Unavailable(..)))), "{liked:?}");
    lock.commit().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM likes").await, 0);
    let again = repositories.posts.like(hello.id, users[1], now()).await.unwrap().unwrap();
    assert!(again.is_new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_batch_queue_rejects_immediately() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let ann = user(&repositories, "ann", 1).await;
    let hello = post(&repositories, ann, "hello", false).await;
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM posts FOR UPDATE", &[]).await.unwrap();
    let liking = join_all((0..1_300).map(|_| repositories.posts.like(hello.id, ann, now())));
    let freeing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lock.commit().await.unwrap();
    };
    let (likes, ()) = tokio::join!(liking, freeing);
    let refused = likes.iter().filter(|like| matches!(like, Err(domain::Error::Unavailable(..)))).count();
    // Some were being executed, and the queue was full.
    assert!((200..=1_300 - 1_024).contains(&refused), "{refused} of 1,300 were refused");
    let done: Vec<_> = likes.into_iter().filter_map(Result::ok).flatten().collect();
    assert_eq!((done.len(), done.iter().filter(|like| like.is_new).count()), (1_300 - refused, 1));
}

/// Likes of the given posts by other users, while the database holds all of them up for longer than they may wait.
async fn expired_likes_are_never_committed(
    db: &TestDatabase,
    connections: usize,
    posts: &[PostView],
    users: &[UserId],
    release: impl Future<Output = ()>,
) {
    let timeout = Duration::from_secs(2);
    let url = DatabaseUrl::parse(db.url()).unwrap();
    let config = DatabaseConfig { url, replica: None, connections, workers: 0, timeout };
    let repositories = infra_diesel::connect(&config).await.unwrap();
    let like = async |n: usize| {
        // The first two begin batches; the others are queued behind them.
        tokio::time::sleep(Duration::from_millis(50) * u32::try_from(n.min(2)).unwrap()).await;
        repositories.posts.like(posts[n % posts.len()].id, users[n], now()).await
    };
    let releasing = async {
        tokio::time::sleep(timeout * 3 / 2).await;
        release.await;
    };
    let (likes, ()) = tokio::join!(join_all((0..users.len()).map(like)), releasing);
    assert!(likes.iter().all(|like| matches!(like, Err(domain::Error::Unavailable(..)))), "{likes:?}");
    assert_eq!(db.number("SELECT count(*) FROM likes").await, 0);
    assert_eq!((repositories.pools)()[0].waiting, 0);
    let again = repositories.posts.like(posts[0].id, users[1], now()).await.unwrap().unwrap();
    assert!(again.is_new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_that_expire_behind_a_lock_are_never_committed() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 10).await;
    let hello = post(&repositories, users[0], "hello", false).await;
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("LOCK TABLE likes", &[]).await.unwrap();
    let release = async { lock.commit().await.unwrap() };
    expired_likes_are_never_committed(&db, 8, &[hello], &users, release).await;
}

/// The first batch hangs in a trigger on the only connection, for which the second one waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_that_expire_while_the_database_hangs_are_never_committed() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 10).await;
    let mut posts = Vec::new();
    for user in &users {
        posts.push(post(&repositories, *user, "hello", false).await);
    }
    let hang = "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL;
        END $$";
    db.execute(hang).await;
    db.execute("CREATE TRIGGER hang BEFORE INSERT ON likes EXECUTE FUNCTION hang()").await;
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("SELECT pg_advisory_xact_lock(1)", &[]).await.unwrap();
    let release = async { lock.commit().await.unwrap() };
    expired_likes_are_never_committed(&db, 1, &posts, &users, release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_behind_a_locked_one_complete() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 4).await;
    let locked = post(&repositories, users[0], "locked", false).await;
    let free = post(&repositories, users[1], "free", false).await;
    let mut locking = db.client().await;
    let lock = locking.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM posts WHERE id = $1 FOR UPDATE", &[&locked.id.0]).await.unwrap();
    let held_up = repositories.posts.like(locked.id, users[2], now());
    let others = async {
        while db.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for user in &users {
            assert!(repositories.posts.like(free.id, *user, now()).await.unwrap().unwrap().is_new);
        }
        lock.commit().await.unwrap();
    };
    let (like, ()) = tokio::join!(held_up, others);
    assert!(like.unwrap().unwrap().is_new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_count_concurrent_actions_without_deadlock() {
    let db = TestDatabase::postgres().await;
    let servers = [open(&db).await, open(&db).await];
    let users = users(&servers[0], 5).await;
    let mut posts = Vec::new();
    for n in 0..6 {
        posts.push(post(&servers[0], users[n % 3], "hello", false).await);
    }
    let (users, posts) = (&users, &posts);
    let busy = (0..24_usize).map(|actor| {
        let server = &servers[actor % 2];
        async move {
            let mut dice = Dice(actor as u64);
            let mut own = Vec::new();
            for _ in 0..60 {
                let (user, other) = (users[dice.roll(5)], users[dice.roll(5)]);
                let target = &posts[dice.roll(6)];
                match dice.roll(10) {
                    0..=2 => drop(server.posts.like(target.id, user, now()).await.unwrap()),
                    3 | 4 => drop(server.posts.unlike(target.id, user).await.unwrap()),
                    5 => {
                        let content = CommentContent::parse("well").unwrap();
                        let new = NewComment { post: target.id, author: user, content, at: now() };
                        own.extend(server.comments.insert(new).await.unwrap().map(|added| added.comment));
                    }
                    6 => {
                        if let Some(comment) = own.pop() {
                            server.comments.delete(comment.post, comment.id, comment.author).await.unwrap();
                        }
                    }
                    7 => {
                        let mine = post(server, user, "new", dice.roll(2) == 0).await;
                        server.posts.like(mine.id, user, now()).await.unwrap();
                        if dice.roll(2) == 0 {
                            assert!(server.posts.delete(mine.id, user, now()).await.unwrap());
                        }
                    }
                    8 if user == other => drop(server.notifications.mark_all_read(user).await.unwrap()),
                    8 => drop(server.follows.follow(user, other, now()).await.unwrap()),
                    _ => drop(server.follows.unfollow(user, other).await.unwrap()),
                }
            }
        }
    });
    join_all(busy).await;
    db.agrees().await;
    assert!(db.number("SELECT count(*) FROM notifications").await > 0);
}

/// Pseudorandom numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides).unwrap()
    }
}
