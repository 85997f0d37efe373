//! Live notifications of server processes that are killed, and of several that act as one.

use std::{path::PathBuf, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{OwnRedis, TestDatabase, database_test, socketio::Clients};
use tokio::time::{Instant, sleep};

use crate::{
    helpers::{Rest, User},
    process::Process,
};

fn clients() -> Clients {
    Clients::start(env!("CARGO_TARGET_TMPDIR"))
}

async fn posts_of(rest: &Rest, author: &User, count: usize) -> Vec<i64> {
    let mut posts = Vec::new();
    for n in 0..count {
        posts.push(rest.new_post(author, &format!("post {n}"), false).await);
    }
    posts
}

/// Likes until it is certain: who gets no answer asks again.
async fn like_for_certain(rest: &Rest, post: i64, user: &User) {
    loop {
        let request = rest.request(Method::POST, &format!("/posts/{post}/like")).bearer_auth(&user.access);
        match request.send().await {
            // The second is the answer to who has liked already, without having heard of it.
            Ok(answer) if matches!(answer.status().as_u16(), 200 | 400) => return,
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The ids of all notifications, oldest first.
async fn stored(rest: &Rest, user: &User) -> Vec<i64> {
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

/// What a client was told, up to the last of all and beyond, in order.
async fn told(clients: &mut Clients, client: &str, last: i64) -> Vec<i64> {
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        told.push(clients.next(client, "new_notification").await["id"].as_i64().unwrap());
    }
    clients.leave(client);
    while clients.next(client, "disconnect").await != "io client disconnect" {}
    assert!(!clients.has(client, "new_notification"), "{client}: there is something after the last");
    told
}

#[database_test]
async fn a_server_that_is_killed_ten_times_loses_and_doubles_nothing(db: TestDatabase) {
    let mut server = Process::start(&[("DATABASE_URL", db.url())]).await;
    let ann = server.user("ann").await;
    let mut likers = Vec::new();
    for name in ["bob", "cid", "dan"] {
        likers.push(server.user(name).await);
    }
    let posts = posts_of(&server, &ann, 200).await;
    let mut clients = clients();
    for (client, transports) in
        [("phone", json!(["websocket"])), ("browser", json!(["polling", "websocket"]))]
    {
        let options = json!({"auth": {"token": ann.access}, "resume": true, "transports": transports});
        clients.open(client, &server.url, &options);
        clients.next(client, "connected").await;
    }
    let liking: Vec<_> = likers
        .into_iter()
        .map(|liker| {
            let (rest, posts) = (Rest::new(server.url.clone()), posts.clone());
            tokio::spawn(async move {
                for post in posts {
                    like_for_certain(&rest, post, &liker).await;
                    sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    for life in 0..10 {
        sleep(Duration::from_millis(100 + 37 * life)).await;
        server.kill();
        server.start_again().await;
    }
    for liking in liking {
        liking.await.unwrap();
    }
    let stored = stored(&server, &ann).await;
    assert_eq!(stored.len(), 600);
    for client in ["phone", "browser"] {
        assert_eq!(told(&mut clients, client, stored[599]).await, stored, "{client}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_lets_its_clients_go_one_after_another() {
    let db = TestDatabase::sqlite().await;
    let mut server = Process::start(&[("DATABASE_URL", db.url())]).await;
    let ann = server.user("ann").await;
    let mut clients = clients();
    for client in 0..10 {
        let options =
            json!({"auth": {"token": ann.access}, "transports": ["websocket"], "reconnection": false});
        clients.open(&client.to_string(), &server.url, &options);
        clients.next(&client.to_string(), "connected").await;
    }
    let asked = Instant::now();
    let stopped = tokio::spawn(async move { server.stop().await });
    for client in 0..10 {
        // A disconnect by the server would tell them not to come back.
        assert_eq!(clients.next(&client.to_string(), "disconnect").await, "transport close", "{client}");
    }
    // Over three seconds. On a slow machine it is longer, but not shorter.
    assert!(asked.elapsed() > Duration::from_secs(2), "all were gone after {:?}", asked.elapsed());
    assert!(stopped.await.unwrap());
}

/// Two processes with one database and one Redis, and somebody with devices at both.
struct Two {
    here: Process,
    there: Process,
    clients: Clients,
    ann: User,
    bob: User,
    posts: Vec<i64>,
}

impl Two {
    async fn start(db: &TestDatabase, redis: &OwnRedis, settings: &[(&str, &str)]) -> Self {
        let redis = redis.url();
        let settings = [&[("DATABASE_URL", db.url()), ("REDIS_URL", &redis)], settings].concat();
        // People join while there is one process: its page shows the mails that it has sent itself.
        let here = Process::start(&settings).await;
        let (ann, bob) = (here.user("ann").await, here.user("bob").await);
        let posts = posts_of(&here, &ann, 200).await;
        let there = Process::start(&settings).await;
        let mut clients = clients();
        for (client, process) in [("here", &here), ("there", &there)] {
            let options = json!({"auth": {"token": ann.access}, "resume": true, "transports": ["websocket"]});
            clients.open(client, &process.url, &options);
            clients.next(client, "connected").await;
        }
        Self { here, there, clients, ann, bob, posts }
    }

    async fn like(&mut self, rest: &Rest) -> i64 {
        let post = self.posts.pop().unwrap();
        rest.post(&format!("/posts/{post}/like"), &self.bob, Value::Null).await.ok();
        post
    }

    /// Likes by way of one process.
    async fn like_here(&mut self) -> i64 {
        let rest = Rest::new(self.here.url.clone());
        self.like(&rest).await
    }

    async fn like_there(&mut self) -> i64 {
        let rest = Rest::new(self.there.url.clone());
        self.like(&rest).await
    }

    /// Another session of hers, with a device there.
    async fn session_there(&mut self, client: &str) -> User {
        let pair = self.here.login("ann", crate::helpers::PASSWORD).await.ok();
        let session = self.here.known("ann", &self.ann.email, &pair).await;
        self.clients.open(
            client,
            &self.there.url,
            &json!({"auth": {"token": session.access}, "reconnection": false}),
        );
        self.clients.next(client, "connected").await;
        session
    }

    /// Waits until both say that so many users are connected to either.
    async fn until_connected(&self, users: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for process in [&self.here, &self.there] {
            while process.get("/socket/status", None).await.ok()["connected_users"] != users {
                assert!(Instant::now() < deadline, "not {users} users");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until a device hears of the like of this post.
    async fn hears(&mut self, client: &str, post: i64, seen: &mut Vec<i64>) {
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
async fn two_processes_act_as_one_and_survive_the_loss_of_redis() {
    let Some(mut redis) = OwnRedis::start() else {
        return test_support::not_tested("redis-server is not installed");
    };
    let db = TestDatabase::postgres().await;
    let mut two = Two::start(&db, &redis, &[]).await;
    let (mut heard_here, mut heard_there) = (Vec::new(), Vec::new());
    two.clients.open("bob", &two.there.url, &json!({"auth": {"token": two.bob.access}}));
    two.clients.next("bob", "connected").await;
    two.until_connected(2).await;

    // What either of them is told, both tell.
    for n in 0..20 {
        let post = if n % 2 == 0 { two.like_here().await } else { two.like_there().await };
        two.hears("here", post, &mut heard_here).await;
        two.hears("there", post, &mut heard_there).await;
    }
    let session = two.session_there("ended").await;
    assert_eq!(two.there.get("/users/me", &session).await.status, 200);
    two.here.post("/users/logout", &session, Value::Null).await.ok();
    two.clients.next("ended", "disconnect").await;
    assert_eq!(two.there.get("/users/me", &session).await.status, 401);

    // Redis is away for ten seconds: each serves its own as if nothing were.
    let session = two.session_there("ended meanwhile").await;
    redis.stop();
    two.here.post("/users/logout", &session, Value::Null).await.ok();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        let post = two.like_here().await;
        two.hears("here", post, &mut heard_here).await;
        let post = two.like_there().await;
        two.hears("there", post, &mut heard_there).await;
        sleep(Duration::from_millis(200)).await;
    }
    let only_here = two.like_here().await;
    redis.start_again();

    // Then they make up for what they have missed.
    two.hears("there", only_here, &mut heard_there).await;
    two.clients.next("ended meanwhile", "disconnect").await;
    let last = two.like_there().await;
    two.hears("here", last, &mut heard_here).await;
    two.hears("there", last, &mut heard_there).await;
    let stored = stored(&two.here, &two.ann).await;
    assert_eq!(heard_here, stored);
    assert_eq!(heard_there, stored);
    for client in ["here", "there"] {
        assert!(!two.clients.has(client, "disconnect"), "{client}");
    }
    two.clients.leave("bob");
    two.until_connected(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_redis_can_be_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let Some(redis) = OwnRedis::start_tls(PathBuf::clone(&certificate), key) else {
        return test_support::not_tested("redis-server is not installed");
    };
    let db = TestDatabase::postgres().await;
    let mut two = Two::start(&db, &redis, &[("SSL_CERT_FILE", certificate.to_str().unwrap())]).await;
    two.until_connected(1).await;
    // Both have heard of the other once a like that only one is told of reaches the other's device.
    let session = two.session_there("ended").await;
    two.here.post("/users/logout", &session, Value::Null).await.ok();
    two.clients.next("ended", "disconnect").await;
    let post = two.like_here().await;
    two.hears("there", post, &mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_no_token_however_it_was_shown() {
    let db = TestDatabase::sqlite().await;
    let server = Process::start(&[("DATABASE_URL", db.url()), ("RUST_LOG", "trace")]).await;
    let ann = server.user("ann").await;
    let mut clients = clients();
    for (place, shown) in [
        ("auth", json!({"token": ann.access})),
        ("query", json!({"token": ann.access})),
        ("extraHeaders", json!({"Authorization": format!("Bearer {}", ann.access)})),
    ] {
        for transport in ["websocket", "polling"] {
            let client = format!("{place}/{transport}");
            clients.open(&client, &server.url, &json!({place: shown, "transports": [transport]}));
            clients.next(&client, "connected").await;
        }
    }
    let (log, signature) = (server.log(), ann.access.rsplit('.').next().unwrap());
    assert!(log.contains("TRACE") && log.contains("/socket.io"), "{log}");
    assert!(!log.contains(signature), "{log}");
}
