//! What the daemon tells the loop: the same records as `core/observations.py`.

use crate::address::Address;
use crate::limits::{
    ADDRESS_CANDIDATES_MAX, TABLE_ADDRESSES_MAX, TABLE_CGROUPS_MAX, TABLE_HOST_ADDRESSES_MAX,
};
use crate::msgpack::{Malformed, Reader, Result};
use crate::tables::{
    read_address, read_addresses, read_behind, read_candidate, read_classes, read_listeners,
    read_members, read_memberships, read_named, read_peers, read_places, Behind, Candidate, Class,
    Listeners, Members, Membership, Named, Peers, Place,
};

pub enum Order {
    Use { generation: u64 },
    Prepare { version: u64 },
    Cgroups { put: Named, drop: Vec<u64> },
    Looked { number: u64, owners: Vec<(u64, Candidate)> },
    Endpoints(Endpoints),
    Room { number: u64, addresses: Vec<Address> },
    Confirm { number: u64 },
}

/// What has changed of endpoints.
#[derive(Default)]
pub struct Endpoints {
    pub classes: Vec<Class>,
    pub put: Behind,
    pub drop: Vec<Address>,
    pub listeners: Option<Listeners>,
    pub host_addresses: Option<Vec<Address>>,
    pub peers: Peers,
    pub gone: Vec<Place>,
    pub members: Members,
    pub left: Vec<Membership>,
}

impl Order {
    /// Read one record. Candidates must be of the judge's `classes`, or of those that come along;
    /// rules must be among its `rules`.
    pub fn read(data: &[u8], rules: usize, classes: usize) -> Result<Order> {
        let mut reader = Reader::new(data);
        let length = reader.array()?;
        let order = match (reader.unsigned()?, length) {
            (0, 2) => Order::Use { generation: reader.unsigned()? },
            (1, 2) => Order::Prepare { version: reader.unsigned()? },
            (2, 3) => Order::Cgroups {
                put: read_named(&mut reader, classes)?,
                drop: reader.list(TABLE_CGROUPS_MAX, |one| one.unsigned())?,
            },
            (3, 3) => Order::Looked {
                number: reader.unsigned()?,
                owners: reader.list(TABLE_ADDRESSES_MAX, |one| {
                    one.tuple(2)?;
                    Ok((one.unsigned()?, read_candidate(one, classes)?))
                })?,
            },
            (4, 10) => Order::Endpoints(read_endpoints(&mut reader, rules, classes)?),
            (5, 3) => Order::Room {
                number: reader.unsigned()?,
                addresses: read_addresses(&mut reader, ADDRESS_CANDIDATES_MAX)?,
            },
            (6, 2) => Order::Confirm { number: reader.unsigned()? },
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(order)
    }
}

fn read_endpoints(reader: &mut Reader, rules: usize, classes: usize) -> Result<Endpoints> {
    let more = read_classes(reader, rules)?;
    let known = classes + more.len();
    Ok(Endpoints {
        classes: more,
        put: read_behind(reader, known)?,
        drop: reader.list(TABLE_ADDRESSES_MAX, read_address)?,
        listeners: match reader.nil() {
            true => None,
            false => Some(read_listeners(reader, known)?),
        },
        host_addresses: match reader.nil() {
            true => None,
            false => Some(read_addresses(reader, TABLE_HOST_ADDRESSES_MAX)?),
        },
        peers: read_peers(reader, known)?,
        gone: read_places(reader)?,
        members: read_members(reader, known)?,
        left: read_memberships(reader)?,
    })
}
