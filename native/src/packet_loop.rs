//! The loop: answers one NFQUEUE, and does nothing else. The same as `kernel/packetloop.py`.
//!
//! It waits for two descriptors, the queue and the daemon; it takes orders first, reads a burst,
//! decides, answers in one send, and reports counts. Every packet gets one verdict, whatever
//! happens. When the daemon goes away it answers what it holds and ends, and the kernel lets
//! packets past the queue (bypass).

use std::io;
use std::os::unix::io::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::Address;
use crate::hold::{Holds, Pending};
use crate::judge::{Doubt, Ends, Judge};
use crate::ledger::{Key, Ledger, Seen};
use crate::limits::*;
use crate::marks::Marks;
use crate::msgpack::{Malformed, Writer};
use crate::nfqueue::{
    decode, push_verdict, Message, QueuedPacket, NF_DROP, NF_REPEAT, OUTPUT, VERDICT_BYTES,
};
use crate::orders::Order;
use crate::owner::SocketOwner;
use crate::room::Rooms;
use crate::segment::parse_segment;
use crate::stranger::Strangers;
use crate::sys::{self, Burst};
use crate::table_file::read_file;
use crate::tables::{Candidate, Tables, ALERT, ALLOW};

/// Orders read in one turn, so that packets have theirs.
const ORDERS_IN_TURN: usize = 256;
/// Bursts answered after the daemon has gone: more than a queue can hold.
const LAST_BURSTS: usize = 512;

/// What the loop is started with.
pub struct Setup {
    pub queue: u16,
    pub marks: Marks,
    pub fail_closed: bool,
    pub packets: OwnedFd,
    pub control: OwnedFd,
    pub pulse: Option<&'static [AtomicU64; 2]>,
    pub owner: SocketOwner,
}

pub struct PacketLoop {
    setup: Setup,
    judge: Judge,
    ledger: Ledger,
    holds: Holds,
    rooms: Rooms,
    strangers: Strangers,
    /// Flows that the daemon has to look at, with count 0.
    looks: Vec<Seen>,
    /// Until it is told nothing is remembered: a generation this loop has not been told could be
    /// one that is already over.
    generation: Option<u64>,
    /// The last order to confirm.
    confirmed: u64,
    answered: u64,
    undecodable: u64,
    dropped: u64,
    delayed: u64,
    reported_at_ms: u64,
    owes_report: bool,
    stalled: bool,
    /// Before the first tables nothing is known that could be judged by.
    prepared: bool,
    verdicts: Vec<u8>,
    record: Vec<u8>,
    released: Vec<(Pending, Option<Candidate>)>,
    orders: Vec<u8>,
}

impl PacketLoop {
    pub fn new(setup: Setup) -> PacketLoop {
        PacketLoop {
            setup,
            judge: Judge::new(Tables::none()),
            ledger: Ledger::default(),
            holds: Holds::default(),
            rooms: Rooms::default(),
            strangers: Strangers::default(),
            looks: Vec::new(),
            generation: None,
            answered: 0,
            confirmed: 0,
            undecodable: 0,
            dropped: 0,
            delayed: 0,
            reported_at_ms: 0,
            owes_report: true,
            stalled: false,
            prepared: false,
            verdicts: Vec::with_capacity(LOOP_BURST_MAX * VERDICT_BYTES),
            record: Vec::with_capacity(REPORT_FLOWS_MAX * 128),
            released: Vec::with_capacity(HELD_PACKETS_MAX),
            orders: vec![0; ORDER_BYTES_MAX],
        }
    }

    /// Answer packets until the daemon closes its end, or the queue is no more.
    pub fn run(&mut self) {
        let mut burst = Burst::new();
        loop {
            self.pulse();
            let packets = Some(&self.setup.packets).filter(|_| self.prepared);
            let ready = sys::wait([packets, Some(&self.setup.control)], self.timeout_ms());
            let [packets, control] = ready;
            if control.readable && !self.take_orders() {
                return self.end(&mut burst);
            }
            if packets.readable && !self.answer_burst(&mut burst) && packets.hung_up {
                return;
            }
            if !self.holds.is_empty() {
                self.let_go(sys::monotonic_ms());
            }
            self.report_if_due();
        }
    }

    fn pulse(&self) {
        if let Some([at, packets]) = self.setup.pulse {
            at.store(sys::monotonic_ms(), Ordering::Relaxed);
            packets.store(self.answered, Ordering::Relaxed);
        }
    }

    fn timeout_ms(&self) -> u64 {
        let now_ms = sys::monotonic_ms();
        let mut until = now_ms + PULSE_INTERVAL_MS;
        if let Some(deadline) = self.holds.next_deadline() {
            until = until.min(deadline);
        }
        if self.has_news() {
            until = until.min(self.due_ms());
        }
        until.saturating_sub(now_ms)
    }

    // --- packets

    /// Read and answer what is there; `false` when there was nothing.
    fn answer_burst(&mut self, burst: &mut Burst) -> bool {
        let count = match burst.receive(&self.setup.packets) {
            Ok(count) => count,
            Err(error) => {
                // ENOBUFS and the like: the kernel has counted it, and the next packet is waiting.
                self.owes_report |= error.kind() != io::ErrorKind::WouldBlock;
                return false;
            }
        };
        let (now_ms, wall_ms) = (sys::monotonic_ms(), sys::wall_ms());
        self.holds.begin_burst();
        let mut something = false;
        for number in 0..count {
            let message = burst.message(number);
            something |= !message.is_empty();
            self.take_message(message, now_ms, wall_ms);
        }
        self.send_verdicts();
        if !self.looks.is_empty() {
            // Somebody unknown is connecting: tell before answering, so that the process is still
            // there when the daemon looks for it, however short it lives.
            self.tell_looks();
        }
        if self.ledger.is_empty() {
            // Nothing in it could be counted, but that it was there is news too.
            self.owes_report = true;
        }
        something
    }

    fn take_message(&mut self, message: &[u8], now_ms: u64, wall_ms: u64) {
        match decode(message) {
            Message::Packet(packet) => self.take_packet(&packet, now_ms, wall_ms),
            Message::Gone => (),
            Message::Unexpected => self.undecodable += 1,
        }
    }

    fn take_packet(&mut self, packet: &QueuedPacket, now_ms: u64, wall_ms: u64) {
        let ends = match parse_segment(packet.payload) {
            Some(ends) => ends,
            None => {
                self.undecodable += 1;
                if self.judge.prevents || self.setup.fail_closed {
                    return self.drop_packet(packet.id, packet.mark);
                }
                return self.accept(packet.id, packet.mark, false, false);
            }
        };
        let mut socket = Default::default();
        if packet.hook == OUTPUT {
            socket = self.setup.owner.find(&ends, packet.out_device).unwrap_or(socket);
        } else if self.rooms.share(ends.source) {
            socket = self.rooms.find(&ends).unwrap_or(socket);
        }
        let pending = Pending {
            id: packet.id,
            mark: packet.mark,
            hook: packet.hook,
            ends,
            cgroup: socket.cgroup,
            inode: socket.inode,
            uid: packet.uid,
            arrived_ms: wall_ms,
        };
        let unknown = socket.inode != 0 && self.tells(&pending);
        let awaits = self.judge.awaits(packet.hook, ends.source, ends.destination);
        if (unknown || awaits) && !self.holds.is_full() {
            let look = unknown && self.holds.may_look(&self.judge, now_ms);
            let wait = awaits && self.judge.wait_ms > 0;
            if look {
                self.looks.push(self.look_at(&pending));
            }
            if look || wait {
                return self.holds.add(pending, &self.judge, look, wait, now_ms);
            }
        }
        self.decide(&pending, None, awaits);
    }

    /// Is the process behind the packet worth a look? Where nothing else names it; and for what a
    /// rule alerts on or prevents, once between two reports, since a person is told of it.
    fn tells(&mut self, packet: &Pending) -> bool {
        if !self.judge.is_named(packet.cgroup) {
            return true;
        }
        let verdict = self.judge.decide(&ends_of(packet, None));
        verdict.effect != ALLOW
            && !self.ledger.has(&self.key(packet, true, verdict.effect, verdict.rule))
    }

    /// The flow of a packet that is held, so that the daemon can look. It is counted later.
    fn look_at(&self, packet: &Pending) -> Seen {
        let key = self.key(packet, false, ALLOW, -1);
        let (first_seen, last_seen) = (packet.arrived_ms, packet.arrived_ms);
        let (inode, uid, source_port) = (packet.inode, packet.uid, packet.ends.source_port);
        Seen { key, inode, uid, source_port, count: 0, first_seen, last_seen }
    }

    fn key(&self, packet: &Pending, named: bool, effect: u8, rule: i64) -> Key {
        Key {
            version: self.judge.version,
            hook: packet.hook,
            protocol: packet.ends.protocol,
            source: match named && packet.hook == OUTPUT {
                true => Address::ANY,
                false => packet.ends.source,
            },
            destination: packet.ends.destination,
            port: packet.ends.port,
            cgroup: packet.cgroup,
            inode: if named { 0 } else { packet.inode },
            effect,
            rule,
        }
    }

    /// Judge a packet by the tables in force, count it, answer it. `awaits`: an end may be a
    /// container that nobody has told of, and it is not waited for any longer.
    fn decide(&mut self, packet: &Pending, owner: Option<Candidate>, awaits: bool) {
        if awaits && self.setup.fail_closed {
            return self.drop_packet(packet.id, packet.mark);
        }
        let ends = packet.ends;
        let verdict = self.judge.decide(&ends_of(packet, owner));
        if verdict.doubt != Doubt::None && !self.may_pass(packet, verdict.doubt == Doubt::Grave) {
            return;
        }
        let named = self.judge.is_named(packet.cgroup);
        let key = self.key(packet, named, verdict.effect, verdict.rule);
        self.ledger.add(key, packet.inode, packet.uid, ends.source_port, packet.arrived_ms);
        let remember = verdict.unanimous
            && verdict.settled
            && !awaits
            && verdict.doubt == Doubt::None
            && verdict.effect != ALERT
            && match packet.hook {
                OUTPUT => named,
                // Others have the address too: each connection of theirs is asked about.
                _ => !self.rooms.share(ends.source),
            };
        self.accept(packet.id, packet.mark, verdict.effect > ALERT, remember);
    }

    /// Have the daemon ask who an end elsewhere is. Until it may have the answer what could be
    /// prevented is dropped, without a word, so that it is sent again; `false` when it was.
    fn may_pass(&mut self, packet: &Pending, grave: bool) -> bool {
        let now_ms = sys::monotonic_ms();
        let mut delay = false;
        for place in self.judge.strangers(&ends_of(packet, None)).into_iter().flatten() {
            delay |= self.strangers.meet(place, now_ms, self.judge.stranger_ms);
        }
        self.owes_report |= !self.strangers.sought.is_empty();
        if !grave || !(delay || self.setup.fail_closed) {
            return true;
        }
        if delay {
            self.delayed += 1;
            self.drop_silently(packet.id, packet.mark);
        } else {
            self.drop_packet(packet.id, packet.mark);
        }
        false
    }

    fn accept(&mut self, id: u32, mark: u32, refuse: bool, remember: bool) {
        let generation = self.generation.filter(|_| remember);
        let mark = self.setup.marks.verdict(mark, refuse, generation);
        self.answer(id, NF_REPEAT, mark);
    }

    fn drop_packet(&mut self, id: u32, mark: u32) {
        self.dropped += 1;
        self.drop_silently(id, mark);
    }

    fn drop_silently(&mut self, id: u32, mark: u32) {
        let mark = self.setup.marks.verdict(mark, false, None);
        self.answer(id, NF_DROP, mark);
    }

    fn answer(&mut self, id: u32, decision: u32, mark: u32) {
        push_verdict(&mut self.verdicts, self.setup.queue, id, decision, mark);
        self.answered += 1;
        if self.verdicts.len() >= LOOP_BURST_MAX * VERDICT_BYTES {
            self.send_verdicts();
        }
    }

    fn send_verdicts(&mut self) {
        if self.verdicts.is_empty() {
            return;
        }
        if sys::send_now(&self.setup.packets, &self.verdicts).is_err() {
            // One refused message stops the rest of a joined send: send them one by one.
            for one in self.verdicts.chunks(VERDICT_BYTES) {
                if sys::send_now(&self.setup.packets, one).is_err() {
                    self.undecodable += 1;
                }
            }
        }
        self.verdicts.clear();
    }

    /// Answer what has nothing to wait for any more.
    fn let_go(&mut self, now_ms: u64) {
        let mut released = std::mem::take(&mut self.released);
        self.holds.release(now_ms, &mut released);
        for (packet, owner) in released.drain(..) {
            let awaits =
                self.judge.awaits(packet.hook, packet.ends.source, packet.ends.destination);
            self.decide(&packet, owner, awaits);
        }
        self.released = released;
        self.send_verdicts();
    }

    /// The daemon has gone: nothing that waits may be lost with us.
    fn end(&mut self, burst: &mut Burst) {
        for _ in 0..LAST_BURSTS {
            self.let_go(u64::MAX);
            if !self.answer_burst(burst) {
                break;
            }
        }
        self.let_go(u64::MAX);
    }

    // --- orders

    /// Read what the daemon says; `false` when it has gone.
    fn take_orders(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.orders);
        let mut stays = true;
        for _ in 0..ORDERS_IN_TURN {
            let record = match sys::receive_record(&self.setup.control, &mut buffer) {
                Ok(record) => record,
                Err(error) => {
                    let kind = error.kind();
                    stays = kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::Interrupted;
                    break;
                }
            };
            if record.length == 0 {
                stays = false;
                break;
            }
            let data = buffer.get(..record.length).filter(|_| record.whole).unwrap_or(&[]);
            if self.take_order(data, record.file).is_err() {
                self.undecodable += 1;
                self.owes_report = true;
            }
        }
        self.orders = buffer;
        stays
    }

    /// Follow one order, or refuse it whole.
    fn take_order(&mut self, data: &[u8], file: Option<OwnedFd>) -> Result<(), Malformed> {
        match Order::read(data, self.judge.rule_count(), self.judge.class_count())? {
            Order::Use { generation } => {
                self.generation = Some(generation);
                self.owes_report = true;
            }
            Order::Prepare { version } => {
                let file = file.ok_or(Malformed)?;
                self.prepared = true;
                self.take_tables(version, file)?
            }
            Order::Cgroups { put, drop } => self.judge.put_cgroups(put, &drop)?,
            Order::Looked { number, owners } => {
                self.holds.looked(number, &owners);
                self.let_go(sys::monotonic_ms());
            }
            Order::Room { number, addresses } => self.rooms.take(number, &addresses, file)?,
            Order::Confirm { number } => {
                self.confirmed = number;
                // A refusal to take it is made good by the next report.
                self.owes_report |= !self.tell(self.judge.version, 0, 0, 0);
            }
            Order::Endpoints(change) => {
                let places: Vec<_> = change.peers.iter().map(|(place, ..)| *place).collect();
                let gone = change.gone.clone();
                self.judge.change(change)?;
                self.strangers.forget(places.iter().chain(&gone));
                self.holds.endpoints_changed(&self.judge);
                self.let_go(sys::monotonic_ms());
            }
        }
        Ok(())
    }

    fn take_tables(&mut self, version: u64, file: OwnedFd) -> Result<(), Malformed> {
        let tables = Tables::read(&read_file(file)?)?;
        if tables.version != version {
            return Err(Malformed);
        }
        // Rules are numbered anew: what was decided by the old ones is told first.
        self.report();
        self.judge = Judge::new(tables);
        self.strangers.tables_changed(&self.judge);
        self.holds.forget_owners();
        self.holds.endpoints_changed(&self.judge);
        self.let_go(sys::monotonic_ms());
        self.owes_report = true;
        Ok(())
    }

    // --- reports

    fn has_news(&self) -> bool {
        self.owes_report || !self.ledger.is_empty() || !self.looks.is_empty()
    }

    fn due_ms(&self) -> u64 {
        let news = self.ledger.fresh || self.owes_report || !self.looks.is_empty();
        let after = if news && !self.stalled { REPORT_SPACING_MS } else { REPORT_INTERVAL_MS };
        self.reported_at_ms + after
    }

    fn report_if_due(&mut self) {
        if !self.has_news() {
            return;
        }
        // A full ledger is reported at once, unless the daemon has just not taken a report: then
        // trying again with every packet would cost more than the packets.
        let at_once = self.ledger.is_full() && !self.stalled;
        if at_once || sys::monotonic_ms() >= self.due_ms() {
            self.report();
        }
    }

    /// Tell everything there is; what the daemon does not take now is kept.
    fn report(&mut self) {
        self.reported_at_ms = sys::monotonic_ms();
        self.tell_looks();
        while self.looks.is_empty() && (self.owes_report || !self.ledger.is_empty()) {
            let flows = self.ledger.oldest(REPORT_FLOWS_MAX);
            let count = flows.len();
            let version = flows.first().map_or(self.judge.version, |seen| seen.key.version);
            if !self.tell(version, 0, count, 0) {
                return;
            }
            self.ledger.forget(count);
            self.owes_report &= version != self.judge.version || !self.strangers.sought.is_empty();
        }
    }

    /// Tell the daemon what to look at, and by which number it says that it has.
    fn tell_looks(&mut self) {
        while !self.looks.is_empty() {
            let count = self.looks.len().min(REPORT_FLOWS_MAX);
            let held = if count == self.looks.len() { self.holds.number() } else { 0 };
            if !self.tell(self.judge.version, count, 0, held) {
                return;
            }
            self.looks.drain(..count);
        }
    }

    /// Send one report with the first looks or the oldest flows; `false` when it is not taken.
    fn tell(&mut self, version: u64, looks: usize, flows: usize, held: u64) -> bool {
        self.record.clear();
        let mut to = Writer::new(&mut self.record);
        to.array(11);
        to.signed(self.generation.map_or(-1, |generation| generation as i64));
        to.unsigned(version);
        to.array(looks + flows);
        for seen in self.looks.iter().take(looks) {
            seen.write(&mut to);
        }
        for seen in self.ledger.oldest(flows) {
            seen.write(&mut to);
        }
        to.unsigned(self.answered);
        to.unsigned(self.undecodable);
        to.unsigned(self.ledger.unaccounted);
        to.unsigned(self.dropped);
        to.unsigned(held);
        to.unsigned(self.delayed);
        let sought = self.strangers.sought.len().min(REPORT_SOUGHT_MAX);
        to.array(sought);
        for (address, port, protocol) in self.strangers.sought.iter().take(sought) {
            to.array(3);
            to.bytes(address.packed());
            to.unsigned(u64::from(*port));
            to.unsigned(u64::from(*protocol));
        }
        to.unsigned(self.confirmed);
        // When the daemon is busy the counts are kept: packets go first.
        self.stalled = sys::send_now(&self.setup.control, &self.record).is_err();
        if !self.stalled {
            self.strangers.sought.drain(..sought);
        }
        !self.stalled
    }
}

fn ends_of(packet: &Pending, owner: Option<Candidate>) -> Ends {
    let ends = packet.ends;
    Ends {
        hook: packet.hook,
        source: ends.source,
        destination: ends.destination,
        port: ends.port,
        protocol: ends.protocol,
        cgroup: packet.cgroup,
        owner,
    }
}
