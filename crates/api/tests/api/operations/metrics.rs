//! `/metrics`.

use std::net::TcpListener;

use serde_json::json;
use test_support::{TestDatabase, database_test};

use crate::harness::Server;

/// Returns the metrics.
async fn scrape(server: &Server) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let metrics = api::server::serve_metrics(server.app.clone(), listener).unwrap();
    let handle = metrics.handle();
    tokio::spawn(metrics);
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    handle.stop(false).await;
    text
}

/// Returns the value of a metric, rounded up.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // tests have small positive values
fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {metrics}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap().ceil() as u64
}

#[database_test]
async fn metrics_count_requests_pools_mails_sockets_and_limits(db: TestDatabase) {
    // The last value of a name counts.
    let settings =
        [("METRICS_ADDRESS", "127.0.0.1:0"), ("RATE_LIMIT_SCALE", "1"), ("RATE_LIMIT_AUTH", "2/1h")];
    let server = Server::start_with(&db, &settings).await;
    let ann = server.create_user("ann").await;
    let post = server.create_post(&ann, "hi", false).await;
    for id in [post, post, 99] {
        server.get(&format!("/posts/{id}"), &ann).await;
    }
    server.get("/no/such/path/as/this", None).await;
    for _ in 0..3 {
        server.login("nobody", "wrong password").await;
    }
    let socket = server.request(reqwest::Method::GET, "/socket.io/?EIO=4&transport=websocket");
    let upgrade = socket.header("upgrade", "websocket").header("connection", "upgrade");
    assert_eq!(upgrade.header("origin", "https://evil.example").send().await.unwrap().status(), 403);
    let metrics = scrape(&server).await;
    let requests = |method: &str, route: &str, status: &str| {
        let name =
            format!("http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}");
        value(&metrics, &name)
    };
    assert_eq!(requests("GET", "/posts/{post_id}", "2xx"), 2);
    assert_eq!(requests("GET", "/posts/{post_id}", "4xx"), 1);
    assert_eq!(requests("GET", "none", "4xx"), 1);
    let seen = "http_request_duration_seconds_count{method=\"GET\",route=\"/posts/{post_id}\"}";
    assert_eq!(value(&metrics, seen), 3);
    assert_eq!(value(&metrics, "rate_limited_total{kind=\"auth\"}"), 1);
    assert_eq!(value(&metrics, "database_up"), 1);
    assert_eq!(value(&metrics, "pending_jobs{kind=\"mails\"}"), 0);
    assert_eq!(value(&metrics, "oldest_pending_mail_seconds"), 0);
    assert_eq!(value(&metrics, "sockets{kind=\"open\"}"), 0);
    assert_eq!(value(&metrics, "sockets_refused_total{kind=\"origin_not_allowed\"}"), 1);
    for kind in ["connections", "body_memory", "upload_disk", "password_hashes", "abandoned_password_hashes"]
    {
        assert_eq!(value(&metrics, &format!("refused_total{{kind=\"{kind}\"}}")), 0, "{kind}");
    }
    assert_eq!(value(&metrics, "sockets_refused_total{kind=\"overlapping_messages\"}"), 0);
    assert_eq!(value(&metrics, "rate_limited_total{kind=\"connect\"}"), 0);
    assert!(metrics.contains("omitted_log_lines_total "), "{metrics}");
    assert!(!metrics.contains("redis_up{"), "redis is not configured: {metrics}");
    assert!(metrics.contains("database_connections{pool="), "{metrics}");
    assert!(metrics.ends_with("# EOF\n") && !metrics.contains("ann"));
    // The public address does not serve them.
    assert_eq!(server.get("/metrics", None).await.status, 404);
}

#[database_test]
async fn pending_mails_are_counted_until_sent(db: TestDatabase) {
    // Nothing listens at this address.
    let settings = [("METRICS_ADDRESS", "127.0.0.1:0"), ("SMTP_HOST", "127.0.0.1"), ("SMTP_PORT", "1")];
    let server = Server::start_with(&db, &settings).await;
    server.register("ann", "ann@example.com").await.ok();
    server.post("/users/forgot-password", None, json!({"email": "bob@example.com"})).await.ok();
    let metrics = scrape(&server).await;
    assert!(value(&metrics, "pending_jobs{kind=\"mails\"}") >= 1);
    assert!(value(&metrics, "oldest_pending_mail_seconds") > 0);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_include_process_memory() {
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("METRICS_ADDRESS", "127.0.0.1:0")]).await;
    assert!(value(&scrape(&server).await, "process_resident_memory_bytes ") > 1_000_000);
}
