//! The settings.

use std::{fmt, net::IpAddr, time::Duration};

use actix_web::HttpRequest;

/// How the sockets behave. `Default` has values for a public server.
#[derive(Clone)]
pub struct SocketConfig {
    /// Which pages may open websockets, as in CORS: `https://example.org`, no path; `*` is any. The server's own
    /// pages always may, and so may clients that send no `Origin`, which are not browsers.
    pub origins: Vec<String>,
    /// The largest message a client may send, in bytes.
    pub max_message: usize,
    /// How many bytes a client may send at once, and then each second.
    pub budget: ByteBudget,
    /// How many packets may wait for a client. One that is full does not grow: the rest stays in the database.
    pub queue: usize,
    /// How long a client may take nothing while its queue is full, before its transport is closed.
    pub patience: Duration,
    /// How many connections a user may have, over all processes; the oldest leaves for a newer one.
    pub per_user: usize,
    /// How many connections an address may have; 0 is any number.
    pub per_address: usize,
    /// Whose address a request counts for. By default the peer's: behind a proxy, the one it vouches for.
    pub address: fn(&HttpRequest) -> Option<IpAddr>,
    /// For how long a transport may stay open without having authenticated.
    pub connect_timeout: Duration,
    /// How often the server asks whether a client is there.
    pub ping_interval: Duration,
    /// How long it waits for the answer.
    pub ping_timeout: Duration,
    /// How long before its token expires a client is told.
    pub expiry_warning: Duration,
    /// How many missed notifications are replayed at most.
    pub max_replay: usize,
    /// The Redis that connects several server processes: `redis://host:6379/0`, or `rediss://` for TLS with a
    /// certificate that the system trusts.
    #[cfg(feature = "redis")]
    pub redis_url: Option<String>,
    /// The Redis channel; processes that serve one database use the same.
    #[cfg(feature = "redis")]
    pub redis_channel: String,
}

/// How much a client may send.
#[derive(Debug, Clone, Copy)]
pub struct ByteBudget {
    /// Bytes at once.
    pub burst: u32,
    /// Bytes a second in the long run.
    pub per_second: u32,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            max_message: 32 * 1024,
            budget: ByteBudget { burst: 128 * 1024, per_second: 8 * 1024 },
            queue: 256,
            patience: Duration::from_secs(10),
            per_user: 10,
            per_address: 200,
            address: |request| request.peer_addr().map(|peer| peer.ip()),
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            expiry_warning: Duration::from_mins(1),
            max_replay: 500,
            #[cfg(feature = "redis")]
            redis_url: None,
            #[cfg(feature = "redis")]
            redis_channel: "social-live".into(),
        }
    }
}

/// The URL of Redis may hold a password.
impl fmt::Debug for SocketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketConfig").field("origins", &self.origins).finish_non_exhaustive()
    }
}
