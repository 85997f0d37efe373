//! The log.

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Config, Environment};

/// Begins to log: text while developing, JSON in production. `RUST_LOG` says what, else `DEBUG` does.
pub fn init(config: &Config) {
    let default =
        if config.debug { "debug,h2=info,hyper=info,rustls=info" } else { "info,actix_server=warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_harmless));
    // A second call, as tests make, changes nothing.
    let _ = match config.environment {
        Environment::Development => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stdout());
            registry.with(fmt::layer().with_target(false).with_ansi(colours)).try_init()
        }
        Environment::Production => registry.with(fmt::layer().json().flatten_event(true)).try_init(),
    };
}

/// At its finest level the websocket library logs what clients send, tokens included.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("tungstenite")
}
