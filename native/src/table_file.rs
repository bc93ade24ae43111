//! The memory file in which tables are handed over.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::io::OwnedFd;

use crate::limits::TABLES_BYTES_MAX;
use crate::msgpack::Malformed;

/// The whole file, if it is not too large.
pub fn read_file(file: OwnedFd) -> Result<Vec<u8>, Malformed> {
    let file = File::from(file);
    let mut data = vec![0; 65_536];
    let mut length = 0;
    loop {
        if length == data.len() {
            data.resize((data.len() * 2).min(TABLES_BYTES_MAX + 1), 0);
        }
        let room = data.get_mut(length..).ok_or(Malformed)?;
        match file.read_at(room, length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => return Err(Malformed),
        }
        if length > TABLES_BYTES_MAX {
            return Err(Malformed);
        }
    }
    data.truncate(length);
    Ok(data)
}
