//! One file per server: what it needs before it starts, how it starts, how one sees that it is ready.

mod external;
mod kafka;
mod mail;
pub(crate) mod postgres;
mod redis;
mod registry;

use nix::sys::signal::Signal;

use crate::error::Result;
use crate::health::Readiness;
use crate::process::Launch;
use crate::state::State;
use crate::{Layout, Progress, Secrets, Server};

/// What a server may know: where it lies, which ports and secrets are whose.
pub(crate) struct Site<'a> {
    pub layout: &'a Layout,
    pub state: &'a State,
    pub secrets: &'a Secrets,
}

/// One kind of server.
pub(crate) trait Kind: Sync {
    /// Makes everything that starting needs: downloads, folders, configuration. Run before every start; what is there already is kept.
    fn prepare(&self, site: &Site<'_>, progress: &dyn Progress) -> Result<()>;

    /// The command line. Called after [`Kind::prepare`].
    fn launch(&self, site: &Site<'_>) -> Result<Launch>;

    /// Asks the running server whether it is ready.
    fn ready(&self, site: &Site<'_>) -> Readiness;

    /// The command that installs the program.
    fn install(&self) -> &'static str;

    /// The signal that makes it end in good order.
    fn stop_signal(&self) -> Signal {
        Signal::SIGTERM
    }
}

impl Server {
    pub(crate) fn kind(self) -> &'static dyn Kind {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::Kafka => &kafka::Kafka,
            Self::Registry => &registry::Registry,
            Self::Redis => &redis::Redis,
            Self::Mail => &mail::Mail,
            Self::Provider => &external::External(Self::Provider),
            Self::Platform => &external::External(Self::Platform),
        }
    }
}

pub(crate) const fn registry_api_path() -> &'static str {
    registry::API_PATH
}
