//! Logs and metrics.

mod log_format;
mod log_writer;
pub(crate) mod metrics;
mod repeated_lines;

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
pub use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Config, Environment};
use log_format::Format;
pub(crate) use repeated_lines::may_log_repeated_line;

/// The target of access log lines, for filters such as `RUST_LOG=info,requests=off`.
pub(crate) const ACCESS_LOG: &str = "requests";

/// Starts to log: text in development, JSON in production. Without a filter in the settings
/// it depends on `debug`. Lines that wait are written when the guard is dropped. Later calls have no effect.
pub fn init(config: &Config) -> io::Result<WorkerGuard> {
    let default =
        if config.debug { "debug,h2=info,hyper=info,rustls=info" } else { "info,actix_server=warn" };
    let filter = EnvFilter::new(config.log_filter.as_deref().unwrap_or(default));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(reveals_no_secrets));
    let format = match config.environment {
        Environment::Development => Format::Text { has_colors: io::stdout().is_terminal() },
        Environment::Production => Format::Json,
    };
    let (writer, guard) = log_writer::start()?;
    let layer = fmt::layer().event_format(format).fmt_fields(format).with_writer(writer);
    let _ = registry.with(layer).try_init();
    Ok(guard)
}

/// At its finest level the websocket library logs what clients send, including tokens.
fn reveals_no_secrets(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("tungstenite")
}
