//! The access log.

use reqwest::Method;

use crate::harness::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_log_line_is_written_without_further_requests() {
    let mut process = Process::start(&[("RUST_LOG", "info")]).await;
    let ask = async |id: &str| {
        process.send(process.request(Method::GET, "/livez").header("x-request-id", id)).await.ok();
    };
    ask("the-first").await;
    assert!(process.log().contains("the-first"), "{}", process.log());
    ask("the-last").await;
    assert_eq!(process.stop().await.0, Some(0));
    assert!(process.log().contains("the-last"), "{}", process.log());
}
