//! Opens connections to PostgreSQL.

use std::{sync::Arc, time::Duration};

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use tokio_postgres::config::SslMode;

/// Opens a connection: with `sslmode=require` by TLS with a verified certificate, otherwise unencrypted. TLS without
/// verification, which other clients call `prefer`, would only look safe.
pub(crate) async fn establish(
    url: &str,
    timeout: Option<Duration>,
) -> Result<AsyncPgConnection, ConnectionError> {
    let failed = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        ConnectionError::BadConnection(format!("{error}{cause}"))
    };
    let mut config: tokio_postgres::Config =
        url.parse().map_err(|error: tokio_postgres::Error| failed(&error))?;
    if config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Disable);
    }
    if let Some(timeout) = timeout {
        // Without a timeout a query would continue after its caller has given up. The planner overestimates queries whose
        // limits it cannot know: without the other settings it would start processes for them, compile them, and plan
        // small batches anew for each set of values.
        let statement_timeout = timeout.as_millis();
        let options = format!(
            "-c statement_timeout={statement_timeout} -c max_parallel_workers_per_gather=0 -c jit=off \
             -c plan_cache_mode=force_generic_plan"
        );
        config.options(options);
        // Detects a server whose machine has disappeared: it closes no connection.
        config.connect_timeout(timeout).tcp_user_timeout(timeout).keepalives_idle(timeout);
        config.keepalives_interval(timeout).keepalives_retries(2);
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(tls).await.map_err(|error| failed(&error))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}
