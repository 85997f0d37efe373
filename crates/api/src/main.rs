//! The program: `serve`, `migrate`, `seed`, `openapi`, `doctor`, `healthcheck`.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

use actix_web::{
    dev::{Server, ServerHandle},
    web::Data,
};
use api::{
    app::{App, database_config},
    config::{Config, MailConfig},
    doctor::{self, State},
    metrics, openapi, server, telemetry,
};
use application::passwords::Passwords;
use clap::{Parser, Subcommand};
use infra_diesel::{DatabaseUrl, SchemaState, Seed};
use mimalloc::MiMalloc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request's memory is often freed by another thread than the one that allocated it. That takes no lock here; of
/// glibc's a thread that hashes may hold one while it is not let run.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the server reads from the connections that it has before it begins to close them.
const LAST_REQUESTS: Duration = Duration::from_millis(500);
/// How long use cases whose clients have gone may go on once all others are done.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Over how long the sockets of a server that stops are closed, so that their clients do not all come back at once.
const SOCKETS_LEAVE: Duration = Duration::from_secs(3);

/// The password of everybody whom `seed` makes up.
const SEED_PASSWORD: &str = "password123";

/// The backend of a social network.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what happens without a command).
    Serve,
    /// Apply the migrations that the database lacks.
    Migrate {
        /// Only name them.
        #[arg(long)]
        dry_run: bool,
        #[command(subcommand)]
        what: Option<Migrate>,
    },
    /// Fill a new database with a made-up network, for measuring. Users are user1, user2, …, with addresses at
    /// example.com and the password `password123`.
    Seed(Network),
    /// Print the OpenAPI document.
    Openapi,
    /// Check the key, the database, mail, media, Redis, CORS and the clock, and say how to mend what does not work.
    Doctor,
    /// Ask a running server on this machine whether it can serve; for containers.
    Healthcheck,
}

/// How large the network is. The same numbers make the same rows.
#[derive(clap::Args)]
struct Network {
    /// How many users.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    users: i64,
    /// How many posts; every twentieth is private.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=100_000_000))]
    posts: i64,
    /// How many likes at most [default: 5 a post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    likes: Option<i64>,
    /// How many comments [default: 2 a post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    comments: Option<i64>,
    /// How many follows at most [default: 3 a post].
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    follows: Option<i64>,
    /// Chooses who does what.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

#[derive(Subcommand)]
enum Migrate {
    /// List every migration and whether the database has it.
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    dotenvy::dotenv().ok();
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Migrate { what: Some(Migrate::Status), .. } => status().await,
        Command::Migrate { dry_run, .. } => migrate(dry_run).await,
        Command::Seed(network) => seed(network).await,
        Command::Openapi => print(&format!("{:#}", openapi::document())),
        Command::Doctor => doctor().await,
        Command::Healthcheck => healthcheck(),
    };
    telemetry::flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _ = writeln!(std::io::stderr(), "{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| error.to_string())
}

fn config() -> Result<Config, String> {
    Config::from_env().map_err(|errors| errors.to_string())
}

async fn serve() -> Result<(), String> {
    let config = config()?;
    telemetry::init(&config);
    // Before anything is written; not to listen yet, or clients would wait for what is not there.
    drop(listen(&config)?);
    fit_schema(&config).await?;
    let app = Data::new(App::build(&config).await?);
    let listener = listen(&config)?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();

    let stop = CancellationToken::new();
    let workers = app.start_workers(&stop);
    let sockets = app.sockets.clone();
    let metrics = metrics_server(&app, &config)?;
    let server = server::serve(app.clone(), &config, listener).map_err(|error| error.to_string())?;
    tracing::info!("serving on http://localhost:{port}, documentation at http://localhost:{port}/docs");
    if config.mail == MailConfig::Inbox {
        tracing::info!("SMTP_HOST is not set: mails go to http://localhost:{port}/dev/inbox");
    }

    let metrics_handle = metrics.as_ref().map(Server::handle);
    let observing = metrics.map(tokio::spawn);
    let handle = server.handle();
    let serving = tokio::spawn(server);
    asked_to_stop().await.map_err(|error| error.to_string())?;
    tracing::info!("stopping: requests that have begun are answered");
    // The server waits for its connections, sockets too: those are told to go, spread over some seconds.
    tokio::join!(take_no_more(&handle, &app), sockets.close(SOCKETS_LEAVE));
    if tokio::time::timeout(LAST_WORDS, app.finished()).await.is_err() {
        tracing::warn!("what clients no longer wait for is cut off");
    }
    stop.cancel();
    // What a worker has begun waits for others, and is tried again after the next start.
    if tokio::time::timeout(LAST_WORDS, workers.join_all()).await.is_err() {
        tracing::info!("mails and deletions that are under way are left for the next start");
    }
    if let (Some(handle), Some(observing)) = (metrics_handle, observing) {
        handle.stop(false).await;
        let _ = observing.await;
    }
    serving.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// The server of the metrics, if they are asked for.
fn metrics_server(app: &Data<App>, config: &Config) -> Result<Option<Server>, String> {
    let Some(address) = config.metrics_address else { return Ok(None) };
    let failed = |error| format!("METRICS_ADDRESS: cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    metrics::serve(app.clone(), listener).map(Some).map_err(failed)
}

fn listen(config: &Config) -> Result<TcpListener, String> {
    let address = SocketAddr::new(config.host, config.port);
    TcpListener::bind(address).map_err(|error| format!("HOST, PORT: cannot listen on {address}: {error}"))
}

/// Stops the server. It would drop connections that no worker has taken yet, and close those whose first request has
/// not been read: so first it takes no new ones, and gets to those that it has. Use cases whose clients have gone may
/// run on its threads, which end with their last connection.
async fn take_no_more(server: &ServerHandle, app: &App) {
    server.pause().await;
    tokio::time::sleep(LAST_REQUESTS).await;
    let _ = tokio::time::timeout(LAST_WORDS, app.finished()).await;
    server.stop(true).await;
}

async fn asked_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Brings the schema up to date where nobody else uses the database or it was asked for; else refuses to run on
/// one that does not fit.
async fn fit_schema(config: &Config) -> Result<(), String> {
    let url = database_config(config)?.url;
    let failed = |error| format!("DATABASE_URL: {error}");
    if matches!(url, DatabaseUrl::Sqlite(_)) || config.auto_migrate {
        for name in infra_diesel::migrate(&url, false).await.map_err(failed)? {
            tracing::info!("migrated: {name}");
        }
    }
    let state = infra_diesel::schema_state(&url).await.map_err(failed)?;
    if !state.unknown.is_empty() {
        return Err(format!(
            "The database has migrations that this program does not know ({}): run a newer version of it.",
            state.unknown.join(", ")
        ));
    }
    if !state.is_current() {
        let pending = state.pending().join(", ");
        return Err(format!(
            "The database lacks migrations ({pending}): run `api migrate` (or `just migrate`) first, or set AUTO_MIGRATE=true."
        ));
    }
    Ok(())
}

async fn migrate(dry_run: bool) -> Result<(), String> {
    let url = database_config(&config()?)?.url;
    let names =
        infra_diesel::migrate(&url, dry_run).await.map_err(|error| format!("DATABASE_URL: {error}"))?;
    if names.is_empty() {
        return print("The schema is up to date.");
    }
    let verb = if dry_run { "would apply" } else { "applied" };
    names.iter().try_for_each(|name| print(&format!("{verb} {name}")))
}

async fn status() -> Result<(), String> {
    let url = database_config(&config()?)?.url;
    let SchemaState { migrations, unknown } =
        infra_diesel::schema_state(&url).await.map_err(|error| format!("DATABASE_URL: {error}"))?;
    for step in migrations {
        print(&format!("{}  {}", if step.is_applied { "applied" } else { "pending" }, step.name))?;
    }
    unknown.iter().try_for_each(|version| print(&format!("unknown  {version} (of a newer program)")))
}

async fn doctor() -> Result<(), String> {
    let findings = doctor::examine(&config()?).await;
    findings.iter().try_for_each(|finding| print(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.state == State::Fail).count() {
        0 => Ok(()),
        1 => Err("One thing does not work.".into()),
        several => Err(format!("{several} things do not work.")),
    }
}

async fn seed(network: Network) -> Result<(), String> {
    let config = config()?;
    let url = database_config(&config)?.url;
    fit_schema(&config).await?;
    let passwords = Passwords::new(config.hash_cost, 1, 1).map_err(|error| error.to_string())?;
    let seed = Seed {
        users: network.users,
        posts: network.posts,
        likes: network.likes.unwrap_or(5 * network.posts),
        comments: network.comments.unwrap_or(2 * network.posts),
        follows: network.follows.unwrap_or(3 * network.posts),
        seed: network.seed,
        password: passwords.hash(SEED_PASSWORD.to_owned()).await.map_err(|error| error.to_string())?,
    };
    infra_diesel::seed(&url, &seed).await.map_err(|error| format!("DATABASE_URL: {error}"))?;
    print(&format!("{} users with the password {SEED_PASSWORD}, {} posts", network.users, network.posts))
}

fn healthcheck() -> Result<(), String> {
    let config = config()?;
    let host = if config.host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { config.host };
    let limit = Duration::from_secs(3);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, config.port), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(answer) => Err(format!("not ready: {}", answer.lines().next().unwrap_or_default())),
        Err(error) => Err(format!("not reachable: {error}")),
    }
}
