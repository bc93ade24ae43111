//! What becomes of a SYN, by the tables alone: decides as the reference, `core/judge.py`, does.
//!
//! Nothing here waits. The cache is keyed by whom the ends may be, not by their addresses, so that
//! a change of address needs no invalidation: it is another key. It has a fixed place for each key
//! and keeps the last one there: no flood of keys makes it grow, or start anew.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};

use crate::address::Address;
use crate::limits::{
    JUDGE_CACHE_MAX, TABLE_ADDRESSES_MAX, TABLE_CGROUPS_MAX, TABLE_CLASSES_MAX, TABLE_MEMBERS_MAX,
    TABLE_PEERS_MAX,
};
use crate::msgpack::Result;
use crate::nfqueue::{INPUT, OUTPUT};
use crate::orders::Endpoints;
use crate::rules::{first_of, RuleSet};
use crate::segment::{TCP, UDP};
use crate::tables::{
    require, Candidate, Class, Listeners, Membership, Named, Place, Tables, ALLOW, ANYONE, PREVENT,
};

/// What may be otherwise once an end elsewhere is known that is not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    None,
    /// It matters who is there.
    Matters,
    /// And some would be prevented, others not.
    Grave,
}

/// The effect, the rule that decided (-1: none), and whether all candidates agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub effect: u8,
    pub rule: i64,
    pub unanimous: bool,
    pub doubt: Doubt,
    /// No name that an end may get would change the effect.
    pub settled: bool,
}

/// One packet's ends, as far as judging needs them. `owner` is the candidate that was found behind
/// an unnamed cgroup's socket.
#[derive(Clone, Copy)]
pub struct Ends {
    pub hook: u8,
    pub source: Address,
    pub destination: Address,
    pub port: u16,
    pub protocol: u8,
    pub cgroup: u64,
    pub owner: Option<Candidate>,
}

/// Who may be behind an address: one candidate, or the number of a list of several.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    One(Candidate),
    Several(u32),
    /// An end elsewhere that was not told of: judged as nobody, and doubted for it may be anyone.
    Stranger,
}

/// Nobody known stands behind the address: only subnets may select it.
const NOBODY: Who = Who::One(0);

/// An end without names, in place of the class of its names.
const NAMELESS: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    source: Who,
    source_stretch: u32,
    destination: Who,
    destination_stretch: u32,
    ports: u32,
    protocol: u8,
    /// The classes of the names of source and destination.
    names: (u32, u32),
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let number = |who| match who {
            Who::One(candidate) => u64::from(candidate) << 1,
            Who::Several(list) => u64::from(list) << 1 | 1,
            // No list has this number: there are a few hundred thousand at most.
            Who::Stranger => u64::from(u32::MAX),
        };
        state.write_u64(number(self.source) << 32 | u64::from(self.source_stretch));
        state.write_u64(number(self.destination) << 32 | u64::from(self.destination_stretch));
        state.write_u64(u64::from(self.ports) << 8 | u64::from(self.protocol));
        state.write_u64(u64::from(self.names.0) << 32 | u64::from(self.names.1));
    }
}

/// Addresses of one length that subnets select alike.
struct Stretches {
    starts: Vec<u128>,
    classes: Vec<u32>,
}

impl Stretches {
    fn of(&self, address: Address) -> u32 {
        let number = address.number();
        let at = self.starts.partition_point(|start| *start <= number);
        self.classes.get(at.wrapping_sub(1)).copied().unwrap_or(0)
    }
}

/// Decides by one set of tables, which grows by what is told of endpoints.
pub struct Judge {
    pub version: u64,
    pub hold_ms: u64,
    pub wait_ms: u64,
    pub holds_per_second: u64,
    /// While a prevention is in force, what can't be read must not slip past it.
    pub prevents: bool,
    pub stranger_ms: u64,
    scopes: [bool; 2],
    awaits_containers: bool,
    effects: Vec<u8>,
    /// The rules of a list (containers, hosts) and a protocol (TCP, UDP).
    lists: [[RuleSet; 2]; 2],
    /// The same by effect.
    by_effect: [[[RuleSet; 3]; 2]; 2],
    any: Class,
    port_starts: Vec<u16>,
    port_rules: Vec<RuleSet>,
    classes: Vec<Class>,
    nothing: Class,
    stretches4: Stretches,
    stretches6: Stretches,
    addresses: HashMap<Address, Who>,
    /// Who stands there, and the port of theirs that it leads to (0: the same).
    peers: HashMap<Place, (Who, u16)>,
    by_name: Class,
    members: HashMap<Membership, u32>,
    by_dns: Class,
    private: Vec<(Address, Address)>,
    several: Vec<Box<[Candidate]>>,
    numbers: HashMap<Box<[Candidate]>, u32>,
    cgroups: HashMap<u64, Candidate>,
    host: Candidate,
    networks: Vec<(Address, Address)>,
    listeners: HashMap<(u16, Address), (Candidate, u16)>,
    host_addresses: HashSet<Address>,
    cache: Vec<Option<(Key, Verdict)>>,
    /// Keyed at random, so that nobody can choose flows that share a place.
    places: RandomState,
}

impl Judge {
    pub fn new(tables: Tables) -> Judge {
        let rules = tables.effects.len();
        let lists = [
            RuleSet::range(0, tables.container_rules),
            RuleSet::range(tables.container_rules, rules),
        ];
        let with =
            |list: &RuleSet| [list.intersection(&tables.tcp), list.intersection(&tables.udp)];
        let lists = [with(&lists[0]), with(&lists[1])];
        let effects = [0, 1, 2].map(|effect| RuleSet::of_effect(&tables.effects, effect));
        let parts =
            |list: &RuleSet| [0, 1, 2].map(|effect: usize| list.intersection(&effects[effect]));
        let by_effect = [0, 1].map(|list: usize| [parts(&lists[list][0]), parts(&lists[list][1])]);
        let scopes = [tables.containers, tables.hosts];
        let mut judge = Judge {
            version: tables.version,
            hold_ms: tables.hold_ms,
            wait_ms: tables.wait_ms,
            holds_per_second: tables.holds_per_second,
            prevents: tables.effects.contains(&PREVENT) && (tables.containers || tables.hosts),
            awaits_containers: tables.containers && tables.container_rules > 0,
            scopes,
            lists,
            by_effect,
            stranger_ms: tables.stranger_ms,
            effects: tables.effects,
            any: tables.any,
            port_starts: tables.port_starts,
            port_rules: tables.port_rules,
            classes: tables.classes,
            nothing: Class::default(),
            stretches4: Stretches { starts: tables.starts4, classes: tables.classes4 },
            stretches6: Stretches { starts: tables.starts6, classes: tables.classes6 },
            addresses: HashMap::with_capacity(tables.addresses.len()),
            peers: HashMap::with_capacity(tables.peers.len()),
            by_name: tables.by_name,
            members: tables.members.into_iter().collect(),
            by_dns: tables.by_dns,
            private: tables.private,
            several: Vec::new(),
            numbers: HashMap::new(),
            cgroups: tables.cgroups.into_iter().collect(),
            host: tables.host,
            networks: tables.networks,
            listeners: HashMap::new(),
            host_addresses: tables.host_addresses.into_iter().collect(),
            cache: vec![None; JUDGE_CACHE_MAX],
            places: RandomState::new(),
        };
        judge.set_listeners(tables.listeners);
        for (address, who) in tables.addresses {
            judge.put_address(address, who);
        }
        for (place, who, leads_to) in tables.peers {
            judge.put_peer(place, who, leads_to);
        }
        judge
    }

    // --- what is told of endpoints

    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    pub fn rule_count(&self) -> usize {
        self.effects.len()
    }

    /// Take changes of endpoints, all of them or, when they are too many, none.
    pub fn change(&mut self, change: Endpoints) -> Result<()> {
        require(self.classes.len() + change.classes.len() <= TABLE_CLASSES_MAX)?;
        require(self.addresses.len() + change.put.len() <= TABLE_ADDRESSES_MAX)?;
        require(self.peers.len() + change.peers.len() <= TABLE_PEERS_MAX)?;
        require(self.members.len() + change.members.len() <= TABLE_MEMBERS_MAX)?;
        self.classes.extend(change.classes);
        for address in change.drop {
            self.addresses.remove(&address);
        }
        for (address, who) in change.put {
            self.put_address(address, who);
        }
        if let Some(listeners) = change.listeners {
            self.set_listeners(listeners);
        }
        if let Some(addresses) = change.host_addresses {
            self.host_addresses = addresses.into_iter().collect();
        }
        for place in change.gone {
            self.peers.remove(&place);
        }
        for (place, who, leads_to) in change.peers {
            self.put_peer(place, who, leads_to);
        }
        for membership in change.left {
            self.members.remove(&membership);
        }
        self.members.extend(change.members);
        Ok(())
    }

    pub fn put_cgroups(&mut self, put: Named, drop: &[u64]) -> Result<()> {
        require(self.cgroups.len() + put.len() <= TABLE_CGROUPS_MAX)?;
        for cgroup in drop {
            self.cgroups.remove(cgroup);
        }
        self.cgroups.extend(put);
        Ok(())
    }

    fn set_listeners(&mut self, listeners: Listeners) {
        let each = listeners.into_iter();
        self.listeners =
            each.map(|(port, at, who, leads_to)| ((port, at), (who, leads_to))).collect();
    }

    fn put_address(&mut self, address: Address, who: Vec<Candidate>) {
        let who = self.who(who);
        self.addresses.insert(address, who);
    }

    fn put_peer(&mut self, place: Place, who: Vec<Candidate>, leads_to: u16) {
        let who = self.who(who);
        self.peers.insert(place, (who, leads_to));
    }

    fn who(&mut self, who: Vec<Candidate>) -> Who {
        match who.as_slice() {
            [one] => Who::One(*one),
            _ => self.number_list(who),
        }
    }

    fn number_list(&mut self, who: Vec<Candidate>) -> Who {
        if self.several.len() >= 2 * (TABLE_ADDRESSES_MAX + TABLE_PEERS_MAX) {
            self.forget_unused_lists();
        }
        let list = who.into_boxed_slice();
        if let Some(number) = self.numbers.get(&list) {
            return Who::Several(*number);
        }
        let number = self.several.len() as u32;
        self.several.push(list.clone());
        self.numbers.insert(list, number);
        Who::Several(number)
    }

    /// Lists stay when their address goes; once there are twice as many as addresses can need,
    /// number those in use anew. The cache knows them by their old numbers, so it goes too.
    fn forget_unused_lists(&mut self) {
        self.cache.fill(None);
        self.numbers.clear();
        let former = std::mem::take(&mut self.several);
        let peers = self.peers.values_mut().map(|(who, _)| who);
        for who in self.addresses.values_mut().chain(peers) {
            if let Who::Several(number) = who {
                if let Some(list) = former.get(*number as usize) {
                    let next = self.several.len() as u32;
                    *number = *self.numbers.entry(list.clone()).or_insert_with(|| {
                        self.several.push(list.clone());
                        next
                    });
                }
            }
        }
    }

    // --- decisions

    /// Does the cgroup tell the service by itself?
    pub fn is_named(&self, cgroup: u64) -> bool {
        self.cgroups.contains_key(&cgroup)
    }

    /// Could an end be a container that discovery has not told of yet, and does it matter?
    pub fn awaits(&self, hook: u8, source: Address, destination: Address) -> bool {
        self.awaits_containers
            && (self.is_unknown_container(destination)
                || (hook != OUTPUT && self.is_unknown_container(source)))
    }

    fn is_unknown_container(&self, address: Address) -> bool {
        let end = address.plain();
        lies_in(end, &self.networks) && !self.is_host(end) && !self.addresses.contains_key(&end)
    }

    /// The ends of a packet that lie elsewhere and that nobody has told of.
    pub fn strangers(&self, ends: &Ends) -> [Option<Place>; 2] {
        let (source, destination) = (ends.source.plain(), ends.destination.plain());
        let strange = |place| Some(place).filter(|place| self.elsewhere(place) == Who::Stranger);
        let own = ends.hook == INPUT || self.is_host(destination);
        [
            strange((source, 0, 0)).filter(|_| ends.hook != OUTPUT),
            strange((destination, ends.port, ends.protocol)).filter(|_| !own),
        ]
    }

    /// Has this end elsewhere been told of?
    pub fn knows(&self, place: &Place) -> bool {
        self.peers.contains_key(place)
    }

    pub fn decide(&mut self, ends: &Ends) -> Verdict {
        let (source, destination) = (ends.source.plain(), ends.destination.plain());
        let sources = match self.cgroups.get(&ends.cgroup).copied().or(ends.owner) {
            Some(socket) => Who::One(socket),
            None if ends.hook == OUTPUT => Who::One(self.host),
            None => self.elsewhere(&(source, 0, 0)),
        };
        let to_host = ends.hook == INPUT || self.is_host(destination);
        let (destinations, leads_to) = if to_host {
            let (listening, leads_to) = self.listening(destination, ends.port);
            (Who::One(listening), leads_to)
        } else {
            let place = (destination, ends.port, ends.protocol);
            (self.elsewhere(&place), self.peers.get(&place).map_or(0, |(_, leads_to)| *leads_to))
        };
        // Rules judge by the port of whoever stands there.
        let port = if leads_to == 0 { ends.port } else { leads_to };
        let ports = self.port_starts.partition_point(|start| *start <= port);
        let key = Key {
            source: sources,
            source_stretch: self.stretch(source),
            destination: destinations,
            destination_stretch: self.stretch(destination),
            ports: ports as u32,
            protocol: ends.protocol,
            names: self.names(ends.hook, source, destination, to_host),
        };
        let place = self.place(&key);
        match self.cache.get(place) {
            Some(Some((kept, verdict))) if *kept == key => *verdict,
            _ => {
                let verdict = self.evaluate(&key);
                if let Some(slot) = self.cache.get_mut(place) {
                    *slot = Some((key, verdict));
                }
                verdict
            }
        }
    }

    /// The classes of both ends' names: each has those that the other one was told.
    fn names(&self, hook: u8, source: Address, destination: Address, to_host: bool) -> (u32, u32) {
        if self.members.is_empty() {
            return (NAMELESS, NAMELESS);
        }
        let told = |by_host, asker, address| {
            let asker = if by_host { Address::ANY } else { asker };
            self.members.get(&(asker, address)).copied().unwrap_or(NAMELESS)
        };
        let from_host = hook == OUTPUT || self.is_host(source);
        (told(to_host, destination, source), told(from_host, source, destination))
    }

    fn place(&self, key: &Key) -> usize {
        let mut hasher = self.places.build_hasher();
        key.hash(&mut hasher);
        hasher.finish() as usize % JUDGE_CACHE_MAX
    }

    fn evaluate(&self, key: &Key) -> Verdict {
        let found = self.outcomes(key, &[0], &self.nothing);
        // Whoever has several names is decided about by the first rule that he meets.
        let settled = self.by_dns.is_empty() || !self.outcomes(key, &[0], &self.by_dns).differ();
        let doubted = key.source == Who::Stranger || key.destination == Who::Stranger;
        let doubt = match doubted.then(|| self.outcomes(key, &[ANYONE], &self.nothing)) {
            Some(anyhow) if anyhow.several() => {
                let grave = anyhow.first[usize::from(PREVENT)].is_some() && anyhow.differ();
                [Doubt::Matters, Doubt::Grave][usize::from(grave)]
            }
            _ => Doubt::None,
        };
        let (effect, rule) = found.mildest();
        Verdict { effect, rule, unanimous: !found.differ(), doubt, settled }
    }

    /// What may decide, over all pairs of candidates; a stranger is one of `unknown`, and rules of
    /// `named` may select either end besides.
    fn outcomes(&self, key: &Key, unknown: &[Candidate], named: &Class) -> Outcomes {
        let list = |who| match who {
            &Who::Stranger => unknown,
            who => self.list(who),
        };
        let (sources, destinations) = (list(&key.source), list(&key.destination));
        let everybody = || sources.iter().chain(destinations);
        let lists: &[usize] = match everybody().any(|who| who & 1 == 1) {
            true => &[0],
            false if everybody().any(|who| *who == ANYONE) => &[0, 1],
            false => &[1],
        };
        let nothing = RuleSet::default();
        let ports = self.port_rules.get((key.ports as usize).wrapping_sub(1)).unwrap_or(&nothing);
        let mut found = Outcomes::default();
        for list in lists {
            let protocol = match key.protocol {
                TCP => 0,
                UDP => 1,
                _ => {
                    found.add(ALLOW, -1);
                    continue;
                }
            };
            if !self.scopes[*list] {
                found.add(ALLOW, -1);
                continue;
            }
            for one in sources {
                for other in destinations {
                    self.pair(key, (*list, protocol), ports, (*one, *other), named, &mut found);
                }
            }
        }
        found
    }

    /// What may decide about one pair of candidates: the first rule that surely selects both, or
    /// one before it that may.
    fn pair(
        &self,
        key: &Key,
        list: (usize, usize),
        ports: &RuleSet,
        who: (Candidate, Candidate),
        named: &Class,
        found: &mut Outcomes,
    ) {
        let (from, to) = (self.class(key.source_stretch), self.class(key.destination_stretch));
        let (calling, called) = (self.class(key.names.0), self.class(key.names.1));
        let selecting = |who| match who {
            ANYONE => (&self.nothing, &self.by_name),
            who => (self.class(who >> 1), self.class(who >> 1)),
        };
        let ((one, one_maybe), (other, other_maybe)) = (selecting(who.0), selecting(who.1));
        let first = first_of(
            [&self.lists[list.0][list.1], ports],
            [&self.any.source, &from.source, &one.source, &calling.source],
            [&self.any.destination, &to.destination, &other.destination, &called.destination],
        );
        match first {
            Some(rule) => {
                let effect = self.effects.get(rule).copied().unwrap_or(ALLOW);
                found.add(effect, rule as i64);
            }
            None => found.add(ALLOW, -1),
        }
        if who.0 != ANYONE && who.1 != ANYONE && named.is_empty() {
            return;
        }
        for (effect, rules) in self.by_effect[list.0][list.1].iter().enumerate() {
            let maybe = first_of(
                [rules, ports],
                [&self.any.source, &from.source, &one_maybe.source, &calling.source, &named.source],
                [
                    &self.any.destination,
                    &to.destination,
                    &other_maybe.destination,
                    &called.destination,
                    &named.destination,
                ],
            );
            if let Some(rule) = maybe.filter(|rule| first.map_or(true, |first| *rule < first)) {
                found.add(effect as u8, rule as i64);
            }
        }
    }

    fn list<'a>(&'a self, who: &'a Who) -> &'a [Candidate] {
        match who {
            Who::One(candidate) => std::slice::from_ref(candidate),
            Who::Several(number) => self.several.get(*number as usize).map_or(&[], |list| list),
            Who::Stranger => &[],
        }
    }

    fn class(&self, number: u32) -> &Class {
        self.classes.get(number as usize).unwrap_or(&self.nothing)
    }

    /// Who may stand behind an address that is not ours, at this port.
    fn elsewhere(&self, place: &Place) -> Who {
        let (address, port, protocol) = *place;
        match self.addresses.get(&address) {
            Some(who) => return *who,
            None if self.is_host(address) => return Who::One(self.host),
            None => (),
        }
        if let Some((who, _)) = self.peers.get(place) {
            return *who;
        }
        // Port 0 is how it is asked who connects from there.
        let asked = port != 0 || protocol == 0;
        match asked && lies_in(address, &self.private) && !lies_in(address, &self.networks) {
            true => Who::Stranger,
            false => NOBODY,
        }
    }

    fn listening(&self, address: Address, port: u16) -> (Candidate, u16) {
        let exact = self.listeners.get(&(port, address));
        exact
            .or_else(|| self.listeners.get(&(port, Address::ANY)))
            .copied()
            .unwrap_or((self.host, 0))
    }

    fn is_host(&self, address: Address) -> bool {
        self.host_addresses.contains(&address) || address.is_loopback()
    }

    fn stretch(&self, address: Address) -> u32 {
        if address.is_v4() {
            self.stretches4.of(address)
        } else {
            self.stretches6.of(address)
        }
    }
}

fn lies_in(address: Address, networks: &[(Address, Address)]) -> bool {
    networks.iter().any(|(first, last)| {
        first.is_v4() == address.is_v4() && *first <= address && address <= *last
    })
}

/// The lowest rule of each effect that may decide; the default is the lowest that allows.
#[derive(Default)]
struct Outcomes {
    first: [Option<i64>; 3],
    more: bool,
}

impl Outcomes {
    fn add(&mut self, effect: u8, rule: i64) {
        if let Some(first) = self.first.get_mut(usize::from(effect)) {
            self.more |= first.map_or(false, |first| first != rule);
            *first = Some(first.map_or(rule, |first| first.min(rule)));
        }
    }

    /// Do the effects differ?
    fn differ(&self) -> bool {
        self.first.iter().flatten().count() > 1
    }

    /// Does it differ what decides?
    fn several(&self) -> bool {
        self.more || self.differ()
    }

    fn mildest(&self) -> (u8, i64) {
        let each = (ALLOW..).zip(self.first);
        each.filter_map(|(effect, rule)| Some((effect, rule?))).next().unwrap_or((ALLOW, -1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Address {
        Address::new(&(0x0a00_0000 + number).to_be_bytes()).unwrap()
    }

    fn ends(source: u32, destination: u32, port: u16) -> Ends {
        Ends {
            hook: 2,
            source: address(source),
            destination: address(destination),
            port,
            protocol: TCP,
            cgroup: 0,
            owner: None,
        }
    }

    /// Rule i prevents class 2i + 1 to reach class 2i + 2 on port i + 1; addresses go round.
    fn estate(rules: usize, addresses: u32) -> Tables {
        let only = |rule: usize| RuleSet::range(rule, rule + 1);
        let classes = (0..rules).flat_map(|rule| {
            let source = Class { source: only(rule), destination: RuleSet::default() };
            [source, Class { source: RuleSet::default(), destination: only(rule) }]
        });
        Tables {
            containers: true,
            container_rules: rules,
            effects: vec![PREVENT; rules],
            tcp: RuleSet::range(0, rules),
            classes: std::iter::once(Class::default()).chain(classes).collect(),
            port_starts: (0..=rules as u16).collect(),
            port_rules: std::iter::once(RuleSet::default()).chain((0..rules).map(only)).collect(),
            addresses: (0..addresses)
                .map(|number| (address(number), vec![2 * (1 + number % (2 * rules as u32)) + 1]))
                .collect(),
            ..Tables::none()
        }
    }

    #[test]
    fn each_rule_is_found_by_its_ends() {
        let mut judge = Judge::new(estate(300, 600));
        for rule in 0..300u32 {
            let verdict = judge.decide(&ends(2 * rule, 2 * rule + 1, rule as u16 + 1));
            let doubt = Doubt::None;
            let expected = Verdict {
                effect: PREVENT,
                rule: rule.into(),
                unanimous: true,
                doubt,
                settled: true,
            };
            assert_eq!(verdict, expected);
            assert_eq!(judge.decide(&ends(2 * rule + 1, 2 * rule, rule as u16 + 1)).rule, -1);
        }
    }

    #[test]
    fn lists_of_candidates_that_nobody_uses_are_forgotten() {
        let mut judge = Judge::new(estate(2, 4));
        judge.put_address(address(9), vec![1, 3]);
        judge.put_address(address(0), vec![3, 4]);
        let mut ends = ends(0, 1, 1);
        let before = judge.decide(&ends);
        judge.put_address(address(9), vec![1]);
        judge.forget_unused_lists();
        assert_eq!((judge.several.len(), judge.numbers.len()), (1, 1));
        assert_eq!(judge.decide(&ends), before);
        ends.source = address(9);
        assert_eq!(judge.decide(&ends).rule, -1);
    }

    /// Time on a processor, whatever else the machine does.
    fn cpu_ns() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// `cargo test --release -- --ignored --nocapture measure`
    #[test]
    #[ignore]
    fn measure_decisions() {
        for (rules, addresses) in [(10, 10), (10, 100_000), (10_000, 10), (10_000, 100_000)] {
            let mut judge = Judge::new(estate(rules, addresses));
            let mut seed = 1u32;
            let packets: Vec<Ends> = (0..100_000)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let source = (seed >> 8) % addresses;
                    ends(source, (source + 1) % addresses, (source / 2 % rules as u32) as u16 + 1)
                })
                .collect();
            for kept in [true, false] {
                let started = cpu_ns();
                let mut found = 0;
                for _ in 0..10 {
                    for packet in &packets {
                        if !kept {
                            // As good as a clear: nothing is ever at the key's place.
                            judge.places = RandomState::new();
                        }
                        found += usize::from(judge.decide(packet).rule >= 0);
                    }
                }
                let each = (cpu_ns() - started) / 1_000_000;
                println!(
                    "{rules} rules, {addresses} addresses, cache {kept}: {each} ns, {found} found"
                );
            }
        }
    }
}
