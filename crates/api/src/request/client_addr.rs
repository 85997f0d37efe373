//! The address of the client. Only trusted proxies may forward another one than their own.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Once,
};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{self, HeaderMap, HeaderName},
};
use application::networks::network_of;
use ipnet::IpNet;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    /// The client's address. Of an IPv6 address the first 64 bits, since providers assign such networks to a customer.
    pub address: IpAddr,
    /// Whether the client reached the proxy by HTTPS.
    pub is_secure: bool,
    /// The host by which the client reached the proxy. `None` without a trusted proxy.
    pub host: Option<String>,
}

impl ClientInfo {
    /// Reads the client from a connection's peer and the forwarding headers, if the peer is a trusted proxy.
    pub(crate) fn of(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let peer: IpAddr = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
        let is_trusted = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
        if !is_trusted(&peer) {
            if proxies.is_empty() && headers.contains_key(FOR) {
                warn_about_untrusted_proxy();
            }
            return Self { address: network_of(peer), is_secure: false, host: None };
        }
        let hops = if headers.contains_key(FOR) {
            elements(headers, &FOR).into_iter().map(|hop| parse_hop(&hop)).collect()
        } else {
            forwarded(headers, "for").into_iter().map(|hop| parse_hop(&hop)).collect::<Vec<_>>()
        };
        let last = |name: &HeaderName, parameter: &str| {
            elements(headers, name).pop().or_else(|| forwarded(headers, parameter).pop())
        };
        // From the right: each trusted hop has appended the address of the hop on its left.
        let mut address = peer;
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop else { break };
            address = hop;
            if !is_trusted(&address) {
                break;
            }
        }
        let is_secure = last(&PROTO, "proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let host = last(&FORWARDED_HOST, "host")
            .or_else(|| Some(headers.get(header::HOST)?.to_str().ok()?.to_owned()));
        Self { address: network_of(address), is_secure, host }
    }
}

/// Warns once: behind an unlisted proxy, all clients share one rate limit.
fn warn_about_untrusted_proxy() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "ignored X-Forwarded-For: if the server is behind a proxy, list it in TRUSTED_PROXIES"
        );
    });
}

/// Returns the address that a request is counted to.
pub(crate) fn address_of(request: &HttpRequest) -> IpAddr {
    request.extensions().get::<ClientInfo>().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.address)
}

/// Returns the elements of a comma-separated header, which may be repeated. Clients may have sent anything in the elements
/// on the left, which must not hide those that proxies have appended.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let elements = headers.get_all(name).flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    elements.map(|element| String::from_utf8_lossy(element).trim().to_owned()).collect()
}

/// Returns a parameter of each element of `Forwarded` (RFC 7239) that has it.
fn forwarded(headers: &HeaderMap, parameter: &str) -> Vec<String> {
    let of = |element: &String| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(parameter).then(|| value.trim_matches('"').to_owned())
        })
    };
    elements(headers, &FORWARDED).iter().filter_map(of).collect()
}

/// Parses an address with an optional port. IPv6 may be in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> ClientInfo {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        ClientInfo::of(Some(peer.parse().unwrap()), &map, &proxies)
    }

    fn address(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        client(peer, headers).address.to_string()
    }

    #[test]
    fn untrusted_peer_cannot_forward_an_address() {
        let headers = [
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
        ];
        assert_eq!(
            client("192.0.2.1", &headers),
            ClientInfo { address: IpAddr::from([192, 0, 2, 1]), is_secure: false, host: None }
        );
    }

    #[test]
    fn client_is_the_last_untrusted_hop() {
        let of = |hops| address("10.0.0.1", &[("x-forwarded-for", hops)]);
        assert_eq!(of("198.51.100.7"), "198.51.100.7");
        // Elements further left are made up by the client.
        assert_eq!(of("203.0.113.9, 198.51.100.7, 10.1.1.1"), "198.51.100.7");
        assert_eq!(of("10.2.2.2, 10.1.1.1"), "10.2.2.2");
        assert_eq!(of("198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(of("::ffff:198.51.100.7"), "198.51.100.7");
        assert_eq!(of("198.51.100.7, unknown"), "10.0.0.1");
        assert_eq!(of(""), "10.0.0.1");
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(address("10.0.0.1", &lines), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
    }

    #[test]
    fn bytes_that_are_no_text_hide_no_other_hop() {
        let mut headers = HeaderMap::new();
        headers.insert(FOR, HeaderValue::from_bytes(b"\xff\xfe, 203.0.113.9\xe9, 198.51.100.7").unwrap());
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let client = ClientInfo::of(Some(IpAddr::from([10, 0, 0, 1])), &headers, &proxies);
        assert_eq!(client.address, IpAddr::from([198, 51, 100, 7]));
    }

    #[test]
    fn standard_forwarded_header_is_supported() {
        let forwarded =
            "for=203.0.113.9, For=\"[2001:db8:1:2:3:4:5:6]:4711\";proto=https;host=social.example.com";
        let read = client("fd00::1", &[("forwarded", forwarded)]);
        assert_eq!(read.address.to_string(), "2001:db8:1:2::");
        assert_eq!((read.is_secure, read.host.as_deref()), (true, Some("social.example.com")));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6", &[]), address("2001:db8:1:2::9", &[]));
        assert_ne!(address("2001:db8:1:2::9", &[]), address("2001:db8:1:3::9", &[]));
    }
}
