//! Networks whose addresses limits treat as one client.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the network that counts as one address: an IPv6 /64, since providers assign no smaller ones.
pub fn network_of(address: IpAddr) -> IpAddr {
    masked(address, 64)
}

/// Returns the network that one customer may have: an IPv6 /48, which has 65,536 networks. Limits of it are wider, since
/// it may also belong to many customers.
pub fn site_of(address: IpAddr) -> IpAddr {
    masked(address, 48)
}

fn masked(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (Ipv6Addr::BITS - bits))))
        }
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_ipv6_are_prefixes() {
        let address = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(network_of(address).to_string(), "2001:db8:1:2::");
        assert_eq!(site_of(address).to_string(), "2001:db8:1::");
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!((network_of(address), site_of(address)), (address, address));
    }
}
