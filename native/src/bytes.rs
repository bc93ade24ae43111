//! Numbers out of bytes that come from outside: every reading says whether it was there.

fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub fn be16(data: &[u8], at: usize) -> Option<u16> {
    array(data, at).map(u16::from_be_bytes)
}

pub fn be32(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_be_bytes)
}

pub fn ne16(data: &[u8], at: usize) -> Option<u16> {
    array(data, at).map(u16::from_ne_bytes)
}

pub fn ne32(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_ne_bytes)
}

pub fn ne64(data: &[u8], at: usize) -> Option<u64> {
    array(data, at).map(u64::from_ne_bytes)
}

pub fn byte(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}
