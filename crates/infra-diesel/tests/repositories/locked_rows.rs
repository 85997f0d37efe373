//! Batches on PostgreSQL: neither a locked row nor a refused value of one caller affects the others.

use std::time::Duration;

use domain::{
    comments::{CommentContent, NewComment},
    posts::PostView,
    users::UserId,
};
use futures_util::future::join_all;
use infra_diesel::Database;
use test_support::TestDatabase;

use crate::helpers::{now, open, page, post, user};

async fn users(db: &Database, count: i64) -> Vec<UserId> {
    let mut users = Vec::new();
    for n in 0..count {
        users.push(user(db, &format!("user{n}"), n + 1).await);
    }
    users
}

async fn posts(db: &Database, author: UserId, count: usize) -> Vec<PostView> {
    let mut posts = Vec::new();
    for _ in 0..count {
        posts.push(post(db, author, "hello", false).await);
    }
    posts
}

/// Eight users like posts that another transaction has locked. Meanwhile other posts are liked: first at once with those,
/// so that they share batches, then one after the other while likes of a locked post keep arriving.
async fn likes_of_free_posts_finish_before_the_lock_is_released(locked_count: usize) {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 9).await;
    let locked = posts(&repositories, users[0], locked_count).await;
    let free = posts(&repositories, users[0], 50).await;
    let mut client = db.client().await;
    let lock = client.transaction().await.unwrap();
    let ids: Vec<i64> = locked.iter().map(|post| post.id.0).collect();
    lock.execute("SELECT 1 FROM posts WHERE id = ANY ($1) FOR UPDATE", &[&ids]).await.unwrap();

    let like = |post: &PostView, user| {
        let (posts, post) = (repositories.posts.clone(), post.id);
        tokio::spawn(async move { posts.like(post, user, now()).await.unwrap().unwrap() })
    };
    let (first, rest) = free.split_at(25);
    let stuck: Vec<_> =
        locked.iter().flat_map(|post| users[1..].iter().map(move |user| (post, *user))).collect();
    let mut held: Vec<_> = stuck.iter().map(|(post, user)| like(post, *user)).collect();
    let mixed: Vec<_> = first.iter().map(|post| like(post, users[1])).collect();
    for like in join_all(mixed).await {
        assert!(like.unwrap().is_new);
    }
    for post in rest {
        assert!(repositories.posts.like(post.id, users[2], now()).await.unwrap().unwrap().is_new);
        held.push(like(&locked[0], users[3]));
    }
    assert!(held.iter().all(|like| !like.is_finished()), "a like ignored the lock");
    lock.commit().await.unwrap();
    let new = join_all(held).await.into_iter().filter(|like| like.as_ref().unwrap().is_new).count();
    assert_eq!(new, 8 * locked_count);
    let likes = i64::try_from(50 + 8 * locked_count).unwrap();
    assert_eq!(db.number("SELECT count(*) FROM likes").await, likes);
    assert_eq!((repositories.pools)()[0].waiting, 0);
    db.agrees().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_finish_while_another_post_is_locked() {
    likes_of_free_posts_finish_before_the_lock_is_released(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_finish_while_more_posts_are_locked_than_there_are_connections() {
    likes_of_free_posts_finish_before_the_lock_is_released(20).await;
}

/// The lock that holds the batch up is not that of the post.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_finish_while_the_counters_of_another_author_are_locked() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 3).await;
    let (hers, his) = (posts(&repositories, users[0], 10).await, posts(&repositories, users[1], 10).await);
    let mut client = db.client().await;
    let lock = client.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM user_counters WHERE user_id = $1 FOR UPDATE", &[&users[0].0]).await.unwrap();
    let like = async |post: &PostView| repositories.posts.like(post.id, users[2], now()).await.unwrap();
    let held = join_all(hers.iter().map(like));
    let others = async {
        assert!(join_all(his.iter().map(like)).await.iter().flatten().all(|like| like.is_new));
        lock.commit().await.unwrap();
    };
    let (held, ()) = tokio::join!(held, others);
    assert!(held.iter().flatten().all(|like| like.is_new && like.notification.is_some()));
    db.agrees().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_that_the_database_refuses_fails_only_its_own_caller() {
    let db = TestDatabase::postgres().await;
    let repositories = open(&db).await;
    let users = users(&repositories, 2).await;
    let posts = posts(&repositories, users[0], 4).await;
    // Raises a data exception, which is no violated constraint.
    db.execute("ALTER TABLE comments ADD CHECK (1 / (CASE content WHEN 'bad' THEN 0 ELSE 1 END) = 1)").await;
    let comment = async |n: usize| {
        let content = CommentContent::parse(if n % 10 == 3 { "bad" } else { "good" }).unwrap();
        let new = NewComment { post: posts[n % 4].id, author: users[1], content, at: now() };
        repositories.comments.insert(new).await.map(|added| added.unwrap().comment.content)
    };
    let results = join_all((0..40).map(comment)).await;
    let failed: Vec<_> = (0..40).filter(|n| results[*n].is_err()).collect();
    assert_eq!(failed, [3, 13, 23, 33], "{results:?}");
    let list = repositories.comments.list(posts[0].id, None, page(1, 100)).await.unwrap().unwrap();
    assert!(list.items.iter().all(|comment| comment.content == "good"));
    db.agrees().await;
}

/// With two connections none may wait for a lock: one is the pipeline of reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_of_two_connections_still_likes_other_posts_while_one_is_locked() {
    let db = TestDatabase::postgres().await;
    let author = {
        let repositories = open(&db).await;
        user(&repositories, "ann", 1).await
    };
    let url = infra_diesel::DatabaseUrl::parse(db.url()).unwrap();
    let timeout = Duration::from_secs(20);
    let config = infra_diesel::DatabaseConfig { url, replica: None, connections: 2, workers: 0, timeout };
    let repositories = infra_diesel::connect(&config).await.unwrap();
    let posts = posts(&repositories, author, 10).await;
    let mut client = db.client().await;
    let lock = client.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM posts WHERE id = $1 FOR UPDATE", &[&posts[0].id.0]).await.unwrap();
    let like =
        async |post: &PostView| repositories.posts.like(post.id, author, now()).await.unwrap().unwrap();
    let others = async {
        for post in &posts[1..] {
            assert!(like(post).await.is_new);
        }
        lock.commit().await.unwrap();
    };
    let (held, ()) = tokio::join!(like(&posts[0]), others);
    assert!(held.is_new);
}
