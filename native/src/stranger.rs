//! Ends elsewhere that nobody has told of yet: the daemon is told of each, once a second while it is
//! met, and what could be prevented is dropped in its first moments. The same as
//! `core/strangers.py`.

use std::collections::HashMap;

use crate::judge::Judge;
use crate::limits::{STRANGERS_MAX, STRANGER_FORGET_MS, STRANGER_TELL_MS};
use crate::tables::Place;

/// Looking for those to forget takes a walk over all of them, so at most so often.
const PRUNE_SPACING_MS: u64 = 1_000;

struct Met {
    first_ms: u64,
    told_ms: u64,
}

/// Times are monotonic milliseconds. `sought` are to be told to the daemon.
#[derive(Default)]
pub struct Strangers {
    met: HashMap<Place, Met>,
    pruned_ms: Option<u64>,
    pub sought: Vec<Place>,
}

impl Strangers {
    /// One is met; `true` while it is so new that its name may be waited for. Never where there is
    /// no room to remember when it came.
    pub fn meet(&mut self, place: Place, now_ms: u64, delay_ms: u64) -> bool {
        if let Some(met) = self.met.get_mut(&place) {
            if now_ms.saturating_sub(met.told_ms) >= STRANGER_TELL_MS {
                met.told_ms = now_ms;
                if self.sought.len() < STRANGERS_MAX {
                    self.sought.push(place);
                }
            }
            return now_ms.saturating_sub(met.first_ms) < delay_ms;
        }
        if !self.has_room(now_ms) {
            return false;
        }
        self.met.insert(place, Met { first_ms: now_ms, told_ms: now_ms });
        self.sought.push(place);
        delay_ms > 0
    }

    /// These are known now, or are not any more: another time they are new again.
    pub fn forget<'a>(&mut self, places: impl IntoIterator<Item = &'a Place>) {
        for place in places {
            self.met.remove(place);
        }
    }

    /// Forget all that are known by other tables.
    pub fn tables_changed(&mut self, judge: &Judge) {
        self.met.retain(|place, _| !judge.knows(place));
    }

    fn has_room(&mut self, now_ms: u64) -> bool {
        if self.met.len() < STRANGERS_MAX {
            return true;
        }
        let lately = |pruned_ms| now_ms.saturating_sub(pruned_ms) < PRUNE_SPACING_MS;
        if !self.pruned_ms.map_or(false, lately) {
            self.pruned_ms = Some(now_ms);
            self.met.retain(|_, met| now_ms.saturating_sub(met.told_ms) < STRANGER_FORGET_MS);
        }
        self.met.len() < STRANGERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn place(number: u32) -> Place {
        (Address::new(&number.to_be_bytes()).unwrap(), 80, 6)
    }

    #[test]
    fn only_its_first_moments_are_waited_for() {
        let mut strangers = Strangers::default();
        assert!(strangers.meet(place(1), 5_000, 900));
        assert!(strangers.meet(place(1), 5_899, 900));
        assert_eq!(strangers.sought, [place(1)]);
        assert!(!strangers.meet(place(1), 5_900, 900));
        assert!(!strangers.meet(place(1), 6_000, 900));
        assert_eq!(strangers.sought, [place(1), place(1)]);
        strangers.forget(&[place(1)]);
        assert!(strangers.meet(place(1), 6_100, 900));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut strangers = Strangers::default();
        for number in 0..STRANGERS_MAX as u32 {
            assert!(strangers.meet(place(number), 0, 900));
        }
        assert!(!strangers.meet(place(1 << 20), 1, 900));
        assert!(!strangers.meet(place(0), STRANGER_FORGET_MS - 1, 900));
        assert!(strangers.meet(place(1 << 20), STRANGER_FORGET_MS + PRUNE_SPACING_MS, 900));
        assert_eq!(strangers.met.len(), 2);
    }
}
