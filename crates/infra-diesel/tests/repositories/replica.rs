//! Reads from a replica.

use std::time::{Duration, Instant};

use domain::{
    comments::{CommentContent, NewComment},
    posts::{PostChange, PostUpdate, PostView},
    users::UserId,
};
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::Cluster;
use tokio_postgres::NoTls;

use crate::helpers::{now, page, post, user};

/// Includes the time until the replica counts as healthy.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(2);

struct Scene {
    db: Database,
    primary: Cluster,
    replica: Cluster,
}

async fn scene() -> Option<Scene> {
    let primary = tokio::task::block_in_place(Cluster::start)?;
    let url = DatabaseUrl::parse(&primary.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let replica = tokio::task::block_in_place(|| primary.replica());
    let (replica_url, timeout) = (Some(replica.url()), Duration::from_secs(20));
    let config = DatabaseConfig { url, replica: replica_url, connections: 4, workers: 0, timeout };
    let db = infra_diesel::connect(&config).await.unwrap();
    Some(Scene { db, primary, replica })
}

async fn fetch_number(cluster: &Cluster, query: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(&cluster.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let number = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    number
}

impl Scene {
    /// Number of scans of the posts table on the replica.
    async fn scans(&self) -> i64 {
        let query =
            "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint FROM pg_stat_user_tables
            WHERE relname = 'posts'";
        fetch_number(&self.replica, query).await
    }

    /// Reads as a user without writes until the replica serves the read.
    async fn reads_from_the_replica(&self, viewer: UserId, id: &PostView) {
        let (before, begun) = (self.scans().await, Instant::now());
        while self.scans().await <= before {
            assert!(begun.elapsed() < RECOVERY_TIMEOUT, "the replica never serves a read");
            assert!(self.db.posts.find(id.id, viewer).await.unwrap().is_some());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn sees(&self, viewer: UserId, of: &PostView) -> bool {
        let feed = self.db.posts.list(viewer, None, page(1, 100)).await.unwrap();
        feed.items.iter().any(|seen| seen.id == of.id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_serves_reads_and_users_see_their_own_writes_and_notifications() {
    let Some(scene) = scene().await else {
        return test_support::not_tested("PostgreSQL's server programs are not installed");
    };
    let db = &scene.db;
    let (ann, bob, eve) = (user(db, "ann", 1).await, user(db, "bob", 2).await, user(db, "eve", 3).await);
    let first = post(db, ann, "first", false).await;
    scene.reads_from_the_replica(eve, &first).await;
    let (before, begun) = (scene.scans().await, Instant::now());
    while scene.scans().await <= before {
        assert!(begun.elapsed() < RECOVERY_TIMEOUT, "rejected actions keep reads away from the replica");
        assert!(!db.posts.delete(first.id, bob, now()).await.unwrap());
        assert!(db.posts.find(first.id, eve).await.unwrap().is_some());
    }
    // From here on, the replica receives no changes.
    fetch_number(&scene.replica, "SELECT 0::bigint FROM (SELECT pg_wal_replay_pause()) AS paused").await;

    let new = post(db, ann, "new", false).await;
    assert!(scene.sees(ann, &new).await, "users see their own post at once");
    db.posts.like(first.id, bob, now()).await.unwrap().unwrap();
    for viewer in [bob, ann] {
        let seen = db.posts.find(first.id, viewer).await.unwrap().unwrap();
        assert_eq!(
            (seen.likes_count, seen.liked_by_me),
            (1, viewer == bob),
            "the liker and the notified author"
        );
    }
    let content = CommentContent::parse("hello").unwrap();
    let comment = NewComment { post: first.id, author: bob, content, at: now() };
    db.comments.insert(comment).await.unwrap().unwrap();
    for viewer in [bob, ann] {
        assert_eq!(db.comments.list(first.id, Some(viewer), page(1, 10)).await.unwrap().unwrap().total, 1);
    }
    assert!(
        db.posts.find(new.id, eve).await.unwrap().is_some(),
        "a post missing on the replica is read from the primary"
    );
    let change = PostChange {
        expected: first.revision(),
        content: None,
        media: None,
        is_private: Some(true),
        at: now(),
    };
    assert!(matches!(db.posts.update(first.id, ann, change).await.unwrap(), PostUpdate::Updated(_)));
    assert!(db.posts.find(first.id, eve).await.unwrap().is_none(), "a private post is hidden at once");
    assert!(!scene.sees(eve, &first).await);

    fetch_number(&scene.replica, "SELECT 0::bigint FROM (SELECT pg_wal_replay_resume()) AS resumed").await;
    scene.reads_from_the_replica(eve, &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_serves_reads_without_the_replica() {
    let Some(scene) = scene().await else {
        return test_support::not_tested("PostgreSQL's server programs are not installed");
    };
    let db = &scene.db;
    let (ann, eve) = (user(db, "ann", 1).await, user(db, "eve", 2).await);
    let first = post(db, ann, "first", false).await;
    for (take, give) in
        [(Cluster::crash as fn(&Cluster), Cluster::restart as fn(&Cluster)), (Cluster::freeze, Cluster::thaw)]
    {
        scene.reads_from_the_replica(eve, &first).await;
        tokio::task::block_in_place(|| take(&scene.replica));
        for _ in 0..20 {
            assert!(scene.sees(eve, &first).await);
            let new = post(db, ann, "new", false).await;
            assert!(scene.sees(ann, &new).await);
        }
        tokio::task::block_in_place(|| give(&scene.replica));
    }
    scene.reads_from_the_replica(eve, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_is_no_replica_is_rejected() {
    let Some(Scene { primary, replica, .. }) = scene().await else {
        return test_support::not_tested("PostgreSQL's server programs are not installed");
    };
    let (url, follower) = (DatabaseUrl::parse(&primary.url()).unwrap(), replica.url());
    assert!(infra_diesel::is_replica(&url, &follower).await.unwrap());
    assert!(!infra_diesel::is_replica(&url, &primary.url()).await.unwrap(), "it is a primary");
    let other = DatabaseUrl::parse(test_support::postgres_url()).unwrap();
    assert!(!infra_diesel::is_replica(&other, &follower).await.unwrap(), "it follows another primary");
}
