//! Ports that stay ours, also while no server listens on them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

/// Below the ports that the system hands out by itself, also with [`BUS`] added.
const PORTS: std::ops::Range<u16> = 11_000..21_500;
/// A node of a Redis cluster speaks to the others on this many above its port.
const BUS: u16 = 10_000;

/// A TCP port of 127.0.0.1 for one server, with its bus port. Every test that may run now reserves ports in this way: by holding
/// the UDP port of the same number, which ends with the process and needs no file.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _held: [UdpSocket; 2],
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let width = PORTS.end - PORTS.start;
        // Each RandomState is another one.
        let start = RandomState::new().build_hasher().finish() % u64::from(width);
        let start = u16::try_from(start).unwrap();
        let numbers = (0..width).map(|step| PORTS.start + (start + step) % width);
        let mut free = numbers.filter_map(|number| {
            let held = [hold(number)?, hold(number + BUS)?];
            Some(Self {
                number,
                _held: held,
            })
        });
        free.next().expect("a free port")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn hold(number: u16) -> Option<UdpSocket> {
    let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
    // Someone who knows nothing of this may listen there. (Listening to find out would leave the port taken for a moment, in
    // whatever process another thread is just starting.)
    let is_taken = TcpStream::connect((Ipv4Addr::LOCALHOST, number)).is_ok();
    (!is_taken).then_some(held)
}
