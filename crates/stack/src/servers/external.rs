//! A program of the platform, whose command line the caller brings.

use super::{Kind, Site};
use crate::error::{Error, Result};
use crate::health::{self, Readiness};
use crate::process::Launch;
use crate::{Progress, Server};

pub(super) struct External(pub Server);

impl Kind for External {
    fn prepare(&self, site: &Site<'_>, _progress: &dyn Progress) -> Result<()> {
        self.launch(site).map(drop)
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let server = self.0;
        let launch = site.state.launches.get(&server);
        launch.cloned().ok_or(Error::NoLaunch { server })
    }

    fn install(&self) -> &'static str {
        "cargo build --package daybook"
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        let launch = self.launch(site).map_err(|error| error.to_string())?;
        health::url(&launch.ready_url)
    }
}
