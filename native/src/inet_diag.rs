//! inet_diag: the kernel's own answer to "whose socket is this?", as bytes. The same as
//! `netlink/inet_diag.py`; from `linux/inet_diag.h`, `linux/sock_diag.h`.

use crate::address::Address;
use crate::bytes::{ne16, ne32, ne64};
use crate::segment::{Segment, UDP};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const TCP_SYN_SENT: u32 = 2;

const MESSAGE_BYTES: usize = 72;
const CGROUP_ID: u16 = 21;

/// A local socket: its inode, and its v2 cgroup's id (0: not known).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Socket {
    pub inode: u32,
    pub cgroup: u64,
}

fn begin(flags: u16, sequence: u32, family: u8, protocol: u8, states: u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(88);
    data.extend_from_slice(&[0; 4]);
    data.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    data.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    data.extend_from_slice(&sequence.to_ne_bytes());
    data.extend_from_slice(&[0; 4]);
    data.extend_from_slice(&[family, protocol, 0, 0]);
    data.extend_from_slice(&states.to_ne_bytes());
    data
}

fn push_id(data: &mut Vec<u8>, ends: [(Address, u16); 2], device: u32) {
    for (_, port) in ends {
        data.extend_from_slice(&port.to_be_bytes());
    }
    for (address, _) in ends {
        let mut wide = [0; 16];
        for (to, from) in wide.iter_mut().zip(address.packed()) {
            *to = *from;
        }
        data.extend_from_slice(&wide);
    }
    data.extend_from_slice(&device.to_ne_bytes());
    // No cookie.
    data.extend_from_slice(&[0xff; 8]);
}

fn finish(mut data: Vec<u8>) -> Vec<u8> {
    let length = (data.len() as u32).to_ne_bytes();
    for (to, from) in data.iter_mut().zip(length) {
        *to = from;
    }
    data
}

/// Ask for the socket with exactly these ends; `device` is the interface it is bound to.
///
/// An IPv4 question also finds IPv6 sockets that speak IPv4 (mapped addresses). For UDP the kernel
/// looks for the socket that would receive from "source" on "destination": the ends are swapped
/// "for historical reasons" (udp_diag.c, udp_dump_one).
pub fn exact(sequence: u32, ends: &Segment, device: u32) -> Vec<u8> {
    let family = if ends.source.is_v4() { AF_INET } else { AF_INET6 };
    let (local, remote) = ((ends.source, ends.source_port), (ends.destination, ends.port));
    let mut data = begin(0, sequence, family, ends.protocol, u32::MAX);
    let pair = if ends.protocol == UDP { [remote, local] } else { [local, remote] };
    push_id(&mut data, pair, device);
    finish(data)
}

/// Ask for the TCP sockets that are connecting from this port; the kernel does the filtering.
pub fn connecting_from(sequence: u32, family: u8, source_port: u16) -> Vec<u8> {
    let mut data = begin(DUMP, sequence, family, TCP, 1 << TCP_SYN_SENT);
    push_id(&mut data, [(Address::ANY, 0); 2], 0);
    // One comparison (INET_DIAG_BC_S_EQ): equal -> 8 bytes on, which is the end (accept); else 12,
    // past it (reject). The port is in the second operation's last field.
    data.extend_from_slice(&12u16.to_ne_bytes());
    data.extend_from_slice(&1u16.to_ne_bytes());
    data.extend_from_slice(&[11, 8]);
    data.extend_from_slice(&12u16.to_ne_bytes());
    data.extend_from_slice(&[0, 0]);
    data.extend_from_slice(&source_port.to_ne_bytes());
    finish(data)
}

/// What a datagram of answers says to the question of this number.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many sockets, and the last of them.
    pub count: usize,
    pub socket: Socket,
    /// There is no more to come: an error, or a dump's end.
    pub done: bool,
}

/// Add what a datagram says. `false` when it can't be read.
pub fn read_answers(data: &[u8], sequence: u32, answer: &mut Answer) -> bool {
    let mut at = 0;
    while at < data.len() {
        match read_answer(data, at, sequence, answer) {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

fn read_answer(data: &[u8], at: usize, sequence: u32, answer: &mut Answer) -> Option<usize> {
    let length = ne32(data, at)? as usize;
    let (kind, number) = (ne16(data, at + 4)?, ne32(data, at + 8)?);
    let payload = data.get(at + 16..at.checked_add(length)?)?;
    if number == sequence {
        if kind == NLMSG_ERROR || kind == NLMSG_DONE {
            answer.done = true;
        } else {
            answer.socket = decode_socket(payload)?;
            answer.count += 1;
        }
    }
    Some(at + ((length + 3) & !3))
}

fn decode_socket(payload: &[u8]) -> Option<Socket> {
    let mut socket = Socket { inode: ne32(payload, 68)?, cgroup: 0 };
    let mut at = MESSAGE_BYTES;
    while at + 4 <= payload.len() {
        let (size, kind) = (usize::from(ne16(payload, at)?), ne16(payload, at + 2)?);
        if size < 4 {
            return None;
        }
        payload.get(at..at + size)?;
        if kind == CGROUP_ID && size == 12 {
            socket.cgroup = ne64(payload, at + 4)?;
        }
        at += (size + 3) & !3;
    }
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sequence: u32, attributes: &[u8]) -> Vec<u8> {
        let mut data = ((16 + MESSAGE_BYTES + attributes.len()) as u32).to_ne_bytes().to_vec();
        data.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        data.extend([0; 2]);
        data.extend(sequence.to_ne_bytes());
        data.extend([0; 4]);
        data.extend([0; 68]);
        data.extend(4711u32.to_ne_bytes());
        data.extend(attributes);
        data
    }

    fn cgroup() -> Vec<u8> {
        [&12u16.to_ne_bytes()[..], &21u16.to_ne_bytes(), &99u64.to_ne_bytes()].concat()
    }

    #[test]
    fn the_answer_to_this_question_is_taken() {
        let data = [answer(6, &[]), answer(7, &cgroup())].concat();
        let mut found = Answer::default();
        assert!(read_answers(&data, 7, &mut found));
        assert_eq!((found.count, found.socket), (1, Socket { inode: 4711, cgroup: 99 }));
        assert!(!found.done);
    }

    #[test]
    fn no_truncation_panics() {
        let data = answer(7, &cgroup());
        for length in 1..data.len() {
            assert!(!read_answers(&data[..length], 7, &mut Answer::default()));
        }
    }

    #[test]
    fn questions_have_their_length() {
        let ends = Segment {
            source: Address::new(&[10, 0, 0, 1]).unwrap(),
            destination: Address::new(&[10, 0, 0, 2]).unwrap(),
            source_port: 1,
            port: 2,
            protocol: TCP,
        };
        let data = exact(1, &ends, 0);
        assert_eq!((data.len(), ne32(&data, 0)), (72, Some(72)));
        assert_eq!(&data[24..28], &[0, 1, 0, 2]);
        let swapped = exact(1, &Segment { protocol: UDP, ..ends }, 0);
        assert_eq!(&swapped[24..28], &[0, 2, 0, 1]);
        assert_eq!(connecting_from(1, AF_INET, 9).len(), 84);
    }
}
