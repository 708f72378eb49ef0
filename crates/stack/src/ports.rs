//! Which port each server listens on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::Server;
use crate::error::{Error, Result};
use crate::secrets::random_bytes;

/// Free ports are taken from here: below the range from which Linux gives ports to outgoing connections (32768 and up).
/// In that range a client that reconnects to a stopped server can be given the server's own port, connect to itself,
/// and keep the server from coming back.
const FREE_FIRST: u16 = 20_000;
const FREE_LAST: u16 = 32_000;
/// So many random ports are tried for one server before giving up.
const FREE_TRIES: usize = 200;

/// Which ports a new stack prefers. A stack that ran before keeps the ports it had, as long as they are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The well-known ports where they are free, others where not.
    Usual,
    /// Free ports, so that stacks can run beside each other.
    Free,
}

/// One listening socket of the stack: its name in the state file and its well-known port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Socket {
    Postgres,
    Kafka,
    KafkaController,
    Registry,
    Redis,
    Mail,
    Provider,
    Platform,
    PlatformTelemetry,
}

impl Socket {
    const ALL: [(Self, Server, u16); 9] = [
        (Self::Postgres, Server::Postgres, 5432),
        (Self::Kafka, Server::Kafka, 9092),
        (Self::KafkaController, Server::Kafka, 9093),
        (Self::Registry, Server::Registry, 8081),
        (Self::Redis, Server::Redis, 6379),
        (Self::Mail, Server::Mail, 1025),
        (Self::Provider, Server::Provider, 12_111),
        (Self::Platform, Server::Platform, 8080),
        (Self::PlatformTelemetry, Server::Platform, 9464),
    ];
}

/// The port of every socket, also of servers that have not been started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PortTable(BTreeMap<Socket, u16>);

impl PortTable {
    /// The port of a socket.
    ///
    /// # Panics
    /// Before [`PortTable::assign`], which gives every socket a port.
    pub fn of(&self, socket: Socket) -> u16 {
        *self.0.get(&socket).expect("assign gives every socket a port before any is asked for")
    }

    pub fn main_of(&self, server: Server) -> u16 {
        self.of(match server {
            Server::Postgres => Socket::Postgres,
            Server::Kafka => Socket::Kafka,
            Server::Registry => Socket::Registry,
            Server::Redis => Socket::Redis,
            Server::Mail => Socket::Mail,
            Server::Provider => Socket::Provider,
            Server::Platform => Socket::Platform,
        })
    }

    /// Gives every socket a port that is free now; the sockets of servers that run keep theirs.
    ///
    /// The sockets are held while the table is made, so that no two get the same port.
    pub fn assign(&mut self, wish: Ports, runs: impl Fn(Server) -> bool) -> Result<()> {
        let mut held = Vec::new();
        for (socket, server, usual) in Socket::ALL {
            let before = self.0.get(&socket).copied();
            if before.is_some() && runs(server) {
                continue;
            }
            let preferred = before.or((wish == Ports::Usual).then_some(usual));
            let listener = match preferred.and_then(bind) {
                Some(listener) => listener,
                None => bind_free()?,
            };
            let address = listener.local_addr().map_err(|_| no_port())?;
            self.0.insert(socket, address.port());
            held.push(listener);
        }
        Ok(())
    }
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

fn bind_free() -> Result<TcpListener> {
    for _ in 0..FREE_TRIES {
        let random = u16::from_le_bytes(random_bytes::<2>()?);
        let port = FREE_FIRST + random % (FREE_LAST - FREE_FIRST);
        if let Some(listener) = bind(port) {
            return Ok(listener);
        }
    }
    Err(no_port())
}

fn no_port() -> Error {
    Error::NoPort { first: FREE_FIRST, last: FREE_LAST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_gets_a_port_of_its_own_below_the_range_of_outgoing_connections() {
        let mut table = PortTable::default();
        table.assign(Ports::Free, |_| false).unwrap();
        let mut ports: Vec<u16> = table.0.values().copied().collect();
        assert!(ports.iter().all(|port| (FREE_FIRST..FREE_LAST).contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), Socket::ALL.len());
    }

    #[test]
    fn a_port_is_kept_while_free_and_given_up_when_taken() {
        let mut table = PortTable::default();
        table.assign(Ports::Free, |_| false).unwrap();
        let before = table.clone();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, before.of(Socket::Redis))).unwrap();
        table.assign(Ports::Usual, |_| false).unwrap();
        assert_ne!(table.of(Socket::Redis), before.of(Socket::Redis));
        assert_eq!(table.of(Socket::Kafka), before.of(Socket::Kafka));

        let moved = table.clone();
        table.assign(Ports::Usual, |server| server == Server::Redis).unwrap();
        assert_eq!(table, moved, "a server that runs keeps its port");
        drop(taken);
    }
}
