//! Prometheus metrics.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use actix_web::http::Method;
use application::rate_limit::RateLimitClass;
use chrono::{DateTime, Utc};
use domain::health::Backlog;
use infra_diesel::PoolState;
use infra_socketio::MetricsSnapshot;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::log_writer::dropped_lines;

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

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

/// What is measured elsewhere and copied into the metrics when they are read.
pub(crate) struct Snapshot {
    pub now: DateTime<Utc>,
    pub pools: Vec<PoolState>,
    /// `None` if the database does not respond.
    pub backlog: Option<Backlog>,
    pub sockets: MetricsSnapshot,
    pub rate_limited: [(RateLimitClass, u64); 5],
}

/// Counters and gauges.
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
    rate_limited: Family<KindLabels, Counter>,
    dropped_log_lines: Counter,
    resident_memory: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            pools: Family::default(),
            is_database_up: Gauge::default(),
            backlog: Family::default(),
            oldest_mail: Gauge::default(),
            sockets: Family::default(),
            socket_events: Family::default(),
            sockets_refused: Family::default(),
            is_redis_up: Family::default(),
            rate_limited: Family::default(),
            dropped_log_lines: Counter::default(),
            resident_memory: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "http_requests",
            "HTTP responses, by method, route and class of status",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its response",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("database_up", "Whether the database responds", metrics.is_database_up.clone());
        registry.register(
            "database_connections",
            "Connections to the database, and requests that wait for one, by pool and state",
            metrics.pools.clone(),
        );
        registry.register("pending_jobs", "Queued background jobs, by kind", metrics.backlog.clone());
        registry.register_with_unit(
            "oldest_pending_mail",
            "Age of the oldest mail that is still retried",
            Unit::Seconds,
            metrics.oldest_mail.clone(),
        );
        registry.register(
            "sockets",
            "Socket.IO connections, their distinct users, and Engine.IO transports",
            metrics.sockets.clone(),
        );
        registry.register("socket_events", "Socket.IO events, by kind", metrics.socket_events.clone());
        registry.register(
            "sockets_refused",
            "Socket.IO requests refused before authentication, by reason",
            metrics.sockets_refused.clone(),
        );
        registry.register(
            "redis_up",
            "Whether Redis responds, if it is configured",
            metrics.is_redis_up.clone(),
        );
        registry.register(
            "rate_limited",
            "Requests refused by a rate limit, by class",
            metrics.rate_limited.clone(),
        );
        registry.register(
            "dropped_log_lines",
            "Log lines dropped because the standard output was blocked",
            metrics.dropped_log_lines.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of the process",
            Unit::Bytes,
            metrics.resident_memory.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Records a response. `route` is the path pattern, `None` for an unknown path.
    pub(crate) fn record_response(
        &self,
        method: &Method,
        route: Option<String>,
        status: u16,
        elapsed: Duration,
    ) {
        let (method, route) = (method_label(method), route.unwrap_or_else(|| "none".to_owned()));
        let status = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status / 100).clamp(1, 5) - 1];
        let labels = RouteLabels { method, route: route.clone() };
        self.latency.get_or_create(&labels).observe(elapsed.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub(crate) fn encode(&self, snapshot: Snapshot) -> Result<String, fmt::Error> {
        self.update(snapshot);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn update(&self, snapshot: Snapshot) {
        let Snapshot { now, pools, backlog, sockets, rate_limited } = snapshot;
        for pool in pools {
            for (state, count) in [("open", pool.open), ("idle", pool.idle), ("waiting", pool.waiting)] {
                self.pools.get_or_create(&PoolLabels { pool: pool.name, state }).set(gauge_value(count));
            }
        }
        self.is_database_up.set(i64::from(backlog.is_some()));
        if let Some(backlog) = backlog {
            for (kind, count) in [
                ("mails", backlog.pending_mails),
                ("dead_mails", backlog.dead_mails),
                ("media_deletions", backlog.pending_media_deletions),
            ] {
                self.backlog.get_or_create(&KindLabels { kind }).set(count);
            }
            let age = backlog.oldest_mail_at.map(|since| now - since);
            self.oldest_mail.set(age.map_or(0.0, |age| age.as_seconds_f64().max(0.0)));
        }
        for (kind, count) in
            [("open", sockets.open), ("users", sockets.users), ("transports", sockets.transports)]
        {
            self.sockets.get_or_create(&KindLabels { kind }).set(gauge_value(count));
        }
        let events = [
            ("connected", sockets.connected),
            ("rejected", sockets.rejected),
            ("sent", sockets.sent),
            ("deferred", sockets.deferred),
            ("replayed", sockets.replayed),
            ("too_slow", sockets.too_slow),
            ("too_much_data", sockets.too_much_data),
            ("evicted", sockets.evicted),
            ("revoked", sockets.revoked),
            ("expired", sockets.expired),
            ("queue_overflow", sockets.queue_overflows),
            ("redis_lost", sockets.redis_losses),
        ];
        for (kind, count) in events {
            self.socket_events.get_or_create(&KindLabels { kind }).inner().store(count, Ordering::Relaxed);
        }
        for (reason, count) in sockets.refused {
            let labels = KindLabels { kind: reason.code() };
            self.sockets_refused.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
        }
        if let Some(is_up) = sockets.is_redis_up {
            self.is_redis_up.get_or_create(&KindLabels { kind: "sockets" }).set(i64::from(is_up));
        }
        for (class, count) in rate_limited {
            let labels = KindLabels { kind: class.name() };
            self.rate_limited.get_or_create(&labels).inner().store(count, Ordering::Relaxed);
        }
        self.dropped_log_lines.inner().store(dropped_lines() as u64, Ordering::Relaxed);
        self.resident_memory.set(resident_memory().unwrap_or(0));
    }
}

/// Clients may invent methods, but not labels.
fn method_label(method: &Method) -> &'static str {
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

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns bytes, or `None` where `/proc` is absent.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? * 1024)
}
