//! The system calls the loop needs, and the only unsafe code: declared by hand, so that nothing has
//! to be fetched to build it. Everything else in this program is checked by the compiler.
//!
//! Structures are those of 64-bit Linux (`linux/netlink.h`, `bits/socket.h`).
#![allow(unsafe_code)]

use std::io;
use std::os::raw::{c_int, c_long, c_uint, c_ulong, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;

use crate::limits::{LOOP_BURST_MAX, PACKET_MESSAGE_BYTES};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the native packet loop is for 64-bit Linux; the Python loop runs everywhere");

#[repr(C)]
struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

#[repr(C)]
struct IoVec {
    base: *mut u8,
    length: usize,
}

#[repr(C)]
struct MsgHdr {
    name: *mut c_void,
    name_length: u32,
    iov: *mut IoVec,
    iov_length: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

#[repr(C)]
struct MMsgHdr {
    header: MsgHdr,
    length: c_uint,
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const FilterInstruction,
}

/// One instruction of a classic BPF program (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FilterInstruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Effective, permitted and inheritable capabilities: 32 of them each, low half first.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Capabilities {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn recvmmsg(
        fd: c_int,
        messages: *mut MMsgHdr,
        count: c_uint,
        flags: c_int,
        timeout: *mut c_void,
    ) -> c_int;
    fn recvmsg(fd: c_int, message: *mut MsgHdr, flags: c_int) -> isize;
    fn recv(fd: c_int, buffer: *mut u8, length: usize, flags: c_int) -> isize;
    fn send(fd: c_int, buffer: *const u8, length: usize, flags: c_int) -> isize;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(fd: c_int, address: *const u8, length: u32) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const u8, length: u32) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn setpriority(which: c_int, who: c_uint, priority: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn prctl(option: c_int, ...) -> c_int;
    fn geteuid() -> c_uint;
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn capget(header: *mut CapabilityHeader, data: *mut Capabilities) -> c_int;
    fn capset(header: *mut CapabilityHeader, data: *const Capabilities) -> c_int;
}

const MSG_TRUNC: c_int = 0x20;
const MSG_DONTWAIT: c_int = 0x40;
const MSG_NOSIGNAL: c_int = 0x4000;
const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
const SOL_SOCKET: c_int = 1;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

// --- descriptors

/// Take over a descriptor that was handed to this process by its number.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    const F_GETFD: c_int = 1;
    // SAFETY: F_GETFD takes no argument and touches no memory.
    check(unsafe { fcntl(fd, F_GETFD) })?;
    // SAFETY: it is open, and the command line gives each descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Default)]
pub struct Ready {
    pub readable: bool,
    pub hung_up: bool,
}

/// Wait until one of two descriptors can be read, or so many milliseconds are over. What is `None`
/// is not waited for.
pub fn wait(fds: [Option<&OwnedFd>; 2], timeout_ms: u64) -> [Ready; 2] {
    const POLLIN: i16 = 1;
    const POLLHUP: i16 = 0x10;
    let mut polled =
        fds.map(|fd| PollFd { fd: fd.map_or(-1, |fd| fd.as_raw_fd()), events: POLLIN, revents: 0 });
    let timeout = c_int::try_from(timeout_ms).unwrap_or(c_int::MAX);
    // SAFETY: an array of two elements, which outlives the call. A failure (EINTR) leaves it as is.
    let found = unsafe { poll(polled.as_mut_ptr(), 2, timeout) };
    if found <= 0 {
        return [Ready::default(); 2];
    }
    polled.map(|one| Ready { readable: one.revents != 0, hung_up: one.revents & POLLHUP != 0 })
}

// --- messages

/// Room for what is read from the queue at once.
pub struct Burst {
    // The pointers in `headers` go into `parts`, those in `parts` into `room`: all three are on the
    // heap and keep their places for as long as this value lives.
    room: Box<[[u8; PACKET_MESSAGE_BYTES]]>,
    _parts: Box<[IoVec]>,
    headers: Box<[MMsgHdr]>,
}

impl Burst {
    pub fn new() -> Burst {
        let mut room = vec![[0; PACKET_MESSAGE_BYTES]; LOOP_BURST_MAX].into_boxed_slice();
        let mut parts: Box<[IoVec]> = room
            .iter_mut()
            .map(|slot| IoVec { base: slot.as_mut_ptr(), length: PACKET_MESSAGE_BYTES })
            .collect();
        let headers = parts
            .iter_mut()
            .map(|part| MMsgHdr {
                header: MsgHdr {
                    name: std::ptr::null_mut(),
                    name_length: 0,
                    iov: part,
                    iov_length: 1,
                    control: std::ptr::null_mut(),
                    control_length: 0,
                    flags: 0,
                },
                length: 0,
            })
            .collect();
        Burst { room, _parts: parts, headers }
    }

    /// Read what is there, at most a burst, without waiting.
    pub fn receive(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        // SAFETY: as many headers as we say, whose buffers live as long as `self`.
        let count = unsafe {
            recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                LOOP_BURST_MAX as c_uint,
                MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        check(count).map(|count| count as usize)
    }

    /// One of the messages that were received last. What did not fit is cut off.
    pub fn message(&self, number: usize) -> &[u8] {
        let length = self.headers.get(number).map_or(0, |header| header.length as usize);
        let slot: &[u8] = self.room.get(number).map_or(&[], |slot| slot);
        slot.get(..length.min(slot.len())).unwrap_or(&[])
    }
}

/// A record from the daemon. `whole` is false when it did not fit.
pub struct Record {
    pub length: usize,
    pub whole: bool,
    pub file: Option<OwnedFd>,
}

/// Read one record and the descriptor that may come along, without waiting.
pub fn receive_record(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Record> {
    const SCM_RIGHTS: c_int = 1;
    const HEADER: usize = 16;
    // Room for one control message of up to twelve descriptors; the kernel closes what is more.
    let mut control = [0u64; 8];
    let mut part = IoVec { base: buffer.as_mut_ptr(), length: buffer.len() };
    let mut message = MsgHdr {
        name: std::ptr::null_mut(),
        name_length: 0,
        iov: &mut part,
        iov_length: 1,
        control: control.as_mut_ptr().cast(),
        control_length: std::mem::size_of_val(&control),
        flags: 0,
    };
    // SAFETY: all that the header points to is here and outlives the call.
    let length = check_length(unsafe {
        recvmsg(fd.as_raw_fd(), &mut message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
    })?;
    let [size, kind, ..] = control;
    let is_rights = kind == (SCM_RIGHTS as u64) << 32 | SOL_SOCKET as u64
        || kind == (SOL_SOCKET as u64) << 32 | SCM_RIGHTS as u64;
    let mut files = Vec::new();
    if message.control_length >= HEADER && is_rights {
        let held = (size as usize).min(message.control_length).saturating_sub(HEADER) / 4;
        let words = control.iter().skip(HEADER / 8).flat_map(|word| {
            let bytes = word.to_ne_bytes();
            [
                c_int::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                c_int::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            ]
        });
        for number in words.take(held) {
            // SAFETY: the kernel has just made this descriptor for us.
            files.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    // The first is the one; whatever else came is closed here.
    let file = files.into_iter().next();
    Ok(Record { length, whole: message.flags & MSG_TRUNC == 0, file })
}

/// Send without waiting.
pub fn send_now(fd: &OwnedFd, data: &[u8]) -> io::Result<()> {
    let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    // SAFETY: a buffer of the length that we say.
    check_length(unsafe { send(fd.as_raw_fd(), data.as_ptr(), data.len(), flags) }).map(|_| ())
}

// --- sockets of the host

/// A socket to ask whose sockets are whose; reading from it takes 50 ms at most. The kernel answers
/// from within the send itself, so anything beyond means that it will not.
pub fn open_inet_diag() -> io::Result<OwnedFd> {
    const AF_NETLINK: c_int = 16;
    const SOCK_RAW: c_int = 3;
    const SOCK_CLOEXEC: c_int = 0o2_000_000;
    const NETLINK_SOCK_DIAG: c_int = 4;
    const SO_RCVTIMEO: c_int = 20;
    // SAFETY: no memory is handed over.
    let fd = check(unsafe { socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG) })?;
    // SAFETY: the descriptor was just made for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut address = [0u8; 12];
    for (to, from) in address.iter_mut().zip((AF_NETLINK as u16).to_ne_bytes()) {
        *to = from;
    }
    // SAFETY: `struct sockaddr_nl` has 12 bytes.
    check(unsafe { bind(fd.as_raw_fd(), address.as_ptr(), 12) })?;
    let timeout = [0i64, 50_000];
    // SAFETY: `struct timeval` is two 64-bit numbers.
    check(unsafe {
        setsockopt(fd.as_raw_fd(), SOL_SOCKET, SO_RCVTIMEO, timeout.as_ptr().cast(), 16)
    })?;
    Ok(fd)
}

/// Ask; the kernel answers from within.
pub fn send_request(fd: &OwnedFd, data: &[u8]) -> io::Result<()> {
    // SAFETY: a buffer of the length that we say.
    check_length(unsafe { send(fd.as_raw_fd(), data.as_ptr(), data.len(), 0) }).map(|_| ())
}

/// Read one datagram, waiting as long as the socket says.
pub fn receive_answer(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: a buffer of the length that we say.
    check_length(unsafe { recv(fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len(), 0) })
}

// --- time

fn clock_ms(clock: c_int) -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: a place for the answer. These clocks always exist.
    unsafe { clock_gettime(clock, &mut time) };
    time.seconds as u64 * 1_000 + time.nanoseconds as u64 / 1_000_000
}

/// Milliseconds since the epoch.
pub fn wall_ms() -> u64 {
    clock_ms(0)
}

/// Milliseconds that only go forward (CLOCK_MONOTONIC).
pub fn monotonic_ms() -> u64 {
    clock_ms(1)
}

/// The first two numbers of the page that is shared with the daemon.
pub fn map_pulse(fd: &OwnedFd) -> io::Result<&'static [AtomicU64; 2]> {
    const READ_WRITE: c_int = 3;
    const MAP_SHARED: c_int = 1;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let page =
        unsafe { mmap(std::ptr::null_mut(), 4096, READ_WRITE, MAP_SHARED, fd.as_raw_fd(), 0) };
    if page as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a page of ours, aligned, never unmapped, and both sides touch it atomically.
    Ok(unsafe { &*page.cast::<[AtomicU64; 2]>() })
}

// --- privileges

pub fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { geteuid() == 0 }
}

pub fn set_nice(nice: c_int) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { setpriority(0, 0, nice) }).map(|_| ())
}

/// Ctrl-C of the terminal is not for us: the daemon ends the loop.
pub fn ignore_interrupt() {
    const SIGINT: c_int = 2;
    const SIG_IGN: usize = 1;
    // SAFETY: SIG_IGN is no function that could be called.
    unsafe { signal(SIGINT, SIG_IGN) };
}

/// prctl(2) with numbers for arguments.
pub fn control_process(option: c_int, argument: c_ulong) -> io::Result<()> {
    // SAFETY: only called with options whose arguments are numbers.
    check(unsafe { prctl(option, argument, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) }).map(|_| ())
}

pub fn drop_groups() -> io::Result<()> {
    // SAFETY: an empty list.
    check(unsafe { setgroups(0, std::ptr::null()) }).map(|_| ())
}

pub fn become_group(id: c_uint) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { setresgid(id, id, id) }).map(|_| ())
}

pub fn become_user(id: c_uint) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { setresuid(id, id, id) }).map(|_| ())
}

fn capability_header() -> CapabilityHeader {
    CapabilityHeader { version: 0x2008_0522, pid: 0 }
}

pub fn capabilities() -> io::Result<[Capabilities; 2]> {
    let mut data = [Capabilities::default(); 2];
    // SAFETY: version 3 fills two elements.
    check(unsafe { capget(&mut capability_header(), data.as_mut_ptr()) })?;
    Ok(data)
}

pub fn set_capabilities(data: [Capabilities; 2]) -> io::Result<()> {
    // SAFETY: version 3 reads two elements.
    check(unsafe { capset(&mut capability_header(), data.as_ptr()) }).map(|_| ())
}

/// Allow from now on only the system calls that the filter lets pass (seccomp).
pub fn install_filter(instructions: &[FilterInstruction]) -> io::Result<()> {
    const PR_SET_SECCOMP: c_int = 22;
    const SECCOMP_MODE_FILTER: c_ulong = 2;
    let program =
        FilterProgram { length: instructions.len() as u16, instructions: instructions.as_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call.
    check(unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program as *const FilterProgram) })
        .map(|_| ())
}
