//! Apicurio registry, with the Confluent API that stock clients speak.

use std::fs;

use super::{Kind, Site};
use crate::downloads::{self, INSTALL_JAVA};
use crate::error::{Context, Result};
use crate::health::{self, Readiness};
use crate::ports::Socket;
use crate::process::Launch;
use crate::{Progress, Server, Silent};

pub(super) struct Registry;

/// Where the Confluent API is mounted.
pub(crate) const API_PATH: &str = "/apis/ccompat/v7";
const JAR: &str = "apicurio-registry-app-2.6.13.Final-runner.jar";

impl Kind for Registry {
    fn prepare(&self, site: &Site<'_>, progress: &dyn Progress) -> Result<()> {
        downloads::registry(site.layout, progress)?;
        let data = site.layout.data(Server::Registry);
        fs::create_dir_all(&data).context("make", &data)
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let jar = downloads::registry(site.layout, &Silent)?.join(JAR);
        let database = site.layout.data(Server::Registry).join("h2");
        // Without a file all schemas are lost at a restart and ids change their meaning; with H2's delayed writes a kill
        // loses the last ones.
        let url = format!("jdbc:h2:file:{};WRITE_DELAY=0", database.display());
        Ok(Launch::new("java", "")
            .arguments(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"])
            .arguments([
                format!("-Dquarkus.http.port={}", site.state.ports.of(Socket::Registry)),
                "-jar".to_owned(),
                jar.display().to_string(),
            ])
            .environment("REGISTRY_DATASOURCE_URL", url)
            .environment("LOG_LEVEL", "WARN"))
    }

    fn install(&self) -> &'static str {
        INSTALL_JAVA
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        let port = site.state.ports.of(Socket::Registry);
        health::http(port, &format!("{API_PATH}/subjects"))
    }
}
