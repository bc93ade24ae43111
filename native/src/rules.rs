//! Sets of rules in two levels: which words are not 0, and those words. A class selects few of many
//! rules, so what is empty is neither stored nor looked at.

use crate::msgpack::{Malformed, Result};

/// On the wire: the index of a word (u16) and the word (u64), little-endian.
const WIRE_WORD: usize = 10;

/// 64 words, 4,096 rules: which of them are not 0, and where they begin.
#[derive(Clone, Copy, Default)]
struct Block {
    words: u64,
    start: u32,
}

/// A set of rules by number.
#[derive(Clone, Default)]
pub struct RuleSet {
    blocks: Box<[Block]>,
    words: Box<[u64]>,
}

impl RuleSet {
    /// Read a set of rules below `rules`: ascending words that are not 0.
    pub fn read(packed: &[u8], rules: usize) -> Result<RuleSet> {
        if packed.len() % WIRE_WORD != 0 {
            return Err(Malformed);
        }
        let mut words = Vec::with_capacity(packed.len() / WIRE_WORD);
        for one in packed.chunks_exact(WIRE_WORD) {
            let (index, word) = one.split_at(2);
            let index = u16::from_le_bytes(index.try_into().map_err(|_| Malformed)?);
            let word = u64::from_le_bytes(word.try_into().map_err(|_| Malformed)?);
            words.push((index, word));
        }
        RuleSet::of_words(&words, rules)
    }

    /// The rules `first..last`.
    pub fn range(first: usize, last: usize) -> RuleSet {
        let mut words: Vec<(u16, u64)> = Vec::new();
        for rule in first..last {
            let (index, bit) = ((rule / 64) as u16, 1 << (rule % 64));
            match words.last_mut() {
                Some(word) if word.0 == index => word.1 |= bit,
                _ => words.push((index, bit)),
            }
        }
        RuleSet::of_words(&words, last).unwrap_or_default()
    }

    /// The rules that have this effect; each rule's is one byte.
    pub fn of_effect(effects: &[u8], effect: u8) -> RuleSet {
        let mut words: Vec<(u16, u64)> = Vec::new();
        for (index, chunk) in effects.chunks(64).enumerate() {
            let word =
                chunk.iter().rev().fold(0, |word, one| word << 1 | u64::from(*one == effect));
            if word != 0 {
                words.push((index as u16, word));
            }
        }
        RuleSet::of_words(&words, effects.len()).unwrap_or_default()
    }

    fn of_words(words: &[(u16, u64)], rules: usize) -> Result<RuleSet> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut next = 0;
        for (position, (index, word)) in words.iter().enumerate() {
            let index = usize::from(*index);
            let last = index * 64 + 63 - word.leading_zeros().min(63) as usize;
            if *word == 0 || index < next || last >= rules {
                return Err(Malformed);
            }
            next = index + 1;
            while blocks.len() <= index / 64 {
                blocks.push(Block { words: 0, start: position as u32 });
            }
            if let Some(block) = blocks.last_mut() {
                block.words |= 1 << (index % 64);
            }
        }
        Ok(RuleSet {
            blocks: blocks.into_boxed_slice(),
            words: words.iter().map(|(_, word)| *word).collect(),
        })
    }

    /// The rules that are in both.
    pub fn intersection(&self, other: &RuleSet) -> RuleSet {
        let mut words = Vec::new();
        for block in 0..self.blocks.len().min(other.blocks.len()) {
            let mut left = self.block(block) & other.block(block);
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let word = self.word(block, bit) & other.word(block, bit);
                if word != 0 {
                    words.push(((block * 64) as u16 + bit as u16, word));
                }
            }
        }
        RuleSet::of_words(&words, usize::MAX).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    #[inline]
    fn block(&self, block: usize) -> u64 {
        self.blocks.get(block).map_or(0, |block| block.words)
    }

    #[inline]
    fn word(&self, block: usize, bit: u32) -> u64 {
        match self.blocks.get(block) {
            Some(block) if block.words >> bit & 1 == 1 => {
                let before = (block.words & ((1 << bit) - 1)).count_ones();
                self.words.get(block.start as usize + before as usize).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// The lowest rule that is in all of `all`, in one of `from` and in one of `to`.
#[inline]
pub fn first_of<const N: usize>(
    all: [&RuleSet; 2],
    from: [&RuleSet; N],
    to: [&RuleSet; N],
) -> Option<usize> {
    let blocks = all[0].blocks.len().min(all[1].blocks.len());
    for block in 0..blocks {
        let mut left = combined(all, from, to, |set| set.block(block));
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let word = combined(all, from, to, |set| set.word(block, bit));
            if word != 0 {
                let word_index = block * 64 + bit as usize;
                return Some(word_index * 64 + word.trailing_zeros() as usize);
            }
        }
    }
    None
}

#[inline(always)]
fn combined<const N: usize>(
    all: [&RuleSet; 2],
    from: [&RuleSet; N],
    to: [&RuleSet; N],
    part: impl Fn(&RuleSet) -> u64,
) -> u64 {
    let any = |sets: [&RuleSet; N]| sets.iter().fold(0, |found, set| found | part(set));
    part(all[0]) & part(all[1]) & any(from) & any(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn packed(rules: &[usize]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut words = std::collections::BTreeMap::new();
        for rule in rules {
            *words.entry((rule / 64) as u16).or_insert(0u64) |= 1 << (rule % 64);
        }
        for (index, word) in words {
            data.extend(index.to_le_bytes());
            data.extend(word.to_le_bytes());
        }
        data
    }

    fn set(rules: &[usize]) -> RuleSet {
        RuleSet::read(&packed(rules), 65_536).unwrap()
    }

    #[test]
    fn the_first_of_all_is_found() {
        let all = set(&[3, 64, 4_095, 4_096, 9_000, 65_535]);
        let none = RuleSet::default();
        for rule in [3, 64, 4_095, 4_096, 9_000, 65_535] {
            let one = set(&[rule]);
            assert_eq!(
                first_of([&all, &all], [&none, &one, &none], [&none, &none, &all]),
                Some(rule)
            );
            assert_eq!(
                first_of([&one, &all], [&all, &none, &none], [&all, &none, &none]),
                Some(rule)
            );
            assert_eq!(first_of([&one, &all], [&none, &none, &none], [&all, &all, &all]), None);
        }
        assert_eq!(first_of([&all, &set(&[2, 65, 9_000])], [&all; 3], [&all; 3]), Some(9_000));
    }

    #[test]
    fn sets_agree_with_a_slow_scan() {
        let mut seed = 1u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for _ in 0..200 {
            let mut lists = Vec::new();
            for _ in 0..8 {
                let mut rules: Vec<usize> = (0..random(60)).map(|_| random(9_000)).collect();
                rules.extend(if random(2) == 0 { 0..300 } else { 8_000..8_300 });
                lists.push(rules);
            }
            let sets: Vec<RuleSet> = lists.iter().map(|rules| set(rules)).collect();
            let found = first_of(
                [&sets[0], &sets[1]],
                [&sets[2], &sets[3], &sets[4]],
                [&sets[5], &sets[6], &sets[7]],
            );
            let lists: Vec<std::collections::HashSet<usize>> =
                lists.into_iter().map(|list| list.into_iter().collect()).collect();
            let slow = (0..9_000).find(|rule| {
                let has = |list: usize| lists[list].contains(rule);
                has(0) && has(1) && (has(2) || has(3) || has(4)) && (has(5) || has(6) || has(7))
            });
            assert_eq!(found, slow);
        }
    }

    #[test]
    fn ranges_and_intersections_hold_what_they_say() {
        let range = RuleSet::range(60, 8_200);
        let both = range.intersection(&set(&[59, 60, 8_199, 8_200]));
        assert_eq!(first_of([&both, &range], [&range; 3], [&range; 3]), Some(60));
        let high = both.intersection(&RuleSet::range(61, 9_000));
        assert_eq!(first_of([&high, &range], [&range; 3], [&range; 3]), Some(8_199));
        assert!(RuleSet::range(5, 5).words.is_empty());
        let effects: Vec<u8> = (0..9_000).map(|rule| (rule % 3) as u8).collect();
        for effect in 0..3 {
            let one = RuleSet::of_effect(&effects, effect);
            let found = first_of([&one, &RuleSet::range(8_191, 9_000)], [&one; 3], [&one; 3]);
            assert_eq!(found, (8_191..9_000).find(|rule| rule % 3 == usize::from(effect)));
        }
    }

    #[test]
    fn only_ascending_words_of_known_rules_are_taken() {
        assert!(RuleSet::read(&packed(&[9]), 10).is_ok());
        assert!(RuleSet::read(&packed(&[10]), 10).is_err());
        assert!(RuleSet::read(&packed(&[9])[..9], 10).is_err());
        let twice = [packed(&[1]), packed(&[2])].concat();
        assert!(RuleSet::read(&twice, 10).is_err());
        assert!(RuleSet::read(&[0; 10], 10).is_err());
    }
}
