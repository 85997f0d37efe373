//! Configuration.

use std::{fmt, net::IpAddr, time::Duration};

use actix_web::HttpRequest;
use api_types::Origins;
use domain::live_throttle::LIVE_EVENT_INTERVAL;

/// Limits and timeouts of sockets. `Default` suits a public server.
#[derive(Clone)]
pub struct SocketConfig {
    /// Origins whose pages may open websockets. Pages of the server itself always may, and so may clients without an
    /// `Origin` header, which are not browsers.
    pub origins: Origins,
    /// Maximum size of a message from a client, in bytes.
    pub max_message_bytes: usize,
    /// How much data a client may send.
    pub budget: ByteBudget,
    /// Maximum number of packets queued for a client. Notifications beyond it stay in the database until there is room.
    pub max_queued_packets: usize,
    /// How long a client with a full queue may accept nothing before its transport is closed.
    pub send_timeout: Duration,
    /// Maximum number of connections of a user over all processes. A newer connection replaces the oldest one.
    pub max_per_user: usize,
    /// Maximum number of transports of an address; 0 for no limit.
    pub max_per_address: usize,
    /// Returns the address that a request counts to. The default is the peer's, which behind a proxy is the proxy's.
    pub address: fn(&HttpRequest) -> Option<IpAddr>,
    /// How long a transport may stay open without authenticating.
    pub connect_timeout: Duration,
    /// Time between two pings of the server.
    pub ping_interval: Duration,
    /// How long the server waits for a pong.
    pub ping_timeout: Duration,
    /// How long before the token expires a client receives `session_expiring`.
    pub expiry_warning: Duration,
    /// Maximum number of replayed notifications.
    pub max_replayed: usize,
    /// Minimum time between two live events of the same action.
    pub live_event_interval: Duration,
    /// Redis for several server processes: `redis://host:6379/0`, or `rediss://` for TLS with a certificate that the
    /// system trusts.
    pub redis_url: Option<String>,
    /// Redis channel. All processes of one database use the same.
    pub redis_channel: String,
    /// Authenticates the messages between processes, which all have the same key.
    pub redis_key: [u8; 32],
}

/// How much data a client may send.
#[derive(Debug, Clone, Copy)]
pub struct ByteBudget {
    /// Bytes at once.
    pub burst: u32,
    /// Bytes per second in the long run.
    pub per_second: u32,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            max_message_bytes: 32 * 1024,
            budget: ByteBudget { burst: 128 * 1024, per_second: 8 * 1024 },
            max_queued_packets: 256,
            send_timeout: Duration::from_secs(10),
            max_per_user: 10,
            max_per_address: 200,
            address: |request| request.peer_addr().map(|peer| peer.ip()),
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            expiry_warning: Duration::from_mins(1),
            max_replayed: 500,
            live_event_interval: LIVE_EVENT_INTERVAL,
            redis_url: None,
            redis_channel: "social-live".into(),
            redis_key: [0; 32],
        }
    }
}

/// Omits the key, and the Redis URL, which may contain a password.
impl fmt::Debug for SocketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketConfig").field("origins", &self.origins).finish_non_exhaustive()
    }
}
