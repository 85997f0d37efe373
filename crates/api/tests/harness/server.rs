//! A server inside the test process.

use std::{net::TcpListener, ops::Deref};

use actix_web::{dev::ServerHandle, web::Data};
use api::{config::Config, server, state::AppState, telemetry};
use application::passwords::HashCost;
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use super::{ApiClient, User};

/// A running server, stopped when dropped.
pub(crate) struct Server {
    client: ApiClient,
    pub(crate) app: Data<AppState>,
    handle: ServerHandle,
    stop: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, &[]).await
    }

    /// Starts a server on SQLite with one user. The database lives as long as the last value.
    pub(crate) async fn start_with_user() -> (Self, User, TestDatabase) {
        let db = TestDatabase::sqlite().await;
        let server = Self::start(&db).await;
        let ann = server.create_user("ann").await;
        (server, ann, db)
    }

    /// Starts a server with these settings.
    pub(crate) async fn start_with(db: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        Self::start_changed(db, settings, |_| {}).await
    }

    /// Starts a server with these settings after `change` has replaced parts of it, e.g. by mocks.
    pub(crate) async fn start_changed(
        db: &TestDatabase,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut AppState),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_str().unwrap();
        let defaults = [
            ("DATABASE_URL", db.url()),
            ("DATABASE_CONNECTIONS", "6"),
            ("DATA_DIR", data_dir),
            ("HOST", "127.0.0.1"),
            ("WORKERS", "1"),
            ("RATE_LIMIT_SCALE", "0"),
        ];
        let settings =
            defaults.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let log = std::env::var("RUST_LOG").unwrap_or_default();
        let settings = settings.chain([("RUST_LOG".to_owned(), log)]);
        let config =
            Config { hash_cost: HashCost::CHEAPEST, port: 0, ..Config::from_vars(settings).unwrap() };
        if config.log_filter.is_some() {
            std::mem::forget(telemetry::init(&config));
        }
        infra_diesel::migrate(&config.database.url, false).await.unwrap();
        let mut app = api::app::build(&config).await.unwrap();
        change(&mut app);
        let app = Data::new(app);
        let listener = TcpListener::bind((config.host, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        app.start_workers(&stop).detach_all();
        let server = server::serve(app.clone(), &config, listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self { client: ApiClient::new(url), app, handle, stop, folder }
    }
}

impl Deref for Server {
    type Target = ApiClient;

    fn deref(&self) -> &ApiClient {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        let stop = self.handle.stop(false);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(stop));
    }
}
