//! cnnf's packet loop: a process of its own that answers one NFQUEUE. The Defender starts it
//! (`kernel/loop_process.py`); `kernel/packetloop.py` is the reference it is tested against.
#![deny(unsafe_code)]

mod address;
mod bytes;
mod confine;
mod hold;
mod inet_diag;
mod judge;
mod ledger;
mod limits;
mod marks;
mod msgpack;
mod nfqueue;
mod orders;
mod owner;
mod packet_loop;
mod room;
mod rules;
mod seccomp;
mod segment;
mod stranger;
mod sys;
mod table_file;
mod tables;

use std::process::ExitCode;

use marks::Marks;
use owner::SocketOwner;
use packet_loop::{PacketLoop, Setup};

const USAGE: &str = "usage: packetloop --queue N --mark-mask M --control FD --packets FD \
                     [--pulse FD] [--fail-closed]  (started by the Defender)";

#[derive(Default)]
struct Options {
    queue: Option<u32>,
    mark_mask: Option<u32>,
    control: Option<u32>,
    packets: Option<u32>,
    pulse: Option<u32>,
    fail_closed: bool,
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            "--fail-closed" => {
                options.fail_closed = true;
                continue;
            }
            "--queue" => &mut options.queue,
            "--mark-mask" => &mut options.mark_mask,
            "--control" => &mut options.control,
            "--packets" => &mut options.packets,
            "--pulse" => &mut options.pulse,
            _ => return None,
        };
        *value = Some(words.next().as_deref().and_then(number)?);
    }
    Some(options)
}

/// What is run, from the command line. Fails with a sentence.
fn setup(options: Options) -> Result<Setup, String> {
    let adopt = |name: &str, fd: Option<u32>| {
        let fd = i32::try_from(fd.ok_or(USAGE)?).map_err(|_| USAGE)?;
        sys::adopt(fd).map_err(|error| format!("--{name} {fd}: {error}"))
    };
    let queue = options.queue.and_then(|queue| u16::try_from(queue).ok()).ok_or(USAGE)?;
    let mask = options.mark_mask.ok_or(USAGE)?;
    let marks = Marks::at(mask)
        .ok_or_else(|| format!("mark mask {mask:#x}: four neighbouring bits are needed"))?;
    let pulse = match options.pulse {
        Some(_) => {
            let file = adopt("pulse", options.pulse)?;
            Some(sys::map_pulse(&file).map_err(|error| format!("--pulse: {error}"))?)
        }
        None => None,
    };
    Ok(Setup {
        queue,
        marks,
        fail_closed: options.fail_closed,
        packets: adopt("packets", options.packets)?,
        control: adopt("control", options.control)?,
        pulse,
        owner: SocketOwner::open(),
    })
}

/// Exits 0 when the daemon has gone, 1 when it could not be started, 2 when asked wrongly.
fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Some(options) => options,
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let queue = options.queue.unwrap_or(0);
    let started = setup(options).and_then(|setup| confine::confine().map(|()| setup));
    match started {
        Ok(setup) => {
            PacketLoop::new(setup).run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("packet loop {queue}: {error}");
            ExitCode::FAILURE
        }
    }
}
