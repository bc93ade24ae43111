//! MessagePack, as far as orders, tables and reports need it: a reader that takes nothing on trust,
//! and a writer.
//!
//! https://github.com/msgpack/msgpack/blob/master/spec.md

/// The bytes are not what they should be. Where does not matter: the sender is our own daemon, and
/// an order that can't be read is refused whole and counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

pub type Result<T> = std::result::Result<T, Malformed>;

/// Reads values one after the other. No recursion, and no allocation by what a length says.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { rest: data }
    }

    /// Everything must have been read.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    /// An array's length, which is never more than the bytes that are left: each element has one.
    pub fn array(&mut self) -> Result<usize> {
        let count = match self.byte()? {
            kind @ 0x90..=0x9f => usize::from(kind & 0x0f),
            0xdc => self.big(2)? as usize,
            0xdd => self.big(4)? as usize,
            _ => return Err(Malformed),
        };
        if count > self.rest.len() {
            return Err(Malformed);
        }
        Ok(count)
    }

    /// An array's elements, each read by `element`; at most `most`.
    pub fn list<T>(
        &mut self,
        most: usize,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.array()?;
        if count > most {
            return Err(Malformed);
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(element(self)?);
        }
        Ok(values)
    }

    /// An array of exactly so many elements is what follows.
    pub fn tuple(&mut self, length: usize) -> Result<()> {
        if self.array()? == length {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    pub fn unsigned(&mut self) -> Result<u64> {
        match self.byte()? {
            kind @ 0x00..=0x7f => Ok(u64::from(kind)),
            0xcc => self.big(1),
            0xcd => self.big(2),
            0xce => self.big(4),
            0xcf => self.big(8),
            // Signed forms of numbers that are not negative.
            0xd0 => self.signed(1),
            0xd1 => self.signed(2),
            0xd2 => self.signed(4),
            0xd3 => self.signed(8),
            _ => Err(Malformed),
        }
    }

    /// A number up to `most`.
    pub fn up_to(&mut self, most: usize) -> Result<usize> {
        usize::try_from(self.unsigned()?).ok().filter(|value| *value <= most).ok_or(Malformed)
    }

    pub fn boolean(&mut self) -> Result<bool> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.big(1)?,
            0xc5 => self.big(2)?,
            0xc6 => self.big(4)?,
            _ => return Err(Malformed),
        };
        self.take(length as usize)
    }

    /// Is the next value nil? Then it has been read.
    pub fn nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&0xc0);
        if nil {
            self.rest = self.rest.get(1..).unwrap_or(&[]);
        }
        nil
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.rest.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn big(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, bytes: usize) -> Result<u64> {
        let value = self.big(bytes)?;
        if value >> (bytes * 8 - 1) == 0 {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }
}

/// Appends values to a buffer.
pub struct Writer<'a> {
    to: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn new(to: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { to }
    }

    pub fn array(&mut self, length: usize) {
        if length < 16 {
            self.to.push(0x90 | length as u8);
        } else {
            self.to.push(0xdd);
            self.to.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }

    pub fn unsigned(&mut self, value: u64) {
        if value < 0x80 {
            self.to.push(value as u8);
        } else if value <= 0xffff {
            self.to.push(0xcd);
            self.to.extend_from_slice(&(value as u16).to_be_bytes());
        } else if value <= 0xffff_ffff {
            self.to.push(0xce);
            self.to.extend_from_slice(&(value as u32).to_be_bytes());
        } else {
            self.to.push(0xcf);
            self.to.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub fn signed(&mut self, value: i64) {
        if value >= 0 {
            self.unsigned(value as u64);
        } else if value >= -32 {
            self.to.push(value as u8);
        } else {
            self.to.push(0xd3);
            self.to.extend_from_slice(&value.to_be_bytes());
        }
    }

    /// At most 255 bytes; addresses have 16.
    pub fn bytes(&mut self, value: &[u8]) {
        self.to.push(0xc4);
        self.to.push(value.len() as u8);
        self.to.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let numbers = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, u64::MAX];
        let mut data = Vec::new();
        let mut writer = Writer::new(&mut data);
        writer.array(numbers.len() + 20);
        numbers.iter().for_each(|number| writer.unsigned(*number));
        writer.bytes(&[1, 2, 3]);
        writer.signed(-1);
        let mut reader = Reader::new(&data);
        // The length promises more elements than there are, but not more than bytes.
        assert_eq!(reader.array(), Ok(numbers.len() + 20));
        for number in numbers {
            assert_eq!(reader.unsigned(), Ok(number));
        }
        assert_eq!(reader.bytes(), Ok(&[1u8, 2, 3][..]));
        assert_eq!(reader.unsigned(), Err(Malformed));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn no_length_is_believed() {
        for data in [&[0xddu8, 255, 255, 255, 255, 1][..], &[0xc6, 255, 255, 255, 255, 1], &[0xc4]]
        {
            assert_eq!(Reader::new(data).list(usize::MAX, |one| one.unsigned()), Err(Malformed));
            assert_eq!(Reader::new(data).bytes(), Err(Malformed));
        }
    }

    #[test]
    fn negative_numbers_are_refused() {
        for data in [&[0xffu8][..], &[0xd0, 0x80], &[0xd3, 255, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Reader::new(data).unsigned(), Err(Malformed));
        }
        assert_eq!(Reader::new(&[0xd1, 0x7f, 0xff]).unsigned(), Ok(0x7fff));
    }
}
