//! A server, as a connection URL describes it.

use std::{net::IpAddr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode as TokioSslMode, SslNegotiation},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    stream::Connector,
    tls::{SslMode, TlsParameters},
};
use crate::error::DatabaseError;

/// How long a connection may take to open, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// tokio-postgres's value of `keepalives_idle` if a URL has none.
const DEFAULT_KEEPALIVES_IDLE: Duration = Duration::from_hours(2);

/// A server and how to connect to it. All connections are made by it, so that all parameters of the URL hold for all of
/// them.
#[derive(Clone)]
pub(crate) struct PgServer {
    pub(super) config: Config,
    pub(super) connector: Connector,
    /// Tried if the server refuses an unencrypted connection.
    pub(super) fallback: Option<Connector>,
}

impl PgServer {
    /// Parses a URL with the parameters that libpq has.
    ///
    /// # Errors
    /// A sentence that does not contain the password.
    pub(crate) fn parse(url: &str) -> Result<Self, DatabaseError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let mut tls = TlsParameters::default();
        let (mut mode, mut others) = (None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(DatabaseError::other)?.into_owned();
            match (name, &*value) {
                ("sslmode", value) => mode = Some(SslMode::parse(value)?),
                // To name authorities without verifying certificates would be a mistake.
                ("sslrootcert", file) => {
                    tls.mode = SslMode::VerifyFull;
                    tls.authorities = Some(file).filter(|file| *file != "system").map(Into::into);
                }
                ("sslcert", file) => tls.certificate = Some(file.into()),
                ("sslkey", file) => tls.key = Some(file.into()),
                // What tokio-postgres calls differently.
                ("keepalives_count", _) => others.push(parameter.replacen("count", "retries", 1)),
                ("fallback_application_name", _) => {
                    others.insert(0, parameter.replacen("fallback_", "", 1));
                }
                ("target_session_attrs", "primary") => others.push(format!("{name}=read-write")),
                ("target_session_attrs", "standby") => others.push(format!("{name}=read-only")),
                // The encoding is always UTF-8, and GSSAPI is never used.
                ("client_encoding", _) | ("gssencmode", "disable" | "prefer") => {}
                _ => others.push(parameter.to_owned()),
            }
        }
        tls.mode = mode.unwrap_or(tls.mode);
        let url =
            if others.is_empty() { address.to_owned() } else { format!("{address}?{}", others.join("&")) };
        let config: Config = url.parse()?;
        Self::new(config, &tls)
    }

    fn new(mut config: Config, parameters: &TlsParameters) -> Result<Self, DatabaseError> {
        if config.get_hosts().is_empty() {
            // Names that certificates are verified for.
            let addresses: Vec<IpAddr> = config.get_hostaddrs().to_vec();
            for address in addresses {
                config.host(address.to_string());
            }
        }
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        let mode = parameters.mode;
        let tls = if mode == SslMode::Disable || is_local(&config) {
            None
        } else {
            let mut config = parameters.client_config()?;
            config.alpn_protocols = if is_direct { vec![b"postgresql".to_vec()] } else { Vec::new() };
            Some(MakeRustlsConnect::new(config))
        };
        let plain = Connector { tls: None, is_tls_optional: false, is_direct };
        let encrypted = Connector { tls, is_tls_optional: mode == SslMode::Prefer, is_direct };
        let (connector, fallback) = match mode {
            SslMode::Allow => (plain, Some(encrypted).filter(|connector| connector.tls.is_some())),
            _ => (encrypted, None),
        };
        // Passes every socket to the connector.
        config.ssl_mode(TokioSslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        Ok(Self { config, connector, fallback })
    }

    /// Detects within about three times this time that the server's machine has disappeared, which closes no connection.
    /// The parameters of the URL take precedence.
    #[must_use]
    pub(super) fn with_timeout(mut self, timeout: Duration) -> Self {
        let config = &mut self.config;
        if config.get_connect_timeout() == Some(&CONNECT_TIMEOUT) {
            config.connect_timeout(timeout);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(timeout);
        }
        if config.get_keepalives_idle() == DEFAULT_KEEPALIVES_IDLE {
            config.keepalives_idle(timeout);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(timeout);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(2);
        }
        self
    }
}

/// Returns whether a server is reached by a Unix socket, on which there is no TLS.
fn is_local(config: &Config) -> bool {
    matches!(config.get_hosts(), [Host::Unix(_)])
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{ChannelBinding, TargetSessionAttrs};

    use super::*;

    fn parse(query: &str) -> Result<PgServer, String> {
        PgServer::parse(&format!("postgres://ann:secret@db.example.com/social?{query}"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_of_the_url_take_precedence_over_timeouts() {
        let query = "options=-csearch_path%3Dsocial&connect_timeout=3&keepalives_idle=7&keepalives_interval=8\
            &keepalives_count=9&tcp_user_timeout=11&application_name=a%20b&target_session_attrs=primary\
            &channel_binding=require&client_encoding=utf8&fallback_application_name=other";
        let config = parse(query).unwrap().with_timeout(Duration::from_secs(5)).config;
        let seconds = Duration::from_secs;
        assert_eq!(config.get_options(), Some("-csearch_path=social"));
        assert_eq!(config.get_connect_timeout(), Some(&seconds(3)));
        assert_eq!(config.get_keepalives_idle(), seconds(7));
        assert_eq!(config.get_keepalives_interval(), Some(seconds(8)));
        assert_eq!(config.get_keepalives_retries(), Some(9));
        assert_eq!(config.get_tcp_user_timeout(), Some(&seconds(11)));
        assert_eq!(config.get_application_name(), Some("a b"));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config.get_channel_binding(), ChannelBinding::Require);

        let config = parse("").unwrap().with_timeout(seconds(5)).config;
        assert_eq!(config.get_connect_timeout(), Some(&seconds(5)));
        assert_eq!(config.get_keepalives_idle(), seconds(5));
        assert_eq!(config.get_keepalives_retries(), Some(2));
    }

    #[test]
    fn every_sslmode_of_libpq_is_known() {
        for (mode, is_encrypted, has_fallback, is_optional) in [
            ("disable", false, false, false),
            ("allow", false, true, false),
            ("prefer", true, false, true),
            ("require", true, false, false),
            ("verify-ca", true, false, false),
            ("verify-full", true, false, false),
        ] {
            let server = parse(&format!("sslmode={mode}&sslrootcert=system")).unwrap();
            assert_eq!(server.connector.tls.is_some(), is_encrypted, "{mode}");
            assert_eq!(server.fallback.is_some(), has_fallback, "{mode}");
            assert_eq!(server.connector.is_tls_optional, is_optional, "{mode}");
        }
    }

    #[test]
    fn wrong_parameters_are_named_without_the_password() {
        for (query, expected) in [
            ("sslmode=on", "sslmode must be"),
            ("sslmode=verify-full&sslrootcert=/no/such/file", "sslrootcert: /no/such/file"),
            ("sslrootcert=/no/such/file", "sslrootcert: /no/such/file"),
            ("sslmode=require&sslcert=/no/such/file", "sslcert and sslkey"),
            ("connect_timeout=soon", "connect_timeout"),
            ("colour=red", "colour"),
        ] {
            let error = parse(query).err().unwrap();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
