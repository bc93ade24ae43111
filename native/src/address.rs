//! Addresses as they stand in packets: 4 or 16 bytes, or none (any).

use std::hash::{Hash, Hasher};

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// A packed address. Unused bytes are 0, so that equal addresses are equal values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    length: u8,
    bytes: [u8; 16],
}

impl Address {
    pub const ANY: Address = Address { length: 0, bytes: [0; 16] };

    /// The address in these 4 or 16 bytes; `None` for any other length.
    pub fn new(packed: &[u8]) -> Option<Address> {
        match packed.len() {
            4 | 16 => {
                let mut bytes = [0; 16];
                for (to, from) in bytes.iter_mut().zip(packed) {
                    *to = *from;
                }
                Some(Address { length: packed.len() as u8, bytes })
            }
            _ => None,
        }
    }

    pub fn packed(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    pub fn is_v4(&self) -> bool {
        self.length == 4
    }

    /// An IPv4-mapped IPv6 address is that IPv4 address.
    pub fn plain(self) -> Address {
        if self.length == 16 && self.bytes.starts_with(&MAPPED) {
            if let Some(plain) = self.bytes.get(12..).and_then(Address::new) {
                return plain;
            }
        }
        self
    }

    /// 127.0.0.0/8 and ::1.
    pub fn is_loopback(&self) -> bool {
        if self.is_v4() {
            self.bytes[0] == 127
        } else {
            u128::from_be_bytes(self.bytes) == 1
        }
    }

    /// Its place among the addresses of its length. An IPv4 address is in the highest 32 bits.
    pub fn number(&self) -> u128 {
        u128::from_be_bytes(self.bytes)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.bytes);
        state.write_u8(self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_addresses_are_taken() {
        for length in 0..20 {
            assert_eq!(Address::new(&vec![1; length]).is_some(), length == 4 || length == 16);
        }
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[255, 255, 10, 0, 0, 1]);
        let four = Address::new(&[10, 0, 0, 1]).unwrap();
        assert_eq!(Address::new(&mapped).unwrap().plain(), four);
        assert_eq!(four.plain(), four);
        mapped[9] = 1;
        assert_eq!(Address::new(&mapped).unwrap().plain().packed(), &mapped[..]);
    }

    #[test]
    fn loopback_is_known() {
        let mut six = [0; 16];
        six[15] = 1;
        assert!(Address::new(&six).unwrap().is_loopback());
        assert!(Address::new(&[127, 9, 9, 9]).unwrap().is_loopback());
        assert!(!Address::new(&[128, 0, 0, 1]).unwrap().is_loopback());
        assert!(!Address::new(&[0; 16]).unwrap().is_loopback());
    }
}
