//! nfnetlink_queue: packets out of the kernel, verdicts back in. The same as `netlink/nfqueue.py`;
//! from `linux/netfilter/nfnetlink_queue.h`.

use crate::bytes::{be32, byte, ne16, ne32};

const PACKET: u16 = 3 << 8;
const VERDICT: u16 = 3 << 8 | 1;
const NLMSG_ERROR: u16 = 2;
const ENOENT: i32 = 2;

pub const NF_DROP: u32 = 0;
/// The hook that asked is run once more, now with the answer in the packet's mark: the nft table
/// remembers, refuses or lets pass by it, and puts the mark back.
pub const NF_REPEAT: u32 = 4;

/// `enum nf_inet_hooks`.
pub const INPUT: u8 = 1;
pub const OUTPUT: u8 = 3;

/// One verdict with a mark: header 20, verdict attribute 12, mark attribute 8.
pub const VERDICT_BYTES: usize = 40;

/// A packet that waits for its verdict, with the place of its payload in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuedPacket<'a> {
    pub id: u32,
    pub hook: u8,
    pub mark: u32,
    pub out_device: u32,
    /// -1 when the kernel did not say.
    pub uid: i64,
    /// Empty when there is none, or it does not fit.
    pub payload: &'a [u8],
}

/// What a message of the queue is.
#[derive(PartialEq, Eq, Debug)]
pub enum Message<'a> {
    Packet(QueuedPacket<'a>),
    /// The kernel's word that a packet had gone before its verdict came (its device went down).
    Gone,
    /// Nothing that could be answered.
    Unexpected,
}

/// Read one message. Whatever its lengths say, nothing beyond `data` is read.
pub fn decode(data: &[u8]) -> Message<'_> {
    decode_message(data).unwrap_or(Message::Unexpected)
}

fn decode_message(data: &[u8]) -> Option<Message<'_>> {
    if data.len() < 20 {
        return None;
    }
    let kind = ne16(data, 4)?;
    if kind == NLMSG_ERROR {
        let gone = ne32(data, 16)? as i32 == -ENOENT;
        return Some(if gone { Message::Gone } else { Message::Unexpected });
    }
    if kind != PACKET {
        return None;
    }
    let data = data.get(..(ne32(data, 0)? as usize).min(data.len()))?;
    let mut id = None;
    let mut packet = QueuedPacket { id: 0, hook: 0, mark: 0, out_device: 0, uid: -1, payload: &[] };
    let mut at = 20;
    while at + 4 <= data.len() {
        let size = usize::from(ne16(data, at)?);
        let kind = ne16(data, at + 2)? & 0x3fff;
        if size < 4 {
            break;
        }
        let value = match data.get(at + 4..at + size) {
            Some(value) => value,
            None => break,
        };
        match kind {
            10 => packet.payload = value,
            1 if value.len() >= 7 => {
                id = be32(value, 0);
                packet.hook = byte(value, 6)?;
            }
            3 if value.len() >= 4 => packet.mark = be32(value, 0)?,
            6 if value.len() >= 4 => packet.out_device = be32(value, 0)?,
            16 if value.len() >= 4 => packet.uid = i64::from(be32(value, 0)?),
            _ => (),
        }
        at += (size + 3) & !3;
    }
    packet.id = id?;
    Some(Message::Packet(packet))
}

/// Append the answer to one packet, with its whole new mark.
pub fn push_verdict(to: &mut Vec<u8>, queue: u16, id: u32, decision: u32, mark: u32) {
    to.extend_from_slice(&(VERDICT_BYTES as u32).to_ne_bytes());
    to.extend_from_slice(&VERDICT.to_ne_bytes());
    // NLM_F_REQUEST, sequence 0, port id 0, AF_UNSPEC, version 0.
    to.extend_from_slice(&1u16.to_ne_bytes());
    to.extend_from_slice(&[0; 10]);
    to.extend_from_slice(&queue.to_be_bytes());
    to.extend_from_slice(&12u16.to_ne_bytes());
    to.extend_from_slice(&2u16.to_ne_bytes());
    to.extend_from_slice(&decision.to_be_bytes());
    to.extend_from_slice(&id.to_be_bytes());
    to.extend_from_slice(&8u16.to_ne_bytes());
    to.extend_from_slice(&3u16.to_ne_bytes());
    to.extend_from_slice(&mark.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut data = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        data.extend(kind.to_ne_bytes());
        data.extend(value);
        data.resize((data.len() + 3) & !3, 0);
        data
    }

    fn message(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        let body = parts.concat();
        let mut data = ((body.len() + 20) as u32).to_ne_bytes().to_vec();
        data.extend(kind.to_ne_bytes());
        data.extend([0; 14]);
        data.extend(body);
        data
    }

    fn parts() -> Vec<Vec<u8>> {
        vec![
            attribute(1, &[0, 0, 0, 77, 8, 0, OUTPUT]),
            attribute(3, &0xc0ff_ee00u32.to_be_bytes()),
            attribute(6, &5u32.to_be_bytes()),
            attribute(16, &1000u32.to_be_bytes()),
            attribute(10, b"EEEE"),
        ]
    }

    #[test]
    fn a_packet_is_decoded() {
        let data = message(PACKET, &parts());
        let expected = QueuedPacket {
            id: 77,
            hook: OUTPUT,
            mark: 0xc0ff_ee00,
            out_device: 5,
            uid: 1000,
            payload: b"EEEE",
        };
        assert_eq!(decode(&data), Message::Packet(expected));
    }

    #[test]
    fn every_truncation_is_unexpected_or_has_the_id() {
        let data = message(PACKET, &parts());
        for length in 0..data.len() {
            match decode(&data[..length]) {
                Message::Packet(packet) => assert_eq!(packet.id, 77),
                Message::Unexpected => assert!(length < 31),
                Message::Gone => panic!("length {length}"),
            }
        }
    }

    #[test]
    fn only_a_vanished_packet_is_gone() {
        let mut data = message(NLMSG_ERROR, &[]);
        data[16..20].copy_from_slice(&(-ENOENT).to_ne_bytes());
        assert_eq!(decode(&data), Message::Gone);
        data[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(decode(&data), Message::Unexpected);
    }

    #[test]
    fn a_verdict_has_its_length() {
        let mut to = Vec::new();
        push_verdict(&mut to, 8030, 77, NF_REPEAT, 1);
        assert_eq!(to.len(), VERDICT_BYTES);
        assert_eq!(be32(&to, 28), Some(77));
    }
}
