//! Finds the local socket behind a packet that is on its way out: one question while it waits.

use std::os::unix::io::OwnedFd;

use crate::inet_diag::{connecting_from, exact, read_answers, Answer, Socket, AF_INET, AF_INET6};
use crate::segment::{Segment, TCP};
use crate::sys;

/// The kernel fills at most 32 KiB of a dump at once.
const ANSWER_BYTES: usize = 65_536;
/// All answers to one question have to be there by then.
const ANSWER_MS: u64 = 50;

pub struct SocketOwner {
    /// `None` where the kernel has no inet_diag: then every flow is unattributed.
    socket: Option<OwnedFd>,
    sequence: u32,
    buffer: Vec<u8>,
}

impl SocketOwner {
    pub fn open() -> SocketOwner {
        let socket = sys::open_inet_diag().ok();
        SocketOwner { socket, sequence: 0, buffer: vec![0; ANSWER_BYTES] }
    }

    /// Asks through a socket of the daemon's, opened in another namespace.
    pub fn asking(socket: OwnedFd) -> SocketOwner {
        SocketOwner { socket: Some(socket), sequence: 0, buffer: vec![0; ANSWER_BYTES] }
    }

    /// The socket, `None` when it can't be told: then the flow is unattributed, never guessed.
    ///
    /// First exactly; then as bound to the device it leaves by; then, since a destination that was
    /// translated is not the one the socket knows, by its source port among those connecting (TCP).
    pub fn find(&mut self, ends: &Segment, out_device: u32) -> Option<Socket> {
        self.sequence = self.sequence.wrapping_add(1);
        let answer = self.ask(exact(self.sequence, ends, 0), true)?;
        if answer.count > 0 {
            return Some(answer.socket);
        }
        if out_device != 0 {
            self.sequence = self.sequence.wrapping_add(1);
            let answer = self.ask(exact(self.sequence, ends, out_device), true)?;
            if answer.count > 0 {
                return Some(answer.socket);
            }
        }
        if ends.protocol != TCP {
            return None;
        }
        self.find_connecting(ends)
    }

    fn find_connecting(&mut self, ends: &Segment) -> Option<Socket> {
        let families: &[u8] = if ends.source.is_v4() { &[AF_INET, AF_INET6] } else { &[AF_INET6] };
        let (mut count, mut socket) = (0, None);
        for family in families {
            self.sequence = self.sequence.wrapping_add(1);
            let request = connecting_from(self.sequence, *family, ends.source_port);
            let answer = self.ask(request, false)?;
            if answer.count > 0 {
                count += answer.count;
                socket = Some(answer.socket);
            }
        }
        socket.filter(|_| count == 1)
    }

    /// Send a question and read until its answers are whole: one, or a dump with its end.
    fn ask(&mut self, request: Vec<u8>, one: bool) -> Option<Answer> {
        let socket = self.socket.as_ref()?;
        sys::send_request(socket, &request).ok()?;
        let until = sys::monotonic_ms() + ANSWER_MS;
        let mut answer = Answer::default();
        while !(answer.done || one && answer.count > 0) {
            let length = sys::receive_answer(socket, &mut self.buffer).ok()?;
            let data = self.buffer.get(..length)?;
            if !read_answers(data, self.sequence, &mut answer) || sys::monotonic_ms() > until {
                return None;
            }
        }
        Some(answer)
    }
}
