//! `api serve`.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    dev::{Server, ServerHandle},
    web::Data,
};
use api::{app, config::Config, server, state::AppState, telemetry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{config, migrate::ensure_schema};

/// How long a stopping server waits for requests on connections it has already accepted.
const LAST_REQUESTS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long use cases may run on after all other work is done.
const USE_CASES_TIMEOUT: Duration = Duration::from_secs(1);
/// The time over which a stopping server closes its sockets, so that the clients do not all reconnect at once.
const SOCKETS_CLOSE_TIME: Duration = Duration::from_secs(3);

/// Runs the server until a signal stops it.
pub(crate) async fn run() -> Result<(), String> {
    let config = config()?;
    let _log = telemetry::init(&config).map_err(|error| format!("cannot write the log: {error}"))?;
    raise_file_limit();
    // Fails early if the port is taken. Listening begins later, or clients would wait for a server that is not ready.
    drop(listen(&config)?);
    ensure_schema(&config).await?;
    let state = Data::new(app::build(&config).await?);
    let listener = listen(&config)?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();

    let stop = CancellationToken::new();
    let workers = state.start_workers(&stop);
    let sockets = state.sockets.clone();
    let metrics = serve_metrics(&state, &config)?;
    let server = server::serve(state.clone(), &config, listener).map_err(|error| error.to_string())?;
    tracing::info!("serving on http://localhost:{port}, documentation at http://localhost:{port}/docs");
    if config.smtp.is_none() {
        tracing::info!("SMTP_HOST is not set: mail appears at http://localhost:{port}/dev/inbox");
    }

    let metrics_handle = metrics.as_ref().map(Server::handle);
    let metrics_task = metrics.map(tokio::spawn);
    let handle = server.handle();
    let server_task = tokio::spawn(server);
    stop_signal().await.map_err(|error| error.to_string())?;
    tracing::info!("stopping: completing requests in progress");
    // The server waits for its connections, so the sockets are closed meanwhile.
    tokio::join!(stop_server(&handle, &state), sockets.close(SOCKETS_CLOSE_TIME));
    if tokio::time::timeout(USE_CASES_TIMEOUT, state.wait_for_use_cases()).await.is_err() {
        tracing::warn!("aborting use cases whose clients have disconnected");
    }
    stop.cancel();
    // Unfinished jobs are retried after the next start.
    if tokio::time::timeout(USE_CASES_TIMEOUT, workers.join_all()).await.is_err() {
        tracing::info!("mails and media deletions in progress will resume at the next start");
    }
    if let (Some(handle), Some(task)) = (metrics_handle, metrics_task) {
        handle.stop(false).await;
        let _ = task.await;
    }
    server_task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Raises the limit of open files to the most that the process may have: shells set a low one, for programs that cannot
/// deal with many, and each connection needs a file.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

/// Starts the metrics server if it is configured.
fn serve_metrics(state: &Data<AppState>, config: &Config) -> Result<Option<Server>, String> {
    let Some(address) = config.metrics_address else { return Ok(None) };
    let failed = |error| format!("METRICS_ADDRESS: cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    server::serve_metrics(state.clone(), listener).map(Some).map_err(failed)
}

fn listen(config: &Config) -> Result<TcpListener, String> {
    let address = SocketAddr::new(config.host, config.port);
    TcpListener::bind(address).map_err(|error| format!("HOST, PORT: cannot listen on {address}: {error}"))
}

/// Stops the HTTP server without losing requests. actix would drop accepted connections that no worker has taken yet, and
/// close those whose first request it has not read. So it first stops accepting, and serves the connections that it
/// has. Use cases of disconnected clients may run on its threads, which end with their last connection.
async fn stop_server(server: &ServerHandle, state: &AppState) {
    server.pause().await;
    tokio::time::sleep(LAST_REQUESTS_TIMEOUT).await;
    let _ = tokio::time::timeout(USE_CASES_TIMEOUT, state.wait_for_use_cases()).await;
    server.stop(true).await;
}

async fn stop_signal() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
