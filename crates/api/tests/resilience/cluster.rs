//! Pair servers that act as one.

use std::{path::PathBuf, time::Duration};

use application::random;
use serde_json::{Value, json};
use test_support::{OwnRedis, TestDatabase, not_tested, socketio::Clients};
use tokio::time::{Instant, sleep};

use crate::harness::{ApiClient, PASSWORD, Process, User, start_socket_clients};

pub(super) async fn create_posts(rest: &ApiClient, author: &User, count: usize) -> Vec<i64> {
    let mut posts = Vec::new();
    for n in 0..count {
        posts.push(rest.create_post(author, &format!("post {n}"), false).await);
    }
    posts
}

/// Returns the ids of all notifications, oldest first.
pub(super) async fn notification_ids(rest: &ApiClient, user: &User) -> Vec<i64> {
    let mut ids = Vec::new();
    for page in 1.. {
        let list = rest.get(&format!("/notifications/?page={page}&page_size=100"), user).await.ok();
        let page: Vec<_> =
            list["notifications"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect();
        if page.is_empty() {
            break;
        }
        ids.extend(page);
    }
    ids.sort_unstable();
    ids
}

/// Returns the ids of the events that a client receives until `last`, and checks that none follows.
pub(super) async fn received_ids(clients: &mut Clients, client: &str, last: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    while ids.last() != Some(&last) {
        ids.push(clients.next(client, "new_notification").await["id"].as_i64().unwrap());
    }
    clients.disconnect(client);
    while clients.next(client, "disconnect").await != "io client disconnect" {}
    assert!(!clients.has(client, "new_notification"), "{client}: unexpected event after the last");
    ids
}

/// Pair servers with one database, and a user with a socket at each.
struct Pair {
    here: Process,
    there: Process,
    clients: Clients,
    ann: User,
    bob: User,
    posts: Vec<i64>,
}

impl Pair {
    async fn start(db: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        let key = random::token::<32>().unwrap();
        let common = [("DATABASE_URL", db.url()), ("SECRET_KEY", &key)];
        let settings = [&common, settings].concat();
        // Users register while there is one process: its inbox shows only mails that it has sent itself.
        let here = Process::start(&settings).await;
        let (ann, bob) = (here.create_user("ann").await, here.create_user("bob").await);
        let posts = create_posts(&here, &ann, 200).await;
        let there = Process::start(&settings).await;
        let mut clients = start_socket_clients();
        for (client, process) in [("here", &here), ("there", &there)] {
            let options = json!({"auth": {"token": ann.access}, "resume": true, "transports": ["websocket"]});
            clients.open(client, &process.url, &options);
            clients.next(client, "connected").await;
        }
        Self { here, there, clients, ann, bob, posts }
    }

    async fn like(&mut self, rest: &ApiClient) -> i64 {
        let post = self.posts.pop().unwrap();
        rest.post(&format!("/posts/{post}/like"), &self.bob, Value::Null).await.ok();
        post
    }

    /// Likes through the first server.
    async fn like_here(&mut self) -> i64 {
        let rest = ApiClient::new(self.here.url.clone());
        self.like(&rest).await
    }

    async fn like_there(&mut self) -> i64 {
        let rest = ApiClient::new(self.there.url.clone());
        self.like(&rest).await
    }

    /// Opens another session of ann with a socket at the second server.
    async fn session_there(&mut self, client: &str) -> User {
        let pair = self.here.login("ann", PASSWORD).await.ok();
        let session = self.here.user_with_tokens("ann", &self.ann.email, &pair).await;
        self.clients.open(
            client,
            &self.there.url,
            &json!({"auth": {"token": session.access}, "reconnection": false}),
        );
        self.clients.next(client, "connected").await;
        session
    }

    /// Waits until both servers count this many connected users.
    async fn until_connected(&self, users: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for process in [&self.here, &self.there] {
            while process.get("/socket/status", None).await.ok()["connected_users"] != users {
                assert!(Instant::now() < deadline, "not {users} users");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Receives events until the like of this post.
    async fn receive_until(&mut self, client: &str, post: i64, seen: &mut Vec<i64>) {
        loop {
            let event = self.clients.next(client, "new_notification").await;
            seen.push(event["id"].as_i64().unwrap());
            if event["post_id"] == post {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_act_as_one_and_survive_the_loss_of_redis() {
    let Some(mut redis) = OwnRedis::start() else {
        return not_tested("redis-server is not installed");
    };
    let db = TestDatabase::postgres().await;
    let mut pair = Pair::start(&db, &[("REDIS_URL", &redis.url())]).await;
    let (mut received_here, mut received_there) = (Vec::new(), Vec::new());
    pair.clients.open("bob", &pair.there.url, &json!({"auth": {"token": pair.bob.access}}));
    pair.clients.next("bob", "connected").await;
    pair.until_connected(2).await;

    // Both servers send events of actions at either.
    for n in 0..20 {
        let post = if n % 2 == 0 { pair.like_here().await } else { pair.like_there().await };
        pair.receive_until("here", post, &mut received_here).await;
        pair.receive_until("there", post, &mut received_there).await;
    }
    let session = pair.session_there("ended").await;
    assert_eq!(pair.there.get("/users/me", &session).await.status, 200);
    pair.here.post("/users/logout", &session, Value::Null).await.ok();
    pair.clients.next("ended", "disconnect").await;
    assert_eq!(pair.there.get("/users/me", &session).await.status, 401);

    // Without Redis for ten seconds, each server still serves its own clients.
    let session = pair.session_there("ended meanwhile").await;
    redis.stop();
    pair.here.post("/users/logout", &session, Value::Null).await.ok();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        let post = pair.like_here().await;
        pair.receive_until("here", post, &mut received_here).await;
        let post = pair.like_there().await;
        pair.receive_until("there", post, &mut received_there).await;
        sleep(Duration::from_millis(200)).await;
    }
    let only_here = pair.like_here().await;
    redis.start_again();

    // Afterwards, they catch up on missed events.
    pair.receive_until("there", only_here, &mut received_there).await;
    pair.clients.next("ended meanwhile", "disconnect").await;
    let last = pair.like_there().await;
    pair.receive_until("here", last, &mut received_here).await;
    pair.receive_until("there", last, &mut received_there).await;
    let stored = notification_ids(&pair.here, &pair.ann).await;
    assert_eq!(received_here, stored);
    assert_eq!(received_there, stored);
    for client in ["here", "there"] {
        assert!(!pair.clients.has(client, "disconnect"), "{client}");
    }
    pair.clients.disconnect("bob");
    pair.until_connected(1).await;
}

/// Nothing tells the other server: it has to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_sessions_lose_their_sockets_in_every_process_without_redis() {
    let db = TestDatabase::postgres().await;
    let mut pair = Pair::start(&db, &[]).await;
    let logged_out = pair.session_there("logged out").await;
    let changed = pair.session_there("changed").await;
    pair.clients.open("bob", &pair.there.url, &json!({"auth": {"token": pair.bob.access}}));
    pair.clients.next("bob", "connected").await;

    pair.here.post("/users/logout", &logged_out, Value::Null).await.ok();
    pair.clients.next("logged out", "disconnect").await;
    assert_eq!(pair.there.get("/users/me", &logged_out).await.status, 401);
    let post = pair.like_there().await;
    for client in ["there", "changed"] {
        while pair.clients.next(client, "new_notification").await["post_id"] != post {}
    }

    let change = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    pair.here.post("/users/change-password", &changed, change).await.ok();
    pair.clients.next("there", "disconnect").await;
    // A client that comes back at once is refused, whatever its server remembers.
    assert_eq!(pair.clients.next("there", "connect_error").await["data"]["code"], "invalid_token");

    db.execute("UPDATE users SET is_active = false WHERE username = 'bob'").await;
    pair.clients.next("bob", "disconnect").await;
    assert_eq!(pair.clients.next("bob", "connect_error").await["data"]["code"], "inactive_user");
    let post = pair.posts.pop().unwrap();
    pair.there.post(&format!("/posts/{post}/comment"), &changed, json!({"content": "x"})).await.ok();
    assert!(!pair.clients.has("changed", "disconnect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_connection_can_use_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let Some(redis) = OwnRedis::start_tls(PathBuf::clone(&certificate), key) else {
        return not_tested("redis-server is not installed");
    };
    let db = TestDatabase::postgres().await;
    let settings = [("REDIS_URL", &*redis.url()), ("SSL_CERT_FILE", certificate.to_str().unwrap())];
    let mut pair = Pair::start(&db, &settings).await;
    pair.until_connected(1).await;
    // A like at one server that reaches a socket at the other proves that they are connected.
    let session = pair.session_there("ended").await;
    pair.here.post("/users/logout", &session, Value::Null).await.ok();
    pair.clients.next("ended", "disconnect").await;
    let post = pair.like_here().await;
    pair.receive_until("there", post, &mut Vec::new()).await;
}
