//! What the daemon tells the loop: the same records as `core/observations.py`.

use crate::address::Address;
use crate::limits::{TABLE_ADDRESSES_MAX, TABLE_CGROUPS_MAX, TABLE_HOST_ADDRESSES_MAX};
use crate::msgpack::{Malformed, Reader, Result};
use crate::tables::{
    read_address, read_addresses, read_behind, read_candidate, read_classes, read_listeners,
    read_named, Behind, Candidate, Class, Listeners, Named,
};

pub enum Order {
    Use {
        generation: u64,
    },
    Prepare {
        version: u64,
    },
    Cgroups {
        put: Named,
        drop: Vec<u64>,
    },
    Looked {
        number: u64,
        owners: Vec<(u64, Candidate)>,
    },
    Endpoints {
        classes: Vec<Class>,
        put: Behind,
        drop: Vec<Address>,
        listeners: Option<Listeners>,
        host_addresses: Option<Vec<Address>>,
    },
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
            (4, 6) => Order::read_endpoints(&mut reader, rules, classes)?,
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(order)
    }

    fn read_endpoints(reader: &mut Reader, rules: usize, classes: usize) -> Result<Order> {
        let more = read_classes(reader, rules)?;
        let known = classes + more.len();
        Ok(Order::Endpoints {
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
        })
    }
}
