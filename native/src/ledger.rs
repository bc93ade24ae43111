//! What the loop keeps between two reports: how many SYNs of which flow it has answered, and how.
//! The same as `core/ledger.py`.

use std::collections::HashMap;

use crate::address::Address;
use crate::limits::LOOP_FLOWS_MAX;
use crate::msgpack::Writer;

/// What makes two SYNs the same flow here. The source is empty and the inode 0 where the cgroup
/// names a service. `rule` is one of the tables of this `version`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub version: u64,
    pub hook: u8,
    pub protocol: u8,
    pub source: Address,
    pub destination: Address,
    pub port: u16,
    pub cgroup: u64,
    pub inode: u32,
    pub effect: u8,
    pub rule: i64,
}

/// One flow's count, and an example of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub key: Key,
    pub inode: u32,
    pub uid: i64,
    pub source_port: u16,
    pub count: u64,
    pub first_seen: u64,
    pub last_seen: u64,
}

impl Seen {
    /// As one element of a report.
    pub fn write(&self, to: &mut Writer) {
        to.array(14);
        to.unsigned(u64::from(self.key.hook));
        to.unsigned(u64::from(self.key.protocol));
        to.bytes(self.key.source.packed());
        to.bytes(self.key.destination.packed());
        to.unsigned(u64::from(self.key.port));
        to.unsigned(self.key.cgroup);
        to.unsigned(u64::from(self.inode));
        to.unsigned(u64::from(self.key.effect));
        to.signed(self.key.rule);
        to.signed(self.uid);
        to.unsigned(u64::from(self.source_port));
        to.unsigned(self.count);
        to.unsigned(self.first_seen);
        to.unsigned(self.last_seen);
    }
}

/// Counts by flow, oldest first.
#[derive(Default)]
pub struct Ledger {
    flows: Vec<Seen>,
    places: HashMap<Key, usize>,
    pub unaccounted: u64,
    /// Is there a flow that was never reported?
    pub fresh: bool,
}

impl Ledger {
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// At the bound: report before anything else is added.
    pub fn is_full(&self) -> bool {
        self.flows.len() >= LOOP_FLOWS_MAX
    }

    /// Is there something of this flow that has not been reported?
    pub fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// Count one SYN. Beyond the bound it is counted as unaccounted, never silently lost.
    pub fn add(&mut self, key: Key, inode: u32, uid: i64, source_port: u16, now_ms: u64) {
        if let Some(seen) = self.places.get(&key).and_then(|place| self.flows.get_mut(*place)) {
            seen.count += 1;
            seen.last_seen = seen.last_seen.max(now_ms);
        } else if self.is_full() {
            self.unaccounted += 1;
        } else {
            self.places.insert(key, self.flows.len());
            let (first_seen, last_seen) = (now_ms, now_ms);
            self.flows.push(Seen { key, inode, uid, source_port, count: 1, first_seen, last_seen });
            self.fresh = true;
        }
    }

    /// At most `most` of the oldest flows, all of one version. They stay until `forget`.
    pub fn oldest(&self, most: usize) -> &[Seen] {
        let version = self.flows.first().map(|seen| seen.key.version);
        let same =
            self.flows.iter().take(most).take_while(|seen| Some(seen.key.version) == version);
        self.flows.get(..same.count()).unwrap_or(&[])
    }

    /// The first `count` flows have been reported.
    pub fn forget(&mut self, count: usize) {
        self.flows.drain(..count.min(self.flows.len()));
        self.places.clear();
        self.places.extend(self.flows.iter().enumerate().map(|(place, seen)| (seen.key, place)));
        if self.flows.is_empty() {
            self.fresh = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(version: u64, port: u16) -> Key {
        Key {
            version,
            hook: 1,
            protocol: 6,
            source: Address::ANY,
            destination: Address::ANY,
            port,
            cgroup: 0,
            inode: 0,
            effect: 0,
            rule: -1,
        }
    }

    #[test]
    fn flows_are_counted_together_and_told_by_version() {
        let mut ledger = Ledger::default();
        for (version, port) in [(1, 80), (1, 81), (1, 80), (2, 80)] {
            ledger.add(key(version, port), 0, -1, 9, 100);
        }
        let counts: Vec<u64> = ledger.oldest(10).iter().map(|seen| seen.count).collect();
        assert_eq!(counts, [2, 1]);
        ledger.forget(1);
        ledger.add(key(1, 81), 0, -1, 9, 90);
        assert_eq!((ledger.oldest(10)[0].count, ledger.oldest(10)[0].last_seen), (2, 100));
        ledger.forget(1);
        assert_eq!(ledger.oldest(10)[0].key.version, 2);
        assert!(ledger.fresh);
        ledger.forget(1);
        assert!(ledger.is_empty() && !ledger.fresh);
    }

    #[test]
    fn at_the_bound_new_flows_are_unaccounted() {
        let mut ledger = Ledger::default();
        for port in 0..=LOOP_FLOWS_MAX as u16 {
            ledger.add(key(1, port), 0, -1, 9, 100);
        }
        ledger.add(key(1, 0), 0, -1, 9, 100);
        assert!(ledger.is_full());
        assert_eq!((ledger.unaccounted, ledger.oldest(1)[0].count), (1, 2));
    }
}
