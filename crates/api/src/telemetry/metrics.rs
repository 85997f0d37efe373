//! Prometheus metrics.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use actix_web::http::Method;
use application::rate_limit::RateLimitClass;
use chrono::{DateTime, Utc};
use domain::health::Backlog;
use infra_diesel::PoolState;
use infra_socketio::{MetricsSnapshot, Refusal};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::{log_writer::dropped_lines, repeated_lines::omitted_lines};

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

/// Labels by name and value.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What is measured elsewhere and read when the metrics are.
pub(crate) struct Snapshot {
    pub now: DateTime<Utc>,
    pub pools: Vec<PoolState>,
    /// `None` if the database does not respond.
    pub backlog: Option<Backlog>,
    pub sockets: MetricsSnapshot,
    pub rate_limited: [(RateLimitClass, u64); 6],
    /// How often clients were refused what they hold too much of, by kind.
    pub refused: [(&'static str, u64); 5],
}

/// The metrics that outlive a snapshot.
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    /// The last known backlog, while the database does not respond.
    backlog: Family<Labels<1>, Gauge>,
    oldest_mail: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            backlog: Family::default(),
            oldest_mail: Gauge::default(),
        }
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
        let mut text = String::new();
        encode(&mut text, &self.registry(snapshot))?;
        Ok(text)
    }

    fn registry(&self, snapshot: Snapshot) -> Registry {
        let Snapshot { now, pools, backlog, sockets, rate_limited, refused } = snapshot;
        let mut registry = Registry::default();
        registry.register(
            "http_requests",
            "HTTP responses, by method, route and class of status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its response",
            Unit::Seconds,
            self.latency.clone(),
        );
        let is_up = ConstGauge::new(i64::from(backlog.is_some()));
        registry.register("database_up", "Whether the database responds", is_up);
        let connections = pools.iter().flat_map(|pool| {
            [("open", pool.open), ("idle", pool.idle), ("waiting", pool.waiting)]
                .map(|(state, count)| ([("pool", pool.name), ("state", state)], gauge_value(count)))
        });
        registry.register(
            "database_connections",
            "Connections to the database, and requests that wait for one, by pool and state",
            gauges(connections),
        );
        if let Some(backlog) = backlog {
            for (kind, count) in [
                ("mails", backlog.pending_mails),
                ("dead_mails", backlog.dead_mails),
                ("media_deletions", backlog.pending_media_deletions),
            ] {
                self.backlog.get_or_create(&[("kind", kind)]).set(count);
            }
            let age = backlog.oldest_mail_at.map(|since| now - since);
            self.oldest_mail.set(age.map_or(0.0, |age| age.as_seconds_f64().max(0.0)));
        }
        registry.register("pending_jobs", "Queued background jobs, by kind", self.backlog.clone());
        registry.register_with_unit(
            "oldest_pending_mail",
            "Age of the oldest mail that is still retried",
            Unit::Seconds,
            self.oldest_mail.clone(),
        );
        let open = [("open", sockets.open), ("users", sockets.users), ("transports", sockets.transports)];
        registry.register(
            "sockets",
            "Socket.IO connections, their distinct users, and Engine.IO transports",
            gauges(open.map(|(kind, count)| ([("kind", kind)], gauge_value(count)))),
        );
        registry.register("socket_events", "Socket.IO events, by kind", counters(socket_events(&sockets)));
        registry.register(
            "sockets_refused",
            "Socket.IO requests refused before authentication, by reason",
            counters(Refusal::ALL.map(Refusal::code).into_iter().zip(sockets.refused)),
        );
        registry.register(
            "redis_up",
            "Whether Redis responds, if it is configured",
            gauges(sockets.is_redis_up.map(|is_up| ([("kind", "sockets")], i64::from(is_up)))),
        );
        registry.register(
            "rate_limited",
            "Requests refused by a rate limit, by class",
            counters(rate_limited.map(|(class, count)| (class.name(), count))),
        );
        registry.register(
            "refused",
            "Connections, bodies, files and passwords refused because too many were in progress, by kind",
            counters(refused),
        );
        registry.register(
            "omitted_log_lines",
            "Log lines of health checks and of refused requests beyond 20 per second",
            ConstCounter::new(omitted_lines()),
        );
        registry.register(
            "dropped_log_lines",
            "Log lines dropped because the standard output was blocked",
            ConstCounter::new(dropped_lines() as u64),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of the process",
            Unit::Bytes,
            ConstGauge::new(resident_memory().unwrap_or(0)),
        );
        registry
    }
}

/// Returns the numbers of Socket.IO events, by kind.
fn socket_events(sockets: &MetricsSnapshot) -> [(&'static str, u64); 13] {
    [
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
        ("redis_message_rejected", sockets.rejected_messages),
    ]
}

fn gauges<const N: usize>(values: impl IntoIterator<Item = (Labels<N>, i64)>) -> Family<Labels<N>, Gauge> {
    let family = Family::default();
    for (labels, value) in values {
        Gauge::set(&family.get_or_create(&labels), value);
    }
    family
}

fn counters(values: impl IntoIterator<Item = (&'static str, u64)>) -> Family<Labels<1>, Counter> {
    let family = Family::default();
    for (kind, value) in values {
        Counter::inc_by(&family.get_or_create(&[("kind", kind)]), value);
    }
    family
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
