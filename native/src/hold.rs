//! Packets that wait for their verdict: until the daemon has looked at who sends them, or until
//! discovery has told of the container at an end. The same as `core/holds.py`.

use std::collections::HashMap;

use crate::judge::Judge;
use crate::limits::{HELD_PACKETS_MAX, HOLDS_PER_SECOND_MAX, HOLD_MS};
use crate::segment::Segment;
use crate::tables::Candidate;

/// A packet that can be judged.
#[derive(Clone, Copy)]
pub struct Pending {
    pub id: u32,
    pub mark: u32,
    pub hook: u8,
    pub ends: Segment,
    pub cgroup: u64,
    pub inode: u32,
    pub uid: i64,
    /// Since the epoch.
    pub arrived_ms: u64,
}

struct Held {
    packet: Pending,
    /// The number that lets it go, and when it goes without.
    look: Option<(u64, u64)>,
    /// When it is not waited for its container any more.
    wait_until: Option<u64>,
    owner: Option<Candidate>,
}

impl Held {
    /// When it goes, whatever happens.
    fn until(&self) -> u64 {
        self.look.map_or(0, |look| look.1).max(self.wait_until.unwrap_or(0))
    }
}

/// Everything that is held. Times are monotonic milliseconds.
#[derive(Default)]
pub struct Holds {
    held: Vec<Held>,
    number: u64,
    lately: u64,
    since_ms: u64,
    burst: Option<bool>,
}

impl Holds {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.held.len() >= HELD_PACKETS_MAX
    }

    /// The number of the last hold for a look.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When the next packet goes, whatever happens.
    pub fn next_deadline(&self) -> Option<u64> {
        self.held.iter().map(Held::until).min()
    }

    /// Packets that are read from now on share one hold for a look.
    pub fn begin_burst(&mut self) {
        self.burst = None;
    }

    /// May a packet of this burst be held for a look? At most so often a second.
    pub fn may_look(&mut self, judge: &Judge, now_ms: u64) -> bool {
        if let Some(may) = self.burst {
            return may;
        }
        if now_ms.saturating_sub(self.since_ms) >= 1_000 {
            self.since_ms = now_ms;
            self.lately = 0;
        }
        let most = if judge.hold_ms > 0 { judge.holds_per_second } else { HOLDS_PER_SECOND_MAX };
        let may = self.lately < most;
        if may {
            self.lately += 1;
            self.number += 1;
        }
        self.burst = Some(may);
        may
    }

    /// Hold a packet for a look, for its container, or for both.
    pub fn add(&mut self, packet: Pending, judge: &Judge, look: bool, wait: bool, now_ms: u64) {
        let hold_ms = if judge.hold_ms > 0 { judge.hold_ms } else { HOLD_MS };
        self.held.push(Held {
            packet,
            look: look.then_some((self.number, now_ms + hold_ms)),
            wait_until: wait.then_some(now_ms + judge.wait_ms),
            owner: None,
        });
    }

    /// The daemon has looked, up to this number.
    pub fn looked(&mut self, number: u64, owners: &[(u64, Candidate)]) {
        let owners: HashMap<u64, Candidate> = owners.iter().copied().collect();
        for held in &mut self.held {
            if held.look.map_or(false, |look| look.0 <= number) {
                held.look = None;
                held.owner = owners.get(&u64::from(held.packet.inode)).copied();
            }
        }
    }

    /// Other tables or other endpoints: which containers are known now?
    pub fn endpoints_changed(&mut self, judge: &Judge) {
        for held in &mut self.held {
            let Pending { hook, ends, .. } = held.packet;
            if held.wait_until.is_some() && !judge.awaits(hook, ends.source, ends.destination) {
                held.wait_until = None;
            }
        }
    }

    /// Tables whose numbers for candidates are others: what was found does not hold any more.
    pub fn forget_owners(&mut self) {
        for held in &mut self.held {
            held.owner = None;
        }
    }

    /// Remove what has nothing to wait for any more; appends it, oldest first.
    pub fn release(&mut self, now_ms: u64, released: &mut Vec<(Pending, Option<Candidate>)>) {
        self.held.retain(|held| {
            let stays = held.until() > now_ms;
            if !stays {
                released.push((held.packet, held.owner));
            }
            stays
        });
    }
}
