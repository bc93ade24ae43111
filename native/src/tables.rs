//! What the loop judges by, out of the daemon's bytes: the same form and the same checks as
//! `core/tables.py`. Tables that are not whole are refused whole.

use crate::address::Address;
use crate::limits::*;
use crate::msgpack::{Malformed, Reader, Result};
use crate::rules::RuleSet;

pub const ALLOW: u8 = 0;
pub const ALERT: u8 = 1;
pub const PREVENT: u8 = 2;

/// A candidate who may be anybody; no class has its number.
pub const ANYONE: Candidate = 2 * TABLE_CLASSES_MAX as Candidate;

/// The rules whose source, and those whose destination, match an identity.
#[derive(Default)]
pub struct Class {
    pub source: RuleSet,
    pub destination: RuleSet,
}

impl Class {
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.destination.is_empty()
    }
}

/// One who may stand behind an address: `class * 2 + is_container`.
pub type Candidate = u32;

/// Addresses and who may stand behind each.
pub type Behind = Vec<(Address, Vec<Candidate>)>;
/// Port, address or any, and who listens there.
pub type Listeners = Vec<(u16, Address, Candidate, u16)>;
/// An end elsewhere: address, port and protocol; without the latter two where one connects from.
pub type Place = (Address, u16, u8);
/// Ends elsewhere, who stands there, and the port of theirs that it leads to (0: the same).
pub type Peers = Vec<(Place, Vec<Candidate>, u16)>;
/// Whom DNS told, an address or any for this host, of what address.
pub type Membership = (Address, Address);
/// Ends with names, and the class of those.
pub type Members = Vec<(Membership, u32)>;
/// Cgroup id and whom it names.
pub type Named = Vec<(u64, Candidate)>;

/// See `core/tables.py` for what each part means.
pub struct Tables {
    pub version: u64,
    pub containers: bool,
    pub hosts: bool,
    pub container_rules: usize,
    pub effects: Vec<u8>,
    pub tcp: RuleSet,
    pub udp: RuleSet,
    pub any: Class,
    pub port_starts: Vec<u16>,
    pub port_rules: Vec<RuleSet>,
    pub classes: Vec<Class>,
    pub starts4: Vec<u128>,
    pub classes4: Vec<u32>,
    pub starts6: Vec<u128>,
    pub classes6: Vec<u32>,
    pub addresses: Behind,
    pub listeners: Listeners,
    pub cgroups: Named,
    pub host: Candidate,
    pub host_addresses: Vec<Address>,
    pub networks: Vec<(Address, Address)>,
    pub hold_ms: u64,
    pub wait_ms: u64,
    pub holds_per_second: u64,
    pub peers: Peers,
    pub by_name: Class,
    pub private: Vec<(Address, Address)>,
    pub stranger_ms: u64,
    pub members: Members,
    pub by_dns: Class,
}

const FIELDS: usize = 31;

impl Tables {
    /// What is judged by before the first tables have come: everything is let through.
    pub fn none() -> Tables {
        Tables {
            version: 0,
            containers: false,
            hosts: false,
            container_rules: 0,
            effects: Vec::new(),
            tcp: RuleSet::default(),
            udp: RuleSet::default(),
            any: Class::default(),
            port_starts: vec![0],
            port_rules: vec![RuleSet::default()],
            classes: vec![Class::default()],
            starts4: vec![0],
            classes4: vec![0],
            starts6: vec![0],
            classes6: vec![0],
            addresses: Vec::new(),
            listeners: Vec::new(),
            cgroups: Vec::new(),
            host: 0,
            host_addresses: Vec::new(),
            networks: Vec::new(),
            hold_ms: 0,
            wait_ms: 0,
            holds_per_second: 0,
            peers: Vec::new(),
            by_name: Class::default(),
            private: Vec::new(),
            stranger_ms: 0,
            members: Vec::new(),
            by_dns: Class::default(),
        }
    }

    pub fn read(data: &[u8]) -> Result<Tables> {
        let mut reader = Reader::new(data);
        reader.tuple(FIELDS)?;
        let version = reader.unsigned()?;
        let (containers, hosts) = (reader.boolean()?, reader.boolean()?);
        let container_rules = reader.up_to(TABLE_RULES_MAX)?;
        let effects = reader.bytes()?.to_vec();
        let rules = effects.len();
        require(rules <= TABLE_RULES_MAX && container_rules <= rules)?;
        require(effects.iter().all(|effect| *effect <= PREVENT))?;
        let mut set = |reader: &mut Reader| RuleSet::read(reader.bytes()?, rules);
        let (tcp, udp) = (set(&mut reader)?, set(&mut reader)?);
        let any = Class { source: set(&mut reader)?, destination: set(&mut reader)? };
        let port_starts = reader.list(65_536, |one| Ok(one.up_to(65_535)? as u16))?;
        let port_rules = reader.list(65_536, &mut set)?;
        require(port_starts.first() == Some(&0) && ascending(&port_starts))?;
        require(port_starts.len() == port_rules.len())?;
        let classes = read_classes(&mut reader, rules)?;
        require(!classes.is_empty())?;
        let known = classes.len();
        let (starts4, classes4) = read_stretches(&mut reader, 4, known)?;
        let (starts6, classes6) = read_stretches(&mut reader, 16, known)?;
        let tables = Tables {
            version,
            containers,
            hosts,
            container_rules,
            effects,
            tcp,
            udp,
            any,
            port_starts,
            port_rules,
            classes,
            starts4,
            classes4,
            starts6,
            classes6,
            addresses: read_behind(&mut reader, known)?,
            listeners: read_listeners(&mut reader, known)?,
            cgroups: read_named(&mut reader, known)?,
            host: read_candidate(&mut reader, known)?,
            host_addresses: read_addresses(&mut reader, TABLE_HOST_ADDRESSES_MAX)?,
            networks: reader.list(TABLE_NETWORKS_MAX, read_network)?,
            hold_ms: reader.up_to(HOLD_MS_MAX as usize)? as u64,
            wait_ms: reader.up_to(HOLD_MS_MAX as usize)? as u64,
            holds_per_second: reader.unsigned()?,
            peers: read_peers(&mut reader, known)?,
            by_name: read_class(&mut reader, rules)?,
            private: reader.list(TABLE_NETWORKS_MAX, read_network)?,
            stranger_ms: reader.up_to(STRANGER_DELAY_MS_MAX as usize)? as u64,
            members: read_members(&mut reader, known)?,
            by_dns: read_class(&mut reader, rules)?,
        };
        reader.end()?;
        Ok(tables)
    }
}

pub fn require(holds: bool) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Malformed)
    }
}

pub fn read_classes(reader: &mut Reader, rules: usize) -> Result<Vec<Class>> {
    reader.list(TABLE_CLASSES_MAX, |one| read_class(one, rules))
}

fn read_class(reader: &mut Reader, rules: usize) -> Result<Class> {
    reader.tuple(2)?;
    let source = RuleSet::read(reader.bytes()?, rules)?;
    Ok(Class { source, destination: RuleSet::read(reader.bytes()?, rules)? })
}

/// A candidate of one of the `known` classes.
pub fn read_candidate(reader: &mut Reader, known: usize) -> Result<Candidate> {
    let candidate = reader.up_to(2 * TABLE_CLASSES_MAX)?;
    require(candidate / 2 < known)?;
    Ok(candidate as Candidate)
}

pub fn read_address(reader: &mut Reader) -> Result<Address> {
    Address::new(reader.bytes()?).ok_or(Malformed)
}

pub fn read_addresses(reader: &mut Reader, most: usize) -> Result<Vec<Address>> {
    reader.list(most, read_address)
}

pub fn read_behind(reader: &mut Reader, known: usize) -> Result<Behind> {
    reader.list(TABLE_ADDRESSES_MAX, |one| {
        one.tuple(2)?;
        let address = read_address(one)?;
        let who = one.list(ADDRESS_CANDIDATES_MAX, |who| read_candidate(who, known))?;
        require(!who.is_empty())?;
        Ok((address, who))
    })
}

pub fn read_peers(reader: &mut Reader, known: usize) -> Result<Peers> {
    reader.list(TABLE_PEERS_MAX, |one| {
        one.tuple(5)?;
        let place = read_place_parts(one)?;
        let who = one.list(ADDRESS_CANDIDATES_MAX, |who| {
            let candidate = who.up_to(ANYONE as usize)? as Candidate;
            require(candidate == ANYONE || (candidate as usize) / 2 < known)?;
            Ok(candidate)
        })?;
        require(!who.is_empty())?;
        Ok((place, who, one.up_to(65_535)? as u16))
    })
}

pub fn read_places(reader: &mut Reader) -> Result<Vec<Place>> {
    reader.list(TABLE_PEERS_MAX, |one| {
        one.tuple(3)?;
        read_place_parts(one)
    })
}

fn read_place_parts(reader: &mut Reader) -> Result<Place> {
    let address = read_address(reader)?;
    Ok((address, reader.up_to(65_535)? as u16, reader.up_to(255)? as u8))
}

pub fn read_members(reader: &mut Reader, known: usize) -> Result<Members> {
    reader.list(TABLE_MEMBERS_MAX, |one| {
        one.tuple(3)?;
        let membership = read_membership_parts(one)?;
        let class = one.up_to(TABLE_CLASSES_MAX)?;
        require(class < known)?;
        Ok((membership, class as u32))
    })
}

pub fn read_memberships(reader: &mut Reader) -> Result<Vec<Membership>> {
    reader.list(TABLE_MEMBERS_MAX, |one| {
        one.tuple(2)?;
        read_membership_parts(one)
    })
}

fn read_membership_parts(reader: &mut Reader) -> Result<Membership> {
    Ok((read_address_or_any(reader)?, read_address(reader)?))
}

fn read_address_or_any(reader: &mut Reader) -> Result<Address> {
    match reader.bytes()? {
        [] => Ok(Address::ANY),
        packed => Address::new(packed).ok_or(Malformed),
    }
}

pub fn read_listeners(reader: &mut Reader, known: usize) -> Result<Listeners> {
    reader.list(TABLE_LISTENERS_MAX, |one| {
        one.tuple(4)?;
        let port = one.up_to(65_535)? as u16;
        let address = read_address_or_any(one)?;
        Ok((port, address, read_candidate(one, known)?, one.up_to(65_535)? as u16))
    })
}

pub fn read_named(reader: &mut Reader, known: usize) -> Result<Named> {
    reader.list(TABLE_CGROUPS_MAX, |one| {
        one.tuple(2)?;
        Ok((one.unsigned()?, read_candidate(one, known)?))
    })
}

fn read_network(reader: &mut Reader) -> Result<(Address, Address)> {
    reader.tuple(2)?;
    let (first, last) = (read_address(reader)?, read_address(reader)?);
    require(first.is_v4() == last.is_v4() && first <= last)?;
    Ok((first, last))
}

/// First addresses of stretches, ascending from 0, and the class of each.
fn read_stretches(
    reader: &mut Reader,
    length: usize,
    known: usize,
) -> Result<(Vec<u128>, Vec<u32>)> {
    let packed = reader.bytes()?;
    require(packed.len() % length == 0 && packed.len() / length <= TABLE_STRETCHES_MAX)?;
    let starts: Vec<u128> = packed
        .chunks_exact(length)
        .filter_map(Address::new)
        .map(|address| address.number())
        .collect();
    let classes =
        reader.list(TABLE_STRETCHES_MAX, |one| Ok(one.up_to(u32::MAX as usize)? as u32))?;
    require(starts.first() == Some(&0) && ascending(&starts) && starts.len() == classes.len())?;
    require(classes.iter().all(|class| (*class as usize) < known))?;
    Ok((starts, classes))
}

fn ascending<T: PartialOrd>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair[0] < pair[1])
}
