//! The log: what is said, how it looks, and when it is written.

mod log_format;
mod log_writer;
pub(crate) mod metrics;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Config, Environment};
use log_format::Format;
use log_writer::Log;

/// What lines about requests that were answered are said to be about, for filters.
pub(crate) const ACCESS_LOG: &str = "requests";

/// Begins to log: text while developing, JSON in production. `RUST_LOG` says what, else `DEBUG` does.
pub fn init(config: &Config) {
    let default =
        if config.debug { "debug,h2=info,hyper=info,rustls=info" } else { "info,actix_server=warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_harmless));
    let format = match config.environment {
        Environment::Development => {
            Format::Text { has_colours: std::io::IsTerminal::is_terminal(&std::io::stdout()) }
        }
        Environment::Production => Format::Json,
    };
    let layer = fmt::layer().event_format(format).fmt_fields(format).with_writer(Log::open());
    // A second call, as tests make, changes nothing.
    let _ = registry.with(layer).try_init();
}

/// Writes what has not been written yet.
pub fn flush() {
    log_writer::flush();
}

/// At its finest level the websocket library logs what clients send, tokens included.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("tungstenite")
}
