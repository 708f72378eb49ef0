//! A mail server that delivers everything into one Maildir.

use std::process::Command;

use super::{Kind, Site};
use crate::Progress;
use crate::error::{Error, Result};
use crate::health::{self, Readiness};
use crate::ports::Socket;
use crate::process::{Launch, run_to_end};

pub(super) struct Mail;

/// Debian's own interpreter: another one that comes first in PATH does not see Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
const INSTALL: &str = "apt-get install --yes --no-install-recommends python3-aiosmtpd";

impl Kind for Mail {
    fn prepare(&self, _site: &Site<'_>, _progress: &dyn Progress) -> Result<()> {
        let mut import = Command::new(PYTHON);
        import.args(["-c", "import aiosmtpd"]);
        run_to_end(&mut import, INSTALL)
            .map_err(|_| Error::Missing { program: "aiosmtpd".to_owned(), install: INSTALL })
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let address = format!("127.0.0.1:{}", site.state.ports.of(Socket::Mail));
        let folder = site.layout.mail_dir().display().to_string();
        Ok(Launch::new(PYTHON, "").arguments(["-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Mailbox"]).arguments([
            folder,
            "-l".to_owned(),
            address,
        ]))
    }

    fn install(&self) -> &'static str {
        INSTALL
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        health::smtp(site.state.ports.of(Socket::Mail))
    }
}
