//! Redis with an append-only file.

use std::fs;

use super::{Kind, Site};
use crate::error::{Context, Result};
use crate::health::{self, Readiness};
use crate::layout::write_whole;
use crate::ports::Socket;
use crate::process::Launch;
use crate::{Progress, Server};

pub(super) struct Redis;

const CONFIGURATION: &str = "redis.conf";

impl Kind for Redis {
    fn prepare(&self, site: &Site<'_>, _progress: &dyn Progress) -> Result<()> {
        let data = site.layout.data(Server::Redis);
        fs::create_dir_all(&data).context("make", &data)?;
        let configuration = format!(
            "\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir {data}
appendonly yes
appendfsync everysec
save \"\"
daemonize no
maxmemory 256mb
maxmemory-policy noeviction
",
            port = site.state.ports.of(Socket::Redis),
            password = site.secrets.redis_password,
            data = data.display(),
        );
        write_whole(&site.layout.run(CONFIGURATION), &configuration, 0o600)
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let configuration = site.layout.run(CONFIGURATION).display().to_string();
        Ok(Launch::new("redis-server", "").arguments([configuration]))
    }

    fn install(&self) -> &'static str {
        "apt-get install --yes --no-install-recommends redis-server"
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        health::redis(site.state.ports.of(Socket::Redis), &site.secrets.redis_password)
    }
}
