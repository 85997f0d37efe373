//! Where a request comes from. What proxies say of it is believed of those alone that are trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Once,
};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{HeaderMap, HeaderName},
};
use ipnet::IpNet;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who sent a request, and what they called us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// Their address; of IPv6 its network of 64 bits, which one customer has for themselves.
    pub address: IpAddr,
    /// Whether they speak HTTPS with the proxy.
    pub is_secure: bool,
    /// The name by which they reached the proxy.
    pub host: Option<String>,
}

impl Client {
    /// Who sent this request, given the trusted proxies.
    pub(crate) fn of(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let peer: IpAddr = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
        let is_trusted = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
        if !is_trusted(&peer) {
            if proxies.is_empty() && headers.contains_key(FOR) {
                tell_of_proxy();
            }
            return Self { address: network(peer), is_secure: false, host: None };
        }
        let hops = if headers.contains_key(FOR) {
            elements(headers, &FOR).into_iter().map(|hop| parse_hop(&hop)).collect()
        } else {
            forwarded(headers, "for").into_iter().map(|hop| parse_hop(&hop)).collect::<Vec<_>>()
        };
        let last = |name: &HeaderName, parameter: &str| {
            elements(headers, name).pop().or_else(|| forwarded(headers, parameter).pop())
        };
        // From the right: each trusted hop vouches for the one on its left.
        let mut address = peer;
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop else { break };
            address = hop;
            if !is_trusted(&address) {
                break;
            }
        }
        let is_secure = last(&PROTO, "proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Self { address: network(address), is_secure, host: last(&HOST, "host") }
    }
}

/// Tells the operator, once, that there may be a proxy whose clients all count as one.
fn tell_of_proxy() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!("X-Forwarded-For is not believed: if there is a proxy, name it in TRUSTED_PROXIES");
    });
}

/// The address that a request counts for.
pub(crate) fn address_of(request: &HttpRequest) -> Option<IpAddr> {
    request.extensions().get::<Client>().map(|client| client.address)
}

/// What limits count as one address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        IpAddr::V4(_) => address,
    }
}

/// The elements of a list that may stand in several lines.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|element| element.trim().to_owned()).collect()
}

/// A parameter of each element of `Forwarded` (RFC 7239) that has it.
fn forwarded(headers: &HeaderMap, parameter: &str) -> Vec<String> {
    let of = |element: &String| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(parameter).then(|| value.trim_matches('"').to_owned())
        })
    };
    elements(headers, &FORWARDED).iter().filter_map(of).collect()
}

/// An address, with or without a port; IPv6 also in brackets.
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

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        Client::of(Some(peer.parse().unwrap()), &map, &proxies)
    }

    fn address(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        client(peer, headers).address.to_string()
    }

    #[test]
    fn whoever_is_not_trusted_says_nothing_about_others() {
        let said = [
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
        ];
        assert_eq!(
            client("192.0.2.1", &said),
            Client { address: IpAddr::from([192, 0, 2, 1]), is_secure: false, host: None }
        );
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let of = |hops| address("10.0.0.1", &[("x-forwarded-for", hops)]);
        assert_eq!(of("198.51.100.7"), "198.51.100.7");
        // What stands further left the client has made up.
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
    fn the_standard_header_is_read_too() {
        let said = "for=203.0.113.9, For=\"[2001:db8:1:2:3:4:5:6]:4711\";proto=https;host=social.example.com";
        let read = client("fd00::1", &[("forwarded", said)]);
        assert_eq!(read.address.to_string(), "2001:db8:1:2::");
        assert_eq!((read.is_secure, read.host.as_deref()), (true, Some("social.example.com")));
    }

    #[test]
    fn neighbours_of_one_network_of_ipv6_are_one() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6", &[]), address("2001:db8:1:2::9", &[]));
        assert_ne!(address("2001:db8:1:2::9", &[]), address("2001:db8:1:3::9", &[]));
    }
}
