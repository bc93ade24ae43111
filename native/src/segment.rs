//! Who talks to whom in an IP packet's first bytes: RFC 791, RFC 8200, RFC 9293, RFC 768.
//! The same as `netlink/packets.py`. Input is whatever an attacker can put on the wire.

use crate::address::Address;
use crate::bytes::{be16, byte};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// More headers than a sane packet has; a chain of 8-byte headers within 512 bytes has 57.
const EXTENSIONS_MAX: usize = 64;

/// The ends of a TCP segment or UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    pub source: Address,
    pub destination: Address,
    pub source_port: u16,
    pub port: u16,
    pub protocol: u8,
}

/// The segment in an IP packet, or `None` when its ports can't be found there.
pub fn parse_segment(data: &[u8]) -> Option<Segment> {
    match byte(data, 0)? >> 4 {
        4 => parse_v4(data),
        6 => parse_v6(data),
        _ => None,
    }
}

fn parse_v4(data: &[u8]) -> Option<Segment> {
    if data.len() < 20 {
        return None;
    }
    let ports = usize::from(byte(data, 0)? & 0x0f) * 4;
    let fragment = be16(data, 6)? & 0x1fff;
    let protocol = byte(data, 9)?;
    if ports < 20 || fragment != 0 || (protocol != TCP && protocol != UDP) {
        return None;
    }
    between(data, 12, 4, ports, protocol)
}

fn parse_v6(data: &[u8]) -> Option<Segment> {
    if data.len() < 40 {
        return None;
    }
    let mut kind = byte(data, 6)?;
    let mut at = 40;
    for _ in 0..EXTENSIONS_MAX {
        if kind == TCP || kind == UDP {
            break;
        }
        if at + 8 > data.len() {
            return None;
        }
        let units = usize::from(byte(data, at + 1)?);
        let length = match kind {
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6.
            0 | 43 | 60 | 135 | 139 | 140 => 8 + units * 8,
            AUTHENTICATION => 8 + units * 4,
            FRAGMENT if be16(data, at + 2)? & 0xfff8 == 0 => 8,
            _ => return None,
        };
        kind = byte(data, at)?;
        at += length;
    }
    if kind != TCP && kind != UDP {
        return None;
    }
    between(data, 8, 16, at, kind)
}

fn between(
    data: &[u8],
    addresses: usize,
    length: usize,
    ports: usize,
    protocol: u8,
) -> Option<Segment> {
    let middle = addresses + length;
    Some(Segment {
        source: Address::new(data.get(addresses..middle)?)?,
        destination: Address::new(data.get(middle..middle + length)?)?,
        source_port: be16(data, ports)?,
        port: be16(data, ports + 2)?,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut data = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0];
        data.extend([10, 78, 1, 2, 10, 78, 2, 3, 0x9c, 0x40, 0x01, 0xbb]);
        data
    }

    fn ipv6(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut data = vec![0x60, 0, 0, 0, 0, 0, first, 64];
        data.extend([1; 16]);
        data.extend([2; 16]);
        data.extend(rest);
        data
    }

    #[test]
    fn ends_of_ipv4_are_found() {
        for protocol in [TCP, UDP] {
            let found = parse_segment(&ipv4(protocol)).unwrap();
            assert_eq!((found.source_port, found.port, found.protocol), (40_000, 443, protocol));
            assert_eq!(found.source.packed(), &[10, 78, 1, 2]);
        }
        assert_eq!(parse_segment(&ipv4(1)), None);
    }

    #[test]
    fn ends_of_ipv6_are_found_behind_extension_headers() {
        let mut rest = vec![43, 0, 0, 0, 0, 0, 0, 0, TCP, 1];
        rest.extend([0; 14]);
        rest.extend([0x9c, 0x40, 0x01, 0xbb]);
        let found = parse_segment(&ipv6(0, &rest)).unwrap();
        assert_eq!((found.source_port, found.port), (40_000, 443));
        let fragment = [UDP, 0, 0, 1, 0, 0, 0, 9, 0, 1, 0, 2];
        assert_eq!(parse_segment(&ipv6(44, &fragment)).unwrap().port, 2);
        let later = [UDP, 0, 0, 8, 0, 0, 0, 9, 0, 1, 0, 2];
        assert_eq!(parse_segment(&ipv6(44, &later)), None);
    }

    #[test]
    fn no_truncation_and_no_fragment_has_ports() {
        let whole = ipv4(TCP);
        for length in 0..whole.len() {
            assert_eq!(parse_segment(&whole[..length]), None);
        }
        let mut fragment = ipv4(TCP);
        fragment[7] = 1;
        assert_eq!(parse_segment(&fragment), None);
    }

    #[test]
    fn a_chain_without_end_is_given_up() {
        let header = [60, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse_segment(&ipv6(60, &header.repeat(70))), None);
    }
}
