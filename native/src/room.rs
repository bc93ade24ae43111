//! Network namespaces in which several containers live. Their addresses do not tell who connects;
//! the socket does, asked in that namespace. The same as `kernel/shared_rooms.py`.

use std::collections::HashMap;
use std::os::unix::io::OwnedFd;

use crate::address::Address;
use crate::inet_diag::Socket;
use crate::limits::SHARED_ROOMS_MAX;
use crate::msgpack::Result;
use crate::owner::SocketOwner;
use crate::segment::Segment;
use crate::tables::require;

#[derive(Default)]
pub struct Rooms {
    owners: HashMap<u64, SocketOwner>,
    addresses: HashMap<Address, u64>,
}

impl Rooms {
    /// A namespace's addresses, and a socket that was opened in there; neither: it is no more.
    pub fn take(
        &mut self,
        number: u64,
        addresses: &[Address],
        file: Option<OwnedFd>,
    ) -> Result<()> {
        require(addresses.is_empty() == file.is_none())?;
        require(self.owners.len() < SHARED_ROOMS_MAX || self.owners.contains_key(&number))?;
        self.owners.remove(&number);
        self.addresses.retain(|_, room| *room != number);
        if let Some(file) = file {
            self.owners.insert(number, SocketOwner::asking(file));
            self.addresses.extend(addresses.iter().map(|address| (address.plain(), number)));
        }
        Ok(())
    }

    pub fn share(&self, address: Address) -> bool {
        !self.addresses.is_empty() && self.addresses.contains_key(&address.plain())
    }

    /// The socket of a packet that comes from there, if it can be told.
    pub fn find(&mut self, ends: &Segment) -> Option<Socket> {
        let number = self.addresses.get(&ends.source.plain())?;
        self.owners.get_mut(number)?.find(ends, 0)
    }
}
