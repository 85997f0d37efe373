//! Rate limits.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{TestDatabase, redis_url};

use crate::harness::{PASSWORD, Response, Server, User};

const TOO_MANY: (u16, &str) = (429, "Too many requests");

const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

async fn start(db: &TestDatabase, settings: &[(&str, &str)]) -> Server {
    let mut all = vec![("RATE_LIMIT_SCALE", "1"), PROXY];
    all.extend(settings);
    Server::start_with(db, &all).await
}

/// Logs in from this address, which the proxy forwards.
async fn login_from(server: &Server, address: &str, name: &str) -> Response {
    let request = server.request(Method::POST, "/users/login").header("x-forwarded-for", address);
    server.send(request.form(&[("username", name), ("password", "wrong password")])).await
}

/// Sends wrong passwords and returns how many attempts the limit stopped.
async fn count_limited(server: &Server, address: &str, name: &str, times: usize) -> usize {
    let mut limited = 0;
    for _ in 0..times {
        limited += usize::from(login_from(server, address, name).await.status == 429);
    }
    limited
}

fn numbers(header: &str) -> Vec<u64> {
    header.split(';').skip(1).map(|part| part[2..].parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_guessing_is_limited_per_client_and_account() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_AUTH", "3/1h")]).await;
    let ann = server.create_user("ann").await;
    assert_eq!(count_limited(&server, "198.51.100.1", "ann", 6).await, 3);
    let stopped = login_from(&server, "198.51.100.1", "ANN").await;
    assert_eq!(stopped.problem(), TOO_MANY);
    assert_eq!(stopped.json["code"], "rate_limited");
    let wait: u64 = stopped.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    assert_eq!(stopped.header("ratelimit-policy").unwrap(), "\"auth\";q=3;w=3600");
    assert_eq!(numbers(&stopped.header("ratelimit").unwrap())[0], 0);
    // The owner of the account logs in from elsewhere, and others from there.
    let elsewhere = server.request(Method::POST, "/users/login").header("x-forwarded-for", "198.51.100.2");
    let form = [("username", "ann"), ("password", PASSWORD)];
    assert_eq!(server.send(elsewhere.form(&form)).await.status, 200);
    assert_eq!(count_limited(&server, "198.51.100.1", "bob", 1).await, 0);
    // All of one network of IPv6 are one, and its neighbours another.
    assert_eq!(count_limited(&server, "2001:db8:0:1::1", "ann", 2).await, 0);
    assert_eq!(count_limited(&server, "2001:db8:0:1:ffff::2", "ann", 2).await, 1);
    assert_eq!(count_limited(&server, "2001:db8:0:2::1", "ann", 2).await, 0);
    assert_eq!(server.get("/users/me", &ann).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_password_limit_ignores_path_spelling() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_AUTH", "3/1h")]).await;
    let ann = server.create_user("ann").await;
    let body = json!({"current_password": "wrong password", "new_password": "battery staple"});
    let mut statuses = Vec::new();
    for path in [
        "/users/change-password",
        "//users/change-password",
        "/users/change%2Dpassword",
        "/users//change-password/",
    ] {
        let request = server.request(Method::POST, path).bearer_auth(&ann.access).json(&body);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_limit_also_counts_per_address() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_AUTH", "2/1h")]).await;
    let mut stopped = 0;
    for n in 0..25 {
        stopped += count_limited(&server, "198.51.100.1", &format!("user{n}"), 1).await;
    }
    assert_eq!(stopped, 5);
    assert_eq!(count_limited(&server, "198.51.100.2", "user0", 1).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_behind_one_address_are_limited_separately() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_WRITE", "4/1h"), ("RATE_LIMIT_DEFAULT", "10/1h")]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let write = async |user: &User| server.post("/posts/", user, json!({"content": "hi"})).await;
    let first = write(&ann).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit-policy").unwrap(), "\"write\";q=4;w=3600");
    let state = numbers(&first.header("ratelimit").unwrap());
    assert!(state[0] == 3 && (1..=900).contains(&state[1]), "{state:?}");
    for _ in 0..3 {
        write(&ann).await.ok();
    }
    assert_eq!(write(&ann).await.problem(), TOO_MANY);
    assert_eq!(write(&bob).await.status, 200);
    // Reading goes on, and is counted for itself.
    assert_eq!(server.get("/posts/", &ann).await.status, 200);
    // A token of an ended session counts for the address only.
    server.post("/users/logout", &bob, Value::Null).await.ok();
    for _ in 0..6 {
        assert_eq!(server.get("/users/me", &bob).await.status, 401);
    }
    let again = server.user_with_tokens("bob", &bob.email, &server.login("bob", PASSWORD).await.ok()).await;
    assert_eq!(server.get("/users/me", &again).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_limit_counts_files_only() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_UPLOAD", "1/1h")]).await;
    let ann = server.create_user("ann").await;
    let post = async |file: bool| {
        let form = reqwest::multipart::Form::new().text("content", "hi");
        // Rejected as invalid after it has been counted.
        let part = reqwest::multipart::Part::bytes(b"no picture".to_vec()).file_name("a.png");
        let form = if file { form.part("media", part) } else { form };
        server
            .send(server.request(Method::POST, "/posts/").bearer_auth(&ann.access).multipart(form))
            .await
            .status
    };
    assert_eq!(
        [post(true).await, post(true).await, post(false).await, post(false).await],
        [415, 429, 200, 200]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_address_is_ignored_without_a_trusted_proxy() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("RATE_LIMIT_SCALE", "1"), ("RATE_LIMIT_AUTH", "3/1h")]).await;
    let mut stopped = 0;
    for n in 0..6 {
        stopped += count_limited(&server, &format!("198.51.100.{n}"), "ann", 1).await;
    }
    assert_eq!(stopped, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_limits_allow_normal_use() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[]).await;
    let ann = server.create_user("ann").await;
    for n in 0..100 {
        server.create_post(&ann, &format!("post {n}"), false).await;
        assert_eq!(server.get("/posts/", &ann).await.status, 200);
    }
    for path in ["/livez", "/readyz"] {
        assert!(server.get(path, None).await.header("ratelimit").is_none());
    }
    let origin = server.request(Method::GET, "/posts/").header("origin", "http://localhost:5173");
    let exposed =
        server.send(origin.bearer_auth(&ann.access)).await.header("access-control-expose-headers").unwrap();
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(exposed.split(", ").any(|one| one == name), "{exposed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_mail_within_a_minute_is_delayed_silently() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[]).await;
    let mails = async || {
        let page = server.get("/dev/inbox", None).await.text();
        page.matches("ann@example.com").count()
    };
    let first = server.register("ann", "ann@example.com").await;
    server.otp("ann@example.com").await;
    let once = mails().await;
    let again = server.register("ann", "ann@example.com").await;
    let text = |response: &Response| (response.status, response.json["message"].clone());
    assert_eq!(text(&again), text(&first));
    // A request from another address is not delayed; when its mail arrives, the second has been sent, too.
    let elsewhere = server.request(Method::POST, "/users/register").header("x-forwarded-for", "198.51.100.2");
    let body = json!({"username": "anna", "email": "ann@example.com", "password": PASSWORD});
    let before = server.otp("ann@example.com").await;
    server.send(elsewhere.json(&body)).await.ok();
    server.mail("ann@example.com", "Your OTP Verification Code", |mail| mail["otp"] != before.as_str()).await;
    assert_eq!(mails().await, 2 * once);
    // A name that is taken uses nothing up.
    server.create_user("bob").await;
    for _ in 0..3 {
        let taken = server.register("bob", "cleo@example.com").await;
        assert_eq!(taken.problem(), (400, "Username already taken"));
    }
    server.register("cleo", "cleo@example.com").await.ok();
    server.otp("cleo@example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_one_redis_share_their_counts() {
    let db = TestDatabase::postgres().await;
    let key = application::random::token::<32>().unwrap();
    let settings = [
        ("RATE_LIMIT_SCALE", "1"),
        ("RATE_LIMIT_AUTH", "4/1h"),
        ("REDIS_URL", redis_url()),
        ("SECRET_KEY", key.as_str()),
        PROXY,
    ];
    let (one, other) = (Server::start_with(&db, &settings).await, Server::start_with(&db, &settings).await);
    let mut stopped = 0;
    for _ in 0..4 {
        for server in [&one, &other] {
            stopped += count_limited(server, "198.51.100.1", "ann", 1).await;
        }
    }
    assert_eq!(stopped, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_redis_falls_back_to_local_counts() {
    // Nothing listens at this address.
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_AUTH", "2/1h"), ("REDIS_URL", "redis://127.0.0.1:1")]).await;
    assert_eq!(count_limited(&server, "198.51.100.1", "ann", 5).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_limited_per_forwarded_address() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("SOCKETS_PER_ADDRESS", "1")]).await;
    let handshake = async |address: &str| {
        let url = format!("{}/socket.io/?EIO=4&transport=polling", server.url);
        let request = reqwest::Client::new().get(url).header("x-forwarded-for", address);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(handshake("198.51.100.1").await, 200);
    assert_eq!(handshake("198.51.100.1").await, 429);
    assert_eq!(handshake("198.51.100.2").await, 200);
    assert_eq!([handshake("2001:db8:0:1::1").await, handshake("2001:db8:0:1::2").await], [200, 429]);
}

/// The quota of the limit that counted this response.
fn quota(response: &Response) -> u64 {
    numbers(&response.header("ratelimit-policy").unwrap())[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_token_never_counts_as_the_account() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_DEFAULT", "30/1h"), ("RATE_LIMIT_WRITE", "30/1h")]).await;
    let ann = server.create_user("ann").await;
    let by_refresh_token = ann.with_token(&ann.refresh);
    for path in ["/users/me", "/posts/", "/users/1/followers", "/no/such/path"] {
        assert_eq!(quota(&server.get(path, &by_refresh_token).await), 300, "{path}");
        assert_eq!(quota(&server.post(path, &by_refresh_token, Value::Null).await), 300, "{path}");
        // The session still counts for the account.
        assert_eq!(quota(&server.get(path, &ann).await), 30, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_an_ended_session_use_up_nothing_of_the_account() {
    let db = TestDatabase::postgres().await;
    let key = application::random::token::<32>().unwrap();
    let settings =
        [("RATE_LIMIT_DEFAULT", "30/1h"), ("RATE_LIMIT_WRITE", "30/1h"), ("SECRET_KEY", key.as_str())];
    let one = start(&db, &settings).await;
    let ended = one.create_user("ann").await;
    let live = one.new_session(&ended).await;
    one.post("/users/logout", &ended, Value::Null).await.ok();
    // Another process, or this one after a restart, has not seen the end.
    let other = start(&db, &settings).await;
    for token in [&ended.access, &ended.refresh] {
        let ended = ended.with_token(token);
        for path in ["/users/1/followers", "/no/such/path", "/posts/1/comment", "/socket/status", "/users/me"]
        {
            assert_eq!(quota(&other.get(path, &ended).await), 300, "{path}");
            assert_eq!(quota(&other.post(path, &ended, Value::Null).await), 300, "{path}");
        }
    }
    let first = other.get("/users/me", &live).await;
    assert_eq!(numbers(&first.header("ratelimit").unwrap())[0], 29);
    assert_eq!(quota(&other.get("/users/1/followers", &live).await), 30);
}

/// Connects a socket by polling and returns the first packet of Socket.IO that the server sends.
async fn connect_socket(server: &Server, user: &User) -> String {
    let target = format!("{}/socket.io/?EIO=4&transport=polling", server.url);
    let http = reqwest::Client::new();
    let opened = http.get(&target).send().await.unwrap().text().await.unwrap();
    let opened: Value = serde_json::from_str(&opened[1..]).unwrap();
    let target = format!("{target}&sid={}", opened["sid"].as_str().unwrap());
    let connect = format!("40{}", json!({"token": user.access}));
    assert_eq!(http.post(&target).body(connect).send().await.unwrap().status(), 200);
    loop {
        let packets = http.get(&target).send().await.unwrap().text().await.unwrap();
        // Others are pings.
        if let Some(packet) = packets.split('\u{1e}').find(|packet| packet.starts_with('4')) {
            return packet.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_sockets_are_limited_per_account() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_CONNECT", "2/1h")]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    for _ in 0..2 {
        let connected = connect_socket(&server, &ann).await;
        assert!(connected.starts_with("40"), "{connected}");
    }
    let refused = connect_socket(&server, &ann).await;
    assert!(refused.starts_with("44") && refused.contains("\"rate_limited\""), "{refused}");
    assert!(connect_socket(&server, &bob).await.starts_with("40"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_unknown_socket_sessions_are_limited() {
    let db = TestDatabase::sqlite().await;
    let server = start(&db, &[("RATE_LIMIT_DEFAULT", "1/1h")]).await;
    let mut statuses = Vec::new();
    for n in 0..11 {
        let path = format!("/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAA{n:02}");
        statuses.push(server.request(Method::POST, &path).body("3").send().await.unwrap().status().as_u16());
    }
    assert_eq!((statuses[0], statuses[9], statuses[10]), (400, 400, 429));
}
