//! What Prometheus asks for, on an address of its own.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use actix_web::{
    App as Actix, HttpResponse, HttpServer,
    dev::Server,
    http::Method,
    web::{self, Data},
};
use domain::{clock::Clock as _, clock::SystemClock, maintenance::Backlog};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::app::App;

/// From what a cached answer takes to what a client gives up on.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

/// Counters and gauges. The gauges are read anew whenever somebody asks.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    pools: Family<PoolLabels, Gauge>,
    is_database_up: Gauge,
    backlog: Family<KindLabels, Gauge>,
    oldest_mail: Gauge<f64, AtomicU64>,
    sockets: Family<KindLabels, Gauge>,
    socket_events: Family<KindLabels, Counter>,
    sockets_refused: Family<KindLabels, Counter>,
    is_redis_up: Family<KindLabels, Gauge>,
    refused: Family<KindLabels, Counter>,
    memory: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            pools: Family::default(),
            is_database_up: Gauge::default(),
            backlog: Family::default(),
            oldest_mail: Gauge::default(),
            sockets: Family::default(),
            socket_events: Family::default(),
            sockets_refused: Family::default(),
            is_redis_up: Family::default(),
            refused: Family::default(),
            memory: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("database_up", "Whether the database answers", metrics.is_database_up.clone());
        registry.register(
            "database_connections",
            "Connections to the database, and who waits for one",
            metrics.pools.clone(),
        );
        registry.register("owed", "What is still to be done, by kind", metrics.backlog.clone());
        registry.register_with_unit(
            "oldest_owed_mail",
            "How long the oldest mail has been owed that is still tried",
            Unit::Seconds,
            metrics.oldest_mail.clone(),
        );
        registry.register("sockets", "Sockets, by kind", metrics.sockets.clone());
        registry.register("socket_events", "What happened on sockets", metrics.socket_events.clone());
        registry.register(
            "sockets_refused",
            "Requests of sockets refused before their token was looked at",
            metrics.sockets_refused.clone(),
        );
        registry.register(
            "redis_up",
            "Whether other processes are in reach, if there is a Redis",
            metrics.is_redis_up.clone(),
        );
        registry.register(
            "rate_limited",
            "Doings refused because there were too many",
            metrics.refused.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Memory of the process that is not swapped out",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts an answer. `route` is the template of its path; `None` if it has none.
    pub(crate) fn answered(&self, method: &Method, route: Option<String>, status: u16, took: Duration) {
        let (method, route) = (known(method), route.unwrap_or_else(|| "none".to_owned()));
        let status = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status / 100).clamp(1, 5) - 1];
        let labels = RouteLabels { method, route: route.clone() };
        self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    fn read(&self, app: &App, backlog: Option<Backlog>) {
        for pool in (app.pools)() {
            for (state, count) in [("open", pool.open), ("idle", pool.idle), ("waiting", pool.waiting)] {
                self.pools.get_or_create(&PoolLabels { pool: pool.name, state }).set(number(count));
            }
        }
        self.is_database_up.set(i64::from(backlog.is_some()));
        if let Some(backlog) = backlog {
            for (kind, count) in [
                ("mails", backlog.mails),
                ("dead_mails", backlog.dead_mails),
                ("media_deletions", backlog.media_deletions),
            ] {
                self.backlog.get_or_create(&KindLabels { kind }).set(count);
            }
            let age = backlog.oldest_mail.map(|since| SystemClock.now() - since);
            self.oldest_mail.set(age.map_or(0.0, |age| age.as_seconds_f64().max(0.0)));
        }
        let sockets = app.sockets.counters();
        for (kind, count) in
            [("open", sockets.open), ("users", sockets.users), ("transports", sockets.transports)]
        {
            self.sockets.get_or_create(&KindLabels { kind }).set(number(count));
        }
        let events = [
            ("connected", sockets.connected),
            ("rejected", sockets.rejected),
            ("sent", sockets.sent),
            ("replayed", sockets.replayed),
            ("too_slow", sockets.too_slow),
            ("too_much_data", sockets.too_much_data),
            ("evicted", sockets.evicted),
            ("revoked", sockets.revoked),
            ("expired", sockets.expired),
            ("redis_lost", sockets.others_lost),
        ];
        for (kind, count) in events {
            self.socket_events.get_or_create(&KindLabels { kind }).inner().store(count, Ordering::Relaxed);
        }
        for (reason, count) in sockets.refused {
            let labels = KindLabels { kind: reason.code() };
            self.sockets_refused.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
        }
        if let Some(is_up) = sockets.others_up {
            self.is_redis_up.get_or_create(&KindLabels { kind: "sockets" }).set(i64::from(is_up));
        }
        for (class, count) in app.limits.refused() {
            let labels = KindLabels { kind: class.name() };
            self.refused.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
        }
        self.memory.set(resident().unwrap_or(0));
    }
}

/// Methods are for clients to make up.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes, where the system tells.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? * 1024)
}

async fn show(app: Data<App>) -> HttpResponse {
    let Some(metrics) = &app.metrics else { return HttpResponse::NotFound().finish() };
    let maintenance = app.maintenance.clone();
    let backlog = app.run(|_| async move { maintenance.backlog().await }).await;
    metrics.read(&app, backlog.ok());
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Serves `/metrics` and nothing else on `listener`.
pub fn serve(app: Data<App>, listener: TcpListener) -> std::io::Result<Server> {
    let server =
        HttpServer::new(move || Actix::new().app_data(app.clone()).route("/metrics", web::get().to(show)));
    Ok(server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}
