//! The access log.

use std::time::Duration;

use reqwest::Method;
use tokio::time::timeout;

use crate::harness::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_log_line_is_written_without_further_requests() {
    let mut process = Process::start(&[("RUST_LOG", "info")]).await;
    let send = async |id: &str| {
        process.send(process.request(Method::GET, "/livez").header("x-request-id", id)).await.ok();
    };
    send("the-first").await;
    assert!(process.log().contains("the-first"), "{}", process.log());
    send("the-last").await;
    assert_eq!(process.stop().await.0, Some(0));
    assert!(process.log().contains("the-last"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_standard_output_delays_no_request() {
    let mut process = Process::new(&[("RUST_LOG", "trace")]);
    process.has_unread_output = true;
    process.launch().await;
    // Their log lines fill the pipe many times.
    let requests = async {
        for _ in 0..1000 {
            process.get("/livez", None).await.ok();
        }
    };
    timeout(Duration::from_mins(1), requests).await.unwrap();
    assert_eq!(process.stop().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_health_checks_are_bounded_and_others_are_not() {
    let process = Process::start(&[("RUST_LOG", "info")]).await;
    for _ in 0..1000 {
        process.get("/livez", None).await.ok();
        process.get("/no/such/path", None).await;
    }
    let log = process.log();
    let lines = |path: &str| log.lines().filter(|line| line.contains(path)).count();
    assert!((1..900).contains(&lines("/livez")), "{}", lines("/livez"));
    assert_eq!(lines("/no/such/path"), 1000);
}
