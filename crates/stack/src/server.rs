//! The servers of the stack, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// One server of the stack. The order is the order of starting; stopping goes the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    Postgres,
    Kafka,
    Registry,
    Redis,
    Mail,
    /// The sandbox payment provider; its command line comes from the caller.
    Provider,
    /// The platform itself; its command line comes from the caller.
    Platform,
}

impl Server {
    pub const ALL: [Self; 7] =
        [Self::Postgres, Self::Kafka, Self::Registry, Self::Redis, Self::Mail, Self::Provider, Self::Platform];

    /// What the platform stands on: everything that this crate can start by itself.
    pub const INFRASTRUCTURE: [Self; 5] = [Self::Postgres, Self::Kafka, Self::Registry, Self::Redis, Self::Mail];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Redis => "redis",
            Self::Mail => "mail",
            Self::Provider => "provider",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|server| server.name() == name).ok_or_else(|| Error::UnknownServer(name.to_owned()))
    }
}
