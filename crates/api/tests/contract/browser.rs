//! A real browser with a page of another origin.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use test_support::{TestDatabase, not_tested, socketio::browser_library};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use crate::harness::Server;

const PAGE: &str = include_str!("browser.html");

/// Finds Chromium or Chrome. The headers that a browser checks are tested without one, too.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let programs = env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

/// A headless browser that ends when this is dropped.
struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(program: &Path, pages: &[String]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).args(pages);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves the page and its library. Returns a channel of the page's reports, each with the host that the page was
/// loaded from.
fn serve_page(listener: TcpListener, settings: Value) -> UnboundedReceiver<(String, Value)> {
    let library = std::fs::read(browser_library(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let (reports, reported) = unbounded_channel();
    let server = HttpServer::new(move || {
        let (library, settings, reports) = (library.clone(), settings.clone(), reports.clone());
        App::new()
            .route("/", web::get().to(async || HttpResponse::Ok().content_type("text/html").body(PAGE)))
            .route(
                "/socket.io.js",
                web::get().to(move || {
                    let library = library.clone();
                    async { HttpResponse::Ok().content_type("text/javascript").body(library) }
                }),
            )
            .route(
                "/settings",
                web::get().to(move || {
                    let settings = settings.clone();
                    async { HttpResponse::Ok().json(settings) }
                }),
            )
            .route(
                "/report",
                web::post().to(move |query: web::Query<Value>, body: String| {
                    let from = query["from"].as_str().unwrap_or_default().to_owned();
                    let _ = reports.send((from, serde_json::from_str(&body).unwrap()));
                    async { HttpResponse::Ok().finish() }
                }),
            )
    });
    tokio::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
    reported
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browser_allows_listed_origins_and_blocks_others() {
    let Some(program) = browser() else {
        return not_tested("Chromium is not installed");
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ours, foreign) = (format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}"));
    let db = TestDatabase::sqlite().await;
    let server = Server::start_with(&db, &[("CORS_ORIGINS", &ours)]).await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let post = server.create_post(&ann, "hi", false).await;
    let settings = json!({"api": server.url, "token": ann.access, "liker": bob.access, "post": post});
    let mut reported = serve_page(listener, settings);

    let mut report_of = async |page: &str| {
        let _browser = Browser::open(&program, &[page.to_owned()]);
        timeout(Duration::from_mins(1), reported.recv()).await.expect("the page reports").unwrap()
    };
    let transports = ["polling", "websocket", "polling+websocket", "websocket+polling"];
    let (from, report) = report_of(&foreign).await;
    assert_eq!((&*from, &report["me"], &report["like"]), ("localhost", &Value::Null, &Value::Null));
    for transport in transports {
        let error = report["received"][transport].as_str().unwrap_or_default();
        assert!(error == "xhr poll error" || error == "websocket error", "{transport}: {report}");
    }
    let (from, report) = report_of(&ours).await;
    assert_eq!((&*from, &report["me"]), ("127.0.0.1", &json!("ann")), "{report}");
    assert_eq!(report["like"], json!([200, true]));
    for transport in transports {
        assert_eq!(report["received"][transport], "bob liked your post", "{transport}");
    }
}
