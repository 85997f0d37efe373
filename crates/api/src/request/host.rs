//! The host by which a client addresses this server. Clients may write anything there, and pages of strangers can make a
//! browser send a name of theirs (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::{header, uri::Authority},
};
use url::Url;

use super::client_addr::ClientInfo;
use crate::state::AppState;

/// Returns the base URL of this server: `PUBLIC_URL`; else with the host that a trusted proxy forwards; else with the host
/// of the request if it is local; else with the address at which the connection arrived.
pub(crate) fn base_url(state: &AppState, request: &HttpRequest) -> String {
    if let Some(url) = &state.public_url {
        return url.to_string();
    }
    let extensions = request.extensions();
    let client = extensions.get::<ClientInfo>();
    let scheme = if client.is_some_and(|client| client.is_secure) { "https" } else { "http" };
    let forwarded = client.and_then(|client| client.host.as_deref()).filter(|host| is_authority(host));
    let host = forwarded.or_else(|| host_header(request).filter(|host| is_local(host)));
    match (host, local_address(request)) {
        (Some(host), _) => format!("{scheme}://{host}"),
        (None, Some(address)) => format!("{scheme}://{address}"),
        (None, None) => format!("{scheme}://localhost"),
    }
}

/// Returns whether a client addresses this server by a host that no stranger can give it: a local one, the address at
/// which the connection arrived, or the one of `PUBLIC_URL`. Browsers always name a host.
pub(crate) fn has_own_host(state: &AppState, request: &HttpRequest) -> bool {
    let extensions = request.extensions();
    let forwarded = extensions.get::<ClientInfo>().and_then(|client| client.host.as_deref());
    let Some(host) = forwarded.or_else(|| host_header(request)) else {
        return !request.headers().contains_key(header::HOST);
    };
    let Some(name) = name_of(host) else { return false };
    let public = state.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    let is_public =
        public.as_ref().and_then(Url::host_str).is_some_and(|public| public.eq_ignore_ascii_case(&name));
    let is_arrival = local_address(request).is_some_and(|local| address_of_name(&name) == Some(local.ip()));
    is_public || is_arrival || is_local(host)
}

fn host_header(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::HOST)?.to_str().ok()
}

/// Returns the address at which the connection arrived.
fn local_address(request: &HttpRequest) -> Option<SocketAddr> {
    let address = request.conn_data::<SocketAddr>()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn is_authority(host: &str) -> bool {
    name_of(host).is_some()
}

/// Returns the name or address without the port; `None` if the host is malformed.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let has_host_only = authority.as_str().bytes().all(is_host) && !authority.host().is_empty();
    has_host_only.then(|| authority.host().to_owned())
}

/// Returns whether a host is this machine or an address of a private network, where no name is looked up.
fn is_local(host: &str) -> bool {
    let Some(name) = name_of(host) else { return false };
    match address_of_name(&name) {
        Some(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Some(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        None => {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Returns the address that is written as a host, IPv6 in brackets.
fn address_of_name(name: &str) -> Option<IpAddr> {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_this_machine_and_private_addresses() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "api.localhost:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "192.168.1.5:8000",
            "10.0.0.1",
            "172.16.0.1:80",
            "[fd00::1]",
            "[fe80::1]:8000",
            "[::ffff:192.168.1.5]:8000",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            ":8000",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "203.0.113.5:8000",
            "[2001:db8::1]:8000",
            "user@localhost",
            "localhost/path",
            "localhost\"><script>",
            "localhost:8000:8000",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
