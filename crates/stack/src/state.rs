//! `stack.json`: what runs, on which ports. The only memory of a stack between commands.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::layout::write_whole;
use crate::ports::PortTable;
use crate::process::{Identity, Launch};
use crate::stack::Purpose;
use crate::{Layout, Server};

/// What a stack knows of itself. Read and written only by whoever holds the lock of the layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub purpose: Purpose,
    pub ports: PortTable,
    #[serde(default)]
    pub kafka_proxy_port: Option<u16>,
    /// The servers that were started and not stopped; each may have ended since.
    pub servers: BTreeMap<Server, Identity>,
    /// How the servers that are not ours to know are started.
    pub launches: BTreeMap<Server, Launch>,
}

impl State {
    /// The state as last written; none if the stack has never been started.
    pub fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state_file();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Error::Unreadable { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read", &path),
        }
    }

    pub fn save(&self, layout: &Layout) -> Result<()> {
        let path = layout.state_file();
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Unreadable { path: path.clone(), reason: error.to_string() })?;
        write_whole(&path, &text, 0o600)
    }

    /// The process of a server, if it is still that process and alive.
    pub fn running(&self, server: Server) -> Option<&Identity> {
        self.servers.get(&server).filter(|identity| identity.is_alive())
    }

    /// Forgets what has ended: after a crash of the machine, that is everything.
    pub fn forget_ended(&mut self) {
        self.servers.retain(|_, identity| identity.is_alive());
    }
}
